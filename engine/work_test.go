package engine

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"vfsb/cache"
	"vfsb/engine/action"
	"vfsb/engine/sandbox"
)

// TestWorkerRefuses: what is not for this worker, and what is not what its digest says, does not run.
func TestWorkerRefuses(t *testing.T) {
	store, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, c := range []struct {
		name, want string
		spoil      func(a *action.Action, dir string) error
	}{
		{"contract", "sandbox contract", func(a *action.Action, _ string) error { a.Sandbox++; return nil }},
		{"architecture", "architecture mips", func(a *action.Action, _ string) error { a.Exec = "mips"; return nil }},
		{"builtin", "not for workers", func(a *action.Action, _ string) error { a.Builtin = "rootfs"; return nil }},
		{"no layer", "lacks a layer", func(a *action.Action, dir string) error {
			return os.Remove(filepath.Join(dir, "layers", a.Mounts[0].Layers[0].Tar.Hex()+".tar"))
		}},
		{"a layer's bytes", "layer", func(a *action.Action, dir string) error {
			return os.WriteFile(filepath.Join(dir, "layers", a.Mounts[0].Layers[0].Tar.Hex()+".tar"), make([]byte, 1024), 0o644)
		}},
		{"a file's bytes", "not what its digest says", func(a *action.Action, dir string) error {
			return os.WriteFile(filepath.Join(dir, "files", a.Files[0].Digest.Hex()), []byte("other"), 0o644)
		}},
		{"another script", "not of this script", func(_ *action.Action, dir string) error {
			return os.WriteFile(filepath.Join(dir, "script"), []byte("other"), 0o644)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			a := anAction(t, dir)
			if err := c.spoil(a, dir); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "spec"), a.Spec(), 0o644); err != nil {
				t.Fatal(err)
			}
			report := (&Worker{Store: store, Jobs: 1}).Work(context.Background(), dir, os.Stderr)
			if !strings.Contains(report.Unfit, c.want) || report.Reason != "" {
				t.Errorf("the report is %+v; want that it is unfit: %s", report, c.want)
			}
			if _, err := os.Stat(filepath.Join(dir, cache.TarFile)); err == nil {
				t.Error("there is an output")
			}
		})
	}
}

// anAction is an action for this machine, with a layer, a file and a script; all but its spec lie in dir.
func anAction(t *testing.T, dir string) *action.Action {
	t.Helper()
	other, err := cache.Open(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	out, release, err := other.NewRun("layer")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := os.WriteFile(filepath.Join(out, "file"), []byte(t.Name()), 0o644); err != nil {
		t.Fatal(err)
	}
	index, tar, err := cache.Capture(out, cache.CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	layer, err := other.CommitLayer(out, index, tar)
	if err != nil {
		t.Fatal(err)
	}
	a := &action.Action{
		Rule: "script/1", Sandbox: sandbox.Contract, Exec: runtime.GOARCH, Script: []byte("true"),
		Mounts: []action.Mount{{At: "/", Layers: []action.Layer{{Tar: layer.Tar}}}},
		Files:  []action.File{{At: "/build/sources/x", Digest: cache.DigestOf([]byte("x" + t.Name()))}},
	}
	for _, name := range []string{"layers", "files"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "layers", layer.Tar.Hex()+".tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := other.ExportTar(layer, f); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{"script": "true", "files/" + a.Files[0].Digest.Hex(): "x" + t.Name()} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return a
}
