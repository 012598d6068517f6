package cache

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sample returns an index with everything in it, and the content of its files.
func sample(t testing.TB) (*Index, map[string]string) {
	t.Helper()
	long := strings.Repeat("long-", 48)
	deep := "deep/" + long + "/" + long
	files := map[string]string{
		"bin/su":       "#!/bin/sh\n",
		"bin/ping":     strings.Repeat("ping", 5000),
		"empty":        "",
		"odd/\xff\xfe": "not UTF-8",
		"odd/a b\n%":   "odd",
		"odd/ünï":      "UTF-8",
		deep:           "deep",
		"xattr":        "with attributes",
		"zero":         strings.Repeat("\x00", 4096),
	}
	caps, err := EncodeCaps("cap_net_raw+ep")
	check(t, err)
	entries := []Entry{
		{Path: "bin", Kind: Dir, Mode: 0o755},
		{Path: "bin/ping", Kind: File, Mode: 0o755, Xattrs: map[string]string{CapabilityXattr: caps}},
		{Path: "bin/su", Kind: File, Mode: 0o4755},
		{Path: "bin-link", Kind: Symlink, Mode: 0o777, Link: "bin/../\xff loop"},
		{Path: "closed", Kind: Dir, Mode: 0},
		{Path: "deep", Kind: Dir, Mode: 0o2775, UID: 33, GID: 44},
		{Path: "deep/" + long, Kind: Dir, Mode: 0o1777},
		{Path: deep, Kind: File, Mode: 0o644},
		{Path: "deep/" + long + "/" + long + "2", Kind: Symlink, Mode: 0o777, Link: deep},
		{Path: "empty", Kind: File, Mode: 0, UID: 3000000, GID: maxID},
		{Path: "fifo", Kind: Fifo, Mode: 0o600},
		{Path: "hard", Kind: Hardlink, Link: "bin/su"},
		{Path: "odd", Kind: Dir, Mode: 0o700},
		{Path: "odd/a b\n%", Kind: File, Mode: 0o644},
		{Path: "odd/ünï", Kind: File, Mode: 0o644},
		{Path: "odd/\xff\xfe", Kind: File, Mode: 0o644},
		{Path: "odd2", Kind: Hardlink, Link: "odd/\xff\xfe"},
		{Path: "xattr", Kind: File, Mode: 0o644, Xattrs: map[string]string{"user.b": "\x00=\xff", "user.a": ""}},
		{Path: "xdir", Kind: Dir, Mode: 0o755, Xattrs: map[string]string{"user.dir": "yes"}},
		{Path: "zero", Kind: File, Mode: 0o644},
	}
	x := &Index{}
	for _, e := range entries {
		if e.Kind == File {
			e.Size, e.Hash = int64(len(files[e.Path])), sha256.Sum256([]byte(files[e.Path]))
		}
		// The index is sorted by bytes: "bin-link" comes before "bin/su".
		x.Entries = append(x.Entries, e)
	}
	return sorted(t, x), files
}

func sorted(t testing.TB, x *Index) *Index {
	t.Helper()
	y := &Index{}
	for len(y.Entries) < len(x.Entries) {
		next := -1
		for i, e := range x.Entries {
			after := len(y.Entries) == 0 || e.Path > y.Entries[len(y.Entries)-1].Path
			if after && (next < 0 || e.Path < x.Entries[next].Path) {
				next = i
			}
		}
		check(t, y.add(x.Entries[next]))
	}
	return y
}

func sampleTar(t testing.TB) (*Index, []byte) {
	t.Helper()
	x, files := sample(t)
	var b bytes.Buffer
	check(t, x.WriteTar(&b, func(e *Entry) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(files[e.Path])), nil
	}))
	return x, b.Bytes()
}

func TestGolden(t *testing.T) {
	x, tar := sampleTar(t)
	golden(t, "sample.index", x.Marshal())
	golden(t, "sample.tar", tar)
}

func TestIndexRoundTrip(t *testing.T) {
	x, _ := sample(t)
	text := x.Marshal()
	y, err := ParseIndex(text)
	check(t, err)
	if !bytes.Equal(y.Marshal(), text) {
		t.Errorf("got %s\nwant %s", y.Marshal(), text)
	}
	for _, e := range x.Entries {
		got, ok := y.Lookup(e.Path)
		if !ok || got.Mode != e.Mode || got.Hash != e.Hash || got.Link != e.Link || len(got.Xattrs) != len(e.Xattrs) {
			t.Errorf("lookup %q: %+v, want %+v", e.Path, got, e)
		}
	}
	for _, p := range []string{"", "a", "bin/", "bin/s", "bin/suu", "zzz"} {
		if _, ok := y.Lookup(p); ok {
			t.Errorf("lookup %q found something", p)
		}
	}
	empty, err := ParseIndex((&Index{}).Marshal())
	if err != nil || len(empty.Entries) != 0 {
		t.Errorf("empty index: %v, %v", empty, err)
	}
}

func TestParseIndexErrors(t *testing.T) {
	h := strings.Repeat("ab", 32)
	none := DigestOf(nil).Hex()
	for _, c := range []struct{ lines, want string }{
		{"d 0755 0 0 a", "cut off"},
		{"x 0755 0 0 a\n", "unknown kind"},
		{"\n", "unknown kind"},
		{"d 755 0 0 a\n", "not a mode"},
		{"d 0788 0 0 a\n", "not a mode"},
		{"d 0755 00 0 a\n", "not a number"},
		{"d 0755 -1 0 a\n", "not a number"},
		{"d 0755 2147483647 0 a\n", "out of range"},
		{"d 0755 0 0\n", "missing"},
		{"d 0755 0 0 a b\n", "malformed"},
		{"d 0755 0 0 a \n", "malformed"},
		{"d 0755 0 0 \n", "1 to 4095"},
		{"d 0755 0 0 /a\n", "clean"},
		{"d 0755 0 0 ../a\n", "clean"},
		{"d 0755 0 0 a/\n", "clean"},
		{"d 0755 0 0 .\n", "clean"},
		{"d 0755 0 0 a%00\n", "without NUL"},
		{"d 0755 0 0 %41\n", "escaped"},
		{"d 0755 0 0 a%2f\n", "escaped"},
		{"d 0755 0 0 a%f\n", "escaped"},
		{"d 0755 0 0 \xff\n", "escaped"},
		{"d 0755 0 0 " + strings.Repeat("a", 256) + "\n", "255"},
		{"d 0755 0 0 b\nd 0755 0 0 a\n", "out of order"},
		{"d 0755 0 0 a\nd 0755 0 0 a\n", "named twice"},
		{"d 0755 0 0 a/b\n", "not a folder"},
		{"l 0 0 a b\nd 0755 0 0 a/b\n", "not a folder"},
		{"l 0 0 a \n", "target"},
		{"h b a\n", "no file before it"},
		{"d 0755 0 0 a\nh b a\n", "no file before it"},
		{"l 0 0 a x\nh b a\n", "no file before it"},
		{"f 0644 0 0 1 " + h[1:] + "A a\n", "not a SHA-256"},
		{"f 0644 0 0 0 " + h + " a\n", "does not fit"},
		{"f 0644 0 0 0 " + none + " a user.b=1 user.a=1\n", "out of order"},
		{"f 0644 0 0 0 " + none + " a user.overlay.opaque=y\n", "cannot be part"},
		{"f 0644 0 0 0 " + none + " a trusted.x=y\n", "cannot be part"},
		{"f 0644 0 0 0 " + none + " a security.capability=y\n", "version 2"},
		{"p 0644 0 0 a user.x=y\n", "cannot be part"},
	} {
		_, err := ParseIndex([]byte(indexHeader + c.lines))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.lines, err, c.want)
		}
	}
	for _, b := range []string{"", "vfsb-index 1", "vfsb-index 2\n", "d 0755 0 0 a\n"} {
		if _, err := ParseIndex([]byte(b)); err == nil {
			t.Errorf("%q was accepted", b)
		}
	}
}

func TestDigest(t *testing.T) {
	d := DigestOf([]byte("vfsb"))
	for _, v := range []Digest{d, {}, DigestOf(nil)} {
		got, err := ParseDigest(v.String())
		if err != nil || got != v {
			t.Errorf("%q: %v, %v", v, got, err)
		}
	}
	if r, err := DigestReader(strings.NewReader("vfsb")); err != nil || r != d {
		t.Errorf("reader: %v, %v", r, err)
	}
	for _, s := range []string{
		"x", d.Hex(), d.Hex() + "/", d.Hex() + "/04", d.Hex() + "/-4", d.Hex() + "/+4", d.Hex() + "/4/", "/4", "-",
		strings.ToUpper(d.Hex()) + "/4", d.Hex() + "/9223372036854775808", strings.Repeat("0", 64) + "/0",
	} {
		if got, err := ParseDigest(s); err == nil {
			t.Errorf("%q was accepted as %v", s, got)
		}
	}
}

// TestWriteTarSize has files that are not as long as the index says.
func TestWriteTarSize(t *testing.T) {
	x, files := sample(t)
	for _, change := range []string{"shorter", "longer"} {
		err := x.WriteTar(io.Discard, func(e *Entry) (io.ReadCloser, error) {
			s := files[e.Path]
			if change == "longer" {
				s += "x"
			}
			if change == "shorter" {
				s = s[1:]
			}
			return io.NopCloser(strings.NewReader(s)), nil
		})
		wantError(t, err, "content is not")
	}
}

// TestGNUTar unpacks the sample with the system's tar.
func TestGNUTar(t *testing.T) {
	x, b := sampleTar(t)
	dir := tempDir(t)
	cmd := exec.Command("tar", "-x", "--no-same-owner", "--delay-directory-restore", "-C", dir)
	cmd.Stdin = bytes.NewReader(b)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("tar: %v: %s", err, out)
	}
	n := 0
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if n++; d.Name() == "closed" {
			return filepath.SkipDir
		}
		return err
	}))
	if n != len(x.Entries)+1 {
		t.Errorf("tar made %d entries, want %d", n-1, len(x.Entries))
	}
	_, files := sample(t)
	for name, want := range files {
		if name == "empty" { // mode 000
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%q: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestEncodeCaps(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"cap_net_raw+ep", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"CAP_NET_RAW=pe", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"cap_chown,cap_bpf=p", "\x00\x00\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00"},
		{"cap_chown+p cap_kill+i", "\x00\x00\x00\x02\x01\x00\x00\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"all=ep", "\x01\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00\xff\x01\x00\x00\x00\x00\x00\x00"},
		{"=ep cap_chown-ep", "\x01\x00\x00\x02\xfe\xff\xff\xff\x00\x00\x00\x00\xff\x01\x00\x00\x00\x00\x00\x00"},
		{"cap_chown=eip cap_chown-i", "\x01\x00\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"=", "\x00\x00\x00\x02" + strings.Repeat("\x00", 16)},
	} {
		got, err := EncodeCaps(c.text)
		if err != nil || got != c.want {
			t.Errorf("%q: %x, %v, want %x", c.text, got, err, c.want)
		}
		if n, ok := normalCapability(got); !ok || n != got {
			t.Errorf("%q is not normal", c.text)
		}
	}
	for _, text := range []string{"", " ", "cap_net_raw", "cap_nonsense+ep", "+ep", "cap_chown+x", "cap_chown+e", "cap_chown+ep cap_kill+p", "cap_chown,+ep"} {
		if got, err := EncodeCaps(text); err == nil {
			t.Errorf("%q was accepted: %x", text, got)
		}
	}
}
