package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Lock takes the lock of that name, which may be any text, for this call: two goroutines exclude each other as two
// processes do. It waits until the lock is free or ctx is done. The kernel frees the locks of a process that dies.
func (s *Store) Lock(ctx context.Context, name string) (unlock func(), err error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if unlock, err = s.TryLock(name); unlock != nil || err != nil {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", name, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// TryLock is Lock, but does not wait: it returns nil if the lock is not free.
func (s *Store) TryLock(name string) (unlock func(), err error) {
	path := filepath.Join(s.dir, "locks", fileName(name))
	f, err := tryLock(path)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if f == nil {
		return nil, nil
	}
	// The atomic makes what happened before an unlock visible to who locks next here: Go knows nothing of flock.
	s.handovers.Add(1)
	return func() {
		s.handovers.Add(1)
		// The file goes while it is locked, so that locks/ stays small; who waits for it looks at its name again.
		os.Remove(path)
		f.Close()
	}, nil
}

// tryLock locks the file path, which it makes, or returns nil if it is locked already.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && sameFile(f, path) {
		return f, nil
	}
	f.Close()
	if err == nil || errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, err
}

// lockInternal waits for one of the store's own locks, which are held for moments only.
func (s *Store) lockInternal(name string, how int) (*os.File, error) {
	path := filepath.Join(s.dir, "locks", "@"+name) // fileName never gives a name with an '@'
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f, how); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &fs.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}

// sameFile reports whether path still names the open file f.
func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// fileName turns any text into one file name: different texts give different names.
func fileName(text string) string {
	var b []byte
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '+',
			c == '.' && len(b) > 0:
			b = append(b, c)
		default:
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	if len(b) == 0 || len(b) > 200 { // '%' alone ends no escaped name
		return fmt.Sprintf("%x%%", sha256.Sum256([]byte(text)))
	}
	return string(b)
}
