package artifact

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"

	"vfsb/cache"
)

// A Tree is the result of a merge: a complete index, each entry with the part that holds its bytes. Apply changes it;
// otherwise it may be used by several goroutines.
type Tree struct {
	parts []Part
	index *cache.Index
	from  []int32 // by entry of index: the part that it comes from
	above map[edge]string
}

// Index returns the merged entries. The caller does not change them.
func (t *Tree) Index() *cache.Index { return t.index }

// Origin returns the part that the entry at path comes from.
func (t *Tree) Origin(path string) (Part, bool) {
	i, ok := t.find(path)
	if !ok {
		return Part{}, false
	}
	return t.parts[t.from[i]], true
}

// Open opens the bytes of a file of the tree. The caller closes the reader. Reading to the end fails if the bytes are
// not those of the index, so that a damaged store is never delivered.
func (t *Tree) Open(e *cache.Entry) (io.ReadCloser, error) {
	f, err := t.open(e.Path)
	if err != nil {
		return nil, err
	}
	return &verifier{f: f, hash: sha256.New(), tree: t, want: e}, nil
}

// Check compares what Capture found in a folder of WriteTo, which does not read what it clones, with the tree: a damaged
// store shall not go on into another layer.
func (t *Tree) Check(captured *cache.Index) error {
	for i := range captured.Entries {
		e := &captured.Entries[i]
		if j, ok := t.find(e.Path); ok && e.Kind == cache.File && t.index.Entries[j].Kind == cache.File && t.index.Entries[j].Hash != e.Hash {
			return t.damaged(e.Path)
		}
	}
	return nil
}

// damaged is the error for a file whose bytes are not those of the index.
func (t *Tree) damaged(path string) error {
	p, _ := t.Origin(path)
	return fmt.Errorf("layer of %s: %s does not have the bytes that its index says; the store is damaged: remove %s", p.Label, printable(path), filepath.Dir(p.Dir))
}

// A verifier reads a file and compares its hash at the end.
type verifier struct {
	f    *os.File
	hash hash.Hash
	tree *Tree
	want *cache.Entry
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.f.Read(p)
	v.hash.Write(p[:n])
	if err == io.EOF && [sha256.Size]byte(v.hash.Sum(nil)) != v.want.Hash {
		err = v.tree.damaged(v.want.Path)
	}
	return n, err
}

func (v *verifier) Close() error { return v.f.Close() }

func (t *Tree) open(path string) (*os.File, error) {
	i, ok := t.find(path)
	if !ok {
		return nil, fmt.Errorf("open %s: not in the tree", printable(path))
	}
	p, e := t.parts[t.from[i]], &t.index.Entries[i]
	if e.Kind != cache.File {
		return nil, fmt.Errorf("open %s: a %s has no bytes", printable(path), kindName(e.Kind))
	}
	// No link is followed and no fifo waited for: what does not match the index is a damaged store.
	f, err := os.OpenFile(filepath.Join(p.Dir, path), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("layer of %s: %w", p.Label, err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("layer of %s: %w", p.Label, err)
	}
	if !st.Mode().IsRegular() || st.Size() != e.Size {
		f.Close()
		return nil, fmt.Errorf("layer of %s: %s does not match the index; the store is damaged", p.Label, printable(path))
	}
	return f, nil
}

func (t *Tree) find(path string) (int, bool) {
	return slices.BinarySearchFunc(t.index.Entries, path, func(e cache.Entry, path string) int { return strings.Compare(e.Path, path) })
}

// Order returns the indexes of the parts in the order in which an overlay mount must stack them, topmost first, so that
// it shows what Merge decided. compare settles the order of parts that no replace relates; nil leaves them as they are.
// The error names two parts that each take something over from the other, which no order can show.
func (t *Tree) Order(compare func(a, b *Part) int) ([]int, error) {
	rest := make([]int, len(t.parts))
	for i := range rest {
		rest[i] = i
	}
	if compare != nil {
		slices.SortStableFunc(rest, func(a, b int) int { return compare(&t.parts[a], &t.parts[b]) })
	}
	below := make([]int, len(t.parts)) // by part: how many parts must lie above it and are not placed yet
	for e := range t.above {
		below[e.lower]++
	}
	out := make([]int, 0, len(rest))
	for len(rest) > 0 {
		i := slices.IndexFunc(rest, func(p int) bool { return below[p] == 0 })
		if i < 0 {
			return nil, t.orderError(rest)
		}
		p := rest[i]
		rest = slices.Delete(rest, i, i+1)
		out = append(out, p)
		for e := range t.above {
			if e.upper == p {
				below[e.lower]--
			}
		}
	}
	return out, nil
}

// orderError describes a circle among the parts rest, each of which has another of them above it.
func (t *Tree) orderError(rest []int) error {
	var lines []string
	for e, path := range t.above {
		if slices.Contains(rest, e.upper) && slices.Contains(rest, e.lower) {
			lines = append(lines, fmt.Sprintf("%s above %s for %s", t.parts[e.upper].Label, t.parts[e.lower].Label, printable(path)))
		}
	}
	slices.Sort(lines)
	return fmt.Errorf("replaces go in a circle (%s): let one part take over all of the paths", strings.Join(lines, ", "))
}

// CheckGlobs returns an error that names the first pattern that Filter would refuse.
func CheckGlobs(patterns []string) error {
	for _, p := range patterns {
		if strings.Trim(p, "/") == "" || !doublestar.ValidatePattern(p) {
			return fmt.Errorf("pattern %q is malformed; see the syntax of doublestar: * ? ** [a-z] {a,b}", p)
		}
	}
	return nil
}

// Filter returns the tree without the entries that a pattern of exclude matches, themselves or by one of their parents,
// and keeps those of them that a pattern of include matches likewise. Patterns are doublestar globs, relative to the
// root. The folders above an entry that is kept stay. If the first name of a group of hard links goes, the next one
// takes its place. The error is that of CheckGlobs.
func (t *Tree) Filter(exclude, include []string) (*Tree, error) {
	if err := CheckGlobs(slices.Concat(exclude, include)); err != nil {
		return nil, err
	}
	out := newMatcher(exclude)
	in := newMatcher(include)
	keep := make([]bool, len(t.index.Entries))
	for i := range t.index.Entries {
		path := t.index.Entries[i].Path
		keep[i] = !out.match(path) || in.match(path)
	}
	// Children come after their parents, so that going backwards each one is settled before its parent is asked.
	for i := len(keep) - 1; i >= 0; i-- {
		if path := t.index.Entries[i].Path; keep[i] {
			if j := strings.LastIndexByte(path, '/'); j > 0 {
				if p, ok := t.find(path[:j]); ok {
					keep[p] = true
				}
			}
		}
	}
	f := &Tree{parts: t.parts, index: &cache.Index{}, above: t.above}
	firsts := map[string]string{} // first name that went: first name that is left
	for i, e := range t.index.Entries {
		if !keep[i] {
			continue
		}
		if e.Kind == cache.Hardlink {
			if j, ok := t.find(e.Link); ok && !keep[j] {
				if first, ok := firsts[e.Link]; ok {
					e.Link = first
				} else {
					firsts[e.Link] = e.Path
					path := e.Path
					e = t.index.Entries[j]
					e.Path = path
				}
			}
		}
		f.index.Entries = append(f.index.Entries, e)
		f.from = append(f.from, t.from[i])
	}
	return f, nil
}

// A matcher matches paths against globs, and remembers the folders that it has seen match.
type matcher struct {
	globs []string
	dirs  map[string]bool
}

func newMatcher(globs []string) *matcher {
	m := &matcher{dirs: map[string]bool{}}
	for _, g := range globs {
		m.globs = append(m.globs, strings.Trim(g, "/"))
	}
	return m
}

// match says whether path or one of its parents matches.
func (m *matcher) match(path string) bool {
	if len(m.globs) == 0 {
		return false
	}
	if slices.ContainsFunc(m.globs, func(g string) bool { return doublestar.MatchUnvalidated(g, path) }) {
		return true
	}
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return false
	}
	dir := path[:i]
	ok, known := m.dirs[dir]
	if !known {
		ok = m.match(dir)
		m.dirs[dir] = ok
	}
	return ok
}
