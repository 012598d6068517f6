package guard

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// An archive of objects, as GNU ar and BSD's write it: a header of 60 bytes and the content for each member, at even
// offsets. In a thin archive the content of all but the tables lies in files of its own.
const (
	arMagic   = "!<arch>\n"
	thinMagic = "!<thin>\n"
	arHeader  = 60
	maxNames  = 64 << 20 // bytes of the table of long names
)

// archive checks the members of an archive of size bytes.
func (c *checker) archive(r io.ReaderAt, size int64, thin bool) error {
	err := members(r, size, thin, func(name string, content *io.SectionReader) error {
		if content != nil {
			magic, err := readUpTo(content, 0, len(elf.ELFMAG))
			if err != nil || string(magic) != elf.ELFMAG {
				return err
			}
			return c.object(content, name)
		}
		member := path.Join(path.Dir(c.path), name)
		if _, ok := c.index.Lookup(member); !ok || strings.HasPrefix(name, "/") {
			c.add("", name, "is a member of this thin archive, but no file of the layer")
		}
		return nil
	})
	if err != nil {
		return c.malformed("", err)
	}
	return nil
}

// members calls do for each member, its content nil if it lies in a file of that name.
func members(r io.ReaderAt, size int64, thin bool, do func(name string, content *io.SectionReader) error) error {
	var names []byte
	for at := int64(len(arMagic)); at < size; {
		h := make([]byte, arHeader)
		if _, err := r.ReadAt(h, at); err != nil {
			return fmt.Errorf("member at %d: %w", at, err)
		}
		length, err := strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
		if err != nil || length < 0 || string(h[58:]) != "`\n" {
			return fmt.Errorf("member at %d: no header", at)
		}
		at += arHeader
		name := strings.TrimRight(string(h[:16]), " ")
		table := name == "/" || name == "/SYM64/" || name == "//"
		stored := table || !thin
		if stored && length > size-at {
			return fmt.Errorf("member %s is cut off", name)
		}
		content := io.NewSectionReader(r, at, length)
		if stored {
			at += length + length&1
		}
		switch {
		case name == "//":
			if length > maxNames {
				return errors.New("the table of long names is too large")
			}
			if names, err = readUpTo(content, 0, int(length)); err != nil {
				return err
			}
			continue
		case table:
			continue
		case !stored:
			content = nil
		}
		if name, content, err = memberName(name, names, content); err != nil {
			return err
		}
		if err := do(name, content); err != nil {
			return err
		}
	}
	return nil
}

// memberName is the whole name, and the content without it: GNU's names end in a slash, "/123" lies in the table of long
// names, BSD's "#1/123" before the content.
func memberName(name string, table []byte, content *io.SectionReader) (string, *io.SectionReader, error) {
	if length, ok := strings.CutPrefix(name, "#1/"); ok && content != nil {
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil || n < 0 || n > min(content.Size(), maxName) {
			return "", nil, fmt.Errorf("member %s has no name", name)
		}
		long, err := readUpTo(content, 0, int(n))
		return strings.TrimRight(string(long), "\x00"), io.NewSectionReader(content, n, content.Size()-n), err
	}
	if offset, ok := strings.CutPrefix(name, "/"); ok {
		offset, _, _ = strings.Cut(offset, ":") // of a member of an archive within a thin one
		n, err := strconv.Atoi(offset)
		if err != nil || n < 0 || n >= len(table) {
			return "", nil, fmt.Errorf("member %s has no name", name)
		}
		long, _, _ := bytes.Cut(table[n:], []byte("/\n"))
		return string(long[:min(len(long), maxName)]), content, nil
	}
	return strings.TrimSuffix(name, "/"), content, nil
}
