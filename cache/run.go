package cache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// deadPrefix begins the names of what is left to be removed below run/, whoever does it.
const deadPrefix = "dead-"

// NewRun makes an empty folder below run/ that goes when release is called, at Close, or at the next Open after this
// process died. name only helps who looks at it.
func (s *Store) NewRun(name string) (dir string, release func(), err error) {
	dir, err = s.temp(fileName(name))
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return "", nil, fmt.Errorf("run folder: %w", err)
	}
	return dir, func() { Remove(dir) }, nil
}

// temp returns a path, unused and never used again, in the folder of this process.
func (s *Store) temp(name string) (string, error) {
	dir, err := s.processDir()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	return filepath.Join(dir, fmt.Sprintf("%d-%s", s.count, name)), nil
}

// processDir returns the folder of this process, which the first call makes.
func (s *Store) processDir() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == "" {
		if err := s.startProcess(); err != nil {
			return "", err
		}
	}
	return s.process, nil
}

// startProcess makes and locks the folder of this process.
func (s *Store) startProcess() error {
	// Without this lock another process could take the folder for a dead one before it is locked.
	l, err := s.lockInternal("run", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer l.Close()
	dir := filepath.Join(s.dir, "run", fmt.Sprintf("%d-%s", os.Getpid(), rand.Text()[:8]))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	f, err := tryLock(filepath.Join(dir, "lock"))
	if err != nil {
		os.Remove(dir)
		return err
	}
	s.process, s.alive = dir, f
	return nil
}

// reclaim removes the folders of dead processes.
func (s *Store) reclaim() error {
	run := filepath.Join(s.dir, "run")
	if entries, err := os.ReadDir(run); err != nil || len(entries) == 0 {
		return err
	}
	dead, err := s.findDead(run)
	for _, d := range dead {
		Remove(d) // what cannot be removed harms nobody, and the next Open tries again
	}
	return err
}

func (s *Store) findDead(run string) (dead []string, err error) {
	l, err := s.lockInternal("run", unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	entries, err := os.ReadDir(run)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(run, e.Name())
		if !strings.HasPrefix(e.Name(), deadPrefix) {
			f, err := os.Open(filepath.Join(path, "lock"))
			if err == nil {
				err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
				f.Close()
			}
			if errors.Is(err, unix.EWOULDBLOCK) {
				continue
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
				return dead, err
			}
			to := filepath.Join(run, deadPrefix+rand.Text())
			if err := os.Rename(path, to); err != nil {
				if errors.Is(err, fs.ErrNotExist) { // its process has just closed the store
					continue
				}
				return dead, err
			}
			path = to
		}
		dead = append(dead, path)
	}
	return dead, nil
}

// discard moves path, which may be visible to others, out of the way at once and removes it.
func (s *Store) discard(path string) error {
	to := filepath.Join(s.dir, "run", deadPrefix+rand.Text())
	if err := os.Rename(path, to); err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	return Remove(to)
}

// FailedDir returns where the run folder of a failed node is kept; it exists if the node has failed.
func (s *Store) FailedDir(label string) string {
	return filepath.Join(s.dir, "failed", fileName(label))
}

// PinFailed keeps FailedDir(label), and what it needs, from being collected until this process closes the store.
func (s *Store) PinFailed(label string) error { return s.pin("failed/" + fileName(label)) }

// DropFailed removes FailedDir(label), unless somebody works in it, with a lock on the folder.
func (s *Store) DropFailed(label string) error {
	dir := s.FailedDir(label)
	unlock, err := LockUnused(dir)
	if err != nil {
		return ignore(ignore(err, fs.ErrNotExist), unix.EWOULDBLOCK)
	}
	return errors.Join(s.discard(dir), unlock())
}

// LockUnused keeps others from beginning to work in the folder dir until unlock. The error is [unix.EWOULDBLOCK] if
// somebody does already.
func LockUnused(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f.Close, nil
}

// KeepFailed moves the run folder to FailedDir(label), in the place of the last one there, and returns that path. layers
// and blobs are what is needed to enter it: they go after it only, see Collect.
func (s *Store) KeepFailed(run, label string, layers []Layer, blobs []Digest) (string, error) {
	dir := s.FailedDir(label)
	if err := os.WriteFile(filepath.Join(run, pinsFile), nameLines(layers, blobs), 0o600); err != nil {
		return "", fmt.Errorf("keep the failed %s: %w", label, err)
	}
	for range 10 { // another process may put its own there between the two steps
		unlock, err := LockUnused(dir)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return "", fmt.Errorf("keep the failed %s: somebody works in that of its last run; end that vfsb shell first", label)
		}
		if err == nil {
			err = errors.Join(s.discard(dir), unlock())
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("keep the failed %s: %w", label, err)
		}
		err = os.Rename(run, dir)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("keep the failed %s: %w", label, err)
		}
	}
	return "", fmt.Errorf("keep the failed %s: another process keeps writing %s", label, dir)
}
