package "less" {
  summary  = "Pager"
  version  = "668"
  license  = "GPL-3.0-or-later OR BSD-2-Clause"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://www.greenwoodsoftware.com/less/less-${version}.tar.gz"
    sha256 = "2819f55564d86d542abbecafd82ff61e819a3eec967faa36cd3e68f1596a44b8"
    debian = { suite = "trixie", source = "less" }
  }

  autotools {
    deps      = ["//ncurses"]
    runtime   = ["//ncurses"]
    configure = ["--with-regex=posix", "--sysconfdir=/etc"]
  }
}
