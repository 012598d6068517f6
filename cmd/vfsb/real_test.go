package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vfsb/engine"
)

// TestShippedPackages loads, analyzes and renders every package for every platform:
// wrong labels, attributes, templates and shell syntax all fail here.
func TestShippedPackages(t *testing.T) {
	for _, platform := range []string{"amd64-seed", "amd64-musl", "arm64-musl", "riscv64-musl"} {
		out, err := exec.Command("vfsb", "--store", t.TempDir(), "-C", "../..", "query", "--deps", "//...:"+platform).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", platform, err, out)
		}
		if !strings.Contains(string(out), ":"+platform) {
			t.Errorf("%s: no node:\n%s", platform, out)
		}
	}
}

// shipped copies what is shipped into a new workspace.
func shipped(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"packages", "profiles", "templates", ".vfsb"} {
		if err := copyTree(filepath.Join("../..", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func edit(t *testing.T, path, old, now string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s does not contain %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, now, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// executed is the labels of what a build executed.
func executed(t *testing.T, out []byte) []string {
	t.Helper()
	var list []string
	for _, ev := range events(t, out) {
		if ev.Event == engine.EventFinished && ev.Status == engine.Executed {
			list = append(list, ev.Label)
		}
	}
	return list
}

// TestRealPackages builds shipped packages with the seed's own compiler, runs what
// came out, and shows that a patch rebuilds one package and a comment nothing after
// the package whose script it is in.
func TestRealPackages(t *testing.T) {
	ws := shipped(t)
	store := filepath.Join(t.TempDir(), "store")
	labels := []string{"-C", ws, "//zlib:amd64-seed", "//xz:amd64-seed", "//make:amd64-seed", "//bash:amd64-seed"}
	first := build(t, store, labels...)
	if got := len(executed(t, first)); got < 5 {
		t.Errorf("%d nodes were executed; the four packages and the seed are wanted\n%s", got, first)
	}
	if again := executed(t, build(t, store, labels...)); len(again) > 0 {
		t.Errorf("a second build executed %v", again)
	}
	for label, want := range map[string]string{"//bash:amd64-seed": "GNU bash, version 5.2.37", "//make:amd64-seed": "GNU Make 4.4.1"} {
		name := strings.TrimSuffix(strings.TrimPrefix(label, "//"), ":amd64-seed")
		test := "//tests/" + name + ":amd64-seed"
		addRunner(t, ws, name)
		out, err := exec.Command("vfsb", "--store", store, "-C", ws, "shell", test, "--", "/sysroot/usr/bin/"+name, "--version").CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s --version: %v\n%s\nwant %q", name, err, out, want)
		}
	}

	patch := `--- a/version.c
+++ b/version.c
@@ -1 +1,2 @@
+/* patched by a test */
 /* version.c -- distribution and version numbers. */
`
	edit(t, filepath.Join(ws, "packages/bash/package.hcl"), "  source {", "  patches = [\"patches/*.patch\"]\n  source {")
	path := filepath.Join(ws, "packages/bash/patches/comment.patch")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(patch), 0o644)); err != nil {
		t.Fatal(err)
	}
	if got := executed(t, build(t, store, labels...)); len(got) != 1 || got[0] != "//bash@seed:amd64-seed" {
		t.Errorf("a patch to bash executed %v, want bash alone", got)
	}

	edit(t, filepath.Join(ws, "packages/zlib/package.hcl"), "    bare    = true", "    bare    = true\n    prepare = \"# a comment\"")
	labels = append(labels, "//tests/zlib:amd64-seed")
	addRunner(t, ws, "zlib")
	got := executed(t, build(t, store, labels...))
	if strings.Join(got, " ") != "//zlib@seed:amd64-seed //tests/zlib@seed:amd64-seed" {
		t.Errorf("a comment in zlib and a new node after it executed %v", got)
	}
	edit(t, filepath.Join(ws, "packages/zlib/package.hcl"), "# a comment", "# another comment")
	if got := executed(t, build(t, store, labels...)); len(got) != 1 || got[0] != "//zlib@seed:amd64-seed" {
		t.Errorf("another comment in zlib executed %v, want zlib alone: its output is the same", got)
	}
}

// addRunner adds //tests/NAME, a node with the package below /sysroot.
func addRunner(t *testing.T, ws, name string) {
	t.Helper()
	path := filepath.Join(ws, "packages/tests/package.hcl")
	text, err := os.ReadFile(path)
	if err != nil {
		text = []byte("package \"tests\" {\n}\n")
	}
	block := "  script \"" + name + "\" {\n    deps   = [\"//" + name + "\"]\n    script = \"ls /sysroot/usr\"\n  }\n}\n"
	text = []byte(strings.TrimSuffix(string(text), "}\n") + block)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
		t.Fatal(err)
	}
}
