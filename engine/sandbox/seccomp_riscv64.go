package sandbox

import "golang.org/x/sys/unix"

var tables = []table{{arch: unix.AUDIT_ARCH_RISCV64, rules: native}}
