package main

import (
	"strings"
	"testing"
)

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
