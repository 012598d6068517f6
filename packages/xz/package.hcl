package "xz" {
  summary = "Compression with LZMA: programs and library"
  version = "5.8.1"
  license = "0BSD AND LGPL-2.1-or-later AND GPL-2.0-or-later"

  source {
    url    = "https://github.com/tukaani-project/xz/releases/download/v${version}/xz-${version}.tar.xz"
    sha256 = "0b54f79df85912504de0b14aec7971e3f964491af1812d83447005807513cd9e"
    debian = { suite = "trixie", source = "xz-utils" }
  }

  autotools {
    configure = ["--disable-doc", "--disable-nls", "--disable-static"]
  }
}
