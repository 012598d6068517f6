package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// putLayer commits a layer whose content depends on seed.
func putLayer(s *Store, seed string) (Layer, error) {
	run, release, err := s.NewRun("//test:" + seed)
	if err != nil {
		return Layer{}, err
	}
	defer release()
	if err := os.MkdirAll(run+"/usr/bin", 0o755); err != nil {
		return Layer{}, err
	}
	for i := range 3 {
		text := strings.Repeat(fmt.Sprintf("%s %d\n", seed, i), 200*i)
		if err := os.WriteFile(fmt.Sprintf("%s/usr/bin/%d", run, i), []byte(text), 0o755); err != nil {
			return Layer{}, err
		}
	}
	if err := os.Symlink(seed, run+"/link"); err != nil {
		return Layer{}, err
	}
	x, d, err := Capture(run, CaptureOptions{})
	if err != nil {
		return Layer{}, err
	}
	return s.CommitLayer(run, x, d)
}

func result(l Layer, label string, seconds float64) Result {
	return Result{Layer: l, Log: DigestOf([]byte(label)), Seconds: seconds, CPU: seconds / 3, MaxRSS: 1 << 20, Label: label,
		Time: time.Unix(Epoch, 123456789).UTC()}
}

func TestStore(t *testing.T) {
	dir := filepath.Join(tempDir(t), "a", "store")
	s := openStore(t, dir)
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("store folder: %v, %v", fi.Mode(), err)
	}
	d, err := s.PutBytes([]byte("blob"))
	check(t, err)
	d2, err := s.PutBlob(strings.NewReader("blob"))
	if err != nil || d2 != d || !s.HasBlob(d) {
		t.Errorf("%v, %v, %v", d2, d, err)
	}
	file := filepath.Join(tempDir(t), "file")
	check(t, os.WriteFile(file, []byte("from a file"), 0o600))
	for range 2 {
		if d, err := s.PutFile(file); err != nil || d != DigestOf([]byte("from a file")) {
			t.Errorf("put file: %v, %v", d, err)
		}
	}
	if b, err := os.ReadFile(s.BlobPath(d)); err != nil || string(b) != "blob" {
		t.Errorf("%q, %v", b, err)
	}
	f, err := s.OpenBlob(d)
	check(t, err)
	f.Close()
	if got, ok := s.FindBlob(d.Hex()); !ok || got != d {
		t.Errorf("find: %v", got)
	}
	none := DigestOf([]byte("none"))
	if _, err := s.OpenBlob(none); !errors.Is(err, ErrNotFound) {
		t.Errorf("open what is not there: %v", err)
	}
	if _, ok := s.FindBlob("../../../format"); ok || s.HasBlob(none) || s.HasBlob(Digest{d.Hash, 5}) {
		t.Error("found what is not there")
	}
	run, release, err := s.NewRun("fetch")
	check(t, err)
	part := filepath.Join(run, "part")
	check(t, os.WriteFile(part, []byte("adopted"), 0o600))
	wantError(t, s.AdoptFile(part, d), "not a file of 4 bytes")
	check(t, s.AdoptFile(part, DigestOf([]byte("adopted"))))
	if !s.HasBlob(DigestOf([]byte("adopted"))) {
		t.Error("not adopted")
	}
	release()

	l, err := putLayer(s, "one")
	check(t, err)
	again, err := putLayer(s, "one")
	if err != nil || again != l || !s.HasLayer(l) {
		t.Errorf("%v, %v, %v", again, l, err)
	}
	check(t, s.VerifyLayer(l))
	if _, err := s.LoadIndex(Layer{none, none}); !errors.Is(err, ErrNotFound) {
		t.Errorf("load what is not there: %v", err)
	}
	if left, _ := filepath.Glob(dir + "/run/*/*-*"); len(left) > 0 {
		t.Errorf("left in run/: %v", left)
	}

	key := DigestOf([]byte("key"))
	if _, ok := s.Result(key); ok {
		t.Error("a result before it is put")
	}
	want := result(Layer{none, none}, "//a b:ü", 1.25) // known, though the layer is not here
	check(t, s.PutResult(key, result(l, "//a b:ü", 9)))
	check(t, s.PutResult(key, want))
	check(t, s.PutResult(none, Result{}))
	if got, ok := s.Result(key); !ok || got != want || s.HasLayer(got.Layer) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, ok := s.Result(none); !ok || got != (Result{}) {
		t.Errorf("empty result: %+v", got)
	}
	wantError(t, s.PutResult(Digest{}, want), "key is empty")
	if got := s.Durations(); got["//a b:ü"] != 1.25 || len(got) != 2 {
		t.Errorf("durations: %v", got)
	}

	if s.Checked(key) {
		t.Error("a check before it is put")
	}
	check(t, s.PutChecked(key, "//a b:ü"))
	if !s.Checked(key) || s.Checked(none) {
		t.Errorf("checked: %v, another key: %v", s.Checked(key), s.Checked(none))
	}

	var records []Record
	for i := range 11 {
		r := Record{Label: "//x", Key: key, Status: "executed", Seconds: float64(i), CPU: .5, Log: d, Layer: l,
			Time: time.Unix(int64(i), 1).UTC(), Fields: []Field{{"a=b c", "d e"}, {"", ""}, {"n", fmt.Sprint(i)}}}
		check(t, s.AddRecord(r))
		check(t, s.AddRecord(Record{Label: "//x/y"}))
		records = append(records, r)
	}
	got, err := s.History("//x")
	if err != nil || !reflect.DeepEqual(got, records[3:]) {
		t.Errorf("history: %v, %+v", err, got)
	}
	if got, err := s.History("//"); err != nil || len(got) != 0 {
		t.Errorf("history of nothing: %v, %v", got, err)
	}

	check(t, s.Close())
	check(t, s.Close())
	if left, _ := filepath.Glob(dir + "/run/*"); len(left) > 0 {
		t.Errorf("left in run/: %v", left)
	}
	s = openStore(t, dir)
	if got, ok := s.Result(key); !ok || got != want {
		t.Errorf("after reopening: %+v", got)
	}
	if got, err := s.History("//x"); err != nil || !reflect.DeepEqual(got, records[3:]) {
		t.Errorf("after reopening: %v, %+v", err, got)
	}
}

func TestFindLayer(t *testing.T) {
	s := openStore(t, filepath.Join(tempDir(t), "store"))
	var layers []Layer
	for i := range 17 { // of 16 first digits, two layers share one
		l, err := putLayer(s, fmt.Sprint(i))
		check(t, err)
		layers = append(layers, l)
	}
	for _, l := range layers {
		got, err := s.FindLayer(l.Tar.Hex()[:16])
		if err != nil || got.Tar.Hash != l.Tar.Hash || got.Index != l.Index {
			t.Errorf("%v: %v, %v", l, got, err)
		}
	}
	ambiguous := 0
	for _, digit := range "0123456789abcdef" {
		if _, err := s.FindLayer(string(digit)); err != nil && strings.Contains(err.Error(), "give more digits") {
			ambiguous++
		}
	}
	if ambiguous == 0 {
		t.Error("two layers with one first digit were told apart")
	}
	if _, err := s.FindLayer(strings.Repeat("0", 64)); !errors.Is(err, ErrNotFound) {
		t.Errorf("found what is not there: %v", err)
	}
	for _, bad := range []string{"*", "../x", "AB"} {
		_, err := s.FindLayer(bad)
		wantError(t, err, "want lower-case hex digits")
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := tempDir(t)
	check(t, os.WriteFile(filepath.Join(dir, "letter"), []byte("dear"), 0o600))
	_, err := Open(dir)
	wantError(t, err, `holds "letter" and is no store: use an empty folder`)
	check(t, os.WriteFile(filepath.Join(dir, "format"), []byte("vfsb-store 999\n"), 0o600))
	_, err = Open(dir)
	wantError(t, err, "this vfsb reads")
	_, err = Open(filepath.Join(dir, "letter"))
	wantError(t, err, "letter")
}

func TestOpenAtOnce(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			s, err := Open(dir)
			if err == nil {
				_, err = putLayer(s, fmt.Sprint(i%3))
			}
			if err == nil {
				err = s.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	checkStore(t, dir)
}

func TestRunFolders(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	s := openStore(t, dir)
	run, release, err := s.NewRun("//a/b:c")
	check(t, err)
	other, _, err := s.NewRun("//a/b:c")
	if err != nil || run == other {
		t.Errorf("%s twice: %v", run, err)
	}
	check(t, os.MkdirAll(filepath.Join(run, "work", "work"), 0o755))
	check(t, os.Chmod(filepath.Join(run, "work", "work"), 0))
	// What a dead process leaves: a folder with a lock that nobody holds, one without, one half removed.
	for _, d := range []string{"1-dead", "2-dead", "dead-3"} {
		check(t, os.MkdirAll(filepath.Join(dir, "run", d, "1-x", "work", "work"), 0o755))
		check(t, os.Chmod(filepath.Join(dir, "run", d, "1-x", "work", "work"), 0))
	}
	check(t, touch(dir+"/run/1-dead/lock"))
	s2 := openStore(t, dir)
	if left, _ := filepath.Glob(dir + "/run/*"); len(left) != 1 || filepath.Dir(run) != left[0] {
		t.Errorf("left in run/: %v", left)
	}
	if _, err := os.Stat(run); err != nil {
		t.Errorf("a living process lost its run folder: %v", err)
	}
	check(t, s2.Close())

	check(t, os.WriteFile(run+"/mark", []byte("first"), 0o600))
	check(t, os.WriteFile(other+"/mark", []byte("second"), 0o600))
	if kept, err := s.KeepFailed(run, "//a/b:c", nil, nil); err != nil || kept != s.FailedDir("//a/b:c") {
		t.Errorf("%s, %v", kept, err)
	}
	release()
	kept, err := s.KeepFailed(other, "//a/b:c", nil, nil)
	check(t, err)
	if b, err := os.ReadFile(kept + "/mark"); err != nil || string(b) != "second" {
		t.Errorf("%q, %v", b, err)
	}
	check(t, s.Close())
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	if a, b := s.FailedDir("//a:b"), s.FailedDir("//a/b"); a == b || filepath.Dir(a) != filepath.Dir(b) {
		t.Errorf("%s and %s", a, b)
	}
	if n := filepath.Base(s.FailedDir(strings.Repeat("long", 100))); len(n) > 255 {
		t.Errorf("%s is too long", n)
	}
	for _, odd := range []string{"", ".", "..", "../..", "a/../../b"} {
		if filepath.Dir(s.FailedDir(odd)) != filepath.Join(dir, "failed") {
			t.Errorf("%q gives %s", odd, s.FailedDir(odd))
		}
	}
}

// TestDropFailed: the folder of a failed run goes at once, so that a kill leaves no half of it, and another takes its place.
func TestDropFailed(t *testing.T) {
	s := openStore(t, filepath.Join(tempDir(t), "store"))
	keep := func() {
		run, release, err := s.NewRun("a")
		check(t, err)
		defer release()
		for i := range 300 {
			check(t, touch(fmt.Sprintf("%s/%d", run, i)))
		}
		_, err = s.KeepFailed(run, "a", nil, nil)
		check(t, err)
	}
	dir := s.FailedDir("a")
	for range 3 {
		keep()
		var drop sync.WaitGroup
		drop.Go(func() {
			if err := s.DropFailed("a"); err != nil {
				t.Error(err)
			}
		})
		for {
			before, err := os.Lstat(dir)
			if err != nil {
				break
			}
			for i := range 300 {
				if _, err := os.Lstat(fmt.Sprintf("%s/%d", dir, i)); err == nil {
					continue
				}
				if now, err := os.Lstat(dir); err == nil && os.SameFile(before, now) {
					t.Fatalf("file %d is gone, and the folder is there", i)
				}
				break
			}
		}
		keep() // while the last one is being removed
		drop.Wait()
	}
}

func TestLock(t *testing.T) {
	s := openStore(t, filepath.Join(tempDir(t), "store"))
	ctx := context.Background()
	unlock, err := s.Lock(ctx, "//a")
	check(t, err)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(short, "//a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locked twice: %v", err)
	}
	other, err := s.Lock(ctx, "//b")
	check(t, err)
	other()
	unlock()
	n, wg := 0, sync.WaitGroup{}
	for range 8 {
		wg.Go(func() {
			for range 20 {
				unlock, err := s.Lock(ctx, "//a")
				if err != nil {
					t.Error(err)
					return
				}
				n++ // -race sees it if two are in here
				unlock()
			}
		})
	}
	wg.Wait()
	if n != 160 {
		t.Errorf("counted %d", n)
	}
	if left, _ := filepath.Glob(s.Dir() + "/locks/[!@]*"); len(left) > 0 {
		t.Errorf("left in locks/: %v", left)
	}
}

// TestJournalDamage has a torn end, noise and holes in a journal.
func TestJournalDamage(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	s := openStore(t, dir)
	key := func(i int) Digest { return DigestOf([]byte(fmt.Sprint(i))) }
	for i := range 10 {
		check(t, s.PutResult(key(i), result(Layer{}, fmt.Sprint(i), 1)))
	}
	path := filepath.Join(dir, "results")
	good, err := os.ReadFile(path)
	check(t, err)
	line := len(good) / 10
	for cut := len(good) - line; cut < len(good)-1; cut++ {
		check(t, os.WriteFile(path, good[:cut], 0o600))
		s := openStore(t, dir)
		if _, ok := s.Result(key(9)); ok {
			t.Fatalf("a line of which %d bytes are there was taken", cut-len(good)+line)
		}
		check(t, s.PutResult(key(10), result(Layer{}, "after", 2)))
		for _, i := range []int{0, 8, 10} {
			if _, ok := s.Result(key(i)); !ok {
				t.Fatalf("cut at %d: result %d is lost", cut, i)
			}
		}
		if _, ok := s.Result(key(9)); ok {
			t.Fatalf("cut at %d: the torn line came back", cut)
		}
		check(t, s.Close())
	}
	bad := bytes.Clone(good)
	clear(bad[line+10 : 2*line+20]) // lines 1 and 2, with the newline between them
	bad[5*line+100] ^= 1            // line 5
	bad = append(bad[:8*line], append([]byte("\n\n noise\n\x00\x00\x00"), bad[8*line:]...)...)
	check(t, os.WriteFile(path, bad, 0o600))
	s = openStore(t, dir)
	for i := range 10 {
		_, ok := s.Result(key(i))
		if want := i != 1 && i != 2 && i != 5 && i != 8; ok != want {
			t.Errorf("result %d: %v", i, ok)
		}
	}
	if n := len(s.Durations()); n != 6 {
		t.Errorf("%d durations", n)
	}
	check(t, os.Remove(path)) // somebody clears it
	if _, ok := s.Result(key(11)); ok {
		t.Error("found a result in nothing")
	}
	check(t, s.PutResult(key(11), result(Layer{}, "new", 2)))
	if _, ok := s.Result(key(11)); !ok {
		t.Error("not found in a new journal")
	}
}

func TestJournalTail(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	a, b := openStore(t, dir), openStore(t, dir)
	for i := range 50 {
		key := DigestOf([]byte(fmt.Sprint(i)))
		if _, ok := b.Result(key); ok {
			t.Fatal("too early")
		}
		check(t, a.PutResult(key, result(Layer{}, fmt.Sprint(i), float64(i))))
		if r, ok := b.Result(key); !ok || r.Seconds != float64(i) {
			t.Fatalf("result %d of another process: %v %v", i, r, ok)
		}
	}
}

func TestJournalCompact(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	s, other := openStore(t, dir), openStore(t, dir)
	big := strings.Repeat("v", 200<<10)
	for i := range 110 {
		check(t, s.AddRecord(Record{Label: "//x", Seconds: float64(i), Fields: []Field{{"big", big}}}))
	}
	check(t, s.AddRecord(Record{Label: "//y"}))
	check(t, s.Close())
	fi, err := os.Stat(filepath.Join(dir, "history"))
	if err != nil || fi.Size() > 2<<20 {
		t.Errorf("not compacted: %v, %v", fi.Size(), err)
	}
	check(t, other.AddRecord(Record{Label: "//x", Seconds: 110}))
	got, err := other.History("//x")
	if err != nil || len(got) != 8 || got[0].Seconds != 103 || got[7].Seconds != 110 {
		t.Errorf("history: %d records, %v", len(got), err)
	}
	if got, err := other.History("//y"); err != nil || len(got) != 1 {
		t.Errorf("history of the other label: %v, %v", got, err)
	}

	// The other process has read a results journal that is then replaced.
	key := DigestOf([]byte("key"))
	check(t, other.PutResult(key, result(Layer{}, "//x", 1)))
	other.Result(DigestOf(nil))
	s = openStore(t, dir)
	for i := range 20 {
		check(t, s.PutResult(key, result(Layer{}, strings.Repeat("l", 1<<20), float64(i))))
	}
	check(t, s.PutResult(DigestOf(nil), result(Layer{}, "//z", 5)))
	check(t, s.Close())
	if fi, err := os.Stat(filepath.Join(dir, "results")); err != nil || fi.Size() > 2<<20 {
		t.Errorf("not compacted: %v, %v", fi.Size(), err)
	}
	if r, ok := other.Result(DigestOf(nil)); !ok || r.Seconds != 5 {
		t.Errorf("after the journal was replaced: %+v", r)
	}
	if r, ok := other.Result(key); !ok || r.Seconds != 19 {
		t.Errorf("after the journal was replaced: %v", r.Seconds)
	}

	// What it did not know of is read when it is asked for, from the journal of checks as well.
	if other.Checked(key) {
		t.Error("checked before it is put")
	}
	s = openStore(t, dir)
	for range 20 {
		check(t, s.PutChecked(key, strings.Repeat("l", 1<<20)))
	}
	check(t, s.Close())
	if fi, err := os.Stat(filepath.Join(dir, "checks")); err != nil || fi.Size() > 2<<20 {
		t.Errorf("not compacted: %v, %v", fi.Size(), err)
	}
	if !other.Checked(key) {
		t.Error("what another process has put is not known")
	}
}

// fill writes a results journal of n entries.
func fill(t testing.TB, dir string, n int) {
	t.Helper()
	s := openStore(t, dir)
	var b []byte
	for i := range n {
		d := DigestOf([]byte(fmt.Sprint(i)))
		b = fmt.Appendf(b, "%s", seal(fmt.Appendf(nil, "%v %v %v %v 1.5 2.5 1000000 1767225600000000000 //package%d:amd64", d, d, d, d, i)))
	}
	check(t, os.WriteFile(filepath.Join(dir, "results"), b, 0o600))
	check(t, s.Close())
}

// TestResultsLoad has a generous limit, for loaded machines; BenchmarkResultsLoad gives the number.
func TestResultsLoad(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	const n = 100_000
	fill(t, dir, n)
	start := time.Now()
	s := openStore(t, dir)
	for i := 0; i < n; i += 1000 {
		r, ok := s.Result(DigestOf([]byte(fmt.Sprint(i))))
		if !ok || r.Label != fmt.Sprintf("//package%d:amd64", i) {
			t.Fatalf("result %d: %+v", i, r)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("loading %d results took %v", n, took)
	}
	if m := s.Durations(); len(m) != n {
		t.Errorf("%d durations", len(m))
	}
}

func BenchmarkResultsLoad(b *testing.B) {
	dir := filepath.Join(tempDir(b), "store")
	fill(b, dir, 100_000)
	key := DigestOf([]byte("1"))
	for b.Loop() {
		s, err := Open(dir)
		check(b, err)
		if _, ok := s.Result(key); !ok {
			b.Fatal("not found")
		}
		check(b, s.Close())
	}
}

func BenchmarkDurations(b *testing.B) {
	dir := filepath.Join(tempDir(b), "store")
	fill(b, dir, 100_000)
	s := openStore(b, dir)
	for b.Loop() {
		s.Durations()
	}
}

func BenchmarkPutResult(b *testing.B) {
	s := openStore(b, filepath.Join(tempDir(b), "store"))
	for i := 0; b.Loop(); i++ {
		check(b, s.PutResult(DigestOf(fmt.Append(nil, i)), Result{}))
	}
}

func BenchmarkCommitLayer(b *testing.B) {
	s := openStore(b, filepath.Join(tempDir(b), "store"))
	for i := 0; b.Loop(); i++ {
		_, err := putLayer(s, fmt.Sprint(i))
		check(b, err)
	}
}

func BenchmarkCapture(b *testing.B) {
	for _, c := range []struct{ files, size int }{{5000, 2 << 10}, {20, 10 << 20}} {
		b.Run(fmt.Sprintf("%dx%d", c.files, c.size), func(b *testing.B) {
			dir := tempDir(b)
			data := make([]byte, c.size)
			for i := range c.files {
				sub := fmt.Sprintf("%s/%d", dir, i%50)
				os.Mkdir(sub, 0o755)
				check(b, os.WriteFile(fmt.Sprintf("%s/%d", sub, i), data, 0o644))
			}
			b.SetBytes(int64(c.files) * int64(c.size))
			before := cpuTime()
			for b.Loop() {
				_, _, err := Capture(dir, CaptureOptions{})
				check(b, err)
			}
			reportCPU(b, before)
		})
	}
}

func BenchmarkImportTar(b *testing.B) {
	s := openStore(b, filepath.Join(tempDir(b), "store"))
	dir := tempDir(b)
	data := bytes.Repeat([]byte("0123456789abcdef"), 40<<10/16)
	for i := range 5000 {
		sub := fmt.Sprintf("%s/%d", dir, i%50)
		os.Mkdir(sub, 0o755)
		check(b, os.WriteFile(fmt.Sprintf("%s/%d", sub, i), data, 0o644))
	}
	x, _, err := Capture(dir, CaptureOptions{})
	check(b, err)
	var tar bytes.Buffer
	_, err = exportTree(dir, x, &tar)
	check(b, err)
	archive := dir + ".tar"
	check(b, os.WriteFile(archive, tar.Bytes(), 0o600))
	for _, c := range []struct {
		name   string
		unpack func(dir string) error
	}{
		{"vfsb", func(dir string) error {
			f, err := os.Open(archive)
			check(b, err)
			defer f.Close()
			_, _, err = unpack(dir, f, DefaultImportLimits)
			return err
		}},
		{"tar", func(dir string) error { return exec.Command("tar", "xf", archive, "-C", dir).Run() }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(tar.Len()))
			before := cpuTime()
			for b.Loop() {
				run, release, err := s.NewRun("import")
				check(b, err)
				check(b, c.unpack(run))
				b.StopTimer()
				cleaning := cpuTime()
				release()
				before += cpuTime() - cleaning
				b.StartTimer()
			}
			reportCPU(b, before)
		})
	}
}

// cpuTime is what this process and its children have used: on a busy machine it says more than the wall's clock.
func cpuTime() time.Duration {
	total := int64(0)
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var ru unix.Rusage
		unix.Getrusage(who, &ru)
		total += ru.Utime.Nano() + ru.Stime.Nano()
	}
	return time.Duration(total)
}

func reportCPU(b *testing.B, before time.Duration) {
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// checkStore checks that all that is visible in a store is whole: results name layers that are there, layers and blobs
// have the content that their names say. It returns how many results and layers there are.
func checkStore(t testing.TB, dir string) (results, layers int) {
	t.Helper()
	s, err := Open(dir)
	check(t, err)
	defer s.Close()
	if left, _ := filepath.Glob(dir + "/run/*"); len(left) > 0 {
		t.Errorf("left in run/: %v", left)
	}
	s.Result(DigestOf(nil))
	for key := range s.known.at {
		r, ok := s.Result(key)
		if !ok || !s.HasLayer(r.Layer) || !s.HasBlob(r.Log) {
			t.Errorf("result %v: %+v, %v", key, r, ok)
		}
	}
	return len(s.known.at), checkContent(t, s)
}

// checkContent reads every layer and blob, and returns the number of layers.
func checkContent(t testing.TB, s *Store) (layers int) {
	t.Helper()
	dir := s.Dir()
	entries, err := os.ReadDir(filepath.Join(dir, "layers"))
	check(t, err)
	for _, e := range entries {
		hash, ok := parseHash(e.Name())
		b, err := os.ReadFile(filepath.Join(s.layerPath(hash), "index"))
		if !ok || err != nil {
			t.Errorf("layer %s: %v", e.Name(), err)
			continue
		}
		x, err := ParseIndex(b)
		if err == nil {
			err = verifyTree(filepath.Join(s.layerPath(hash), "tree"), x, hash)
		}
		if err != nil {
			t.Errorf("layer %s: %v", e.Name(), err)
		}
	}
	check(t, filepath.WalkDir(filepath.Join(dir, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if d, err := DigestReader(f); err != nil || d.Hex() != filepath.Base(path) {
			t.Errorf("blob %s: %v, %v", path, d, err)
		}
		return nil
	}))
	return len(entries)
}
