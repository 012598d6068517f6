package "tar" {
  summary = "GNU tar"
  version = "1.35"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/tar/tar-${version}.tar.xz"
    sha256 = "4d62ff37342ec7aed748535323930c7cf94acf71c3591882b26a7ea50f3edc16"
    debian = {
      suite  = "trixie"
      source = "tar"
      sha256 = "9ae57e981c1e73c0eebc2b26c9b0c4497fe310ef1d516ea430efb5470b71f7a8"
    }
  }

  autotools {
    env       = { FORCE_UNSAFE_CONFIGURE = "1" }
    configure = ["--disable-nls", "--without-posix-acls", "--without-selinux", "--without-xattrs"]
  }
}
