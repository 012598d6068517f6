package "rsync" {
  summary  = "Copies files, and only what has changed of them"
  version  = "3.5.0"
  license  = "GPL-3.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    debian = {
      suite  = "trixie"
      source = "rsync"
      sha256 = "d5de0c8a95b00e0f50038ba04526bcbd5fe4f3ff97b4035bb97b084398bfbb60"
    }
  }

  autotools {
    deps    = ["//popt", "//zlib"]
    runtime = ["//popt", "//zlib"]
    in_tree = true
    # Debian's copy lacks the libraries that it would bring, but its configure asks for their folders.
    prepare = "mkdir -p popt zlib; touch popt/dummy.in zlib/dummy.in"
    configure = [
      "--disable-acl-support", "--disable-debug", "--disable-locale", "--disable-lz4", "--disable-md2man", "--disable-openssl",
      "--disable-xattr-support", "--disable-xxhash", "--disable-zstd", "--without-included-popt", "--without-included-zlib",
      "--with-rsyncd-conf=/etc/rsyncd.conf",
    ]
  }
}
