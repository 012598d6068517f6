// Probe is the program that the tests run inside a sandbox. Each subcommand tries one thing and prints what came of it.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	cmd, args := filepath.Base(os.Args[0]), os.Args[1:]
	if cmd == "probe" {
		cmd, args = args[0], args[1:]
	}
	f, ok := commands[cmd]
	if !ok {
		fmt.Println("no such subcommand:", cmd)
		os.Exit(99)
	}
	f(args)
}

var commands = map[string]func([]string){
	"true":  func([]string) {},
	"exit":  func(a []string) { os.Exit(number(a[0])) },
	"hello": func([]string) { fmt.Println("hello"); fmt.Fprintln(os.Stderr, "hello, too") },
	"cat": func(a []string) {
		for _, name := range a {
			b, err := os.ReadFile(name)
			if err != nil {
				fmt.Println(err)
			}
			os.Stdout.Write(b)
		}
	},
	"write": func(a []string) { must(os.WriteFile(a[0], []byte(a[1]), 0644)) },
	"signal": func(a []string) {
		s := syscall.Signal(number(a[0]))
		signal.Reset()
		// Not Go's own handlers: their way of dying is not the kernel's.
		var act [4]uint64
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
		syscall.Kill(os.Getpid(), s)
		select {}
	},
	"sleep": func(a []string) { time.Sleep(time.Duration(number(a[0])) * time.Millisecond) },
	"chatter": func(a []string) {
		for range number(a[0]) {
			fmt.Println("still here")
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Minute)
	},
	"reopen": func([]string) {
		fmt.Println("one")
		f, err := os.OpenFile("/dev/stdout", os.O_WRONLY|os.O_TRUNC, 0)
		must(err)
		fmt.Fprintln(f, "two")
		f, err = os.OpenFile("/dev/stderr", os.O_WRONLY|os.O_APPEND, 0)
		must(err)
		fmt.Fprintln(f, "three")
	},
	"orphans": func(a []string) { // leaves processes behind that do not want to end
		for range number(a[0]) {
			c := exec.Command("/bin/probe", "stubborn", a[1])
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			must(c.Start())
		}
		fmt.Println("ready")
		if len(a) > 2 {
			time.Sleep(time.Hour)
		}
	},
	"stubborn": func([]string) {
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
		time.Sleep(time.Hour)
	},
	"reap": func([]string) { // orphans must not stay as zombies
		for range 20 {
			c := exec.Command("/bin/probe", "fork-and-leave")
			must(c.Run())
		}
		time.Sleep(100 * time.Millisecond)
		n := 0
		names, _ := filepath.Glob("/proc/[0-9]*")
		for _, name := range names {
			if b, err := os.ReadFile(name + "/stat"); err == nil && strings.Contains(string(b), ") Z ") {
				n++
			}
		}
		fmt.Println("zombies", n)
	},
	"fork-and-leave": func([]string) { must(exec.Command("/bin/probe", "sleep", "20").Start()) },
	"forkbomb": func([]string) {
		n := 0
		for n < 5000 {
			if err := exec.Command("/bin/probe", "sleep", "3600000").Start(); err != nil {
				break
			}
			n++
		}
		fmt.Println("forked", n)
	},
	"walk":   walk,
	"attack": attack,
	"facts":  facts,
	"kill":   killAll,
	"setuid": setuid,
	"su":     showRights,
	"tick": func([]string) { // until there is a file /build/end
		for {
			fmt.Println("tick")
			if _, err := os.Stat("/build/end"); err == nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	},
	"users":  users,
	"user":   user,
	"escape": escape,
	"fds":    fds,
	"jobs":   jobs,
	"tty":    tty,

	"push": func([]string) { // types on every terminal that it can find
		fds := []int{0, 1, 2}
		for _, name := range []string{"/dev/fd/0", "/dev/tty", "/dev/pts/0", "/proc/1/fd/0", "/proc/1/fd/1"} {
			if fd, err := unix.Open(name, unix.O_RDWR, 0); err == nil {
				fds = append(fds, fd)
			}
		}
		for _, fd := range fds {
			unix.IoctlSetInt(fd, unix.TIOCSCTTY, 0)
			for _, c := range []byte("reboot\n") {
				unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSTI, uintptr(unsafe.Pointer(&c)))
			}
		}
	},
	"append": func(a []string) { // to what descriptor 0 is
		b, err := io.ReadAll(os.Stdin)
		must(err)
		fmt.Printf("read %s\n", b)
		for _, way := range []string{"/dev/stdin", "/proc/self/fd/0"} {
			for _, flags := range []int{os.O_WRONLY, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC} {
				if f, err := os.OpenFile(way, flags, 0); err == nil {
					fmt.Fprint(f, "from inside")
				}
			}
		}
		unix.Ftruncate(0, 0)
		unix.Fchmod(0, 0)
	},
	"hog": func(a []string) { // takes memory, in MiB, in a child, and tells how that ended
		if len(a) > 1 {
			b := make([]byte, number(a[0])<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			return
		}
		c := exec.Command("/bin/probe", "hog", a[0], "child")
		fmt.Println("ended:", c.Run())
	},
	"breaches":  breaches,
	"jailbreak": jailbreak,
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	must(err)
	return n
}

func must(err error) {
	if err != nil {
		fmt.Println("probe:", err)
		os.Exit(98)
	}
}

func try(name string, f func() error) {
	err := f()
	s := "ok"
	if err != nil {
		s = err.Error()
		var no syscall.Errno
		if errorsAs(err, &no) {
			s = unix.ErrnoName(no)
		}
	}
	fmt.Printf("%s\t%s\n", name, s)
}

func errorsAs(err error, no *syscall.Errno) bool {
	for err != nil {
		if n, ok := err.(syscall.Errno); ok {
			*no = n
			return true
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return false
		}
		err = u.Unwrap()
	}
	return false
}

func sys(nr, a, b, c uintptr) error {
	_, _, no := unix.RawSyscall6(nr, a, b, c, 0, 0, 0)
	if no != 0 {
		return no
	}
	return nil
}

// forked makes a clone call in whose child nothing happens.
func forked(flags uintptr) error {
	r, _, no := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if no != 0 {
		return no
	}
	if r == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return nil
}

func attack([]string) {
	runtime.LockOSThread()
	path := func(s string) uintptr { p, _ := unix.BytePtrFromString(s); return uintptr(unsafe.Pointer(p)) }
	try("mount", func() error { return unix.Mount("t", "/tmp", "tmpfs", 0, "") })
	try("remount", func() error { return unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "") })
	try("umount", func() error { return unix.Unmount("/proc/cpuinfo", unix.MNT_DETACH) })
	try("pivot_root", func() error { return unix.PivotRoot("/build", "/build") })
	try("fsopen", func() error { _, e := unix.Fsopen("tmpfs", 0); return e })
	try("open_tree", func() error { _, e := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE); return e })
	try("move_mount", func() error { return unix.MoveMount(unix.AT_FDCWD, "/tmp", unix.AT_FDCWD, "/build", 0) })
	try("mount_setattr", func() error {
		return unix.MountSetattr(unix.AT_FDCWD, "/proc/sys", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	})
	try("setns", func() error { return unix.Setns(0, 0) })
	try("unshare user", func() error { return sys(unix.SYS_UNSHARE, unix.CLONE_NEWUSER, 0, 0) })
	try("unshare mount", func() error { return sys(unix.SYS_UNSHARE, unix.CLONE_NEWNS, 0, 0) })
	try("unshare semaphores", func() error { return sys(unix.SYS_UNSHARE, unix.CLONE_SYSVSEM, 0, 0) })
	try("clone user", func() error { return forked(unix.CLONE_NEWUSER) })
	try("clone pid", func() error { return forked(unix.CLONE_NEWPID) })
	try("clone", func() error { return forked(0) })
	try("clone3", func() error { return sys(unix.SYS_CLONE3, 0, 0, 0) })
	try("keyctl", func() error { _, e := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); return e })
	try("add_key", func() error { _, e := unix.AddKey("user", "x", []byte("y"), unix.KEY_SPEC_SESSION_KEYRING); return e })
	try("request_key", func() error { _, e := unix.RequestKey("user", "x", "", 0); return e })
	try("bpf", func() error { return sys(unix.SYS_BPF, 0, 0, 0) })
	try("perf_event_open", func() error {
		_, e := unix.PerfEventOpen(&unix.PerfEventAttr{Type: 1, Size: 64}, 0, -1, -1, 0)
		return e
	})
	try("io_uring", func() error {
		var p [120]byte
		return sys(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&p)), 0)
	})
	try("userfaultfd", func() error { return sys(unix.SYS_USERFAULTFD, 1, 0, 0) })
	try("open_by_handle_at", func() error {
		_, e := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, make([]byte, 8)), 0)
		return e
	})
	try("settimeofday", func() error { return unix.Settimeofday(&unix.Timeval{Sec: 1}) })
	try("clock_settime", func() error { return unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{Sec: 1}) })
	try("reboot", func() error { return sys(unix.SYS_REBOOT, 0, 0, 0) })
	try("swapon", func() error { return sys(unix.SYS_SWAPON, path("/build"), 0, 0) })
	try("acct", func() error { return unix.Acct("") })
	try("quotactl", func() error { return sys(unix.SYS_QUOTACTL, 0, 0, 0) })
	try("syslog", func() error { _, e := unix.Klogctl(3, make([]byte, 10)); return e })
	try("init_module", func() error { return unix.InitModule(nil, "") })
	try("kexec_load", func() error { return sys(unix.SYS_KEXEC_LOAD, 0, 0, 0) })
	try("sethostname", func() error { return unix.Sethostname([]byte("z")) })

	socket := func(name string, family, kind int) {
		try("socket "+name, func() error {
			proto := 0
			if kind == unix.SOCK_RAW && (family == unix.AF_INET || family == unix.AF_INET6) {
				proto = unix.IPPROTO_ICMP
			}
			fd, e := unix.Socket(family, kind, proto)
			if e == nil {
				unix.Close(fd)
			}
			return e
		})
	}
	socket("vsock", unix.AF_VSOCK, unix.SOCK_STREAM)
	socket("packet", unix.AF_PACKET, unix.SOCK_RAW)
	socket("alg", unix.AF_ALG, unix.SOCK_SEQPACKET)
	socket("tipc", unix.AF_TIPC, unix.SOCK_STREAM)
	socket("raw", unix.AF_INET, unix.SOCK_RAW)
	socket("raw6", unix.AF_INET6, unix.SOCK_RAW)
	socket("unix", unix.AF_UNIX, unix.SOCK_STREAM)
	socket("inet", unix.AF_INET, unix.SOCK_STREAM)
	socket("netlink", unix.AF_NETLINK, unix.SOCK_RAW)
	try("connect out", func() error { // an address that documents use; there is no route to it
		fd, e := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		must(e)
		return unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 1}})
	})
	try("connect loopback", func() error {
		fd, e := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		must(e)
		return unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}})
	})

	for _, dir := range []string{"/build", "/out", "/tmp", "/"} {
		d := filepath.Join(dir, "n")
		try("mknod char in "+dir, func() error { return unix.Mknodat(unix.AT_FDCWD, d+"1", unix.S_IFCHR|0600, 0x103) })
		try("mknod block in "+dir, func() error { return unix.Mknodat(unix.AT_FDCWD, d+"2", unix.S_IFBLK|0600, 0x800) })
		try("mknod whiteout in "+dir, func() error { return unix.Mknodat(unix.AT_FDCWD, d+"3", unix.S_IFCHR, 0) })
		try("mknod fifo in "+dir, func() error { return unix.Mknodat(unix.AT_FDCWD, d+"4", unix.S_IFIFO|0600, 0) })
	}
	try("rename whiteout", func() error {
		must(os.WriteFile("/out/w", nil, 0644))
		return unix.Renameat2(unix.AT_FDCWD, "/out/w", unix.AT_FDCWD, "/out/w2", unix.RENAME_WHITEOUT)
	})
	try("rename exchange", func() error {
		must(os.WriteFile("/out/w2", nil, 0644))
		return unix.Renameat2(unix.AT_FDCWD, "/out/w", unix.AT_FDCWD, "/out/w2", unix.RENAME_EXCHANGE)
	})

	for _, dir := range []string{"/build", "/out", "/tmp", "/"} {
		f := filepath.Join(dir, "owned")
		must(os.WriteFile(f, nil, 0644))
		for name, do := range map[string]func() error{
			"chown": func() error { return os.Chown(f, 33, 44) }, "lchown": func() error { return os.Lchown(f, 33, 44) },
			"fchownat": func() error { return unix.Fchownat(unix.AT_FDCWD, f, 33, 44, 0) }} {
			try(name+" in "+dir, func() error {
				if err := do(); err != nil {
					return err
				}
				var st unix.Stat_t
				must(unix.Stat(f, &st))
				if st.Uid != 0 || st.Gid != 0 {
					return fmt.Errorf("owner is %d:%d", st.Uid, st.Gid)
				}
				return nil
			})
		}
	}
	try("setgroups", func() error { return unix.Setgroups([]int{5, 6}) })
	try("getgroups", func() error {
		g, e := unix.Getgroups()
		if e == nil && len(g) > 0 {
			return fmt.Errorf("%v", g)
		}
		return e
	})
	try("setuid", func() error { return sys(unix.SYS_SETUID, 5, 0, 0) })
	try("setgid", func() error { return sys(unix.SYS_SETGID, 5, 0, 0) })
	try("setresuid", func() error { return sys(unix.SYS_SETRESUID, 65534, 65534, 65534) })
	try("setuid 0", func() error { return sys(unix.SYS_SETUID, 0, 0, 0) })
	must(os.WriteFile("/build/xattr", nil, 0644))
	try("setxattr user", func() error { return unix.Setxattr("/build/xattr", "user.x", []byte("1"), 0) })
	try("setxattr capability", func() error { return setcap("/build/xattr", 1<<unix.CAP_NET_RAW) })
	try("setxattr trusted", func() error { return unix.Setxattr("/build/xattr", "trusted.x", []byte("1"), 0) })

	open := func(name string, flags int) {
		try(fmt.Sprintf("open %s %d", name, flags), func() error {
			fd, e := unix.Open(name, flags, 0)
			if e == nil {
				unix.Close(fd)
			}
			return e
		})
	}
	for _, name := range []string{"kernel/core_pattern", "kernel/pid_max", "vm/overcommit_memory", "kernel/hostname",
		"net/ipv4/ip_forward", "kernel/modprobe", "user/max_user_namespaces"} {
		open("/proc/sys/"+name, unix.O_WRONLY)
	}
	open("/proc/sysrq-trigger", unix.O_WRONLY)
	open("/proc/kcore", unix.O_WRONLY)
	for _, name := range []string{"root", "cwd", "exe", "fd/3", "mem", "environ", "maps", "ns/user"} {
		open("/proc/1/"+name, unix.O_RDONLY)
	}
	open("/proc/1/root/etc", unix.O_RDONLY)
	open("/proc/1/oom_score_adj", unix.O_WRONLY)
	open("/dev/mem", unix.O_RDONLY)
	open("/dev/null", unix.O_RDWR)
	open("/dev/kmsg", unix.O_RDONLY)
	open("/sysroot/file", unix.O_WRONLY)
	open("/bound", unix.O_WRONLY)
	open("/build/sources/bound", unix.O_WRONLY)
	open("/build/sources/bound", unix.O_RDONLY)
	open("/writable", unix.O_WRONLY)
	for _, dir := range []string{"/sysroot", "/sys", "/proc", "/boundir", "/proc/bus", "/build", "/dev/shm"} {
		try("create in "+dir, func() error { return os.WriteFile(dir+"/new", nil, 0644) })
	}
	try("chmod sysroot", func() error { return os.Chmod("/sysroot/file", 0777) })
	try("remove sysroot", func() error { return os.Remove("/sysroot/file") })
	try("ptrace 1", func() error { return unix.PtraceSeize(1) })
	try("process_vm_readv 1", func() error {
		var b [8]byte
		_, e := unix.ProcessVMReadv(1, []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
		return e
	})
	try("pidfd_getfd 1", func() error {
		pfd, e := unix.PidfdOpen(1, 0)
		must(e)
		_, e = unix.PidfdGetfd(pfd, 3, 0)
		return e
	})
	try("prlimit 1", func() error { return unix.Prlimit(1, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: 1}, nil) })
	try("raise limit", func() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 2, Max: 2}) })
	otherTables()
}

// setcap gives a file a version 2 capability, effective and permitted.
func setcap(file string, caps uint32) error {
	b := make([]byte, 20)
	binary.LittleEndian.PutUint32(b, 0x02000001)
	binary.LittleEndian.PutUint32(b[4:], caps)
	return unix.Setxattr(file, "security.capability", b, 0)
}

// walk lists what is there, with owners.
func walk(roots []string) {
	for _, root := range roots {
		filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				fmt.Println("error", err)
				return nil
			}
			if p == "/proc" {
				return fs.SkipDir
			}
			var st unix.Stat_t
			must(unix.Lstat(p, &st))
			fmt.Printf("%d:%d %s\n", st.Uid, st.Gid, p)
			return nil
		})
	}
}

// facts prints what a script can see of the machine and its own state.
func facts([]string) {
	var u unix.Utsname
	must(unix.Uname(&u))
	fmt.Println("node", unix.ByteSliceToString(u.Nodename[:]), unix.ByteSliceToString(u.Domainname[:]))
	fmt.Println("machine", unix.ByteSliceToString(u.Machine[:]))
	fmt.Println("ids", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid())
	cwd, _ := os.Getwd()
	fmt.Println("cwd", cwd)
	fmt.Printf("umask %04o\n", unix.Umask(0))
	for r := range unix.RLIMIT_RTTIME + 1 {
		var l unix.Rlimit
		must(unix.Prlimit(0, r, nil, &l))
		if r == unix.RLIMIT_NOFILE { // the runtime has raised its own soft limit
			fmt.Println("files", l.Max)
			continue
		}
		fmt.Println("limit", r, l.Cur, l.Max)
	}
	for _, dir := range []string{"/", "/build", "/build/sources", "/out", "/tmp", "/etc/deep"} {
		if st, err := os.Stat(dir); err == nil {
			fmt.Println("mode", dir, st.Mode())
		}
	}
	b, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(b)) {
		fmt.Println("mount", strings.Fields(line)[1])
	}
	per, _, _ := unix.RawSyscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	fmt.Printf("personality %#x\n", per)
	b, _ = os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		for _, k := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:", "SigBlk", "SigIgn"} {
			if strings.HasPrefix(line, k) {
				fmt.Print(line)
			}
		}
	}
	ifs, _ := net.Interfaces()
	for _, i := range ifs {
		fmt.Println("interface", i.Name, i.Flags&net.FlagUp != 0)
	}
	sid, _ := unix.Getsid(0)
	fmt.Println("leader", sid == os.Getpid())
	fmt.Println("env", strings.Join(os.Environ(), " "))
}

// killAll sends what it can to whom it can.
func killAll([]string) {
	c := exec.Command("/bin/probe", "sleep", "60000")
	must(c.Start())
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGSTOP, syscall.SIGKILL} {
		unix.Kill(1, s)
		time.Sleep(2 * time.Millisecond)
	}
	must(unix.Kill(-1, syscall.SIGKILL)) // all but pid 1 and this
	c.Wait()
	fmt.Println("alive")
	os.Exit(7)
}

func showRights([]string) {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "CapEff") || strings.HasPrefix(line, "CapPrm") {
			fmt.Print(line)
		}
	}
}

// setuid runs copies of itself that claim more rights.
func setuid([]string) {
	showRights(nil)
	self, err := os.ReadFile("/bin/probe")
	must(err)
	must(os.MkdirAll("/build/s", 0755))
	for i, prepare := range []func(string) error{
		func(f string) error { return os.Chmod(f, 0755|os.ModeSetuid|os.ModeSetgid) },
		func(f string) error { return setcap(f, 1<<unix.CAP_SYS_ADMIN|1<<unix.CAP_NET_ADMIN) },
	} {
		dir := fmt.Sprintf("/build/s/%d", i)
		must(os.Mkdir(dir, 0755))
		f := dir + "/su"
		must(os.WriteFile(f, self, 0755))
		must(prepare(f))
		out, err := exec.Command(f).CombinedOutput()
		fmt.Printf("%s", out)
		if err != nil {
			fmt.Println(err)
		}
	}
}

// users gives a file away, becomes another user, who cannot write it, and root again by a setuid program.
func users([]string) {
	var st unix.Stat_t
	must(os.WriteFile("/file", nil, 0644))
	must(unix.Chown("/file", 5, 6))
	must(unix.Stat("/file", &st))
	fmt.Println("owner", st.Uid, st.Gid)
	self, err := os.ReadFile("/bin/probe")
	must(err)
	must(os.WriteFile("/user", self, 0755))
	must(os.Chmod("/user", 0755|os.ModeSetuid))
	for _, program := range []string{"/bin/probe", "/user"} {
		cmd := exec.Command(program, "user")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 7, Gid: 8, Groups: []uint32{9}}}
		out, err := cmd.CombinedOutput()
		fmt.Printf("%s", out)
		if err != nil {
			fmt.Println(err)
		}
	}
}

// user tells who it is, and writes what users has given away.
func user([]string) {
	groups, _ := unix.Getgroups()
	fmt.Println("user", unix.Getuid(), unix.Geteuid(), unix.Getgid(), groups, os.WriteFile("/file", nil, 0644))
}

// escape tries the old way out of a chroot, and lists where it got to.
func escape([]string) {
	must(os.MkdirAll("/build/jail", 0755))
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(err)
	must(unix.Chroot("/build/jail"))
	must(unix.Fchdir(fd))
	for range 100 {
		must(unix.Chdir(".."))
	}
	must(unix.Chroot("."))
	es, err := os.ReadDir("/")
	must(err)
	for _, e := range es {
		fmt.Println(e.Name())
	}
}

func fds([]string) {
	d, err := os.Open("/proc/self/fd")
	must(err)
	names, err := d.Readdirnames(-1)
	must(err)
	for _, n := range names {
		l, err := os.Readlink("/proc/self/fd/" + n)
		if err == nil && !strings.HasPrefix(l, "anon_inode:") && !strings.HasSuffix(l, "/fd") {
			fmt.Println(n)
		}
	}
}

// jobs plays make: it runs jobs as the jobserver lets it, and logs when each starts and ends.
func jobs(a []string) {
	total, length, hang := number(a[0]), time.Duration(number(a[1]))*time.Millisecond, len(a) > 2
	log, err := os.OpenFile("/build/log", os.O_WRONLY|os.O_APPEND, 0)
	must(err)
	r, w := os.NewFile(100, "r"), os.NewFile(101, "w")
	slots := make(chan byte)
	stop := make(chan bool)
	go func() {
		for {
			var b [1]byte
			if n, _ := r.Read(b[:]); n == 1 {
				select {
				case slots <- b[0]:
				case <-stop:
					w.Write(b[:])
					stop <- true
					return
				}
			}
		}
	}()
	implicit := make(chan bool, 1)
	implicit <- true
	var wg sync.WaitGroup
	for range total {
		var token byte
		select {
		case <-implicit:
		case token = <-slots:
		}
		wg.Go(func() {
			fmt.Fprintln(log, "S")
			time.Sleep(length)
			if hang {
				select {} // keeps its slot until it is killed
			}
			fmt.Fprintln(log, "E")
			if token == 0 {
				implicit <- true
			} else {
				w.Write([]byte{token})
			}
		})
	}
	wg.Wait()
}

// tty looks at its terminal.
func tty([]string) {
	name, _ := os.Readlink("/proc/self/fd/0")
	fmt.Println("name", name)
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	fmt.Println("controlling", err == nil)
	if err == nil {
		pgrp, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
		fmt.Println("foreground", err == nil && pgrp == unix.Getpgrp())
	}
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	must(err)
	fmt.Println("size", size.Row, size.Col)
	var line string
	fmt.Scanln(&line)
	fmt.Println("read", line)
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH, syscall.SIGINT)
	fmt.Println("waiting")
	for range 2 {
		fmt.Println("signal", <-c)
		size, _ = unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		fmt.Println("size", size.Row, size.Col)
	}
}
