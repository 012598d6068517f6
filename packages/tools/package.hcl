package "tools" {
  summary = "What profile gnu compiles for the platform on a machine of another kind"
  profile = "gnu"

  group {
    members = [
      "//bash", "//binutils", "//bison", "//bzip2", "//check", "//coreutils", "//diffutils", "//expat", "//file", "//findutils",
      "//flex", "//gawk", "//gcc", "//gettext", "//gmp", "//gnuconfig", "//grep", "//gzip", "//less", "//libxcrypt", "//m4",
      "//make", "//mpc", "//mpfr", "//nano", "//ncurses", "//net-tools", "//pam", "//patch", "//pax-utils", "//pkgconf", "//popt",
      "//readline", "//rsync", "//sed", "//tar", "//util-linux", "//which", "//xz", "//zlib", "//zstd",
    ]
  }
}
