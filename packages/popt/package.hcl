package "popt" {
  summary  = "Library for options of the command line"
  version  = "1.19"
  license  = "MIT"
  profiles = ["gnu", "seed"]

  source {
    debian = {
      suite  = "trixie"
      source = "popt"
      sha256 = "4cd0cd2963d0c4078f65949599d97135c15ee6c09cf3a36a9a1b2753025bb06b"
    }
  }

  autotools {
    configure = ["--disable-nls", "--disable-static"]
  }
}
