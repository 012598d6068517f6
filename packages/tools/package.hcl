package "tools" {
  summary = "What profile gnu compiles for the platform on a machine of another kind"
  profile = "gnu"

  group {
    members = [
      "//autoconf", "//automake", "//bash", "//binutils", "//bison", "//bzip2", "//check", "//coreutils", "//curl",
      "//diffutils", "//expat", "//file", "//findutils", "//flex", "//gawk", "//gcc", "//gettext", "//git", "//gmp",
      "//gnuconfig", "//grep", "//gzip", "//less", "//libffi", "//libtool", "//libxcrypt", "//m4", "//make", "//mpc", "//mpfr",
      "//nano", "//ncurses", "//net-tools", "//openssl", "//pam", "//patch", "//pax-utils", "//pkgconf", "//popt", "//python",
      "//readline", "//rsync", "//sed", "//tar", "//texinfo", "//util-linux", "//wget", "//which", "//xz", "//zlib", "//zstd",
    ]
  }
}
