package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed states which of our packages each of them may import, tests aside.
var allowed = map[string]string{
	"vfsb/cache":               "",
	"vfsb/cache/remote":        "vfsb/cache",
	"vfsb/cache/cachetest":     "",
	"vfsb/engine/sandbox/jobs": "",
	"vfsb/engine/sandbox":      "vfsb/engine/sandbox/jobs",
	"vfsb/engine/render":       "",
	"vfsb/engine/load":         "",
	"vfsb/engine/action":       "vfsb/cache",
	"vfsb/engine/artifact":     "vfsb/cache",
	"vfsb/engine/guard":        "vfsb/cache",
	"vfsb/engine/source":       "vfsb/cache",
	"vfsb/engine/bench":        "",
	"vfsb/engine/diagram":      "",
	"vfsb/engine":              "vfsb/cache vfsb/engine/action vfsb/engine/artifact vfsb/engine/guard vfsb/engine/load vfsb/engine/render vfsb/engine/sandbox vfsb/engine/sandbox/jobs vfsb/engine/source",
	"vfsb/rules":               "vfsb/cache vfsb/engine vfsb/engine/artifact",
	"vfsb/packages":            "",
	"vfsb/profiles":            "",
	"vfsb/templates":           "",
	"vfsb/cmd/bench":           "vfsb/engine/bench",
	"vfsb/cmd/vfsb":            "vfsb/.vfsb vfsb/cache vfsb/cache/remote vfsb/engine vfsb/engine/artifact vfsb/engine/diagram vfsb/engine/load vfsb/engine/sandbox vfsb/engine/source vfsb/packages vfsb/profiles vfsb/rules vfsb/templates",
}

// users states the only packages that may import something from outside.
var users = map[string]string{
	"net/http":                           "vfsb/engine/source vfsb/cache/remote vfsb/cache/cachetest vfsb/cmd/vfsb",
	"google.golang.org/grpc":             "vfsb/cache/remote vfsb/cache/cachetest",
	"github.com/nikolalohinski/gonja/v2": "vfsb/engine/render",
	"github.com/dominikbraun/graph":      "vfsb/engine",
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, "vfsb/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		name, list, _ := strings.Cut(line, ": ")
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s is not in the table of allowed imports", name)
		}
		for _, imported := range strings.Fields(list) {
			if strings.HasPrefix(imported, "vfsb/") && !slices.Contains(strings.Fields(may), imported) {
				t.Errorf("%s imports %s, which it may not", name, imported)
			}
			if only := users[imported]; only != "" && !slices.Contains(strings.Fields(only), name) {
				t.Errorf("%s imports %s; only %s may", name, imported, only)
			}
		}
	}
}
