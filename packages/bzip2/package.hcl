package "bzip2" {
  summary = "Compressor, with its library"
  version = "1.0.8"
  license = "bzip2-1.0.6"

  source {
    url    = "https://sourceware.org/pub/bzip2/bzip2-${version}.tar.gz"
    sha256 = "ab5a03176ee106d3f0fa90e381da478ddae405918153cca248e682cd0c4a2269"
    debian = { suite = "trixie", source = "bzip2" }
  }

  # `make install` knows no DESTDIR, and `make` tests what it made by running it.
  script {
    script = <<-SH
      settings=("CC=$CC" "AR=$AR" "RANLIB=$RANLIB" "CFLAGS=${CPPFLAGS-} $CFLAGS -fPIC -D_FILE_OFFSET_BITS=64" "LDFLAGS=$LDFLAGS")
      make "${settings[@]}" libbz2.a bzip2 bzip2recover
      make "${settings[@]}" -f Makefile-libbz2_so
      cd /out
      mkdir -p usr/bin usr/include usr/{{ platform.lib }} usr/share/man/man1
      install -m 755 /build/src/{bzip2,bzip2recover,bzdiff,bzgrep,bzmore} usr/bin
      install -m 644 /build/src/bzlib.h usr/include
      install -m 644 /build/src/libbz2.a usr/{{ platform.lib }}
      install -m 755 /build/src/libbz2.so.{{ version }} usr/{{ platform.lib }}
      install -m 644 /build/src/*.1 usr/share/man/man1
      ln -s libbz2.so.{{ version }} usr/{{ platform.lib }}/libbz2.so.1.0
      ln -s libbz2.so.1.0 usr/{{ platform.lib }}/libbz2.so
      ln -s bzip2 usr/bin/bunzip2
      ln -s bzip2 usr/bin/bzcat
      ln -s bzdiff usr/bin/bzcmp
      ln -s bzgrep usr/bin/bzegrep
      ln -s bzgrep usr/bin/bzfgrep
      ln -s bzmore usr/bin/bzless
    SH
  }
}
