package "coreutils" {
  summary = "GNU core utilities"
  version = "9.7"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/coreutils/coreutils-${version}.tar.xz"
    sha256 = "e8bb26ad0293f9b5a1fc43fb42ba970e312c66ce92c1b0b16713d7500db251bf"
    debian = { suite = "trixie", source = "coreutils" }
  }

  # One program with a link for each name: a fifth of the size.
  autotools {
    env = { FORCE_UNSAFE_CONFIGURE = "1" }
    configure = [
      "--enable-install-program=hostname", "--enable-single-binary=symlinks",
      "--disable-acl", "--disable-libcap", "--disable-nls", "--disable-xattr",
      "--without-libgmp", "--without-openssl", "--without-selinux",
    ]
    drop  = stage == "hybrid" ? ["usr/bin/{arch,uname}"] : []
    allow = [{ path = "usr/share/info/coreutils.info", value = "/build", reason = "an example in the manual" }]
  }
}
