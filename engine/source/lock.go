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

	"vfsb/cache"
)

// lockVersion is the format of the lock file. A file of another version is refused.
const lockVersion = 1

// A Lock is the workspace's lock file: for every source the origin that was decided on, for every apt seed its
// packages. The file is JSON with one sorted line an entry, so that version control merges it. Its methods may be
// called concurrently.
type Lock struct {
	path string

	mu      sync.Mutex
	digest  cache.Digest // of the file as it was read or saved
	sources map[string]Entry
	seeds   map[string]lockedSeed
	changed map[string]string // "source ID" -> what happened, since the file was read or saved
}

// lockedSeed is a resolved seed. Fingerprint is the digest of the declaration that was resolved.
type lockedSeed struct {
	Fingerprint string `json:"fingerprint"`
	Debs        []Deb  `json:"debs"`
}

// OpenLock reads the lock file at path; a file that does not exist is an empty one. Errors start with file:line.
func OpenLock(path string) (*Lock, error) {
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
	l.digest = cache.DigestOf(b)
	return l, nil
}

// Source returns the entry of a source.
func (l *Lock) Source(id string) (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.sources[id]
	return e, ok
}

// SetSource records the entry of a source.
func (l *Lock) SetSource(id string, e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, had := l.sources[id]
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
	s, ok := l.seeds[id]
	if !ok || s.Fingerprint != fingerprint {
		return nil, false
	}
	return slices.Clone(s.Debs), true
}

// Seeds returns the packages of every seed, by id and architecture.
func (l *Lock) Seeds() map[string][]Deb {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string][]Deb, len(l.seeds))
	for id, s := range l.seeds {
		all[id] = slices.Clone(s.Debs)
	}
	return all
}

// SetSeed records the packages of a seed. They are kept sorted by name.
func (l *Lock) SetSeed(id, fingerprint string, debs []Deb) {
	debs = slices.Clone(debs)
	slices.SortFunc(debs, compareDebs)
	l.mu.Lock()
	defer l.mu.Unlock()
	old, had := l.seeds[id]
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

// Digest is that of the file, zero where there is none. What was changed since is not in it.
func (l *Lock) Digest() cache.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.digest
}

// Save writes the file if something changed: to a temporary file beside it, synced, then renamed.
func (l *Lock) Save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.changed) == 0 {
		return nil
	}
	text := l.format()
	if err := writeAtomic(l.path, text); err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	l.digest = cache.DigestOf(text)
	clear(l.changed)
	return nil
}

func writeAtomic(path string, b []byte) error {
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
		return fmt.Errorf("%s:%d: lock file: %w", l.path, line, err)
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
