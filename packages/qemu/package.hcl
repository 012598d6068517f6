package "qemu" {
  summary = "Emulators that run the programs of other machines, statically linked, from Debian 12"
  license = "GPL-2.0-only"

  seed {
    profiles = [] # no pattern means it
    apt {
      suite    = "bookworm"
      packages = ["qemu-user-static"]
    }
    # What stays: aarch64, arm, i386, riscv64 and x86_64.
    drop = [
      "etc/**", "var/**", "usr/{lib,libexec,sbin,share}/**",
      "usr/bin/qemu-{[b-hj-qs-wyz]*,aarch64_be,alpha,armeb,riscv32,xtensa*}-static",
    ]
  }
}
