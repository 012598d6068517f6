package cache

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pinsFile lists, by their paths below the store, what the owner of a folder needs: of run/<process>/ the process, of
// failed/<label>/ whoever enters it.
const pinsFile = "pins"

// Pin keeps layers and blobs from being collected, whichever process collects, until this one closes the store or dies.
// What is pinned need not be there: pin first, then look. What this process puts into the store is pinned already.
func (s *Store) Pin(layers []Layer, blobs []Digest) error {
	return s.pin(names(layers, blobs)...)
}

// names is the paths of layers and blobs below the store, by which pins and uses know them.
func names(layers []Layer, blobs []Digest) []string {
	return strings.Fields(string(nameLines(layers, blobs)))
}

// nameLines is names, a line each. A build with nothing to do makes them for all its nodes: hence no strings.
func nameLines(layers []Layer, blobs []Digest) []byte {
	b := make([]byte, 0, 80*(len(layers)+len(blobs)))
	for _, l := range layers {
		b = append(b, "layers/"...)
		b = append(hex.AppendEncode(b, l.Tar.Hash[:]), '\n')
	}
	for _, d := range blobs {
		b = append(b, "blobs/"...)
		b = append(hex.AppendEncode(b, d.Hash[:1]), '/')
		b = append(hex.AppendEncode(b, d.Hash[:]), '\n')
	}
	return b
}

func layerName(tar Digest) string { return "layers/" + tar.Hex() }
func blobName(d Digest) string    { return "blobs/" + d.Hex()[:2] + "/" + d.Hex() }

func (s *Store) pin(names ...string) error {
	s.pinning.Lock()
	defer s.pinning.Unlock()
	var text []byte
	for _, n := range names {
		if !s.pinned[n] {
			text = append(append(text, n...), '\n')
		}
	}
	if text == nil {
		return nil
	}
	dir, err := s.processDir()
	if err != nil {
		return err
	}
	// Collect reads the pins and moves away what is not pinned under the exclusive lock: either it sees these, or it is
	// done before the caller looks.
	l, err := s.lockInternal("collect", unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := os.OpenFile(filepath.Join(dir, pinsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil { // what comes next must not continue a torn line
		return errors.Join(err, f.Truncate(fi.Size()))
	}
	for _, n := range names {
		s.pinned[n] = true
	}
	return nil
}

// pins reads the pins of every process, but those of dead ones that somebody is removing. The caller holds the lock.
func (s *Store) pins() (map[string]bool, error) {
	pinned := map[string]bool{}
	for _, path := range s.glob("run/*/" + pinsFile) {
		if strings.HasPrefix(path, "run/"+deadPrefix) {
			continue
		}
		list, err := readNames(filepath.Join(s.dir, path))
		if err != nil {
			return nil, err
		}
		for _, n := range list {
			pinned[n] = true
		}
	}
	// Who is in a failed run's folder needs what that needs.
	for n := range pinned {
		if label, ok := strings.CutPrefix(n, "failed/"); ok {
			list, err := readNames(filepath.Join(s.dir, "failed", label, pinsFile))
			if err != nil {
				return nil, err
			}
			for _, n := range list {
				pinned[n] = true
			}
		}
	}
	return pinned, nil
}

// glob lists the paths below the store that match.
func (s *Store) glob(pattern string) []string {
	list, _ := fs.Glob(os.DirFS(s.dir), pattern) // an error is a malformed pattern
	return list
}

// readNames reads a list of names, a line each. A file that is gone is an empty one.
func readNames(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, ignore(err, fs.ErrNotExist)
	}
	return strings.Fields(string(text)), nil
}

// useGrain is how exactly the time of a use is noted: builds that have nothing to do write this seldom.
const useGrain = time.Hour

// Use notes that layers and blobs are used now, for Collect, which removes first what was not used for longest. name
// says who uses them, and replaces what that one used before: one file of all that one build uses costs a build with
// nothing to do no write for each of its nodes.
func (s *Store) Use(name string, layers []Layer, blobs []Digest) error {
	text := nameLines(layers, blobs)
	path := s.usedPath(name)
	l, err := s.lockInternal("collect", unix.LOCK_SH) // Collect removes notes under the exclusive lock
	if err != nil {
		return err
	}
	defer l.Close()
	before, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Equal(old, text) {
			return touchAt(path, before.ModTime(), time.Now())
		}
		// What is no longer used was used until then.
		still := map[string]bool{}
		for n := range strings.FieldsSeq(string(text)) {
			still[n] = true
		}
		for n := range strings.FieldsSeq(string(old)) {
			if !still[n] {
				if err := s.touchName(n, before.ModTime()); err != nil {
					return err
				}
			}
		}
	}
	tmp, err := s.temp("used")
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// UsedAgain notes that name uses now what it used before. It reports false if that is not known: ask Use.
func (s *Store) UsedAgain(name string) (bool, error) {
	l, err := s.lockInternal("collect", unix.LOCK_SH)
	if err != nil {
		return false, err
	}
	defer l.Close()
	before, err := os.Stat(s.usedPath(name))
	if err != nil {
		return false, ignore(err, fs.ErrNotExist)
	}
	return true, touchAt(s.usedPath(name), before.ModTime(), time.Now())
}

func (s *Store) usedPath(name string) string {
	return filepath.Join(s.dir, "used", DigestOf([]byte(name)).Hex())
}

// touchName notes on the layer or blob itself when it was used last, if it is there.
func (s *Store) touchName(name string, used time.Time) error {
	path := filepath.Join(s.dir, name)
	fi, err := os.Lstat(path)
	if err == nil {
		err = touchAt(path, fi.ModTime(), used)
	}
	return ignore(err, fs.ErrNotExist)
}

// touchAt sets the modification time of path, which is before, to a later one, unless that tells little more.
func touchAt(path string, before, now time.Time) error {
	if now.Sub(before) < useGrain {
		return nil
	}
	return os.Chtimes(path, now, now)
}
