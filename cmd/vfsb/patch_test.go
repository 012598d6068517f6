package main

import (
	"strings"
	"testing"

	"vfsb/engine"
	"vfsb/engine/load"
)

// TestPatchOutside: a patch is written beside a package of the workspace only.
func TestPatchOutside(t *testing.T) {
	p := &patcher{engine: &engine.Engine{Workspace: &load.Workspace{Root: "/ws"}}}
	for dir, want := range map[string]string{
		"/ws/packages/zlib":    "",
		"/other/packages/zlib": `package "zlib" lies in /other/packages/zlib, outside of this workspace; copy that folder to /ws/packages/zlib`,
		"/wsx/packages/zlib":   "outside of this workspace",
	} {
		p.node = &engine.Node{Config: load.Config{Target: &load.Target{Package: &load.Package{Name: "zlib", Dir: dir}}}}
		err := p.check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
}

func TestNextPatch(t *testing.T) {
	for _, c := range []struct{ present, name, want string }{
		{"", "", "patches/0001-changes.patch"},
		{"patches/0001-a.patch patches/0009-b.patch patches/x.patch", "fix", "patches/0010-fix.patch"},
		{"patches/12.patch patches/99999999999-a.patch", "fix", "patches/0001-fix.patch"},
	} {
		if got := nextPatch(strings.Fields(c.present), c.name); got != c.want {
			t.Errorf("after %q: %s, want %s", c.present, got, c.want)
		}
	}
}
