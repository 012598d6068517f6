package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A world is what the test knows of the host and tells the probe, as NAME=VALUE arguments, so that a breach can be seen.
type world map[string]string

func (w world) number(name string) int {
	n, err := strconv.Atoi(w[name])
	must(err)
	return n
}

// A breach is one attack. try returns what it got; "" means that the sandbox held.
type breach struct {
	name    string
	meaning string // of success
	// open says that it succeeds outside of a sandbox, where an ordinary user's process tries it. The test runs it there,
	// too: an attack that never works shows nothing.
	open bool
	try  func(w world) string
}

// breaches tries all attacks. With the argument "outside" it only tries those that must succeed there.
func breaches(args []string) {
	runtime.LockOSThread()
	w := world{}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		w[name] = value
	}
	_, outside := w["outside"]
	for _, b := range slices.Concat(allBreaches, otherBreaches) {
		if outside && !b.open {
			continue
		}
		got := b.try(w)
		if got != "" {
			got = b.meaning + ": " + got
		}
		fmt.Printf("%s\t%q\n", b.name, got)
	}
}

// list joins what was got.
type list []string

func (l *list) add(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

// ok adds name if an attack had no error.
func (l *list) ok(name string, err error) {
	if err == nil {
		l.add("%s", name)
	}
}

// reached adds name if the kernel went into a call further than to refuse it.
func (l *list) reached(name string, err error) {
	var no syscall.Errno
	if errors.As(err, &no) && (no == unix.EPERM || no == unix.ENOSYS || no == unix.EACCES || no == unix.EAFNOSUPPORT) {
		return
	}
	l.add("%s (%v)", name, err)
}

func (l list) String() string { return strings.Join(l, ", ") }

func call(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	_, _, no := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if no != 0 {
		return no
	}
	return nil
}

func pointer[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

func text(s string) uintptr {
	p, err := unix.BytePtrFromString(s)
	must(err)
	return pointer(p)
}

// numbers of calls that golang.org/x/sys/unix does not name on every machine.
const (
	sysOpenTreeAttr = 467
	sysQuotactlFD   = 443
	sysUffd         = 1 // UFFD_USER_MODE_ONLY
)

var allBreaches = []breach{
	{"mount with the calls of Linux 5.2", "a detached mount", false, func(world) string {
		var l list
		_, err := unix.Fsopen("tmpfs", 0)
		l.ok("fsopen", err)
		_, err = unix.Fspick(unix.AT_FDCWD, "/proc/sys", 0)
		l.ok("fspick", err)
		_, err = unix.OpenTree(unix.AT_FDCWD, "/proc", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)
		l.ok("open_tree", err)
		l.reached("open_tree_attr", call(sysOpenTreeAttr, ^uintptr(99), text("/"), 1, 0, 0))
		l.ok("move_mount", unix.MoveMount(unix.AT_FDCWD, "/tmp", unix.AT_FDCWD, "/build", 0))
		return l.String()
	}},
	{"mount over a cover", "/proc tells something else", false, func(world) string {
		before, _ := os.ReadFile("/proc/cpuinfo")
		os.WriteFile("/build/cover", []byte("mine"), 0o644)
		unix.Mount("/build/cover", "/proc/cpuinfo", "", unix.MS_BIND, "")
		unix.Mount("/proc/self/cmdline", "/proc/cpuinfo", "", unix.MS_BIND, "")
		after, _ := os.ReadFile("/proc/cpuinfo")
		if !bytes.Equal(before, after) {
			return string(after)
		}
		return ""
	}},
	{"take covers away", "a mount of the sandbox is gone", false, func(world) string {
		var l list
		for _, m := range mounts() {
			l.ok(m, unix.Unmount(m, unix.MNT_DETACH))
			l.ok(m, unix.Unmount(m, unix.UMOUNT_NOFOLLOW))
		}
		return l.String()
	}},
	{"make read-only mounts writable", "a mount that is not read-only", false, func(world) string {
		var l list
		for _, m := range []string{"/proc/sys", "/sys", "/proc/cpuinfo", "/proc/bus"} {
			unix.Mount("", m, "", unix.MS_REMOUNT|unix.MS_BIND, "")
			unix.MountSetattr(unix.AT_FDCWD, m, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
			var st unix.Statfs_t
			if err := unix.Statfs(m, &st); err == nil && st.Flags&unix.ST_RDONLY == 0 {
				l.add("%s", m)
			}
		}
		return l.String()
	}},
	{"write sysctls", "a sysctl that can be opened for writing", false, func(world) string {
		return writable("/proc/sys")
	}},
	{"write the kernel's files", "a file of /proc that can be opened for writing", false, func(world) string {
		var l list
		es, err := os.ReadDir("/proc")
		must(err)
		for _, e := range es {
			if _, err := strconv.Atoi(e.Name()); err == nil || e.Name() == "sys" || e.Type()&fs.ModeSymlink != 0 {
				continue
			}
			if got := writable("/proc/" + e.Name()); got != "" {
				l.add("%s", got)
			}
		}
		if got := writable("/proc/self/net"); got != "" {
			l.add("%s", got)
		}
		return l.String()
	}},
	{"map more ids", "an id map that took a second write", false, func(world) string {
		var l list
		for name, s := range map[string]string{"uid_map": "0 0 4294967295", "gid_map": "0 0 4294967295", "setgroups": "allow", "timens_offsets": "monotonic 0 0"} {
			l.ok(name, os.WriteFile("/proc/self/"+name, []byte(s), 0))
		}
		return l.String()
	}},
	{"keyrings", "a key of the caller's", true, func(world) string {
		var l list
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true)
		l.ok("keyctl", err)
		_, err = unix.AddKey("user", "vfsb-test", []byte("y"), unix.KEY_SPEC_PROCESS_KEYRING)
		l.ok("add_key", err)
		_, err = unix.RequestKey("user", "vfsb-test", "", 0)
		l.reached("request_key", err)
		return l.String()
	}},
	{"io_uring", "a ring, whose calls no filter sees", false, func(world) string {
		var l list
		var params [120]byte
		l.ok("io_uring_setup", call(unix.SYS_IO_URING_SETUP, 4, pointer(&params)))
		l.reached("io_uring_enter", call(unix.SYS_IO_URING_ENTER, ^uintptr(0)))
		l.reached("io_uring_register", call(unix.SYS_IO_URING_REGISTER, ^uintptr(0)))
		return l.String()
	}},
	{"sockets of other families", "a socket that no namespace bounds, or a module that was loaded for it", false, func(world) string {
		var l list
		for family := range 64 {
			if slices.Contains([]int{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}, family) {
				continue
			}
			for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_SEQPACKET, unix.SOCK_RDM} {
				if _, err := unix.Socket(family, kind, 0); err != unix.EAFNOSUPPORT {
					l.add("family %d, type %d (%v)", family, kind, err)
				}
				if _, err := unix.Socketpair(family, kind, 0); err != unix.EAFNOSUPPORT {
					l.add("pair of family %d, type %d (%v)", family, kind, err)
				}
			}
		}
		return l.String()
	}},
	{"raw sockets", "packets of any kind", false, func(world) string {
		var l list
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			for proto := 1; proto < 256; proto += 127 {
				_, err := unix.Socket(family, unix.SOCK_RAW, proto)
				l.ok(fmt.Sprint("family ", family), err)
			}
		}
		return l.String()
	}},
	{"netlink", "a change of the network, or events of the host", false, func(world) string {
		var l list
		link := append(make([]byte, 16), attr(unix.IFLA_IFNAME, "vfsb0\x00")...)
		link = append(link, attr(unix.IFLA_LINKINFO, string(attr(unix.IFLA_INFO_KIND, "dummy")))...)
		l.reached("new interface", netlink(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, link))
		address := append([]byte{unix.AF_INET, 8, 0, 0, 1, 0, 0, 0}, attr(unix.IFA_LOCAL, "\x0a\x00\x00\x01")...)
		l.reached("new address", netlink(unix.NETLINK_ROUTE, unix.RTM_NEWADDR, unix.NLM_F_CREATE, address))
		l.reached("new table", netlink(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8, unix.NLM_F_CREATE, append([]byte{unix.AF_INET, 0, 0, 0}, attr(1, "t\x00")...)))
		for name, proto := range map[string]int{"audit": unix.NETLINK_AUDIT, "connector": unix.NETLINK_CONNECTOR, "crypto": unix.NETLINK_CRYPTO, "xfrm": unix.NETLINK_XFRM} {
			err := netlink(proto, 0x10, 0, make([]byte, 64))
			if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EPROTONOSUPPORT) {
				l.reached(name, err)
			}
		}
		return l.String()
	}},
	{"processes of the host", "one that is seen", true, func(w world) string {
		names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range names {
			if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(w["marker"])) && !strings.HasPrefix(name, fmt.Sprintf("/proc/%d/", os.Getpid())) {
				return name
			}
		}
		return ""
	}},
	{"signal processes of the host", "one that can be signalled", true, func(w world) string {
		var l list
		pid := w.number("pid")
		l.ok("kill", unix.Kill(pid, 0))
		l.ok("group", unix.Kill(-pid, 0))
		_, err := unix.PidfdOpen(pid, 0)
		l.ok("pidfd", err)
		return l.String()
	}},
	{"what pid 1 has", "a way out, or its memory", true, func(w world) string {
		var l list
		dir := "/proc/" + w["first"] + "/"
		for _, name := range []string{"root", "cwd", "exe"} {
			_, err := os.Readlink(dir + name)
			l.ok("link "+name, err)
			_, err = unix.Open(dir+name, unix.O_RDONLY, 0)
			l.ok(name, err)
		}
		for _, name := range []string{"fd", "fdinfo", "map_files", "task/" + w["first"] + "/fd"} {
			es, _ := os.ReadDir(dir + name) // their numbers alone are no harm
			for _, e := range es {
				_, err := os.Readlink(dir + name + "/" + e.Name())
				l.ok("link "+name+"/"+e.Name(), err)
				_, err = unix.Open(dir+name+"/"+e.Name(), unix.O_RDONLY|unix.O_NONBLOCK, 0)
				l.ok(name+"/"+e.Name(), err)
			}
		}
		for _, name := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} {
			_, err := unix.Open(dir+"ns/"+name, unix.O_RDONLY, 0)
			l.ok("ns/"+name, err)
		}
		for _, name := range []string{"mem", "environ", "maps", "smaps", "pagemap", "auxv", "stack", "syscall", "io", "personality", "task/" + w["first"] + "/mem"} {
			f, err := os.Open(dir + name)
			if err != nil {
				continue
			}
			if n, _ := f.Read(make([]byte, 1)); n > 0 {
				l.add("%s", name)
			}
			f.Close()
		}
		return l.String()
	}},
	{"memory of pid 1", "access to another process", false, func(w world) string {
		var l list
		pid := w.number("first")
		var b [8]byte
		for _, at := range []uintptr{0x400000, 0x401000, 0x1000000} {
			local, remote := []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: at, Len: 8}}
			_, err := unix.ProcessVMReadv(pid, local, remote, 0)
			l.reached("process_vm_readv", err)
			_, err = unix.ProcessVMWritev(pid, local, remote, 0)
			l.reached("process_vm_writev", err)
		}
		l.reached("ptrace attach", unix.PtraceAttach(pid))
		l.reached("ptrace seize", unix.PtraceSeize(pid))
		l.reached("kcmp", call(unix.SYS_KCMP, uintptr(pid), uintptr(os.Getpid())))
		if pfd, err := unix.PidfdOpen(pid, 0); err == nil {
			for fd := range 8 {
				_, err := unix.PidfdGetfd(pfd, fd, 0)
				l.reached("pidfd_getfd", err)
			}
			l.reached("setns", unix.Setns(pfd, unix.CLONE_NEWNS))
		}
		return l.String()
	}},
	{"limits of pid 1", "a limit that kills it", false, func(w world) string {
		var l list
		for _, r := range []int{unix.RLIMIT_CPU, unix.RLIMIT_NOFILE, unix.RLIMIT_AS} {
			var now unix.Rlimit
			must(unix.Prlimit(0, r, nil, &now))
			l.ok(fmt.Sprint("limit ", r), unix.Prlimit(w.number("first"), r, &now, nil))
		}
		return l.String()
	}},
	{"binfmt_misc", "a way to the handlers", false, func(world) string {
		var l list
		for _, name := range []string{"status", "register"} {
			_, err := unix.Open("/proc/sys/fs/binfmt_misc/"+name, unix.O_WRONLY, 0)
			l.ok(name, err)
			for fd := range 32 {
				_, err := unix.Open(fmt.Sprintf("/proc/1/fd/%d/%s", fd, name), unix.O_WRONLY, 0)
				l.ok(fmt.Sprint(fd, name), err)
			}
		}
		must(os.MkdirAll("/tmp/binfmt", 0o755))
		l.ok("mount", unix.Mount("binfmt_misc", "/tmp/binfmt", "binfmt_misc", 0, ""))
		_, err := unix.Fsopen("binfmt_misc", 0)
		l.ok("fsopen", err)
		_, err = os.Stat("/tmp/binfmt/register")
		l.ok("stat", err)
		return l.String()
	}},
	{"tracing and events", "a descriptor of them", false, func(world) string {
		var l list
		_, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: 128, Bits: unix.PerfBitExcludeKernel}, 0, -1, -1, 0)
		l.reached("perf_event_open", err)
		l.ok("userfaultfd", call(unix.SYS_USERFAULTFD, sysUffd))
		_, err = unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID, 0)
		l.ok("fanotify_init", err)
		for command := range uintptr(40) {
			l.reached("bpf", call(unix.SYS_BPF, command, 0, 0))
		}
		return l.String()
	}},
	{"kernel code", "the kernel looks at a module or at another kernel", false, func(world) string {
		var l list
		l.reached("init_module", unix.InitModule(make([]byte, 64), ""))
		l.reached("finit_module", unix.FinitModule(0, "", 0))
		l.reached("delete_module", unix.DeleteModule("vfsb", 0))
		l.reached("kexec_load", call(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0))
		l.reached("kexec_file_load", call(unix.SYS_KEXEC_FILE_LOAD, 0, 0, 0, 0, 0))
		return l.String()
	}},
	{"namespaces by clone", "a process in a new namespace", true, func(world) string {
		var l list
		l.ok("user", forked(unix.CLONE_NEWUSER))
		for name, flag := range namespaces {
			if name != "time" { // a signal's bit in clone's flags
				l.ok("user and "+name, forked(unix.CLONE_NEWUSER|flag))
				l.ok(name, forked(flag))
			}
		}
		args := [11]uint64{unix.CLONE_NEWUSER, 0, 0, 0, uint64(unix.SIGCHLD)}
		r, _, no := unix.RawSyscall(unix.SYS_CLONE3, pointer(&args), unsafe.Sizeof(args), 0)
		if no == 0 {
			if r == 0 {
				unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
			}
			l.add("clone3")
		}
		return l.String()
	}},
	{"namespaces by unshare and setns", "this process in another namespace", false, func(world) string {
		var l list
		for name, flag := range namespaces {
			l.reached("unshare "+name, call(unix.SYS_UNSHARE, flag))
			if fd, err := unix.Open("/proc/self/ns/"+name, unix.O_RDONLY, 0); err == nil {
				l.reached("setns "+name, unix.Setns(fd, 0))
				unix.Close(fd)
			}
		}
		return l.String()
	}},
	{"file handles", "a file by its number, whatever the mounts", false, func(world) string {
		var l list
		if h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/build", 0); err == nil {
			_, err := unix.OpenByHandleAt(unix.AT_FDCWD, h, unix.O_RDONLY)
			l.reached("open_by_handle_at", err)
		}
		root := binary.NativeEndian.AppendUint32(nil, 2) // ext4's root folder
		for _, dir := range []string{"/", "/build", "/out", "/build/sources"} {
			if fd, err := unix.Open(dir, unix.O_RDONLY, 0); err == nil {
				_, err := unix.OpenByHandleAt(fd, unix.NewFileHandle(1, append(root, 0, 0, 0, 0)), unix.O_RDONLY)
				l.reached("root of "+dir, err)
			}
		}
		return l.String()
	}},
	{"abstract sockets", "a server of the host answers", true, func(w world) string {
		c, err := net.Dial("unix", "@"+w["socket"])
		if err != nil {
			return ""
		}
		b, _ := io.ReadAll(c)
		return string(b)
	}},
	{"System V IPC", "a segment, a queue or semaphores of the host", true, func(w world) string {
		var l list
		key := uintptr(w.number("key"))
		l.ok("shmget", call(unix.SYS_SHMGET, key, 1, 0))
		l.ok("msgget", call(unix.SYS_MSGGET, key, 0))
		l.ok("semget", call(unix.SYS_SEMGET, key, 1, 0))
		return l.String()
	}},
	{"POSIX queues", "a queue of the host", true, func(w world) string {
		var l list
		l.ok("mq_open", call(unix.SYS_MQ_OPEN, text(w["queue"]), unix.O_RDONLY))
		return l.String()
	}},
	{"files of the host", "one that can be read", true, func(w world) string {
		var l list
		for _, way := range []string{"", "/../../../../..", "/proc/self/root", "/proc/self/cwd/../../../../../../..", "/proc/1/root", "/proc/self/fd/0", "/proc/self/fd/0/..", "/dev/fd/1/../../../.."} {
			if b, err := os.ReadFile(way + w["file"]); err == nil {
				l.add("%s: %s", way, b)
			}
		}
		self, err := os.Executable()
		must(err)
		if out, err := exec.Command(self, "jailbreak", w["file"]).Output(); err == nil && len(out) > 0 {
			l.add("out of a chroot: %s", out)
		}
		return l.String()
	}},
	{"the engine's program", "a descriptor of it", true, func(w world) string {
		var l list
		names, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, name := range append(names, "/proc/"+w["first"]+"/exe") {
			if name == fmt.Sprintf("/proc/%d/exe", os.Getpid()) {
				continue
			}
			for _, flags := range []int{unix.O_RDONLY, unix.O_PATH, unix.O_WRONLY} {
				fd, err := unix.Open(name, flags, 0)
				l.ok(fmt.Sprint(name, " ", flags), err)
				unix.Close(fd)
			}
		}
		return l.String()
	}},
	{"clocks", "the kernel looks at a new time", false, func(world) string {
		var l list
		l.reached("settimeofday", unix.Settimeofday(&unix.Timeval{Sec: 1}))
		for _, clock := range []int32{unix.CLOCK_REALTIME, unix.CLOCK_TAI, unix.CLOCK_BOOTTIME} {
			if err := unix.ClockSettime(clock, &unix.Timespec{Sec: 1}); err != unix.EINVAL { // a clock that nobody sets
				l.reached("clock_settime", err)
			}
		}
		_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_OFFSET})
		l.reached("adjtimex", err)
		_, err = unix.ClockAdjtime(unix.CLOCK_REALTIME, &unix.Timex{Modes: unix.ADJ_OFFSET})
		l.reached("clock_adjtime", err)
		return l.String()
	}},
	{"/sys", "something is in it", true, func(world) string {
		var l list
		es, _ := os.ReadDir("/sys")
		for _, e := range es {
			l.add("%s", e.Name())
		}
		return l.String()
	}},
	{"control groups", "a group, or its name", false, func(world) string {
		var l list
		b, _ := os.ReadFile("/proc/self/cgroup")
		for line := range strings.Lines(string(b)) {
			if !strings.HasSuffix(line, ":/\n") {
				l.add("%q", line)
			}
		}
		for _, name := range []string{"/sys/fs/cgroup", "/proc/self/root/sys/fs/cgroup/cgroup.procs"} {
			_, err := os.Stat(name)
			l.ok(name, err)
		}
		must(os.MkdirAll("/tmp/cgroup", 0o755))
		l.ok("mount v2", unix.Mount("none", "/tmp/cgroup", "cgroup2", 0, ""))
		l.ok("mount v1", unix.Mount("none", "/tmp/cgroup", "cgroup", 0, "memory"))
		return l.String()
	}},
	{"the kernel's log", "lines of it", false, func(world) string {
		var l list
		for _, action := range []int{unix.SYSLOG_ACTION_READ_ALL, unix.SYSLOG_ACTION_SIZE_BUFFER, unix.SYSLOG_ACTION_SIZE_UNREAD, unix.SYSLOG_ACTION_CONSOLE_LEVEL} {
			_, err := unix.Klogctl(action, make([]byte, 100))
			l.reached("syslog", err)
		}
		for _, name := range []string{"/proc/kmsg", "/dev/kmsg"} {
			if fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
				if n, _ := unix.Read(fd, make([]byte, 100)); n > 0 {
					l.add("%s", name)
				}
			}
		}
		return l.String()
	}},
	{"name of the host", "it is told", true, func(w world) string {
		var u unix.Utsname
		must(unix.Uname(&u))
		b, _ := os.ReadFile("/proc/sys/kernel/hostname")
		for _, s := range []string{unix.ByteSliceToString(u.Nodename[:]), strings.TrimSpace(string(b))} {
			if s == w["host"] {
				return s
			}
		}
		return ""
	}},
	{"uptime", "that of the host", true, func(w world) string {
		var l list
		var info unix.Sysinfo_t
		must(unix.Sysinfo(&info))
		real := int64(w.number("uptime"))
		near := func(name string, seconds int64) {
			if d := seconds - real; -5 <= d && d < 600 { // the test may take its time
				l.add("%s %d", name, seconds)
			}
		}
		near("sysinfo", int64(info.Uptime))
		for name, clock := range map[string]int32{"boottime": unix.CLOCK_BOOTTIME, "monotonic": unix.CLOCK_MONOTONIC, "raw": unix.CLOCK_MONOTONIC_RAW, "coarse": unix.CLOCK_MONOTONIC_COARSE} {
			var now unix.Timespec
			must(unix.ClockGettime(clock, &now))
			near(name, now.Sec)
		}
		if b, err := os.ReadFile("/proc/uptime"); err == nil {
			var s float64
			fmt.Sscan(string(b), &s)
			near("/proc/uptime", int64(s))
		}
		return l.String()
	}},
	{"boot id", "the host's", true, func(w world) string {
		b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if strings.TrimSpace(string(b)) == w["boot"] {
			return w["boot"]
		}
		return ""
	}},
	{"network interfaces", "one of the host, or its address", false, func(w world) string {
		var l list
		ifs, err := net.Interfaces()
		must(err)
		for _, i := range ifs {
			if i.Name != "lo" || strings.Contains(w["macs"], i.HardwareAddr.String()) && len(i.HardwareAddr) > 0 {
				l.add("%s %s", i.Name, i.HardwareAddr)
			}
		}
		return l.String()
	}},
	{"the host's devices", "one that can be changed or opened", false, func(world) string {
		var l list
		for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
			dev := "/dev/" + name
			l.ok("chmod "+dev, os.Chmod(dev, 0o600))
			l.ok("utimes "+dev, unix.UtimesNano(dev, []unix.Timespec{{Sec: 1}, {Sec: 1}}))
			l.ok("xattr "+dev, unix.Setxattr(dev, "user.x", []byte("1"), 0))
			l.ok("acl "+dev, unix.Removexattr(dev, "system.posix_acl_access"))
			l.ok("remove "+dev, os.Remove(dev))
		}
		filepath.WalkDir("/dev", func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type()&fs.ModeDevice != 0 && !slices.Contains([]string{"null", "zero", "full", "random", "urandom", "tty", "ptmx"}, d.Name()) {
				l.add("%s", p)
			}
			return nil
		})
		for _, name := range []string{"mem", "port", "kvm", "fuse", "loop-control", "net/tun", "userfaultfd", "vhost-net", "mapper/control", "console", "hpet"} {
			_, err := os.Stat("/dev/" + name)
			l.ok(name, err)
		}
		return l.String()
	}},
	{"priorities", "one that starves the machine", false, func(world) string {
		var l list
		one := struct{ priority int32 }{1}
		for name, policy := range map[string]uintptr{"fifo": 1, "rr": 2} {
			l.ok(name, call(unix.SYS_SCHED_SETSCHEDULER, 0, policy, pointer(&one)))
		}
		l.ok("deadline", unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_DEADLINE, Runtime: 1e6, Deadline: 1e7, Period: 1e7}, 0))
		l.ok("nice", unix.Setpriority(unix.PRIO_PROCESS, 0, -5))
		l.ok("io", call(unix.SYS_IOPRIO_SET, 1, 0, 1<<13|4))
		for _, r := range []int{unix.RLIMIT_RTPRIO, unix.RLIMIT_NICE} {
			var now unix.Rlimit
			must(unix.Prlimit(0, r, nil, &now))
			if now.Cur > 0 || now.Max > 0 {
				l.add("limit %d: %+v", r, now)
			}
		}
		return l.String()
	}},
	{"flags of files", "a file that the engine cannot remove", false, func(world) string {
		var l list
		for _, dir := range []string{"/out", "/build", "/tmp"} {
			name := dir + "/flags"
			must(os.WriteFile(name, nil, 0o644))
			fd, err := unix.Open(name, unix.O_RDONLY, 0)
			must(err)
			for _, flag := range []int{unix.STATX_ATTR_IMMUTABLE, unix.STATX_ATTR_APPEND} { // as FS_IMMUTABLE_FL and FS_APPEND_FL
				l.ok(fmt.Sprint(name, flag), unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flag))
			}
		}
		return l.String()
	}},
	{"attributes of the overlay", "the root leads elsewhere", false, func(world) string {
		var l list
		must(os.MkdirAll("/folder", 0o755))
		for name, value := range map[string]string{"opaque": "y", "redirect": "/../../../etc", "metacopy": "", "whiteout": "", "origin": "\x00\xfb"} {
			unix.Setxattr("/folder", "user.overlay."+name, []byte(value), 0) // the kernel keeps it under another name
			l.ok(name, unix.Setxattr("/folder", "trusted.overlay."+name, []byte(value), 0))
		}
		es, err := os.ReadDir("/folder")
		must(err)
		for _, e := range es {
			l.add("%s", e.Name())
		}
		return l.String()
	}},
	{"the machine's switches", "the kernel looks further than at who asks", false, func(world) string {
		var l list
		l.reached("swapon", call(unix.SYS_SWAPON, text("/build"), 0))
		l.reached("swapoff", call(unix.SYS_SWAPOFF, text("/build")))
		l.reached("quotactl", call(unix.SYS_QUOTACTL, 0x80000700, text("/build"), 0, 0))
		l.reached("quotactl_fd", call(sysQuotactlFD, 0, 0x80000700, 0, 0))
		l.reached("acct", unix.Acct(""))
		l.reached("reboot", call(unix.SYS_REBOOT, 0, 0, 0, 0))
		l.reached("vhangup", call(unix.SYS_VHANGUP))
		l.reached("sethostname", unix.Sethostname([]byte("z")))
		l.reached("setdomainname", unix.Setdomainname([]byte("z")))
		return l.String()
	}},
	{"core dumps", "the kernel starts the host's handler for them", false, func(world) string {
		var now unix.Rlimit
		must(unix.Getrlimit(unix.RLIMIT_CORE, &now))
		if now.Cur != 1 || now.Max != 1 { // the one limit for which it does not
			return fmt.Sprint(now)
		}
		return ""
	}},
	{"the engine's memory", "another process ends first when there is none left", false, func(world) string {
		b, err := os.ReadFile("/proc/self/oom_score_adj")
		must(err)
		if s := strings.TrimSpace(string(b)); s != "1000" {
			return s
		}
		return ""
	}},
}

var namespaces = map[string]uintptr{"mnt": unix.CLONE_NEWNS, "cgroup": unix.CLONE_NEWCGROUP, "uts": unix.CLONE_NEWUTS, "ipc": unix.CLONE_NEWIPC,
	"user": unix.CLONE_NEWUSER, "pid": unix.CLONE_NEWPID, "net": unix.CLONE_NEWNET, "time": unix.CLONE_NEWTIME}

// mounts returns the mount points, those that lie above others last.
func mounts() []string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	must(err)
	var points []string
	for line := range strings.Lines(string(b)) {
		points = append(points, strings.Fields(line)[4])
	}
	return points
}

// writable returns the files below dir that can be opened for writing.
func writable(dir string) string {
	var l list
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if fd, err := unix.Open(p, unix.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			l.add("%s", p)
			unix.Close(fd)
		}
		return nil
	})
	return l.String()
}

// attr is an attribute of a netlink message.
func attr(kind uint16, value string) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// netlink sends one message and returns the kernel's answer to it.
func netlink(proto, kind, flags int, payload []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, proto)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	must(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}))
	b := binary.NativeEndian.AppendUint32(nil, uint32(16+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, uint16(kind))
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags))
	b = append(append(b, make([]byte, 8)...), payload...)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, err := unix.Read(fd, answer)
	if err != nil {
		return err
	}
	if n >= 20 && binary.NativeEndian.Uint16(answer[4:]) == unix.NLMSG_ERROR {
		if no := int32(binary.NativeEndian.Uint32(answer[16:])); no != 0 {
			return syscall.Errno(-no)
		}
	}
	return nil
}

// jailbreak leaves a chroot by a descriptor of the folder above it, and prints a file of the host.
func jailbreak(args []string) {
	must(os.MkdirAll("/tmp/jail", 0o755))
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(err)
	must(unix.Chroot("/tmp/jail"))
	must(unix.Fchdir(fd))
	for range 100 {
		must(unix.Chdir(".."))
	}
	must(unix.Chroot("."))
	b, err := os.ReadFile(args[0])
	must(err)
	os.Stdout.Write(b)
}
