package "gettext" {
  summary  = "Translations of messages: programs and library"
  version  = "0.23.1"
  license  = "GPL-3.0-or-later AND LGPL-2.1-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://ftp.gnu.org/gnu/gettext/gettext-${version}.tar.xz"
    sha256 = "c1f97a72a7385b7e71dd07b5fea6cdaf12c9b88b564976b23bd8c11857af2970"
    debian = { suite = "trixie", source = "gettext" }
  }

  # The C library's functions of translation are used. The catalogs of its own messages are left out. It packs an archive
  # with the seed's xz: newer ones cut it into a block for each thread.
  autotools {
    env = { LINGUAS = "", XZ_DEFAULTS = "-T1" }
    configure = [
      "--disable-acl", "--disable-csharp", "--disable-curses", "--disable-java", "--disable-libasprintf", "--disable-openmp",
      "--disable-rpath", "--disable-static", "--disable-xattr", "--enable-nls", "--with-included-libunistring",
      "--with-included-libxml", "--without-bzip2", "--without-emacs", "--without-git", "--without-selinux",
    ]
  }
}
