package "wget" {
  summary  = "Downloads files"
  version  = "1.25.0"
  license  = "GPL-3.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://ftp.gnu.org/gnu/wget/wget-${version}.tar.gz"
    sha256 = "766e48423e79359ea31e41db9e5c289675947a7fcf2efdcedb726ac9d0da3784"
    debian = { suite = "trixie", source = "wget" }
  }

  autotools {
    deps    = ["//openssl", "//zlib"]
    runtime = ["//openssl", "//zlib"]
    # Profile seed has no pkg-config.
    env = profile == "seed" ? { OPENSSL_CFLAGS = "-pthread", OPENSSL_LIBS = "-lssl -lcrypto", ZLIB_CFLAGS = "-pthread", ZLIB_LIBS = "-lz" } : {}
    # It would say where the libraries lay.
    prepare = "sed -i \"s/'\\$(COMPILE)'/\\$(CC)/; s/ \\$(LIBS) \\$(wget_LDADD)'/'/; s/^\\t\\$(AM_LDFLAGS) \\$(LDFLAGS)'/\\t'/\" src/Makefile.in"
    configure = [
      "--disable-iri", "--disable-nls", "--disable-pcre", "--disable-pcre2", "--disable-rpath", "--sysconfdir=/etc", "--with-ssl=openssl",
      "--without-libpsl", "--without-libuuid", "--without-metalink",
    ]
  }
}
