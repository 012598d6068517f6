package "sed" {
  summary = "The GNU stream editor"
  version = "4.9"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/sed/sed-${version}.tar.xz"
    sha256 = "6e226b732e1cd739464ad6862bd1a1aba42d7982922da7a53519631d24975181"
    debian = { suite = "trixie", source = "sed" }
  }

  autotools {
    configure = ["--disable-acl", "--disable-nls", "--without-selinux"]
  }
}
