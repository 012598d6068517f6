package "patch" {
  summary = "Applies differences to files"
  version = "2.8"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/patch/patch-${version}.tar.xz"
    sha256 = "f87cee69eec2b4fcbf60a396b030ad6aa3415f192aa5f7ee84cad5e11f7f5ae3"
    debian = { suite = "trixie", source = "patch" }
  }

  autotools {
    configure = ["--disable-xattr"]
  }
}
