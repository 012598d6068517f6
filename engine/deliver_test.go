package engine

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"vfsb/cache"
	"vfsb/engine/load"
)

// TestArtifactName: a package of one profile needs no more than the architecture in its artifacts' names.
func TestArtifactName(t *testing.T) {
	for _, c := range []struct{ target, profile, want string }{
		{"", "", "box-arm64-seed"},
		{"rootfs", "musl", "box-arm64"},
		{"image", "musl", "box-arm64"},
		{"devel-rootfs", "musl", "box-devel-arm64"},
		{"devel-image", "", "box-devel-arm64-seed"},
		{"images", "musl", "box-images-arm64"},
	} {
		n := &Node{Config: load.Config{
			Target:   &load.Target{Name: c.target, Package: &load.Package{Name: "box", Profile: c.profile}},
			Platform: &load.Platform{Name: "arm64-seed", Arch: "arm64"},
		}}
		if got := artifactName(n); got != c.want {
			t.Errorf("target %q, profile %q: %s, want %s", c.target, c.profile, got, c.want)
		}
	}
}

// TestDeliverTwice: of two builds that write one file at once, neither takes the other's for its own later.
func TestDeliverTwice(t *testing.T) {
	store, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	n := &Node{Label: "//box", Step: &Step{Deliver: DeliverTar}, Config: load.Config{
		Target:   &load.Target{Package: &load.Package{Name: "box"}},
		Platform: &load.Platform{Name: "amd64"},
	}}
	out := t.TempDir()
	path := filepath.Join(out, artifactFile(n))
	var builds []*execution
	var files []string
	for _, text := range []string{"one", "another, which is longer"} {
		dir, release, err := store.NewRun("layer")
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		index, tar, err := cache.Capture(dir, cache.CaptureOptions{})
		if err != nil {
			t.Fatal(err)
		}
		layer, err := store.CommitLayer(dir, index, tar)
		if err != nil {
			t.Fatal(err)
		}
		x := &execution{Engine: &Engine{Store: store}, Options: Options{Out: out}, graph: &Graph{Nodes: []*Node{n}}, nodes: make([]nodeState, 1)}
		x.nodes[0].result.Layer = layer
		builds = append(builds, x)
		var file strings.Builder
		if err := x.writeArtifact(0, &file); err != nil {
			t.Fatal(err)
		}
		files = append(files, file.String())
	}
	for range 30 {
		var both sync.WaitGroup
		for _, x := range builds {
			both.Go(func() {
				if err := x.deliverFile(t.Context(), 0, map[string]stamp{}); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range builds {
			if readStamps(out)[filepath.Base(path)].matches(path, x.nodes[0].result.Layer.Tar) && string(got) != files[i] {
				t.Fatalf("the file of the other build is taken for that of build %d", i)
			}
		}
	}
}
