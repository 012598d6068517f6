package artifact

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"vfsb/cache"
)

// maxID is the largest owner that an index can hold.
const maxID = 1<<31 - 2

// Apply gives entries the owners, modes and capabilities that attrs declare, one after the other. A path is that of an
// entry, or a doublestar glob; a hard link stands for all names of its file. The error names every path that nothing in
// the tree matches; after an error nothing has changed.
func (t *Tree) Apply(attrs []cache.Attr) error {
	targets := make([][]int, len(attrs))
	caps := make([]string, len(attrs))
	var unknown []string
	for n, a := range attrs {
		if !doublestar.ValidatePattern(a.Path) {
			return fmt.Errorf("attributes of %q: the pattern is malformed", a.Path)
		}
		targets[n] = t.glob(strings.Trim(a.Path, "/"))
		if targets[n] == nil {
			unknown = append(unknown, printable(a.Path))
		}
		for _, i := range targets[n] {
			var err error
			if caps[n], err = checkAttr(&t.index.Entries[i], a); err != nil {
				return fmt.Errorf("attributes of %s: %w", printable(a.Path), err)
			}
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("attributes of paths that do not exist: %s", strings.Join(unknown, ", "))
	}
	t.index = &cache.Index{Entries: slices.Clone(t.index.Entries)} // who asked for the index before keeps it
	for n, a := range attrs {
		for _, i := range targets[n] {
			setAttr(&t.index.Entries[i], a, caps[n])
		}
	}
	for i := range t.index.Entries {
		if e := &t.index.Entries[i]; e.Kind == cache.Hardlink { // an index repeats mode and owner of the file
			if f, ok := t.index.Lookup(e.Link); ok {
				e.Mode, e.UID, e.GID = f.Mode, f.UID, f.GID
			}
		}
	}
	return nil
}

// glob returns the entries that are meant by pattern: the one of that very path, or else those that match. In the place
// of a hard link it returns the file.
func (t *Tree) glob(pattern string) (found []int) {
	add := func(i int) {
		if e := &t.index.Entries[i]; e.Kind == cache.Hardlink {
			i, _ = t.find(e.Link)
		}
		found = append(found, i)
	}
	if i, ok := t.find(pattern); ok {
		add(i)
		return found
	}
	for i := range t.index.Entries {
		if doublestar.MatchUnvalidated(pattern, t.index.Entries[i].Path) {
			add(i)
		}
	}
	return found
}

func setAttr(e *cache.Entry, a cache.Attr, caps string) {
	if a.Mode != nil {
		e.Mode = *a.Mode
	}
	if a.UID != nil {
		e.UID = *a.UID
	}
	if a.GID != nil {
		e.GID = *a.GID
	}
	if caps != "" {
		e.Xattrs = maps.Clone(e.Xattrs) // shared with the part's index
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[cache.CapabilityXattr] = caps
	}
}

// checkAttr says what about a does not suit e, and returns the value of its capabilities.
func checkAttr(e *cache.Entry, a cache.Attr) (caps string, err error) {
	switch {
	case a.Mode != nil && *a.Mode > 0o7777:
		return "", fmt.Errorf("mode %o is more than 7777", *a.Mode)
	case a.Mode != nil && e.Kind == cache.Symlink:
		return "", fmt.Errorf("%s is a symbolic link, which has no mode", printable(e.Path))
	case a.UID != nil && (*a.UID < 0 || *a.UID > maxID), a.GID != nil && (*a.GID < 0 || *a.GID > maxID):
		return "", fmt.Errorf("an owner is not between 0 and %d", maxID)
	case a.Caps == "":
		return "", nil
	case e.Kind != cache.File:
		return "", fmt.Errorf("%s is a %s, which has no capabilities", printable(e.Path), kindName(e.Kind))
	}
	return cache.EncodeCaps(a.Caps)
}

// Attrs returns what a folder that WriteTo made cannot show: owners other than 0 and capabilities, sorted by path. With
// them in cache.CaptureOptions, capturing the folder gives the index of the tree.
func (t *Tree) Attrs() []cache.Attr {
	var attrs []cache.Attr
	for i := range t.index.Entries {
		e := &t.index.Entries[i]
		if e.Kind == cache.Hardlink {
			continue
		}
		a := cache.Attr{Path: literal(e.Path), Caps: cache.DecodeCaps(e.Xattrs[cache.CapabilityXattr])}
		if e.UID != 0 || e.GID != 0 {
			a.UID, a.GID = &e.UID, &e.GID
		}
		if a.UID != nil || a.Caps != "" {
			attrs = append(attrs, a)
		}
	}
	return attrs
}

// literal returns path so that it is taken for a path where a glob may stand too. A path that is no malformed glob is:
// what exists under that very name goes before what matches.
func literal(path string) string {
	if doublestar.ValidatePattern(path) {
		return path
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		if strings.IndexByte(`*?[]{}\`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}
