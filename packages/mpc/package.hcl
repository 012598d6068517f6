package "mpc" {
  summary = "Complex numbers of any precision, correctly rounded"
  version = "1.3.1"
  license = "LGPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/mpc/mpc-${version}.tar.gz"
    sha256 = "ab642492f5cf882b74aa0cb730cd410a81edcdbec895183ce930e706c1c759b8"
    debian = { suite = "trixie", source = "mpclib3" }
  }

  # Cross tools find their libraries in the root, all others in the sysroot.
  autotools {
    configure = concat(["--disable-shared", "--with-pic"], stage == "cross_tools" ? ["--with-gmp=/cross", "--with-mpfr=/cross"] : [])
    tools     = stage == "cross_tools" ? ["//gmp@cross_tools", "//mpfr@cross_tools"] : []
    deps      = stage == "cross_tools" ? [] : ["//gmp", "//mpfr"]
    drop      = ["**/share/info/**"]
  }
}
