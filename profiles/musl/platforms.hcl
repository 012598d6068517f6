platform "amd64-musl" {
  profile     = "musl"
  arch        = "amd64"
  libc        = "musl"
  triplet     = "x86_64-vfsb-linux-musl"
  machine     = "x86_64"
  emulator    = { package = "//qemu", program = "usr/bin/qemu-x86_64-static" }
  kernel_arch = "x86"
  vars        = { lib = "lib", gcc = ["--with-arch=x86-64"] }
}

platform "arm64-musl" {
  profile     = "musl"
  arch        = "arm64"
  libc        = "musl"
  triplet     = "aarch64-vfsb-linux-musl"
  machine     = "aarch64"
  emulator    = { package = "//qemu", program = "usr/bin/qemu-aarch64-static" }
  kernel_arch = "arm64"
  vars        = { lib = "lib", gcc = ["--with-arch=armv8-a"] }
}

platform "riscv64-musl" {
  profile     = "musl"
  arch        = "riscv64"
  libc        = "musl"
  triplet     = "riscv64-vfsb-linux-musl"
  machine     = "riscv64"
  emulator    = { package = "//qemu", program = "usr/bin/qemu-riscv64-static" }
  kernel_arch = "riscv"
  vars        = { lib = "lib", gcc = ["--with-arch=rv64gc", "--with-abi=lp64d"] }
}
