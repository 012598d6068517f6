package artifact

import (
	"fmt"
	"maps"
	"strings"

	"vfsb/cache"
)

// An Aspect is one thing in which two entries of a path differ: "kind", "link", "mode", "owner", "bytes" or "xattrs",
// with the two values for people to read.
type Aspect struct{ What, Old, New string }

// Aspects lists in what two entries of one path differ. Of hard links only the link counts: the file that it leads to
// has a name of its own.
func Aspects(x, y *cache.Entry) (list []Aspect) {
	add := func(what, format string, old, now []any) {
		list = append(list, Aspect{what, fmt.Sprintf(format, old...), fmt.Sprintf(format, now...)})
	}
	if x.Kind != y.Kind {
		add("kind", "a %s", []any{kindName(x.Kind)}, []any{kindName(y.Kind)})
		return list
	}
	if x.Link != y.Link {
		add("link", "%s", []any{printable(x.Link)}, []any{printable(y.Link)})
	}
	if x.Kind == cache.Hardlink {
		return list
	}
	if x.Mode != y.Mode {
		add("mode", "%04o", []any{x.Mode}, []any{y.Mode})
	}
	if x.UID != y.UID || x.GID != y.GID {
		add("owner", "%d:%d", []any{x.UID, x.GID}, []any{y.UID, y.GID})
	}
	switch {
	case x.Size != y.Size:
		add("bytes", "%d bytes", []any{x.Size}, []any{y.Size})
	case x.Hash != y.Hash:
		add("bytes", "sha256 %x…", []any{x.Hash[:6]}, []any{y.Hash[:6]})
	}
	if !maps.Equal(x.Xattrs, y.Xattrs) {
		add("xattrs", "%s", []any{xattrNames(x)}, []any{xattrNames(y)})
	}
	return list
}

// A Change is a path that two trees do not have alike. Old or New is nil where one of them does not have it.
type Change struct {
	Path     string
	Old, New *cache.Entry
	Aspects  []Aspect // if both have it
}

// String describes the change on one line, which begins with +, - or ~.
func (c Change) String() string {
	switch {
	case c.Old == nil:
		return "+ " + entryText(c.New)
	case c.New == nil:
		return "- " + entryText(c.Old)
	}
	var list []string
	for _, a := range c.Aspects {
		text := a.Old + " -> " + a.New
		if a.What != "kind" && a.What != "bytes" { // whose values say what they are
			text = a.What + " " + text
		}
		list = append(list, text)
	}
	return fmt.Sprintf("~ %s: %s", printable(c.Path), strings.Join(list, ", "))
}

// Bytes reports whether both sides have a file, with other bytes.
func (c Change) Bytes() bool {
	return c.Old != nil && c.New != nil && c.Old.Kind == cache.File && c.New.Kind == cache.File && c.Old.Hash != c.New.Hash
}

// entryText describes an entry on one line: its path, and what there is to say of it.
func entryText(e *cache.Entry) string {
	text := printable(e.Path) + ": a " + kindName(e.Kind)
	switch e.Kind {
	case cache.Symlink, cache.Hardlink, charDevice, blockDevice:
		return text + " " + printable(e.Link)
	}
	text += fmt.Sprintf(", mode %04o", e.Mode)
	if e.UID != 0 || e.GID != 0 {
		text += fmt.Sprintf(", owner %d:%d", e.UID, e.GID)
	}
	if e.Kind == cache.File {
		text += fmt.Sprintf(", %d bytes", e.Size)
	}
	return text
}

// An EntryInfo is an entry in the words of `vfsb diff --json`.
type EntryInfo struct {
	Kind string `json:"kind"`
	Mode string `json:"mode,omitempty"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	Size int64  `json:"size"`
	Hash string `json:"sha256,omitempty"`
	Link string `json:"link,omitempty"`
}

// Info describes an entry; nil stays nil.
func Info(e *cache.Entry) *EntryInfo {
	if e == nil {
		return nil
	}
	i := &EntryInfo{Kind: kindName(e.Kind), UID: e.UID, GID: e.GID, Size: e.Size, Link: e.Link}
	if e.Kind != cache.Symlink && e.Kind != cache.Hardlink {
		i.Mode = fmt.Sprintf("%04o", e.Mode)
	}
	if e.Kind == cache.File {
		i.Hash = fmt.Sprintf("%x", e.Hash)
	}
	return i
}

// A ConfigChange is a field of two images' configurations that differs; "" where one of them does not have it.
type ConfigChange struct{ Name, Old, New string }

// A Difference is in what two trees differ, sorted by path.
type Difference struct {
	Changes []Change
	Config  []ConfigChange
	Same    int // paths that both have alike
}

// Compare compares two trees, and the configurations if both are images.
func Compare(a, b *Contents) *Difference {
	d := &Difference{}
	if a.Config != nil && b.Config != nil {
		d.Config = compareConfigs(a.Config, b.Config)
	}
	for i, j := 0, 0; i < len(a.Entries) || j < len(b.Entries); {
		switch {
		case j == len(b.Entries) || i < len(a.Entries) && a.Entries[i].Path < b.Entries[j].Path:
			d.Changes = append(d.Changes, Change{Path: a.Entries[i].Path, Old: &a.Entries[i]})
			i++
		case i == len(a.Entries) || b.Entries[j].Path < a.Entries[i].Path:
			d.Changes = append(d.Changes, Change{Path: b.Entries[j].Path, New: &b.Entries[j]})
			j++
		default:
			x, y := &a.Entries[i], &b.Entries[j]
			if aspects := Aspects(x, y); aspects != nil {
				d.Changes = append(d.Changes, Change{x.Path, x, y, aspects})
			} else {
				d.Same++
			}
			i, j = i+1, j+1
		}
	}
	return d
}

func compareConfigs(a, b []cache.Field) (list []ConfigChange) {
	value := func(fields []cache.Field) map[string]string {
		m := map[string]string{}
		for _, f := range fields {
			m[f.Name] = f.Value
		}
		return m
	}
	old, now := value(a), value(b)
	seen := map[string]bool{}
	for _, fields := range [][]cache.Field{a, b} {
		for _, f := range fields {
			if !seen[f.Name] && old[f.Name] != now[f.Name] {
				list = append(list, ConfigChange{f.Name, old[f.Name], now[f.Name]})
			}
			seen[f.Name] = true
		}
	}
	return list
}
