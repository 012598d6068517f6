package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A lab is a store in small: a layer with the probe, and run folders.
type lab struct {
	t   testing.TB
	dir string
}

func newLab(t testing.TB) *lab {
	dir := t.TempDir()
	l := &lab{t, dir}
	b, err := os.ReadFile(probeFile)
	if err != nil {
		t.Fatal(err)
	}
	l.write("probe/bin/probe", string(b), 0755)
	return l
}

// write makes a file below the lab, with its folders.
func (l *lab) write(name, content string, mode os.FileMode) string {
	l.t.Helper()
	p := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), mode); err != nil {
		l.t.Fatal(err)
	}
	return p
}

func (l *lab) read(name string) string {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

// spec is a run of the probe in the folder name.
func (l *lab) spec(name string, args ...string) Spec {
	l.t.Helper()
	dir := filepath.Join(l.dir, name)
	if err := os.MkdirAll(dir, 0755); err != nil {
		l.t.Fatal(err)
	}
	return Spec{Dir: dir, Root: []string{filepath.Join(l.dir, "probe")}, Argv: append([]string{"/bin/probe"}, args...), Env: []string{"PATH=/bin"}}
}

// output runs s and returns what it wrote.
func (l *lab) output(s Spec) (Result, string) {
	l.t.Helper()
	f, err := os.CreateTemp(l.dir, "log")
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	s.Stdout, s.Stderr = f, f
	r, err := Run(context.Background(), s)
	if err != nil {
		l.t.Fatal(err)
	}
	return r, l.read(filepath.Base(f.Name()))
}

// want runs s, which must succeed, and returns its output.
func (l *lab) want(s Spec) string {
	l.t.Helper()
	r, out := l.output(s)
	if r.ExitCode != 0 {
		l.t.Fatalf("exit code %d, output:\n%s", r.ExitCode, out)
	}
	return out
}

// listing lists a folder: path, mode, owner, size, content.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		fmt.Fprintf(&b, "%s %o %d:%d %d", rel, st.Mode, st.Uid, st.Gid, st.Mtim.Nano())
		if d.Type().IsRegular() {
			c, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %x", len(c), fnv1a(c))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func fnv1a(b []byte) uint64 { // FNV-1a
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// pairs splits "name\tvalue" output.
func pairs(out string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(out) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		m[k] = v
	}
	return m
}

// running returns the processes of the machine that have marker in their arguments.
func running(marker string) (pids []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, n := range names {
		b, _ := os.ReadFile(n)
		if bytes.Contains(b, []byte(marker)) {
			pid, _ := strconv.Atoi(strings.Split(n, "/")[2])
			if pid != os.Getpid() {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// waitGone waits until no process has marker, and returns how long that took.
func waitGone(t *testing.T, marker string, limit time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	for len(running(marker)) > 0 {
		if time.Since(began) > limit {
			t.Fatalf("processes are left: %v", running(marker))
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(began)
}
