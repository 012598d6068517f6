package cache

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzParseIndex: what parses is written as it was, and an error says that it is about an index.
func FuzzParseIndex(f *testing.F) {
	for _, text := range indexSeeds(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ParseIndex(b)
		if err == nil && !bytes.Equal(x.Marshal(), b) {
			t.Errorf("%q was accepted, and is written as %q", b, x.Marshal())
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "index: ") || len(err.Error()) > 10<<10) {
			t.Errorf("error %q", err)
		}
	})
}

func indexSeeds(f *testing.F) [][]byte {
	x, _ := sample(f)
	return [][]byte{
		x.Marshal(),
		[]byte(indexHeader),
		[]byte(indexHeader + "d 0755 0 0 a\nl 0 0 a/b c%20d\np 0600 1 2 a/c\n"),
		[]byte(indexHeader + "d 0755 0 0 a user.a= user.b=%00\nd 2755 0 5 a/%FF\nl 0 0 a/%FF/b ../../x\n"),
		fmt.Appendf(nil, "%sf 4755 0 0 0 %s a security.capability=%%01%%00%%00%%02%%00%%20%s\nh b a\n", indexHeader, DigestOf(nil).Hex(), strings.Repeat("%00", 14)),
	}
}

// FuzzIndexTar: whatever an index can say its tar can carry, and unpacking that gives the same index again.
func FuzzIndexTar(f *testing.F) {
	for _, text := range indexSeeds(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ParseIndex(b)
		if err != nil {
			return
		}
		for i := range x.Entries {
			if e := &x.Entries[i]; e.Kind == File { // the hash of a content that nobody knows
				e.Size %= 2000
				e.Hash = DigestOf(make([]byte, e.Size)).Hash
			}
			if len(x.Entries[i].Xattrs) > 2 { // a file system may have no room for more
				return
			}
		}
		var tar bytes.Buffer
		if err := x.WriteTar(&tar, func(e *Entry) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(make([]byte, e.Size))), nil
		}); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		defer Remove(dir)
		y, d, err := unpack(dir, bytes.NewReader(tar.Bytes()), DefaultImportLimits)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(y.Marshal(), x.Marshal()) || d != DigestOf(tar.Bytes()) {
			t.Errorf("%s came back as %s", x.Marshal(), y.Marshal())
		}
		if err := verifyTree(dir, y, d.Hash); err != nil {
			t.Error(err)
		}
	})
}

// FuzzJournal: whatever lies in the journals, the store opens, what is put is found again, by a later process too, and
// compacting loses nothing that counts.
func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	s := openStore(f, dir)
	key, layer := DigestOf([]byte("key")), Layer{DigestOf([]byte("tar")), DigestOf([]byte("index"))}
	when := time.Unix(Epoch, 5)
	check(f, s.PutResult(key, Result{Layer: layer, Log: DigestOf(nil), Seconds: 1.5, CPU: 2e9, MaxRSS: 1 << 30, Label: "//a b:c", Time: when}))
	check(f, s.PutResult(key, Result{Label: "//again"}))
	check(f, s.AddRecord(Record{Label: "//a b:c", Key: key, Fields: []Field{{"env A", "1"}, {"", "%\n"}}, Status: "executed", Layer: layer, Time: when}))
	var journals [2][]byte
	for i, name := range []string{"results", "history"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		check(f, err)
		journals[i] = b
		f.Add(b)
		f.Add(b[:len(b)-5])
		f.Add(append([]byte("torn\n"), b...))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzJournal(t, b)
		var sealed []byte // else nearly every change ends at a line's checksum
		for line := range bytes.SplitSeq(b, []byte("\n")) {
			if fields, ok := unseal(line); ok {
				line = fields
			}
			sealed = append(sealed, seal(bytes.Clone(line))...)
		}
		fuzzJournal(t, sealed)
	})
}

func fuzzJournal(t *testing.T, b []byte) {
	dir := t.TempDir()
	open := func() *Store {
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	open().Close()
	for _, name := range []string{"results", "history"} {
		check(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	s := open()
	mine := DigestOf([]byte("mine"))
	s.Result(mine) // reads the journal
	s.Durations()
	was := map[Digest]string{}
	for key := range s.known.at {
		r, ok := s.Result(key)
		if !ok {
			continue // sealed, but no result
		}
		was[key] = fmt.Sprint(r)
		check(t, s.PutResult(mine, r))
		if again, ok := s.Result(mine); !ok || fmt.Sprint(again) != fmt.Sprint(r) {
			t.Fatalf("put %v, got %v", r, again)
		}
	}
	label := ""
	lines(b, func(line []byte, _ int) {
		if r, err := parseRecord(string(line)); err == nil {
			label = r.Label
			check(t, s.AddRecord(r))
			h, err := s.History(label)
			if err != nil || len(h) == 0 || fmt.Sprint(h[len(h)-1]) != fmt.Sprint(r) {
				t.Fatalf("added %v, got %v, %v", r, h, err)
			}
		}
	})
	check(t, s.PutResult(mine, Result{Label: "mine"}))
	history, err := s.History(label)
	check(t, err)
	for _, j := range []*journal{&s.results, &s.history} {
		j.grown.Store(true) // so that Close compacts
	}
	check(t, s.Close())

	s = open()
	defer s.Close()
	if r, ok := s.Result(mine); !ok || r.Label != "mine" {
		t.Errorf("what was put is %v, %v", r, ok)
	}
	delete(was, mine)
	for key, want := range was {
		if r, _ := s.Result(key); fmt.Sprint(r) != want {
			t.Errorf("%v is %v, was %v", key, r, want)
		}
	}
	if h, err := s.History(label); err != nil || fmt.Sprint(h) != fmt.Sprint(history) {
		t.Errorf("history of %q is %v, was %v", label, h, history)
	}
}

// FuzzCaps: capabilities are written as text that means the same.
func FuzzCaps(f *testing.F) {
	for _, text := range []string{"=", "cap_net_raw+ep", "all=p", "cap_chown,cap_kill=i cap_setuid+p", "=ep cap_chown-ep"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := EncodeCaps(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "capabilities ") {
				t.Errorf("error %v", err)
			}
			return
		}
		if n, ok := normalCapability(value); !ok || n != value {
			t.Errorf("%q gives %x, which is not normal", text, value)
		}
		if again, err := EncodeCaps(DecodeCaps(value)); err != nil || again != value {
			t.Errorf("%q gives %x, written as %q, which gives %x, %v", text, value, DecodeCaps(value), again, err)
		}
	})
}
