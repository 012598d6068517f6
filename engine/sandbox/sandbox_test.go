package sandbox

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Init()
	os.Exit(m.Run())
}

// build compiles a program below testdata into dir/bin.
func build(t testing.TB, dir, name string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "bin", name), "./testdata/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestQuick(t *testing.T) {
	base := t.TempDir()
	layer := filepath.Join(base, "layer")
	build(t, layer, "probe")
	for range 20 {
		run, _ := os.MkdirTemp(base, "run")
		out, _ := os.CreateTemp(base, "out")
		began := time.Now()
		r, err := Run(context.Background(), Spec{Dir: run, Root: []string{layer}, Argv: []string{"/bin/probe", "hello"}, Env: []string{"PATH=/bin"}, Stdout: out, Stderr: out})
		b, _ := os.ReadFile(out.Name())
		t.Logf("%+v %v %s %v", r, err, bytes.TrimSpace(b), time.Since(began))
	}
}
