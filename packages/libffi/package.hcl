package "libffi" {
  summary  = "Calls of functions whose types are only known when the program runs"
  version  = "3.4.4"
  license  = "MIT"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://github.com/libffi/libffi/releases/download/v${version}/libffi-${version}.tar.gz"
    sha256 = "d66c56ad259a82cf2a9dfc408b32bf5da52371500b84745f7fb8b645712df676"
    debian = { suite = "bookworm", source = "libffi" }
  }

  autotools {
    configure = ["--disable-docs", "--disable-exec-static-tramp", "--disable-multi-os-directory", "--disable-static"]
  }
}
