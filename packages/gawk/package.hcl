package "gawk" {
  summary = "GNU awk"
  version = "5.2.1"
  license = "GPL-3.0-or-later"

  # Debian's copy lacks the manual's sources.
  source {
    url    = "https://ftp.gnu.org/gnu/gawk/gawk-${version}.tar.gz"
    sha256 = "529e7c8c6acf21ff3a6183f4d763c632810908989c24675c77995d51ac37b79c"
    debian = {
      suite  = "trixie"
      source = "gawk"
      sha256 = "2337a0283b180ec1b9c727973a34781c6478b3ae9bcbdcca0a4dc49861d75a65"
    }
  }

  autotools {
    configure = ["--disable-extensions", "--disable-mpfr", "--disable-nls", "--without-readline"]
    prepare   = <<-SH
      # Neither the manual nor the examples that are cut out of it.
      sed -i '/^SUBDIRS = /,/[^\\]$/ s/\bdoc\b\|\bawklib\b//g' Makefile.in
    SH
  }
}
