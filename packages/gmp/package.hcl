package "gmp" {
  summary = "Arithmetic with numbers of any size"
  version = "6.3.0"
  license = "LGPL-3.0-or-later OR GPL-2.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/gmp/gmp-${version}.tar.xz"
    sha256 = "a3c2b80201b89e68616f4ad30bc66aee4927c3ce50e33929ca819d5c43538898"
    debian = {
      suite  = "trixie"
      source = "gmp"
      sha256 = "bd2966e6d277f79328e894a5a9f3ba3fbf2ed2be81def5f48623e30c23fb1572"
    }
  }

  # --host makes the code generic: configure's own guess would name the builder's CPU.
  autotools {
    configure = ["--disable-shared", "--with-pic"]
    drop      = ["**/share/info/**"]
    prepare   = <<-SH
      # Debian's copy lacks the manual, which configure wants to see.
      if [[ ! -d doc ]]; then
        mkdir doc
        printf 'all install install-strip check clean distclean:\n\t@:\n' > doc/Makefile.in
      fi
    SH
  }
}
