platform "amd64" {
  profile     = "gnu"
  arch        = "amd64"
  libc        = "glibc"
  aliases     = ["x86-64bit"]
  triplet     = "x86_64-vfsb-linux-gnu"
  machine     = "x86_64"
  emulator    = { package = "//qemu", program = "usr/bin/qemu-x86_64-static" }
  kernel_arch = "x86"
  vars = {
    lib    = "lib64"
    loader = "/lib64/ld-linux-x86-64.so.2"
    gcc    = ["--with-arch=x86-64"]
  }
}

platform "arm64" {
  profile     = "gnu"
  arch        = "arm64"
  libc        = "glibc"
  aliases     = ["arm-64bit"]
  triplet     = "aarch64-vfsb-linux-gnu"
  machine     = "aarch64"
  emulator    = { package = "//qemu", program = "usr/bin/qemu-aarch64-static" }
  kernel_arch = "arm64"
  vars = {
    lib    = "lib64"
    loader = "/lib/ld-linux-aarch64.so.1"
    gcc    = ["--with-arch=armv8-a"]
  }
}

platform "riscv64" {
  profile     = "gnu"
  arch        = "riscv64"
  libc        = "glibc"
  aliases     = ["riscv-64bit"]
  triplet     = "riscv64-vfsb-linux-gnu"
  machine     = "riscv64"
  emulator    = { package = "//qemu", program = "usr/bin/qemu-riscv64-static" }
  kernel_arch = "riscv"
  vars = {
    lib    = "lib64"
    loader = "/lib/ld-linux-riscv64-lp64d.so.1"
    gcc    = ["--with-arch=rv64gc", "--with-abi=lp64d"]
  }
}

platform "i686" {
  profile     = "gnu"
  arch        = "i686"
  libc        = "glibc"
  aliases     = ["x86-32bit"]
  triplet     = "i686-vfsb-linux-gnu"
  machine     = "i686"
  emulator    = { package = "//qemu", program = "usr/bin/qemu-i386-static" }
  kernel_arch = "x86"
  vars = {
    lib    = "lib"
    loader = "/lib/ld-linux.so.2"
    gcc    = ["--with-arch=i686"]
  }
}

platform "armv7" {
  profile     = "gnu"
  arch        = "armv7"
  libc        = "glibc"
  aliases     = ["arm-32bit"]
  triplet     = "armv7a-vfsb-linux-gnueabihf"
  machine     = "armv7l"
  emulator    = { package = "//qemu", program = "usr/bin/qemu-arm-static" }
  kernel_arch = "arm"
  vars = {
    lib    = "lib"
    loader = "/lib/ld-linux-armhf.so.3"
    gcc    = ["--with-arch=armv7-a+fp", "--with-float=hard"]
  }
}
