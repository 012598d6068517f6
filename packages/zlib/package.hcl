package "zlib" {
  summary = "Compression library"
  version = "1.3.1"
  license = "Zlib"

  source {
    url    = "https://github.com/madler/zlib/releases/download/v${version}/zlib-${version}.tar.gz"
    sha256 = "9a93b2b7dfdac77ceba5a558a580e74667dd6fede4585b91eefb60f03b72df23"
    debian = {
      suite  = "trixie"
      source = "zlib"
      sha256 = "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb"
    }
  }

  # Its configure is not autoconf's: the platform comes in CHOST.
  autotools {
    bare = true
    env  = { CHOST = platform.triplet }
  }
}
