package "curl" {
  summary  = "Transfers by HTTP and other protocols: program and library"
  version  = "8.14.1"
  license  = "curl"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://curl.se/download/curl-${version}.tar.gz"
    sha256 = "6766ada7101d292b42b8b15681120acd68effa4a9660935853cf6d61f0d984d4"
    debian = { suite = "trixie", source = "curl" }
  }

  autotools {
    deps    = ["//openssl", "//zlib"]
    runtime = ["//openssl", "//zlib"]
    configure = [
      "--disable-docs", "--disable-ldap", "--disable-ldaps", "--disable-manual", "--disable-rtsp", "--disable-static",
      "--with-ca-bundle=/etc/ssl/certs/ca-certificates.crt", "--with-openssl", "--with-zlib", "--without-brotli", "--without-libgsasl",
      "--without-libidn2", "--without-libpsl", "--without-librtmp", "--without-libssh2", "--without-nghttp2", "--without-zstd",
    ]
    # What it was configured with.
    after = "sed -i 's#-[IL]/sysroot[^ ]*##g' /out/usr/bin/curl-config"
  }
}
