package "git" {
  summary  = "Version control"
  version  = "2.47.3"
  license  = "GPL-2.0-only"
  profiles = ["gnu", "seed"]

  source {
    debian = {
      suite  = "trixie"
      source = "git"
      sha256 = "9c2eb1250781b3e5bfef098572d07fdf132d67e6c065e4307332ade9819a1501"
    }
  }

  # The commands that are written in Perl, Python and Tcl are left out.
  script {
    deps    = ["//curl", "//expat", "//zlib"]
    runtime = ["//curl", "//expat", "//zlib"]
    script  = <<-SH
      settings=(prefix={{ stage.prefix }} sysconfdir=/etc "CC=$CC" "AR=$AR" "CFLAGS=${CPPFLAGS-} $CFLAGS" "LDFLAGS=$LDFLAGS"
        uname_S=Linux uname_M={{ platform.machine }} uname_R=6.1 HOST_CPU={{ platform.machine }} SANE_TOOL_PATH= SHELL_PATH=/bin/sh
        CURL_CONFIG=false CURL_LDFLAGS=-lcurl USE_CURL_FOR_IMAP_SEND=1 NO_GETTEXT=1 NO_OPENSSL=1 NO_PERL=1 NO_PYTHON=1 NO_TCLTK=1 INSTALL_SYMLINKS=1 CSPRNG_METHOD=getrandom)
      make "${settings[@]}"
      make "${settings[@]}" DESTDIR=/out install
    SH
  }
}
