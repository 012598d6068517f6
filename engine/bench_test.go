package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/bench"
)

// BenchmarkNothingToDo is a whole build of a dag in which nothing has changed, but for the start of the process: by the
// short way, which a build of the very same files takes, and by the long one.
func BenchmarkNothingToDo(b *testing.B) {
	for _, n := range []int{120, 1000, 10000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := benchWorld(b, bench.Graph{Shape: "dag", N: n, Salt: "0"})
			b.Run("short", func(b *testing.B) {
				w.measure(b, n, func(o engine.Options) (*engine.Summary, error) { return w.past().Recall(o) })
			})
			b.Run("long", func(b *testing.B) {
				w.measure(b, n, func(o engine.Options) (*engine.Summary, error) {
					e, g := w.load()
					return e.Pretend(g, o, nil)
				})
			})
		})
	}
}

// benchWorld is a workspace of the graph whose nodes all have results, though none was ever executed.
func benchWorld(b *testing.B, g bench.Graph) *world {
	b.Helper()
	shell := filepath.Join(b.TempDir(), "bash")
	if err := os.WriteFile(shell, []byte("no program"), 0o755); err != nil {
		b.Fatal(err)
	}
	w := newWorld(b, bench.Goal)
	if err := g.Write(w.root, shell); err != nil {
		b.Fatal(err)
	}
	pause()
	past := w.past()
	e, graph := w.load()
	layer, err := w.output(graph.Nodes[len(graph.Nodes)-1]) // of all of them
	if err != nil {
		b.Fatal(err)
	}
	if _, err := e.Pretend(graph, engine.Options{Past: past}, func(*engine.Node) (cache.Layer, error) { return layer, nil }); err != nil {
		b.Fatal(err)
	}
	return w
}

// measure measures builds of n nodes that have nothing to do.
func (w *world) measure(b *testing.B, n int, build func(engine.Options) (*engine.Summary, error)) {
	w.TB = b
	live := int64(0)
	for b.Loop() {
		b.StopTimer()
		before := heap()
		b.StartTimer()
		w.reopen()
		s, err := build(engine.Options{Jobs: 1, Notify: func(ev engine.Event) {
			if ev.Event == engine.EventEnded { // everything is still held
				b.StopTimer()
				live = max(live, heap()-before)
				b.StartTimer()
			}
		}})
		if err != nil || s == nil || s.Count[engine.Cached] != n+1 { // and the seed
			b.Fatalf("%v, %v", s, err)
		}
	}
	b.ReportMetric(float64(live)/float64(n), "B/node")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/node")
}

// heap is the size of what lives on the heap.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
