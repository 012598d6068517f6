package "zstd" {
  summary  = "Compressor, with its library"
  version  = "1.5.7"
  license  = "BSD-3-Clause OR GPL-2.0-only"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://github.com/facebook/zstd/releases/download/v${version}/zstd-${version}.tar.gz"
    sha256 = "eb33e51f49a15e023950cd7825ca74a4a2b43db8354825ac24fc1b7ee09e6fa3"
    debian = {
      suite  = "trixie"
      source = "libzstd"
      sha256 = "0c092ef267edce57ba7f3f2645c861f72eaf5e76273c6c3632869423464b90a5"
    }
  }

  # Assertions of the library hold names of source files.
  make {
    prepare = "export CFLAGS=\"$CFLAGS -ffile-prefix-map=/build/src/=\""
    make    = ["-C", "programs", "zstd-release", "HAVE_ZLIB=0", "HAVE_LZMA=0", "HAVE_LZ4=0"]
    install = ["-C", "programs", "install", "HAVE_ZLIB=0", "HAVE_LZMA=0", "HAVE_LZ4=0"]
    after   = <<-SH
      make "${settings[@]}" -C lib DESTDIR=/out install-pc install-shared install-includes
    SH
  }
}
