package "mpfr" {
  summary = "Floating point numbers of any precision, correctly rounded"
  version = "4.2.2"
  license = "LGPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/mpfr/mpfr-${version}.tar.xz"
    sha256 = "b67ba0383ef7e8a8563734e2e889ef5ec3c3b898a01d00fa0a6869ad81c6ce01"
    debian = { suite = "trixie", source = "mpfr4" }
  }

  # Cross tools find their libraries in the root, all others in the sysroot.
  autotools {
    configure = concat(["--disable-shared", "--with-pic"], stage == "cross_tools" ? ["--with-gmp=/cross"] : [])
    tools     = stage == "cross_tools" ? ["//gmp@cross_tools"] : []
    deps      = stage == "cross_tools" ? [] : ["//gmp"]
    drop      = ["**/share/{doc,info}/**"]
  }
}
