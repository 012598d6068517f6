package "net-tools" {
  summary  = "ifconfig, route, netstat, arp, hostname"
  version  = "2.10"
  license  = "GPL-2.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://downloads.sourceforge.net/project/net-tools/net-tools-${version}.tar.xz"
    sha256 = "b262435a5241e89bfa51c3cabd5133753952f7a7b7b93f32e08cb9d96f580d69"
    debian = { suite = "trixie", source = "net-tools" }
  }

  # configure.sh asks; an empty line takes what config.in proposes. Left out is what hardly anyone
  # has: amateur radio, AppleTalk, IPX and their like.
  make {
    prepare = <<-SH
      sed -i -E 's/( HAVE_(AF(ASH|ATALK|IPX|NETROM|ROSE|X25|AX25)|HW(ARC|ASH|AX25|FDDI|FR|HIPPI|HDLCLAPB|IRDA|NETROM|ROSE|X25)|FW_MASQUERADE)) y/\1 n/' config.in
      make config < <(yes '') > /build/config.log
      export BINDIR=/usr/bin SBINDIR=/usr/sbin
    SH
    replaces = {
      "usr/bin/hostname"              = "it asks for the domain, too, which that of coreutils does not"
      "usr/share/man/man1/hostname.1" = "the manual of the former"
    }
  }
}
