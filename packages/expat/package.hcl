package "expat" {
  summary  = "Parser of XML"
  version  = "2.5.0"
  license  = "MIT"
  profiles = ["gnu", "seed"]

  source {
    debian = {
      suite  = "bookworm"
      source = "expat"
      sha256 = "ab00ee05c7067fd10a35c5d2a4922ebba746ddd50ff83b79c828da17bbdf1757"
    }
  }

  # Of trixie's versions each is gone when the next one comes; bookworm's stays. It has no configure, and needs none.
  script {
    script = <<-SH
      cd expat/lib
      touch expat_config.h
      options=(-DHAVE_GETRANDOM -DXML_CONTEXT_BYTES=1024 -DXML_DTD -DXML_GE=1 -DXML_NS -DBYTEORDER=1234 -fvisibility=hidden
        -DXML_ENABLE_VISIBILITY=1 -I.)
      lib=/out/usr/{{ platform.lib }}
      mkdir -p "$lib/pkgconfig" /out/usr/include
      $CC ${CPPFLAGS-} $CFLAGS "${options[@]}" -shared -fPIC $LDFLAGS -Wl,-soname,libexpat.so.1 -o "$lib/libexpat.so.1" *.c
      ln -s libexpat.so.1 "$lib/libexpat.so"
      cp expat.h expat_external.h /out/usr/include
      cat > "$lib/pkgconfig/expat.pc" <<END
      prefix=/usr
      libdir=\${prefix}/{{ platform.lib }}
      includedir=\${prefix}/include
      Name: expat
      Version: {{ version }}
      Description: expat XML parser
      Libs: -L\${libdir} -lexpat
      Cflags: -I\${includedir}
      END
    SH
  }
}
