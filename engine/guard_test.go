package engine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"vfsb/cache"
	"vfsb/engine/guard"
	"vfsb/engine/load"
)

// TestLibrariesOfARoot: what lies in a native root counts as the platform's if a guard has seen it; in any other root it
// does not.
func TestLibrariesOfARoot(t *testing.T) {
	store, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	out := filepath.Join(t.TempDir(), "out")
	if err := errors.Join(os.MkdirAll(filepath.Join(out, "lib"), 0o755), os.WriteFile(filepath.Join(out, "lib/libx.so"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	index, tar, err := cache.Capture(out, cache.CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	layer, err := store.CommitLayer(out, index, tar)
	if err != nil {
		t.Fatal(err)
	}
	checked := &Guard{Policy: guard.Policy{LibraryPath: []string{"/lib"}}}
	for _, c := range []struct{ native, guarded, want bool }{{true, true, true}, {true, false, false}, {false, true, false}} {
		library := &Node{ID: 0, Label: "//x", Step: &Step{}, Config: load.Config{Stage: &load.Stage{}}}
		if c.guarded {
			library.Step.Guard = checked
		}
		program := &Node{ID: 1, Label: "//y", Step: &Step{Guard: checked}, Root: []int32{0}, Inputs: []int32{0}, Config: load.Config{Stage: &load.Stage{Native: c.native}}}
		x := &execution{Engine: &Engine{Store: store}, graph: &Graph{Nodes: []*Node{library, program}}, nodes: make([]nodeState, 2)}
		x.nodes[0].result.Layer = layer
		p, err := x.policy(t.Context(), program)
		if err != nil {
			t.Fatal(err)
		}
		if p.Libraries["libx.so"] != c.want {
			t.Errorf("native %t, guarded %t: libraries %v", c.native, c.guarded, p.Libraries)
		}
	}
}
