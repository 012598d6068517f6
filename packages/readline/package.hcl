package "readline" {
  summary  = "Library for lines that are edited as they are typed"
  version  = "8.2"
  license  = "GPL-3.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://ftp.gnu.org/gnu/readline/readline-${version}.tar.gz"
    sha256 = "3feb7171f16a84ee82ca18a36d7b9be109a52c04f492a053331d7d1095007c35"
    debian = { suite = "trixie", source = "readline" }
  }

  autotools {
    deps      = ["//ncurses"]
    runtime   = ["//ncurses"]
    prepare   = "sed -i 's/-Wl,-rpath,$(libdir) //' support/shobj-conf"
    configure = ["--disable-install-examples", "--disable-static", "--with-curses", "bash_cv_termcap_lib=libtinfo", "bash_cv_wcwidth_broken=no"]
    make      = ["SHLIB_LIBS=-ltinfo"]
  }
}
