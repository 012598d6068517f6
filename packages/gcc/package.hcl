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
    drop = platform.arch == "riscv64" ? ["usr/${platform.lib}/crti.o", "usr/${platform.lib}/crtn.o"] : []
    allow = [{
      path   = "usr/${platform.lib}/libgcc_s.so.1",
      value  = profile == "gnu" ? "libc.so.6" : "libc.so",
      reason = "the C library is built after it, with it"
    }]
  }

  script "libstdcxx" {
    script  = "libstdcxx.sh.j2"
    runtime = ["//gcc/libgcc", profile == "gnu" ? "//glibc" : "//musl"]
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
    runtime = concat(["//binutils", "//gcc/libstdcxx", "//linux-headers"], profile == "gnu" ? ["//glibc/headers"] : ["//musl/headers"])
    script  = "native.sh.j2"
    env = {
      CFLAGS             = "-O1 -g0 -ffile-prefix-map=/build=."
      CXXFLAGS           = "-O1 -g0 -ffile-prefix-map=/build=."
      CXXFLAGS_FOR_BUILD = "-O1 -g0"
    }
  }
}
