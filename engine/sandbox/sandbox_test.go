package sandbox

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests run as root and, from there once more, as an ordinary user; see TestAsOrdinaryUser.

// Environment of re-executed test binaries.
const (
	probeVar  = "SANDBOX_TEST_PROBE"  // a built probe
	engineVar = "SANDBOX_TEST_ENGINE" // play an engine in this folder, until killed
)

var probeFile string

func TestMain(m *testing.M) {
	Init()
	if dir := os.Getenv(engineVar); dir != "" {
		playEngine(dir)
	}
	if dir := os.Getenv(groupVar); dir != "" {
		probeFile = os.Getenv(probeVar)
		if err := playGroups(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(withProbe(m.Run))
}

func withProbe(run func() int) int {
	probeFile = os.Getenv(probeVar)
	if probeFile == "" {
		dir, err := os.MkdirTemp("", "probe")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		probeFile = filepath.Join(dir, "probe")
		cmd := exec.Command("go", "build", "-o", probeFile, "./testdata/probe")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Printf("%v\n%s", err, out)
			return 1
		}
		os.Chmod(dir, 0755)
	}
	return run()
}

const ordinary = 65534

// tempOf makes a folder that the user and group id can enter and own.
func tempOf(t *testing.T, id int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, id, id); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestAsOrdinaryUser runs the other tests again as a user without rights.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // this is that run
	}
	dir := tempOf(t, ordinary)
	args := []string{"-test.v", "-test.run=" + flag.Lookup("test.run").Value.String(), "-test.count=1"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, probeVar+"="+probeFile)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary, Groups: []uint32{ordinary, 100}}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	passed := strings.Count(string(out), "--- PASS")
	t.Logf("%d tests passed as user %d", passed, ordinary)
	if flag.Lookup("test.run").Value.String() == "" && passed < 20 {
		t.Fatalf("only %d tests ran as an ordinary user:\n%s", passed, out)
	}
}

func TestHello(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "hello")
	r, out := l.output(s)
	if r.ExitCode != 0 || out != "hello\nhello, too\n" {
		t.Errorf("%+v %q", r, out)
	}
	if r.Wall <= 0 || r.User+r.Sys <= 0 || r.MaxRSS < 1<<20 || r.MaxRSS > 1<<30 {
		t.Errorf("%+v", r)
	}
	// Two files, and looked up in PATH.
	s = l.spec("run2", "hello")
	s.Argv[0] = "probe"
	s.Env = []string{"PATH=/nowhere:/bin"}
	s.Stdout, _ = os.Create(filepath.Join(l.dir, "stdout"))
	s.Stderr, _ = os.Create(filepath.Join(l.dir, "stderr"))
	if _, err := Run(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if l.read("stdout") != "hello\n" || l.read("stderr") != "hello, too\n" {
		t.Errorf("%q %q", l.read("stdout"), l.read("stderr"))
	}
	// No files at all.
	if r, err := Run(t.Context(), l.spec("run3", "hello")); err != nil || r.ExitCode != 0 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestOutputLost: a command whose output could not be written has not succeeded.
func TestOutputLost(t *testing.T) {
	l := newLab(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	s := l.spec("run", "hello")
	s.Stdout = full
	if _, err := Run(t.Context(), s); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	s = l.spec("run2", "nothing") // no such subcommand: it prints so and exits with 99
	s.Stdout = full
	if r, err := Run(t.Context(), s); err != nil || r.ExitCode != 99 {
		t.Errorf("%+v %v", r, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	s = l.spec("run3", "hello")
	s.Stdout = w // nobody reads it, nobody misses it
	if _, err := Run(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestExitCodes(t *testing.T) {
	l := newLab(t)
	for i, code := range []int{0, 1, 2, 77, 126, 127, 137, 255} {
		r, out := l.output(l.spec(fmt.Sprint("run", i), "exit", strconv.Itoa(code)))
		if r.ExitCode != code || r.Signal != 0 {
			t.Errorf("exit %d: %+v %s", code, r, out)
		}
	}
	for i, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGPIPE, syscall.SIGABRT} {
		r, out := l.output(l.spec(fmt.Sprint("sig", i), "signal", strconv.Itoa(int(s))))
		if r.ExitCode != 128+int(s) || r.Signal != s {
			t.Errorf("%v: %+v %s", s, r, out)
		}
	}
}

func TestCommandErrors(t *testing.T) {
	l := newLab(t)
	l.write("probe/bin/text", "no program", 0755)
	l.write("probe/bin/plain", "no program", 0644)
	for i, c := range []struct {
		argv0 string
		want  syscall.Errno
	}{{"/bin/absent", syscall.ENOENT}, {"absent", syscall.ENOENT}, {"/bin/plain", syscall.EACCES}, {"plain", syscall.EACCES},
		{"/bin/text", syscall.ENOEXEC}, {"/bin", syscall.EACCES}} {
		s := l.spec(fmt.Sprint("run", i))
		s.Argv = []string{c.argv0}
		_, err := Run(t.Context(), s)
		var e *ExecError
		if !errors.As(err, &e) || e.Path != c.argv0 || !errors.Is(err, c.want) || errors.Is(err, ErrUnfit) {
			t.Errorf("%s: %v", c.argv0, err)
		}
	}
}

func TestSetUpErrors(t *testing.T) {
	l := newLab(t)
	for name, c := range map[string]struct {
		change func(*Spec)
		want   string
		unfit  bool
	}{
		"missing layer":  {func(s *Spec) { s.Root = append(s.Root, l.dir+"/nothing") }, "no such file", false},
		"no command":     {func(s *Spec) { s.Argv = nil }, "no command", false},
		"relative layer": {func(s *Spec) { s.Root = []string{"a"} }, "not absolute", false},
		"too many":       {func(s *Spec) { s.Root = make([]string, 501) }, "limit is 500", false},
		"bad mount":      {func(s *Spec) { s.Mounts = []Mount{{At: "/a/../b", Lowers: s.Root}} }, "not a clean", false},
		"mount on root":  {func(s *Spec) { s.Mounts = []Mount{{At: "/", Lowers: s.Root}} }, "not a clean", false},
		"missing bind":   {func(s *Spec) { s.Binds = []Bind{{From: l.dir + "/nothing", At: "/x"}} }, "no such file", false},
		"few processes":  {func(s *Spec) { s.Processes = 10 }, "least is 301", false},
		"no such folder": {func(s *Spec) { s.Cwd = "/nowhere" }, "change to /nowhere", true},
		"dev is a link": {func(s *Spec) {
			os.MkdirAll(l.dir+"/evil", 0755)
			os.Symlink("/etc", l.dir+"/evil/dev")
			s.Root = []string{l.dir + "/evil", s.Root[0]}
		}, "mount dev", true},
		"bind over link out": {func(s *Spec) {
			os.MkdirAll(l.dir+"/evil2", 0755)
			os.Symlink("/nonexistent", l.dir+"/evil2/lib")
			s.Root = []string{l.dir + "/evil2", s.Root[0]}
			s.Binds = []Bind{{From: l.dir, At: "/lib/x"}}
		}, "mount /lib/x", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := l.spec(strings.ReplaceAll(name, " ", "-"), "true")
			c.change(&s)
			r, err := Run(t.Context(), s)
			if err == nil {
				t.Fatalf("no error: %+v", r)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			var u *Unfit
			if errors.As(err, &u) != c.unfit || errors.Is(err, ErrUnfit) != c.unfit {
				if name != "missing layer" { // pid 1 finds it for an ordinary user
					t.Errorf("unfit: %v", err)
				}
			}
			if left, _ := os.ReadDir(filepath.Join(s.Dir, "upper")); len(left) > 0 {
				t.Errorf("upper holds %v", left)
			}
		})
	}
}

func TestRemedies(t *testing.T) {
	for _, c := range []struct {
		step string
		err  error
		want string
	}{
		{stepStart, syscall.ENOSPC, "/proc/sys/user"},
		{stepStart, syscall.EACCES, "chmod 755"},
		{stepStart, syscall.EINVAL, "namespaces"},
		{stepIDMap + " /store", syscall.EINVAL, "ext4"},
		{stepIDMap + " /store", syscall.EPERM, "ordinary user"},
		{stepOverlay, &faultError{"create", syscall.ENODEV}, "modprobe overlay"},
		{stepOverlay, &faultError{"create", syscall.EINVAL}, "volume"},
		{stepProc, &faultError{"create", syscall.EPERM}, "systempaths=unconfined"},
	} {
		u := unfit(c.step, c.err)
		if !strings.Contains(u.Remedy, c.want) || !strings.Contains(u.Error(), u.Remedy) {
			t.Errorf("%s, %v: %q", c.step, c.err, u.Remedy)
		}
	}
}

// TestMaxNamespaces has the kernel refuse namespaces, in a user namespace of its own.
func TestMaxNamespaces(t *testing.T) {
	l := newLab(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestNothing$")
	cmd.Env = append(os.Environ(), probeVar+"="+probeFile, engineVar+"=refused:"+l.spec("run").Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "unfit true") || !strings.Contains(string(out), "user.max_user_namespaces=") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestHowItIsStarted: what a command sees does not depend on what an engine inherits from who starts it.
func TestHowItIsStarted(t *testing.T) {
	l := newLab(t)
	bound := l.write("bound", "bound", 0644)
	facts := func(name string) string {
		l.spec(name)
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNothing$")
		cmd.Env = append(os.Environ(), probeVar+"="+probeFile, engineVar+"="+name+":"+bound)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	want := facts("plain")
	if !strings.Contains(want, "mode /build/sources drwxr-xr-x\n") {
		t.Errorf("%s", want)
	}
	got := strings.Split(facts("odd"), "\n")
	for i, line := range strings.Split(want, "\n") {
		if i >= len(got) || got[i] != line {
			t.Fatalf("%s\nline %d is not %q", strings.Join(got, "\n"), i+1, line)
		}
	}
	if got := facts("few"); !strings.HasPrefix(got, "sandbox: limit open files: the limit is 200, the sandbox has 4096: raise") {
		t.Errorf("%s", got)
	}
}

// playFacts is an engine that runs one sandbox, as it would be by itself or with what it might inherit.
func playFacts(kind, bound string) error {
	runtime.LockOSThread() // signals are blocked for one
	limit := func(resource int, soft, hard uint64) error {
		var l unix.Rlimit
		err := unix.Getrlimit(resource, &l)
		return errors.Join(err, unix.Setrlimit(resource, &unix.Rlimit{Cur: min(soft, l.Max), Max: min(hard, l.Max)}))
	}
	switch kind {
	case "odd":
		var errs []error
		unix.Umask(0077)
		signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGTSTP)
		for _, l := range []struct {
			resource int
			soft     uint64
		}{{unix.RLIMIT_FSIZE, 1 << 30}, {unix.RLIMIT_CPU, 1000}, {unix.RLIMIT_AS, 1 << 40}, {unix.RLIMIT_DATA, 1 << 40}, {unix.RLIMIT_MEMLOCK, 4096},
			{unix.RLIMIT_STACK, 1 << 20}, {unix.RLIMIT_NOFILE, 1024}, {unix.RLIMIT_CORE, 0}} {
			errs = append(errs, limit(l.resource, l.soft, ^uint64(0)))
		}
		errs = append(errs, unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{Val: [16]uint64{1<<(syscall.SIGTERM-1) | 1<<(syscall.SIGUSR2-1)}}, nil))
		if _, _, no := unix.RawSyscall(unix.SYS_PERSONALITY, perLinux32, 0, 0); no != 0 {
			errs = append(errs, no)
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	case "few":
		if err := limit(unix.RLIMIT_NOFILE, 200, 200); err != nil {
			return err
		}
	}
	dir := filepath.Dir(bound)
	_, err := Run(context.Background(), Spec{
		Dir: filepath.Join(dir, kind), Root: []string{filepath.Join(dir, "probe")}, Argv: []string{"/bin/probe", "facts"}, Stdout: os.Stdout,
		Binds: []Bind{{From: bound, At: "/build/sources/bound"}, {From: bound, At: "/etc/deep/er/bound"}},
	})
	return err
}

// playEngine is an engine that runs sandboxes until it is killed, or shows what it is refused.
func playEngine(dir string) {
	if kind, bound, ok := strings.Cut(dir, ":"); ok && kind != "refused" {
		if err := playFacts(kind, bound); err != nil {
			fmt.Println(err)
		}
		os.Exit(0)
	}
	spec := func(dir string) Spec {
		return Spec{Dir: dir, Root: []string{filepath.Join(dir, "..", "probe")}, Argv: []string{"/bin/probe", "orphans", "10", filepath.Base(filepath.Dir(dir)) + "-marker", "stay"}, Env: []string{}, Stdout: os.Stdout}
	}
	if dir, ok := strings.CutPrefix(dir, "refused:"); ok {
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			fmt.Println(err)
		}
		_, err := Run(context.Background(), spec(dir))
		fmt.Println("unfit", errors.Is(err, ErrUnfit), err)
		os.Exit(0)
	}
	done := make(chan error)
	for _, name := range []string{"a", "b"} {
		os.Mkdir(filepath.Join(dir, name), 0755)
		go func() {
			_, err := Run(context.Background(), spec(filepath.Join(dir, name)))
			done <- err
		}()
	}
	fmt.Println("engine:", <-done)
	os.Exit(1)
}

func TestRootIsTheLayersAndNothingElse(t *testing.T) {
	l := newLab(t)
	l.write("one/etc/file", "one", 0644)
	l.write("two/etc/file", "two", 0644)
	l.write("two/etc/other", "two", 0600)
	l.write("sys1/include/a.h", "a", 0644)
	l.write("sys2/include/b.h", "b", 0644)
	l.write("cross/bin/cc", "cc", 0755)
	s := l.spec("run", "walk", "/")
	s.Root = []string{l.dir + "/one", l.dir + "/two", l.dir + "/probe"}
	s.Mounts = []Mount{{At: "/sysroot", Lowers: []string{l.dir + "/sys1", l.dir + "/sys2"}}, {At: "/cross", Lowers: []string{l.dir + "/cross"}}}
	s.Binds = []Bind{{From: l.write("source.tar", "source", 0644), At: "/build/sources/source.tar"},
		{From: l.dir + "/cross", At: "/tmp/deep/er"}}
	before := listing(t, l.dir+"/one") + listing(t, l.dir+"/two") + listing(t, l.dir+"/probe") + listing(t, l.dir+"/sys1")
	out := l.want(s)
	nobody := []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}
	want := map[string]bool{}
	for _, p := range strings.Fields(`/ /bin /bin/probe /build /build/sources /build/sources/source.tar /cross /cross/bin
		/cross/bin/cc /dev /dev/fd /dev/full /dev/null /dev/ptmx /dev/pts /dev/pts/ptmx /dev/random /dev/shm /dev/stderr
		/dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero /etc /etc/file /etc/other /out /sys /sysroot
		/sysroot/include /sysroot/include/a.h /sysroot/include/b.h /tmp /tmp/deep /tmp/deep/er /tmp/deep/er/bin
		/tmp/deep/er/bin/cc`) {
		want[p] = true
	}
	for line := range strings.Lines(out) {
		owner, p, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !want[p] {
			t.Errorf("unexpected %s", line)
		}
		delete(want, p)
		if slices.Contains(nobody, p) {
			if owner != "65534:65534" {
				t.Errorf("%s", line)
			}
		} else if owner != "0:0" {
			t.Errorf("%s", line)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing %v", want)
	}
	s = l.spec("run2", "cat", "/etc/file", "/etc/other", "/sysroot/include/b.h", l.dir+"/one/etc/file", "/etc/passwd")
	s.Root = []string{l.dir + "/one", l.dir + "/two", l.dir + "/probe"}
	s.Mounts = []Mount{{At: "/sysroot", Lowers: []string{l.dir + "/sys1", l.dir + "/sys2"}}}
	if out := l.want(s); !strings.HasPrefix(out, "onetwob") || strings.Count(out, "no such file") != 2 {
		t.Errorf("%q", out)
	}
	if after := listing(t, l.dir+"/one") + listing(t, l.dir+"/two") + listing(t, l.dir+"/probe") + listing(t, l.dir+"/sys1"); after != before {
		t.Errorf("layers have changed:\n%s\n%s", before, after)
	}
	for _, name := range []string{"upper", "out"} {
		if left, _ := os.ReadDir(filepath.Join(s.Dir, name)); len(left) > 0 {
			t.Errorf("%s holds %v after a run that wrote nothing", name, left)
		}
	}
}

func TestManyLayers(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "cat")
	for i := range MaxRoot - 1 {
		name := fmt.Sprintf("layers/a-rather-long-name-as-digests-are-0123456789abcdef0123456789abcdef0123456789abcdef-%d", i)
		l.write(name+fmt.Sprintf("/f%d", i), "x", 0644)
		s.Root = append(s.Root, filepath.Join(l.dir, name))
		s.Argv = append(s.Argv, fmt.Sprintf("/f%d", i))
	}
	if out := l.want(s); out != strings.Repeat("x", MaxRoot-1) {
		t.Errorf("%q", out)
	}
}

// TestOutputsAreTheCallers looks at what lies on disk after a run.
func TestOutputsAreTheCallers(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "attack")
	l.want(s)
	for _, name := range []string{"upper/owned", "build/owned", "out/owned", "upper", "build/sources"} {
		var st unix.Stat_t
		err := unix.Lstat(filepath.Join(s.Dir, name), &st)
		if name == "build/sources" {
			if err == nil {
				t.Errorf("%s exists", name)
			}
			continue
		}
		if err != nil || st.Uid != uint32(os.Geteuid()) || st.Gid != uint32(os.Getegid()) {
			t.Errorf("%s: %d:%d %v", name, st.Uid, st.Gid, err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "work")); err == nil {
		t.Errorf("work is left")
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		t.Error(err)
	}
}

func TestFacts(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "facts")
	s.Env = []string{"A=1", "PATH=/bin"}
	out := l.want(s)
	for _, want := range []string{
		"node vfsb (none)\n", "ids 0 0 0 0\n", "cwd /build\n", "umask 0022\n",
		fmt.Sprintf("limit %d 1 1\n", unix.RLIMIT_CORE), fmt.Sprintf("limit %d %d %d\n", unix.RLIMIT_STACK, 8<<20, 64<<20), "files 4096\n",
		"personality 0x40000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n", "leader true\n", "env A=1 PATH=/bin\n", "SigBlk:\t0000000000000000\n", "SigIgn:\t0000000000000000\n",
		"CapBnd:\t00000000800400fb\n", "CapEff:\t00000000800400fb\n", "CapInh:\t0000000000000000\n", "CapAmb:\t0000000000000000\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if n := strings.Count(out, "interface "); n != 1 || !strings.Contains(out, "interface lo true\n") {
		t.Errorf("interfaces:\n%s", out)
	}
	s = l.spec("run2", "facts")
	s.Linux32 = true
	s.Cwd = "/tmp"
	out = l.want(s)
	if !strings.Contains(out, "personality 0x40008\n") || !strings.Contains(out, "cwd /tmp\n") {
		t.Errorf("%s", out)
	}
	if tables[0].arch == unix.AUDIT_ARCH_X86_64 && !strings.Contains(out, "machine i686\n") {
		t.Errorf("%s", out)
	}
}

func TestProcTellsNothing(t *testing.T) {
	l := newLab(t)
	for name, content := range fixedProc() {
		if out := l.want(l.spec("fixed-"+name, "cat", "/proc/"+name)); out != content || out == "" {
			t.Errorf("%s: %q", name, out)
		}
	}
	for _, name := range []string{"keys", "key-users", "kcore", "timer_list", "kallsyms", "modules", "vmstat", "interrupts", "sysrq-trigger"} {
		if _, err := os.Stat("/proc/" + name); err != nil {
			continue
		}
		if out := l.want(l.spec("empty-"+name, "cat", "/proc/"+name)); out != "" {
			t.Errorf("%s: %q", name, out)
		}
	}
	out := l.want(l.spec("mountinfo", "cat", "/proc/self/mountinfo"))
	if !strings.Contains(out, "lowerdir+=l0,lowerdir+=l1,upperdir=upper,workdir=work") {
		t.Errorf("mountinfo:\n%s", out)
	}
	for line := range strings.Lines(out) {
		point := strings.Fields(line)[4]
		first, _, _ := strings.Cut(point[1:], "/")
		if point == "/" || first == "proc" || first == "dev" && !strings.Contains(line, " cgroup") {
			continue
		}
		if !slices.Contains([]string{"/sys", "/tmp", "/build", "/out"}, point) {
			t.Errorf("unexpected mount %s", line)
		}
	}
	if n := strings.Count(out, " / rw,nosuid,nodev,"); n != 1 {
		t.Errorf("%d mounts at the root:\n%s", n, out)
	}
}

// TestSignalsCannotEndPid1 has more sandboxes than processors: pid 1 is not always ready when the command is.
func TestSignalsCannotEndPid1(t *testing.T) {
	l := newLab(t)
	var all sync.WaitGroup
	for i := range 60 {
		s := l.spec(fmt.Sprint("run", i), "kill")
		all.Go(func() {
			if r, out := l.output(s); r.ExitCode != 7 || out != "alive\n" {
				t.Errorf("%+v %s", r, out)
			}
		})
	}
	all.Wait()
}

func TestSetuidGainsNothing(t *testing.T) {
	l := newLab(t)
	out := l.want(l.spec("run", "setuid"))
	if n := strings.Count(out, "CapEff:\t00000000800400fb\n"); n < 2 || strings.Count(out, "CapEff")+strings.Count(out, "operation not permitted") != 3 {
		t.Errorf("%s", out)
	}
}

// TestUsers: root has more ids than one, on disk as inside, and so has the root of a user namespace that has them. Who has none
// sees what scripts see, where chown does nothing.
func TestUsers(t *testing.T) {
	if os.Geteuid() == 0 && privileged() {
		t.Run("namespace", func(t *testing.T) {
			dir := tempOf(t, sandboxID)
			cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestUsers$")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "TMPDIR="+dir, probeVar+"="+probeFile)
			ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: sandboxID, Size: 100}}
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
				GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{}}
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "owner 5 6") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	l := newLab(t)
	s := l.spec("run", "users")
	s.Users, s.Cwd = true, "/"
	out := l.want(s)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(s.Dir, "upper/file"), &st); err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	want, owner := "owner 5 6\nuser 7 7 8 [9] open /file: permission denied\nuser 7 0 8 [9] <nil>\n", [2]uint32{5, 6}
	if !HasUsers() {
		want, owner = "owner 0 0\n", [2]uint32{uint32(os.Geteuid()), uint32(os.Getegid())}
	}
	if !strings.HasPrefix(out, want) || [2]uint32{st.Uid, st.Gid} != owner {
		t.Errorf("on disk %d:%d, output:\n%s", st.Uid, st.Gid, out)
	}
}

func TestSubordinate(t *testing.T) {
	l := newLab(t)
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	file := l.write("subuid", fmt.Sprintf("nosuchuser:1000:9\n\n%s:100000:65536\n%d:300000:10\n%s:x:1\n", u.Username, os.Getuid(), u.Username), 0o644)
	args, err := subordinate(file, 12, "true")
	if err != nil || strings.Join(args[1:], " ") != "0 12 1 1 100000 65536 65537 300000 10" {
		t.Errorf("%q, %v", args, err)
	}
	for command, want := range map[string]string{"nosuchcommand": "nosuchcommand is not installed", "true": "gives user " + u.Username + " no ids"} {
		if _, err := subordinate(l.write("none", "nosuchuser:1000:9\n", 0o644), 12, command); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", command, err)
		}
	}
}

func TestEscape(t *testing.T) {
	l := newLab(t)
	if out := l.want(l.spec("run", "escape")); out != "bin\nbuild\ndev\nout\nproc\nsys\ntmp\n" {
		t.Errorf("%s", out)
	}
}

func TestNoDescriptorLeaks(t *testing.T) {
	// What the caller of the engine may have left open across exec.
	leak, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	high, err := unix.FcntlInt(uintptr(leak), unix.F_DUPFD, 200)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(high)
	l := newLab(t)
	if out := l.want(l.spec("run", "fds")); out != "0\n1\n2\n" {
		t.Errorf("%q", out)
	}
	if os.Geteuid() != 0 {
		return // pid 1's own can be seen by root only: that run does
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	s := l.spec("run2", "sleep", "60000")
	go func() { _, err := Run(ctx, s); done <- err }()
	pid := 0
	for range 1000 {
		if len(running("probe\x00sleep\x0060000")) > 0 && ourPid1() != 0 {
			pid = ourPid1()
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if pid == 0 {
		t.Fatal("no pid 1")
	}
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Error(err)
	}
	for _, n := range names {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, n.Name()))
		if !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "socket:") && to != "/" {
			t.Errorf("pid 1 has %s -> %s", n.Name(), to)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// ourPid1 returns the first process of a sandbox that this process runs.
func ourPid1() int {
	for _, pid := range running(initName) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if strings.Contains(string(b), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			return pid
		}
	}
	return 0
}

func TestStdoutCanBeOpenedAgain(t *testing.T) {
	l := newLab(t)
	if out := l.want(l.spec("run", "reopen")); out != "one\ntwo\nthree\n" {
		t.Errorf("%q", out)
	}
}

func TestStdin(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "cat", "/dev/stdin")
	r, w, _ := os.Pipe()
	defer r.Close()
	w.WriteString("from outside")
	w.Close()
	s.Stdin = r
	s.Argv[2] = "/proc/self/fd/0"
	if os.Geteuid() == 0 {
		unix.Fchown(int(r.Fd()), unusedID("/proc/self/uid_map"), -1)
	}
	if out := l.want(s); out != "from outside" {
		t.Errorf("%q", out)
	}
}

// TestStdinIsNoWayOut gives the command a file of the host, which it may read but not change, and a folder, which it may
// not have.
func TestStdinIsNoWayOut(t *testing.T) {
	l := newLab(t)
	name := l.write("notes", "mine", 0o666)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s := l.spec("run", "append")
	s.Stdin = f
	if out := l.want(s); out != "read mine\n" {
		t.Errorf("%q", out)
	}
	if st, err := os.Stat(name); err != nil || st.Mode() != before.Mode() || l.read("notes") != "mine" {
		t.Errorf("%v, %q", st, l.read("notes"))
	}
	s = l.spec("run2", "true")
	if s.Stdin, err = os.Open("/"); err != nil {
		t.Fatal(err)
	}
	defer s.Stdin.Close()
	if r, err := Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), "is a folder, which leads out; use a file") {
		t.Errorf("%+v %v", r, err)
	}
	// A command that reads nothing of much does not hang the caller.
	if err := os.Truncate(name, 1<<30); err != nil {
		t.Fatal(err)
	}
	s = l.spec("run3", "true")
	s.Stdin = f
	l.want(s)
}

// TestLinkToTheEngine has layers whose command is, by a link of /proc, the program that runs the sandbox.
func TestLinkToTheEngine(t *testing.T) {
	l := newLab(t)
	before, err := os.Stat("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"exe": "/proc/self/exe", "parent": "/proc/1/exe", "fd": "/proc/self/fd/3", "root": "/proc/self/root/bin/probe"} {
		if err := os.Symlink(to, filepath.Join(l.dir, "probe/bin", name)); err != nil {
			t.Fatal(err)
		}
		for _, argv0 := range []string{"/bin/" + name, name, to} {
			s := l.spec(fmt.Sprint("run", strings.ReplaceAll(name+argv0, "/", "-")), "true")
			s.Argv[0] = argv0
			r, err := Run(t.Context(), s)
			var e *ExecError
			if argv0 == name && errors.Is(err, syscall.ENOENT) { // a search finds no program there
				continue
			}
			if !errors.As(err, &e) || !errors.Is(err, syscall.ELOOP) {
				t.Errorf("%s: %+v %v", argv0, r, err)
			}
		}
	}
	if after, err := os.Stat("/proc/self/exe"); err != nil || after.ModTime() != before.ModTime() || after.Mode() != before.Mode() || after.Size() != before.Size() {
		t.Errorf("the program has changed: %v, %v", after, err)
	}
}

// TestPid1Killed: when somebody kills pid 1, out of memory perhaps, that is the command's end, not the machine's failure.
func TestPid1Killed(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "sleep", "3600001")
	s.Timeout = time.Minute
	go func() {
		for range 5000 {
			if pid := ourPid1(); pid != 0 && len(running("probe\x00sleep\x003600001")) > 0 {
				unix.Kill(pid, unix.SIGKILL)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	r, err := Run(t.Context(), s)
	if err != nil || r.Signal != syscall.SIGKILL || r.ExitCode != 137 || r.TimedOut {
		t.Errorf("%+v %v", r, err)
	}
	waitGone(t, "probe\x00sleep\x003600001", time.Second)
}

func TestProcessLimit(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "forkbomb")
	s.Processes = 301
	s.Timeout = time.Minute
	r, out := l.output(s)
	var n int
	fmt.Sscanf(out, "forked %d", &n)
	if n < 50 || n > 301 || r.TimedOut {
		t.Errorf("%+v %s", r, out)
	}
	waitGone(t, "probe\x00sleep\x003600000", 0)
}

func TestOrphans(t *testing.T) {
	l := newLab(t)
	marker := fmt.Sprintf("marker-%d-orphans", os.Getpid())
	began := time.Now()
	if r, _ := l.output(l.spec("run", "orphans", "10", marker)); r.ExitCode != 0 {
		t.Errorf("%+v", r)
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
	waitGone(t, marker, 0)
	if out := l.want(l.spec("reap", "reap")); out != "zombies 0\n" {
		t.Errorf("%s", out)
	}
}

func TestTimeout(t *testing.T) {
	l := newLab(t)
	marker := fmt.Sprintf("marker-%d-timeout", os.Getpid())
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	s := l.spec("run", "orphans", "20", marker, "stay")
	s.Timeout = 1500 * time.Millisecond
	began := time.Now()
	r, _ := l.output(s)
	if !r.TimedOut || r.Silent || r.ExitCode != 137 || r.Signal != syscall.SIGKILL {
		t.Errorf("%+v", r)
	}
	if d := time.Since(began); d < s.Timeout || d > s.Timeout+10*time.Second {
		t.Errorf("took %v", d)
	}
	waitGone(t, marker, 0)
	if now, _ := os.ReadFile("/proc/self/mountinfo"); !bytes.Equal(now, mounts) {
		t.Errorf("mounts of the host have changed:\n%s\n%s", mounts, now)
	}
}

func TestSilence(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "chatter", "100") // two seconds and more of talk
	s.Silence = time.Second
	r, out := l.output(s)
	if !r.Silent || r.TimedOut || strings.Count(out, "still here") != 100 {
		t.Errorf("%+v %d", r, strings.Count(out, "still here"))
	}
}

func TestCancel(t *testing.T) {
	l := newLab(t)
	marker := fmt.Sprintf("marker-%d-cancel", os.Getpid())
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, w, _ := os.Pipe()
	s := l.spec("run", "orphans", "5", marker, "stay")
	s.Stdout = w
	go func() {
		r.Read(make([]byte, 10)) // it is ready
		cancel(why)
	}()
	if _, err := Run(ctx, s); !errors.Is(err, why) {
		t.Error(err)
	}
	waitGone(t, marker, 0)
	if _, err := Run(ctx, l.spec("run2", "true")); !errors.Is(err, why) {
		t.Error(err)
	}
}

func TestCancelEarly(t *testing.T) {
	l := newLab(t)
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*700*time.Microsecond)
		_, err := Run(ctx, l.spec(fmt.Sprint("run", i), "sleep", "60000"))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d: %v", i, err)
		}
		cancel()
	}
	waitGone(t, "probe\x00sleep\x0060000", 0)
}

// TestEngineKilled kills an engine while its sandboxes are full of processes that do not want to end.
func TestEngineKilled(t *testing.T) {
	l := newLab(t)
	for round := range 3 {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNothing$")
		cmd.Env = append(os.Environ(), probeVar+"="+probeFile, engineVar+"="+l.dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		marker := filepath.Base(l.dir) + "-marker"
		// Both sandboxes say that they are ready; in one round the engine dies while they are being set up.
		if round < 2 {
			buf := make([]byte, 12)
			for got := 0; got < len(buf); {
				n, err := out.Read(buf[got:])
				if err != nil {
					t.Fatal(err, string(buf))
				}
				got += n
			}
			if len(running(marker)) < 20 {
				t.Errorf("only %d processes", len(running(marker)))
			}
		} else {
			time.Sleep(8 * time.Millisecond)
		}
		cmd.Process.Kill()
		cmd.Wait()
		took := waitGone(t, marker, 5*time.Second)
		t.Logf("gone after %v", took)
		for _, name := range []string{"a", "b"} {
			// What is left can be removed, and the next run works.
			dir := filepath.Join(l.dir, name)
			removeWork(dir)
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
			if r, err := Run(t.Context(), l.spec(name, "true")); err != nil || r.ExitCode != 0 {
				t.Errorf("%+v %v", r, err)
			}
			os.RemoveAll(dir)
		}
	}
}

func TestResume(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "write", "/kept", "one")
	l.want(s)
	s.Argv = []string{"/bin/probe", "write", "/build/kept", "two"}
	if _, err := Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), "Resume") {
		t.Errorf("a second run without Resume: %v", err)
	}
	s.Resume = true
	s.Timeout = time.Minute
	l.want(s)
	// A killed run leaves a volatile upper folder, too.
	s.Argv = []string{"/bin/probe", "chatter", "1"}
	s.Silence = 300 * time.Millisecond
	if r, _ := l.output(s); !r.Silent {
		t.Errorf("%+v", r)
	}
	s.Argv, s.Silence = []string{"/bin/probe", "cat", "/kept", "/build/kept"}, 0
	if out := l.want(s); out != "onetwo" {
		t.Errorf("%q", out)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	all := Check(dir)
	names := map[string]bool{}
	for _, f := range all {
		t.Logf("%-32s %v %s %s", f.Name, f.OK, f.Detail, f.Remedy)
		names[f.Name] = true
		if f.Needed && !f.OK {
			t.Errorf("%s: %s", f.Name, f.Detail)
		}
		if f.OK == (f.Remedy != "") {
			t.Errorf("%s: ok %v, remedy %q", f.Name, f.OK, f.Remedy)
		}
	}
	for _, n := range []string{"kernel", "store's file system", "user namespaces", "overlay in a user namespace", "sandbox",
		"binfmt_misc in user namespaces", "process limit per sandbox", "memory limit"} {
		if !names[n] {
			t.Errorf("no finding %q", n)
		}
	}
	if names["idmapped mounts"] != (os.Geteuid() == 0) {
		t.Errorf("%v", names)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	bad := Check("/proc")
	if i := slices.IndexFunc(bad, func(f Finding) bool { return f.Name == "sandbox" }); bad[i].OK {
		t.Errorf("%+v", bad[i])
	}
}

func BenchmarkTrivial(b *testing.B) {
	l := newLab(b)
	var took []time.Duration
	i := 0
	for b.Loop() {
		i++
		s := l.spec(fmt.Sprint("run", i), "true")
		began := time.Now()
		if r, err := Run(b.Context(), s); err != nil || r.ExitCode != 0 {
			b.Fatal(r, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/10].Microseconds())/1000, "p10-ms")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
}
