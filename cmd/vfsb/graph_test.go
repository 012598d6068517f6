package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGraphFetchesNothing: what the lock file does not have yet is not decided in order to draw a picture.
func TestGraphFetchesNothing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("asked for %s", r.URL)
	}))
	defer server.Close()
	ws := workspace(t, 1)
	writePackage(t, ws, "fetched", fmt.Sprintf("  source {\n    url    = \"%s/a.tar\"\n    sha256 = %q\n  }\n  script {\n    script = \"true\"\n  }\n", server.URL, strings.Repeat("ab", 32)))
	store := filepath.Join(t.TempDir(), "store")
	build(t, store, "-C", ws, "//seed:amd64") // so that only the source is missing from the key
	out, err := exec.Command("vfsb", "--store", store, "-C", ws, "graph", "--format", "svg", "//fetched:amd64").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "never built") {
		t.Errorf("%v: %s", err, out)
	}
}
