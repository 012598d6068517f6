package source

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sumB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestLockRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "below", "lock.json")
	l, err := OpenLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("Save without a change wrote the file: %v", err)
	}
	upstream := Entry{Origin: Upstream, Filename: "zlib-1.3.tar.gz", SHA256: sumA, Size: 12}
	debian := Entry{Origin: DebianOrigin, Filename: "bash_5.orig.tar.xz", SHA256: sumB, Size: 0, Path: "pool/main/b/bash/bash_5.orig.tar.xz"}
	debs := []Deb{
		{Package: "make", Version: "4.3-4.1", Arch: "amd64", Path: "pool/main/m/make.deb", SHA256: sumB, Size: 2},
		{Package: "gcc", Version: "4:12.2.0-3", Arch: "amd64", Path: "pool/main/g/gcc.deb", SHA256: sumA, Size: 1},
	}
	l.SetSource("zlib/zlib", upstream)
	l.SetSource("bash/bash", debian)
	l.SetSeed("base:amd64", sumA, debs)
	want := []string{"seed base:amd64: added 2 packages", "source bash/bash: added debian bash_5.orig.tar.xz", "source zlib/zlib: added upstream zlib-1.3.tar.gz"}
	if got := l.Changed(); !slices.Equal(got, want) {
		t.Errorf("Changed() = %q, want %q", got, want)
	}
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(first), "\n    \"bash/bash\": {\"origin\":\"debian\"") {
		t.Errorf("no line for bash/bash:\n%s", first)
	}

	l, err = OpenLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := l.Source("zlib/zlib", func(Entry) bool { return true }); !ok || got != upstream {
		t.Errorf("zlib: %+v %v", got, ok)
	}
	if got, ok := l.Seed("base:amd64", sumA); !ok || len(got) != 2 || got[0].Package != "gcc" {
		t.Errorf("seed: %+v %v, want it sorted", got, ok)
	}
	if _, ok := l.Seed("base:amd64", sumB); ok {
		t.Error("a seed of another declaration was returned")
	}
	l.SetSource("zlib/zlib", upstream)
	l.SetSeed("base:amd64", sumA, debs)
	if got := l.Changed(); len(got) != 0 {
		t.Errorf("Changed() after setting what was there = %q", got)
	}
	l.SetSource("zlib/zlib", debian)
	if got := l.Changed(); len(got) != 1 || !strings.Contains(got[0], "changed debian") {
		t.Errorf("Changed() = %q", got)
	}
	l.SetSource("zlib/zlib", upstream)
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	second, _ := os.ReadFile(path)
	if string(first) != string(second) {
		t.Errorf("same entries, other bytes:\n%s\n%s", first, second)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*tmp*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestSaveAtOnce: who saves keeps what others have saved since it read the file.
func TestSaveAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "below", "lock.json")
	entry := Entry{Origin: Upstream, Filename: "f", SHA256: sumA, Size: 1}
	other := Entry{Origin: Upstream, Filename: "f", SHA256: sumB, Size: 1}
	var locks []*Lock
	for range 8 {
		l, err := OpenLock(path)
		if err != nil {
			t.Fatal(err)
		}
		locks = append(locks, l)
	}
	var all sync.WaitGroup
	for i, l := range locks {
		all.Go(func() {
			l.SetSource(fmt.Sprint("s", i), entry)
			l.SetSeed(fmt.Sprint("seed", i), sumA, []Deb{{Package: "make", Path: "make.deb", SHA256: sumA}})
			if err := l.Save(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	locks[0].SetSource("s1", other) // the newest says how it is
	if err := locks[0].Save(); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLock(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range locks {
		want := entry
		if i == 1 {
			want = other
		}
		if e, ok := l.Source(fmt.Sprint("s", i), func(Entry) bool { return true }); !ok || e != want {
			t.Errorf("s%d: %+v, %v", i, e, ok)
		}
		if _, ok := l.Seed(fmt.Sprint("seed", i), sumA); !ok {
			t.Errorf("seed%d is lost", i)
		}
	}
	// A link that leads to the file stays one.
	link := filepath.Join(t.TempDir(), "lock.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	linked, err := OpenLock(link)
	if err != nil {
		t.Fatal(err)
	}
	linked.SetSource("linked", entry)
	if err := linked.Save(); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link: %q %v", to, err)
	}
	if l, err = OpenLock(path); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.Source("linked", func(Entry) bool { return true }); !ok {
		t.Error("what was saved by the link is not in the file")
	}
	// A file that cannot be read any more is not written over.
	broken := []byte("{\n<<<<<<< HEAD\n")
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	l.SetSource("s0", other)
	if err := l.Save(); err == nil || !strings.HasPrefix(err.Error(), path+":2: ") {
		t.Errorf("a broken file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != string(broken) {
		t.Errorf("the file was written: %q %v", b, err)
	}
}

// TestImportedLocks: an imported lock file counts where the own one has no entry that fits; only the own one is written.
func TestImportedLocks(t *testing.T) {
	dir := t.TempDir()
	own, team, shipped := filepath.Join(dir, "own.json"), filepath.Join(dir, "team.json"), filepath.Join(dir, "shipped.json")
	entry := func(sum string) Entry { return Entry{Origin: Upstream, Filename: "f", SHA256: sum, Size: 1} }
	is := func(sum string) func(Entry) bool { return func(e Entry) bool { return e.SHA256 == sum } }
	debs := func(sum string) []Deb { return []Deb{{Package: "make", Path: "make.deb", SHA256: sum}} }
	write := func(path string, fill func(*Lock)) string {
		t.Helper()
		l, err := OpenLock(path)
		if err != nil {
			t.Fatal(err)
		}
		fill(l)
		if err := l.Save(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write(own, func(l *Lock) { l.SetSource("both", entry(sumA)) })
	write(team, func(l *Lock) {
		l.SetSource("both", entry(sumB))
		l.SetSource("team", entry(sumB))
		l.SetSeed("seed", sumB, debs(sumB))
	})
	before := write(shipped, func(l *Lock) {
		l.SetSource("team", entry(sumA))
		l.SetSource("shipped", entry(sumA))
		l.SetSeed("seed", sumA, debs(sumA))
	})
	l, err := OpenLock(own, team, shipped)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id, fits string
		ok       bool
	}{
		{"both", sumA, true},
		{"both", sumB, true}, // the own entry is of another declaration
		{"team", sumA, true},
		{"shipped", sumA, true},
		{"shipped", sumB, false},
	} {
		if e, ok := l.Source(c.id, is(c.fits)); ok != c.ok || ok && e.SHA256 != c.fits {
			t.Errorf("Source(%s, %.4s…) = %+v, %v; want %v", c.id, c.fits, e, ok, c.ok)
		}
	}
	everything := func(Entry) bool { return true }
	for id, want := range map[string]string{"both": sumA, "team": sumB, "shipped": sumA} {
		if e, _ := l.Source(id, everything); e.SHA256 != want {
			t.Errorf("Source(%s) is %.4s…, want the nearest, %.4s…", id, e.SHA256, want)
		}
	}
	if got, ok := l.Seed("seed", sumA); !ok || got[0].SHA256 != sumA {
		t.Errorf("Seed = %v, %v; want the one that fits", got, ok)
	}
	if got := l.Seeds()["seed"]; len(got) != 1 || got[0].SHA256 != sumB {
		t.Errorf("Seeds = %v; want the nearest", got)
	}

	l.SetSource("shipped", entry(sumA))
	l.SetSeed("seed", sumB, debs(sumB))
	if got := l.Changed(); len(got) != 0 {
		t.Errorf("setting what holds anyway changed %q", got)
	}
	l.SetSource("shipped", entry(sumB))
	l.SetSeed("seed", sumA, debs(sumA))
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(own)
	if err != nil || !strings.Contains(string(text), `"shipped"`) || !strings.Contains(string(text), `"seed"`) || strings.Contains(string(text), `"team"`) {
		t.Errorf("the own lock file does not hold its own entries and nothing else: %v\n%s", err, text)
	}
	if after, _ := os.ReadFile(shipped); string(after) != before {
		t.Errorf("the shipped lock file changed:\n%s", after)
	}
	if e, _ := l.Source("shipped", everything); e.SHA256 != sumB {
		t.Errorf("the own entry does not win: %+v", e)
	}
	if err := os.WriteFile(team, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLock(own, team, shipped); err == nil || !strings.HasPrefix(err.Error(), team+":1: ") {
		t.Errorf("a broken imported lock file: %v", err)
	}
}

func TestLockErrors(t *testing.T) {
	good := fmt.Sprintf(`{"origin":"upstream","filename":"f","sha256":%q,"size":1}`, sumA)
	for name, c := range map[string]struct {
		text string
		line int
		want string
	}{
		"empty":              {"", 1, "EOF"},
		"cut off":            {"{\n\"version\": 1,\n\"sources\": {", 3, "EOF"},
		"no object":          {"[]", 1, "object"},
		"no version":         {"{}", 1, "no version"},
		"other version":      {"{\n\"version\": 2}", 2, "version 2"},
		"unknown field":      {"{\"version\": 1,\n\"color\": 1}", 2, `"color"`},
		"unknown subfield":   {"{\"version\": 1,\n\"sources\": {\n\"a\": {\"origin\":\"upstream\",\"colour\":1}}}", 3, "colour"},
		"duplicate":          {"{\"version\": 1,\n\"sources\": {\n\"a\":" + good + ",\n\"a\":" + good + "}}", 4, "twice"},
		"conflict marker":    {"{\"version\": 1,\n\"sources\": {\n<<<<<<< HEAD\n\"a\":" + good + "}}", 3, "'<'"},
		"bad digest":         {"{\"version\": 1,\n\"sources\": {\n\"a\":" + strings.Replace(good, "aa", "zz", 1) + "}}", 3, "hex"},
		"bad origin":         {"{\"version\": 1,\n\"sources\": {\n\"a\":" + strings.Replace(good, "upstream", "heaven", 1) + "}}", 3, "heaven"},
		"bad name":           {"{\"version\": 1,\n\"sources\": {\n\"a\":" + strings.Replace(good, `"f"`, `"../f"`, 1) + "}}", 3, "plain"},
		"negative size":      {"{\"version\": 1,\n\"sources\": {\n\"a\":" + strings.Replace(good, ":1}", ":-1}", 1) + "}}", 3, "size -1"},
		"size of wrong type": {"{\"version\": 1,\n\"sources\": {\n\"a\":" + strings.Replace(good, ":1}", ":\"1\"}", 1) + "}}", 3, "size"},
		"path out":           {"{\"version\": 1,\n\"sources\": {\n\"a\":" + strings.Replace(good, ":1}", ":1,\"path\":\"../x\"}", 1) + "}}", 3, "leaves"},
		"deb without path":   {"{\"version\": 1,\n\"seeds\": {\n\"a\":{\"fingerprint\":\"\",\"debs\":[{\"package\":\"p\"}]}}}", 3, "no path"},
		"trailing text":      {"{\"version\": 1}\n{}", 2, "follows"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock.json")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := OpenLock(path)
			if err == nil {
				t.Fatal("no error")
			}
			if prefix := fmt.Sprintf("%s:%d: ", path, c.line); !strings.HasPrefix(err.Error(), prefix) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want prefix %q and %q", err, prefix, c.want)
			}
		})
	}
}

func TestSpecErrors(t *testing.T) {
	urls := []string{"https://example.test/f.tar.gz"}
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"nothing":       {Spec{}, "exactly one"},
		"two kinds":     {Spec{File: "/x", URLs: urls}, "exactly one"},
		"no digest":     {Spec{URLs: urls}, "no sha256"},
		"short digest":  {Spec{URLs: urls, SHA256: "abc"}, "64 lower-case"},
		"odd scheme":    {Spec{URLs: []string{"ftp://example.test/f"}, SHA256: sumA}, "http"},
		"debian digest": {Spec{Debian: &Debian{Suite: "trixie", Source: "zlib"}}, "sha256"},
		"debian suite":  {Spec{Debian: &Debian{Source: "zlib", SHA256: sumA}}, "suite"},
		"short commit":  {Spec{Git: &Git{URL: "x", Commit: "abc123"}}, "full commit id"},
		"file name":     {Spec{URLs: urls, SHA256: sumA, Filename: "a/b"}, "plain"},
	} {
		c.spec.ID, c.spec.Pos = "p/s", "package.hcl:5"
		_, _, err := newFetcher(t).Resolve(t.Context(), c.spec)
		if err == nil || !strings.HasPrefix(err.Error(), "package.hcl:5: source p/s: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
