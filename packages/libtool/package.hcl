package "libtool" {
  summary  = "Makes shared libraries on any system"
  version  = "2.5.4"
  license  = "GPL-2.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://ftp.gnu.org/gnu/libtool/libtool-${version}.tar.xz"
    sha256 = "f81f5860666b0bc7d84baddefa60d1cb9fa6fceb2398cc3baca6afaa60266675"
    debian = {
      suite  = "trixie"
      source = "libtool"
      sha256 = "d9189031edeaa6aa74695b2aeb80a8c26df50b29d8b72c991667e01adecea42c"
    }
  }

  # What it was told of the compiler here is for the platform's own, which lies elsewhere and has another name.
  autotools {
    after = <<-SH
      sed -i -e '/^build\(_alias\)\?=/s#{{ exec.triplet }}#{{ stage.host }}#' -e 's#\<{{ platform.triplet }}-\([a-z]\)#\1#g' \
        -e 's#/cross/#/usr/#g' -e 's#/sysroot##g' /out/usr/bin/libtool
    SH
  }
}
