package "alkaline" {
  summary = "A small container: musl, bash, coreutils and what a shell script expects"
  version = "1"
  license = "MIT"
  profile = "musl"

  source "group" { file = "files/group" }
  source "hosts" { file = "files/hosts" }
  source "os-release" { file = "files/os-release" }
  source "passwd" { file = "files/passwd" }
  source "profile" { file = "files/profile" }
  source "shells" { file = "files/shells" }

  # The folders of the file system hierarchy and the few files of our own.
  script "base" {
    bootstrap = true
    script    = <<-SH
      cd /out
      mkdir -p dev etc home mnt opt proc run srv sys usr/bin usr/lib usr/sbin usr/share var/cache var/lib var/log
      mkdir -m 0700 root
      mkdir -m 1777 tmp var/tmp
      ln -s usr/bin bin
      ln -s usr/lib lib
      ln -s usr/sbin sbin
      ln -s ../run var/run
      for file in group hosts os-release passwd profile shells; do
        install -m 0644 "/build/sources/$file" "etc/$file"
      done
      ln -s ../proc/self/mounts etc/mtab
    SH
  }

  rootfs "rootfs" {
    # The C library comes first: every program needs it.
    contents = [
      "//alkaline/base", "//musl", "//bash", "//coreutils", "//findutils", "//grep", "//gzip", "//sed", "//tar",
      "//zlib",
    ]
    # What is for building, for reading, or for a terminal's maker.
    exclude = [
      "usr/include/**", "usr/lib/*.a", "usr/lib/*.o", "usr/lib/bash/**", "usr/lib/pkgconfig/**",
      "usr/share/{doc,info,locale,man}/**",
      "usr/bin/bashbug", "usr/bin/ncurses*-config", "usr/bin/{captoinfo,infocmp,infotocap,tabs,tic,toe}",
      "usr/lib/lib{curses,form,menu,ncurses,panel}.so*",
      "usr/bin/{locate,updatedb}", "usr/libexec/frcode", "usr/libexec/rmt", "usr/share/tabset/**",
    ]
  }

  image "image" {
    rootfs = "//alkaline/rootfs"
    config {
      cmd = ["/usr/bin/bash"]
      env = ["PATH=/usr/bin:/usr/sbin", "TERM=xterm"]
    }
  }

  group {
    members = ["//alkaline/rootfs", "//alkaline/image"]
  }

  # The same with a compiler: it compiles in itself what a GNU package's `configure && make` asks for.
  rootfs "devel-rootfs" {
    contents = [
      "//alkaline/base", "//musl", "//bash", "//coreutils", "//findutils", "//grep", "//gzip", "//sed", "//tar", "//zlib",
      "//gcc", "//bison", "//bzip2", "//diffutils", "//flex", "//gawk", "//m4", "//make", "//patch", "//pkgconf", "//xz",
    ]
    exclude = [
      "usr/bin/bashbug", "usr/lib/bash/**", "usr/share/{doc,info,locale,man}/**",
      "usr/bin/{locate,updatedb}", "usr/libexec/frcode",
    ]
  }

  image "devel-image" {
    rootfs = "//alkaline/devel-rootfs"
    config {
      cmd = ["/usr/bin/bash"]
      env = ["PATH=/usr/bin:/usr/sbin", "TERM=xterm"]
    }
  }

  group "devel" {
    members = ["//alkaline/devel-rootfs", "//alkaline/devel-image"]
  }
}
