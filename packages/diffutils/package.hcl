package "diffutils" {
  summary = "GNU diff, cmp, diff3 and sdiff"
  version = "3.10"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/diffutils/diffutils-${version}.tar.xz"
    sha256 = "90e5e93cc724e4ebe12ede80df1634063c7a855692685919bfe60b556c9bd09e"
    debian = { suite = "trixie", source = "diffutils" }
  }

  autotools {
    configure = ["--disable-nls"]
  }
}
