package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMemoryLimit runs commands that take too much: of their own bound, and of what all sandboxes have. Where no groups
// can be made, commands run without a bound.
func TestMemoryLimit(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "hog", "300")
	s.Timeout = time.Minute
	if f := checkGroups(); !f.OK {
		s.Argv[2], s.Memory = "20", 10<<20
		if r, out := l.output(s); r.ExitCode != 0 || r.OutOfMemory != 0 || out != "ended: <nil>\n" {
			t.Errorf("%+v %s", r, out)
		}
		return
	}
	s.Memory = 200 << 20
	if r, out := l.output(s); r.OutOfMemory != s.Memory || r.ExitCode == 0 && out != "ended: signal: killed\n" {
		t.Errorf("%+v %s", r, out)
	}
	s = l.spec("enough", "hog", "100")
	s.Memory = 200 << 20
	if r, out := l.output(s); r.ExitCode != 0 || r.OutOfMemory != 0 || out != "ended: <nil>\n" {
		t.Errorf("%+v %s", r, out)
	}

	// The bound of all, which is some gigabytes.
	g := ours.start(0, defaultProcesses)
	defer ours.end(g)
	if g.limit < 64<<20 || g.limit != ours.limit {
		t.Errorf("the bound of all is %d", g.limit)
	}
	if err := setMemory(filepath.Dir(g.memory), g.v2, 200<<20); err != nil {
		t.Fatal(err)
	}
	s = l.spec("all", "hog", "300")
	s.Timeout = time.Minute
	if r, out := l.output(s); r.OutOfMemory != ours.limit || r.ExitCode == 0 && out != "ended: signal: killed\n" {
		t.Errorf("%+v %s", r, out)
	}
	if g.outOfMemory() {
		t.Error("another sandbox is taken for the one that was out of memory")
	}
}

// TestGroupsAreRemoved: those of this process with its last sandbox, those of a killed one by the next.
func TestGroupsAreRemoved(t *testing.T) {
	all, err := hierarchies()
	if err != nil {
		return // an ordinary user who may make none
	}
	var dead []string
	for _, h := range all {
		dir := filepath.Join(h.dir, "vfsb-2147483646") // no process has this id
		if err := os.MkdirAll(filepath.Join(dir, "3"), 0o755); err != nil {
			t.Fatal(err)
		}
		dead = append(dead, dir)
		// One with this process's own number, of one before it, with the group that is to be made next.
		if err := os.MkdirAll(filepath.Join(h.all(), strconv.Itoa(ours.last+1)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t)
	s := l.spec("run", "cat", "/proc/self/cgroup")
	out := l.want(s)
	for line := range strings.Lines(out) {
		if !strings.HasSuffix(line, ":/\n") {
			t.Errorf("the command sees %q", line)
		}
	}
	for i, h := range all {
		if _, err := os.Stat(dead[i]); err == nil {
			t.Errorf("%s is left of a dead process", dead[i])
		}
		for _, dir := range []string{h.all(), h.own()} {
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s is left", dir)
			}
		}
	}
}

const groupVar = "SANDBOX_TEST_GROUP" // play an engine in this group of version 2

// TestGroupsOfVersion2 makes groups in the second version's tree, with whatever controllers it has: there a group with
// processes has no groups below it with controllers, so the engine itself must step aside.
func TestGroupsOfVersion2(t *testing.T) {
	own := hierarchy{v2: true}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	cgroup, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(cgroup)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			own.dir = groupDir(string(mounts), own, strings.TrimSpace(path))
		}
	}
	test := filepath.Join(own.dir, fmt.Sprintf("test-%d", os.Getpid()))
	if own.dir == "" || os.Mkdir(test, 0o755) != nil {
		return // there is no such tree, or it is not ours
	}
	defer os.Remove(test)
	if b, _ := os.ReadFile(filepath.Join(test, "cgroup.controllers")); len(b) == 0 {
		available, _ := os.ReadFile(filepath.Join(own.dir, "cgroup.controllers"))
		fields := strings.Fields(string(available))
		if len(fields) == 0 || writeGroup(own.dir, "cgroup.subtree_control", "+"+fields[0]) != nil {
			return // no controller at all, or this process lies in that group
		}
		defer writeGroup(own.dir, "cgroup.subtree_control", "-"+fields[0])
	}
	fd, err := unix.Open(test, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestNothing$")
	cmd.Env = append(os.Environ(), probeVar+"="+probeFile, groupVar+"="+test)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if left, _ := filepath.Glob(test + "/*/"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// playGroups is a process in a group of its own that runs a sandbox.
func playGroups(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	in := func(dir string, pid int) error {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err == nil && !strings.Contains("\n"+string(b), "\n"+strconv.Itoa(pid)+"\n") {
			err = fmt.Errorf("process %d is not in %s", pid, dir)
		}
		return err
	}
	h := hierarchy{dir: dir, v2: true, controllers: strings.Fields(string(b))}
	g := &groups{hierarchies: []hierarchy{h}}
	for range 2 {
		s := g.start(0, defaultProcesses)
		if s == nil {
			return g.err
		}
		sleeper := exec.Command(probeFile, "sleep", "3600003")
		sleeper.SysProcAttr = &syscall.SysProcAttr{}
		leave := s.join(sleeper.SysProcAttr)
		err := sleeper.Start()
		leave()
		if err != nil {
			return err
		}
		if err := in(h.own(), os.Getpid()); err != nil {
			return err
		}
		if err := in(s.seats[0].dir, sleeper.Process.Pid); err != nil {
			return err
		}
		other := g.start(0, defaultProcesses)
		if filepath.Dir(other.seats[0].dir) != filepath.Dir(s.seats[0].dir) {
			return fmt.Errorf("%v and %v", other.seats, s.seats)
		}
		g.end(other)
		sleeper.Process.Kill()
		sleeper.Wait()
		g.end(s)
		if err := in(dir, os.Getpid()); err != nil {
			return err
		}
	}
	return nil
}

// TestGroupDir has what /proc tells of groups on machines of several kinds.
func TestGroupDir(t *testing.T) {
	v2, v1 := hierarchy{v2: true}, hierarchy{controllers: []string{"memory"}}
	const both = `24 1 0:22 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro
30 24 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:5 - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/memory rw shared:6 - cgroup cgroup rw,memory
`
	const container = "40 1 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
	for _, c := range []struct {
		mounts string
		h      hierarchy
		path   string
		want   string
	}{
		{both, v2, "/user.slice/x", "/sys/fs/cgroup/unified/user.slice/x"},
		{both, v1, "/", "/sys/fs/cgroup/memory"},
		{both, hierarchy{controllers: []string{"pids"}}, "/", ""},
		{container, v2, "/docker/abc/sub", "/sys/fs/cgroup/sub"},
		{container, v2, "/docker/other", ""},
		{both, v2, "/../other", ""},
		{"", v2, "/", ""},
	} {
		if got := groupDir(c.mounts, c.h, c.path); got != c.want {
			t.Errorf("%+v %s: %q, want %q", c.h, c.path, got, c.want)
		}
	}
}
