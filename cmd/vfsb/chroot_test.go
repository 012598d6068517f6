package main

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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
			broken := exec.Command("sh", "-c", `(vfsb --store "$1" chroot "$2" sh -c "while :; do echo y; done"; echo $? >&2) | head -1`, "sh", store, tree)
			if out, err := broken.CombinedOutput(); err != nil || string(out) != "y\n141\n" {
				t.Errorf("into a pipe that nobody reads: %v, %q", err, out)
			}
			if got := names(t, filepath.Join(store, "run")); got != "" {
				t.Errorf("in the store lie %s", got)
			}
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

// mounting runs the script with the arguments, where it can mount; "$1" is an empty folder, "$2" a tarball of a root.
func mounting(t *testing.T, script string) (out string, code int) {
	t.Helper()
	seed, _, err := busyboxSeed()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	point := filepath.Join(dir, "disk")
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	flags := "-m"
	if os.Getuid() != 0 {
		flags = "-Urm"
	}
	cmd := exec.Command("unshare", flags, "sh", "-c", script, "sh", point, seed)
	cmd.Env = append(os.Environ(), "VFSB_STORE="+filepath.Join(dir, "store"))
	b, _ := cmd.CombinedOutput()
	return string(b), cmd.ProcessState.ExitCode()
}

// TestChrootFullDisk: a disk without room is not what the user wrote, and half a tree does not stay.
func TestChrootFullDisk(t *testing.T) {
	out, code := mounting(t, `mount -t tmpfs -o size=1m,mode=755 tmpfs "$1"; vfsb chroot --keep "$1/tree" "$2" true; code=$?; ls -A "$1"; exit $code`)
	if code != exitInternal || !strings.Contains(out, "no space left on device") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestChrootWhere: a tree may lie on another mount than the store, and hold the store; where it cannot be entered, the reason is
// the tree's and not the machine's.
func TestChrootWhere(t *testing.T) {
	const fill = `mount -t tmpfs -o mode=755 tmpfs "$1"; vfsb chroot --keep "$1/tree" "$2" true || exit; `
	for name, c := range map[string]struct {
		script, want string
		code         int
	}{
		"another mount of one file system": {fill + `mkdir "$1/bound" "$1/store"; mount --bind "$1" "$1/bound"; vfsb --store "$1/store" chroot "$1/bound/tree" sh -c 'echo > /new; echo in' && test -e "$1/tree/new" && ls -A "$1"`, "in\nbound\nstore\ntree\n", 0},
		"the store in the tree":            {fill + `vfsb --store "$1/tree/store" chroot "$1/tree" echo in && ls -A "$1"`, "in\ntree\n", 0},
		"the top of a file system":         {fill + `mv "$1"/tree/* "$1"; vfsb chroot "$1" true`, "disk is the top of a file system, ", exitUsage},
		"a file system bound there":        {fill + `mkdir "$1/bound"; mount --bind "$1/tree" "$1/bound"; vfsb chroot "$1/bound" true`, "bound is the top of a file system, ", exitUsage},
		"read-only":                        {fill + `mount -o remount,bind,ro "$1"; vfsb chroot "$1/tree" true`, "tree is on a read-only file system, ", exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			if out, code := mounting(t, c.script); code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d: %s", code, out)
			}
		})
	}
}

// TestChrootUsers: a tarball's owners are there where the machine has ids for them, and so is what chown makes, on disk, too.
func TestChrootUsers(t *testing.T) {
	seed, _, err := busyboxSeed()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	chroot := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("vfsb", append([]string{"--store", filepath.Join(dir, "store"), "chroot"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	doctor, _ := exec.Command("vfsb", "--store", filepath.Join(dir, "store"), "doctor").CombinedOutput()
	many := strings.Contains(string(doctor), "chown and su work\n")
	if os.Getuid() == 0 && !many {
		t.Errorf("root has one id: %s", doctor)
	}
	b, err := os.ReadFile(seed)
	if err != nil {
		t.Fatal(err)
	}
	var tarball bytes.Buffer
	tarball.Write(bytes.TrimRight(b, "\x00"))
	tarball.Write(make([]byte, -tarball.Len()&511))
	w := tar.NewWriter(&tarball)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "owned/", Mode: 0o2750},
		{Typeflag: tar.TypeReg, Name: "owned/file", Mode: 0o4755},
		{Typeflag: tar.TypeSymlink, Name: "owned/link", Linkname: "file"},
		{Typeflag: tar.TypeFifo, Name: "owned/fifo", Mode: 0o644},
		{Typeflag: tar.TypeReg, Name: "owned/far", Mode: 0o644, Uid: 3000000}, // of a directory service
	} {
		if h.Uid == 0 {
			h.Uid, h.Gid = 5, 6
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "root.tar")
	if err := os.WriteFile(name, tarball.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	const look = "cd /owned; stat -c '%n %u %g %a' . file fifo far; stat -c '%u %g' link; echo > new; chown 7:8 new; stat -c '%u %g' new"
	want := ". 5 6 2750\nfile 5 6 4755\nfifo 5 6 644\nfar 0 0 644\n5 6\n7 8\n"
	if !many {
		want = ". 0 0 2750\nfile 0 0 4755\nfifo 0 0 644\nfar 0 0 644\n0 0\n0 0\n"
	}
	tree := filepath.Join(dir, "tree")
	for _, args := range [][]string{{name}, {"--keep", tree, name}} {
		if out := chroot(append(args, "sh", "-c", look)...); out != want {
			t.Errorf("%q:\n%s", args, out)
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(tree, "owned"), &st); err != nil {
		t.Fatal(err)
	}
	if many == (int(st.Uid) == os.Getuid()) || os.Getuid() == 0 && (st.Uid != 5 || st.Gid != 6) {
		t.Errorf("on disk the owner is %d:%d", st.Uid, st.Gid)
	}
	chroot(tree, "sh", "-c", "chown -R 0:0 /owned") // so that the test's folder can be removed
	if got := names(t, filepath.Join(dir, "store/run")); got != "" {
		t.Errorf("in the store lie %s", got)
	}
}

// TestChrootOfAnother: a tree that root has made.
func TestChrootOfAnother(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("makes a tree for another user to enter")
	}
	dir := t.TempDir()
	seed, _, err := busyboxSeed()
	if err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(dir, "tree")
	if out, err := exec.Command("vfsb", "--store", filepath.Join(dir, "roots"), "chroot", "--keep", tree, seed, "true").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	openPath(t, tree)
	openPath(t, mustLook(t, "vfsb"))
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("vfsb", "--store", filepath.Join(dir, "store"), "chroot", tree, "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitUsage || !strings.Contains(string(out), "belongs to another user") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
