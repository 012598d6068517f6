package engine

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"vfsb/cache"
)

// TestFailedElsewhere: the last lines of a log are shown, also after one that is long.
func TestFailedElsewhere(t *testing.T) {
	store, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	x := &execution{Engine: &Engine{Store: store}}
	for _, text := range []string{"first\n" + strings.Repeat("long", maxLine) + "\nthe reason\n", "first\nthe reason"} {
		log, err := store.PutBytes([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var failed *NodeError
		if err := x.failedElsewhere(context.Background(), Report{Reason: "exit status 1"}, log); !errors.As(err, &failed) {
			t.Fatal(err)
		}
		if n := len(failed.Tail); n == 0 || failed.Tail[0] != "first" || failed.Tail[n-1] != "the reason" {
			t.Errorf("%d lines are shown, not the last ones", n)
		}
	}
}
