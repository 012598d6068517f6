// Package artifact makes what a build delivers out of layers: it lays them over each other, filters the result,
// and writes it as a folder, a compressed tar or an OCI image. It does not know how layers are made, what a label
// means or where the store lies.
//
// Everything here is a pure function of its arguments: the same layers give the same bytes on every machine, for root
// and for an ordinary user. File contents are streamed, never held in memory.
package artifact

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"vfsb/cache"
)

// A Part is one layer of a merge: the label of the target that made it, its index, and the folder that holds its
// unpacked tree (as cache.Store.LayerDir names it). Part and folder are only read.
type Part struct {
	Label string
	Index *cache.Index
	Dir   string
}

// A Replace declares that one entry of other layers may be hidden by the declaring target's own. Path is relative to
// the root of the layer, and is literal but for a trailing "/**", which stands for the path itself and all that lies
// below it. Reason is for the reader of the recipe, and required.
type Replace struct {
	Path, Reason string
}

// covers says whether r allows to hide the entry at path.
func (r Replace) covers(path string) bool {
	base, deep := r.base()
	if path == base {
		return true
	}
	return deep && len(path) > len(base) && path[len(base)] == '/' && path[:len(base)] == base
}

// base returns the path without slashes at its ends, and whether what lies below it is meant too.
func (r Replace) base() (path string, deep bool) {
	path, deep = strings.CutSuffix(r.Path, "/**")
	return strings.Trim(path, "/"), deep
}

// Merge lays parts over each other and returns the union of their entries.
//
// A path that several parts hold must be the same in all of them: kind, mode, owner, extended attributes, and bytes or
// link target; which part it is then taken from makes no difference to the result. Where it is not the same, the part
// wins whose label declares in replaces that it may take over the path; of several such parts the last one wins. A
// path that lies below a folder which a winner turned into something else vanishes, and must be declared likewise.
//
// All other differences are conflicts, and are returned together as a *ConflictError.
func Merge(parts []Part, replaces map[string][]Replace) (*Tree, error) {
	for label, rs := range replaces {
		for _, r := range rs {
			if base, _ := r.base(); base == "" || strings.TrimSpace(r.Reason) == "" {
				return nil, fmt.Errorf("merge: replaces of %s: path %q, reason %q: a path below the root and a reason are required", label, r.Path, r.Reason)
			}
		}
	}
	m := merger{parts: parts, replaces: make([][]Replace, len(parts)), above: map[edge]string{}}
	for i, p := range parts {
		m.replaces[i] = replaces[p.Label]
	}
	m.run()
	if m.conflicts.Count > 0 {
		return nil, &m.conflicts
	}
	if err := m.relink(); err != nil {
		return nil, err
	}
	return &Tree{parts: parts, index: &cache.Index{Entries: m.out}, from: m.from, above: m.above}, nil
}

// An edge says that in an overlay the part with index upper must lie above the part with index lower.
type edge struct{ upper, lower int }

// A merger holds the state of one Merge.
type merger struct {
	parts     []Part
	replaces  [][]Replace // by part
	out       []cache.Entry
	from      []int32 // by entry of out: the part that it comes from
	above     map[edge]string
	blocked   map[string]blocker
	conflicts ConflictError
}

// A blocker is an entry that is no folder in the merged tree, at a path that is a folder in some part.
type blocker struct {
	part     int
	entry    *cache.Entry
	conflict bool // the path itself is in conflict already
}

// A ref is one entry of one part.
type ref struct {
	part  int
	entry *cache.Entry
}

// run merges in order of path, so that a folder is decided before what lies below it.
func (m *merger) run() {
	refs := m.sorted()
	m.out = make([]cache.Entry, 0, len(refs))
	m.from = make([]int32, 0, len(refs))
	for len(refs) > 0 {
		n := 1
		for n < len(refs) && refs[n].entry.Path == refs[0].entry.Path {
			n++
		}
		if len(m.blocked) == 0 || !m.hidden(refs[:n]) {
			m.path(refs[:n])
		}
		refs = refs[n:]
	}
}

// sorted returns the entries of all parts by path, and those of one path in the order of the parts. It merges the
// sorted indexes two by two.
func (m *merger) sorted() []ref {
	runs := make([][]ref, len(m.parts))
	total := 0
	for i, p := range m.parts {
		run := make([]ref, len(p.Index.Entries))
		for j := range run {
			run[j] = ref{i, &p.Index.Entries[j]}
		}
		runs[i] = run
		total += len(run)
	}
	for len(runs) > 1 {
		half := runs[:0]
		for i := 0; i < len(runs); i += 2 {
			if i+1 == len(runs) {
				half = append(half, runs[i])
				break
			}
			half = append(half, mergeRuns(runs[i], runs[i+1]))
		}
		runs = half
	}
	if len(runs) == 0 {
		return nil
	}
	return runs[0]
}

// mergeRuns merges two sorted runs; of equal paths that of a comes first.
func mergeRuns(a, b []ref) []ref {
	out := make([]ref, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].entry.Path <= b[0].entry.Path {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// hidden says whether the path of held lies below something that is no folder in the merged tree, and adds the
// conflict unless that was allowed to hide it.
func (m *merger) hidden(held []ref) bool {
	path := held[0].entry.Path
	for i := len(path) - 1; i > 0; i-- {
		if path[i] != '/' {
			continue
		}
		b, ok := m.blocked[path[:i]]
		if !ok {
			continue
		}
		if !b.conflict && !m.covered(b.part, path) {
			for _, h := range held {
				m.conflict(path, ref{b.part, b.entry}, h, "kind",
					fmt.Sprintf("nothing, since %s is a %s there", printable(path[:i]), kindName(b.entry.Kind)), "a "+kindName(h.entry.Kind))
			}
		}
		return true
	}
	return false
}

// path decides which of the entries of one path is merged. held is in the order of the parts.
func (m *merger) path(held []ref) {
	win := held[0]
	differ := false
	for _, h := range held[1:] {
		if what, _, _ := m.difference(held[0], h); what != "" {
			differ = true
			break
		}
	}
	if differ {
		found := false
		for _, h := range held {
			if m.covered(h.part, h.entry.Path) {
				win, found = h, true
			}
		}
		m.settle(win, held, found)
	}
	m.out = append(m.out, *win.entry)
	m.from = append(m.from, int32(win.part))
}

// settle records what follows from win taking the place of those in held that differ: an order of the parts where that
// was declared, a conflict otherwise.
func (m *merger) settle(win ref, held []ref, declared bool) {
	folder := win.entry.Kind == cache.Dir
	for _, h := range held {
		what, a, b := m.difference(win, h)
		if what == "" {
			continue
		}
		if declared {
			m.order(win, h)
		} else {
			m.conflict(h.entry.Path, win, h, what, a, b)
		}
		if !folder && h.entry.Kind == cache.Dir {
			if m.blocked == nil {
				m.blocked = map[string]blocker{}
			}
			m.blocked[h.entry.Path] = blocker{win.part, win.entry, !declared}
		}
		if folder && declared && h.entry.Kind != cache.Dir {
			// An overlay looks no deeper than the first layer whose entry is no folder: all folders must lie above it.
			for _, d := range held {
				if d.entry.Kind == cache.Dir {
					m.order(d, h)
				}
			}
		}
	}
}

func (m *merger) order(upper, lower ref) {
	e := edge{upper.part, lower.part}
	if _, ok := m.above[e]; !ok {
		m.above[e] = upper.entry.Path
	}
}

func (m *merger) conflict(path string, first, second ref, what, a, b string) {
	m.conflicts.Count++
	if len(m.conflicts.Conflicts) < maxConflicts {
		m.conflicts.Conflicts = append(m.conflicts.Conflicts, Conflict{
			Path: path, First: m.parts[first.part].Label, Second: m.parts[second.part].Label, What: what, Values: [2]string{a, b},
		})
	}
}

func (m *merger) covered(part int, path string) bool {
	return slices.ContainsFunc(m.replaces[part], func(r Replace) bool { return r.covers(path) })
}

// difference says in what two entries of one path differ, and the two values; all are "" if they do not.
func (m *merger) difference(a, b ref) (what, left, right string) {
	x, y := a.entry, b.entry
	if x.Kind == cache.Hardlink && y.Kind == cache.Hardlink && x.Link == y.Link {
		// The same names of two groups: what matters is the file behind them.
		fx, _ := m.parts[a.part].Index.Lookup(x.Link)
		fy, _ := m.parts[b.part].Index.Lookup(y.Link)
		if fx == nil || fy == nil || fx.Kind != cache.File || fy.Kind != cache.File {
			return "", "", "" // a broken index; relink reports it
		}
		return m.difference(ref{a.part, fx}, ref{b.part, fy})
	}
	if list := Aspects(x, y); len(list) > 0 {
		return list[0].What, list[0].Old, list[0].New
	}
	return "", "", ""
}

// relink makes the groups of hard links whole again: where the first name of a group belongs to another part's file
// now, the first name that is left takes its place.
func (m *merger) relink() error {
	type group struct {
		first string // the name that the group had in its part
		mode  uint32
		owner [2]int
		size  int64
		hash  [32]byte
		attrs string
	}
	merged := &cache.Index{Entries: m.out}
	firsts := map[group]string{}
	for i := range m.out {
		e := &m.out[i]
		if e.Kind != cache.Hardlink {
			continue
		}
		p := int(m.from[i])
		file, ok := m.parts[p].Index.Lookup(e.Link)
		if !ok || file.Kind != cache.File {
			return fmt.Errorf("merge: index of %s: %s is a hard link to %s, which is no file there", m.parts[p].Label, printable(e.Path), printable(e.Link))
		}
		if now, ok := merged.Lookup(e.Link); ok {
			if what, _, _ := m.difference(ref{p, now}, ref{p, file}); what == "" {
				continue
			}
		}
		g := group{file.Path, file.Mode, [2]int{file.UID, file.GID}, file.Size, file.Hash, xattrText(file)}
		if first, ok := firsts[g]; ok {
			e.Link = first
			continue
		}
		firsts[g] = e.Path
		path := e.Path
		*e = *file
		e.Path = path
	}
	return nil
}

func kindName(k cache.Kind) string {
	switch k {
	case cache.File:
		return "file"
	case cache.Dir:
		return "folder"
	case cache.Symlink:
		return "symbolic link"
	case cache.Hardlink:
		return "hard link"
	case cache.Fifo:
		return "fifo"
	case charDevice:
		return "character device"
	case blockDevice:
		return "block device"
	}
	return fmt.Sprintf("kind %q", byte(k))
}

// xattrText writes the extended attributes of e so that equal ones give equal text.
func xattrText(e *cache.Entry) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(e.Xattrs)) {
		fmt.Fprintf(&b, "%q=%q ", k, e.Xattrs[k])
	}
	return b.String()
}

func xattrNames(e *cache.Entry) string {
	if len(e.Xattrs) == 0 {
		return "none"
	}
	return strings.TrimSuffix(xattrText(e), " ")
}

// printable returns path as it is if that can be printed on one line, quoted otherwise.
func printable(path string) string {
	if q := strconv.Quote(path); q != `"`+path+`"` || strings.ContainsAny(path, " ") {
		return q
	}
	return path
}
