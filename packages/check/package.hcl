package "check" {
  summary  = "Unit tests for C"
  version  = "0.15.2"
  license  = "LGPL-2.1-or-later"
  profiles = ["gnu", "seed"]

  source {
    debian = {
      suite  = "trixie"
      source = "check"
      sha256 = "8451b68ac5d6f3157b24f22eceff575bcf566264f6d78f3852f89d4e08cf42e1"
    }
  }

  autotools {
    tools     = ["//gnuconfig"]
    prepare   = "cp /usr/share/gnuconfig/config.sub ." # its own is of 2014, and knows no riscv64
    configure = ["--disable-static", "--disable-subunit", "--disable-build-docs"]
  }
}
