package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// initName is argv[0] of pid 1; a user sees it in ps.
const initName = "vfsb-init"

const (
	controlFD = 3 // the socket
	jobsFD    = 4 // and 5, where there is a jobserver
)

func init() {
	if startedAsInit() {
		runtime.LockOSThread() // to the process's first thread: the kernel takes a time namespace's offsets from that only
	}
}

func startedAsInit() bool { return len(os.Args) == 2 && os.Args[0] == initName && os.Getpid() == 1 }

// Init makes this process pid 1 of a sandbox if it was started as such, and then never returns; else it returns at
// once, or where [WithUsers] has started it, as soon as it has its ids. It must be the first call of main, and of TestMain in packages whose tests run sandboxes.
func Init() {
	awaitUsers()
	if !startedAsInit() {
		return
	}
	// This thread alone is stripped of its rights, and starts the command, which inherits what the thread has left.
	runtime.LockOSThread()
	first, err := strconv.Atoi(os.Args[1])
	if err == nil {
		err = closeInherited(first)
	}
	var o order
	var trees []int
	if err == nil {
		trees, err = receive(controlFD, &o)
	}
	if err != nil {
		os.Exit(1) // the engine has gone, or never was
	}
	o.unwrap()
	p := pid1{order: &o}
	go func() {
		p.obey()
		os.Exit(1) // the engine has gone: with pid 1 everything in the sandbox ends
	}()
	if err := p.setUp(trees); err != nil {
		p.fail(err)
	}
	p.run()
}

// closeInherited closes what whoever started the engine had left open across exec. The Go runtime's own descriptors
// are marked close-on-exec, those from outside cannot be.
func closeInherited(first int) error {
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var names []string
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil {
			return err
		}
		if n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	for _, name := range names {
		fd, _ := strconv.Atoi(name)
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		if fd >= first {
			unix.Close(fd)
		} else if fd >= controlFD {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// A stepError is an error with the step of the set-up that it happened in.
type stepError struct {
	step string
	err  error
	exec bool
}

func (e *stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

func at(step string, err error) error {
	if err == nil {
		return nil
	}
	return &stepError{step: step, err: err}
}

// pid1 is the sandbox's first process.
type pid1 struct {
	order   *order
	root    newRoot
	scratch int // a tmpfs that goes with the old root
	stdio   [3]int
	binfmt  int        // holds the mount: without it handlers would vanish
	stop    sync.Mutex // of stopped, and of what is done about it
	stopped bool
}

// fail tells the engine what went wrong and ends the sandbox.
func (p *pid1) fail(err error) {
	f := fault{Step: "set up", Text: err.Error()}
	var s *stepError
	if errors.As(err, &s) {
		f.Step, f.Text, f.Exec = s.step, s.err.Error(), s.exec
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		f.Errno = int(no)
	}
	send(controlFD, report{Fault: &f})
	os.Exit(1)
}

// setUp makes the new root, moves into it, and gives up every right that the command shall not have.
func (p *pid1) setUp(trees []int) error {
	unix.Umask(0022)
	steps := []struct {
		name string
		do   func() error
	}{
		{"make mounts private", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount scratch tmpfs", p.makeScratch},
		{"attach idmapped views", func() error { return p.attachTrees(trees) }},
		{stepOverlay, p.makeRoot},
		{stepProc, p.makeProc},
		{"mount dev", p.makeDev},
		{"mount sys and tmp", p.makeSysTmp},
		{"mount", p.makeMounts},
		{"set up binfmt_misc", p.makeBinfmt},
		{"pivot root", p.pivot},
		{"name host", p.nameHost},
		{"hide control group", func() error { return unix.Unshare(unix.CLONE_NEWCGROUP) }}, // version 2: the engine's was "/" so far
		{"bring loopback up", p.loopbackUp},
		{"make standard files", p.makeFiles},
		{"set clocks", setClocks},
		{"set limits", setLimits},
		{"set personality", func() error { return setPersonality(p.order.Linux32) }},
		{"give up dumps", func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }},
		{"filter system calls", p.filterSyscalls},
		{"drop capabilities", dropCapabilities},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			var named *stepError
			if errors.As(err, &named) {
				return err
			}
			return at(s.name, err)
		}
	}
	return nil
}

// makeScratch mounts a tmpfs over "/", where only descriptors and relative paths reach it, and makes it the current
// folder. Absolute paths still mean the host's.
func (p *pid1) makeScratch() error {
	fd, err := newMount("tmpfs", attrsData, "mode=700", "size=16m")
	if err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	p.scratch = fd
	return unix.Fchdir(fd)
}

func (p *pid1) attachTrees(trees []int) error {
	if len(trees) != len(p.order.Trees) {
		return fmt.Errorf("%d descriptors for %d trees", len(trees), len(p.order.Trees))
	}
	for i, fd := range trees {
		name := treeName(i)
		if err := makePoint(name, p.order.Trees[i].File); err != nil {
			return err
		}
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return err
		}
		unix.Close(fd)
	}
	return nil
}

// treeName is where the scratch folder shows tree i.
func treeName(i int) string { return "t" + strconv.Itoa(i) }

func makePoint(name string, file bool) error {
	if file {
		return unix.Mknod(name, unix.S_IFREG|0644, 0)
	}
	return unix.Mkdir(name, 0755)
}

// links makes short names for folders in the scratch folder: prefix and a number.
func links(prefix string, targets []string) (names []string, err error) {
	for i, t := range targets {
		name := prefix + strconv.Itoa(i)
		if err := unix.Symlink(t, name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func (p *pid1) makeRoot() error {
	lowers, err := links("l", p.order.Root)
	if err != nil {
		return err
	}
	if err := unix.Symlink(p.order.Upper, "upper"); err != nil {
		return err
	}
	if err := unix.Symlink(p.order.Work, "work"); err != nil {
		return err
	}
	fd, err := overlay(lowers, "upper", "work", "n")
	if err == nil && p.order.Users {
		err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_NOSUID})
	}
	if err != nil {
		return err
	}
	if err := unix.Mkdir("root", 0755); err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, "root", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	unix.Close(fd)
	p.root, err = openRoot(unix.AT_FDCWD, "root")
	return err
}

// makeProc mounts a proc of the new pid namespace and covers what tells of the machine.
func (p *pid1) makeProc() error {
	fd, err := newMount("proc", attrsNone)
	if err != nil {
		return err
	}
	proc, err := unix.Dup(fd)
	if err != nil {
		return err
	}
	defer unix.Close(proc)
	if err := p.root.mount(fd, "/proc"); err != nil {
		return err
	}
	if err := setPidMax(proc, p.order.PidMax); err != nil {
		return at("limit processes", err)
	}

	sys, err := clone(proc, "sys", unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	point, err := unix.Openat(proc, "sys", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := attach(sys, point); err != nil {
		return err
	}

	// One read-only tmpfs holds the covers; its clones inherit the attribute.
	covers, err := newMount("tmpfs", attrsNone, "mode=755", "size=256k")
	if err != nil {
		return err
	}
	defer unix.Close(covers)
	if err := unix.Mkdir("covers", 0755); err != nil {
		return err
	}
	if err := unix.MoveMount(covers, "", unix.AT_FDCWD, "covers", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	fixed := fixedProc()
	for name, content := range fixed {
		if err := writeFile(covers, path.Base(name), content); err != nil {
			return err
		}
	}
	if err := writeFile(covers, "empty", ""); err != nil {
		return err
	}
	if err := unix.Mkdirat(covers, "none", 0755); err != nil {
		return err
	}
	if err := unix.MountSetattr(covers, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return err
	}
	cover := func(name, with string) error {
		point, err := unix.Openat(proc, name, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return err
		}
		c, err := clone(covers, with, 0)
		if err != nil {
			unix.Close(point)
			return err
		}
		return at("cover /proc/"+name, attach(c, point))
	}
	for _, name := range slices.Sorted(maps.Keys(fixed)) { // the order of /proc/self/mounts
		if err := cover(name, path.Base(name)); err != nil {
			return err
		}
	}
	for _, name := range emptyProc {
		if err := cover(name, "empty"); err != nil {
			return err
		}
	}
	for _, name := range emptyProcDirs {
		if err := cover(name, "none"); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(dir int, name, content string) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0444)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for len(content) > 0 {
		n, err := unix.Write(fd, []byte(content))
		if err != nil {
			return err
		}
		content = content[n:]
	}
	return nil
}

// devices are the host's device nodes that the command gets. Their owner shows as 65534: nobody in the sandbox owns
// them, and everybody may use them.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

func (p *pid1) makeDev() error {
	fd, err := newMount("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "mode=755", "size=64k")
	if err != nil {
		return err
	}
	dev, err := unix.Dup(fd)
	if err != nil {
		return err
	}
	defer unix.Close(dev)
	if err := p.root.mount(fd, "/dev"); err != nil {
		return err
	}
	for _, name := range devices {
		if err := writeFile(dev, name, ""); err != nil {
			return err
		}
		c, err := clone(unix.AT_FDCWD, "/dev/"+name, 0)
		if err != nil {
			return at("bind /dev/"+name, err)
		}
		if err := p.root.mount(c, "/dev/"+name); err != nil {
			return at("bind /dev/"+name, err)
		}
	}
	pts, err := newMount("devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "ptmxmode=0666", "mode=620")
	if err != nil {
		return err
	}
	shm, err := newMount("tmpfs", attrsData, "mode=1777")
	if err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		fd   int
	}{{"pts", pts}, {"shm", shm}} {
		if err := unix.Mkdirat(dev, m.name, 0755); err != nil {
			return err
		}
		if err := p.root.mount(m.fd, "/dev/"+m.name); err != nil {
			return err
		}
	}
	for _, l := range [][2]string{{"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"},
		{"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}} {
		if err := unix.Symlinkat(l[0], dev, l[1]); err != nil {
			return err
		}
	}
	return nil
}

func (p *pid1) makeSysTmp() error {
	none, err := clone(unix.AT_FDCWD, "covers/none", 0)
	if err != nil {
		return err
	}
	if err := p.root.mount(none, "/sys"); err != nil {
		return at("mount /sys", err)
	}
	tmp, err := newMount("tmpfs", attrsData, "mode=1777")
	if err != nil {
		return err
	}
	return at("mount /tmp", p.root.mount(tmp, "/tmp"))
}

func (p *pid1) makeMounts() error {
	for i, m := range p.order.Mounts {
		step := "mount " + m.At
		names, err := links("m"+strconv.Itoa(i)+"-", m.Lowers)
		if err != nil {
			return at(step, err)
		}
		var fd int
		if len(names) == 1 {
			attrs := uint64(attrsData)
			if !m.Writable {
				attrs |= unix.MOUNT_ATTR_RDONLY
			}
			fd, err = clone(unix.AT_FDCWD, names[0], attrs)
		} else {
			fd, err = overlay(names, "", "", "n"+strconv.Itoa(i)+"-")
		}
		if err != nil {
			return at(step, err)
		}
		point, err := p.root.point(m.At, m.File)
		if err != nil {
			unix.Close(fd)
			return at(step, err)
		}
		if err := attach(fd, point); err != nil {
			return at(step, err)
		}
	}
	return nil
}

func (p *pid1) pivot() error {
	if err := unix.Fchdir(p.root.fd); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	// The old root now lies over the new one, and the scratch folder over the old root: "." is the topmost.
	for range 2 {
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return err
		}
	}
	unix.Close(p.root.fd)
	unix.Close(p.scratch)
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	// Whatever else were mounted over the new root would be the way out.
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	roots := 0
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
			roots++
		}
	}
	if roots != 1 {
		return fmt.Errorf("%d mounts at the root, not 1", roots)
	}
	return nil
}

// nameHost fixes what a namespace can fix of uname. The kernel's release and version stay: faking them needs a
// supervisor for a call that every program makes.
func (p *pid1) nameHost() error {
	if err := unix.Sethostname([]byte("vfsb")); err != nil {
		return err
	}
	return unix.Setdomainname([]byte("(none)"))
}

func (p *pid1) loopbackUp() error {
	if p.order.Network {
		return nil
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}
