package "gcc" {
  summary  = "Compilers for C and C++, with their libraries"
  version  = "14.2.0"
  license  = "GPL-3.0-or-later WITH GCC-exception-3.1"
  profiles = ["gnu", "musl"]

  source {
    url    = "https://ftp.gnu.org/gnu/gcc/gcc-${version}/gcc-${version}.tar.xz"
    sha256 = "a7b39bc69cbf9e25826c5a60ab26477001f7c08d85cec04bc0e29cabed6f3cc9"
    debian = {
      suite  = "trixie"
      source = "gcc-14"
      sha256 = "e162a5ef3f0077ecae598c6556908d2ab80841532df3398072a96a6df6e6aa29"
    }
  }

  # The compiler is built once, before there is a C library, and knows nothing of one but
  # its name. What libgcc needs of the build is kept in the stash, so that the libraries
  # are steps of their own.
  script "cross" {
    stage  = "cross_tools"
    env    = { LDFLAGS = profile == "gnu" ? "-s -static" : "-s" }
    tools  = ["//binutils/cross", "//gmp@cross_tools", "//mpfr@cross_tools", "//mpc@cross_tools"]
    script = "cross.sh.j2"
  }

  script "libgcc" {
    bootstrap = true
    tools     = ["//binutils/cross", "//gcc/cross"]
    deps      = ["//linux-headers", profile == "gnu" ? "//glibc/headers" : "//musl/headers"]
    script    = "libgcc.sh.j2"
    # For riscv64 it brings start files that the C library has too.
    drop  = platform.arch == "riscv64" ? ["usr/${platform.lib}/crti.o", "usr/${platform.lib}/crtn.o"] : []
    allow = profile == "gnu" ? [] : [{ path = "usr/lib/libgcc_s.so.1", value = "libc.so", reason = "musl is built after it, with it" }]
  }

  # The shared one in profile gnu, for which symbols have versions.
  script "libgcc_s" {
    profiles  = ["gnu"]
    bootstrap = true
    sources   = []
    tools     = ["//binutils/cross", "//gcc/cross"]
    deps      = ["//gcc/libgcc", "//glibc"]
    runtime   = ["//glibc"]
    script    = <<-SH
      cd /sysroot{{ stage.libdir }}
      mkdir -p /out{{ stage.libdir }}
      $CC -shared -nodefaultlibs -nostartfiles $LDFLAGS -Wl,--soname=libgcc_s.so.1 -Wl,--version-script=libgcc_pic.map \
        -o /out{{ stage.libdir }}/libgcc_s.so.1 -Wl,--whole-archive libgcc_pic.a -Wl,--no-whole-archive libgcc.a -lc
      # What is hidden in the shared library is in the static one.
      echo 'GROUP ( libgcc_s.so.1 -lgcc )' > /out{{ stage.libdir }}/libgcc_s.so
    SH
  }

  script "libstdcxx" {
    script  = "libstdcxx.sh.j2"
    runtime = profile == "gnu" ? ["//gcc/libgcc_s"] : ["//gcc/libgcc", "//musl"]
  }

  script "libatomic" {
    profiles = ["gnu"]
    script   = "library.sh.j2"
    vars     = { library = "libatomic" }
    runtime  = ["//glibc"]
  }

  script "libgomp" {
    profiles = ["gnu"]
    script   = "library.sh.j2"
    vars     = { library = "libgomp" }
    runtime  = ["//glibc"]
  }

  # Compiled quickly rather than well, as the cross compiler is.
  script {
    deps    = ["//gcc/libstdcxx", "//gmp", "//mpfr", "//mpc"]
    runtime = concat(["//binutils", "//gcc/libstdcxx", "//linux-headers"], profile == "gnu" ? ["//gcc/libgcc", "//glibc/headers"] : ["//musl/headers"])
    script  = "native.sh.j2"
    env = {
      CFLAGS             = "-O1 -g0 -ffile-prefix-map=/build=."
      CXXFLAGS           = "-O1 -g0 -ffile-prefix-map=/build=."
      CXXFLAGS_FOR_BUILD = "-O1 -g0"
    }
  }
}
