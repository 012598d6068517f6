package "musl" {
  summary  = "C library, small and strict"
  version  = "1.2.5"
  license  = "MIT"
  profiles = ["musl"]

  source {
    url    = "https://musl.libc.org/releases/musl-${version}.tar.gz"
    sha256 = "a9a118bbe84d8764da0ea0d28b3ab3fae8477fc7e4085d90102b8596fc7c75e4"
    debian = { suite = "trixie", source = "musl" }
  }
  patches = ["patches/*.patch"]

  # The headers need no compiler, and libgcc needs nothing else of a C library: a node of
  # their own keeps a patch to a function from building libgcc again.
  script "headers" {
    bootstrap = true
    deps      = ["//linux-headers"]
    script    = <<-SH
      make ARCH={{ platform.machine }} prefix=/usr DESTDIR=/out install-headers
    SH
  }

  script {
    bootstrap = true
    tools     = ["//binutils/cross", "//gcc/cross"]
    deps      = ["//musl/headers", "//gcc/libgcc"]
    script    = <<-SH
      ./configure --build={{ exec.triplet }} --host={{ platform.triplet }} --prefix=/usr --syslibdir=/usr/lib --disable-wrapper
      make
      make DESTDIR=/out install-libs
      ln -sf libc.so /out/usr/lib/ld-musl-{{ platform.machine }}.so.1
    SH
  }
}
