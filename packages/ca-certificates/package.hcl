package "ca-certificates" {
  summary  = "The certificate authorities that Mozilla trusts with servers"
  version  = "20250419"
  license  = "MPL-2.0"
  profiles = ["gnu", "seed"]

  # Mozilla's list has no release of its own but those of NSS, which is 300 times as large.
  source {
    url    = "https://deb.debian.org/debian/pool/main/c/ca-certificates/ca-certificates_${version}.tar.xz"
    sha256 = "33b44ef78653ecd3f0f2f13e5bba6be466be2e7da72182f737912b81798ba5d2"
    debian = { suite = "sid", source = "ca-certificates", file = "ca-certificates_${version}.tar.xz" }
  }
  source "bundle.py" { file = "files/bundle.py" }

  script {
    bootstrap = true
    tools     = ["//python/host:${exec.arch}"]
    script    = <<-SH
      mkdir -p /out/etc/ssl/certs
      python3 -X utf8 /build/sources/bundle.py < mozilla/certdata.txt > /out/etc/ssl/certs/ca-certificates.crt
      ln -s certs/ca-certificates.crt /out/etc/ssl/cert.pem # where OpenSSL looks
    SH
  }
}
