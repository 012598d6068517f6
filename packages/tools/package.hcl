package "tools" {
  summary = "What profile gnu compiles for the platform on a machine of another kind"
  profile = "gnu"

  group {
    members = [
      "//bash", "//binutils", "//bison", "//bzip2", "//coreutils", "//diffutils", "//findutils", "//flex", "//gawk", "//gcc",
      "//gmp", "//grep", "//gzip", "//m4", "//make", "//mpc", "//mpfr", "//ncurses", "//patch", "//pkgconf", "//sed",
      "//tar", "//xz", "//zlib",
    ]
  }
}
