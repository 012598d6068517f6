package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vfsb/engine/sandbox/jobs"
)

// jobsInside is where the jobserver's descriptors are for the command.
const jobsInside = jobs.ReadFD

// Run runs a command in a new sandbox and waits for its end; then nothing of the sandbox is left but the folders below
// Dir. An error is the machine's failure and not the command's: an [*Unfit] where the sandbox could not be set up, an
// [*ExecError] where the root does not hold the command, ctx's cause where that ended it, or why the output of a command
// that succeeded could not be written. When ctx ends, the sandbox is killed.
//
// The process that calls Run may die at any moment: the sandbox dies with it.
func Run(ctx context.Context, s Spec) (Result, error) {
	return runSandbox(ctx, s, nil)
}

// runSandbox is Run; with probe set nothing is run, and probe gets what pid 1 reports.
func runSandbox(ctx context.Context, s Spec, probe func(report)) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	if err := check(&s, probe != nil); err != nil {
		return Result{}, err
	}
	if err := prepare(&s); err != nil {
		return Result{}, fmt.Errorf("sandbox: %w", err)
	}
	var term *terminal
	if s.Terminal {
		term = openOurs(&s)
	}
	copies := &copier{spec: &s, term: term}
	theirs := s.Stdin
	var err error
	if s.Stdin, err = copies.input(theirs); err != nil {
		return Result{}, err
	}
	o, paths := newOrder(&s)
	o.Probe = probe != nil
	if term != nil {
		o.Pty, o.Size, o.Later = true, term.size(), term.asks != nil
		s.Silence = 0 // a person may think
	}

	// Pid 1 dies with the thread that starts it, so this thread may do nothing else until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := time.Now()
	bounds := ours.start(s.Memory, s.Processes)
	defer ours.end(bounds)
	b, err := start(&s, o, bounds)
	if s.Stdin != theirs {
		s.Stdin.Close()
	}
	if err != nil {
		copies.wait()
		return Result{}, err
	}
	defer unix.Close(b.control)
	reports := make(chan []report, 1)
	copies.began = began
	go func() { reports <- b.listen(copies, probe) }()
	b.copies = copies
	err = b.order(o, paths)
	b.register()
	ended := make(chan struct{})
	var why atomic.Int32
	var watch sync.WaitGroup
	watch.Go(func() { why.Store(b.watch(ctx, &s, copies, ended)) })
	if err != nil {
		b.proc.Kill()
	}
	state, waitErr := b.proc.Wait()
	b.unregister()
	close(ended)
	watch.Wait()
	said := <-reports
	copies.wait()
	if o.Later {
		term.asks.Close()
	}
	removeWork(s.Dir)
	if waitErr != nil {
		return Result{}, fmt.Errorf("sandbox: %w", waitErr)
	}

	r := Result{Wall: time.Since(began) - time.Duration(b.pause.total.Load()), User: state.UserTime(), Sys: state.SystemTime()}
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
		r.MaxRSS = int64(ru.Maxrss) << 10
	}
	if bounds.outOfMemory() {
		r.OutOfMemory = bounds.limit
	}
	runs := false
	for _, rep := range said {
		runs = runs || rep.Runs
		switch {
		case rep.Exit != nil:
			r.ExitCode, r.Signal = rep.Exit.Code, syscall.Signal(rep.Exit.Signal)
			if r.ExitCode == 0 {
				return r, copies.lost()
			}
			return r, nil
		case rep.Fault != nil:
			return Result{}, rep.Fault.error()
		}
	}
	if err != nil {
		return Result{}, err
	}
	r.ExitCode, r.Signal = 128+int(syscall.SIGKILL), syscall.SIGKILL
	switch why.Load() {
	case byContext:
		return r, context.Cause(ctx)
	case byTimeout:
		r.TimedOut = true
		return r, nil
	case bySilence:
		r.Silent = true
		return r, nil
	}
	if runs { // somebody killed pid 1; the command's own doing is likelier than the machine's
		return r, nil
	}
	return r, unfit("run", fmt.Errorf("pid 1 ended with %v and said nothing: killed from outside, or out of memory", state))
}

func (f *fault) error() error {
	err := error(errors.New(f.Text))
	if f.Errno != 0 {
		err = &faultError{f.Text, syscall.Errno(f.Errno)}
	}
	if f.Exec {
		return &ExecError{Path: f.Step, Err: err}
	}
	return unfit(f.Step, err)
}

// A faultError has pid 1's words and the errno that they came from.
type faultError struct {
	text string
	no   syscall.Errno
}

func (e *faultError) Error() string { return e.text }
func (e *faultError) Unwrap() error { return e.no }

// check refuses what is wrong with a Spec whatever the machine.
func check(s *Spec, probe bool) error {
	bad := func(format string, args ...any) error { return fmt.Errorf("sandbox: "+format, args...) }
	if !filepath.IsAbs(s.Dir) {
		return bad("run folder %q is not absolute", s.Dir)
	}
	if len(s.Argv) == 0 && !probe {
		return bad("no command")
	}
	if len(s.Root) > MaxRoot {
		return bad("%d layers in the root, the limit is %d", len(s.Root), MaxRoot)
	}
	if s.Processes == 0 {
		s.Processes = defaultProcesses
	}
	if s.Processes < 301 {
		return bad("limit of %d processes: the kernel's least is 301", s.Processes)
	}
	if s.Cwd == "" {
		s.Cwd = "/build"
	}
	from := slices.Clone(s.Root)
	ats := []string{s.Cwd}
	for _, m := range s.Mounts {
		if len(m.Lowers) == 0 || len(m.Lowers) > maxLowers {
			return bad("%d layers at %s, the limits are 1 and %d", len(m.Lowers), m.At, maxLowers)
		}
		from = append(from, m.Lowers...)
		ats = append(ats, m.At)
	}
	if s.Tree != "" {
		from = append(from, s.Tree)
	}
	for _, b := range s.Binds {
		from = append(from, b.From)
		ats = append(ats, b.At)
	}
	if e := s.Emulator; e != nil {
		if handlers[e.Arch] == "" {
			return bad("no handler for programs of %q", e.Arch)
		}
		from = append(from, e.Program)
	}
	for _, f := range from {
		if !filepath.IsAbs(f) {
			return bad("path %q is not absolute", f)
		}
	}
	for i, at := range ats {
		if !path.IsAbs(at) || path.Clean(at) != at || at == "/" && i > 0 {
			return bad("%q is not a clean absolute path below the root", at)
		}
	}
	return nil
}

// own are the folders that every sandbox mounts something on.
var own = []string{"dev", "proc", "sys", "tmp", "build", "out"}

// prepare makes the folders below Dir. The skeleton is the lowest folder of the root and holds the mount points, so
// that mounting leaves no trace in the upper folder.
func prepare(s *Spec) error {
	for _, name := range []string{"upper", "build", "out", "skel"} {
		if err := mkdir(filepath.Join(s.Dir, name)); err != nil {
			return err
		}
	}
	if !s.Resume {
		left, err := os.ReadDir(filepath.Join(s.Dir, "upper"))
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("%s/upper is not empty: an earlier run's, use Resume", s.Dir)
		}
	}
	// A volatile overlay marks its work folder, and the kernel refuses to mount over the mark.
	if err := removeWork(s.Dir); err != nil {
		return err
	}
	if err := mkdir(filepath.Join(s.Dir, "work")); err != nil {
		return err
	}
	for _, name := range own {
		if s.NoBuild && (name == "build" || name == "out") {
			continue
		}
		if err := mkdir(filepath.Join(s.Dir, "skel", name)); err != nil {
			return err
		}
	}
	for _, m := range s.Mounts {
		if err := makeMountPoint(s, m.At, false); err != nil {
			return err
		}
	}
	for _, b := range s.Binds {
		st, err := os.Stat(b.From)
		if err != nil {
			return err
		}
		if err := makeMountPoint(s, b.At, !st.IsDir()); err != nil {
			return err
		}
	}
	return nil
}

// removeWork removes what the kernel leaves of an overlay; its own folders in there have mode 0.
func removeWork(dir string) error {
	work := filepath.Join(dir, "work")
	for _, below := range []string{"work", "work/incompat", "work/incompat/volatile"} {
		os.Chmod(filepath.Join(work, below), 0700)
	}
	return os.RemoveAll(work)
}

// mkdir makes a folder of mode 0755, whatever the umask, or leaves an existing one.
func mkdir(name string) error {
	err := os.Mkdir(name, 0755)
	if err == nil {
		return os.Chmod(name, 0755)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// makeMountPoint makes what at needs in the skeleton or in the folder that will be mounted above it; pid 1 makes what
// lies on file systems of the sandbox's own.
func makeMountPoint(s *Spec, at string, file bool) error {
	base, rest := filepath.Join(s.Dir, "skel"), strings.TrimPrefix(at, "/")
	switch first, below, _ := strings.Cut(rest, "/"); first {
	case "build", "out":
		if !s.NoBuild {
			base, rest = filepath.Join(s.Dir, first), below
		}
	case "dev", "proc", "sys", "tmp":
		return nil
	}
	if rest == "" {
		return nil
	}
	root, err := os.OpenRoot(base) // a kept build folder may hold links to anywhere
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Stat(rest); err == nil {
		return nil
	}
	parent := rest
	if file {
		parent = path.Dir(rest)
	}
	if err := mkdirAll(root, parent); err != nil {
		return err
	}
	if !file {
		return nil
	}
	f, err := root.OpenFile(rest, os.O_WRONLY|os.O_CREATE, 0644)
	if err != nil {
		return err
	}
	return f.Close()
}

// mkdirAll makes a folder below root like mkdir, and those above it.
func mkdirAll(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if err := mkdirAll(root, path.Dir(name)); err != nil {
		return err
	}
	err := root.Mkdir(name, 0755)
	if err == nil {
		return root.Chmod(name, 0755)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// newOrder translates a Spec. The paths are in the order of the order's link targets.
func newOrder(s *Spec) (*order, *hostPaths) {
	o := &order{Argv: slices.Clone(s.Argv), Env: slices.Clone(s.Env), Cwd: s.Cwd, Linux32: s.Linux32, Network: s.Network, Users: s.Users && HasUsers(), PidMax: s.Processes,
		Stdin: s.Stdin != nil, Stdout: s.Stdout != nil, Stderr: s.Stderr != nil,
		Merged: s.Stdout != nil && s.Stdout == s.Stderr}
	if s.Jobserver != nil {
		o.Jobs = true
		o.Env = append(o.Env, jobs.MakeFlags)
	}
	h := &hostPaths{}
	below := func(name string) string { return filepath.Join(s.Dir, name) }
	o.Root = append(slices.Clone(s.Root), below("skel"))
	for i := range o.Root {
		h.add(&o.Root[i])
	}
	o.Upper, o.Work = below("upper"), below("work")
	if s.Tree != "" {
		o.Upper = s.Tree
	}
	h.add(&o.Upper)
	h.add(&o.Work)
	for _, name := range []string{"build", "out"} {
		if s.NoBuild {
			break
		}
		o.Mounts = append(o.Mounts, mountOrder{At: "/" + name, Lowers: []string{below(name)}, Writable: true})
	}
	for _, m := range s.Mounts {
		o.Mounts = append(o.Mounts, mountOrder{At: m.At, Lowers: slices.Clone(m.Lowers)})
	}
	for _, b := range s.Binds {
		st, err := os.Stat(b.From)
		o.Mounts = append(o.Mounts, mountOrder{At: b.At, Lowers: []string{b.From}, Writable: b.Writable, File: err == nil && !st.IsDir()})
	}
	// What lies above is mounted first.
	slices.SortStableFunc(o.Mounts, func(a, b mountOrder) int { return strings.Compare(a.At+"/", b.At+"/") })
	for i := range o.Mounts {
		for j := range o.Mounts[i].Lowers {
			h.add(&o.Mounts[i].Lowers[j])
		}
	}
	if s.Emulator != nil {
		o.Handler, o.Interpreter = handlers[s.Emulator.Arch], s.Emulator.Program
		h.add(&o.Interpreter)
	}
	return o, h
}

// A box is a sandbox from outside.
type box struct {
	proc    *os.Process
	control int // our end of the socket
	copies  *copier
	pause   pause
}

// start starts pid 1, which then waits for its order.
func start(s *Spec, o *order, bounds *group) (*box, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, unfit("make control socket", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "control")
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		unix.Close(ends[0])
		return nil, unfit("open "+os.DevNull, err)
	}
	defer null.Close()
	files := []*os.File{null, null, null, theirs}
	if s.Stdin != nil {
		files[0] = s.Stdin
	}
	files[2] = os.Stderr // what pid 1's runtime says before its end; the command never has it
	if s.Jobserver != nil {
		r, w := s.Jobserver.Files()
		files = append(files, r, w)
	}
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
			unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP,
		Pdeathsig: syscall.SIGKILL,
	}
	if s.Network {
		attr.Cloneflags &^= unix.CLONE_NEWNET
	}
	setIDs(attr, o.Users)
	leave := bounds.join(attr)
	proc, err := os.StartProcess("/proc/self/exe", []string{initName, strconv.Itoa(len(files))}, &os.ProcAttr{
		Files: files,
		// Pid 1 works for milliseconds, then waits; its runtime need not read the host's cgroups.
		Env: []string{"GOMAXPROCS=1", "GOGC=off", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"},
		Sys: attr,
	})
	leave()
	if err != nil {
		unix.Close(ends[0])
		return nil, unfit(stepStart, err)
	}
	return &box{proc: proc, control: ends[0]}, nil
}

// order sends pid 1 its order and the views of the host that it needs.
func (b *box) order(o *order, paths *hostPaths) error {
	var trees []int
	if privileged() {
		userns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/user", b.proc.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return unfit("open user namespace", err)
		}
		trees, o.Trees, err = paths.shift(userns)
		unix.Close(userns)
		defer func() {
			for _, fd := range trees {
				unix.Close(fd)
			}
		}()
		if err != nil {
			return err
		}
	}
	o.wrap()
	if err := send(b.control, o, trees...); err != nil {
		return unfit("send order", err)
	}
	return nil
}

// listen returns what pid 1 says until its end.
func (b *box) listen(c *copier, probe func(report)) (all []report) {
	for {
		var r report
		files, err := receive(b.control, &r)
		c.start(files)
		if err != nil {
			return all
		}
		if r.Asks {
			c.term.asks.Close()
		}
		if probe != nil {
			probe(r)
		}
		all = append(all, r)
	}
}

// Reasons for a kill.
const (
	byContext = 1 + iota
	byTimeout
	bySilence
)

// watch kills the sandbox when something asks for it, and returns the reason, or 0 when the sandbox has ended first.
// SIGKILL of pid 1 ends every process in the namespace before pid 1 can be waited for.
func (b *box) watch(ctx context.Context, s *Spec, c *copier, ended <-chan struct{}) (why int32) {
	var timeout, silence <-chan time.Time
	var limit *time.Timer
	if s.Timeout > 0 {
		limit = time.NewTimer(s.Timeout)
		defer limit.Stop()
		timeout = limit.C
	}
	var quiet *time.Timer
	if s.Silence > 0 {
		quiet = time.NewTimer(s.Silence)
		defer quiet.Stop()
		silence = quiet.C
	}
	for {
		select {
		case <-ended:
			return 0
		case <-ctx.Done():
			why = byContext
		case <-timeout:
			if left := counted(b.pause.rest); left > 0 {
				limit.Reset(left)
				continue
			}
			why = byTimeout
		case <-silence:
			if left := s.Silence - counted(c.silent); left > 0 {
				quiet.Reset(left)
				continue
			}
			why = bySilence
		}
		b.proc.Kill()
		return why
	}
}

// A copier moves what the command writes to where the caller wants it.
type copier struct {
	spec  *Spec
	term  *terminal
	began time.Time
	last  atomic.Int64 // when something was written, nanoseconds after began
	full  atomic.Pointer[error]
	all   sync.WaitGroup
}

// lost is why not all that was written is where the caller wants it; nil if it is, or if nobody reads there any more.
func (c *copier) lost() error {
	if err := c.full.Load(); err != nil && !errors.Is(*err, syscall.EPIPE) {
		return fmt.Errorf("not all that the command printed could be written: %w", *err)
	}
	return nil
}

// input returns what becomes the command's standard input. What a regular file holds comes through a pipe: the command
// could open the file again by its name in /proc, to write.
func (c *copier) input(stdin *os.File) (*os.File, error) {
	if stdin == nil || c.term != nil {
		return stdin, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(stdin.Fd()), &st); err != nil {
		return nil, fmt.Errorf("sandbox: standard input: %w", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK:
	case unix.S_IFDIR:
		return nil, errors.New("sandbox: standard input is a folder, which leads out; use a file, a pipe or /dev/null")
	default:
		return stdin, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("sandbox: standard input: %w", err)
	}
	c.all.Go(func() {
		defer w.Close()
		io.Copy(w, stdin)
	})
	return r, nil
}

// silent returns how long nothing has been written.
func (c *copier) silent() time.Duration {
	return time.Since(c.began) - time.Duration(c.last.Load())
}

// start begins with the descriptors that pid 1 sent: the terminal, if there is one, and the pipes for Stdout and Stderr.
func (c *copier) start(fds []int) {
	if c.term != nil && len(fds) > 0 {
		master := fds[0]
		c.all.Go(func() { c.term.join(master) })
		fds = fds[1:]
	}
	var to []*os.File
	if c.spec.Stdout != nil {
		to = append(to, c.spec.Stdout)
	}
	if c.spec.Stderr != nil && c.spec.Stderr != c.spec.Stdout {
		to = append(to, c.spec.Stderr)
	}
	for i, fd := range fds {
		if i >= len(to) {
			unix.Close(fd)
			continue
		}
		unix.SetNonblock(fd, true)
		from := os.NewFile(uintptr(fd), "output")
		c.all.Go(func() {
			defer from.Close()
			c.copy(to[i], from)
		})
	}
}

// copy goes on reading when to fails (a full disk, say): the command shall not hang.
func (c *copier) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			c.last.Store(int64(time.Since(c.began)))
			if _, err := to.Write(buf[:n]); err != nil {
				c.full.CompareAndSwap(nil, &err)
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *copier) wait() { c.all.Wait() }
