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
    guard {
      compiler     = "GCC: (Debian 12.2.0-14+deb12u1) 12.2.0"
      interpreter  = "/lib64/ld-linux-x86-64.so.2"
      library_path = ["/usr/lib", "/usr/lib64", "/usr/lib/${platform.triplet}"]
      libraries    = ["//seed"]
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
