package main

import "golang.org/x/sys/unix"

// int80 makes a system call through the 32-bit table.
func int80(nr, a1, a2, a3 uint32) int32

// otherTables calls through the i386 and x32 tables.
func otherTables() {
	i386 := func(name string, nr, a1, a2, a3 uint32) {
		try(name, func() error {
			if r := int80(nr, a1, a2, a3); r < 0 {
				return unix.Errno(-r)
			}
			return nil
		})
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
