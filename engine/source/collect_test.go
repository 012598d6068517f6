package source

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"vfsb/cache"
)

func TestCollect(t *testing.T) {
	store, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	stale := []string{
		"partial/old", "partial/old.from", "partial/busy",
		"apt/stale/updated", "apt/stale/state/lists/x_Sources", "apt/stale/cache/pkgcache.bin",
	}
	young := []string{"partial/new", "apt/fresh/updated"}
	other := []string{"apt/stale/apt.conf", "apt/fresh/state/lists/x_Sources"}
	for _, name := range slices.Concat(stale, young, other) {
		path := filepath.Join(store.Dir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(young, name) {
			at := time.Now().Add(-staleDownload - time.Hour)
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	unlock, err := store.Lock(context.Background(), "source-busy")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()

	names, size, err := Collect(context.Background(), store, true)
	want := []string{"partial/old", "partial/old.from", "apt/stale/updated"}
	if err != nil || !slices.Equal(names, want) || size != 5*4 {
		t.Errorf("would remove %q, %d bytes, %v; want %q", names, size, err, want)
	}
	names, size, err = Collect(context.Background(), store, false)
	if err != nil || !slices.Equal(names, want) || size != 5*4 {
		t.Errorf("removed %q, %d bytes, %v; want %q", names, size, err, want)
	}
	for _, name := range slices.Concat(stale, young, other) {
		_, err := os.Stat(filepath.Join(store.Dir(), name))
		if gone := slices.Contains(stale, name) && name != "partial/busy"; (err != nil) != gone {
			t.Errorf("%s: %v, gone should be %v", name, err, gone)
		}
	}
	for _, dir := range []string{"apt/stale/state/lists", "apt/stale/cache"} { // apt may be about to use them
		if _, err := os.Stat(filepath.Join(store.Dir(), dir)); err != nil {
			t.Error(err)
		}
	}
}
