package "which" {
  summary  = "Says where a command lies"
  version  = "2.21"
  license  = "GPL-3.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://ftp.gnu.org/gnu/which/which-${version}.tar.gz"
    sha256 = "f4a245b94124b377d8b49646bf421f9155d36aa7614b6ebf83705d3ffc76eaad"
    debian = {
      suite  = "trixie"
      source = "gnu-which"
      sha256 = "0d3cfbda99a560b024006d785c9c4cc5605736948ce63b446776a278d58cbdab"
    }
  }

  # Debian's copy lacks the manual's source.
  autotools {
    make    = ["INFO_DEPS="]
    install = ["INFO_DEPS=", "install"]
  }
}
