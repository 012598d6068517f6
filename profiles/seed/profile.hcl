profile "seed" {
  summary = "Packages built with the seed's own compiler and C library, in minutes"
  home    = "seed"

  # For a platform that is not the machine's, Debian's cross compiler lies over the seed.
  stage "seed" {
    root = platform.arch == exec.arch ? ["//seed"] : ["//seed", "//seed/${platform.arch}"]
    vars = {
      prefix = "/usr"
      libdir = "/usr/lib"
      host   = platform.arch == exec.arch ? exec.triplet : platform.triplet
    }
    env = merge({
      CPPFLAGS = "-I/sysroot/usr/include"
      CFLAGS   = "-O2"
      CXXFLAGS = "-O2"
      LDFLAGS  = "-Wl,-s -L/sysroot/usr/lib -Wl,-rpath-link,/sysroot/usr/lib"
      }, platform.arch == exec.arch ? {
      CC     = "gcc"
      CXX    = "g++"
      AR     = "ar"
      RANLIB = "ranlib"
      } : {
      CC           = "${platform.triplet}-gcc"
      CXX          = "${platform.triplet}-g++"
      AR           = "${platform.triplet}-ar"
      LD           = "${platform.triplet}-ld"
      NM           = "${platform.triplet}-nm"
      OBJDUMP      = "${platform.triplet}-objdump"
      RANLIB       = "${platform.triplet}-ranlib"
      READELF      = "${platform.triplet}-readelf"
      STRIP        = "${platform.triplet}-strip"
      BUILD_CC     = "gcc"
      CC_FOR_BUILD = "gcc"
    })
    guard {
      compiler     = "GCC: (Debian ${platform.debian}) 12.2.0"
      interpreter  = platform.interpreter
      library_path = platform.library_path
      libraries    = [platform.arch == exec.arch ? "//seed" : "//seed/${platform.arch}"]
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
  emulator    = { package = "//qemu", program = "usr/bin/qemu-x86_64-static" }
  vars = {
    lib          = "lib"
    debian       = "12.2.0-14+deb12u1"
    interpreter  = "/lib64/ld-linux-x86-64.so.2"
    library_path = ["/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu"]
  }
}

platform "arm64-seed" {
  profile     = "seed"
  arch        = "arm64"
  libc        = "glibc"
  triplet     = "aarch64-linux-gnu"
  machine     = "aarch64"
  kernel_arch = "arm64"
  emulator    = { package = "//qemu", program = "usr/bin/qemu-aarch64-static" }
  # The cross compiler and its libraries are packages of their own, with a revision and a folder of their own.
  vars = {
    lib          = "lib"
    debian       = "12.2.0-14"
    interpreter  = "/lib/ld-linux-aarch64.so.1"
    library_path = ["/usr/lib", "/usr/aarch64-linux-gnu/lib"]
  }
}
