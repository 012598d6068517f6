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
  source "protocols" { file = "files/protocols" }
  source "services" { file = "files/services" }
  source "shadow" { file = "files/shadow" }
  source "shells" { file = "files/shells" }

  # To be built in what was built.
  source "make" {
    url    = "https://ftp.gnu.org/gnu/make/make-4.4.1.tar.gz"
    sha256 = "dd16fb1d67bfab79a72f5e8390735c49e3e8e70b4945a15ab1f81ddb78658fb3"
    debian = {
      suite  = "trixie"
      source = "make-dfsg"
      sha256 = "3b16b00ea1079af9f8096bbc71ff7cc00c249fc6a862003da3c42308a0adb0fe"
    }
  }

  # The folders of the file system hierarchy, all of /usr in one place, and the files that no package brings.
  script "base" {
    bootstrap = true
    sources = [
      "fstab", "group", "gshadow", "host.conf", "hosts", "ld.so.conf", "nsswitch.conf", "os-release", "passwd", "profile", "shadow", "shells",
    ]
    script = <<-SH
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
    attrs  = [{ path = "var/mail", mode = "0775", gid = 12 }]
  }

  # What of it no build looks at. It is apart since the native stages' roots hold the base, and are built again with it.
  script "etc" {
    bootstrap = true
    sources   = ["protocols", "services"]
    script    = <<-SH
      cd /out
      mkdir -p etc/ld.so.conf.d run/lock
      install -m 0644 /build/sources/protocols /build/sources/services etc
      {% if platform.lib != "lib" %}
      mkdir -p usr/local/{{ platform.lib }}
      # The loader knows the first two without; libtool reads them here, and gives nobody a run path then.
      printf '/{{ platform.lib }}\n/usr/{{ platform.lib }}\n/usr/local/{{ platform.lib }}\n' > etc/ld.so.conf.d/{{ platform.lib }}.conf
      {% endif %}
    SH
  }

  rootfs "rootfs" {
    # The C library comes first: every program needs it.
    contents = [
      "//stage1/base", "//stage1/etc", "//glibc", "//glibc/locales",
      "//autoconf", "//automake", "//bash", "//binutils", "//bison", "//bzip2", "//ca-certificates", "//check", "//coreutils", "//curl",
      "//diffutils", "//expat", "//file", "//findutils", "//flex", "//gawk", "//gcc", "//gcc/libatomic", "//gcc/libgomp",
      "//gettext", "//git", "//gnuconfig", "//grep", "//gzip", "//less", "//libffi", "//libtool", "//libxcrypt",
      "//linux-headers", "//m4", "//make", "//nano", "//ncurses", "//net-tools", "//openssl", "//pam", "//patch",
      "//pax-utils", "//perl", "//pkgconf", "//popt", "//python", "//readline", "//rsync", "//sed", "//tar", "//texinfo",
      "//util-linux", "//wget", "//which", "//xz", "//zlib", "//zstd",
    ]
    exclude = ["usr/${platform.lib}/libgcc_pic.*"] # of which libgcc_s was made
  }

  # The same for MacaroniOS. Its tools are not in it yet: a workspace that has packages of them lays them over this.
  rootfs "macaroni" {
    contents = ["//stage1/rootfs", "//macaroni"]
  }

  # vfsb build //stage1/test:amd64 says whether the system works: in itself, it compiles, runs scripts, commits, looks for
  # what its programs need.
  script "test" {
    stage   = "stage1"
    sources = ["make"]
    script  = "test.sh.j2"
  }

  group {
    members = ["//stage1/rootfs"]
  }
}
