package sandbox

import "golang.org/x/sys/unix"

var tables = []table{
	{arch: unix.AUDIT_ARCH_X86_64, x32: true, rules: join(native, []rule{
		{unix.SYS_MKNOD, eperm, deviceMode(1)},
	}, repeat(succeed, unix.SYS_CHOWN, unix.SYS_LCHOWN), repeat(eperm,
		unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_CREATE_MODULE), repeat(enosys,
		unix.SYS_USELIB, unix.SYS_SYSFS, unix.SYS__SYSCTL, unix.SYS_GET_KERNEL_SYMS, unix.SYS_QUERY_MODULE, unix.SYS_USTAT))},
	{arch: unix.AUDIT_ARCH_I386, rules: i386},
}

// i386 is the table of 32-bit programs. Its numbers are from the kernel's arch/x86/entry/syscalls/syscall_32.tbl.
var i386 = join([]rule{
	{14, eperm, deviceMode(1)},  // mknod
	{297, eperm, deviceMode(2)}, // mknodat
	{353, einval, whiteout},     // renameat2
	{120, eperm, cloneFlags(0)}, // clone
	{310, eperm, unshareArg},    // unshare
	{359, enofam, oddFamily},    // socket
	{360, enofam, oddFamily},    // socketpair
	{102, enofam, socketCalls},  // socketcall
	{340, eperm, ofPid1},        // prlimit64
}, repeat(succeed,
	16, 95, 182, // lchown, fchown, chown (16-bit ids)
	198, 207, 212, 298, // lchown32, fchown32, chown32, fchownat
	80, 81, 205, 206, // getgroups, setgroups, getgroups32, setgroups32
), repeat(eperm,
	21, 22, 52, 217, // mount, umount, umount2, pivot_root
	346,              // setns
	25, 79, 264, 404, // stime, settimeofday, clock_settime, clock_settime64
	88, 87, 115, // reboot, swapon, swapoff
	51, 131, 443, // acct, quotactl, quotactl_fd
	103, 111, // syslog, vhangup
	101, 110, // ioperm, iopl
	127, 128, 129, 350, // create_module, init_module, delete_module, finit_module
	283, 342, // kexec_load, open_by_handle_at
	338, // fanotify_init
), repeat(enosys,
	286, 287, 288, // add_key, request_key, keyctl
	336, 357, 374, // perf_event_open, bpf, userfaultfd
	425, 426, 427, // io_uring_setup, io_uring_enter, io_uring_register
	428, 429, 430, 431, 432, 433, 442, 467, // open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr, open_tree_attr
	435,                              // clone3
	86, 130, 135, 149, 167, 169, 253, // uselib, get_kernel_syms, sysfs, _sysctl, query_module, nfsservctl, lookup_dcookie
	113, 166, // vm86old, vm86
))
