package main

import (
	"errors"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// int80 makes a system call through the 32-bit table.
func int80(nr, a1, a2, a3 uint32) int32

// errNone says that there is no 32-bit table: in some virtual machines the gate to it faults.
var errNone = errors.New("none")

// call32 is int80, with its result as an error.
func call32(nr, a1, a2, a3 uint32) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = errNone
		}
	}()
	if r := int80(nr, a1, a2, a3); r < 0 {
		return unix.Errno(-r)
	}
	return nil
}

// otherTables calls through the i386 and x32 tables.
func otherTables() {
	i386 := func(name string, nr, a1, a2, a3 uint32) {
		try(name, func() error { return call32(nr, a1, a2, a3) })
	}
	i386("i386 getpid", 20, 0, 0, 0)
	i386("i386 chown", 182, 0, 5, 5)
	i386("i386 setgroups", 206, 0, 0, 0)
	i386("i386 mount", 21, 0, 0, 0)
	i386("i386 keyctl", 288, 0, 0, 0)
	i386("i386 add_key", 286, 0, 0, 0)
	i386("i386 bpf", 357, 0, 0, 0)
	i386("i386 io_uring_setup", 425, 1, 0, 0)
	i386("i386 clone3", 435, 0, 0, 0)
	i386("i386 unshare user", 310, unix.CLONE_NEWUSER, 0, 0)
	i386("i386 clone user", 120, unix.CLONE_NEWUSER|17, 0, 0)
	i386("i386 socket vsock", 359, 40, 1, 0)
	i386("i386 socket unix", 359, 1, 1, 0)
	i386("i386 socketcall socket", 102, 1, 0, 0)
	i386("i386 mknod device", 14, 0, unix.S_IFCHR|0600, 0)
	i386("i386 mknodat block", 297, 0, 0, unix.S_IFBLK|0600)
	i386("i386 open_by_handle_at", 342, 0, 0, 0)
	try("x32 getpid", func() error { return sys(0x40000000+39, 0, 0, 0) })
	try("x32 add_key", func() error { return sys(0x40000000+248, 0, 0, 0) })
	try("iopl", func() error { return sys(unix.SYS_IOPL, 3, 0, 0) })
	try("mknod device", func() error { return unix.Mknod("/build/dev1", unix.S_IFCHR|0600, 0x103) })
}

// otherBreaches are attacks through the tables of 32-bit programs.
var otherBreaches = []breach{
	{"calls of 32-bit programs", "one that a 64-bit program may not make", false, func(world) string {
		var l list
		if call32(20, 0, 0, 0) == errNone {
			return ""
		}
		for name, nr := range map[string]uint32{"mount": 21, "umount": 22, "umount2": 52, "pivot_root": 217, "setns": 346, "settimeofday": 79,
			"stime": 25, "clock_settime": 264, "clock_settime64": 404, "reboot": 88, "swapon": 87, "swapoff": 115, "acct": 51, "quotactl": 131,
			"quotactl_fd": 443, "syslog": 103, "vhangup": 111, "iopl": 110, "ioperm": 101, "init_module": 128, "delete_module": 129,
			"finit_module": 350, "kexec_load": 283, "open_by_handle_at": 342, "fanotify_init": 338, "add_key": 286, "request_key": 287,
			"keyctl": 288, "perf_event_open": 336, "bpf": 357, "userfaultfd": 374, "io_uring_setup": 425, "io_uring_enter": 426,
			"io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
			"mount_setattr": 442, "open_tree_attr": 467, "clone3": 435, "sethostname": 74, "setdomainname": 121, "vm86": 166, "vm86old": 113} {
			l.reached(name, call32(nr, 0, 0, 0))
		}
		for name, c := range map[string][3]uint32{"socket vsock": {359, unix.AF_VSOCK, 1}, "socketpair tipc": {360, unix.AF_TIPC, 1},
			"socketcall socket": {102, 1, 0}, "socketcall socketpair": {102, 8, 0}, "prlimit": {340, 1, 0}, "unshare": {310, unix.CLONE_NEWUSER, 0},
			"clone": {120, unix.CLONE_NEWUSER | 17, 0}} {
			l.reached(name, call32(c[0], c[1], c[2], 0))
		}
		return l.String()
	}},
	{"calls of the x32 table", "any", false, func(world) string {
		var l list
		for nr := range uintptr(600) {
			if err := sys(0x40000000+nr, 0, 0, 0); err != unix.ENOSYS {
				l.add("%d (%v)", nr, err)
			}
		}
		return l.String()
	}},
}
