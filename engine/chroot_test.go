package engine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestInside: links are followed as if the folder were the root.
func TestInside(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755), os.WriteFile(filepath.Join(dir, "usr/bin/bash"), nil, 0o755),
		os.Symlink(dir, link), os.Symlink("usr/bin", filepath.Join(dir, "bin")), os.Symlink("/bin/bash", filepath.Join(dir, "usr/bin/sh")),
		os.Symlink("../../../../etc", filepath.Join(dir, "out")), os.Symlink("/usr", filepath.Join(dir, "abs")),
		os.Symlink("loop", filepath.Join(dir, "loop")), os.Symlink("/run/resolve.conf", filepath.Join(dir, "usr/resolv.conf")),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/": "/", "/usr/bin/bash": "/usr/bin/bash", "/bin/bash": "/usr/bin/bash", "/bin/sh": "/usr/bin/bash",
		"/out/passwd": "/etc/passwd", "/abs/bin/sh": "/usr/bin/bash", "/usr/resolv.conf": "/run/resolve.conf",
		"/../../etc": "/etc", "/none/such": "/none/such", "/loop/x": "/loop/x",
	} {
		if got := Inside(dir, name); got != want {
			t.Errorf("%s leads to %s, want %s", name, got, want)
		}
		if got := Inside(link, name); got != want {
			t.Errorf("%s leads to %s in a link to the folder, want %s", name, got, want)
		}
	}
}
