package artifact

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vfsb/cache"
)

// tarOf is a tar of headers; a regular file's content stands in its Linkname.
func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func stream(b []byte) Stream {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func contentsText(c *Contents) string {
	var list []string
	for i := range c.Entries {
		list = append(list, entryText(&c.Entries[i]))
	}
	return strings.Join(list, "\n")
}

func readAll(t *testing.T, c *Contents, path string) string {
	t.Helper()
	f, err := c.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTarContents reads what others' tarballs hold and a layer does not.
func TestTarContents(t *testing.T) {
	c, err := TarContents(stream(tarOf(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeDir, Name: "./usr/", Mode: 0o2755, Uid: 5, Gid: 6},
		tar.Header{Typeflag: tar.TypeReg, Name: "./usr/z", Mode: 0o4755, Linkname: "text", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b", "SCHILY.xattr.trusted.x": "y"}},
		tar.Header{Typeflag: tar.TypeLink, Name: "./usr/m", Linkname: "./usr/z"},
		tar.Header{Typeflag: tar.TypeLink, Name: "./usr/a", Linkname: "usr/z"},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "/link", Mode: 0o700, Linkname: "/usr/z"},
		tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o600},
		tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3},
		tar.Header{Typeflag: tar.TypeBlock, Name: "disk", Mode: 0o660, Devmajor: 8},
	)))
	if err != nil {
		t.Fatal(err)
	}
	want := `disk: a block device 8:0
fifo: a fifo, mode 0600
link: a symbolic link /usr/z
null: a character device 1:3
usr: a folder, mode 2755, owner 5:6
usr/a: a file, mode 4755, 4 bytes
usr/m: a hard link usr/a
usr/z: a hard link usr/a`
	if got := contentsText(c); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	x := cache.Index{Entries: c.Entries}
	a, _ := x.Lookup("usr/a")
	if len(a.Xattrs) != 1 || a.Xattrs["user.a"] != "b" || a.Hash != sha256.Sum256([]byte("text")) {
		t.Errorf("usr/a: %+v", a)
	}
	if err := c.Fetch([]string{"usr/a"}, t.TempDir()); err != nil || readAll(t, c, "usr/a") != "text" {
		t.Errorf("fetch: %v", err)
	}
	if _, err := c.Open("fifo"); err == nil {
		t.Error("opened what was not fetched")
	}
	if _, err := TarContents(stream([]byte(strings.Repeat("no tar", 200)))); err == nil {
		t.Error("read what is no tar")
	}
}

// writeImage writes a layout with the layers, as others may.
func writeImage(t *testing.T, layers ...[]byte) string {
	t.Helper()
	dir := t.TempDir()
	put := func(b []byte) descriptor {
		d := descriptor{Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(b)), Size: int64(len(b))}
		path := filepath.Join(dir, "blobs/sha256", strings.TrimPrefix(d.Digest, "sha256:"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return d
	}
	marshal := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	m := manifest{Config: put([]byte(`{"architecture":"x","rootfs":{},"history":[],"config":{"Volumes":{"/b":{}, "/a":{}},"Cmd":["a"]}}`))}
	for _, l := range layers {
		m.Layers = append(m.Layers, put(l))
	}
	inner := put(marshal(m))
	other := put([]byte("{}"))
	index := put(marshal(imageIndex{Manifests: []descriptor{
		{Digest: other.Digest, Platform: &platform{OS: "plan9"}}, {Digest: inner.Digest, Platform: &platform{OS: "linux", Architecture: "amd64"}},
		{Digest: inner.Digest, Platform: &platform{OS: "linux", Architecture: "arm64"}}, {Digest: inner.Digest, Platform: &platform{OS: "linux", Architecture: "riscv64"}},
	}}))
	index.Annotations = map[string]string{"ref": "x:1"}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), marshal(imageIndex{Manifests: []descriptor{index}}), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func plain(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil }

// TestImageContents lays layers over each other: whiteouts, a file over a folder, and a folder over a file.
func TestImageContents(t *testing.T) {
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
	file := func(name, text string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Linkname: text}
	}
	c, err := ImageContents(writeImage(t,
		tarOf(t, dir("a"), file("a/gone", "1"), file("a/stays", "low"), dir("o"), file("o/x", "1"), dir("f"), file("f/x", "1"), file("d", "1"), file("u", "1")),
		tarOf(t, file("a/.wh.gone", ""), file("a/stays", "high"), file("o/.wh..wh..opq", ""), file("o/y", "2"), file("f", "2"), dir("d"), file(".wh...", ""), file(".wh.", "")),
	), plain)
	if err != nil {
		t.Fatal(err)
	}
	want := `a: a folder, mode 0755
a/stays: a file, mode 0644, 4 bytes
d: a folder, mode 0755
f: a file, mode 0644, 1 bytes
o: a folder, mode 0755
o/y: a file, mode 0644, 1 bytes
u: a file, mode 0644, 1 bytes`
	if got := contentsText(c); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := c.Fetch([]string{"a/stays", "o/y"}, t.TempDir()); err != nil || readAll(t, c, "a/stays") != "high" || readAll(t, c, "o/y") != "2" {
		t.Errorf("fetch: %v", err)
	}
	config := []cache.Field{{Name: "annotation ref", Value: "x:1"}, {Name: "architecture", Value: `"x"`}, {Name: "Cmd", Value: `["a"]`}, {Name: "Volumes", Value: `{"/b":{},"/a":{}}`}}
	if !slices.Equal(c.Config, config) {
		t.Errorf("configuration %q", c.Config)
	}
}

func TestCompare(t *testing.T) {
	e := func(path string, mode uint32) cache.Entry {
		return cache.Entry{Path: path, Kind: cache.Dir, Mode: mode}
	}
	a := &Contents{Entries: []cache.Entry{e("a", 0o755), e("b", 0o755), e("c", 0o755)}, Config: []cache.Field{{Name: "x", Value: "1"}, {Name: "y", Value: "1"}}}
	b := &Contents{Entries: []cache.Entry{e("b", 0o700), e("c", 0o755), e("d", 0o755)}, Config: []cache.Field{{Name: "z", Value: "2"}, {Name: "y", Value: "1"}}}
	d := Compare(a, b)
	var got []string
	for _, c := range d.Changes {
		got = append(got, fmt.Sprintf("%s %v %v %v", c.Path, c.Old != nil, c.New != nil, c.Aspects))
	}
	if want := []string{"a true false []", "b true true [{mode 0755 0700}]", "d false true []"}; !slices.Equal(got, want) || d.Same != 1 {
		t.Errorf("%q, %d the same", got, d.Same)
	}
	if want := []ConfigChange{{"x", "1", ""}, {"z", "", "2"}}; !slices.Equal(d.Config, want) {
		t.Errorf("configuration %q", d.Config)
	}
	b.Config = nil // no image
	if d := Compare(a, b); d.Config != nil {
		t.Errorf("configuration of one: %q", d.Config)
	}
}

func FuzzTarContents(f *testing.F) {
	f.Add(tarOf(f, tar.Header{Typeflag: tar.TypeReg, Name: "b", Linkname: "text"}, tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "b"}))
	f.Add(tarOf(f, tar.Header{Typeflag: tar.TypeReg, Name: "a/.wh..wh..opq"}, tar.Header{Typeflag: tar.TypeChar, Name: "../c"}))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := TarContents(stream(text))
		if err != nil {
			return
		}
		if d := Compare(c, c); len(d.Changes) > 0 {
			t.Errorf("differs from itself: %+v", d.Changes)
		}
		for i := range c.Entries {
			if !filepath.IsLocal(c.Entries[i].Path) {
				t.Errorf("%q leads out of the tree", c.Entries[i].Path)
			}
		}
	})
}
