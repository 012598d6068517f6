package "linux-headers" {
  summary = "The kernel's interface for programs"
  version = "6.1.176"
  license = "GPL-2.0-only WITH Linux-syscall-note"

  # Debian 12's kernel: its file stays in the archive, those of newer releases go with every update.
  source {
    debian = {
      suite  = "bookworm"
      source = "linux"
      sha256 = "9aad4025973feea3f0d978e82ab7db97d8d5ce3f59fcc6b1f316153d66e3a504"
    }
  }

  # Bootstrap: the headers need no compiler for the platform. headers_install would need rsync, so the copy is our own.
  script {
    bootstrap = true
    script    = <<-SH
      make ARCH={{ platform.kernel_arch }} HOSTCC=gcc HOSTCFLAGS=-O1 headers
      find usr/include -type f ! -name '*.h' -delete
      mkdir -p /out/usr
      cp -r usr/include /out/usr/include
    SH
  }
}
