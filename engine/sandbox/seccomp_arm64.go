package sandbox

import "golang.org/x/sys/unix"

var tables = []table{{arch: unix.AUDIT_ARCH_AARCH64, rules: native}}
