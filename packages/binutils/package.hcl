package "binutils" {
  summary = "Assembler, linker and tools for object files"
  version = "2.44"
  license = "GPL-3.0-or-later"

  source {
    url    = "https://ftp.gnu.org/gnu/binutils/binutils-${version}.tar.xz"
    sha256 = "ce2017e059d63e67ddb9240e9d4ec49c2893605035cd60e92ad53177f4377237"
    debian = {
      suite  = "trixie"
      source = "binutils"
      sha256 = "c41a0272424f41bb01bf828e7ffef1b2d59d1788064fd6b5f1d971717e9320b8"
    }
  }

  # Where a root without the seed may hold them, the cross tools bring their C library along.
  autotools "cross" {
    stage    = "cross_tools"
    env      = { LDFLAGS = profile == "gnu" ? "-s --static" : "-s" } # not -static, which libtool keeps to itself
    profiles = ["gnu", "musl"]
    configure = [
      "--target=${platform.triplet}", "--with-sysroot=/sysroot",
      "--disable-gdb", "--disable-gold", "--disable-gprof", "--disable-gprofng", "--disable-multilib", "--disable-nls",
      "--disable-plugins", "--disable-shared", "--disable-werror",
      "--enable-default-hash-style=gnu", "--enable-deterministic-archives", "--enable-new-dtags",
      "--without-debuginfod", "--without-system-zlib", "--without-zstd",
    ]
    make    = ["MAKEINFO=true"]
    install = ["MAKEINFO=true", "install"]
    drop    = ["cross/include/**", "cross/share/**", "cross/lib/bfd-plugins/**"]
  }

  autotools {
    profiles = ["gnu", "musl"]
    configure = [
      "--disable-gdb", "--disable-gold", "--disable-gprof", "--disable-gprofng", "--disable-multilib", "--disable-nls",
      "--disable-plugins", "--disable-shared", "--disable-werror",
      "--enable-default-hash-style=gnu", "--enable-deterministic-archives", "--enable-new-dtags",
      "--without-debuginfod", "--without-system-zlib", "--without-zstd",
    ]
    make    = ["MAKEINFO=true"]
    install = ["MAKEINFO=true", "install"]
    # The programs lie in usr/bin; their second names, and the libraries that they were made of, serve nobody.
    drop = ["usr/include/**", "usr/${platform.lib}/*.a", "usr/${platform.lib}/bfd-plugins/**", "usr/share/**", "usr/${platform.triplet}/bin/**"]
  }
}
