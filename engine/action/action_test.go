package action

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"vfsb/cache"
)

var update = flag.Bool("update", false, "write the golden files")

func of(s string) cache.Digest { return cache.DigestOf([]byte(s)) }

// example has something in every field but Builtin, Settings and Emulator.
func example() *Action {
	mode, uid := uint32(0o4755), 7
	return &Action{
		Rule: "autotools/1", Sandbox: 1, Exec: "amd64", Linux32: true,
		Env:    map[string]string{"PATH": "/usr/bin", "CFLAGS": "-O2 \"quoted\"\nline"},
		Script: []byte("echo hello\n"),
		Mounts: []Mount{
			{At: "/", Layers: []Layer{{Tar: of("seed"), Label: "//seed@s:p"}, {Tar: of("gcc"), Label: "//gcc@s:p"}}},
			{At: "/sysroot", Ordered: true, Layers: []Layer{{Tar: of("b"), Label: "//b@s:p"}, {Tar: of("a"), Label: "//a@s:p"}}},
		},
		Files: []File{{At: "/build/sources/x.tar", Digest: of("x")}, {At: "/build/patches/a.patch", Digest: of("p")}},
		Drop:  []string{"usr/share/**"},
		Attrs: []cache.Attr{{Path: "usr/bin/su", Mode: &mode, UID: &uid, Caps: "cap_net_raw+ep"}},
	}
}

func emulated() *Action {
	a := example()
	a.Emulator = &Emulator{Layer: Layer{Tar: of("qemu"), Label: "//qemu@s:p"}, Arch: "riscv64", Program: "usr/bin/qemu"}
	return a
}

func builtin() *Action {
	return &Action{
		Rule: "rootfs/1", Builtin: "rootfs", Exec: "arm64",
		Mounts:   []Mount{{At: "/", Layers: []Layer{{Tar: of("a"), Label: "//a"}}}},
		Settings: []Field{{Name: "exclude", Value: "usr/include"}, {Name: "exclude", Value: "**/*.a"}},
	}
}

// TestGoldenKeys: a change of these files builds everything again, everywhere.
func TestGoldenKeys(t *testing.T) {
	for name, a := range map[string]*Action{"script": example(), "emulated": emulated(), "builtin": builtin()} {
		got := "key " + a.Key().String() + "\n" + string(a.Spec())
		path := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
		}
	}
}

// TestEncoding compares the messages with those of the generated code.
func TestEncoding(t *testing.T) {
	m := emulated().Messages()
	var command repb.Command
	var action repb.Action
	if err := proto.Unmarshal(m.Command, &command); err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(m.Action, &action); err != nil {
		t.Fatal(err)
	}
	if len(command.ProtoReflect().GetUnknown())+len(action.ProtoReflect().GetUnknown()) > 0 {
		t.Error("unknown fields")
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(&action)
	if err != nil || string(again) != string(m.Action) {
		t.Errorf("the action encodes as %x, want %x (%v)", m.Action, again, err)
	}
	if again, err = (proto.MarshalOptions{Deterministic: true}).Marshal(&command); err != nil || string(again) != string(m.Command) {
		t.Errorf("the command encodes as %x, want %x (%v)", m.Command, again, err)
	}
	if action.CommandDigest.Hash != cache.DigestOf(m.Command).Hex() || action.CommandDigest.SizeBytes != int64(len(m.Command)) {
		t.Error("the action names another command")
	}
	blobs := map[string][]byte{}
	for _, d := range m.Directories {
		blobs[cache.DigestOf(d).Hex()] = d
	}
	var root repb.Directory
	if err := proto.Unmarshal(blobs[action.InputRootDigest.Hash], &root); err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, f := range root.Files {
		names += f.Name + " "
	}
	for _, d := range root.Directories {
		names += d.Name + "("
		var folder repb.Directory
		if err := proto.Unmarshal(blobs[d.Digest.Hash], &folder); err != nil {
			t.Fatal(err)
		}
		for i, f := range folder.Files {
			if i > 0 && folder.Files[i-1].Name >= f.Name {
				t.Errorf("%s: %s does not come before %s", d.Name, folder.Files[i-1].Name, f.Name)
			}
		}
		names += string(rune('0'+len(folder.Files))) + ") "
	}
	if want := "script spec files(2) layers(5) "; names != want {
		t.Errorf("the input root holds %q, want %q", names, want)
	}
}

// TestKeyIgnores: what must not be in a key, and what must.
func TestKeyIgnores(t *testing.T) {
	base := example().Key()
	same := map[string]func(*Action){
		"labels":                 func(a *Action) { a.Mounts[0].Layers[0].Label = "//other" },
		"order of agreed layers": func(a *Action) { l := a.Mounts[0].Layers; l[0], l[1] = l[1], l[0] },
		"order of files":         func(a *Action) { a.Files[0], a.Files[1] = a.Files[1], a.Files[0] },
	}
	for what, change := range same {
		a := example()
		change(a)
		if a.Key() != base {
			t.Errorf("%s changed the key", what)
		}
	}
	different := map[string]func(*Action){
		"rule":                    func(a *Action) { a.Rule = "autotools/2" },
		"sandbox":                 func(a *Action) { a.Sandbox = 2 },
		"exec":                    func(a *Action) { a.Exec = "arm64" },
		"personality":             func(a *Action) { a.Linux32 = false },
		"env":                     func(a *Action) { a.Env["X"] = "" },
		"script":                  func(a *Action) { a.Script = []byte("x") },
		"layer":                   func(a *Action) { a.Mounts[0].Layers[0].Tar = of("other") },
		"where a layer lies":      func(a *Action) { a.Mounts[1].At = "/cross" },
		"order of ordered layers": func(a *Action) { l := a.Mounts[1].Layers; l[0], l[1] = l[1], l[0] },
		"file":                    func(a *Action) { a.Files[0].Digest = of("other") },
		"where a file lies":       func(a *Action) { a.Files[0].At = "/build/other" },
		"drop":                    func(a *Action) { a.Drop = nil },
		"attrs":                   func(a *Action) { a.Attrs[0].Caps = "" },
		"settings":                func(a *Action) { a.Settings = []Field{{Name: "x"}} },
	}
	seen := map[cache.Digest]string{base: "nothing"}
	for what, change := range different {
		a := example()
		change(a)
		if old, ok := seen[a.Key()]; ok {
			t.Errorf("a change of %s has the key of a change of %s", what, old)
		}
		seen[a.Key()] = what
	}
}

// TestSpecIsUnambiguous: no two lists of fields have the same text.
func TestSpecIsUnambiguous(t *testing.T) {
	a, b := builtin(), builtin()
	a.Settings = []Field{{Name: "exclude", Value: "x\"\nexclude\t\"y"}}
	b.Settings = []Field{{Name: "exclude", Value: "x"}, {Name: "exclude", Value: "y"}}
	if string(a.Spec()) == string(b.Spec()) {
		t.Error("a value with a newline looks like two fields")
	}
}

func TestDiff(t *testing.T) {
	old := []Field{{Name: "script", Value: "1"}, {Name: "layer /sysroot //zlib", Value: "2"}, {Name: "drop", Value: "a"}, {Name: "drop", Value: "b"}, {Name: "env X", Value: ""}}
	now := []Field{{Name: "script", Value: "1"}, {Name: "layer /sysroot //zlib", Value: "3"}, {Name: "drop", Value: "a"}, {Name: "file /p", Value: "4"}}
	got := Diff(old, now)
	want := []Change{
		{Name: "layer /sysroot //zlib", Old: "2", New: "3"},
		{Name: "drop", Old: "a\nb", New: "a"},
		{Name: "file /p", New: "4", Added: true},
		{Name: "env X", Removed: true},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("change %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

// TestParse: what a worker reads is the action, labels aside.
func TestParse(t *testing.T) {
	for name, a := range map[string]*Action{"script": example(), "emulated": emulated(), "builtin": builtin(), "empty": {}} {
		got, err := Parse(a.Spec(), a.Script)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Key() != a.Key() {
			t.Errorf("%s: the key of what was parsed is another:\n%s\nwant:\n%s", name, got.Spec(), a.Spec())
		}
	}
	a := example()
	for what, spec := range map[string]string{
		"another script":  string(a.Spec()),
		"an odd line":     "rule",
		"no digest":       "layer /\t\"x\"\n",
		"layers reversed": "layer / 1\t\"" + of("a").String() + "\"\n",
		"an odd number":   "sandbox\t\"07\"\n",
	} {
		if _, err := Parse([]byte(spec), []byte("x")); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, a := range []*Action{example(), emulated(), builtin()} {
		f.Add(a.Spec(), a.Script)
	}
	f.Fuzz(func(t *testing.T, spec, script []byte) {
		a, err := Parse(spec, script)
		if err == nil && string(a.Spec()) != string(spec) {
			t.Errorf("%q is read as %q", spec, a.Spec())
		}
	})
}

// TestMessagesFor: what a server must know besides is in the messages, and not in the key.
func TestMessagesFor(t *testing.T) {
	m := example().MessagesFor(map[string]string{"Pool": "big", "OSFamily": "Linux"}, 90*time.Minute)
	var action repb.Action
	if err := proto.Unmarshal(m.Action, &action); err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, p := range action.Platform.Properties {
		text += p.Name + "=" + p.Value + " "
	}
	if want := "ISA=x86-64 OSFamily=Linux Pool=big "; text != want {
		t.Errorf("the platform is %q, want %q", text, want)
	}
	if action.Timeout.GetSeconds() != 5400 {
		t.Errorf("the timeout is %v", action.Timeout)
	}
	if cache.DigestOf(m.Action) == example().Key() {
		t.Error("the digest of the message is the key")
	}
}
