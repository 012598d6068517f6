package "hybrid" {
  summary = "What stands in an emulated root for the slowest of its programs"
  profile = "gnu"

  # The cross compiler by the native one's names. It looks for everything where that would.
  script "compiler" {
    bootstrap = true
    stage     = "hybrid"
    runtime   = ["//binutils/cross", "//gcc/cross"]
    script    = <<-SH
      mkdir -p /out/usr/bin
      cd /out/usr/bin
      for name in cpp g++ gcc; do
        printf '#!/usr/bin/bash\nexec /cross/bin/{{ platform.triplet }}-%s --sysroot=/ "$@"\n' "$name" > "$name"
        chmod 755 "$name"
      done
      ln -s g++ c++
      ln -s gcc cc
      for name in addr2line ar as c++filt elfedit ld ld.bfd nm objcopy objdump ranlib readelf size strings strip; do
        ln -s /cross/bin/{{ platform.triplet }}-$name $name
      done
    SH
  }

  # What programs of this machine would say of it, the platform's must not.
  script "uname" {
    bootstrap = true
    stage     = "hybrid"
    script    = <<-SH
      mkdir -p /out/usr/bin
      cat > /out/usr/bin/uname <<'END'
      #!/usr/bin/bash
      here=$(/usr/bin/coreutils --coreutils-prog=uname -m)
      text=$(/usr/bin/coreutils --coreutils-prog=uname "$@") || exit
      echo "${text//$here/{{ platform.machine }}}"
      END
      printf '#!/usr/bin/bash\necho {{ platform.machine }}\n' > /out/usr/bin/arch
      chmod 755 /out/usr/bin/arch /out/usr/bin/uname
    SH
  }
}
