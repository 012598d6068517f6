package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vfsb/engine/bench"
	"vfsb/engine/sandbox"
)

// staticBash is the bash of the tests' seed.
func staticBash(b *testing.B) string {
	seed, _, err := busyboxSeed()
	if err != nil {
		b.Fatal(err)
	}
	return filepath.Join(filepath.Dir(seed), "root/usr/bin/bash-static")
}

// BenchmarkSandbox is one sandbox with a shell that does nothing, beside bubblewrap with the same program.
func BenchmarkSandbox(b *testing.B) {
	root := filepath.Join(b.TempDir(), "root")
	text, err := os.ReadFile(staticBash(b))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(root+"/bin", 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(root+"/bin/bash", text, 0o755); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	runs := 0
	b.Run("vfsb", func(b *testing.B) {
		measure(b, func() {
			runs++
			spec := sandbox.Spec{Dir: fmt.Sprint(dir, "/", runs), Root: []string{root}, Argv: []string{"/bin/bash", "-c", ":"}}
			if err := os.Mkdir(spec.Dir, 0o755); err != nil {
				b.Fatal(err)
			}
			if r, err := sandbox.Run(context.Background(), spec); err != nil || r.ExitCode != 0 {
				b.Fatal(r, err)
			}
		})
	})
	b.Run("bubblewrap", func(b *testing.B) {
		if _, err := exec.LookPath("bwrap"); err != nil {
			b.Skip("bubblewrap is not installed")
		}
		measure(b, func() {
			cmd := exec.Command("bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", root+"/bin", "/bin", "--proc", "/proc",
				"--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/", "/bin/bash", "-c", ":")
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		})
	})
}

// measure is b.Loop with the processor's time beside wall time: other work on the machine disturbs it less.
func measure(b *testing.B, f func()) {
	before := cpuTime()
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// cpuTime is what this process and its children have used.
func cpuTime() time.Duration {
	total := time.Duration(0)
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var ru syscall.Rusage
		syscall.Getrusage(who, &ru)
		total += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	return total
}

// A yard is a workspace with a store in which the real command is measured.
type yard struct {
	b     *testing.B
	graph bench.Graph
	dir   string
}

func newYard(b *testing.B, g bench.Graph) *yard {
	y := &yard{b, g, b.TempDir()}
	y.write()
	return y
}

// write brings the workspace to what y.graph says.
func (y *yard) write() {
	if err := y.graph.Write(filepath.Join(y.dir, "ws"), staticBash(y.b)); err != nil {
		y.b.Fatal(err)
	}
}

// build runs vfsb build, which must execute so many nodes.
func (y *yard) build(executed int) {
	y.b.Helper()
	cmd := exec.Command("vfsb", "--store", filepath.Join(y.dir, "store"), "-C", filepath.Join(y.dir, "ws"), "build", "-j", "2", bench.Goal)
	out, err := cmd.CombinedOutput()
	if err != nil {
		y.b.Fatalf("%v: %s", err, out)
	}
	if want := fmt.Sprintf(": %d executed", executed); executed >= 0 && strings.Contains(string(out), want) != (executed > 0) {
		y.b.Fatalf("%d nodes should be executed: %s", executed, out[max(0, len(out)-500):])
	}
}

// BenchmarkNodes is the build of nodes that do nothing, side by side and one after the other; the time is a node's.
func BenchmarkNodes(b *testing.B) {
	for _, g := range []bench.Graph{{Shape: "trivial", N: 100}, {Shape: "chain", N: 50}} {
		b.Run(g.Shape, func(b *testing.B) {
			y := newYard(b, g)
			y.build(-1) // the seed, too
			wall, cpu, builds := time.Duration(0), time.Duration(0), 0
			for b.Loop() {
				builds++
				y.graph.Salt = fmt.Sprint(builds)
				y.write()
				began, before := time.Now(), cpuTime()
				y.build(g.N)
				wall += time.Since(began)
				cpu += cpuTime() - before
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(wall.Microseconds())/1000/float64(builds*g.N), "ms/node")
			b.ReportMetric(float64(cpu.Microseconds())/1000/float64(builds*g.N), "cpu-ms/node")
		})
	}
}

// BenchmarkChange is a build of 1,000 nodes after nothing, a leaf, or only the text of a script high up has changed.
func BenchmarkChange(b *testing.B) {
	y := newYard(b, bench.Graph{Shape: "dag", N: 1000, Salt: "0"})
	y.build(-1)
	changes := 0
	for _, c := range []struct {
		name     string
		change   func()
		executed int
	}{
		{"nothing", func() {}, 0},
		{"leaf", func() { y.graph.Leaf = fmt.Sprint(changes) }, 2},
		{"cutoff", func() { y.graph.Comment = fmt.Sprint(changes) }, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			y.b = b
			wall, cpu, builds := time.Duration(0), time.Duration(0), 0
			for b.Loop() {
				builds++
				changes++
				c.change()
				y.write()
				time.Sleep(30 * time.Millisecond) // or the change would be looked at again the next time
				began, before := time.Now(), cpuTime()
				y.build(c.executed)
				wall += time.Since(began)
				cpu += cpuTime() - before
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(wall.Microseconds())/1000/float64(builds), "ms/build")
			b.ReportMetric(float64(cpu.Microseconds())/1000/float64(builds), "cpu-ms/build")
		})
	}
}
