package "texinfo" {
  summary  = "Documentation of GNU: makes and shows it"
  version  = "6.8"
  license  = "GPL-3.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://ftp.gnu.org/gnu/texinfo/texinfo-${version}.tar.xz"
    sha256 = "8eb753ed28bca21f8f56c1a180362aed789229bd62fff58bf8368e9beb59fec4"
    debian = { suite = "bookworm", source = "texinfo" }
  }

  # The seed's Perl lacks modules that its configure asks for.
  autotools {
    tools     = ["//perl/host:${exec.arch}"]
    deps      = ["//ncurses"]
    runtime   = ["//ncurses", "//perl"]
    env       = { BUILD_AR = "ar", BUILD_RANLIB = "ranlib", PERL = "/cross/bin/perl" }
    prepare   = "sed -i 's/--disable-rpath --disable-nls/& --disable-perl-xs/' configure"
    configure = ["--disable-nls", "--disable-perl-xs"]
    # It configures itself once more for what must run here, but leaves out makedoc, since here is no library for terminals.
    before_build = <<-SH
      if [[ -d tools ]]; then
        make -C tools/gnulib/lib
        make -C tools/info makedoc
      fi
    SH
    after        = "grep -lrI /cross/bin/perl /out | xargs sed -i 's#/cross/bin/perl#/usr/bin/perl#g'"
  }
}
