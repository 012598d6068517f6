package "nano" {
  summary  = "Small text editor"
  version  = "8.4"
  license  = "GPL-3.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://www.nano-editor.org/dist/v8/nano-${version}.tar.xz"
    sha256 = "5ad29222bbd55624d87ea677928b3106a743114d6c6f9b41f36c97be2a8e628d"
    debian = { suite = "trixie", source = "nano" }
  }

  # Its ncurses for wide characters has another name here.
  autotools {
    deps    = ["//ncurses"]
    runtime = ["//ncurses"]
    configure = [
      "--disable-libmagic", "--disable-nls", "--enable-utf8", "--sysconfdir=/etc",
      "NCURSESW_CFLAGS=-DNCURSES_WIDECHAR=1", "NCURSESW_LIBS=-lncurses -ltinfo",
      "ac_cv_lib_ncursesw_key_defined=yes", "ac_cv_lib_ncursesw_set_escdelay=yes", "ac_cv_lib_ncursesw_use_default_colors=yes",
      "gl_cv_func_strcasecmp_works=yes",
    ]
  }
}
