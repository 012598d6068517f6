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

  autotools {
    configure = ["--disable-shared", "--with-pkg-config-dir=/usr/lib/pkgconfig:/usr/share/pkgconfig",
    "--with-system-includedir=/usr/include", "--with-system-libdir=/usr/lib"]
    after = <<-SH
      ln -s pkgconf /out{{ stage.prefix }}/bin/pkg-config
    SH
    drop  = ["usr/include/**", "usr/lib/**"]
  }
}
