package "python" {
  summary = "The language Python"
  version = "3.13.5"
  license = "PSF-2.0"

  source {
    url    = "https://www.python.org/ftp/python/${version}/Python-${version}.tar.xz"
    sha256 = "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640"
    debian = { suite = "trixie", source = "python3.13" }
  }

  # The interpreter to run here, for the scripts of other packages' builds.
  script "host" {
    stage    = "host"
    profiles = ["gnu"]
    script   = <<-SH
      mkdir /build/obj
      cd /build/obj
      # Every module is part of the program, which is static; those whose library is not there are left out.
      export MODULE_BUILDTYPE=static
      ../src/configure --prefix={{ stage.prefix }} --build={{ exec.triplet }} --host={{ stage.host }} \
        --disable-shared --disable-test-modules --with-ensurepip=no --without-doc-strings
      make python
      install -D -m 755 python /out{{ stage.prefix }}/bin/python3
      mkdir -p /out{{ stage.libdir }}/python3.13/lib-dynload
      cd ../src/Lib
      rm -rf ensurepip idlelib test tkinter turtledemo
      cp -r . /out{{ stage.libdir }}/python3.13
    SH
  }

  script {
    profiles = ["gnu", "seed"]
    tools    = ["//python/host:${exec.arch}"]
    deps     = ["//bzip2", "//expat", "//libffi", "//ncurses", "//openssl", "//readline", "//xz", "//zlib"]
    runtime  = ["//bzip2", "//expat", "//libffi", "//ncurses", "//openssl", "//readline", "//xz", "//zlib"]
    script   = "python.sh.j2"
  }
}
