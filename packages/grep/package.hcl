package "grep" {
  summary = "GNU grep, egrep and fgrep"
  version = "3.11"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/grep/grep-${version}.tar.xz"
    sha256 = "1db2aedde89d0dea42b16d9528f894c8d15dae4e190b59aecc78f5a951276eab"
    debian = { suite = "trixie", source = "grep" }
  }

  autotools {
    configure = ["--disable-nls", "--disable-perl-regexp"]
  }
}
