package load

import (
	"path"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// guard reads the guard block of a stage with that root.
func (l *loader) guard(b *hcl.Block, ctx *hcl.EvalContext, root []string) *Guard {
	a, _ := l.content(b.Body, ctx, []string{"compiler", "interpreter", "library_path", "libraries", "forbidden"})
	g := &Guard{
		Compiler: a.String("compiler"), Interpreter: a.String("interpreter"), LibraryPath: a.Strings("library_path"),
		Libraries: a.Strings("libraries"), Forbidden: a.StringMap("forbidden"), Range: b.DefRange,
	}
	for _, name := range []string{"compiler", "interpreter", "library_path"} {
		if !a.Has(name) {
			l.errorf(b.DefRange, "guard lacks %s; add it", name)
		}
	}
	for _, folder := range g.LibraryPath {
		checkAbsolute(a, "library_path", folder)
	}
	for _, folder := range keys(g.Forbidden) {
		checkAbsolute(a, "forbidden", folder)
	}
	for _, label := range g.Libraries {
		if !slices.Contains(root, label) {
			a.Errorf("libraries", "%s is not in the stage's root; name one of its labels, as it is written there", label)
		}
	}
	l.diags = append(l.diags, a.Diags...)
	return g
}

func checkAbsolute(a *Attrs, name, p string) {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
		a.Errorf(name, "%s: %q is not a folder's absolute path; write it like \"/usr/lib\"", name, p)
	}
}
