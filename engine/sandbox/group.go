package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where this process may make control groups, each sandbox has one, below one for all sandboxes of this process. The
// latter bounds the memory that they use together, so that what takes too much is killed and not the engine, or what
// else runs on the machine. Both versions of control groups will do, and a mixture.
//
// The groups are made by hand. github.com/containerd/cgroups would bring clients of systemd and D-Bus and an assembler of
// eBPF, whose initialisers pid 1 would run for every sandbox, for what are a few folders and numbers.

// memoryShare is the part of the memory that this process may use that sandboxes get, in percent.
const memoryShare = 90

// A hierarchy is a tree of groups in which this process may make some.
type hierarchy struct {
	dir         string   // this process's own group
	v2          bool     // version 2, with one tree for all controllers
	controllers []string // memory, pids
}

func (h hierarchy) has(controller string) bool { return slices.Contains(h.controllers, controller) }

// hierarchies finds this process's groups that bound memory or processes and that it may write to.
func hierarchies() (all []hierarchy, err error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	err = errors.New("no control groups for memory are mounted")
	for line := range strings.Lines(string(own)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		h := hierarchy{v2: f[1] == "", controllers: strings.Split(f[1], ",")}
		if h.dir = groupDir(string(mounts), h, f[2]); h.dir == "" {
			continue
		}
		if h.v2 {
			b, err := os.ReadFile(filepath.Join(h.dir, "cgroup.controllers"))
			if err != nil {
				continue
			}
			h.controllers = strings.Fields(string(b))
		}
		h.controllers = slices.DeleteFunc(h.controllers, func(c string) bool { return c != "memory" && c != "pids" })
		if len(h.controllers) == 0 {
			continue
		}
		if e := unix.Access(h.dir, unix.W_OK); e == nil {
			all = append(all, h)
		} else if h.has("memory") {
			err = &os.PathError{Op: "write to", Path: h.dir, Err: e}
		}
	}
	if !slices.ContainsFunc(all, func(h hierarchy) bool { return h.has("memory") }) {
		return nil, err
	}
	return all, nil
}

// groupDir returns where the group path of h lies, "" for nowhere.
func groupDir(mountinfo string, h hierarchy, path string) string {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		m, fs := strings.Fields(before), strings.Fields(after)
		if len(m) < 5 || len(fs) < 3 {
			continue
		}
		if h.v2 && fs[0] != "cgroup2" || !h.v2 && (fs[0] != "cgroup" || !slices.Contains(strings.Split(fs[2], ","), h.controllers[0])) {
			continue
		}
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(m[3], "/")); ok && !strings.Contains(path, "/..") {
			return filepath.Join(m[4], rest)
		}
	}
	return ""
}

// groups are those of this process. They exist while sandboxes run.
type groups struct {
	mu          sync.Mutex
	err         error // why there can be none
	hierarchies []hierarchy
	limit       int64 // bytes
	count, last int
}

var ours groups

// A group is one sandbox's.
type group struct {
	memory string // its folder with the controller
	seats  []seat
	limit  int64 // bytes that its processes, or they and those of other sandboxes, may use
	v2     bool
}

// A seat is a group's folder in one hierarchy.
type seat struct {
	dir string
	in  hierarchy
}

// start makes a group of at most memory bytes (0: no bound of its own), or returns nil where it cannot.
func (g *groups) start(memory int64, processes int) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil && g.hierarchies == nil {
		g.hierarchies, g.err = hierarchies()
	}
	if g.err == nil && g.count == 0 {
		g.err = g.enter()
	}
	if g.err != nil {
		return nil
	}
	g.count++
	g.last++
	s := &group{limit: g.limit}
	for _, h := range g.hierarchies {
		dir := filepath.Join(h.all(), strconv.Itoa(g.last))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		s.seats = append(s.seats, seat{dir, h})
		if h.has("pids") {
			writeGroup(dir, "pids.max", strconv.Itoa(processes))
		}
		if h.has("memory") {
			s.memory, s.v2 = dir, h.v2
			if memory > 0 && setMemory(dir, h.v2, memory) == nil {
				s.limit = min(s.limit, memory)
			}
			writeGroup(dir, "memory.oom.group", "1") // of version 2: all or none
		}
	}
	return s
}

// join has the process that is started with attr next, by this thread, born in the group, until leave is called. In
// version 1 the thread itself sits in the group meanwhile: to move another process there takes a lock of the whole kernel,
// and some milliseconds.
func (s *group) join(attr *syscall.SysProcAttr) (leave func()) {
	if s == nil {
		return func() {}
	}
	fd := -1
	for _, seat := range s.seats {
		if !seat.in.v2 {
			writeGroup(seat.dir, "tasks", "0")
			continue
		}
		var err error
		if fd, err = unix.Open(seat.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			attr.UseCgroupFD, attr.CgroupFD = true, fd
		}
	}
	return func() {
		for _, seat := range s.seats {
			if !seat.in.v2 {
				writeGroup(seat.in.dir, "tasks", "0")
			}
		}
		unix.Close(fd)
	}
}

// outOfMemory reports whether the kernel has killed a process of the group for want of memory.
func (s *group) outOfMemory() bool {
	if s == nil || s.memory == "" {
		return false
	}
	name := "memory.oom_control"
	if s.v2 {
		name = "memory.events"
	}
	b, _ := os.ReadFile(filepath.Join(s.memory, name))
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(n) != "0"
		}
	}
	return false
}

// end removes a group, whose processes have ended, and with the last one what all had in common.
func (g *groups) end(s *group) {
	if s == nil {
		return
	}
	for _, seat := range s.seats {
		os.Remove(seat.dir)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count--; g.count == 0 {
		g.leave()
	}
}

// all is the folder of the group of all sandboxes, own that of this process while there is the former, where one group
// cannot hold processes and groups both.
func (h hierarchy) all() string { return filepath.Join(h.dir, fmt.Sprintf("vfsb-%d", os.Getpid())) }
func (h hierarchy) own() string { return h.all() + "-engine" }

// enter makes the groups that all sandboxes have in common.
func (g *groups) enter() (err error) {
	defer func() {
		if err != nil {
			g.leave()
		}
	}()
	for _, h := range g.hierarchies {
		removeDead(h.dir)
		if h.v2 {
			if err := h.split(); err != nil {
				return err
			}
		}
		if err := mkdir(h.all()); err != nil {
			return err
		}
		if h.v2 {
			if err := writeGroup(h.all(), "cgroup.subtree_control", "+"+strings.Join(h.controllers, " +")); err != nil {
				return err
			}
		}
		if h.has("memory") {
			g.limit = h.available() / 100 * memoryShare
			if err := setMemory(h.all(), h.v2, g.limit); err != nil {
				return err
			}
		}
	}
	return nil
}

// split hands this process's controllers on to groups below its own, which in version 2 may hold no process then. (The
// root of all groups may.)
func (h hierarchy) split() error {
	on, err := os.ReadFile(filepath.Join(h.dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	have := strings.Fields(string(on))
	if !slices.ContainsFunc(h.controllers, func(c string) bool { return !slices.Contains(have, c) }) {
		return nil
	}
	if err := mkdir(h.own()); err != nil {
		return err
	}
	if err := writeGroup(h.own(), "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	return writeGroup(h.dir, "cgroup.subtree_control", "+"+strings.Join(h.controllers, " +"))
}

// leave undoes what enter has done, as far as that came.
func (g *groups) leave() {
	for _, h := range g.hierarchies {
		os.Remove(h.all())
		procs, err := os.ReadFile(filepath.Join(h.own(), "cgroup.procs"))
		if err != nil {
			continue
		}
		writeGroup(h.dir, "cgroup.subtree_control", "-"+strings.Join(h.controllers, " -"))
		for _, pid := range strings.Fields(string(procs)) { // this process and what it has started
			writeGroup(h.dir, "cgroup.procs", pid)
		}
		os.Remove(h.own())
	}
}

// removeDead removes the groups of processes that were killed. Those in use cannot be removed.
func removeDead(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, "vfsb-*"))
	for _, name := range left {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(name), "vfsb-"), "-")
		if pid, err := strconv.Atoi(text); err != nil || pid != os.Getpid() && unix.Kill(pid, 0) != unix.ESRCH {
			continue // (a group of this process's own number is of one before it)
		}
		below, _ := filepath.Glob(filepath.Join(name, "[0-9]*"))
		for _, b := range append(below, name) {
			os.Remove(b)
		}
	}
}

// available is the memory, in bytes, that the groups above and the machine leave this process.
func (h hierarchy) available() int64 {
	var info unix.Sysinfo_t
	unix.Sysinfo(&info)
	least := int64(info.Totalram) * int64(info.Unit)
	for dir := h.dir; dir != "/"; dir = filepath.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(dir, memoryFile(h.v2)))
		if err != nil {
			continue // the root of all groups has none
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			least = min(least, n)
		}
	}
	return least
}

func memoryFile(v2 bool) string {
	if v2 {
		return "memory.max"
	}
	return "memory.limit_in_bytes"
}

// setMemory bounds the memory of a group, without a way out into swap, where the kernel counts that.
func setMemory(dir string, v2 bool, bytes int64) error {
	if err := writeGroup(dir, memoryFile(v2), strconv.FormatInt(bytes, 10)); err != nil {
		return err
	}
	if v2 {
		writeGroup(dir, "memory.swap.max", "0")
	} else {
		writeGroup(dir, "memory.memsw.limit_in_bytes", strconv.FormatInt(bytes, 10))
	}
	return nil
}

func writeGroup(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
