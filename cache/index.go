package cache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Epoch is the modification time of every entry of every layer, in seconds since 1970: 2026-01-01T00:00:00Z.
const Epoch = 1767225600

// A Layer is the output of a node: the digest of its uncompressed tar, and that of its marshalled index. Either
// determines the other.
type Layer struct {
	Tar   Digest `json:"tar"`
	Index Digest `json:"index"`
}

// TarFile and IndexFile are the output paths of every action: its layer.
const (
	TarFile   = "layer.tar"
	IndexFile = "layer.index"
)

// A Kind says what an entry of a layer is.
type Kind byte

// The kinds, by the letters that begin the lines of an index.
const (
	File     Kind = 'f'
	Dir      Kind = 'd'
	Symlink  Kind = 'l'
	Hardlink Kind = 'h'
	Fifo     Kind = 'p'
)

// An Entry is one path of a layer, as it enters the layer's tar.
type Entry struct {
	Path     string // relative, slash separated, clean; any bytes but NUL
	Kind     Kind
	Mode     uint32 // permission bits with setuid, setgid and sticky (07777); 0777 for symlinks
	UID, GID int
	Size     int64             // files: bytes
	Hash     [32]byte          // files: SHA-256 of the content
	Link     string            // symlinks: the target; hardlinks: the path of the file, which sorts first of its names
	Xattrs   map[string]string // files and folders: user.*; files: security.capability, version 2
}

// xattrBytes is the size of the extended attributes.
func (e *Entry) xattrBytes() (n int) {
	for name, value := range e.Xattrs {
		n += len(name) + len(value)
	}
	return n
}

// Digest returns the digest of a file's content.
func (e *Entry) Digest() Digest { return Digest{e.Hash, e.Size} }

// An Index is the complete list of a layer's entries, sorted by the bytes of their paths. The layer's tar is a function
// of its index and of the bytes of its files. A hardlink carries the mode and the owner of its file.
type Index struct {
	Entries []Entry
}

// The text form is one line an entry below a line that names the version:
//
//	f MODE UID GID SIZE SHA256 PATH XATTR=VALUE...
//	d MODE UID GID PATH XATTR=VALUE...
//	l UID GID PATH TARGET
//	h PATH FILE
//	p MODE UID GID PATH
//
// Fields are separated by one space. Modes have four octal digits. Bytes outside of '!' to '~', and '%', are written as
// %XX in paths, targets and extended attributes. One index has one text.
const indexHeader = "vfsb-index 1\n"

const (
	maxName  = 255  // bytes of one component: what Linux file systems take
	maxPath  = 4095 // bytes of a path or target: PATH_MAX without the NUL
	maxID    = 1<<31 - 2
	maxXattr = 64 << 10 // bytes of one extended attribute's value: XATTR_SIZE_MAX

	// What one entry has of them: they lie in a PAX header, of which readers of tars take 1 MiB.
	maxXattrs = 512 << 10

	// What an index may cost, so that nobody's output or tar fills the memory: some 600 MB. The largest layer of the
	// shipped packages has 4,500 entries; Linux's sources are 84,000, with 4 MB of paths.
	maxEntries = 1 << 20
	maxText    = 256 << 20 // bytes of paths, targets and extended attributes
	maxIndex   = 1 << 30   // bytes of its text form: those, escaped, and 120 more for each entry
)

var errLarge = fmt.Errorf("a layer holds at most %d entries, with %d bytes of paths", maxEntries, maxText)

// CapabilityXattr is the extended attribute that holds a file's capabilities, see EncodeCaps.
const CapabilityXattr = "security.capability"

// Marshal returns the index as text. Equal indexes give equal text.
func (x *Index) Marshal() []byte {
	b := make([]byte, 0, len(indexHeader)+len(x.Entries)*140)
	b = append(b, indexHeader...)
	for i := range x.Entries {
		b = x.Entries[i].append(b)
	}
	return b
}

func (e *Entry) append(b []byte) []byte {
	b = append(b, byte(e.Kind), ' ')
	if e.Kind == File || e.Kind == Dir || e.Kind == Fifo {
		m := e.Mode
		b = append(b, '0'+byte(m>>9&7), '0'+byte(m>>6&7), '0'+byte(m>>3&7), '0'+byte(m&7), ' ')
	}
	if e.Kind != Hardlink {
		b = append(strconv.AppendInt(b, int64(e.UID), 10), ' ')
		b = append(strconv.AppendInt(b, int64(e.GID), 10), ' ')
	}
	if e.Kind == File {
		b = append(strconv.AppendInt(b, e.Size, 10), ' ')
		b = append(fmt.Appendf(b, "%x", e.Hash), ' ')
	}
	b = appendEscaped(b, e.Path)
	if e.Kind == Symlink || e.Kind == Hardlink {
		b = appendEscaped(append(b, ' '), e.Link)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		b = appendEscaped(append(b, ' '), name)
		b = appendEscaped(append(b, '='), e.Xattrs[name])
	}
	return append(b, '\n')
}

// ParseIndex reads what Marshal returns, and nothing else: the version, the order, the parents, the paths and the form
// of each field are checked.
func ParseIndex(b []byte) (*Index, error) {
	if len(b) > maxIndex {
		return nil, fmt.Errorf("index: %d bytes: %w", len(b), errLarge)
	}
	rest, ok := bytes.CutPrefix(b, []byte(indexHeader))
	if !ok {
		line, _, _ := bytes.Cut(b, []byte("\n"))
		return nil, fmt.Errorf("index: it begins with %.40q, want %q", line, strings.TrimSpace(indexHeader))
	}
	x := &Index{Entries: make([]Entry, 0, bytes.Count(rest, []byte("\n")))}
	for n := 2; len(rest) > 0; n++ {
		line, tail, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("index: line %d is cut off", n)
		}
		e, err := parseEntry(string(line))
		if err == nil {
			err = x.add(e)
		}
		if err != nil {
			return nil, fmt.Errorf("index: line %d: %w", n, err)
		}
		rest = tail
	}
	return x, nil
}

// parseEntry reads one line; Index.add checks the values.
func parseEntry(line string) (e Entry, err error) {
	f := fields{rest: line}
	kind := f.next()
	if len(kind) != 1 {
		return e, fmt.Errorf("unknown kind %.20q", kind)
	}
	e.Kind = Kind(kind[0])
	switch e.Kind {
	case File, Dir, Fifo:
		e.Mode = f.mode()
	case Symlink:
		e.Mode = 0o777
	case Hardlink:
	default:
		return e, fmt.Errorf("unknown kind %.20q", kind)
	}
	if e.Kind != Hardlink {
		e.UID, e.GID = int(f.int()), int(f.int())
	}
	if e.Kind == File {
		e.Size, e.Hash = f.int(), f.hash()
	}
	e.Path = f.text()
	if e.Kind == Symlink || e.Kind == Hardlink {
		e.Link = f.text()
	}
	for last := ""; f.err == nil && f.more(); {
		name, value, ok := strings.Cut(f.next(), "=")
		name, ok2 := unescape(name)
		value, ok3 := unescape(value)
		if !ok || !ok2 || !ok3 || name <= last {
			return e, errors.New("an extended attribute is malformed or out of order")
		}
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[name], last = value, name
	}
	return e, f.err
}

// add checks e against the entries so far and appends it. It completes a hardlink with its file's mode and owner.
func (x *Index) add(e Entry) error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	if n := len(x.Entries); n > 0 && e.Path <= x.Entries[n-1].Path {
		return fmt.Errorf("%q is out of order or named twice", e.Path)
	}
	if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
		if p, ok := x.Lookup(e.Path[:i]); !ok || p.Kind != Dir {
			return fmt.Errorf("%q: %q before it is not a folder", e.Path, e.Path[:i])
		}
	}
	if e.Mode&^0o7777 != 0 || e.UID < 0 || e.UID > maxID || e.GID < 0 || e.GID > maxID {
		return fmt.Errorf("%q: mode or owner out of range", e.Path)
	}
	switch e.Kind {
	case File:
		if e.Size < 0 || e.Size == 0 && e.Hash != sha256.Sum256(nil) {
			return fmt.Errorf("%q: size %d does not fit the hash", e.Path, e.Size)
		}
	case Symlink:
		if e.Link == "" || len(e.Link) > maxPath || strings.IndexByte(e.Link, 0) >= 0 || e.Mode != 0o777 {
			return fmt.Errorf("%q: a symlink needs a target of 1 to %d bytes and mode 0777", e.Path, maxPath)
		}
	case Hardlink:
		f, ok := x.Lookup(e.Link)
		if !ok || f.Kind != File {
			return fmt.Errorf("%q: hardlink to %q, which is no file before it", e.Path, e.Link)
		}
		e.Mode, e.UID, e.GID = f.Mode, f.UID, f.GID
	case Dir, Fifo:
	default:
		return fmt.Errorf("%q: unknown kind %q", e.Path, byte(e.Kind))
	}
	for name, value := range e.Xattrs {
		if err := checkXattr(e.Kind, name, value); err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
	}
	if e.xattrBytes() > maxXattrs {
		return fmt.Errorf("%q: more than %d bytes of extended attributes", e.Path, maxXattrs)
	}
	if len(x.Entries) == maxEntries {
		return fmt.Errorf("%q: %w", e.Path, errLarge)
	}
	x.Entries = append(x.Entries, e)
	return nil
}

// checkPath accepts clean relative paths.
func checkPath(p string) error {
	if p == "" || len(p) > maxPath || strings.IndexByte(p, 0) >= 0 {
		return fmt.Errorf("path %.80q: want 1 to %d bytes without NUL", p, maxPath)
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == "" || name == "." || name == ".." || len(name) > maxName {
			return fmt.Errorf("path %.80q: not a clean relative path of names up to %d bytes", p, maxName)
		}
	}
	return nil
}

func checkXattr(k Kind, name, value string) error {
	switch {
	case name == CapabilityXattr:
		if _, ok := normalCapability(value); !ok || k != File || len(value) != capabilityV2Size {
			return errors.New("security.capability: only files have it, in version 2")
		}
	case !keptXattr(name) || k != File && k != Dir:
		return fmt.Errorf("extended attribute %q cannot be part of a layer", name)
	case len(name) > maxName || len(value) > maxXattr || strings.ContainsAny(name, "=\x00"):
		return fmt.Errorf("extended attribute %.80q: name longer than %d bytes or with a '=', or value longer than %d bytes",
			name, maxName, maxXattr)
	}
	return nil
}

// keptXattr reports whether name is the user's own: what overlay file systems keep below user. is not.
func keptXattr(name string) bool {
	return len(name) > len("user.") && strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

// Lookup returns the entry of a path.
func (x *Index) Lookup(path string) (*Entry, bool) {
	i := sort.Search(len(x.Entries), func(i int) bool { return x.Entries[i].Path >= path })
	if i == len(x.Entries) || x.Entries[i].Path != path {
		return nil, false
	}
	return &x.Entries[i], true
}

// fields reads the fields of a line from left to right and keeps the first error.
type fields struct {
	rest string
	done bool
	err  error
}

func (f *fields) more() bool { return !f.done }

func (f *fields) next() string {
	if f.done {
		f.fail("fields are missing")
		return ""
	}
	s, rest, more := strings.Cut(f.rest, " ")
	f.rest, f.done = rest, !more
	return s
}

func (f *fields) fail(msg string) {
	if f.err == nil {
		f.err = errors.New(msg)
	}
}

func (f *fields) int() int64 {
	s := f.next()
	n, ok := parseInt(s)
	if !ok {
		f.fail(fmt.Sprintf("%.20q is not a number", s))
	}
	return n
}

func (f *fields) mode() (m uint32) {
	s := f.next()
	if len(s) != 4 {
		f.fail(fmt.Sprintf("%.20q is not a mode", s))
		return 0
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '7' {
			f.fail(fmt.Sprintf("%.20q is not a mode", s))
		}
		m = m<<3 | uint32(c-'0')
	}
	return m
}

func (f *fields) hash() [32]byte {
	s := f.next()
	h, ok := parseHash(s)
	if !ok {
		f.fail(fmt.Sprintf("%.20q is not a SHA-256", s))
	}
	return h
}

func (f *fields) text() string {
	s := f.next()
	t, ok := unescape(s)
	if !ok {
		f.fail(fmt.Sprintf("%.80q is not escaped as it should be", s))
	}
	return t
}

const upperHex = "0123456789ABCDEF"

func mustEscape(c byte) bool { return c <= ' ' || c > '~' || c == '%' }

// appendEscaped appends s with every byte that is not printable ASCII, and '%', as %XX.
func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; mustEscape(c) {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// unescape undoes appendEscaped. It reports false for any text that appendEscaped does not produce.
func unescape(s string) (string, bool) {
	i := 0
	for i < len(s) && !mustEscape(s[i]) {
		i++
	}
	if i == len(s) {
		return s, true
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		c := s[i]
		if !mustEscape(c) {
			b = append(b, c)
			continue
		}
		if c != '%' || i+2 >= len(s) {
			return "", false
		}
		hi, lo := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
		if hi < 0 || lo < 0 || !mustEscape(byte(hi<<4|lo)) {
			return "", false
		}
		b = append(b, byte(hi<<4|lo))
		i += 2
	}
	return string(b), true
}
