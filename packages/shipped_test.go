package packages

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// vfsb is the command under test, built once; store is for the tests that need no new one.
var vfsb, store string

func TestMain(m *testing.M) {
	if given := os.Getenv(lonely); given != "" {
		vfsb, store, _ = strings.Cut(given, " ")
		os.Exit(m.Run())
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "vfsb-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		vfsb, store = filepath.Join(dir, "vfsb"), filepath.Join(dir, "store")
		if out, err := exec.Command("go", "build", "-o", vfsb, "vfsb/cmd/vfsb").CombinedOutput(); err != nil {
			panic(string(out))
		}
		return m.Run()
	}())
}

// TestEveryPackage loads, analyzes and renders every package for every platform:
// wrong labels, attributes, templates and shell syntax all fail here.
func TestEveryPackage(t *testing.T) {
	for _, platform := range []string{
		"amd64-seed", "arm64-seed", "amd64-musl", "arm64-musl", "riscv64-musl", "amd64", "arm64", "riscv64", "i686", "armv7",
	} {
		out, err := exec.Command(vfsb, "--store", t.TempDir(), "query", "--deps", "//...:"+platform).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", platform, err, out)
		}
		if !strings.Contains(string(out), ":"+platform) {
			t.Errorf("%s: no node:\n%s", platform, out)
		}
	}
}

// TestInstalled compares MacaroniOS's list of what is installed with what stage1 holds, and in which versions.
func TestInstalled(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	contents := regexp.MustCompile(`(?s)rootfs "rootfs" {.*?contents = \[(.*?)\]`).FindStringSubmatch(read("stage1/package.hcl"))
	if contents == nil {
		t.Fatal("stage1/package.hcl: no contents of rootfs")
	}
	versions := map[string]string{}
	for _, m := range regexp.MustCompile(`"//([^/"]+)"`).FindAllStringSubmatch(contents[1], -1) {
		version := regexp.MustCompile(`(?m)^  version\s*= "(.*)"`).FindStringSubmatch(read(m[1] + "/package.hcl"))
		if version == nil {
			t.Fatalf("%s/package.hcl: no version", m[1])
		}
		versions[m[1]] = strings.Replace(version[1], "-", "_p", 1) // a snapshot, as Portage writes it
	}
	entry := regexp.MustCompile(`^[a-z]+-[a-z]+/[a-z0-9+-]+ [0-9.]+(_p[0-9]+)? [0-9./]+$`)
	var last string
	for line := range strings.Lines(read("macaroni/files/installed")) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		name, rest := words[0], strings.Join(words[1:], " ")
		switch want, ok := versions[name]; {
		case !entry.MatchString(rest):
			t.Errorf("%s: not category/name, version and slot: %s", name, rest)
		case !ok:
			t.Errorf("%s is listed, and not in stage1, or listed twice", name)
		case words[2] != want:
			t.Errorf("%s is listed with %s, its version is %s", name, words[2], want)
		case name < last:
			t.Errorf("%s comes after %s", name, last)
		}
		delete(versions, name)
		last = name
	}
	for name := range versions {
		t.Errorf("%s is in stage1, and not listed", name)
	}
}

// An event is the part of vfsb's events that the tests read.
type event struct {
	Event, Label, Status, Layer, Where string
}

// build runs vfsb build --json and returns the events of finished nodes.
func build(t *testing.T, store, ws string, labels ...string) []event {
	t.Helper()
	list, _ := events(t, exec.Command(vfsb, append([]string{"--store", store, "-C", ws, "build", "--json"}, labels...)...))
	return list
}

// events runs cmd, and returns the events of finished nodes and everything that it printed.
func events(t *testing.T, cmd *exec.Cmd) (list []event, text string) {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s\n%s", cmd.Args, err, stderr.String(), out)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var ev event
		if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		if ev.Event == "finished" {
			list = append(list, ev)
		}
	}
	return list, string(out) + stderr.String()
}

// executed is the labels of the nodes that a build executed.
func executed(list []event) string {
	var labels []string
	for _, ev := range list {
		if ev.Status == "executed" {
			labels = append(labels, ev.Label)
		}
	}
	return strings.Join(labels, " ")
}

// copyWorkspace copies what is shipped into a new workspace.
func copyWorkspace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"packages", "profiles", "templates", ".vfsb"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join("..", name))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
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
	write(t, path, strings.Replace(string(text), old, now, 1))
}

// TestSeedVerbs: the locked packages can be listed, and saved as a mirror from which
// another store, without a network, makes the same seed.
func TestSeedVerbs(t *testing.T) {
	ws := copyWorkspace(t)
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(vfsb, append([]string{"-C", ws}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	store, mirror := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "mirror")
	if out := run("--store", store, "seed", "list"); !strings.Contains(out, "//seed:amd64  gcc-12 12") {
		t.Errorf("seed list does not name gcc-12:\n%s", out)
	}
	layer := func(list []event) string {
		t.Helper()
		if len(list) != 1 || list[0].Status != "executed" {
			t.Fatalf("the seed was not executed: %+v", list)
		}
		return list[0].Layer
	}
	first := layer(build(t, store, ws, "//seed:amd64-seed"))
	run("--store", store, "seed", "export", mirror)
	other := filepath.Join(t.TempDir(), "other")
	if second := layer(build(t, other, ws, "--offline", "--mirror", mirror, "//seed:amd64-seed")); second != first {
		t.Errorf("from the mirror the seed is %s, before it was %s", second, first)
	}
}

// TestRealPackages builds shipped packages with the seed's own compiler into a root
// file system, runs what came out, and shows what a patch and a comment rebuild.
func TestRealPackages(t *testing.T) {
	ws := copyWorkspace(t)
	write(t, filepath.Join(ws, "packages/box/package.hcl"), `package "box" {
  script "libc" {
    script = <<-SH
      mkdir -p /out/usr/lib/x86_64-linux-gnu /out/usr/lib64
      cp -P /usr/lib/x86_64-linux-gnu/lib{c,m,dl,tinfo}.so* /out/usr/lib/x86_64-linux-gnu/
      cp -L /lib64/ld-linux-x86-64.so.2 /out/usr/lib64/
      ln -s usr/lib64 /out/lib64
      ln -s usr/lib /out/lib
      ln -s usr/bin /out/bin
    SH
  }
  rootfs {
    contents = ["//box/libc", "//bash", "//make", "//xz", "//zlib"]
    exclude  = ["usr/include/**"]
  }
}
`)
	const box = "//box:amd64-seed"
	first := executed(build(t, store, ws, box))
	for _, label := range []string{"//bash@seed", "//make@seed", "//xz@seed", "//box@seed"} { // zlib may be there from another test
		if !strings.Contains(first, label) {
			t.Errorf("%s was not executed, but %s", label, first)
		}
	}
	if again := executed(build(t, store, ws, box)); again != "" {
		t.Errorf("a second build executed %s", again)
	}

	runs := func(want string, command ...string) {
		t.Helper()
		args := append([]string{"--store", store, "-C", ws, "shell", box, "--"}, command...)
		out, err := exec.Command(vfsb, args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v\n%s\nwant %q", command, err, out, want)
		}
	}
	runs("GNU bash, version 5.2.37", "/usr/bin/bash", "--version")
	runs("GNU Make 4.4.1", "/usr/bin/make", "--version")
	runs("xz works", "/usr/bin/bash", "-c", "echo xz works | xz | xz -d")
	runs("", "/usr/bin/bash", "-c", "[[ ! -e /usr/include && $UID = 0 ]]")

	// A patch to make: make and the box, nothing else, and it is in there.
	patch := func(args ...string) {
		t.Helper()
		args = append([]string{"--store", store, "-C", ws, "patch", "//make:amd64-seed"}, args...)
		if out, err := exec.Command(vfsb, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	patch()
	edit(t, filepath.Join(ws, "edit/make/src/version.c"), "PACKAGE_VERSION;", "PACKAGE_VERSION \"-patched\";")
	write(t, filepath.Join(ws, "edit/make/doc/a new file"), "text\n")
	if err := os.Remove(filepath.Join(ws, "edit/make/AUTHORS")); err != nil {
		t.Fatal(err)
	}
	patch("--finish", "--name", "version")
	if got, want := executed(build(t, store, ws, box)), "//make@seed:amd64-seed //box@seed:amd64-seed"; got != want {
		t.Errorf("a patch to make executed %s, want %s", got, want)
	}
	runs("GNU Make 4.4.1-patched", "/usr/bin/make", "--version")

	// A comment in zlib's script: zlib, whose bytes are the same, and nothing after it.
	edit(t, filepath.Join(ws, "packages/zlib/package.hcl"), "autotools {", "autotools {\n    prepare = \"# a comment\"")
	if got, want := executed(build(t, store, ws, box)), "//zlib@seed:amd64-seed"; got != want {
		t.Errorf("a comment in zlib executed %s, want %s", got, want)
	}
	out, err := exec.Command(vfsb, "--store", store, "-C", ws, "explain", "//zlib:amd64-seed").CombinedOutput()
	for _, want := range []string{"the script changed", "+ # a comment", "came out the same"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("explain: %v\n%s\nwant %q", err, out, want)
		}
	}
	testOwnWorkspace(t, store, ws)
}

// testOwnWorkspace: a workspace that vfsb init makes builds what it adds, and takes everything else from the store that
// TestRealPackages has filled from ws, a copy of the checkout with a patch to make.
func testOwnWorkspace(t *testing.T, store, ws string) {
	own := filepath.Join(t.TempDir(), "own")
	if out, err := exec.Command(vfsb, "--store", store, "init", "--package", "hello", own).CombinedOutput(); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	write(t, filepath.Join(own, "packages/greeting/package.hcl"), `package "greeting" {
  script {
    tools  = ["//hello"]
    script = "[[ $(hello) = hello ]]"
  }
}
`)
	if got, want := executed(build(t, store, own, "//greeting:amd64-seed", "//make:amd64-seed")), "//hello@seed:amd64-seed //greeting@seed:amd64-seed"; got != want {
		t.Errorf("a workspace of one's own executed %s, want %s", got, want)
	}
	// The same patch as in ws, alone in the package's folder, gives the same key.
	if err := os.CopyFS(filepath.Join(own, "packages/make/patches"), os.DirFS(filepath.Join(ws, "packages/make/patches"))); err != nil {
		t.Fatal(err)
	}
	got, want := build(t, store, own, "//make:amd64-seed"), build(t, store, ws, "//make:amd64-seed")
	if !slices.Equal(got, want) || executed(got) != "" {
		t.Errorf("with the patch of %s a workspace of one's own has %+v, want %+v", ws, got, want)
	}
}

// TestOtherMachine builds a package for a machine of another kind with Debian's cross compiler, and runs it under QEMU
// out of a layer: with none on PATH, and without the host's knowledge.
func TestOtherMachine(t *testing.T) {
	ws := copyWorkspace(t)
	write(t, filepath.Join(ws, "packages/box/package.hcl"), `package "box" {
  script "libc" {
    script = <<-SH
      mkdir -p /out/usr/lib
      cp -P /usr/aarch64-linux-gnu/lib/lib{c,dl}.so* /out/usr/lib/
      cp -L /usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1 /out/usr/lib/
      ln -s usr/lib /out/lib
    SH
  }
  rootfs {
    contents = ["//box/libc", "//make"]
  }
}
`)
	handlers := hostHandlers(t)
	build(t, store, ws, "//box:arm64-seed", "//qemu:arm64-seed")
	cmd := exec.Command(vfsb, "--store", store, "-C", ws, "shell", "//box:arm64-seed", "--", "make", "--version")
	cmd.Env = append(os.Environ(), "PATH=/nowhere")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Built for aarch64") {
		t.Errorf("make for arm64: %v\n%s", err, out)
	}
	if now := hostHandlers(t); now != handlers {
		t.Errorf("the host's binfmt_misc changed from %q to %q", handlers, now)
	}
}

// hostHandlers is what the host has registered in binfmt_misc, where that is mounted.
func hostHandlers(t *testing.T) string {
	t.Helper()
	var names []string
	entries, err := os.ReadDir("/proc/sys/fs/binfmt_misc")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// TestGuard: what the seed's compiler made, and a library of the seed's, do not pass where another compiler is the
// stage's and the seed's libraries are not the platform's. Where they are, they pass.
func TestGuard(t *testing.T) {
	ws := copyWorkspace(t)
	store := filepath.Join(t.TempDir(), "store")
	write(t, filepath.Join(ws, "packages/planted/package.hcl"), `package "planted" {
  script "library" {
    script = <<-SH
      mkdir -p /out/usr/lib
      cp /usr/lib/x86_64-linux-gnu/libc.a /out/usr/lib/libx.a
    SH
  }
  script "object" {
    script = <<-SH
      mkdir -p /out/usr/lib
      echo 'int x;' > x.c
      gcc -c -o /out/usr/lib/x.o x.c
      gcc -g -gz=zlib -c -o /out/usr/lib/debug.o x.c
    SH
    allow = [{ path = "usr/lib/debug.o", value = "/build/src", reason = "debugging information for the test" }]
  }
}
`)
	build(t, store, ws, "//planted/library:amd64-seed", "//planted/object:amd64-seed")

	profile := filepath.Join(ws, "profiles/seed/profile.hcl")
	edit(t, profile, "GCC: (Debian ${platform.debian}) 12.2.0", "GCC: (vfsb) 14.2.0")
	edit(t, profile, "      libraries ", "      # libraries ")
	edit(t, filepath.Join(ws, "packages/planted/package.hcl"), "    allow = ", "    # allow = ")
	out, err := exec.Command(vfsb, "--store", store, "-C", ws, "build", "-k", "//planted/library:amd64-seed", "//planted/object:amd64-seed").CombinedOutput()
	if err == nil {
		t.Error("what is planted passes")
	}
	for _, want := range []string{
		`usr/lib/libx.a: "//seed/usr/lib/x86_64-linux-gnu/libc.a" is the same file`,
		`usr/lib/x.o: "GCC: (Debian 12.2.0-14+deb12u1) 12.2.0" is another compiler`,
		`usr/lib/debug.o: "/build/src" leads to the build folder`,
		"1 cached, 2 failed",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the guard does not say %s:\n%s", want, out)
		}
	}
}
