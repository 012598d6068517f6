package "automake" {
  summary  = "Makes makefiles for configure scripts"
  version  = "1.17"
  license  = "GPL-2.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://ftp.gnu.org/gnu/automake/automake-${version}.tar.xz"
    sha256 = "8920c1fc411e13b90bf704ef9db6f29d540e76d232cb3b2c9f4dc4cc599bd990"
    debian = { suite = "trixie", source = "automake-1.17" }
  }

  # Scripts in Perl, the same on every machine. That there is autoconf need not be tried, for which it would have to run here.
  autotools {
    tools     = ["//perl/host:${exec.arch}"]
    runtime   = ["//autoconf"]
    env       = { PERL = "/cross/bin/perl" }
    configure = ["am_cv_autoconf_installed=yes", "am_cv_autoconf_version=yes", "am_cv_autoconf_works=yes"]
    after     = "grep -lrI /cross/bin/perl /out | xargs sed -i 's#/cross/bin/perl#/usr/bin/perl#g'"
  }
}
