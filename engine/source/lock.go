package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"vfsb/cache"
)

// lockVersion is the format of the lock file. A file of another version is refused.
const lockVersion = 1

// A Lock is the workspace's lock file: for every source the origin that was decided on, for every apt seed its
// packages. Where it has no entry for a declaration, those of imported folders count; they are only read. The file is
// JSON with one sorted line an entry, so that version control merges it. Its methods may be called concurrently.
type Lock struct {
	path     string
	imported []*Lock // nearest first

	mu      sync.Mutex
	sources map[string]Entry
	seeds   map[string]lockedSeed
	changed map[string]string // "source ID" -> what happened, since the file was read or saved
}

// lockedSeed is a resolved seed. Fingerprint is the digest of the declaration that was resolved.
type lockedSeed struct {
	Fingerprint string `json:"fingerprint"`
	Debs        []Deb  `json:"debs"`
}

// OpenLock reads the lock file at path, and those of imported folders, the nearest first; a file that does not exist is
// an empty one. Errors start with file:line.
func OpenLock(path string, imported ...string) (*Lock, error) {
	l, err := readLock(path)
	if err != nil {
		return nil, err
	}
	for _, path := range imported {
		base, err := readLock(path)
		if err != nil {
			return nil, err
		}
		l.imported = append(l.imported, base)
	}
	return l, nil
}

func readLock(path string) (*Lock, error) {
	l := &Lock{path: path, sources: map[string]Entry{}, seeds: map[string]lockedSeed{}, changed: map[string]string{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	if err := l.parse(b); err != nil {
		return nil, err
	}
	return l, nil
}

// Source returns the nearest entry of a source that fits its declaration.
func (l *Lock) Source(id string, fits func(Entry) bool) (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, from := range l.all() {
		if e, ok := from.sources[id]; ok && fits(e) {
			return e, true
		}
	}
	return Entry{}, false
}

// all is the lock and the imported ones, which nobody writes to.
func (l *Lock) all() []*Lock { return append([]*Lock{l}, l.imported...) }

// SetSource records the entry of a source, unless it says what holds anyway.
func (l *Lock) SetSource(id string, e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var old Entry
	had := false
	for _, from := range l.all() {
		if old, had = from.sources[id]; had {
			break
		}
	}
	if had && old == e {
		return
	}
	l.sources[id] = e
	l.note("source "+id, had, e.Origin+" "+e.Filename)
}

// Seed returns the packages of a seed, if they were resolved from a declaration with this fingerprint.
func (l *Lock) Seed(id, fingerprint string) ([]Deb, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, from := range l.all() {
		if s, ok := from.seeds[id]; ok && s.Fingerprint == fingerprint {
			return slices.Clone(s.Debs), true
		}
	}
	return nil, false
}

// Seeds returns the packages of every seed, by id and architecture.
func (l *Lock) Seeds() map[string][]Deb {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string][]Deb{}
	for _, from := range slices.Backward(l.all()) {
		for id, s := range from.seeds {
			all[id] = slices.Clone(s.Debs)
		}
	}
	return all
}

// Digests lists every source and every package of a seed, those of imported folders too.
func (l *Lock) Digests() []cache.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []cache.Digest
	add := func(d cache.Digest, err error) {
		if err != nil {
			panic("BUG: " + err.Error()) // parse and the fetchers check entries
		}
		list = append(list, d)
	}
	for _, from := range l.all() {
		for _, id := range slices.Sorted(maps.Keys(from.sources)) {
			add(from.sources[id].Digest())
		}
		for _, id := range slices.Sorted(maps.Keys(from.seeds)) {
			for _, d := range from.seeds[id].Debs {
				add(d.Digest())
			}
		}
	}
	return list
}

// SetSeed records the packages of a seed, unless they hold anyway. They are kept sorted by name.
func (l *Lock) SetSeed(id, fingerprint string, debs []Deb) {
	debs = slices.Clone(debs)
	slices.SortFunc(debs, compareDebs)
	l.mu.Lock()
	defer l.mu.Unlock()
	var old lockedSeed
	had := false
	for _, from := range l.all() {
		if old, had = from.seeds[id]; had {
			break
		}
	}
	if had && old.Fingerprint == fingerprint && slices.Equal(old.Debs, debs) {
		return
	}
	l.seeds[id] = lockedSeed{fingerprint, debs}
	l.note("seed "+id, had, fmt.Sprintf("%d packages", len(debs)))
}

func compareDebs(a, b Deb) int {
	return strings.Compare(a.Package+"\x00"+a.Arch+"\x00"+a.Version, b.Package+"\x00"+b.Arch+"\x00"+b.Version)
}

func (l *Lock) note(key string, had bool, what string) {
	verb := "added"
	if had {
		verb = "changed"
	}
	l.changed[key] = fmt.Sprintf("%s: %s %s", key, verb, what)
}

// Changed says, one sorted line an entry, what was added or changed since the file was read or saved.
func (l *Lock) Changed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Values(l.changed))
}

// Save writes what changed into the file as it is now, with what others have saved since it was read: to a temporary
// file beside it, synced, then renamed.
func (l *Lock) Save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.changed) == 0 {
		return nil
	}
	unlock, err := lockFolder(filepath.Dir(l.path))
	if err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	defer unlock()
	now, err := readLock(l.path)
	if err != nil {
		return err
	}
	for key := range l.changed {
		switch kind, id, _ := strings.Cut(key, " "); kind {
		case "source":
			now.sources[id] = l.sources[id]
		case "seed":
			now.seeds[id] = l.seeds[id]
		}
	}
	if err := writeAtomic(l.path, now.format()); err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	clear(l.changed)
	return nil
}

// lockFolder makes dir, and keeps other processes from saving in it until unlock, where its file system has locks.
func lockFolder(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for unix.Flock(int(d.Fd()), unix.LOCK_EX) == unix.EINTR {
	}
	return d.Close, nil
}

// writeAtomic replaces the content of the file path, or of the one that a link of this name leads to.
func writeAtomic(path string, b []byte) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone after the rename
	defer tmp.Close()
	if _, err := tmp.Write(b); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// format writes one line an entry: a diff or a merge then speaks of one source or package a line.
func (l *Lock) format() []byte {
	var b bytes.Buffer
	line := func(v any) []byte {
		text, err := json.Marshal(v)
		if err != nil {
			panic("BUG: " + err.Error()) // strings and numbers only
		}
		return text
	}
	fmt.Fprintf(&b, "{\n  \"version\": %d,\n  \"sources\": {", lockVersion)
	sep := "\n"
	for _, id := range slices.Sorted(maps.Keys(l.sources)) {
		fmt.Fprintf(&b, "%s    %s: %s", sep, line(id), line(l.sources[id]))
		sep = ",\n"
	}
	b.WriteString("\n  },\n  \"seeds\": {")
	sep = "\n"
	for _, id := range slices.Sorted(maps.Keys(l.seeds)) {
		s := l.seeds[id]
		fmt.Fprintf(&b, "%s    %s: {\n      \"fingerprint\": %s,\n      \"debs\": [", sep, line(id), line(s.Fingerprint))
		sep = "\n"
		for _, d := range s.Debs {
			fmt.Fprintf(&b, "%s        %s", sep, line(d))
			sep = ",\n"
		}
		b.WriteString("\n      ]\n    }")
		sep = ",\n"
	}
	b.WriteString("\n  }\n}\n")
	return b.Bytes()
}

// parse reads the file token by token, so that a duplicate or wrong entry is reported with its line.
func (l *Lock) parse(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	fail := func(err error) error {
		offset := dec.InputOffset()
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			offset = syntax.Offset
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		line := 1 + bytes.Count(b[:min(int(offset), len(b))], []byte("\n"))
		return fmt.Errorf("%s:%d: lock file: %w; restore it, or remove it and run `vfsb fetch`", l.path, line, err)
	}
	version := 0
	err := object(dec, func(key string) error {
		switch key {
		case "version":
			if err := dec.Decode(&version); err != nil {
				return err
			}
			if version != lockVersion {
				return fmt.Errorf("version %d, this vfsb reads version %d", version, lockVersion)
			}
			return nil
		case "sources":
			return object(dec, func(id string) error {
				var e Entry
				if err := dec.Decode(&e); err != nil {
					return err
				}
				l.sources[id] = e
				return e.check()
			})
		case "seeds":
			return object(dec, func(id string) error {
				var s lockedSeed
				if err := dec.Decode(&s); err != nil {
					return err
				}
				l.seeds[id] = s
				return s.check()
			})
		}
		return fmt.Errorf("unknown field %q", key)
	})
	if err != nil {
		return fail(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fail(errors.New("more follows after the end"))
	}
	if version == 0 {
		return fail(errors.New("no version"))
	}
	return nil
}

// object reads a JSON object; member reads the value of each key. A key may not come twice.
func object(dec *json.Decoder, member func(key string) error) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return fmt.Errorf("found %v where an object should be", t)
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		key := t.(string) // the decoder accepts nothing else here
		if seen[key] {
			return fmt.Errorf("%q comes twice; was this file merged?", key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

func (e Entry) check() error {
	switch e.Origin {
	case Upstream, DebianOrigin, GitOrigin:
	default:
		return fmt.Errorf("unknown origin %q", e.Origin)
	}
	if !plainName(e.Filename) {
		return fmt.Errorf("file name %q is not a plain file name", e.Filename)
	}
	return checkLocked(e.SHA256, e.Size, e.Path)
}

func (s lockedSeed) check() error {
	for _, d := range s.Debs {
		if d.Path == "" {
			return fmt.Errorf("package %s has no path", d.Package)
		}
		if err := checkLocked(d.SHA256, d.Size, d.Path); err != nil {
			return fmt.Errorf("package %s: %w", d.Package, err)
		}
	}
	return nil
}

func checkLocked(sha256hex string, size int64, path string) error {
	if !hex64.MatchString(sha256hex) {
		return fmt.Errorf("sha256 %q is not 64 lower-case hex digits", sha256hex)
	}
	if size < 0 {
		return fmt.Errorf("size %d", size)
	}
	if path != "" && !filepath.IsLocal(path) {
		return fmt.Errorf("path %q leaves the archive", path)
	}
	return nil
}
