package "autoconf" {
  summary  = "Makes configure scripts"
  version  = "2.72"
  license  = "GPL-3.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://ftp.gnu.org/gnu/autoconf/autoconf-${version}.tar.xz"
    sha256 = "ba885c1319578d6c94d46e9b0dceb4014caafe2490e437a0dbca3f270a223f5a"
    debian = { suite = "trixie", source = "autoconf" }
  }

  # Scripts for m4 and Perl, the same on every machine. The seed's Perl lacks modules that they need.
  autotools {
    tools     = ["//perl/host:${exec.arch}"]
    runtime   = ["//m4", "//perl"]
    env       = { PERL = "/cross/bin/perl", M4 = "/usr/bin/m4", EMACS = "no" }
    configure = ["ac_cv_prog_gnu_m4=yes"]
    after     = "grep -lrI /cross/bin/perl /out | xargs sed -i 's#/cross/bin/perl#/usr/bin/perl#g'"
  }
}
