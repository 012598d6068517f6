package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/rogpeppe/go-internal/testscript"

	"vfsb/cache"
	"vfsb/cache/cachetest"
	"vfsb/engine"
)

// workspace makes a workspace with packages n0 … n(count-1); each needs two of those
// before it and takes a moment.
func workspace(t *testing.T, count int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range count {
		deps := ""
		script := ""
		for _, d := range []int{i - 1, i - 3} {
			if d >= 0 {
				deps += fmt.Sprintf("%q, ", fmt.Sprintf("//n%d", d))
				script += fmt.Sprintf("cat /sysroot/usr/n%d >> /out/usr/n%d; ", d, i)
			}
		}
		writePackage(t, dir, fmt.Sprintf("n%d", i), fmt.Sprintf("  script {\n    deps = [%s]\n    script = <<-SH\n      mkdir -p /out/usr; sleep 0.02; echo %d > /out/usr/n%d\n      %s\n      head -c 200000 /dev/zero > /out/usr/big%d; chmod 4755 /out/usr/big%d\n    SH\n  }\n", deps, i, i, script, i, i))
	}
	if err := setUpWorkspace(&testscript.Env{WorkDir: dir}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// writePackage adds a package with the given body to a workspace.
func writePackage(t *testing.T, ws, name, body string) {
	t.Helper()
	path := filepath.Join(ws, "packages", name, "package.hcl")
	text := fmt.Sprintf("package %q {\n%s}\n", name, body)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// events parses what build --json printed.
func events(t *testing.T, out []byte) []engine.Event {
	t.Helper()
	var list []engine.Event
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var ev engine.Event
		if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		list = append(list, ev)
	}
	return list
}

// digests is "label key layer" of every finished node.
func digests(t *testing.T, out []byte) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, ev := range events(t, out) {
		if ev.Event == engine.EventFinished && ev.Layer != "" {
			m[ev.Label] = ev.Key + " " + ev.Layer
		}
	}
	return m
}

// build runs vfsb build --json and returns its standard output.
func build(t *testing.T, store string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("vfsb", append([]string{"--store", store, "build", "--json"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("vfsb %v: %v\n%s\n%s", args, err, stderr.String(), out)
	}
	return out
}

func equalDigests(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(want) == 0 {
		t.Fatal("no node finished: the comparison would show nothing")
	}
	for label, w := range want {
		if got[label] != w {
			t.Errorf("%s: %s; want %s", label, got[label], w)
		}
	}
}

// TestKillAnywhere kills builds with SIGKILL at random moments. The next build must
// work, leave nothing of the killed ones, and come to the digests of an undisturbed one.
func TestKillAnywhere(t *testing.T) {
	ws := workspace(t, 12)
	clean := digests(t, build(t, filepath.Join(t.TempDir(), "clean"), "-C", ws, "//...:amd64"))

	store := filepath.Join(t.TempDir(), "store")
	kills := 0
	for i := range 25 {
		cmd := exec.Command("vfsb", "--store", store, "-C", ws, "build", "-j", "3", "//...:amd64")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-time.After(time.Duration(20+rand.IntN(60*(i+2))) * time.Millisecond):
			cmd.Process.Kill()
			<-done
			kills++
		case err := <-done:
			if err != nil {
				t.Fatalf("build %d after %d kills: %v", i, kills, err)
			}
			os.RemoveAll(filepath.Join(store, "results")) // so that there is something to do and to kill
		}
	}
	if kills < 10 {
		t.Errorf("only %d of 25 builds were killed", kills)
	}
	equalDigests(t, digests(t, build(t, store, "-C", ws, "//...:amd64")), clean)
	verifyStore(t, store, clean)
	if left, _ := filepath.Glob(filepath.Join(store, "run", "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCollectDuringBuilds removes all that may go, again and again, while two processes build; every other gc is killed.
// No build fails, and each comes to the digests of an undisturbed one.
func TestCollectDuringBuilds(t *testing.T) {
	ws := workspace(t, 8)
	clean := digests(t, build(t, filepath.Join(t.TempDir(), "clean"), "-C", ws, "//...:amd64"))

	store := filepath.Join(t.TempDir(), "store")
	var rebuilt atomic.Int64
	var builds sync.WaitGroup
	for range 2 {
		builds.Go(func() {
			for rebuilt.Load() < 30 && !t.Failed() {
				cmd := exec.Command("vfsb", "--store", store, "-C", ws, "build", "--json", "-j", "2", "//...:amd64")
				var stderr strings.Builder
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil {
					t.Errorf("%v\n%s\n%s", err, stderr.String(), out)
					return
				}
				rebuilt.Add(int64(strings.Count(string(out), `"rebuilt":true`)))
				equalDigests(t, digests(t, out), clean)
			}
		})
	}
	ended := make(chan struct{})
	go func() { builds.Wait(); close(ended) }()
	for i, running := 0, true; running; i++ {
		cmd := exec.Command("vfsb", "--store", store, "-C", ws, "gc", "--max-size", "1", "--current", "--sources")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
			cmd.Process.Kill()
		}
		if err := cmd.Wait(); err != nil && i%2 == 0 {
			t.Errorf("gc: %v\n%s", err, out.String())
		}
		select {
		case <-ended:
			running = false
		default:
		}
	}
	equalDigests(t, digests(t, build(t, store, "-C", ws, "//...:amd64")), clean)
	verifyStore(t, store, clean)
	if left, _ := filepath.Glob(filepath.Join(store, "run", "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// verifyStore reads every layer that the results name and compares it with its digest.
func verifyStore(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	store, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for label, d := range want {
		key, _, _ := strings.Cut(d, " ")
		k, err := cache.ParseDigest(key)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := store.Result(k)
		if !ok {
			t.Errorf("%s: no result", label)
			continue
		}
		if err := store.VerifyLayer(r.Layer); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
}

// TestTwoProcesses builds the same nodes from two processes with one store: each node
// is executed once, by one of them.
func TestTwoProcesses(t *testing.T) {
	ws := workspace(t, 8)
	store := filepath.Join(t.TempDir(), "store")
	type result struct {
		out []byte
		err error
	}
	results := make(chan result, 2)
	for range 2 {
		go func() {
			out, err := exec.Command("vfsb", "--store", store, "-C", ws, "build", "--json", "-j", "2", "//...:amd64").Output()
			results <- result{out, err}
		}()
	}
	executed := map[string]int{}
	for range 2 {
		r := <-results
		if r.err != nil {
			t.Fatalf("%v\n%s", r.err, r.out)
		}
		finished := 0
		for _, ev := range events(t, r.out) {
			if ev.Event == engine.EventFinished {
				finished++
				if ev.Status == engine.Executed {
					executed[ev.Label]++
				}
			}
		}
		if finished != 9 { // and the seed
			t.Errorf("a process finished %d nodes, want 9", finished)
		}
	}
	if len(executed) != 9 {
		t.Errorf("%d nodes were executed, want 9: %v", len(executed), executed)
	}
	for label, n := range executed {
		if n != 1 {
			t.Errorf("%s was executed %d times", label, n)
		}
	}
}

// TestRootAndUser compares every key and layer of a build as root with one as an
// ordinary user, into another store. As an ordinary user it compares two users' worth
// of the same: then it shows only that stores do not matter.
func TestRootAndUser(t *testing.T) {
	ws := workspace(t, 6)
	mine := digests(t, build(t, filepath.Join(t.TempDir(), "mine"), "-C", ws, "//...:amd64"))
	dir := t.TempDir()
	other := filepath.Join(dir, "ws")
	if err := copyTree(ws, other); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("vfsb", "--store", filepath.Join(dir, "store"), "-C", other, "build", "--json", "--out", filepath.Join(dir, "out"), "//...:amd64")
	cmd.Env = append(os.Environ(), "HOME="+dir)
	if os.Getuid() == 0 {
		const user = 65534
		chownTree(t, dir, user)
		openPath(t, dir)
		openPath(t, mustLook(t, "vfsb"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	equalDigests(t, digests(t, out), mine)
}

func mustLook(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func chownTree(t *testing.T, dir string, id int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, id, id))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// openPath lets other users pass through the folders above path, those that the test made.
func openPath(t *testing.T, path string) {
	t.Helper()
	for d := filepath.Dir(path); strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	seed, _, err := busyboxSeed()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(filepath.Dir(seed), 0o755), os.Chmod(seed, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk builds into a store on a small tmpfs that is nearly full, and again
// after there is room.
func TestFullDisk(t *testing.T) {
	ws := workspace(t, 12)
	clean := digests(t, build(t, filepath.Join(t.TempDir(), "clean"), "-C", ws, "//...:amd64"))
	dir := t.TempDir()
	script := `
set -e
mount -t tmpfs -o size=64m,mode=755 tmpfs "$1"
head -c 58M /dev/zero > "$1/filler"
if vfsb --store "$1/store" -C "$2" build //...:amd64 2>"$3/full"; then echo "a full disk went unnoticed"; exit 1; fi
rm "$1/filler"
exec vfsb --store "$1/store" -C "$2" build --json //...:amd64
`
	point := filepath.Join(dir, "disk")
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	flags := []string{"-m"}
	if os.Getuid() != 0 {
		flags = []string{"-Urm"}
	}
	cmd := exec.Command("unshare", append(flags, "sh", "-c", script, "sh", point, ws, dir)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	full, _ := os.ReadFile(filepath.Join(dir, "full"))
	if err != nil {
		t.Fatalf("%v\n%s\n%s\nwhile full:\n%s", err, stderr.String(), out, full)
	}
	if !strings.Contains(string(full), "no space left on device") {
		t.Errorf("the error does not say that the disk is full:\n%s", full)
	}
	equalDigests(t, digests(t, out), clean)
}

// TestFullDiskFetch fetches onto a disk that is too small: the disk is at fault, not who has the source.
func TestFullDiskFetch(t *testing.T) {
	ws := workspace(t, 0)
	source := bytes.Repeat([]byte("source "), 1<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(source) }))
	t.Cleanup(server.Close)
	writePackage(t, ws, "big", fmt.Sprintf("  source {\n    url    = %q\n    sha256 = \"%x\"\n  }\n  script {\n    script = \"true\"\n  }\n", server.URL+"/big.tar", sha256.Sum256(source)))
	mirror := t.TempDir()
	if err := os.WriteFile(filepath.Join(mirror, "big.tar"), source, 0o644); err != nil {
		t.Fatal(err)
	}
	flags := []string{"-m"}
	if os.Getuid() != 0 {
		flags = []string{"-Urm"}
	}
	const script = `mount -t tmpfs -o size=4m,mode=755 tmpfs "$1" && exec vfsb --store "$1/store" -C "$2" fetch //big:amd64 --mirror "$3"`
	for _, from := range []string{mirror, ""} {
		out, err := exec.Command("unshare", append(flags, "sh", "-c", script, "sh", t.TempDir(), ws, from)...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitInternal || !strings.Contains(string(out), "the disk is full") || strings.Contains(string(out), "cannot be fetched") {
			t.Errorf("from %q: %v\n%s", from, err, out)
		}
	}
}

// TestFullWorker: the first worker's disk, a small tmpfs, is too small for what the script makes; another one's is not.
func TestFullWorker(t *testing.T) {
	ws, dir := workspace(t, 1), t.TempDir()
	writePackage(t, ws, "large", "  script {\n    script = \"mkdir /out/usr; head -c 40000000 /dev/zero > /out/usr/large\"\n  }\n")
	vfsb, err := exec.LookPath("vfsb")
	if err != nil {
		t.Fatal(err)
	}
	flags := "-m"
	if os.Getuid() != 0 {
		flags = "-Urm"
	}
	small := filepath.Join(dir, "small")
	text := fmt.Sprintf("#!/bin/sh\nexec unshare %s sh -c 'mount -t tmpfs -o size=32m,mode=755 tmpfs %s; VFSB_STORE=%[2]s/store exec %s \"$@\"' sh \"$@\"\n",
		flags, filepath.Join(dir, "disk"), vfsb)
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "disk"), 0o755), os.WriteFile(small, []byte(text), 0o755)); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	server := &cachetest.Server{Worker: func(ctx context.Context, root string, command *repb.Command) (int, []byte, []byte) {
		if calls.Add(1) == 1 {
			return cachetest.RunHere(small)(ctx, root, command)
		}
		return cachetest.RunHere(vfsb, "VFSB_STORE="+filepath.Join(dir, "worker"))(ctx, root, command)
	}}
	server.Start(t, "grpc")
	out := string(build(t, filepath.Join(dir, "store"), "-C", ws, "--exec", server.URL, "//large"))
	if !strings.Contains(out, "No space left on device") && !strings.Contains(out, "no space left on device") || calls.Load() != 2 {
		t.Errorf("executed %d times, and it does not say why:\n%s", calls.Load(), out)
	}
}

// TestInterrupt: the first interrupt ends the build cleanly, with its exit code, and
// leaves no process; what was finished is kept.
func TestInterrupt(t *testing.T) {
	ws := workspace(t, 2)
	writePackage(t, ws, "forever", "  script {\n    deps = [\"//n1\"]\n    script = \"echo begun; sleep 1000\"\n  }\n")
	store := filepath.Join(t.TempDir(), "store")
	trace := filepath.Join(t.TempDir(), "trace.json")
	cmd := exec.Command("vfsb", "--store", store, "-C", ws, "build", "--json", "--trace", trace, "//forever")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"event":"phase","label":"//forever@build:amd64"`) {
			break
		}
	}
	cmd.Process.Signal(os.Interrupt)
	for lines.Scan() {
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("ended with %v; want exit code %d", err, exitInterrupted)
	}
	if got := on(readTrace(t, trace), jobTrack, loadTrack); !slices.Contains(got, "//forever@build:amd64 <nil>") {
		t.Errorf("the node that was interrupted is not in the trace: %q", got)
	}
	if out := string(build(t, store, "-C", ws, "//n1")); strings.Contains(out, `"executed"`) {
		t.Errorf("what was finished before the interrupt is lost:\n%s", out)
	}
	if left, _ := filepath.Glob(filepath.Join(store, "run", "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSuspend: ^Z stops what runs in sandboxes, too, and fg has it go on.
func TestSuspend(t *testing.T) {
	ws := workspace(t, 0)
	writePackage(t, ws, "forever", "  script {\n    script = \"sleep 1000\"\n  }\n")
	cmd := exec.Command("vfsb", "--store", filepath.Join(t.TempDir(), "store"), "-C", ws, "build", "//forever")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() }) // if it failed
	await := func(what, states string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			state := descendant(cmd.Process.Pid, "sleep")
			if own := processes()[cmd.Process.Pid].state; state != "" && strings.Contains(states, state) && strings.Contains(states, own) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: sleep is in state %q, vfsb in %q", what, state, processes()[cmd.Process.Pid].state)
			}
		}
	}
	await("before", "SR")
	cmd.Process.Signal(syscall.SIGTSTP)
	await("stopped", "T")
	cmd.Process.Signal(syscall.SIGCONT)
	await("afterwards", "SR")
	cmd.Process.Signal(os.Interrupt)
	if cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("ended with %v", cmd.ProcessState)
	}
}

// A process is what /proc/PID/stat tells of one.
type process struct {
	name, state string
	parent      int
}

func processes() map[int]process {
	all := map[int]process{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		head, rest, _ := strings.Cut(string(b), ") ")
		var p process
		var pid int
		fmt.Sscanf(head, "%d (%s", &pid, &p.name)
		fmt.Sscanf(rest, "%s %d", &p.state, &p.parent)
		all[pid] = p
	}
	return all
}

// descendant returns the state of the process name below pid, "" if there is none.
func descendant(pid int, name string) string {
	all := processes()
	for _, p := range all {
		for up := p.parent; p.name == name && up != 0; up = all[up].parent {
			if up == pid {
				return p.state
			}
		}
	}
	return ""
}
