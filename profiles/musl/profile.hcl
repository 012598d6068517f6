profile "musl" {
  summary = "Systems on the C library musl, compiled from the seed up"
  home    = "tools"

  # Tools that run here and produce code for the platform. They work for minutes, so they
  # are compiled quickly rather than well: half the time of -O2 for gcc.
  stage "cross_tools" {
    root = ["//seed"]
    vars = {
      prefix = "/cross"
      libdir = "/cross/lib"
      host   = exec.triplet
    }
    env = {
      CC       = "gcc"
      CXX      = "g++"
      CFLAGS   = "-O1 -g0 -ffile-prefix-map=/build=."
      CXXFLAGS = "-O1 -g0 -ffile-prefix-map=/build=."
      LDFLAGS  = "-s"
    }
  }

  # Everything for the platform. The vendor in its triplet is another than the machine's, so
  # that configure never takes it for the machine and never runs what it compiled.
  stage "tools" {
    root  = ["//seed"]
    tools = ["//binutils/cross", "//gcc/cross"]
    deps  = ["//linux-headers", "//gcc/libgcc", "//musl"]
    vars = {
      prefix = "/usr"
      libdir = "/usr/lib"
      host   = platform.triplet
    }
    env = {
      CC               = "${platform.triplet}-gcc"
      CXX              = "${platform.triplet}-g++"
      AR               = "${platform.triplet}-ar"
      LD               = "${platform.triplet}-ld"
      NM               = "${platform.triplet}-nm"
      OBJDUMP          = "${platform.triplet}-objdump"
      RANLIB           = "${platform.triplet}-ranlib"
      READELF          = "${platform.triplet}-readelf"
      STRIP            = "${platform.triplet}-strip"
      CFLAGS           = "-O2"
      CXXFLAGS         = "-O2"
      LDFLAGS          = "-Wl,-s"
      BUILD_CC         = "gcc"
      CC_FOR_BUILD     = "gcc"
      CFLAGS_FOR_BUILD = "-O1"
    }
    guard {
      compiler     = "GCC: (vfsb) 14.2.0"
      interpreter  = "/lib/ld-musl-${platform.machine}.so.1"
      library_path = ["/lib", "/usr/lib"]
      forbidden = {
        "/cross"                                             = "the cross tools"
        "/lib/${replace(exec.triplet, "-pc-", "-")}"         = "the seed's libraries"
        "/usr/lib/${replace(exec.triplet, "-pc-", "-")}"     = "the seed's libraries"
        "/usr/include/${replace(exec.triplet, "-pc-", "-")}" = "the seed's headers"
      }
    }
  }
}
