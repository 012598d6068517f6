package "gzip" {
  summary = "GNU gzip and its scripts"
  version = "1.13"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/gzip/gzip-${version}.tar.xz"
    sha256 = "7454eb6935db17c6655576c2e1b0fabefd38b4d0936e0f87f48cd062ce91a057"
    debian = { suite = "trixie", source = "gzip" }
  }

  autotools {}
}
