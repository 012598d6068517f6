profile "seed" {
  summary = "Packages built with the seed's own compiler and C library, in minutes"
  home    = "seed"

  stage "seed" {
    root = ["//seed"]
    vars = {
      prefix = "/usr"
      host   = exec.triplet
    }
    env = {
      CC       = "gcc"
      CXX      = "g++"
      AR       = "ar"
      RANLIB   = "ranlib"
      CPPFLAGS = "-I/sysroot/usr/include"
      CFLAGS   = "-O2"
      CXXFLAGS = "-O2"
      LDFLAGS  = "-Wl,-s -L/sysroot/usr/lib -Wl,-rpath-link,/sysroot/usr/lib"
    }
  }
}

platform "amd64-seed" {
  profile     = "seed"
  arch        = "amd64"
  libc        = "glibc"
  triplet     = "x86_64-linux-gnu"
  machine     = "x86_64"
  kernel_arch = "x86"
}
