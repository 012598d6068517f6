package "findutils" {
  summary = "GNU find and xargs"
  version = "4.10.0"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/findutils/findutils-${version}.tar.xz"
    sha256 = "1387e0b67ff247d2abde998f90dfbf70c1491391a59ddfecb8ae698789f0a4f5"
    debian = { suite = "trixie", source = "findutils" }
  }

  autotools {
    configure = ["--disable-nls", "--localstatedir=/var/lib/locate", "--without-selinux"]
  }
}
