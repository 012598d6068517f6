package "seed" {
  summary = "The first toolchain: gcc 12, binutils, make and what configure scripts call, from Debian 12"

  seed {
    apt {
      suite = "bookworm"
      packages = [
        "bash", "bison", "bzip2", "coreutils", "diffutils", "findutils", "flex", "g++", "gawk", "gcc", "grep",
        "gzip", "m4", "make", "patch", "perl-base", "sed", "tar", "xz-utils", "zstd",
      ]
    }
    # What maintainer scripts and update-alternatives would have set up.
    alternatives = {
      "usr/bin/awk"   = "gawk"
      "usr/bin/c++"   = "g++"
      "usr/bin/cc"    = "gcc"
      "usr/bin/sh"    = "bash"
      "usr/bin/which" = "which.debianutils"
      "usr/bin/yacc"  = "bison.yacc"
    }
    # Nothing that a build script reads: a third of the size.
    drop = [
      "boot/**", "var/**",
      "usr/share/{bug,doc,doc-base,gdb,info,lintian,locale,man,menu}/**",
      "usr/bin/*lto-dump*", "usr/lib/gcc/**/lto1", "usr/lib/gcc/**/lib{a,l,t,ub}san*", "usr/lib/x86_64-linux-gnu/lib{a,l,t,ub}san.so*",
      "usr/bin/*gprofng*", "usr/bin/gp-*", "usr/lib/x86_64-linux-gnu/gprofng/**", "usr/lib/x86_64-linux-gnu/libgprofng*",
    ]
  }

  # Another one, with gcc 14: vfsb verify --other-seed //seed/trixie says whether anything depends on which it was.
  seed "trixie" {
    profiles = [] # no pattern means it
    apt {
      suite = "trixie"
      packages = [
        "bash", "bison", "bzip2", "coreutils", "diffutils", "findutils", "flex", "g++", "gawk", "gcc", "grep",
        "gzip", "m4", "make", "patch", "perl-base", "sed", "tar", "xz-utils", "zstd",
      ]
    }
    alternatives = {
      "usr/bin/awk"   = "gawk"
      "usr/bin/c++"   = "g++"
      "usr/bin/cc"    = "gcc"
      "usr/bin/sh"    = "bash"
      "usr/bin/which" = "which.debianutils"
      "usr/bin/yacc"  = "bison.yacc"
    }
    drop = [
      "boot/**", "var/**",
      "usr/share/{bug,doc,doc-base,gdb,info,lintian,locale,man,menu}/**",
      "usr/bin/*lto-dump*", "usr/lib/gcc/**/lto1", "usr/lib/gcc/**/lib{a,l,t,ub}san*", "usr/lib/x86_64-linux-gnu/lib{a,l,t,ub}san.so*",
      "usr/bin/*gprofng*", "usr/bin/gp-*", "usr/lib/x86_64-linux-gnu/gprofng/**", "usr/lib/x86_64-linux-gnu/libgprofng*",
    ]
  }

  # Debian's cross compiler, for platform arm64-seed on an amd64 machine. What it needs of the seed it brings along: the
  # same files.
  seed "arm64" {
    profiles = [] # no pattern means it
    apt {
      suite    = "bookworm"
      packages = ["g++-aarch64-linux-gnu"]
    }
    drop = [
      "boot/**", "var/**",
      "usr/share/{bug,doc,doc-base,gdb,info,lintian,locale,man,menu}/**",
      "usr/bin/*lto-dump*", "usr/lib/gcc*/**/lto1", "usr/**/lib{a,hwa,l,t,ub}san*",
      "usr/bin/*gprofng*", "usr/bin/gp-*", "usr/**/*gprofng*",
    ]
  }
}
