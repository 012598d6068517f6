package "make" {
  summary = "GNU make"
  version = "4.4.1"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/make/make-${version}.tar.gz"
    sha256 = "dd16fb1d67bfab79a72f5e8390735c49e3e8e70b4945a15ab1f81ddb78658fb3"
    debian = {
      suite  = "trixie"
      source = "make-dfsg"
      sha256 = "3b16b00ea1079af9f8096bbc71ff7cc00c249fc6a862003da3c42308a0adb0fe"
    }
  }

  autotools {
    configure = ["--disable-nls", "--without-guile"]
    prepare   = <<-SH
      # Debian's copy lacks the manual, which the Makefiles name.
      if [[ ! -e doc/Makefile.in ]]; then
        mkdir -p doc
        printf 'all install install-strip check clean distclean:\n\t@:\n' > doc/Makefile.in
        : > doc/make.1
      fi
    SH
  }
}
