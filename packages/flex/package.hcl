package "flex" {
  summary = "A generator of scanners"
  version = "2.6.4"
  license = "BSD-3-Clause"

  source {
    url    = "https://github.com/westes/flex/releases/download/v${version}/flex-${version}.tar.gz"
    sha256 = "e87aae032bf07c26f85ac0ed3250998c37621d95f8bd748b31f15b33c45ee995"
    debian = { suite = "trixie", source = "flex" }
  }

  autotools {
    # What configure could only find out by running a program.
    configure = ["--disable-nls", "--disable-shared", "ac_cv_func_malloc_0_nonnull=yes", "ac_cv_func_realloc_0_nonnull=yes"]
    prepare   = <<-SH
      # reallocarray is declared for those who ask for it.
      export CPPFLAGS="${CPPFLAGS-} -D_GNU_SOURCE"
    SH
    after     = <<-SH
      ln -s flex /out{{ stage.prefix }}/bin/lex
    SH
    runtime   = ["//m4"]
  }
}
