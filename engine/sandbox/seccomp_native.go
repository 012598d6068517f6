//go:build amd64 || arm64 || riscv64

package sandbox

import "golang.org/x/sys/unix"

const (
	sysOpenTreeAttr = 467 // Linux 6.15; the same number everywhere
	sysQuotactlFD   = 443
	sysKexecFile    = unix.SYS_KEXEC_FILE_LOAD
)

// native are the rules for the calls that every 64-bit machine has by the same names.
var native = join([]rule{
	{unix.SYS_MKNODAT, eperm, deviceMode(2)},
	{unix.SYS_RENAMEAT2, einval, whiteout},
	{unix.SYS_CLONE, eperm, cloneFlags(0)},
	{unix.SYS_UNSHARE, eperm, unshareArg},
	{unix.SYS_SOCKET, enofam, oddFamily},
	{unix.SYS_SOCKETPAIR, enofam, oddFamily},
	{unix.SYS_PRLIMIT64, eperm, ofPid1},
}, repeat(succeed,
	unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_SETGROUPS, unix.SYS_GETGROUPS,
), repeat(eperm,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_SETNS,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, sysQuotactlFD,
	unix.SYS_SYSLOG, unix.SYS_VHANGUP,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, sysKexecFile,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_FANOTIFY_INIT,
), repeat(enosys,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	unix.SYS_PERF_EVENT_OPEN, unix.SYS_BPF, unix.SYS_USERFAULTFD,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
	unix.SYS_MOUNT_SETATTR, sysOpenTreeAttr,
	unix.SYS_CLONE3, unix.SYS_NFSSERVCTL, unix.SYS_LOOKUP_DCOOKIE,
))
