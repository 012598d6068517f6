// Package action describes one hermetic step, and names it by its key.
//
// The list that Fields returns is all that enters the key: it is written, line by
// line, as the file "spec" of the action's input root, and the same list is kept in
// the history and compared by `vfsb explain`. The package does not run anything.
package action

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"vfsb/cache"
)

// An Action is a command with everything that it may see. The zero value of a
// field adds nothing to the key.
type Action struct {
	Rule     string            // kind and contract number of the rule, "autotools/1"
	Sandbox  int               // contract number of the sandbox; 0 for a builtin
	Builtin  string            // a step that vfsb does itself: unpack-debs, unpack-image, rootfs, oci
	Exec     string            // architecture of the machine that runs it, as in GOARCH
	Linux32  bool              // 32-bit personality
	Env      map[string]string // the whole environment
	Script   []byte            // /build/script
	Mounts   []Mount
	Emulator *Emulator // nil: the machine runs the script's programs itself
	Files    []File
	Drop     []string     // globs of paths that are not captured
	Attrs    []cache.Attr // declared modes, owners and capabilities
	Settings []Field      // settings of a builtin
}

// A Mount is layers laid over each other at a path. Their order matters only if Ordered.
type Mount struct {
	At      string // "/" or "/sysroot"
	Layers  []Layer
	Ordered bool // the first lies on top; otherwise no two disagree
}

// A Layer is a mounted layer. Label says whose it is, for people; it is not in the key.
type Layer struct {
	Tar   cache.Digest
	Label string
}

// An Emulator is a program in a layer, which runs the programs of another machine.
type Emulator struct {
	Layer
	Arch, Program string
}

// Layers is every layer that the action sees, as often as it is named.
func (a *Action) Layers() []Layer {
	var list []Layer
	for _, m := range a.Mounts {
		list = append(list, m.Layers...)
	}
	if a.Emulator != nil {
		list = append(list, a.Emulator.Layer)
	}
	return list
}

// A File is a file that the sandbox shows read-only at a path.
type File struct {
	At     string
	Digest cache.Digest
}

// A Field is one thing that went into a key.
type Field = cache.Field

// Fields lists what enters the key, in a canonical order. With labels, a layer's
// field is named after whose it is, so that two lists can be compared by name.
func (a *Action) Fields(labels bool) []Field {
	var list []Field
	add := func(name, value string) { list = append(list, Field{Name: name, Value: value}) }
	add("rule", a.Rule)
	if a.Builtin != "" {
		add("builtin", a.Builtin)
	} else {
		add("sandbox", strconv.Itoa(a.Sandbox))
	}
	add("exec", a.Exec)
	if a.Linux32 {
		add("personality", "linux32")
	}
	for _, k := range sortedKeys(a.Env) {
		add("env "+k, a.Env[k])
	}
	if a.Script != nil {
		add("script", cache.DigestOf(a.Script).String())
	}
	for _, m := range a.Mounts {
		layers := m.Layers
		if !m.Ordered {
			layers = append([]Layer(nil), layers...)
			sort.Slice(layers, func(i, j int) bool {
				if labels {
					return layers[i].Label < layers[j].Label
				}
				return layers[i].Tar.Hex() < layers[j].Tar.Hex()
			})
		}
		for i, l := range layers {
			name := "layer " + m.At
			if m.Ordered {
				name += " " + strconv.Itoa(i)
			}
			if labels {
				name += " " + l.Label
			}
			add(name, l.Tar.String())
		}
	}
	if e := a.Emulator; e != nil {
		name := "emulator"
		if labels {
			name += " " + e.Label
		}
		add(name, e.Tar.String())
		add("emulator of "+e.Arch, e.Program)
	}
	files := append([]File(nil), a.Files...)
	sort.Slice(files, func(i, j int) bool { return files[i].At < files[j].At })
	for _, f := range files {
		add("file "+f.At, f.Digest.String())
	}
	for _, glob := range a.Drop {
		add("drop", glob)
	}
	for _, attr := range a.Attrs {
		add("attr "+attr.Path, attrText(attr))
	}
	return append(list, a.Settings...)
}

func attrText(a cache.Attr) string {
	var b strings.Builder
	if a.Mode != nil {
		fmt.Fprintf(&b, "mode=%04o ", *a.Mode)
	}
	if a.UID != nil {
		fmt.Fprintf(&b, "uid=%d ", *a.UID)
	}
	if a.GID != nil {
		fmt.Fprintf(&b, "gid=%d ", *a.GID)
	}
	if a.Caps != "" {
		fmt.Fprintf(&b, "caps=%s ", a.Caps)
	}
	return strings.TrimSuffix(b.String(), " ")
}

// Spec is the file "spec": a line for each field, name and quoted value.
func (a *Action) Spec() []byte {
	var b []byte
	for _, f := range a.Fields(false) {
		b = append(b, f.Name...)
		b = append(b, '\t')
		b = strconv.AppendQuote(b, f.Value)
		b = append(b, '\n')
	}
	return b
}

func sortedKeys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}

// Diff lists the fields in which two lists differ, as "name: old -> new" pairs in
// the order of the new list, then what only the old list has.
func Diff(old, now []Field) []Change {
	count := func(list []Field) map[string][]string {
		m := map[string][]string{}
		for _, f := range list {
			m[f.Name] = append(m[f.Name], f.Value)
		}
		return m
	}
	before, after := count(old), count(now)
	var changes []Change
	seen := map[string]bool{}
	for _, list := range [][]Field{now, old} {
		for _, f := range list {
			if seen[f.Name] {
				continue
			}
			seen[f.Name] = true
			o, n := strings.Join(before[f.Name], "\n"), strings.Join(after[f.Name], "\n")
			if o != n || len(before[f.Name]) != len(after[f.Name]) {
				changes = append(changes, Change{Name: f.Name, Old: o, New: n, Added: len(before[f.Name]) == 0, Removed: len(after[f.Name]) == 0})
			}
		}
	}
	return changes
}

// A Change is a field that differs between two keys.
type Change struct {
	Name, Old, New string
	Added, Removed bool
}
