package "pkgconf" {
  summary = "Tells compilers where libraries lie: pkg-config"
  version = "1.8.1"
  license = "ISC"

  source {
    debian = {
      suite  = "trixie"
      source = "pkgconf"
      sha256 = "644361ada2942be05655d4452eb018791647c31bba429b287f1f68deb2dc6840"
    }
  }

  # The same for what is compiled here for another machine: told by the name that it is called by, it looks below the
  # sysroot alone.
  autotools "cross" {
    stage     = "cross_tools"
    profiles  = ["gnu"]
    env       = { LDFLAGS = "-s --static" }
    configure = ["--disable-shared"]
    after     = <<-SH
      ln -s pkgconf /out{{ stage.prefix }}/bin/{{ platform.triplet }}-pkg-config
      personalities=/out{{ stage.prefix }}/share/pkgconfig/personality.d
      mkdir -p "$personalities"
      cat > "$personalities/{{ platform.triplet }}.personality" <<END
      Triplet: {{ platform.triplet }}
      SysrootDir: /sysroot
      DefaultSearchPaths: /sysroot/usr/{{ platform.lib }}/pkgconfig:/sysroot/usr/share/pkgconfig
      SystemIncludePaths: /sysroot/usr/include:/usr/include
      SystemLibraryPaths: /sysroot/usr/{{ platform.lib }}:/usr/{{ platform.lib }}
      END
    SH
    drop      = ["cross/include/**", "cross/lib/**", "cross/share/{aclocal,doc,man}/**"]
  }

  autotools {
    configure = ["--disable-shared", "--with-pkg-config-dir=/usr/${platform.lib}/pkgconfig:/usr/share/pkgconfig",
    "--with-system-includedir=/usr/include", "--with-system-libdir=/usr/${platform.lib}"]
    after = <<-SH
      ln -s pkgconf /out{{ stage.prefix }}/bin/pkg-config
    SH
    drop  = ["usr/include/**", "usr/${platform.lib}/**"]
  }
}
