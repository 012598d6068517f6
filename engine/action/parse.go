package action

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"vfsb/cache"
)

// Parse reads back what Spec has written, but for labels, which a spec does not hold. The script of the action must be
// script, or nil where it has none.
func Parse(spec, script []byte) (*Action, error) {
	a := &Action{Script: script, Env: map[string]string{}}
	mounts := map[string]int{}
	for i, line := range bytes.Split(bytes.TrimSuffix(spec, []byte("\n")), []byte("\n")) {
		name, quoted, _ := strings.Cut(string(line), "\t")
		value, err := strconv.Unquote(quoted)
		if err == nil {
			err = a.parse(name, value, mounts)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d of the action's spec, %.100q: %w", i+1, line, err)
		}
	}
	// What is not understood, or not the script's, would be lost on the way.
	if !bytes.Equal(a.Spec(), spec) {
		return nil, fmt.Errorf("the action's spec has something that this vfsb does not know, or is not of this script")
	}
	return a, nil
}

// parse adds one field.
func (a *Action) parse(name, value string, mounts map[string]int) (err error) {
	kind, rest, _ := strings.Cut(name, " ")
	switch kind {
	case "rule":
		a.Rule = value
	case "builtin":
		a.Builtin = value
	case "sandbox":
		a.Sandbox, err = strconv.Atoi(value)
	case "exec":
		a.Exec = value
	case "personality":
		a.Linux32 = true
	case "env":
		a.Env[rest] = value
	case "script": // compared in the end
	case "layer":
		at, _, ordered := strings.Cut(rest, " ")
		i, known := mounts[at]
		if !known {
			i = len(a.Mounts)
			mounts[at] = i
			a.Mounts = append(a.Mounts, Mount{At: at, Ordered: ordered})
		}
		m := &a.Mounts[i]
		tar, err := cache.ParseDigest(value)
		if err != nil {
			return err
		}
		m.Layers = append(m.Layers, Layer{Tar: tar, Label: tar.Hex()})
	case "emulator":
		if a.Emulator == nil {
			a.Emulator = &Emulator{}
		}
		if arch, ok := strings.CutPrefix(rest, "of "); ok {
			a.Emulator.Arch, a.Emulator.Program = arch, value
			return nil
		}
		a.Emulator.Tar, err = cache.ParseDigest(value)
		a.Emulator.Label = a.Emulator.Tar.Hex()
	case "file":
		d, err := cache.ParseDigest(value)
		if err != nil {
			return err
		}
		a.Files = append(a.Files, File{At: rest, Digest: d})
	case "drop":
		a.Drop = append(a.Drop, value)
	case "attr":
		attr, err := parseAttr(value)
		attr.Path = rest
		a.Attrs = append(a.Attrs, attr)
		return err
	default: // of a builtin
		a.Settings = append(a.Settings, Field{Name: name, Value: value})
	}
	return err
}

// parseAttr reads what attrText has written.
func parseAttr(text string) (cache.Attr, error) {
	var attr cache.Attr
	for text != "" {
		var word string
		if caps, ok := strings.CutPrefix(text, "caps="); ok {
			attr.Caps = caps
			break
		}
		word, text, _ = strings.Cut(text, " ")
		name, value, _ := strings.Cut(word, "=")
		base := 10
		if name == "mode" {
			base = 8
		}
		n, err := strconv.ParseUint(value, base, 31)
		if err != nil {
			return attr, err
		}
		mode, id := uint32(n), int(n)
		switch name {
		case "mode":
			attr.Mode = &mode
		case "uid":
			attr.UID = &id
		case "gid":
			attr.GID = &id
		}
	}
	return attr, nil
}
