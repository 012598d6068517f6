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

  # chfn, chsh, login, runuser and su want PAM.
  autotools {
    deps    = ["//ncurses"]
    runtime = ["//ncurses"]
    configure = [
      "--disable-asciidoc", "--disable-bash-completion", "--disable-chfn-chsh", "--disable-liblastlog2", "--disable-login",
      "--disable-makeinstall-chown", "--disable-makeinstall-setuid", "--disable-nls", "--disable-nologin", "--disable-pam-lastlog2",
      "--disable-poman", "--disable-rpath", "--disable-runuser", "--disable-static", "--disable-su", "--disable-use-tty-group",
      "--sysconfdir=/etc", "--localstatedir=/var", "--runstatedir=/run", "--bindir=/usr/bin", "--sbindir=/usr/sbin",
      "--without-audit", "--without-btrfs", "--without-cap-ng", "--without-cryptsetup", "--without-econf", "--without-libmagic",
      "--without-libuser", "--without-libz", "--without-python", "--without-readline", "--without-selinux", "--without-systemd",
      "--without-udev", "--without-user", "--without-utempter",
    ]
    attrs = [{ path = "usr/bin/mount", mode = "4755" }, { path = "usr/bin/umount", mode = "4755" }]
  }
}
