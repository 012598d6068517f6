package "pax-utils" {
  summary  = "Looks into ELF files: scanelf, pspax, dumpelf, lddtree"
  version  = "1.3.8"
  license  = "GPL-2.0-only"
  profiles = ["gnu", "seed"]

  source {
    debian = {
      suite  = "trixie"
      source = "pax-utils"
      sha256 = "60a3ae882b0722806aa4f8f0f6256271553259eee0d3875f16c0e3b604503847"
    }
  }

  # Its build is meson's; these are the four programs of it. The filter of system calls is for machines of its own list.
  script {
    runtime = ["//bash"]
    script  = <<-SH
      for header in byteswap.h endian.h glob.h linux/seccomp.h linux/securebits.h sys/prctl.h; do
        name=${header^^}
        echo "#define HAVE_${name//[.\/]/_} 1"
      done > config.h
      echo '#define VCSID "{{ version }}"' > pax_utils_version.h
      options=(-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DINCLUDE_GENERATE_VERSION_H -DVERSION='"{{ version }}"')
      common=(paxinc.c security.c xfuncs.c)
      elf=(paxelf.c paxldso.c)
      mkdir -p /out/usr/bin
      for program in scanelf pspax dumpelf; do
        $CC ${CPPFLAGS-} $CFLAGS "${options[@]}" $LDFLAGS -o "/out/usr/bin/$program" "$program.c" "${elf[@]}" "${common[@]}"
      done
      $CC ${CPPFLAGS-} $CFLAGS "${options[@]}" $LDFLAGS -o /out/usr/bin/scanmacho scanmacho.c paxmacho.c "${common[@]}"
      install -m 755 lddtree.sh /out/usr/bin/lddtree
      install -m 755 symtree.sh /out/usr/bin/symtree
    SH
  }
}
