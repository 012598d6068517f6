package "glibc" {
  summary  = "The GNU C library"
  version  = "2.41"
  license  = "LGPL-2.1-or-later"
  profiles = ["gnu"]

  source {
    url    = "https://ftp.gnu.org/gnu/glibc/glibc-${version}.tar.xz"
    sha256 = "a5a26b22f545d6b7d7b3dd828e11e428f24f4fac43c934fb071b6a7d0828e901"
    debian = {
      suite  = "trixie"
      source = "glibc"
      sha256 = "f24aa441021121a79266f0d75242706cab8843a47901fefe74527491807f1998"
    }
  }

  # The headers need a compiler that can preprocess, and libgcc needs nothing else of a C library: a node of their own
  # keeps a patch to a function from building libgcc again.
  script "headers" {
    bootstrap = true
    tools     = ["//binutils/cross", "//gcc/cross", "//python/host"]
    deps      = ["//linux-headers"]
    script    = "headers.sh.j2"
  }

  script {
    bootstrap = true
    tools     = ["//binutils/cross", "//gcc/cross", "//python/host"]
    deps      = ["//glibc/headers", "//gcc/libgcc"]
    script    = "glibc.sh.j2"
    drop      = ["var/**"]
  }

  # The locales that every system has. They are the same for all platforms, whose byte order is one; each has them made by its
  # own localedef.
  script "locales" {
    stage   = "mchroot"
    sources = []
    script  = "locales.sh.j2"
  }
}
