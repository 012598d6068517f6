package "bison" {
  summary = "GNU bison, a generator of parsers"
  version = "3.8.2"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/bison/bison-${version}.tar.xz"
    sha256 = "9bba0214ccf7f1079c5d59210045227bcf619519840ebfa80cd3849cff5a5bf2"
    debian = {
      suite  = "trixie"
      source = "bison"
      sha256 = "dff8a3c96dd34121828f62a7fa49e1f7765815b89e59f564e8d2a9e71c177be5"
    }
  }

  # The program, what it reads, and liby: the rest needs the manual, which Debian's copy lacks, or runs what was built.
  autotools {
    configure    = ["--disable-nls"]
    before_build = <<-SH
      # Its headers, without the examples among them.
      printf 'include Makefile\nheaders: $(BUILT_SOURCES)\n' > headers.mk
      make -f headers.mk mfcalc_sources= rpcalc_sources= simple_sources= calcxx_sources= headers
    SH
    make         = ["src/bison", "lib/liby.a", "src/yacc"]
    install = [
      "install-binPROGRAMS", "install-nodist_binSCRIPTS", "install-libLIBRARIES", "install-aclocalDATA",
      "install-dist_pkgdataDATA", "install-dist_m4sugarDATA", "install-dist_skeletonsDATA", "install-dist_xsltDATA",
    ]
    runtime = ["//m4"]
  }
}
