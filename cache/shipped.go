package cache

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Shipped returns the folder shipped/<name>, which holds exactly the files given by relative path: what a program
// carries, as files. Where it does not lie there, or has been damaged, it is written. Nothing in it can be written to.
//
// Until Close this process holds the lock "@shipped-<name>" shared: who takes it exclusively may remove the folder, by
// renaming it below run/ first. The next call writes it again.
func (s *Store) Shipped(name string, files map[string][]byte) (string, error) {
	dir := filepath.Join(s.dir, "shipped", name)
	l, err := s.lockInternal("shipped-"+name, unix.LOCK_SH)
	if err != nil {
		return "", fmt.Errorf("unpack what is shipped: %w", err)
	}
	s.mu.Lock()
	s.inUse = append(s.inUse, l)
	s.mu.Unlock()
	if holds(dir, files) {
		return dir, nil
	}
	if err := s.writeShipped(dir, files); err != nil {
		return "", fmt.Errorf("unpack what is shipped: %w", err)
	}
	return dir, nil
}

// holds reports whether the files lie in dir with these contents. Reading them all takes about a millisecond, and it
// makes up for their not being synced: what a crash of the machine has cut short is seen here.
func holds(dir string, files map[string][]byte) bool {
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, want) {
			return false
		}
	}
	return true
}

// writeShipped writes the files into a new folder, which takes the place of dir.
func (s *Store) writeShipped(dir string, files map[string][]byte) error {
	l, err := s.lockInternal("shipped", unix.LOCK_EX) // of those who write
	if err != nil {
		return err
	}
	defer l.Close()
	if holds(dir, files) { // another process was faster
		return nil
	}
	tmp, err := s.temp("shipped")
	if err != nil {
		return err
	}
	defer Remove(tmp) // gone after the rename
	folders := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(tmp, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, files[name], 0o400); err != nil {
			return err
		}
		for d := filepath.Dir(path); d != tmp; d = filepath.Dir(d) {
			folders[d] = true
		}
	}
	// The top folder stays writable: one that is not cannot be moved into another.
	for d := range folders {
		if err := os.Chmod(d, 0o500); err != nil {
			return err
		}
	}
	if err := s.discard(dir); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// discardShipped removes what no running process has unpacked or uses; who needs it again writes it again.
func (s *Store) discardShipped() error {
	for _, name := range s.glob("shipped/*") {
		l, err := tryLock(filepath.Join(s.dir, "locks", "@shipped-"+filepath.Base(name)))
		if err != nil {
			return err
		}
		if l == nil {
			continue
		}
		err = s.discard(filepath.Join(s.dir, name))
		l.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
