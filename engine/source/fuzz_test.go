package source

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"vfsb/cache"
)

// fuzzLimits keep what one input costs small: time and disk are part of what the targets below check.
var fuzzLimits = UnpackOptions{limits: limits{floor: 1 << 20, ratio: 10, entries: 1000, names: 1 << 20}}

// fuzzUnpack unpacks twice. Nothing may be written elsewhere or be left of the stage; what unpacks does so in the same
// way again, and is fit to be a layer; what does not says so without raw names.
func fuzzUnpack(t *testing.T, archives [][]byte, unpack func(string, []*os.File, UnpackOptions) error) {
	outer := t.TempDir()
	var trees [2]string
	for i := range trees {
		dir := filepath.Join(outer, "root", string(rune('a'+i)))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		var files []*os.File
		for _, b := range archives {
			files = append(files, tempFile(t, b))
		}
		err := unpack(dir, files, fuzzLimits)
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			trees[i] = "refused"
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == utf8.RuneError }) {
				t.Errorf("raw names in %q", err)
			}
		} else if x, _, err := cache.Capture(dir, cache.CaptureOptions{}); err != nil {
			t.Errorf("what was unpacked is no layer: %v", err)
		} else {
			trees[i] = string(x.Marshal())
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".stage*")); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
	if trees[0] != trees[1] {
		t.Errorf("two results:\n%s\n%s", trees[0], trees[1])
	}
	for dir, want := range map[string]int{outer: 1, filepath.Join(outer, "root"): len(trees)} {
		if out, err := os.ReadDir(dir); len(out) != want {
			t.Errorf("written outside: %v, %v", out, err)
		}
	}
	if err := cache.Remove(outer); err != nil {
		t.Error(err)
	}
}

func FuzzDeb(f *testing.F) {
	good := tarball(f, entry{name: "./usr/bin/x", text: "x"}, entry{name: "./bin/sh", link: "dash"}, entry{name: "./y", link: "./usr/bin/x", kind: tar.TypeLink})
	for _, how := range []string{"", "gz", "zst", "xz", "bz2"} {
		f.Add(debOf("data.tar."+how, compressed(f, good, how)))
	}
	f.Add([]byte("!<arch>\n"))
	f.Add(debOf("data.tar", sparse(f, true)))
	f.Add(debOf("data.tar", paxed(f, "path=usr/bin/long")))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzUnpack(t, [][]byte{b}, UnpackDebs)
	})
}

func FuzzImage(f *testing.F) {
	lower := tarball(f, entry{name: "bin/sh", text: "sh"}, entry{name: "etc/a", text: "a"}, entry{name: "link", link: "etc"}, entry{name: "dev/null", kind: tar.TypeChar})
	for _, upper := range [][]byte{
		tarball(f, entry{name: "etc/.wh.a"}, entry{name: "link/"}, entry{name: "link/x", text: "x"}),
		tarball(f, entry{name: "etc/.wh..wh..opq"}, entry{name: "bin", text: "a file"}, entry{name: "pipe", kind: tar.TypeFifo}),
		tarball(f, entry{name: "out", link: "/tmp"}, entry{name: "out/x", text: "x"}), sparse(f, true), sparse(f, false),
	} {
		f.Add(lower, upper)
		f.Add(upper, compressed(f, lower, "gz"))
	}
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		fuzzUnpack(t, [][]byte{lower, repaired(upper)}, UnpackImage)
		fuzzUnpack(t, [][]byte{repaired(lower)}, UnpackImage)
	})
}

// repaired sets the checksum of whatever looks like a tar's header: else nearly every change ends there.
func repaired(b []byte) []byte {
	b = bytes.Clone(b)
	for at := 0; at+512 <= len(b); at += 512 {
		if string(b[at+257:at+262]) == "ustar" {
			patched(b, at, "")
		}
	}
	return b
}

// FuzzManifest: whatever a manifest says, the layout and the archive of an image give the same layers or are both
// refused with the place of the declaration, and every layer is what its digest says.
func FuzzManifest(f *testing.F) {
	layer := tarball(f, entry{name: "bin/sh", text: "sh"})
	p := parts{}
	good := manifestOf(p.add(layer, layerType))
	f.Add(good, layer)
	f.Add(indexOf(p.add(good, manifestType)), good)
	f.Add(indexOf(p.add(layer, indexType)), layer)
	f.Add([]byte(`{"manifests": [{"digest": "sha256:`+strings.Repeat("0", 64)+`", "size": -1}], "layers": [{}]}`), layer)
	f.Fuzz(func(t *testing.T, top, blob []byte) {
		p := parts{}
		p.add(top, "")
		p.add(blob, "")
		p.add(good, "")
		p.add(layer, "")
		layout, archive := p.write(t)
		var got [2][]cache.Digest
		var errs [2]error
		for i, ref := range []string{layout, archive} {
			fetcher := newFetcher(t)
			got[i], errs[i] = fetcher.FetchImage(t.Context(), ImageSeed{ID: "base", Pos: "seed.hcl:3", Arch: "amd64", Ref: ref, Digest: "sha256:" + cache.DigestOf(top).Hex()})
			if err := errs[i]; err != nil && !strings.HasPrefix(err.Error(), "seed.hcl:3: seed base: ") {
				t.Errorf("error %v", err)
			}
			for _, d := range got[i] {
				in, err := fetcher.Store.OpenBlob(d)
				if err != nil {
					t.Fatal(err)
				}
				if is, err := cache.DigestReader(in); err != nil || is != d {
					t.Errorf("layer %v is %v, %v", d, is, err)
				}
				in.Close()
			}
		}
		if (errs[0] == nil) != (errs[1] == nil) || len(got[0]) != len(got[1]) {
			t.Errorf("the layout gives %v, %v; the archive %v, %v", got[0], errs[0], got[1], errs[1])
		}
	})
}

// FuzzLock: a lock file that is read is written in one form, which reads as the same; an error names file and line.
func FuzzLock(f *testing.F) {
	if b, err := os.ReadFile("../../.vfsb/lock.json"); err == nil {
		f.Add(b)
	}
	l := &Lock{path: "lock.json", sources: map[string]Entry{}, seeds: map[string]lockedSeed{}, changed: map[string]string{}}
	f.Add(l.format())
	l.SetSource("a/b", Entry{Origin: DebianOrigin, Filename: "b_1.orig.tar.gz", SHA256: sumA, Size: 5, Path: "pool/b/b_1.orig.tar.gz"})
	l.SetSource("g/g", Entry{Origin: GitOrigin, Filename: "g.tar", SHA256: sumB, Commit: strings.Repeat("1", 40)})
	l.SetSeed("//seed:amd64", "f", []Deb{{Package: "p", Version: "1:2~3+b1", Arch: "all", Path: "pool/p.deb", SHA256: sumA, Size: 1}})
	f.Add(l.format())
	f.Add([]byte(`{"version": 1, "sources": {}, "sources": {}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(b []byte) (*Lock, error) {
			l := &Lock{path: "lock.json", sources: map[string]Entry{}, seeds: map[string]lockedSeed{}, changed: map[string]string{}}
			return l, l.parse(b)
		}
		l, err := read(b)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "lock.json:") || !strings.Contains(err.Error(), ": lock file: ") || errors.Unwrap(err) == nil {
				t.Errorf("error %v", err)
			}
			return
		}
		text := l.format()
		again, err := read(text)
		if err != nil {
			t.Fatalf("%q was read and written as %q, which gives %v", b, text, err)
		}
		if !bytes.Equal(again.format(), text) {
			t.Errorf("%q is written again as %q", text, again.format())
		}
	})
}
