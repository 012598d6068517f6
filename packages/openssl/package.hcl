package "openssl" {
  summary  = "Cryptography and TLS"
  version  = "3.5.7"
  license  = "Apache-2.0"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://github.com/openssl/openssl/releases/download/openssl-${version}/openssl-${version}.tar.gz"
    sha256 = "a8c0d28a529ca480f9f36cf5792e2cd21984552a3c8e4aa11a24aa31aeac98e8"
    debian = { suite = "trixie", source = "openssl" }
  }

  # Its Configure is a program in Perl, with modules that the seed lacks. For armv7 it links libatomic.
  script {
    tools   = ["//perl/host:${exec.arch}"]
    deps    = platform.arch == "armv7" ? ["//gcc/libatomic"] : []
    runtime = platform.arch == "armv7" ? ["//gcc/libatomic"] : []
    vars = { target = lookup({
      amd64 = "linux-x86_64", arm64 = "linux-aarch64", armv7 = "linux-armv4", i686 = "linux-x86", riscv64 = "linux64-riscv64"
    }, platform.arch, "linux-generic32") }
    script = <<-SH
      # It keeps what it was compiled with, and needs no other package.
      unset CPPFLAGS
      export LDFLAGS=-Wl,-s HASHBANGPERL=/usr/bin/perl
      ./Configure {{ vars.target }} --prefix={{ stage.prefix }} --libdir={{ platform.lib }} --openssldir=/etc/ssl shared no-docs no-tests
      make build_sw
      make DESTDIR=/out install_sw install_ssldirs
      rm /out/usr/{{ platform.lib }}/*.a
    SH
  }
}
