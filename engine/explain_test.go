package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestDiffLines(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"a b c", "a b c", ""},
		{"a b c", "a x c", "- b|+ x"},
		{"a b", "a b c", "+ c"},
		{"b a b c", "a c", "- b|- b"},
		{"", "a", "- |+ a"},
	} {
		lines, ok := DiffLines(strings.Split(c.a, " "), strings.Split(c.b, " "))
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], "  ")
		}
		if got := strings.Join(lines, "|"); got != c.want || !ok {
			t.Errorf("%q to %q: %q, %v; want %q", c.a, c.b, got, ok, c.want)
		}
	}
	many := func(prefix string) (list []string) {
		for i := range 3000 {
			list = append(list, fmt.Sprint(prefix, i))
		}
		return list
	}
	if _, ok := DiffLines(many("a"), many("b")); ok {
		t.Error("9 million pairs of lines were compared")
	}
	if lines, ok := DiffLines(many("a"), slices.Concat(many("a"), []string{"x"})); !ok || len(lines) != 1 {
		t.Errorf("one line more: %q, %v", lines, ok)
	}
}
