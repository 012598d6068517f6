package "qemu" {
  summary = "Emulators that run the programs of other machines, statically linked, from Debian 12"
  license = "GPL-2.0-only"

  seed {
    apt {
      suite    = "bookworm"
      packages = ["qemu-user-static"]
    }
    drop = ["etc/**", "usr/{lib,libexec,share,sbin}/**", "usr/bin/qemu-{alpha,cris,hexagon,hppa,loongarch64,m68k,microblaze,microblazeel,mips,mips64,mips64el,mipsel,mipsn32,mipsn32el,nios2,or1k,ppc,ppc64,ppc64le,s390x,sh4,sh4eb,sparc,sparc32plus,sparc64,xtensa,xtensaeb,aarch64_be,armeb,riscv32}-static", "var/**"]
  }
}
