package "bash" {
  summary = "The GNU shell"
  version = "5.2.37"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/bash/bash-${version}.tar.gz"
    sha256 = "9599b22ecd1d5787ad7d3b7bf0c59f312b3396d1e281175dd1f8a4014da621ff"
    debian = {
      suite  = "trixie"
      source = "bash"
      sha256 = "370704c9c859f4060b7df19055e43bb9b5fa09d887699cf6ba87885c5485d36a"
    }
  }

  autotools {
    deps    = stage == "hybrid" ? [] : ["//ncurses"]
    runtime = stage == "hybrid" ? [] : ["//ncurses"]
    drop    = ["usr/${platform.lib}/bash/Makefile.*"] # for more commands of the kind: they lead to the build folder

    # What follows the options says what is true of every Linux: configure would have to run programs to learn it,
    # or look at the folders of the machine that it runs on.
    configure = [
      "--disable-nls", "--without-bash-malloc", "bash_cv_termcap_lib=${stage == "hybrid" ? "gnutermcap" : "libtinfo"}",
      "bash_cv_dev_fd=standard", "bash_cv_dev_stdin=present", "bash_cv_dup2_broken=no",
      "bash_cv_func_ctype_nonascii=no", "bash_cv_func_sigsetjmp=present", "bash_cv_func_strcoll_broken=no",
      "bash_cv_getcwd_malloc=yes", "bash_cv_getenv_redef=yes", "bash_cv_job_control_missing=present",
      "bash_cv_mail_dir=/var/mail", "bash_cv_must_reinstall_sighandlers=no", "bash_cv_pgrp_pipe=no",
      "bash_cv_printf_a_format=yes", "bash_cv_sys_named_pipes=present", "bash_cv_ulimit_maxfds=yes",
      "bash_cv_unusable_rtsigs=no", "bash_cv_wcontinued_broken=no", "bash_cv_wcwidth_broken=no",
    ]
    # In an emulated root it says what the platform's own would.
    make  = stage == "hybrid" ? ["Machine=${platform.machine}", "MACHTYPE=${platform.triplet}"] : []
    after = <<-SH
      ln -s bash /out/usr/bin/sh
    SH
  }
}
