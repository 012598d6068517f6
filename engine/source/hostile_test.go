package source

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vfsb/cache"
)

// TestAsOrdinaryUser runs what meets hostile archives again as a user without rights.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		return // this is that run
	}
	const tests = "TestHostileDebs|TestHostileImages|TestStrangeImages|TestHostileParts|TestHostileFiles|TestHostileGit"
	dir, err := os.MkdirTemp("", "user")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^("+tests+")$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "\n--- PASS") != strings.Count(tests, "|")+1 {
		t.Errorf("%v\n%s", err, out)
	}
}

// parts are the blobs of an image, by their SHA-256.
type parts map[string][]byte

// add adds a blob and returns the descriptor that a manifest has of it, with changes.
func (p parts) add(b []byte, mediaType string, change ...string) string {
	d := cache.DigestOf(b)
	p[d.Hex()] = b
	text := fmt.Sprintf(`{"mediaType": "%s", "digest": "sha256:%s", "size": %d, "platform": {"os": "linux", "architecture": "amd64"}}`, mediaType, d.Hex(), d.Size)
	return strings.NewReplacer(change...).Replace(text)
}

// write writes the parts as an OCI layout, and as an archive of one.
func (p parts) write(t testing.TB) (layout, archive string) {
	layout = t.TempDir()
	blobs := filepath.Join(layout, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		t.Fatal(err)
	}
	var entries []entry
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if err := os.WriteFile(filepath.Join(blobs, name), p[name], 0o600); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{name: "blobs/sha256/" + name, text: string(p[name])})
	}
	return layout, tempFile(t, tarball(t, entries...)).Name()
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

func manifestOf(layers ...string) []byte {
	return []byte(`{"schemaVersion": 2, "layers": [` + strings.Join(layers, ", ") + `]}`)
}

func indexOf(manifests ...string) []byte {
	return []byte(`{"schemaVersion": 2, "manifests": [` + strings.Join(manifests, ", ") + `]}`)
}

// TestHostileParts has images whose parts are not what they say, as OCI layouts and as archives.
func TestHostileParts(t *testing.T) {
	layer := tarball(t, entry{name: "bin/sh", text: "sh"})
	hex := cache.DigestOf(layer).Hex()
	other := cache.DigestOf([]byte("other")).Hex()
	nested := func(depth int) func(parts) []byte {
		return func(p parts) []byte {
			top := manifestOf(p.add(layer, layerType))
			kind := manifestType
			for range depth {
				top, kind = indexOf(p.add(top, kind)), indexType
			}
			return top
		}
	}
	changed := func(change ...string) func(parts) []byte {
		return func(p parts) []byte { return manifestOf(p.add(layer, layerType, change...)) }
	}
	size := fmt.Sprintf(`"size": %d`, len(layer))
	for name, c := range map[string]struct {
		top  func(parts) []byte
		want string
	}{
		"good":                  {changed(), ""},
		"good, nested":          {nested(3), ""},
		"nested too deep":       {nested(4), "more than 3 indexes within each other; name the digest of the manifest itself"},
		"other digest":          {changed(hex, other), other},
		"upper-case":            {changed(hex, strings.ToUpper(hex)), "non-hex character in hash: C; choose another image"},
		"no digest":             {changed("sha256:"+hex, ""), "cannot parse hash"},
		"path as a digest":      {changed(hex, "../../../../../../etc/passwd"), "non-hex character"},
		"sha512":                {changed("sha256:"+hex, "sha512:"+hex+hex), "is not sha256"},
		"larger":                {changed(size, `"size": 99999`), "99999 bytes"},
		"smaller":               {changed(size, `"size": 10`), "10 bytes"},
		"nothing":               {changed(size, `"size": 0`), "0 bytes"},
		"negative":              {changed(size, `"size": -1`), "of -1 bytes; choose another image"},
		"size in words":         {changed(size, `"size": "many"`), "manifest "},
		"no media type":         {changed(layerType, ""), `layer 1 is of the media type "", which is no layer of files; choose another image`},
		"a chart":               {changed(layerType, "application/vnd.cncf.helm.chart.content.v1.tar+gzip"), "no layer of files"},
		"encrypted":             {changed(layerType, layerType+"+gzip+encrypted"), "no layer of files"},
		"a manifest as a layer": {func(p parts) []byte { return manifestOf(p.add(manifestOf(), manifestType)) }, "no layer of files"},
		"index and image": {func(p parts) []byte {
			d := p.add(layer, layerType)
			return []byte(`{"layers": [` + d + `], "manifests": [` + d + `]}`)
		}, "is both an index and an image; choose another image"},
		"manifest of nothing": {func(p parts) []byte { return manifestOf() }, "the manifest of no image"},
		"index of nothing":    {func(p parts) []byte { return indexOf() }, "the manifest of no image"},
		"index of itself": {func(p parts) []byte {
			return indexOf(p.add([]byte("x"), indexType, cache.DigestOf([]byte("x")).Hex(), other))
		}, other},
		"index of a layer":       {func(p parts) []byte { return indexOf(p.add([]byte("{}"), manifestType)) }, "the manifest of no image"},
		"index of another":       {func(p parts) []byte { return indexOf(p.add(layer, manifestType, "amd64", "s390x")) }, "nothing for linux/amd64, only linux/s390x"},
		"index without machines": {func(p parts) []byte { return indexOf(p.add(layer, manifestType, "platform", "x")) }, "nothing for linux/amd64"},
		"many layers": {func(p parts) []byte {
			return manifestOf(slices.Repeat([]string{p.add(layer, layerType)}, maxImageLayers+1)...)
		}, "the image has 501 layers, the limit is 500; squash it"},
		"no JSON":            {func(p parts) []byte { return []byte(`{"layers": [`) }, "unexpected end of JSON"},
		"other JSON":         {func(p parts) []byte { return []byte(`{"layers": 5}`) }, "cannot unmarshal"},
		"deep JSON":          {func(p parts) []byte { return []byte(`{"layers": ` + strings.Repeat("[", 20000)) }, "exceeded max depth"},
		"control characters": {changed(layerType, `a\u001b]0;x\u0007`), `"a\x1b]0;x\a"`},
	} {
		p := parts{}
		top := c.top(p)
		p.add(top, "")
		layout, archive := p.write(t)
		for _, ref := range []string{layout, archive} {
			t.Run(name, func(t *testing.T) {
				f := newFetcher(t)
				layers, err := f.FetchImage(t.Context(), ImageSeed{ID: "base", Pos: "seed.hcl:3", Arch: "amd64", Ref: ref, Digest: "sha256:" + cache.DigestOf(top).Hex()})
				switch {
				case c.want == "":
					if err != nil || len(layers) != 1 || layers[0] != cache.DigestOf(layer) {
						t.Errorf("layers %v, error %v", layers, err)
					}
				case err == nil || !strings.HasPrefix(err.Error(), "seed.hcl:3: seed base: ") || !strings.Contains(err.Error(), c.want):
					t.Errorf("error %v, want %q", err, c.want)
				case strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' && r != '\n' }):
					t.Errorf("raw names in %q", err)
				}
				noPartials(t, f)
			})
		}
	}

	// An archive that unpacks to much more than its size, and one whose blob is a sparse file.
	manifest := manifestOf(parts{}.add(layer, layerType))
	digest := cache.DigestOf(manifest).Hex()
	bomb := slices.Repeat([]entry{{name: "x", text: string(make([]byte, 32<<20))}}, 10)
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"bomb":   {compressed(t, tarball(t, bomb...), "zst"), "a bomb"},
		"sparse": {bytes.Replace(sparse(t, true), []byte("path=x"), nil, 1), "neither"},
		"huge":   {patched(tarball(t, entry{name: "blobs/sha256/" + digest, text: "{}"}), 124, "\x80\x00\x00\x00\x00\x00\x00\x10"), "unexpected EOF"},
		"large":  {tarball(t, entry{name: "blobs/sha256/" + digest, text: string(make([]byte, maxManifest+1))}), "recorded 4194304 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFetcher(t)
			_, err := f.FetchImage(t.Context(), ImageSeed{ID: "base", Pos: "seed.hcl:3", Ref: tempFile(t, c.archive).Name(), Digest: "sha256:" + digest})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			noPartials(t, f)
		})
	}
}

// TestHostileFiles has what a mirror or a server can offer in place of a file.
func TestHostileFiles(t *testing.T) {
	b, d := content(1)
	known := Entry{Origin: Upstream, Filename: "f", SHA256: d.Hex(), Size: d.Size}
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"pipe":       {func(p string) error { return unix.Mkfifo(p, 0o600) }, "not a file"},
		"folder":     {func(p string) error { return os.Mkdir(p, 0o700) }, "not a file"},
		"device":     {func(p string) error { return os.Symlink("/dev/zero", p) }, "not a file"},
		"loop":       {func(p string) error { return os.Symlink(filepath.Base(p), p) }, "too many levels"},
		"sparse":     {func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Truncate(p, 1<<40)) }, "received 1099511627776 bytes"},
		"other size": {func(p string) error { return os.WriteFile(p, b[1:], 0o600) }, "wrong size"},
		"other":      {func(p string) error { return os.WriteFile(p, make([]byte, len(b)), 0o600) }, "wrong sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "f")
			if err := c.make(p); err != nil {
				t.Fatal(err)
			}
			f := newFetcher(t)
			_, err := f.get(t.Context(), file{id: "x", pos: "p:1", what: "source x", name: "f", sha256: d.Hex(), size: d.Size, urls: []string{"file:" + p}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			noPartials(t, f)
		})
	}
	sent := 0
	endless := func(w http.ResponseWriter, r *http.Request) {
		sent = 0
		for zeros := make([]byte, 64<<10); ; sent += len(zeros) {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	}
	for name, limit := range map[string]file{"size known": {size: d.Size}, "size unknown": {size: -1, limit: 1 << 20}} {
		t.Run("endless, "+name, func(t *testing.T) {
			f := newFetcher(t)
			w := file{id: "x", pos: "p:1", what: "source x", name: "f", sha256: d.Hex(), size: limit.size, limit: limit.limit, urls: []string{serve(t, endless)}}
			_, err := f.get(t.Context(), w)
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("recorded %d bytes", w.most())) {
				t.Errorf("error %v", err)
			}
			noPartials(t, f)
		})
	}
	if sent > 64<<20 {
		t.Errorf("%d bytes were taken", sent)
	}
	t.Run("good", func(t *testing.T) {
		f := newFetcher(t)
		p := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		f.Mirrors = []string{filepath.Dir(p)}
		if err := f.Fetch(t.Context(), urlSpec(d, "http://127.0.0.1:1/f"), known); err != nil {
			t.Error(err)
		}
	})
}

// TestHostileGit has commits whose trees git stores and hands out, but that no work tree could hold.
func TestHostileGit(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "tool")
	if err := os.Mkdir(repo, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, repo, "init", "-q")
	object := func(kind string, content []byte) string {
		t.Helper()
		cmd := exec.Command("git", "hash-object", "-t", kind, "-w", "--literally", "--stdin")
		cmd.Dir, cmd.Stdin = repo, bytes.NewReader(content)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	tree := func(entries ...string) string { // mode, name, object, …
		var b bytes.Buffer
		for i := 0; i < len(entries); i += 3 {
			fmt.Fprintf(&b, "%s %s\x00%s", entries[i], entries[i+1], unhex(entries[i+2]))
		}
		return object("tree", b.Bytes())
	}
	blob := object("blob", []byte("x"))
	outside := object("blob", []byte("/etc"))
	long := object("blob", bytes.Repeat([]byte("x"), maxPath+1))
	sub := tree("100644", "x", blob)
	bomb := tree("100644", strings.Repeat("b", 200), blob)
	for range 8 {
		var entries []string
		for i := range 10 {
			entries = append(entries, "40000", fmt.Sprint(i, strings.Repeat("b", 2000)), bomb) // long, so that it goes off soon
		}
		bomb = tree(entries...)
	}
	huge := []string{}
	large := object("blob", make([]byte, 64<<20)) // 64 KB, compressed
	for i := range maxSize>>26 + 1 {
		huge = append(huge, "100644", fmt.Sprintf("%04d", i), large)
	}
	for name, c := range map[string]struct{ tree, want string }{
		"..":                 {tree("100644", "..", blob), "odd line"},
		"folder ..":          {tree("40000", "..", sub), "odd line"},
		"a/..":               {tree("40000", "a", tree("40000", "..", sub)), "odd line"},
		".":                  {tree("100644", ".", blob), "odd line"},
		"a slash":            {tree("100644", "a/../../b", blob), "odd line"},
		"absolute":           {tree("100644", "/etc/passwd", blob), "odd line"},
		"nothing":            {tree("100644", "", blob), ""},
		"twice":              {tree("100644", "a", blob, "100644", "a", blob), `"a": two entries have this name`},
		"link and folder":    {tree("120000", "a", outside, "40000", "a", sub), `"a": two entries have this name`},
		"long link":          {tree("120000", "a", long), "the link has 4096 bytes, the limit is 4095"},
		"link to a folder":   {tree("120000", "a", sub), ""},
		"file that is none":  {tree("100644", "a", sub), ""},
		"long path":          {tree("100644", strings.Repeat("a", maxPath+1), blob), "odd line"},
		"control characters": {tree("100644", "\x1b]0;x\a/..", blob), `\x1b]0;x\a`},
		"bomb":               {bomb, "prints more than 67108864 bytes; is the repository made to do harm?"},
		"huge":               {tree(huge...), "with it the files have more than 17179869184 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			commit := run(t, repo, "commit-tree", "-m", "x", c.tree)
			run(t, repo, "update-ref", "refs/heads/main", commit)
			f := newFetcher(t)
			_, _, err := f.Resolve(t.Context(), Spec{ID: "tool/tool", Pos: "p.hcl:2", Git: &Git{URL: repo, Commit: commit}})
			if err == nil || !strings.HasPrefix(err.Error(), "p.hcl:2: source tool/tool: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %.500v, want %q", err, c.want)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\a") {
				t.Errorf("raw names in %q", err)
			}
			noPartials(t, f)
		})
	}
	t.Run("odd names", func(t *testing.T) {
		commit := run(t, repo, "commit-tree", "-m", "x", tree("100644", ".git", blob, "100644", "a\nb\xff\x1b", blob, "120000", "out", outside))
		run(t, repo, "update-ref", "refs/heads/main", commit)
		f := newFetcher(t)
		_, d, err := f.Resolve(t.Context(), Spec{ID: "tool/tool", Pos: "p.hcl:2", Git: &Git{URL: repo, Commit: commit}})
		if err != nil {
			t.Fatal(err)
		}
		top := "tool-" + commit
		want := []string{top + "/ 755", top + "/.git 644 x", top + "/a\nb\xff\x1b 644 x", top + "/out 777 /etc"}
		if got := tarList(t, f, d); !slices.Equal(got, want) {
			t.Errorf("tar holds %q, want %q", got, want)
		}
	})
}
