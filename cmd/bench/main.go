// Command bench writes synthetic workspaces and measures vfsb with them.
//
//	go run ./cmd/bench                                  measure everything, and print a table
//	go run ./cmd/bench -n 10000 noop leaf               some workloads, with another graph
//	go run ./cmd/bench -write DIR -shape chain -n 50    only write a workspace
//
// It needs a statically linked bash (Debian's bash-static), the only program in the sandboxes. Wall and processor time
// are those of the whole command and of all that it started; on a busy machine only the latter says much.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vfsb/engine/bench"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	m := meter{}
	var g bench.Graph
	write := flag.String("write", "", "only write the workspace of -shape into `DIR`")
	flag.StringVar(&g.Shape, "shape", "dag", "dag, trivial or chain")
	flag.IntVar(&g.N, "n", 0, "nodes (default: dag 1000, trivial 100, chain 50)")
	flag.StringVar(&g.Salt, "salt", "0", "another salt is another workspace: nothing of it is known")
	flag.StringVar(&g.Leaf, "leaf", "", "changes the leaf of a dag")
	flag.StringVar(&g.Comment, "comment", "", "changes a script of a dag, but not its output")
	flag.IntVar(&m.runs, "runs", 5, "runs of each workload; the least is shown, and the median")
	flag.IntVar(&m.jobs, "jobs", 2, "of vfsb build")
	flag.StringVar(&m.shell, "shell", "/bin/bash-static", "a statically linked bash")
	flag.StringVar(&m.vfsb, "vfsb", "", "the command to measure (default: built from this source)")
	flag.StringVar(&m.dir, "work", "", "`DIR` for workspaces and stores (default: a new one that is removed)")
	flag.Parse()
	if *write != "" {
		if g.N == 0 {
			g.N = defaultNodes[g.Shape]
		}
		return g.Write(*write, m.shell)
	}
	m.nodes = g.N
	workloads := flag.Args()
	if len(workloads) == 0 {
		workloads = []string{"first", "noop", "leaf", "cutoff", "trivial", "chain", "tree"}
	}
	return m.measure(workloads)
}

var defaultNodes = map[string]int{"dag": 1000, "trivial": 100, "chain": 50}

// A meter measures workloads in its folder.
type meter struct {
	runs, jobs, nodes int
	shell, vfsb, dir  string
	changed           string
}

func (m *meter) measure(workloads []string) (err error) {
	if m.dir == "" {
		if m.dir, err = os.MkdirTemp("", "vfsb-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(m.dir)
	}
	if m.dir, err = filepath.Abs(m.dir); err != nil {
		return err
	}
	if m.vfsb == "" {
		m.vfsb = filepath.Join(m.dir, "vfsb")
		build := exec.Command("go", "build", "-o", m.vfsb, "vfsb/cmd/vfsb")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as README says
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	m.changed = fmt.Sprint(time.Now().UnixNano()) // so that no change has been seen before
	fmt.Println("| workload | N | runs | wall min ms | wall median ms | CPU min ms | peak MiB | nodes run | load |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, w := range workloads {
		if err := m.workload(w); err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
	}
	return nil
}

func (m *meter) workload(name string) error {
	g := bench.Graph{Shape: "dag", Salt: "0"}
	change := func(int) {}
	runs := m.runs
	switch name {
	case "first", "noop":
	case "leaf":
		change = func(i int) { g.Leaf = fmt.Sprint(m.changed, "-", i) }
	case "cutoff":
		change = func(i int) { g.Comment = fmt.Sprint(m.changed, "-", i) }
	case "trivial", "chain":
		g.Shape = name
		change = func(i int) { g.Salt = fmt.Sprint(m.changed, "-", i) }
	case "tree":
		return m.tree()
	default:
		return errors.New("there are first, noop, leaf, cutoff, trivial, chain and tree")
	}
	if g.N = m.nodes; g.N == 0 {
		g.N = defaultNodes[g.Shape]
	}
	ws := filepath.Join(m.dir, fmt.Sprint(g.Shape, "-", g.N))
	var list []sample
	warm := 1 // a run that is not counted: it builds what is not there yet
	if name == "first" {
		runs, warm = 1, 0
	}
	for i := range warm + runs {
		if i >= warm {
			change(i)
		}
		if err := g.Write(ws, m.shell); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond) // a file as new as the build would be read again the next time
		s, err := m.build(ws, bench.Goal)
		if err != nil {
			return err
		}
		if i >= warm {
			list = append(list, s)
		}
	}
	report(name, g.N, list)
	return nil
}

// A sample is what one run cost.
type sample struct {
	wall, cpu time.Duration
	peak      int64 // KiB, of the largest process
	executed  int
}

var executed = regexp.MustCompile(`: (\d+) executed`)

func (m *meter) build(ws, label string) (sample, error) {
	s, out, err := timed(exec.Command(m.vfsb, "--store", filepath.Join(ws, ".store"), "-C", ws, "build", "-j", strconv.Itoa(m.jobs), label))
	if match := executed.FindStringSubmatch(out); match != nil {
		s.executed, _ = strconv.Atoi(match[1])
	}
	return s, err
}

func timed(cmd *exec.Cmd) (sample, string, error) {
	began := time.Now()
	out, err := cmd.CombinedOutput()
	s := sample{wall: time.Since(began)}
	if err != nil {
		return s, "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	s.peak = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	return s, string(out), nil
}

// tree unpacks a tarball of 5,000 files into the store and makes a layer of it, and compares with tar.
func (m *meter) tree() error {
	const files = 5000
	ws := filepath.Join(m.dir, "tree")
	if err := bench.WriteTree(ws, files); err != nil {
		return err
	}
	var list, floor []sample
	for i := range m.runs {
		store := filepath.Join(ws, fmt.Sprint("store-", i)) // nothing is removed between: some file systems are slow after that
		s, _, err := timed(exec.Command(m.vfsb, "--store", store, "-C", ws, "build", "//tree"))
		if err != nil {
			return err
		}
		s.executed = 1
		list = append(list, s)
		to := filepath.Join(ws, fmt.Sprint("tar-", i))
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		s, _, err = timed(exec.Command("tar", "xf", filepath.Join(ws, "packages/tree/tree.tar"), "-C", to))
		if err != nil {
			return err
		}
		floor = append(floor, s)
	}
	report("tree", files, list)
	report("tree: tar x", files, floor)
	return nil
}

func report(name string, n int, list []sample) {
	var wall, cpu []float64
	for _, s := range list {
		wall = append(wall, float64(s.wall.Microseconds())/1000)
		cpu = append(cpu, float64(s.cpu.Microseconds())/1000)
	}
	slices.Sort(wall)
	last := list[len(list)-1]
	text, _ := os.ReadFile("/proc/loadavg")
	load, _, _ := strings.Cut(string(text), " ")
	fmt.Printf("| %s | %d | %d | %.1f | %.1f | %.1f | %d | %d | %s |\n",
		name, n, len(list), wall[0], wall[len(wall)/2], slices.Min(cpu), last.peak>>10, last.executed, load)
}
