package "m4" {
  summary = "GNU m4, a macro processor"
  version = "1.4.19"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/m4/m4-${version}.tar.xz"
    sha256 = "63aede5c6d33b6d9b13511cd0be2cac046f2e70fd0a07aa9573a04a82783af96"
    debian = { suite = "trixie", source = "m4" }
  }

  autotools {
    configure = ["--disable-nls"]
  }
}
