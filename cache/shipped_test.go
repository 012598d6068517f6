package cache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

var shippedFiles = map[string][]byte{
	"packages/a/package.hcl": []byte("package \"a\" {}\n"),
	"packages/a/files/etc":   []byte("x"),
	".lock.json":             {},
}

// checkShipped checks that the files lie in dir, and that nobody can write there.
func checkShipped(t *testing.T, dir string) {
	t.Helper()
	for name, want := range shippedFiles {
		path := filepath.Join(dir, name)
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
		for p := path; p != dir; p = filepath.Dir(p) {
			info, err := os.Stat(p)
			check(t, err)
			if info.Mode()&0o222 != 0 {
				t.Errorf("%s can be written to: %v", p, info.Mode())
			}
		}
	}
}

func childShipped(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	for range 20 {
		path, err := s.Shipped("d", shippedFiles)
		if err != nil {
			return err
		}
		if !holds(path, shippedFiles) {
			return fmt.Errorf("%s is not whole", path)
		}
	}
	return nil
}

// childShippedDamaged has the folder written again after each of several kinds of damage.
func childShippedDamaged(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	path := filepath.Join(dir, "shipped/d")
	file := filepath.Join(path, "packages/a/package.hcl")
	for i, damage := range []func() error{
		func() error { return errors.Join(os.Chmod(file, 0o600), os.Truncate(file, 3)) },
		func() error {
			return errors.Join(os.Chmod(filepath.Join(path, "packages"), 0o700), Remove(filepath.Dir(file)))
		},
		func() error { return s.discard(path) },
	} {
		if err := damage(); err != nil {
			return err
		}
		if got, err := s.Shipped("d", shippedFiles); err != nil || got != path || !holds(path, shippedFiles) {
			return fmt.Errorf("after damage %d: %s, %w", i, got, err)
		}
	}
	return nil
}

// TestShipped: several processes of an ordinary user at once find the whole folder, which nobody can write to; damage is
// mended, and the folder is locked while it is in use.
func TestShipped(t *testing.T) {
	dir := filepath.Join(userDir(t), "store")
	var several []*exec.Cmd
	for range 4 {
		cmd := asUser(child("shipped", dir))
		cmd.Stderr = os.Stderr
		check(t, cmd.Start())
		several = append(several, cmd)
	}
	for _, cmd := range several {
		check(t, cmd.Wait())
	}
	output(t, asUser(child("shippedDamaged", dir)))
	checkShipped(t, filepath.Join(dir, "shipped/d"))

	s := openStore(t, filepath.Join(tempDir(t), "store"))
	if _, err := s.Shipped("d", shippedFiles); err != nil {
		t.Fatal(err)
	}
	other := openStore(t, s.Dir())
	if _, err := other.lockInternal("shipped-d", unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("the folder is in use, and the lock on it: %v", err)
	}
	check(t, s.Close())
	l, err := other.lockInternal("shipped-d", unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		t.Fatalf("the folder is in use no more, and the lock on it: %v", err)
	}
	l.Close()
}
