package source

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"vfsb/cache"
)

// repository is a Debian archive on loopback, unsigned.
type repository struct {
	url string

	mu    sync.Mutex
	files map[string]string
	log   []string // paths asked for
}

// newRepository starts an archive and makes it the machine's only one for this test.
func newRepository(t *testing.T) *repository {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip(err)
	}
	r := &repository{files: map[string]string{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.log = append(r.log, q.URL.Path)
		text, ok := r.files[q.URL.Path]
		if !ok {
			http.NotFound(w, q)
			return
		}
		w.Write([]byte(text))
	}))
	t.Cleanup(s.Close)
	r.url = s.URL + "/debian"
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"parts", "sourceparts"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("apt.conf", fmt.Sprintf("Dir::Etc %q;\nDir::Etc::sourceparts \"sourceparts\";\nDir::Etc::parts \"parts\";\n", dir))
	write("sourceparts/a.sources", "Types: deb\nURIs: "+r.url+"/\nSuites: stable stable-updates\nComponents: main\nTrusted: yes\n")
	write("sourceparts/other.list", "deb [trusted=yes] http://127.0.0.1:1/third-party stable main\n")
	t.Setenv("APT_CONFIG", filepath.Join(dir, "apt.conf"))
	return r
}

func (r *repository) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.log
	r.log = nil
	return log
}

// source adds the orig tarball of a source package to the index text and the pool.
func (r *repository) source(pkg, path, text string) string {
	r.files["/debian/"+path] = text
	dir, name := filepath.Split(path)
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("Package: %s\nVersion: 1-1\nFormat: 3.0 (quilt)\nDirectory: %s\nFiles:\n 0123 %d %s\nChecksums-Sha256:\n %x 9 %s.asc\n %x %d %s\n %x 5 x_1-1.debian.tar.xz\n\n",
		pkg, strings.TrimSuffix(dir, "/"), len(text), name, sum, name, sum, len(text), name, sum)
}

func (r *repository) deb(pkg, path, depends string) string {
	text := "deb of " + pkg
	r.files["/debian/"+path] = text
	return fmt.Sprintf("Package: %s\nVersion: 1:2.0+x-1\nArchitecture: %s\nDepends: %s\nMaintainer: x\nDescription: x\nFilename: %s\nSize: %d\nSHA256: %x\n\n",
		pkg, debianArch(), depends, path, len(text), sha256.Sum256([]byte(text)))
}

// publish writes the suite's indexes.
func (r *repository) publish(suite, sources, packages string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	release := "Origin: Debian\nLabel: Debian\nSuite: " + suite + "\nCodename: " + suite + "\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nArchitectures: " +
		debianArch() + "\nComponents: main\nSHA256:\n"
	for name, text := range map[string]string{"main/source/Sources": sources, "main/binary-" + debianArch() + "/Packages": packages} {
		r.files["/debian/dists/"+suite+"/"+name] = text
		release += fmt.Sprintf(" %x %d %s\n", sha256.Sum256([]byte(text)), len(text), name)
	}
	r.files["/debian/dists/"+suite+"/Release"] = release
}

func (r *repository) move(from, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if to != "" {
		r.files["/debian/"+to] = r.files["/debian/"+from]
	}
	delete(r.files, "/debian/"+from)
}

func TestIsOrig(t *testing.T) {
	for name, want := range map[string]bool{
		"zlib_1.3+dfsg~1.orig.tar.gz":           true,
		"ca-certificates_20250419.tar.xz":       true, // Debian's own
		"zlib_1.3+dfsg~1.orig.tar.gz.asc":       false,
		"git_2.47.3.orig-gitman.tar.xz":         false,
		"zlib_1.3.dfsg+really1-1.debian.tar.xz": false,
		"zlib_1.3-1.diff.gz":                    false,
		"zlib_1.3-1.dsc":                        false,
		"../zlib_1.3.orig.tar.gz":               false,
	} {
		if isOrig(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestDebianOrigin(t *testing.T) {
	r := newRepository(t)
	const text, path = "the tarball", "pool/main/z/zlib/zlib_1.3+dfsg~1.orig.tar.gz"
	index := r.source("zlib", path, text)
	r.publish("trixie", index, "")
	d := cache.DigestOf([]byte(text))
	upstream := serve(t, http.NotFound)
	spec := Spec{ID: "zlib/zlib", Pos: "p.hcl:4", URLs: []string{upstream}, SHA256: sumA, Debian: &Debian{Suite: "trixie", Source: "zlib", SHA256: d.Hex()}}

	f := newFetcher(t)
	e, got, err := f.Resolve(t.Context(), spec) // auto: upstream answers 404
	want := Entry{Origin: DebianOrigin, Filename: "zlib_1.3+dfsg~1.orig.tar.gz", SHA256: d.Hex(), Size: d.Size, Path: path}
	if err != nil || e != want || got != d {
		t.Fatalf("resolved to %+v %v %v, want %+v", e, got, err, want)
	}
	if f.Store.HasBlob(d) {
		t.Error("resolving downloaded the file")
	}
	if err := f.Fetch(t.Context(), spec, e); err != nil {
		t.Fatal(err)
	}
	storeHas(t, f, []byte(text))

	t.Run("no index with a lock file", func(t *testing.T) {
		r.asked()
		f := newFetcher(t)
		f.Lock.SetSource(spec.ID, want)
		e, _, err := f.Resolve(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Fetch(t.Context(), spec, e); err != nil {
			t.Fatal(err)
		}
		if got := r.asked(); !slices.Equal(got, []string{"/debian/" + path}) {
			t.Errorf("asked for %q", got)
		}
	})
	t.Run("dead upstream", func(t *testing.T) {
		dead := httptest.NewServer(nil)
		dead.Close()
		f, spec := newFetcher(t), spec
		spec.URLs = []string{dead.URL + "/zlib.tar.gz"}
		if e, _, err := f.Resolve(t.Context(), spec); err != nil || e != want {
			t.Errorf("%+v %v", e, err)
		}
	})
	t.Run("wrong upstream is an error", func(t *testing.T) {
		f, spec := newFetcher(t), spec
		spec.URLs = []string{serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("evil")) })}
		_, _, err := f.Resolve(t.Context(), spec)
		var sum *ChecksumError
		if !errors.As(err, &sum) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("origin debian", func(t *testing.T) {
		f := newFetcher(t)
		f.Origin = DebianOrigin
		f.Notify = func(p Progress) {
			if p.URL == upstream {
				t.Error("upstream was asked")
			}
		}
		if e, _, err := f.Resolve(t.Context(), spec); err != nil || e != want {
			t.Errorf("%+v %v", e, err)
		}
	})
	t.Run("other digest", func(t *testing.T) {
		f, spec := newFetcher(t), spec
		spec.URLs, spec.Debian = nil, &Debian{Suite: "trixie", Source: "zlib", SHA256: sumB}
		_, _, err := f.Resolve(t.Context(), spec)
		if err == nil || !strings.Contains(err.Error(), sumB) || !strings.Contains(err.Error(), d.Hex()) || !strings.Contains(err.Error(), "p.hcl:4: ") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("unknown source package", func(t *testing.T) {
		f, spec := newFetcher(t), spec
		spec.URLs, spec.Debian = nil, &Debian{Suite: "trixie", Source: "zlob", SHA256: sumB}
		if _, _, err := f.Resolve(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "no tarball of a source package zlob") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("unknown suite", func(t *testing.T) {
		f, spec := newFetcher(t), spec
		spec.URLs, spec.Debian = nil, &Debian{Suite: "nosuch", Source: "zlib", SHA256: sumB}
		if _, _, err := f.Resolve(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "index of nosuch") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("moved in the pool", func(t *testing.T) {
		const now = "pool/updates/z/zlib/zlib_1.3+dfsg~1.orig.tar.gz"
		r.move(path, now)
		r.publish("trixie", strings.ReplaceAll(index, "pool/main", "pool/updates"), "")
		f := newFetcher(t)
		f.Lock.SetSource(spec.ID, want)
		if err := f.Fetch(t.Context(), spec, want); err != nil {
			t.Fatal(err)
		}
		storeHas(t, f, []byte(text))
		if e, _ := f.Lock.Source(spec.ID, spec.accepts); e != want {
			t.Errorf("the entry changed to %+v", e)
		}
		r.move(now, "")
	})
	t.Run("gone", func(t *testing.T) {
		r.publish("trixie", r.source("zlib", "pool/main/z/zlib/zlib_1.4.orig.tar.gz", "newer"), "")
		f := newFetcher(t)
		err := f.Fetch(t.Context(), spec, want)
		if err == nil {
			t.Fatal("no error")
		}
		for _, part := range []string{"p.hcl:4: ", "404", "zlib_1.4.orig.tar.gz", "--mirror", "shared cache", "another origin"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error does not name %q:\n%v", part, err)
			}
		}
		// A mirror that lays files out as the archive does has it still.
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f.Mirrors = []string{dir}
		if err := f.Fetch(t.Context(), spec, want); err != nil {
			t.Error(err)
		}
	})
	t.Run("no apt", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		f := newFetcher(t)
		err := f.Fetch(t.Context(), spec, want)
		if err == nil || !strings.Contains(err.Error(), "no apt") || !strings.Contains(err.Error(), "--mirror") {
			t.Errorf("error %v", err)
		}
	})
}

func TestAptSeed(t *testing.T) {
	r := newRepository(t)
	packages := r.deb("gcc", "pool/main/g/gcc_2.0+x-1.deb", "libc, cpp") + r.deb("cpp", "pool/main/g/cpp_2.0.deb", "libc") +
		r.deb("libc", "pool/main/g/libc_2.0.deb", "") + r.deb("unwanted", "pool/main/u/u.deb", "")
	r.publish("bookworm", "", packages)
	seed := AptSeed{ID: "base", Pos: "seed.hcl:3", Suite: "bookworm", Packages: []string{"gcc"}}
	f := newFetcher(t)
	debs, err := f.ResolveApt(t.Context(), seed)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range debs {
		names = append(names, d.Package)
		if err := f.FetchDeb(t.Context(), seed, d); err != nil {
			t.Fatal(err)
		}
		storeHas(t, f, []byte("deb of "+d.Package))
	}
	if !slices.Equal(names, []string{"cpp", "gcc", "libc"}) {
		t.Errorf("packages %q", names)
	}
	if d := debs[1]; d.Version != "1:2.0+x-1" || d.Arch != debianArch() || d.Path != "pool/main/g/gcc_2.0+x-1.deb" {
		t.Errorf("%+v", d)
	}

	t.Run("lock file", func(t *testing.T) {
		r.publish("bookworm", "", strings.ReplaceAll(packages, "1:2.0", "1:3.0"))
		r.asked()
		again := newFetcher(t)
		again.Lock = f.Lock
		if got, err := again.ResolveApt(t.Context(), seed); err != nil || !slices.Equal(got, debs) {
			t.Errorf("%v %v", got, err)
		}
		if log := r.asked(); len(log) > 0 {
			t.Errorf("asked for %q", log)
		}
		other := seed
		other.Packages = []string{"gcc", "unwanted"}
		if got, err := again.ResolveApt(t.Context(), other); err != nil || len(got) != 4 {
			t.Errorf("another declaration: %v %v", got, err)
		}
		update := newFetcher(t)
		update.Lock, update.Update = f.Lock, true
		update.Lock.SetSeed("base:"+debianArch(), seed.fingerprint(), debs)
		for range 2 {
			if got, err := update.ResolveApt(t.Context(), seed); err != nil || len(got) != 3 || got[0].Version != "1:3.0+x-1" {
				t.Errorf("update: %v %v", got, err)
			}
		}
	})
	t.Run("moved", func(t *testing.T) {
		const now = "pool/elsewhere/gcc.deb"
		r.publish("bookworm", "", strings.ReplaceAll(packages, debs[1].Path, now))
		r.move(debs[1].Path, now)
		f := newFetcher(t)
		if err := f.FetchDeb(t.Context(), seed, debs[1]); err != nil {
			t.Error(err)
		}
	})
	t.Run("gone", func(t *testing.T) {
		r.publish("bookworm", "", "")
		f := newFetcher(t)
		err := f.FetchDeb(t.Context(), seed, debs[1])
		for _, part := range []string{"seed.hcl:3: ", "gcc", "vfsb seed update", "--mirror"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("error does not name %q: %v", part, err)
			}
		}
	})
	for name, c := range map[string]struct {
		change func(*AptSeed, *Fetcher)
		want   string
	}{
		"unknown package": {func(s *AptSeed, _ *Fetcher) { s.Packages = []string{"nosuch"} }, "Unable to locate package nosuch"},
		"unknown suite":   {func(s *AptSeed, _ *Fetcher) { s.Suite = "nosuch" }, "nosuch"},
		"option":          {func(s *AptSeed, _ *Fetcher) { s.Packages = []string{"-oDir=/x"} }, `"-oDir=/x" is not a name`},
		"nothing":         {func(s *AptSeed, _ *Fetcher) { s.Packages = nil }, "packages"},
		"offline":         {func(_ *AptSeed, f *Fetcher) { f.Offline = true }, "--offline"},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := newFetcher(t), seed
			c.change(&s, f)
			if _, err := f.ResolveApt(t.Context(), s); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "seed.hcl:3: seed base: ") {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	t.Run("no apt", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := newFetcher(t).ResolveApt(t.Context(), seed)
		for _, part := range []string{"seed.hcl:3: ", "image { … }", "lock file", "--mirror", "shared cache"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("error does not name %q: %v", part, err)
			}
		}
	})
}

// TestAptReasons: apt's error lines do not say which package is at fault.
func TestAptReasons(t *testing.T) {
	r := newRepository(t)
	packages := r.deb("broken", "pool/main/b/b.deb", "nosuchlib (>= 2)")
	for _, pkg := range []string{"gawk", "mawk"} {
		packages += strings.Replace(r.deb(pkg, "pool/main/a/"+pkg+".deb", ""), "Depends:", "Provides: awk", 1)
	}
	r.publish("bookworm", "", packages)
	f := newFetcher(t)
	for pkg, want := range map[string]string{"broken": "nosuchlib", "awk": "\n  mawk "} {
		_, err := f.ResolveApt(t.Context(), AptSeed{ID: "base", Pos: "seed.hcl:3", Suite: "bookworm", Packages: []string{pkg}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pkg, err, want)
		}
	}
	// apt 3 puts its reasons below its error line.
	got := aptError("Reading package lists...\n", "E: Unable to satisfy dependencies. Reached two conflicting assignments:\n   1. a\n   2. b\n", errors.New("exit"))
	if want := "Unable to satisfy dependencies. Reached two conflicting assignments:\n  1. a\n  2. b"; got.Error() != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestArchiveChoice: among the machine's repositories the one that looks like the suite's archive is taken.
func TestArchiveChoice(t *testing.T) {
	m := &machine{release: "bookworm"}
	m.stanzas = append(parseSourcesList([]byte(`# comment
deb [arch=amd64 signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.test/linux bookworm main
deb http://mirror.test/debian-security/ bookworm-security main contrib # trailing
deb-src http://broken
deb	http://list.test/debian	bookworm main
`)), parseSourcesStanzas([]byte(`Types: deb
URIs: http://deb.test/debian/ http://deb2.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 debian-archive
# a comment

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: trixie
Components: main

Types: deb deb-src
URIs: http://vendor2.test/apt
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/vendor2.gpg
`))...)
	for suite, want := range map[string]string{
		"trixie":            "http://list.test/debian",
		"bookworm":          "http://list.test/debian",
		"bookworm-updates":  "http://deb.test/debian",
		"bookworm-security": "http://mirror.test/debian-security",
		"trixie-security":   "http://mirror.test/debian-security",
	} {
		if got := m.bases(suite); len(got) == 0 || got[0] != want {
			t.Errorf("%s comes from %q, want %s first", suite, got, want)
		}
	}
	key := m.stanzas[3].option("signed-by")
	if !strings.Contains(key, "\n .\n debian-archive") {
		t.Errorf("key block %q", key)
	}
	list := filepath.Join(t.TempDir(), "mirrors")
	if err := os.WriteFile(list, []byte("http://one.test/debian\tpriority:1\nhttps://two.test/debian\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.stanzas = []stanza{{uris: []string{"mirror+file:" + list, "cdrom:x"}, suites: []string{"trixie"}, components: []string{"main"}}}
	if got, want := m.bases("trixie"), []string{"http://one.test/debian", "https://two.test/debian"}; !slices.Equal(got, want) {
		t.Errorf("mirror list: %q, want %q", got, want)
	}
}

func TestAptProxy(t *testing.T) {
	a := &aptState{machine: &machine{conf: parseAptConfig([]byte("Acquire::http::Proxy \"http://proxy.test:3142\";\nAcquire::http::Proxy::near.test \"DIRECT\";\nOdd line\n"))}}
	for u, want := range map[string]string{"http://far.test/x": "http://proxy.test:3142", "http://near.test/x": "", "https://far.test/x": ""} {
		r := httptest.NewRequest("GET", u, nil)
		got, err := a.proxy(r)
		if err != nil || got == nil && want != "" || got != nil && got.String() != want {
			t.Errorf("%s goes through %v (%v), want %q", u, got, err, want)
		}
	}
}

// TestDebianReal fetches a small real orig tarball of another suite than the machine's, with its own apt configuration.
func TestDebianReal(t *testing.T) {
	f := newFetcher(t)
	f.timing = timing{}
	f.Origin = DebianOrigin
	spec := Spec{ID: "which/which", Pos: "p.hcl:1", Debian: &Debian{Suite: "bookworm", Source: "hostname", SHA256: sumA}}
	_, _, err := f.Resolve(t.Context(), spec)
	if err == nil {
		t.Fatal("a wrong digest was taken")
	}
	if !strings.Contains(err.Error(), "has no file of sha256") && !strings.Contains(err.Error(), "no tarball") {
		needArchive(t, err)
	}
	spec.Debian = &Debian{Suite: "bookworm", Source: "patch", SHA256: "ac610bda97abe0d9f6b7c963255a11dcb196c25e337c61f94e4778d632f1d8fd"}
	e, _, err := f.Resolve(t.Context(), spec)
	needArchive(t, err)
	if e.Path != "pool/main/p/patch/patch_2.7.6.orig.tar.xz" {
		t.Errorf("%+v", e)
	}
	if err := f.Fetch(t.Context(), spec, e); err != nil {
		t.Error(err)
	}
}

// TestFetchFromTheOtherOrigin: what the lock file says came from one origin is taken
// from the other one where that is declared to have the same bytes, and only there.
func TestFetchFromTheOtherOrigin(t *testing.T) {
	const text = "the tarball"
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	for _, c := range []struct {
		what       string
		locked     string
		upstream   bool // upstream has the file
		archive    bool // Debian's archive has it
		debianSum  string
		wantsError bool
	}{
		{"upstream gone", Upstream, false, true, "", false},
		{"Debian gone", DebianOrigin, true, false, "", false},
		{"both gone", Upstream, false, false, "", true},
		{"Debian repacked it", Upstream, false, true, strings.Repeat("0", 64), true},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := newRepository(t)
			const pool = "pool/main/t/thing/thing_1.orig.tar.gz"
			r.publish("stable", r.source("thing", pool, text), "")
			if !c.archive {
				r.move(pool, "")
			}
			url := serve(t, func(w http.ResponseWriter, q *http.Request) {
				if !c.upstream {
					http.NotFound(w, q)
					return
				}
				w.Write([]byte(text))
			})
			f := newFetcher(t)
			s := Spec{ID: "thing/thing", Pos: "package.hcl:1", URLs: []string{url + "/thing.tar.gz"}, SHA256: sum,
				Debian: &Debian{Suite: "stable", Source: "thing", SHA256: c.debianSum}}
			e := Entry{Origin: c.locked, Filename: "thing.tar.gz", SHA256: sum, Size: int64(len(text)), Path: pool}
			err := f.Fetch(t.Context(), s, e)
			if (err != nil) != c.wantsError {
				t.Fatalf("error %v", err)
			}
			if err == nil {
				storeHas(t, f, []byte(text))
			}
		})
	}
}
