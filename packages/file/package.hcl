package "file" {
  summary  = "Says what kind of file a file is"
  version  = "5.46"
  license  = "BSD-2-Clause-Darwin"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://astron.com/pub/file/file-${version}.tar.gz"
    sha256 = "c9cc77c7c560c543135edc555af609d5619dbef011997e988ce40a3d75d86088"
    debian = { suite = "trixie", source = "file" }
  }

  # Its data are compiled by itself, so by one of the same version that runs here.
  autotools {
    prepare = <<-SH
      mkdir /build/here
      cd /build/here
      env -u CPPFLAGS -u LDFLAGS -u AR -u NM -u RANLIB -u STRIP CC="${CC_FOR_BUILD:-gcc}" CFLAGS=-O1 ../src/configure --disable-shared \
        --disable-bzlib --disable-libseccomp --disable-lzlib --disable-xzlib --disable-zlib --disable-zstdlib
      make -C src
    SH
    configure = [
      "--disable-bzlib", "--disable-libseccomp", "--disable-lzlib", "--disable-static", "--disable-xzlib", "--disable-zlib",
      "--disable-zstdlib",
    ]
    make = ["FILE_COMPILE=/build/here/src/file"]
  }
}
