package artifact

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ociLayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"vfsb/cache"
)

var update = flag.Bool("update", false, "write testdata/golden.txt")

//go:embed testdata/golden.txt
var golden string

// The digests of everything that this package writes, which every machine and every user must get. A change here is a
// change of every artifact that was ever delivered.
func TestGolden(t *testing.T) {
	got := deliver(t)
	if *update {
		if err := os.WriteFile("testdata/golden.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		golden = got
	}
	if got != golden {
		t.Errorf("got\n%swant\n%s", got, golden)
	}
	if again := deliver(t); again != got {
		t.Errorf("the second time\n%sthe first time\n%s", again, got)
	}
}

// The same as an ordinary user.
func TestGoldenOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("runs as root, and TestGolden runs as an ordinary user already")
	}
	if *update {
		t.Skip("the binary holds the old digests")
	}
	c := exec.Command("/proc/self/exe", "-test.run=^(TestGolden|TestWriteTo.*|TestOpen.*)$", "-test.v")
	c.Dir = "/"
	c.Env = []string{"TMPDIR=" + os.TempDir()}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := c.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestGolden ")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// layers makes two layers on disk with all that is awkward, and captures them.
func layers(t testing.TB, dir string) []Part {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(part, path string) string { return filepath.Join(dir, part, path) }
	file := func(part, path string, mode uint32, content string) {
		must(os.MkdirAll(filepath.Dir(at(part, path)), 0o755))
		must(os.WriteFile(at(part, path), []byte(content), 0o600))
		must(unix.Chmod(at(part, path), mode))
	}
	defer syscall.Umask(syscall.Umask(0o022))

	noise := make([]byte, 700_001) // several blocks of every compressor
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(noise[:300_000])
	copy(noise[400_000:], noise[:200_000])

	file("a", "bin/su", 0o4755, "setuid")
	file("a", "bin/ping", 0o755, "ping")
	file("a", "bin/ls", 0o755, "ls of a")
	must(os.Link(at("a", "bin/ls"), at("a", "bin/dir")))
	must(os.Link(at("a", "bin/ls"), at("a", "bin/vdir")))
	file("a", "etc/shadow", 0, "nobody reads this")
	file("a", "empty", 0o644, "")
	file("a", "noise", 0o644, string(noise))
	file("a", "odd/a space\nand \xff\xfe bytes*[", 0o644, "odd")
	file("a", "long/"+strings.Repeat(strings.Repeat("x", 200)+"/", 3)+"y", 0o644, "long")
	must(os.MkdirAll(at("a", "tmp"), 0o755))
	must(unix.Chmod(at("a", "tmp"), 0o1777))
	must(os.Symlink("loop", at("a", "loop")))
	must(os.Symlink("/nowhere/at/all", at("a", "dangling")))
	must(unix.Mkfifo(at("a", "fifo"), 0o600))
	must(unix.Chmod(at("a", "fifo"), 0o622))
	file("a", "closed/inside", 0o400, "in a folder without rights")
	must(unix.Chmod(at("a", "closed"), 0))

	file("b", "bin/ls", 0o755, "ls of b")
	file("b", "usr/share/doc/b", 0o644, "doc")
	file("b", "usr/share/man/b", 0o644, "man")
	file("b", "empty", 0o644, "")
	must(os.Symlink("loop", at("b", "loop")))

	five, mode := 5, uint32(0o2755)
	var parts []Part
	for name, attrs := range map[string][]cache.Attr{
		"a": {{Path: "bin/ping", Caps: "cap_net_raw=ep"}, {Path: "etc/shadow", GID: &five}, {Path: "bin/d*", Mode: &mode}, {Path: `odd/*\[`, UID: &five}},
		"b": nil,
	} {
		x, _, err := cache.Capture(filepath.Join(dir, name), cache.CaptureOptions{Attrs: attrs})
		must(err)
		parts = append(parts, Part{Label: "//" + name + ":amd64", Index: x, Dir: filepath.Join(dir, name)})
	}
	if parts[0].Label > parts[1].Label {
		parts[0], parts[1] = parts[1], parts[0]
	}
	return parts
}

// mergedTree merges the layers as an image would.
func mergedTree(t testing.TB, dir string) *Tree {
	t.Helper()
	tree, err := Merge(layers(t, dir), map[string][]Replace{"//b:amd64": {{"bin/ls", "the better one"}}})
	if err != nil {
		t.Fatal(err)
	}
	tree, err = tree.Filter([]string{"usr/share/*", "bin/dir"}, []string{"usr/share/man"})
	if err != nil {
		t.Fatal(err)
	}
	one, mode := 1, uint32(0o4711)
	if err := tree.Apply([]cache.Attr{{Path: "bin/su", Mode: &mode, GID: &one}}); err != nil {
		t.Fatal(err)
	}
	return tree
}

var config = ImageConfig{
	OS: "linux", Architecture: "arm", Variant: "v7", Entrypoint: []string{"/bin/sh"}, Cmd: []string{"-c", "echo <&>"},
	Env: []string{"PATH=/bin", "EMPTY="}, WorkingDir: "/", User: "65534:65534",
	Labels: map[string]string{"b": "2", "a": "1"}, Ref: "alkaline-armv7",
}

// tempDir is t.TempDir for trees with folders that forbid their removal.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "artifact")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func hexOf(h hash.Hash) string { return fmt.Sprintf("%x", h.Sum(nil)) }

// deliver makes every artifact of a tree, reads it back, and returns the digests.
func deliver(t *testing.T) string {
	t.Helper()
	dir := tempDir(t)
	tree := mergedTree(t, dir)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	line := func(name, digest string) { fmt.Fprintf(&out, "%-8s %s\n", name, digest) }
	line("index", fmt.Sprintf("%x", sha256.Sum256(tree.Index().Marshal())))

	plain := sha256.New()
	must(tree.Index().WriteTar(plain, tree.Open))
	line("tar", hexOf(plain))

	var packed bytes.Buffer
	must(WriteTarZst(&packed, tree.Index(), tree.Open))
	line("tar.zst", fmt.Sprintf("%x", sha256.Sum256(packed.Bytes())))
	z, err := zstd.NewReader(&packed)
	must(err)
	unpacked := sha256.New()
	_, err = io.Copy(unpacked, z)
	must(err)
	if hexOf(unpacked) != hexOf(plain) {
		t.Error("tar.zst does not hold the tar")
	}

	folder := filepath.Join(dir, "image")
	must(WriteOCILayout(folder, tree.Index(), tree.Open, config))
	digest, err := LayoutDigest(folder)
	must(err)
	line("oci", strings.TrimPrefix(digest, "sha256:"))
	checkImage(t, folder, digest, "sha256:"+hexOf(plain))
	index, err := os.ReadFile(filepath.Join(folder, "index.json"))
	must(err)
	line("ocidir", fmt.Sprintf("%x", sha256.Sum256(index)))

	var archive bytes.Buffer
	must(WriteOCIArchive(&archive, folder))
	line("ocitar", fmt.Sprintf("%x", sha256.Sum256(archive.Bytes())))
	again := filepath.Join(dir, "again")
	extract(t, &archive, again)
	checkImage(t, again, digest, "sha256:"+hexOf(plain))

	root := filepath.Join(dir, "root")
	must(tree.WriteTo(root))
	x, d, err := cache.Capture(root, cache.CaptureOptions{Attrs: tree.Attrs()})
	must(err)
	if !reflect.DeepEqual(x, tree.Index()) || d.Hex() != hexOf(plain) {
		t.Errorf("captured from the folder\n%swant\n%s", x.Marshal(), tree.Index().Marshal())
	}
	return out.String()
}

// checkImage has another implementation read the layout in dir.
func checkImage(t *testing.T, dir, digest, diffID string) {
	t.Helper()
	index, err := ociLayout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	h, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got := ImageConfig{
		OS: c.OS, Architecture: c.Architecture, Variant: c.Variant, Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd,
		Env: c.Config.Env, WorkingDir: c.Config.WorkingDir, User: c.Config.User, Labels: c.Config.Labels,
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	got.Ref = m.Manifests[0].Annotations["org.opencontainers.image.ref.name"]
	if !reflect.DeepEqual(got, config) {
		t.Errorf("got %+v, want %+v", got, config)
	}
	if p := m.Manifests[0].Platform; p.Architecture != "arm" || p.OS != "linux" || p.Variant != "v7" {
		t.Errorf("got platform %v", p)
	}
	if c.Created.Unix() != cache.Epoch || len(c.RootFS.DiffIDs) != 1 || c.RootFS.DiffIDs[0].String() != diffID {
		t.Errorf("created %v, layers %v, want %s", c.Created, c.RootFS.DiffIDs, diffID)
	}
	for _, name := range []string{"index.json", "oci-layout", "blobs/sha256/" + h.Hex} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		var v any
		if err != nil || json.Unmarshal(b, &v) != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if sorted, _ := canonical(v); !bytes.Equal(sorted, b) { // maps are written with their keys sorted
			t.Errorf("%s is not canonical: %s", name, b)
		}
	}
}

func extract(t *testing.T, r io.Reader, dir string) {
	t.Helper()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != cache.Epoch || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%+v", h)
		}
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			b, _ := io.ReadAll(tr)
			os.MkdirAll(filepath.Dir(path), 0o755)
			err = os.WriteFile(path, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// How the files' bytes arrive must not show.
func TestBytesDoNotDependOnReads(t *testing.T) {
	dir := tempDir(t)
	tree := mergedTree(t, dir)
	var digests []string
	for i, slow := range []func(io.Reader) io.Reader{
		func(r io.Reader) io.Reader { return r },
		iotest.HalfReader,
		iotest.DataErrReader,
		func(r io.Reader) io.Reader { return io.MultiReader(io.LimitReader(r, 7), r) },
	} {
		open := func(e *cache.Entry) (io.ReadCloser, error) {
			r, err := tree.Open(e)
			if err != nil {
				return nil, err
			}
			return struct {
				io.Reader
				io.Closer
			}{slow(r), r}, nil
		}
		h := sha256.New()
		if err := WriteTarZst(h, tree.Index(), open); err != nil {
			t.Fatal(err)
		}
		image := filepath.Join(dir, fmt.Sprint("image", i))
		if err := WriteOCILayout(image, tree.Index(), open, config); err != nil {
			t.Fatal(err)
		}
		d, err := LayoutDigest(image)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, hexOf(h)+d)
	}
	for _, d := range digests {
		if d != digests[0] {
			t.Fatalf("%q", digests)
		}
	}
}

func TestOpenDamaged(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"bytes":   func(p string) error { return os.WriteFile(p, []byte("gnip"), 0) },
		"longer":  func(p string) error { return os.WriteFile(p, []byte("pings"), 0) },
		"shorter": func(p string) error { return os.WriteFile(p, nil, 0) },
		"gone":    os.Remove,
		"link":    func(p string) error { os.Remove(p); return os.Symlink("su", p) },
		"fifo":    func(p string) error { os.Remove(p); return unix.Mkfifo(p, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := tempDir(t)
			tree := mergedTree(t, dir)
			if err := damage(filepath.Join(dir, "a/bin/ping")); err != nil {
				t.Fatal(err)
			}
			if err := WriteTarZst(io.Discard, tree.Index(), tree.Open); err == nil || !strings.Contains(err.Error(), "ping") {
				t.Errorf("tar.zst: got %v", err)
			}
			image := filepath.Join(dir, "image")
			if err := WriteOCILayout(image, tree.Index(), tree.Open, config); err == nil || !strings.Contains(err.Error(), "ping") {
				t.Errorf("image: got %v", err)
			}
			if _, err := LayoutDigest(image); err == nil {
				t.Error("half an image passes for one")
			}
			if err := tree.WriteTo(filepath.Join(dir, "root")); name != "bytes" && (err == nil || !strings.Contains(err.Error(), "ping")) {
				t.Errorf("folder: got %v", err)
			}
		})
	}
	tree, _ := Merge([]Part{{Label: "A", Index: entries(t, "l 0777 0:0 l x")}}, nil)
	for _, path := range []string{"l", "nowhere"} {
		if _, err := tree.Open(&cache.Entry{Path: path}); err == nil {
			t.Errorf("%s opens", path)
		}
	}
}

func TestOrigin(t *testing.T) {
	tree := mergedTree(t, tempDir(t))
	for path, want := range map[string]string{"bin/ls": "//b:amd64", "bin/vdir": "//a:amd64", "no": ""} {
		if p, _ := tree.Origin(path); p.Label != want {
			t.Errorf("%s comes from %q", path, p.Label)
		}
	}
}

func TestWriteTo(t *testing.T) {
	dir := tempDir(t)
	tree := mergedTree(t, dir)
	root := filepath.Join(dir, "root")
	defer syscall.Umask(syscall.Umask(0o077))
	if err := tree.WriteTo(root); err != nil {
		t.Fatal(err)
	}
	stat := func(path string) (st unix.Stat_t) {
		t.Helper()
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	for path, mode := range map[string]uint32{
		"bin/su": 0o4711, "bin/vdir": 0o2755, "etc/shadow": 0, "tmp": 0o1777, "closed": 0, "fifo": 0o622, "long": 0o755,
	} {
		if got := stat(filepath.Join(root, path)).Mode & 0o7777; got != mode {
			t.Errorf("%s has mode %04o, want %04o", path, got, mode)
		}
	}
	if stat(filepath.Join(root, "bin/vdir")).Ino == stat(filepath.Join(dir, "a/bin/vdir")).Ino {
		t.Error("the folder shares a file with the layer")
	}
	if err := tree.WriteTo(root); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v", err)
	}
}

func TestWriteToHardlinks(t *testing.T) {
	dir := tempDir(t)
	tree, err := Merge(layers(t, dir), map[string][]Replace{"//a:amd64": {{"bin/ls", "why"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.WriteTo(filepath.Join(dir, "root")); err != nil {
		t.Fatal(err)
	}
	var inodes [3]uint64
	for i, name := range []string{"dir", "ls", "vdir"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, "root/bin", name), &st); err != nil {
			t.Fatal(err)
		}
		inodes[i] = st.Ino
	}
	if inodes[0] != inodes[1] || inodes[1] != inodes[2] {
		t.Errorf("got inodes %v", inodes)
	}
}

func TestWriteToXattrs(t *testing.T) {
	dir := tempDir(t)
	part := Part{Label: "A", Index: entries(t, "f 0444 0:0 d/f text user.a=1 user.b=2\nd 0555 0:0 d user.c=3"), Dir: filepath.Join(dir, "a")}
	os.MkdirAll(filepath.Join(dir, "a/d"), 0o755)
	os.WriteFile(filepath.Join(dir, "a/d/f"), []byte("text"), 0o644)
	if err := unix.Setxattr(part.Dir, "user.probe", []byte("1"), 0); err != nil {
		t.Skip("the file system has no extended attributes:", err)
	}
	tree, err := Merge([]Part{part}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.WriteTo(filepath.Join(dir, "root")); err != nil {
		t.Fatal(err)
	}
	x, _, err := cache.Capture(filepath.Join(dir, "root"), cache.CaptureOptions{})
	if err != nil || !reflect.DeepEqual(x, part.Index) {
		t.Errorf("got\n%s%v, want\n%s", x.Marshal(), err, part.Index.Marshal())
	}
}

// An index that no layer can have must not lead out of the folder.
func TestWriteToHostileIndex(t *testing.T) {
	outside := t.TempDir()
	for _, entries := range [][]cache.Entry{
		{{Path: "../x", Kind: cache.Dir}},
		{{Path: "/x", Kind: cache.Dir}},
		{{Path: "a", Kind: cache.Symlink, Link: outside}, {Path: "a/b", Kind: cache.Dir, Mode: 0o755}},
		{{Path: "a", Kind: cache.Symlink, Link: outside}, {Path: "a/b", Kind: cache.Fifo}},
		{{Path: "a", Kind: cache.Symlink, Link: outside}, {Path: "a/b", Kind: cache.Symlink, Link: "x"}},
		{{Path: "a", Kind: cache.Dir, Mode: 0o755}, {Path: "a", Kind: cache.Symlink, Link: outside}},
	} {
		tree := &Tree{parts: []Part{{Label: "A"}}, index: &cache.Index{Entries: entries}, from: make([]int32, len(entries))}
		if err := tree.WriteTo(filepath.Join(t.TempDir(), "root")); err == nil {
			t.Errorf("%+v passes", entries)
		}
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("written outside: %v", left)
	}
}

// Apply on a tree and the same attributes at capture give the same index.
func TestApplyAsCapture(t *testing.T) {
	dir := tempDir(t)
	parts := layers(t, dir)
	mode, one, two := uint32(0o6711), 1, 2
	for _, attrs := range [][]cache.Attr{
		{{Path: "bin/ls", Mode: &mode, UID: &one, GID: &two}},
		{{Path: "/bin/*", Caps: "cap_net_raw,cap_bpf+ep cap_chown=eip"}, {Path: "bin/ls", Caps: "cap_Net_Admin=i"}},
		{{Path: "noise", Caps: "all=p"}, {Path: "bin/ping", Caps: "cap_chown=ei cap_chown=p"}},
		{{Path: "**", UID: &one}},
		{{Path: `odd/a*\[`, UID: &two}},
	} {
		root := tempDir(t)
		tree, err := Merge(parts[:1], nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(root); err != nil {
			t.Fatal(err)
		}
		if err := tree.WriteTo(root); err != nil {
			t.Fatal(err)
		}
		want, _, err := cache.Capture(root, cache.CaptureOptions{Attrs: append(tree.Attrs(), attrs...)})
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Apply(attrs); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(tree.Index().Marshal(), want.Marshal()) {
			t.Errorf("%+v: Apply gives\n%sCapture\n%s", attrs, tree.Index().Marshal(), want.Marshal())
		}
	}
}

func TestCaps(t *testing.T) {
	for text, want := range map[string]string{
		"cap_net_raw=ep":                  "cap_net_raw=ep",
		"CAP_NET_RAW+pe":                  "cap_net_raw=ep",
		"cap_chown=ip cap_bpf,cap_kill=i": "cap_chown=ip cap_kill,cap_bpf=i",
		"":                                "", "cap_net_raw": "", "net_raw=ep": "", "cap_x=ep": "", "cap_chown=x": "",
		"cap_chown=ep cap_kill=p": "", "cap_chown=e": "",
	} {
		v, err := cache.EncodeCaps(text)
		if got := cache.DecodeCaps(v); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestWriteOCILayoutErrors(t *testing.T) {
	dir := t.TempDir()
	ok := ImageConfig{OS: "linux", Architecture: "amd64"}
	for name, c := range map[string]ImageConfig{
		"system":      {Architecture: "amd64"},
		"reference":   {OS: "linux", Architecture: "amd64", Ref: "a b"},
		"environment": {OS: "linux", Architecture: "amd64", Env: []string{"A"}},
		"UTF-8":       {OS: "linux", Architecture: "amd64", Cmd: []string{"\xff"}},
	} {
		err := WriteOCILayout(filepath.Join(dir, name), &cache.Index{}, nil, c)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := WriteOCILayout(dir, &cache.Index{}, nil, ok); err != nil {
		t.Error(err)
	}
	if err := WriteOCILayout(dir, &cache.Index{}, nil, ok); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "more"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteOCIArchive(io.Discard, dir); err == nil || !strings.Contains(err.Error(), "more") {
		t.Errorf("got %v", err)
	}
}

func TestLayoutDigestErrors(t *testing.T) {
	for name, index := range map[string]string{
		"no JSON":   "x",
		"no image":  `{"manifests":[]}`,
		"two":       `{"manifests":[{},{}]}`,
		"malformed": `{"manifests":[{"digest":"sha256:../../x"}]}`,
		"not there": `{"manifests":[{"digest":"sha256:` + strings.Repeat("0", 64) + `"}]}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(index), 0o644); err != nil {
			t.Fatal(err)
		}
		if d, err := LayoutDigest(dir); err == nil {
			t.Errorf("%s: got %s", name, d)
		}
	}
}
