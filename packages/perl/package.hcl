package "perl" {
  summary  = "The language Perl"
  version  = "5.40.1"
  license  = "Artistic-1.0-Perl OR GPL-1.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://www.cpan.org/src/5.0/perl-${version}.tar.xz"
    sha256 = "dfa20c2eef2b4af133525610bbb65dd13777ecf998c9c5b1ccf0d308e732ee3f"
    debian = { suite = "trixie", source = "perl" }
  }

  # It asks the machine a thousand questions by running programs, and does not cross-compile well.
  script {
    stage   = profile == "gnu" ? "mchroot" : "seed"
    deps    = profile == "gnu" ? ["//libxcrypt"] : []
    runtime = profile == "gnu" ? ["//libxcrypt"] : []
    env     = { LDFLAGS = "-Wl,-s" } # which it remembers
    script  = "perl.sh.j2"
  }

  # The interpreter to run here, for the scripts of other packages' builds.
  script "host" {
    stage    = "host"
    profiles = ["gnu"]
    script   = "perl.sh.j2"
  }

  # Without modules: what perl's own build runs for minutes, where the platform's would be emulated.
  script "mini" {
    stage    = "host"
    profiles = ["gnu"]
    script   = "perl.sh.j2"
  }
}
