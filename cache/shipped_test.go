package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var shippedFiles = map[string][]byte{
	"packages/a/package.hcl": []byte("package \"a\" {}\n"),
	"packages/a/files/etc":   []byte("x"),
	".lock.json":             {},
}

// checkShipped checks that the files lie in dir, and that nobody can write there.
func checkShipped(dir string) error {
	for name, want := range shippedFiles {
		path := filepath.Join(dir, name)
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
		for p := path; p != dir; p = filepath.Dir(p) {
			if info, err := os.Stat(p); err != nil || info.Mode()&0o222 != 0 {
				return fmt.Errorf("%s can be written to: %v, %v", p, info, err)
			}
		}
	}
	return nil
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
		if err := checkShipped(path); err != nil {
			return err
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
		if got, err := s.Shipped("d", shippedFiles); err != nil || got != path {
			return fmt.Errorf("after damage %d: %s, %v", i, got, err)
		}
		if err := checkShipped(path); err != nil {
			return fmt.Errorf("after damage %d: %w", i, err)
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

	s := openStore(t, filepath.Join(tempDir(t), "store"))
	if _, err := s.Shipped("d", shippedFiles); err != nil {
		t.Fatal(err)
	}
	other := openStore(t, s.Dir())
	if _, err := other.lockInternal("shipped-d", unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("the folder is in use, and the lock on it: %v", err)
	}
	collected := func() bool {
		t.Helper()
		_, err := other.Collect(t.Context(), CollectOptions{})
		check(t, err)
		_, err = os.Stat(filepath.Join(s.Dir(), "shipped", "d"))
		return errors.Is(err, fs.ErrNotExist)
	}
	if collected() {
		t.Error("the folder was collected while it is in use")
	}
	check(t, s.Close())
	if !collected() {
		t.Error("the folder is in use no more, and was not collected")
	}
}

// TestShippedMeanwhile: what another process has written while this one waited for its turn is taken, and not replaced
// under the eyes of those who use it.
func TestShippedMeanwhile(t *testing.T) {
	s := openStore(t, filepath.Join(tempDir(t), "store"))
	dir, err := s.Shipped("d", shippedFiles)
	check(t, err)
	aside := dir + "-aside"
	check(t, os.Rename(dir, aside))
	before, err := os.Stat(aside)
	check(t, err)

	turn, err := s.lockInternal("shipped", unix.LOCK_EX)
	check(t, err)
	done := make(chan error)
	go func() {
		_, err := s.Shipped("d", shippedFiles)
		done <- err
	}()
	time.Sleep(50 * time.Millisecond) // that it sees no folder, and waits; if it is later, it just finds one
	check(t, os.Rename(aside, dir))
	turn.Close()
	check(t, <-done)
	if after, err := os.Stat(dir); err != nil || !os.SameFile(before, after) {
		t.Errorf("the folder was replaced: %v", err)
	}
}
