package "util-linux" {
  summary  = "Programs around the kernel: mount, su, fdisk, dmesg, and their libraries"
  version  = "2.41.5"
  license  = "GPL-2.0-or-later AND LGPL-2.1-or-later AND BSD-3-Clause"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://www.kernel.org/pub/linux/utils/util-linux/v2.41/util-linux-${version}.tar.xz"
    sha256 = "f586e35d320ff537aab3ffeca37e9ecd482ccbe013590db4429a414d8aa6a728"
    debian = { suite = "trixie", source = "util-linux" }
  }

  # Its ncurses for wide characters has another name here. chfn and chsh are left to shadow, kill to coreutils.
  autotools {
    deps    = ["//ncurses", "//pam"]
    runtime = ["//ncurses", "//pam"]
    configure = [
      "--libdir=/usr/${platform.lib}", "--sysconfdir=/etc", "--localstatedir=/var", "--runstatedir=/run", "--bindir=/usr/bin", "--sbindir=/usr/sbin",
      "--disable-asciidoc", "--disable-bash-completion", "--disable-chfn-chsh", "--disable-kill", "--disable-liblastlog2",
      "--disable-makeinstall-chown", "--disable-makeinstall-setuid", "--disable-nls", "--disable-pam-lastlog2", "--disable-poman",
      "--disable-rpath", "--disable-static", "--disable-use-tty-group", "--enable-login", "--enable-nologin", "--enable-runuser",
      "--enable-su", "--enable-write", "--without-audit", "--without-btrfs", "--without-cap-ng", "--without-cryptsetup",
      "--without-econf", "--without-libmagic", "--without-libz", "--without-python", "--without-readline", "--without-selinux",
      "--without-systemd", "--without-udev", "--without-user", "--without-utempter",
      "NCURSESW_CFLAGS=-DNCURSES_WIDECHAR=1", "NCURSESW_LIBS=-lncurses -ltinfo",
      "ac_cv_lib_ncursesw_resizeterm=yes", "ac_cv_lib_ncursesw_use_default_colors=yes",
    ]
    attrs = [
      { path = "usr/bin/mount", mode = "4755" },
      { path = "usr/bin/su", mode = "4755" },
      { path = "usr/bin/umount", mode = "4755" },
      { path = "usr/bin/wall", mode = "2755", gid = 5 },
      { path = "usr/bin/write", mode = "2755", gid = 5 },
    ]
  }
}
