package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestChrootLeavesNothing: neither in the tree nor beside it, whether the store lies on the same file system or not.
func TestChrootLeavesNothing(t *testing.T) {
	shm, err := os.MkdirTemp("/dev/shm", "vfsb-test-")
	if err != nil {
		t.Skip("no second file system: ", err)
	}
	defer os.RemoveAll(shm)
	for what, store := range map[string]string{"same file system": filepath.Join(t.TempDir(), "store"), "another one": filepath.Join(shm, "store")} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			tree := filepath.Join(dir, "tree")
			chroot := func(args ...string) {
				t.Helper()
				if out, err := exec.Command("vfsb", append([]string{"--store", store, "chroot"}, args...)...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			seed, _, err := busyboxSeed()
			if err != nil {
				t.Fatal(err)
			}
			chroot("--keep", tree, seed, "mkdir", "-p", "/usr/more/deep")
			before := names(t, tree)
			chroot("--bind", dir+":/usr/more/deep/shown", tree, "sh", "-c", "mkdir /new /tmp/none /usr/more/new; echo > /new/file")
			if got := names(t, dir); got != "tree" {
				t.Errorf("beside the tree lie %s", got)
			}
			if got := strings.Replace(names(t, tree), " new", "", 1); got != before {
				t.Errorf("in the tree lie %s, before it were %s", got, before)
			}
			for _, name := range []string{"", "new", "usr", "usr/more", "usr/more/new", "usr/more/deep"} {
				var list [4096]byte
				if n, err := unix.Llistxattr(filepath.Join(tree, name), list[:]); err == nil && strings.Contains(string(list[:n]), "overlay") {
					t.Errorf("%q has %q", name, list[:n])
				}
			}
		})
	}
}

func names(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}
