package cache

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// children are what the test binary does when it is run again as another process, another user or in a namespace.
var children = map[string]func(dir string) error{
	"torture":  childTorture,
	"capture":  childCapture,
	"setcap":   childSetcap,
	"remove":   childRemove,
	"deep":     childRemoveDeep,
	"commits":  childCommits,
	"collects": childCollects,
	"puts":     childPuts,
	"diskfull": childDiskFull,
	"nospace":  childCollectsFull,
	"tornpins": childTornPins,

	"shipped":        childShipped,
	"shippedDamaged": childShippedDamaged,
}

func TestMain(m *testing.M) {
	if name := os.Getenv("CACHE_TEST_CHILD"); name != "" {
		if err := children[name](os.Getenv("CACHE_TEST_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child returns the command that runs a child on dir.
func child(name, dir string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CACHE_TEST_CHILD="+name, "CACHE_TEST_DIR="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Dir = "/"
	return cmd
}

// output runs cmd and returns what it prints.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s%s", err, out.String(), stderr.String())
	}
	return strings.TrimSpace(out.String())
}

// TestAsOrdinaryUser runs what meets hostile input again as a user without rights.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		return // this is that run
	}
	const tests = "TestImportHostile|TestCaptureBounds|TestCaptureRefuses|TestCaptureDeep"
	cmd := asUser(exec.Command("/proc/self/exe", "-test.v", "-test.run=^("+tests+")$"))
	cmd.Dir = userDir(t)
	cmd.Env = append(os.Environ(), "TMPDIR="+cmd.Dir)
	if out := output(t, cmd); strings.Count(out, "\n--- PASS") != strings.Count(tests, "|")+1 {
		t.Error(out)
	}
}

// ordinary is the user that tests of root compare with.
const ordinary = 65534

// asUser makes cmd run as an ordinary user.
func asUser(cmd *exec.Cmd) *exec.Cmd {
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}}
	}
	return cmd
}

// asNamespaceRoot makes cmd run as root of a user and a mount namespace of its own.
func asNamespaceRoot(cmd *exec.Cmd, uid, gid int) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}},
		Credential:  &syscall.Credential{NoSetGroups: true},
	}
	return cmd
}

// tempDir returns an empty folder that belongs to the ordinary user, or to this one, and that both can reach. It goes
// at the end whatever modes are in it.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cache-test-")
	check(t, err)
	t.Cleanup(func() {
		if err := Remove(dir); err != nil {
			t.Error(err)
		}
	})
	check(t, os.Chmod(dir, 0o755))
	return dir
}

func userDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(tempDir(t), "user")
	check(t, os.Mkdir(dir, 0o755))
	if os.Getuid() == 0 {
		check(t, os.Chown(dir, ordinary, ordinary))
	}
	return dir
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	check(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// wantError checks that err says what it should.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one with %q", err, text)
	}
}

// golden compares got with a file in testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		check(t, os.MkdirAll("testdata", 0o755))
		check(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs: got %d bytes, want %d (the format of layers is frozen; -update rewrites)", path, len(got), len(want))
	}
}
