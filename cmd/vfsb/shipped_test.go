package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/load"
	"vfsb/engine/source"
)

// TestCarried: what the command carries is what lies in the checkout, and files have no mode or kind that embedding
// would lose.
func TestCarried(t *testing.T) {
	here := map[string]bool{load.LockFile: true}
	for _, folder := range []string{"packages", "profiles", "templates"} {
		err := filepath.WalkDir("../../"+folder, func(path string, d fs.DirEntry, err error) error {
			name := strings.TrimPrefix(path, "../../")
			if err != nil || d.IsDir() || strings.HasSuffix(name, ".go") {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if !info.Mode().IsRegular() || info.Mode()&0o111 != 0 {
				t.Errorf("%s is %v; only plain files that cannot be executed are carried as they are", name, info.Mode())
			}
			here[name] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range here {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := carried()[name]; !ok || string(got) != string(text) {
			t.Errorf("%s is not carried as it is", name)
		}
	}
	for name := range carried() {
		if !here[name] {
			t.Errorf("%s is carried, and is not in the checkout", name)
		}
	}
}

// TestShippedKeys: every shipped label has the same key in the checkout and in a workspace that imports what is shipped.
// Results are made up for the checkout's keys until each is known; then the workspace has nothing to build.
func TestShippedKeys(t *testing.T) {
	store, own := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "own")
	t.Cleanup(func() { cache.Remove(store) }) // which is read-only to others than root
	if err := writeFile(filepath.Join(own, "vfsb.hcl"), newWorkspace); err != nil {
		t.Fatal(err)
	}
	// plan calls f with the nodes that would be built, and their keys as far as they are known.
	plan := func(directory string, f func(s *cache.Store, label, key string)) (nodes int) {
		t.Helper()
		a := &app{directory: directory, store: store, origin: source.Auto, offline: true}
		err := a.with(func(e *engine.Engine) error {
			g, err := a.graph(e, []string{"//...:{amd64-seed,amd64-musl,arm64-musl,riscv64-musl,amd64,arm64,riscv64,i686,armv7}"})
			if err != nil {
				return err
			}
			_, err = e.Build(t.Context(), g, engine.Options{DryRun: true, Notify: func(ev engine.Event) {
				if ev.Event == engine.EventFinished && ev.Status == engine.Cached {
					nodes++
				}
				if ev.Event == engine.EventFinished && ev.Status == engine.Planned {
					f(e.Store, ev.Label, ev.Key)
				}
			}})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return nodes
	}
	known := 0
	for learned := true; learned; {
		learned = false
		known = plan("../..", func(s *cache.Store, label, key string) {
			if key == "" {
				return
			}
			learned = true
			d, err := cache.ParseDigest(key)
			if err != nil {
				t.Fatal(err)
			}
			layer := cache.Layer{Tar: cache.DigestOf([]byte(label)), Index: cache.DigestOf([]byte(label))}
			if err := s.PutResult(d, cache.Result{Layer: layer, Label: label}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if known < 80 {
		t.Errorf("the checkout has %d nodes with keys, want all of them", known)
	}
	if n := plan(own, func(_ *cache.Store, label, key string) { t.Errorf("%s has another key here: %s", label, key) }); n != known {
		t.Errorf("%d nodes have a result in a workspace of one's own, want %d", n, known)
	}
}
