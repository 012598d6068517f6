profile "gnu" {
  summary = "Systems on the GNU C library, compiled from the seed up"
  home    = "tools"

  # Tools that run here, whatever the platform, and that the seed lacks or must not decide.
  stage "host" {
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
      LDFLAGS  = "-s --static" # not -static, which libtool keeps to itself
    }
  }

  # Tools that run here and produce code for the platform. They work for minutes, so they
  # are compiled quickly rather than well: half the time of -O2 for gcc.
  stage "cross_tools" {
    extends = "host"
    env     = { LDFLAGS = "-s" }
  }

  # What is compiled for the platform here. The vendor in its triplet is another than the
  # machine's, so that configure never takes it for the machine and never runs what it compiled.
  stage "tools" {
    root  = ["//seed"]
    tools = ["//binutils/cross", "//gcc/cross", "//pkgconf/cross"]
    deps  = ["//linux-headers", "//gcc/libgcc_s", "//glibc"]
    vars = {
      prefix    = "/usr"
      libdir    = "/usr/${platform.lib}"
      host      = platform.triplet
      configure = ["--libdir=/usr/${platform.lib}"]
    }
    env = {
      CC               = "${platform.triplet}-gcc"
      CXX              = "${platform.triplet}-g++"
      AR               = "${platform.triplet}-ar"
      LD               = "${platform.triplet}-ld"
      NM               = "${platform.triplet}-nm"
      OBJDUMP          = "${platform.triplet}-objdump"
      PKG_CONFIG       = "${platform.triplet}-pkg-config"
      RANLIB           = "${platform.triplet}-ranlib"
      READELF          = "${platform.triplet}-readelf"
      STRIP            = "${platform.triplet}-strip"
      CFLAGS           = "-O2"
      CXXFLAGS         = "-O2"
      LDFLAGS          = "-Wl,-s"
      BUILD_CC         = "gcc"
      CC_FOR_BUILD     = "gcc"
      CFLAGS_FOR_BUILD = "-O1"

      LT_SYS_LIBRARY_PATH = "/usr/${platform.lib}" # else libtool, which knows no lib64 of another machine, adds a run path
    }
    guard {
      compiler     = "GCC: (vfsb) 14.2.0"
      interpreter  = platform.loader
      library_path = ["/usr/${platform.lib}"]
      forbidden = {
        "/cross"                                             = "the cross tools"
        "/lib/${replace(exec.triplet, "-pc-", "-")}"         = "the seed's libraries"
        "/usr/lib/${replace(exec.triplet, "-pc-", "-")}"     = "the seed's libraries"
        "/usr/include/${replace(exec.triplet, "-pc-", "-")}" = "the seed's headers"
      }
    }
  }

  # What stands for the slowest programs of a root that is emulated: the same, for the machine that emulates, in need of
  # nothing else.
  stage "hybrid" {
    root = ["//seed"]
    vars = {
      prefix    = "/usr"
      libdir    = "/usr/${platform.lib}"
      host      = exec.triplet
      configure = ["--libdir=/usr/${platform.lib}"]
    }
    env = {
      CC           = "gcc"
      CXX          = "g++"
      CFLAGS       = "-O1 -g0"
      CXXFLAGS     = "-O1 -g0"
      LDFLAGS      = "-s --static"
      BUILD_CC     = "gcc"
      CC_FOR_BUILD = "gcc"
    }
  }

  # The platform's own root, with its own programs alone.
  stage "native" {
    native = true
    root = [
      "//stage1/base", "//glibc", "//glibc/headers", "//linux-headers", "//gcc/libgcc", "//gcc/libgcc_s", "//gcc/libstdcxx",
      "//ncurses", "//bzip2",
      "//bash", "//binutils", "//coreutils", "//diffutils", "//findutils", "//gawk", "//gcc", "//grep", "//gzip", "//m4",
      "//make", "//patch", "//sed", "//tar", "//xz",
    ]
    vars = {
      prefix    = "/usr"
      libdir    = "/usr/${platform.lib}"
      host      = platform.triplet
      configure = ["--libdir=/usr/${platform.lib}"]
    }
    env = {
      CC         = "gcc"
      CXX        = "g++"
      AR         = "ar"
      LD         = "ld"
      NM         = "nm"
      OBJDUMP    = "objdump"
      PKG_CONFIG = "pkg-config"
      RANLIB     = "ranlib"
      READELF    = "readelf"
      STRIP      = "strip"
      CFLAGS     = "-O2"
      CXXFLAGS   = "-O2"
      LDFLAGS    = "-Wl,-s"

      LT_SYS_LIBRARY_PATH = "/usr/${platform.lib}"
    }
    guard {
      compiler     = "GCC: (vfsb) 14.2.0"
      interpreter  = platform.loader
      library_path = ["/usr/${platform.lib}"]
      forbidden    = { "/cross" = "the cross tools" }
    }
  }

  # What does not cross-compile well is built here. Where this machine cannot run the platform's programs, this machine's do
  # what would take longest under QEMU, and what comes out must be the same as in stage "native".
  stage "mchroot" {
    extends = "native"
    root = !platform.emulated ? null : [
      "//stage1/base", "//glibc", "//glibc/headers", "//linux-headers", "//gcc/libgcc", "//gcc/libgcc_s", "//gcc/libstdcxx",
      "//ncurses", "//bzip2",
      "//hybrid/compiler", "//hybrid/uname",
      "//bash@hybrid", "//coreutils@hybrid", "//diffutils@hybrid", "//findutils@hybrid", "//gawk@hybrid",
      "//grep@hybrid", "//gzip@hybrid", "//m4@hybrid", "//make@hybrid", "//patch@hybrid", "//sed@hybrid", "//tar@hybrid", "//xz",
      "//perl/mini:${exec.arch}",
    ]
  }

  # Stage1 itself, to be tried.
  stage "stage1" {
    extends = "native"
    root    = ["//stage1/rootfs"]
  }
}
