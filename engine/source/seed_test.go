package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"vfsb/cache"
)

var _ Blobs = (*cache.Store)(nil)

// newFetcher returns a Fetcher with a store and a lock file of its own, and little patience.
func newFetcher(t testing.TB) *Fetcher {
	t.Helper()
	dir := t.TempDir()
	store, err := cache.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	lock, err := OpenLock(filepath.Join(dir, "lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	return &Fetcher{Store: store, Lock: lock, Notify: func(p Progress) {
		if p.Note != "" {
			t.Logf("note: %s %s %s", p.ID, p.URL, p.Note)
		}
	}, timing: timing{connect: 2 * time.Second, quick: time.Second, stall: 300 * time.Millisecond,
		backoff: time.Millisecond, backoffMax: 2 * time.Second, attempts: 3}}
}

// needArchive skips a test on a machine without apt or without a way to its archive. CI has both.
func needArchive(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if _, none := exec.LookPath("apt-get"); none != nil {
		t.Skipf("no apt here: %v", err)
	}
	if strings.Contains(err.Error(), "Temporary failure resolving") || strings.Contains(err.Error(), "Could not connect") {
		t.Skipf("no way to the archive: %v", err)
	}
	t.Fatal(err)
}

// unpackSeed resolves, fetches and unpacks a seed below dir.
func unpackSeed(t *testing.T, f *Fetcher, s AptSeed, dir string, o UnpackOptions) []Deb {
	t.Helper()
	began := time.Now()
	step := func(what string) {
		t.Logf("%s: %.2fs", what, time.Since(began).Seconds())
		began = time.Now()
	}
	ctx := context.Background()
	debs, err := f.ResolveApt(ctx, s)
	needArchive(t, err)
	step("resolve")
	var files []*os.File
	size := int64(0)
	for _, d := range debs {
		if err := f.FetchDeb(ctx, s, d); err != nil {
			t.Fatal(err)
		}
		digest, err := d.Digest()
		if err != nil {
			t.Fatal(err)
		}
		in, err := f.Store.OpenBlob(digest)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		files = append(files, in)
		size += d.Size
	}
	step(fmt.Sprintf("fetch %d packages, %d bytes", len(debs), size))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := UnpackDebs(dir, files, o); err != nil {
		t.Fatal(err)
	}
	step("unpack")
	return debs
}

// TestSeedToolchain resolves and unpacks the seed of a real build and runs its compiler. It takes a minute or two and a
// hundred megabytes from the archive: VFSB_TEST_SEED=1 runs it, VFSB_TEST_SEED=/folder keeps the tree there.
func TestSeedToolchain(t *testing.T) {
	keep := os.Getenv("VFSB_TEST_SEED")
	if keep == "" {
		t.Skip("VFSB_TEST_SEED is not set")
	}
	f := newFetcher(t)
	f.timing = timing{}
	dir := filepath.Join(t.TempDir(), "root")
	if filepath.IsAbs(keep) {
		dir = filepath.Join(keep, "root")
	}
	s := AptSeed{ID: "seed", Pos: "seed.hcl:1", Suite: "bookworm", Packages: strings.Fields("base-files bash bison binutils bzip2 coreutils cpp dash debianutils diffutils file findutils flex g++ gawk gcc gettext-base grep gzip hostname libc6-dev libc-bin m4 make patch perl pkgconf python3-minimal rsync sed tar util-linux xz-utils zstd")}
	unpackSeed(t, f, s, dir, UnpackOptions{Skeleton: true, Alternatives: ToolAlternatives()})
	files, bytes := 0, int64(0)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		files++
		bytes += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files and links, %d MB", files, bytes>>20)
	if os.Getuid() != 0 {
		t.Skip("running the compiler wants root, for chroot")
	}
	script := `set -e; : > /dev/null; cd /tmp; echo 'int main(){return 42;}' > a.c; cc -o a a.c; ./a && exit 1; test $? = 42 || true
		echo 'int main(){}' | c++ -x c++ -o b -; ./b; perl -e 'print "perl\n"'; python3 -c 'print("python")'; awk 'BEGIN{print "awk"}'; which make; id`
	out, err := exec.Command("chroot", dir, "/bin/bash", "-c", script).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// treeDigest is a digest of a tree's paths, kinds, modes, links and bytes.
func treeDigest(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if rel == "." {
			return nil
		}
		line := fmt.Sprintf("%q %v", rel, info.Mode())
		switch info.Mode().Type() {
		case 0:
			in, err := os.Open(p)
			if err != nil {
				return err
			}
			defer in.Close()
			h := sha256.New()
			if _, err := io.Copy(h, in); err != nil {
				return err
			}
			line += fmt.Sprintf(" %x", h.Sum(nil))
		case fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += " -> " + target
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return fmt.Sprintf("%x %d", sha256.Sum256([]byte(strings.Join(lines, "\n"))), len(lines))
}

// TestSeedBusybox resolves, fetches and unpacks one real package with the machine's own apt configuration.
func TestSeedBusybox(t *testing.T) {
	f := newFetcher(t)
	f.timing = timing{}
	s := AptSeed{ID: "seed", Pos: "seed.hcl:1", Suite: "bookworm", Packages: []string{"busybox-static"}}
	dir := filepath.Join(t.TempDir(), "root")
	debs := unpackSeed(t, f, s, dir, UnpackOptions{Skeleton: true, Alternatives: map[string]string{"usr/bin/awk": "gawk busybox"}})
	if len(debs) != 1 || debs[0].Package != "busybox-static" || debs[0].Arch != debianArch() || !strings.HasPrefix(debs[0].Path, "pool/main/b/busybox/") {
		t.Errorf("resolved to %+v", debs)
	}
	st, err := os.Stat(filepath.Join(dir, "usr/bin/busybox"))
	if err != nil || st.Mode() != 0o755 || st.Size() < 1<<20 {
		t.Errorf("usr/bin/busybox: %v %v", st, err)
	}
	for link, want := range map[string]string{"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "usr/bin/awk": "busybox"} {
		if got, err := os.Readlink(filepath.Join(dir, link)); got != want {
			t.Errorf("%s leads to %q (%v), want %q", link, got, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "usr/share/doc")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("usr/share/doc: %v", err)
	}
	if out, err := exec.Command(filepath.Join(dir, "bin/busybox"), "echo", "hello").Output(); string(out) != "hello\n" {
		t.Errorf("busybox: %q %v", out, err)
	}

	// The lock file has it all: no apt, no index.
	if err := f.Lock.Save(); err != nil {
		t.Fatal(err)
	}
	lock, err := OpenLock(f.Lock.path)
	if err != nil {
		t.Fatal(err)
	}
	again := &Fetcher{Store: f.Store, Lock: lock, Offline: true}
	got, err := again.ResolveApt(context.Background(), s)
	if err != nil || len(got) != 1 || got[0] != debs[0] {
		t.Errorf("from the lock file: %+v %v", got, err)
	}
}
