package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/bench"
)

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
	w.build(b)
	return w
}

// build pretends to build, by the long way or the short one, and returns the number of nodes.
func (w *world) build(b *testing.B) (nodes, executed int) {
	e := w.engine()
	g := e.Recall(w.root, w.goals)
	if g == nil {
		if e, g = w.load(); g == nil {
			b.Fatal("the workspace has errors")
		}
	}
	layer := cache.Layer{Tar: cache.DigestOf([]byte("tar")), Index: cache.DigestOf([]byte("index"))}
	s, err := e.Pretend(g, engine.Options{Remember: w.goals}, func(n *engine.Node) (cache.Layer, error) {
		executed++
		layer.Tar.Size = int64(executed) // another one
		return layer, nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return s.Count[engine.Cached] + executed, executed
}

// BenchmarkNothingToDo is a whole build of a dag in which nothing has changed, but for the start of the process.
func BenchmarkNothingToDo(b *testing.B) {
	for _, n := range []int{120, 1000, 10000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := benchWorld(b, bench.Graph{Shape: "dag", N: n, Salt: "0"})
			dir := w.store.Dir()
			w.store.Close()
			b.ReportAllocs()
			live := int64(0)
			for b.Loop() {
				before := heap(b)
				store, err := cache.Open(dir)
				if err != nil {
					b.Fatal(err)
				}
				w.store = store
				e := w.engine()
				g := e.Recall(w.root, w.goals)
				if g == nil {
					b.Fatal("nothing is recalled")
				}
				s, err := e.Build(context.Background(), g, engine.Options{Notify: func(ev engine.Event) {
					if ev.Event == engine.EventEnded { // everything is still held
						live = heap(b) - before
					}
				}})
				if err != nil || s.Count[engine.Cached] != n+1 { // and the seed
					b.Fatalf("%v, %v", s.Count, err)
				}
				if err := store.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(live)/float64(n), "B/node")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/node")
		})
	}
}

// heap is the size of what lives on the heap. Its time is not measured.
func heap(b *testing.B) int64 {
	b.StopTimer()
	defer b.StartTimer()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
