package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"vfsb/engine/sandbox"
)

// hostileWorkspace makes a workspace with the package bad, which runs script, and the package good.
func hostileWorkspace(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{"bad": script, "good": "echo good > /out/good"} {
		path := filepath.Join(dir, "packages", name, "package.hcl")
		text := fmt.Sprintf("package %q {\n  script {\n    script = <<-SH\n      %s\n    SH\n  }\n}\n", name, script)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := setUpWorkspace(&testscript.Env{WorkDir: dir}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestEndlessLine has a script that prints hundreds of megabytes without a line's end: vfsb does not keep them in memory,
// and loses nothing.
func TestEndlessLine(t *testing.T) {
	const size = 300 << 20 // several times what it uses at most, when the collector of garbage lags behind
	ws := hostileWorkspace(t, fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x; exit 3", size))
	cmd := exec.Command("vfsb", "--store", filepath.Join(ws, "store"), "-C", ws, "build", "//bad:amd64")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "exit status 3") {
		t.Fatalf("%v\n%.2000s", err, out)
	}
	if used := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10; used > size {
		t.Errorf("vfsb used %d MiB of memory", used>>20)
	}
	_, log, _ := strings.Cut(string(out), "log:   vfsb log //bad@build:amd64\n")
	log, _, _ = strings.Cut(log, "\n")
	if st, err := os.Stat(strings.TrimSpace(log)); err != nil || st.Size() < size {
		t.Errorf("the log: %v, %v", st, err)
	}
}

// TestDiskFullInside has a script that fills the disk: the node fails for that reason, whatever the script says, and the
// next one is built when there is room.
func TestDiskFullInside(t *testing.T) {
	ws := hostileWorkspace(t, "cat /dev/zero > /build/filler 2>/dev/null || exit 2")
	dir := t.TempDir()
	script := `
set -e
mount -t tmpfs -o size=96m,mode=755 tmpfs "$1"
if vfsb --store "$1/store" -C "$2" build //bad:amd64; then exit 1; fi
rm -rf "$1"/store/failed/*
exec vfsb --store "$1/store" -C "$2" build //good:amd64
`
	flags := []string{"-m"}
	if os.Getuid() != 0 {
		flags = []string{"-Urm"}
	}
	out, err := exec.Command("unshare", append(flags, "sh", "-c", script, "sh", dir, ws)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "exit status 2 in phase build; the disk is full (no space left on device): 0 MiB are left for "+dir+"/store") {
		t.Errorf("the error does not say that the disk is full:\n%s", out)
	}
}

// TestOutOfMemory has a script that takes more memory than there is, and says that it is fine: the node is killed for it
// and fails, and vfsb goes on. It runs in a control group of little memory, if it can make one.
func TestOutOfMemory(t *testing.T) {
	group := ""
	for _, f := range sandbox.Check(t.TempDir()) {
		if f.Name == "memory limit" && f.OK {
			_, dir, _ := strings.Cut(f.Detail, ", in ")
			group = filepath.Join(filepath.Dir(dir), fmt.Sprintf("test-%d", os.Getpid()))
		}
	}
	limit := filepath.Join(group, "memory.limit_in_bytes")
	if group == "" || os.Mkdir(group, 0o755) != nil {
		return // an ordinary user who may make no groups
	}
	defer os.Remove(group)
	if _, err := os.Stat(limit); err != nil {
		limit = filepath.Join(group, "memory.max")
	}
	if err := os.WriteFile(limit, []byte("200000000"), 0); err != nil {
		return // version 2, and this process lies beside
	}
	ws := hostileWorkspace(t, "(head -c 300000000 /dev/zero | tail -c 300000000 > /dev/null) || echo never mind")
	cmd := exec.Command("sh", "-c", `echo $$ > "$1/cgroup.procs"; shift; exec "$@"`, "sh", group,
		"vfsb", "--store", filepath.Join(ws, "store"), "-C", ws, "build", "-k", "//bad:amd64", "//good:amd64")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.Contains(string(out), "//bad@build:amd64: killed: out of memory, limit 171 MiB for all nodes that run") {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "built    //good@build:amd64") {
		t.Errorf("the other package was not built:\n%s", out)
	}
}
