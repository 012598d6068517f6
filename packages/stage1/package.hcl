package "stage1" {
  summary = "A system on glibc from which a distribution starts: shell, core utilities, compilers"
  version = "1"
  license = "MIT"
  profile = "gnu"

  source "fstab" { file = "files/fstab" }
  source "group" { file = "files/group" }
  source "gshadow" { file = "files/gshadow" }
  source "host.conf" { file = "files/host.conf" }
  source "hosts" { file = "files/hosts" }
  source "ld.so.conf" { file = "files/ld.so.conf" }
  source "nsswitch.conf" { file = "files/nsswitch.conf" }
  source "os-release" { file = "files/os-release" }
  source "passwd" { file = "files/passwd" }
  source "profile" { file = "files/profile" }
  source "shadow" { file = "files/shadow" }
  source "shells" { file = "files/shells" }

  # The folders of the file system hierarchy, all of /usr in one place, and the files that no package brings.
  script "base" {
    bootstrap = true
    script    = <<-SH
      cd /out
      mkdir -p boot dev etc/ld.so.conf.d etc/profile.d home media mnt opt proc run srv sys
      mkdir -p usr/bin usr/include usr/lib usr/{{ platform.lib }} usr/libexec usr/sbin usr/share usr/src
      mkdir -p usr/local/bin usr/local/include usr/local/lib usr/local/sbin usr/local/share usr/local/src
      mkdir -p var/cache var/db var/empty var/lib var/log var/mail var/opt var/spool
      mkdir -m 0700 root
      mkdir -m 1777 tmp var/tmp
      ln -s usr/bin bin
      ln -s usr/sbin sbin
      ln -s usr/lib lib
      {% if platform.lib != "lib" %}
      ln -s usr/{{ platform.lib }} {{ platform.lib }}
      {% endif %}
      ln -s ../run var/run
      ln -s ../run/lock var/lock
      ln -s ../mail var/spool/mail
      for file in fstab group host.conf hosts ld.so.conf nsswitch.conf os-release passwd profile shells; do
        install -m 0644 "/build/sources/$file" "etc/$file"
      done
      for file in gshadow shadow; do
        install -m 0640 "/build/sources/$file" "etc/$file"
      done
      ln -s ../proc/self/mounts etc/mtab
    SH
    attrs     = [{ path = "var/mail", mode = "0775", gid = 12 }]
  }

  rootfs "rootfs" {
    # The C library comes first: every program needs it.
    contents = [
      "//stage1/base", "//glibc", "//glibc/locales",
      "//bash", "//binutils", "//bison", "//bzip2", "//coreutils", "//diffutils", "//findutils", "//flex", "//gawk", "//gcc",
      "//gcc/libatomic", "//gcc/libgomp", "//grep", "//gzip", "//linux-headers", "//m4", "//make", "//ncurses", "//patch",
      "//pkgconf", "//sed", "//tar", "//xz", "//zlib",
    ]
    exclude = ["usr/${platform.lib}/libgcc_pic.*"] # of which libgcc_s was made
  }

  # The same for MacaroniOS. Its tools are not in it yet: a workspace that has packages of them lays them over this.
  rootfs "macaroni" {
    contents = ["//stage1/rootfs", "//macaroni"]
  }

  group {
    members = ["//stage1/rootfs"]
  }
}
