package remote

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"vfsb/cache"
	"vfsb/cache/cachetest"
)

// BenchmarkPull pulls a large layer, and many small ones eight at once, from a server in this process. Beside it are the
// parts of it that cannot be saved: unpacking the same tar from a file.
func BenchmarkPull(b *testing.B) {
	ctx := context.Background()
	for _, c := range []struct {
		name          string
		layers, bytes int
	}{{"one of 300 MB", 1, 300 << 20}, {"2000 of 2 KB", 2000, 2 << 10}} {
		s := &cachetest.Server{}
		s.Start(b, "grpc")
		from := newStore(b)
		var list []cache.Layer
		push := open(b, Options{URL: s.URL, Store: from, patience: usualPatience})
		for i := range c.layers {
			key, r := newResult(b, from, c.bytes, uint64(i))
			if err := push.Push(ctx, key, r, nil, nil); err != nil {
				b.Fatal(err)
			}
			list = append(list, r.Layer)
		}
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(c.layers * c.bytes))
			for b.Loop() {
				b.StopTimer()
				cache := open(b, Options{URL: s.URL, Store: newStore(b), patience: usualPatience})
				b.StartTimer()
				slots := make(chan struct{}, 8)
				var group sync.WaitGroup
				for _, l := range list {
					slots <- struct{}{}
					group.Go(func() {
						defer func() { <-slots }()
						if err := cache.PullLayer(ctx, l, nil); err != nil {
							b.Error(err)
						}
					})
				}
				group.Wait()
			}
		})
		dir := b.TempDir()
		for i, l := range list {
			f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
			if err != nil {
				b.Fatal(err)
			}
			if err := from.ExportTar(l, f); err != nil {
				b.Fatal(err)
			}
			f.Close()
		}
		b.Run(c.name+" unpacked", func(b *testing.B) {
			b.SetBytes(int64(c.layers * c.bytes))
			for b.Loop() {
				store := newStore(b)
				for i, l := range list {
					f, err := os.Open(filepath.Join(dir, fmt.Sprint(i)))
					if err != nil {
						b.Fatal(err)
					}
					if err := store.ImportLayer(f, l); err != nil {
						b.Fatal(err)
					}
					f.Close()
				}
			}
		})
	}
}
