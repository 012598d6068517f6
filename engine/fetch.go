package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"vfsb/engine/load"
	"vfsb/engine/source"
)

// Fetch brings every source that the graph needs into the store, and returns their number.
func (e *Engine) Fetch(ctx context.Context, g *Graph, notify func(Event)) (int, error) {
	x, err := e.execution(g, Options{Notify: notify})
	if err != nil {
		return 0, err
	}
	defer x.close()
	if err := x.resolveSources(ctx); err != nil {
		return 0, err
	}
	var group errgroup.Group
	group.SetLimit(4)
	var count atomic.Int64
	failures := make([]error, len(g.Nodes)) // every missing source is named
	for i, n := range g.Nodes {
		group.Go(func() error {
			if err := x.fetch(ctx, n); err != nil {
				failures[i] = &SourceError{err}
			}
			if n.Step != nil && failures[i] == nil {
				count.Add(int64(len(n.Step.Sources)))
			}
			return nil
		})
	}
	group.Wait()
	failures = append(failures, e.Store.Use("fetch "+e.Workspace.Root, nil, e.Fetcher.Lock.Digests()))
	return int(count.Load()), errors.Join(failures...)
}

// seedGraph is the graph of all seeds of the workspace.
func (e *Engine) seedGraph() (*Graph, error) {
	resolver := load.NewResolver(e.Workspace, e.Exec)
	var roots []load.Config
	for _, p := range e.Workspace.Packages {
		for _, t := range p.Targets {
			if t.Kind != SeedKind {
				continue
			}
			// A seed is the same for every platform: any will do.
			for name := range e.Workspace.Platforms {
				if c, err := resolver.Resolve(t.Label(), name); err == nil {
					roots = append(roots, c)
					break
				}
			}
		}
	}
	g, diags := e.Analyze(roots)
	if diags.HasErrors() {
		return nil, diags
	}
	return g, nil
}

// UpdateSeeds resolves the packages of every seed again and records them in the lock
// file. It returns what changed.
func (e *Engine) UpdateSeeds(ctx context.Context) ([]string, error) {
	g, err := e.seedGraph()
	if err != nil {
		return nil, err
	}
	x, err := e.execution(g, Options{})
	if err != nil {
		return nil, err
	}
	defer x.close()
	for _, n := range g.Nodes {
		if n.Step != nil && n.Step.Seed != nil {
			if err := x.resolveSeed(ctx, n); err != nil {
				return nil, err
			}
		}
	}
	changed := e.Fetcher.Lock.Changed()
	return changed, e.Fetcher.Lock.Save()
}

// LockedSeeds is the packages of every seed that the lock file records, by the seed's label.
func (e *Engine) LockedSeeds() map[string][]source.Deb { return e.Fetcher.Lock.Seeds() }

// ExportSeeds copies the packages of every seed into dir, which then serves as a
// mirror, and returns their number.
func (e *Engine) ExportSeeds(ctx context.Context, dir string) (int, error) {
	g, err := e.seedGraph()
	if err != nil {
		return 0, err
	}
	if _, err := e.Fetch(ctx, g, nil); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	x, err := e.execution(g, Options{})
	if err != nil {
		return 0, err
	}
	defer x.close()
	count := 0
	for _, n := range g.Nodes { // the lock file may hold seeds that nothing declares any more
		debs, err := x.seedFiles(n)
		if err != nil {
			return count, err
		}
		for _, d := range debs {
			in, err := e.Store.OpenBlob(d.Digest)
			if err != nil {
				return count, err
			}
			err = writeFile(filepath.Join(dir, d.At), in)
			in.Close()
			if err != nil {
				return count, err
			}
			count++
		}
	}
	return count, nil
}

func writeFile(path string, r io.Reader) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}
