package "pam" {
  summary  = "Asks who a user is: Linux-PAM"
  version  = "1.7.0"
  license  = "BSD-3-Clause OR GPL-2.0-or-later"
  profiles = ["gnu", "seed"]

  source {
    url    = "https://github.com/linux-pam/linux-pam/releases/download/v${version}/Linux-PAM-${version}.tar.xz"
    sha256 = "57dcd7a6b966ecd5bbd95e1d11173734691e16b68692fa59661cdae9b13b1697"
    debian = { suite = "trixie", source = "pam" }
  }
  source "login" { file = "files/login" }
  source "other" { file = "files/other" }
  source "passwd" { file = "files/passwd" }
  source "runuser" { file = "files/runuser" }
  source "su" { file = "files/su" }
  source "system-auth" { file = "files/system-auth" }

  script {
    deps    = ["//libxcrypt"]
    runtime = ["//libxcrypt"]
    script  = "pam.sh.j2"
    attrs   = [{ path = "usr/sbin/unix_chkpwd", mode = "4755" }]
  }
}
