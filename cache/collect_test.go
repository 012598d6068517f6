package cache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// buildNode does for one node what a build does, whatever is collected meanwhile: its layer is there when it returns, and
// stays until the store is closed.
func buildNode(s *Store, name string, at time.Time) (Layer, error) {
	key := DigestOf([]byte(name))
	if r, ok := s.Result(key); ok {
		if err := s.Pin([]Layer{r.Layer}, nil); err != nil || s.HasLayer(r.Layer) {
			return r.Layer, err
		}
	}
	l, err := putLayer(s, name)
	if err != nil {
		return Layer{}, err
	}
	run, release, err := s.NewRun("log")
	if err != nil {
		return Layer{}, err
	}
	defer release()
	log := filepath.Join(run, "log")
	if err := os.WriteFile(log, []byte("log of "+name), 0o600); err != nil {
		return Layer{}, err
	}
	d, err := s.PutFile(log)
	if err != nil {
		return Layer{}, err
	}
	if err := s.PutResult(key, Result{Layer: l, Log: d, Label: name, Time: at}); err != nil {
		return Layer{}, err
	}
	return l, s.AddRecord(Record{Label: name, Key: key, Layer: l, Log: d, Time: at})
}

func collect(t *testing.T, s *Store, o CollectOptions) *Collection {
	t.Helper()
	c, err := s.Collect(context.Background(), o)
	check(t, err)
	return c
}

// reasons is "label or name: reason" of the layers and failed runs among items, sorted.
func reasons(items []Item) (list []string) {
	for _, it := range items {
		if it.Kind == "blob" {
			continue
		}
		label := it.Label
		if label == "" {
			label = it.Name
		}
		list = append(list, label+": "+it.Reason)
	}
	slices.Sort(list)
	return list
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

// back sets the time of what is in the store.
func back(t *testing.T, path string, at time.Time) {
	t.Helper()
	check(t, os.Chtimes(path, at, at))
}

var longAgo = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

func day(n int) time.Time { return longAgo.Add(time.Duration(n) * 24 * time.Hour) }

// nodes builds nodes in a process that has ended: node n on day n.
func nodes(t *testing.T, dir string, names ...string) map[string]Layer {
	t.Helper()
	s := openStore(t, dir)
	layers := map[string]Layer{}
	for i, name := range names {
		l, err := buildNode(s, name, day(i))
		check(t, err)
		layers[name] = l
		back(t, filepath.Dir(s.LayerDir(l)), day(i))
	}
	check(t, s.Close())
	return layers
}

func TestCollectUnnamed(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	nodes(t, dir, "a")
	s := openStore(t, dir)
	blob := func(text string) Digest {
		d, err := s.PutBytes([]byte(text))
		check(t, err)
		return d
	}
	field, used, kept, garbage := blob("named by a record"), blob("used by a build"), blob("kept by the caller"), blob("garbage")
	check(t, s.AddRecord(Record{Label: "a", Fields: []Field{{"file x", field.String()}, {"text", "not a digest"}}}))
	check(t, s.Use("build", nil, []Digest{used}))
	lost, err := putLayer(s, "lost")
	check(t, err)
	var logs []Digest
	for i := range boundHistory + 2 {
		logs = append(logs, blob(fmt.Sprint("log ", i)))
		check(t, s.AddRecord(Record{Label: "b", Log: logs[i]}))
	}
	check(t, s.Use("an old build", nil, []Digest{garbage}))
	check(t, os.Remove(filepath.Join(dir, "used", DigestOf([]byte("an old build")).Hex())))
	check(t, s.Close())
	history, err := os.ReadFile(filepath.Join(dir, "history"))
	check(t, err)

	s = openStore(t, dir)
	o := CollectOptions{Keep: []Keep{{Reason: "mine", Blobs: []Digest{kept}}}, DryRun: true}
	dry := collect(t, s, o)
	if !s.HasBlob(garbage) || !s.HasLayer(lost) {
		t.Error("a dry run removes")
	}
	o.DryRun = false
	c := collect(t, s, o)
	equal(t, "removed", reasons(c.Removed), "layers/"+lost.Tar.Hex()+": "+Unnamed)
	equal(t, "kept", reasons(c.Kept), "a: "+Named)
	for d, want := range map[Digest]bool{field: true, used: true, kept: true, garbage: false, logs[0]: false, logs[1]: false, logs[2]: true, logs[9]: true} {
		if got := s.HasBlob(d); got != want {
			t.Errorf("blob %v: %v, want %v", d, got, want)
		}
	}
	if s.HasLayer(lost) {
		t.Error("a layer that nothing names is still there")
	}
	if len(dry.Removed) != len(c.Removed)-2 { // the logs of records that were compacted away
		t.Errorf("a dry run would remove %d things, and %d were removed", len(dry.Removed), len(c.Removed))
	}
	for _, it := range c.Kept {
		if it.Name == blobName(kept) && it.Reason != "mine" {
			t.Errorf("the caller's reason is lost: %+v", it)
		}
		if it.Size <= 0 {
			t.Errorf("%+v has no size", it)
		}
	}
	if now, err := os.ReadFile(filepath.Join(dir, "history")); err != nil || len(now) >= len(history) {
		t.Errorf("the history was not compacted: %v", err)
	}
	for _, left := range []string{"unsynced/*/*", "run/*/*-collected"} {
		if names := s.glob(left); len(names) > 0 {
			t.Errorf("left behind: %v", names)
		}
	}
	check(t, s.Close())
	checkStore(t, dir)
}

func TestCollectOrder(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	layers := nodes(t, dir, "a", "b", "c", "d", "e")
	s := openStore(t, dir)
	// a is the oldest, and a build uses it; so did one that uses nothing any more, the layer b.
	check(t, s.Use("x", []Layer{layers["a"]}, nil))
	check(t, s.Use("y", []Layer{layers["b"]}, nil))
	back(t, filepath.Join(dir, "used", DigestOf([]byte("x")).Hex()), day(9))
	back(t, filepath.Join(dir, "used", DigestOf([]byte("y")).Hex()), day(8))
	check(t, s.Use("y", nil, nil))

	keep := []Keep{{Reason: "mine", Layers: []Layer{layers["c"]}}}
	all := collect(t, s, CollectOptions{DryRun: true, Keep: keep})
	size := map[string]int64{}
	total := all.Rest
	for _, it := range all.Kept {
		size[it.Label] += it.Size
		total += it.Size
	}
	var order []string
	for _, it := range collect(t, s, CollectOptions{DryRun: true, MaxSize: 1, Keep: keep}).Removed {
		if it.Kind == "layer" {
			order = append(order, it.Label)
		}
	}
	equal(t, "least recently used first", order, "d", "e", "b", "a")

	c := collect(t, s, CollectOptions{MaxSize: total - size["d"] - 1, Keep: keep})
	equal(t, "too much by a little more than d", reasons(c.Removed), "d: "+Oversize, "e: "+Oversize)
	equal(t, "kept", reasons(c.Kept), "a: "+Recent, "b: "+Recent, "c: mine")
	c = collect(t, s, CollectOptions{MaxSize: total - size["d"] - size["e"], Keep: keep})
	equal(t, "just enough", reasons(c.Removed))
	c = collect(t, s, CollectOptions{Before: day(8).Add(time.Minute), Keep: keep})
	equal(t, "too old", reasons(c.Removed), "b: "+Aged)
	c = collect(t, s, CollectOptions{MaxSize: 1})
	equal(t, "all that can go", reasons(c.Removed), "a: "+Oversize, "c: "+Oversize)

	for name := range layers { // what a layer was is known all the same
		r, ok := s.Result(DigestOf([]byte(name)))
		if !ok || r.Layer != layers[name] || s.HasLayer(r.Layer) {
			t.Errorf("result %s: %v, %+v", name, ok, r)
		}
		if runs, err := s.History(name); err != nil || len(runs) != 1 || !s.HasBlob(runs[0].Log) {
			t.Errorf("history of %s: %v, %v", name, runs, err)
		}
	}
	if left := s.glob("used/*"); len(left) > 0 {
		t.Errorf("uses of nothing: %v", left)
	}
	if got, err := buildNode(s, "a", day(10)); err != nil || got != layers["a"] || s.VerifyLayer(got) != nil {
		t.Errorf("built again: %v, %v", got, err)
	}
}

// TestUse: the time of a use is noted on what dropped out of it, and seldom.
func TestUse(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	layers := nodes(t, dir, "a", "b")
	s := openStore(t, dir)
	list := []Layer{layers["a"], layers["b"]}
	check(t, s.Use("x", list, nil))
	file := filepath.Join(dir, s.glob("used/*")[0])
	modTime := func(path string) time.Time {
		fi, err := os.Stat(path)
		check(t, err)
		return fi.ModTime()
	}
	recent := time.Now().Add(-useGrain / 2).Truncate(time.Second)
	for before, same := range map[time.Time]bool{recent: true, day(3): false} {
		back(t, file, before)
		check(t, s.Use("x", list, nil))
		if got := modTime(file); got.Equal(before) != same {
			t.Errorf("a use noted at %v is noted at %v", before, got)
		}
	}
	back(t, file, day(5))
	check(t, s.Use("x", list[:1], nil))
	if got := modTime(filepath.Dir(s.LayerDir(layers["b"]))); !got.Equal(day(5)) {
		t.Errorf("b dropped out of a use of %v: %v", day(5), got)
	}
	if got := modTime(filepath.Dir(s.LayerDir(layers["a"]))); !got.Equal(day(0)) {
		t.Errorf("a is still in use, by the file, and was touched: %v", got)
	}
	if n := len(s.glob("used/*")); n != 1 {
		t.Errorf("%d files for one name", n)
	}
}

func TestPin(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	layers := nodes(t, dir, "a", "b")
	build := openStore(t, dir)
	check(t, build.Pin([]Layer{layers["a"]}, []Digest{DigestOf([]byte("not there"))}))
	check(t, build.Pin([]Layer{layers["a"]}, nil))
	made, err := buildNode(build, "made", time.Now())
	check(t, err)
	lost, err := putLayer(build, "not recorded yet")
	check(t, err)
	file := filepath.Join(tempDir(t), "file")
	check(t, os.WriteFile(file, []byte("not recorded yet"), 0o600))
	loose, err := build.PutFile(file)
	check(t, err)

	s := openStore(t, dir)
	c := collect(t, s, CollectOptions{MaxSize: 1})
	equal(t, "removed", reasons(c.Removed), "b: "+Oversize)
	equal(t, "kept", reasons(c.Kept), "a: "+InUse, layerName(lost.Tar)+": "+InUse, "made: "+InUse)
	if !s.HasBlob(loose) {
		t.Error("what a build has put, and not recorded yet, was removed")
	}
	if pins, err := os.ReadFile(filepath.Join(build.process, pinsFile)); err != nil || strings.Count(string(pins), layerName(layers["a"].Tar)) != 1 {
		t.Errorf("pinned twice is written twice: %v\n%s", err, pins)
	}
	check(t, build.VerifyLayer(made))
	check(t, build.Close())
	c = collect(t, s, CollectOptions{MaxSize: 1})
	equal(t, "after the build", reasons(c.Removed), "a: "+Oversize, layerName(lost.Tar)+": "+Unnamed, "made: "+Oversize)
	if s.HasBlob(loose) {
		t.Error("what nothing ever named is still there")
	}
}

// TestPinWaits: nothing is pinned while it is decided what goes, and the other way round.
func TestPinWaits(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	layers := nodes(t, dir, "a")
	s, other := openStore(t, dir), openStore(t, dir)
	for _, c := range []struct {
		what string
		held int // of the lock, by s
		do   func() error
	}{
		{"pin", unix.LOCK_EX, func() error { return other.Pin([]Layer{layers["a"]}, nil) }},
		{"collect", unix.LOCK_SH, func() error {
			_, err := other.Collect(context.Background(), CollectOptions{MaxSize: 1})
			return err
		}},
	} {
		l, err := s.lockInternal("collect", c.held)
		check(t, err)
		done := make(chan error)
		go func() { done <- c.do() }()
		select {
		case err := <-done:
			t.Errorf("%s did not wait: %v", c.what, err)
			l.Close()
		case <-time.After(100 * time.Millisecond):
			l.Close()
			check(t, <-done)
		}
	}
}

// TestCollectPinsFirst: a build puts a blob, names it and ends while the names are being read. A pipe among them holds
// the reading up.
func TestCollectPinsFirst(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	s, build := openStore(t, dir), openStore(t, dir)
	blob, err := build.PutBlob(strings.NewReader("log"))
	check(t, err)
	pipe := filepath.Join(dir, "used", "pipe")
	check(t, unix.Mkfifo(pipe, 0o600))
	done := make(chan error)
	go func() {
		_, err := s.Collect(context.Background(), CollectOptions{})
		done <- err
	}()
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for the reader
	check(t, err)
	check(t, os.Remove(pipe))
	check(t, build.AddRecord(Record{Label: "a", Log: blob}))
	check(t, build.Close())
	check(t, w.Close())
	check(t, <-done)
	if !s.HasBlob(blob) {
		t.Error("the log of a record is gone")
	}
}

// TestCollectFailed: the folder of a failed run keeps what it needs as long as it stays itself.
func TestCollectFailed(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	layers := nodes(t, dir, "a", "b", "c")
	fail := func(label, needs string, at time.Time) {
		s := openStore(t, dir)
		run, release, err := s.NewRun(label)
		check(t, err)
		defer release()
		check(t, os.MkdirAll(filepath.Join(run, "work"), 0o755))
		check(t, os.Chmod(filepath.Join(run, "work"), 0))
		_, err = s.KeepFailed(run, label, []Layer{layers[needs]}, nil)
		check(t, err)
		back(t, s.FailedDir(label), at)
		back(t, filepath.Join(s.FailedDir(label), pinsFile), at)
		check(t, s.Close())
	}
	fail("//old:x", "a", day(1))
	fail("//new:x", "b", day(20))

	s := openStore(t, dir)
	c := collect(t, s, CollectOptions{Before: day(10)})
	equal(t, "removed", reasons(c.Removed), "//old:x: "+Aged, "a: "+Aged, "c: "+Aged)
	equal(t, "kept", reasons(c.Kept), "//new:x: "+ForShell, "b: "+Recent)

	shell := openStore(t, dir)
	check(t, shell.PinFailed("//new:x"))
	c = collect(t, s, CollectOptions{MaxSize: 1})
	equal(t, "while a shell is in it", reasons(c.Kept), "//new:x: "+InUse, "b: "+InUse)
	check(t, shell.Close())
	c = collect(t, s, CollectOptions{MaxSize: 1})
	equal(t, "afterwards", reasons(c.Removed), "//new:x: "+Oversize, "b: "+Oversize)

	// What goes while it is being listed is no failure.
	check(t, os.Mkdir(s.FailedDir("//built:x"), 0o755))
	check(t, os.Symlink("gone", filepath.Join(s.FailedDir("//built:x"), pinsFile)))
	collect(t, s, CollectOptions{})
}

// TestCollectDuringBuilds has builds that use each other's layers while all that may go is collected again and again.
// What a build has seen stays as long as it runs, and what it recorded keeps its log.
func TestCollectDuringBuilds(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	openStore(t, dir)
	build := func(rng *rand.Rand) error {
		s, err := Open(dir)
		if err != nil {
			return err
		}
		defer s.Close()
		seen := map[string]Layer{}
		for range 6 {
			name := fmt.Sprint("node ", rng.IntN(8))
			l, err := buildNode(s, name, time.Now())
			if err != nil {
				return err
			}
			seen[name] = l
			for name, l := range seen {
				if err := s.VerifyLayer(l); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
		return s.Close()
	}
	var builds sync.WaitGroup
	var enough atomic.Bool
	for i := range 3 {
		builds.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for !enough.Load() {
				if err := build(rng); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for removed := 0; removed < 40 && !t.Failed(); {
		s, err := Open(dir)
		check(t, err)
		for _, it := range collect(t, s, CollectOptions{MaxSize: 1}).Removed {
			if it.Kind == "layer" {
				removed++
			}
		}
		for i := range 8 {
			runs, err := s.History(fmt.Sprint("node ", i))
			check(t, err)
			for _, r := range runs {
				if !s.HasBlob(r.Log) {
					t.Errorf("the log of a run of %s is gone", r.Label)
				}
			}
		}
		check(t, s.Close())
	}
	enough.Store(true)
	builds.Wait()
	checkContent(t, openStore(t, dir))
}

// childCollects builds and collects until it is killed.
func childCollects(dir string) error {
	for i := 0; ; i++ {
		s, err := Open(dir)
		if err != nil {
			return err
		}
		for j := range 3 {
			if _, err := buildNode(s, fmt.Sprintf("%d", (i+j)%5), time.Now()); err != nil {
				return err
			}
		}
		if err := s.Close(); err != nil {
			return err
		}
		if s, err = Open(dir); err != nil {
			return err
		}
		if i == 0 {
			fmt.Println("ready")
		}
		if _, err := s.Collect(context.Background(), CollectOptions{MaxSize: int64(1 + i%2*60_000)}); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
}

// TestCollectKill kills while things are being removed: what is left is whole, and nothing is left behind.
func TestCollectKill(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	during := 0
	for range 25 {
		cmd := child("collects", dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
			t.Fatalf("%q, %v: %s", line, err, stderr.String())
		}
		time.Sleep(time.Duration(rand.IntN(60_000)) * time.Microsecond)
		check(t, cmd.Process.Kill())
		cmd.Wait()
		if stderr.Len() > 0 {
			t.Fatalf("before the kill: %s", stderr.String())
		}
		if half, _ := filepath.Glob(dir + "/run/*/*-collected/*"); len(half) > 0 {
			during++
		}
		s, err := Open(dir)
		check(t, err)
		checkContent(t, s)
		if left := s.glob("run/*"); len(left) > 0 {
			t.Errorf("left in run/: %v", left)
		}
		for i := range 5 {
			name := fmt.Sprint(i)
			l, err := buildNode(s, name, time.Now())
			if err := errors.Join(err, s.VerifyLayer(l)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if runs, err := s.History(name); err != nil || len(runs) == 0 || !s.HasBlob(runs[len(runs)-1].Log) {
				t.Errorf("history of %s: %v, %v", name, runs, err)
			}
		}
		check(t, s.Close())
	}
	t.Logf("%d of 25 kills came while things were being removed", during)
}

// TestForget: the notes of uses that name something that is there stay, also if it came while others were collected.
func TestForget(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	nodes(t, dir, "a")
	s, build := openStore(t, dir), openStore(t, dir)
	c := &collector{store: s, last: map[string]time.Time{}, labels: map[string]string{}, reasons: map[string]string{}}
	check(t, c.survey(context.Background()))
	blob, err := build.PutBlob(strings.NewReader("fetched meanwhile"))
	check(t, err)
	check(t, build.Use("fetch", nil, []Digest{blob}))
	check(t, build.Use("gone", nil, []Digest{DigestOf([]byte("gone"))}))
	check(t, build.Close())
	check(t, c.settle(filepath.Join(dir, "nowhere")))
	check(t, c.forget())
	if known, err := s.UsedAgain("gone"); known || err != nil {
		t.Errorf("a use of what is gone is known: %v, %v", known, err)
	}
	collect(t, s, CollectOptions{})
	if !s.HasBlob(blob) {
		t.Error("a blob that is used was removed")
	}
}

// TestUseWhileForgotten: a use is noted whole, whatever is forgotten meanwhile.
func TestUseWhileForgotten(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	layers := nodes(t, dir, "a")
	s, build := openStore(t, dir), openStore(t, dir)
	gone := Layer{Tar: DigestOf([]byte("gone"))}
	var enough atomic.Bool
	var forgets sync.WaitGroup
	forgets.Go(func() {
		for !enough.Load() {
			if err := (&collector{store: s}).forget(); err != nil {
				t.Error(err)
			}
		}
	})
	for i := 0; i < 100 && !t.Failed(); i++ {
		check(t, build.Use("x", []Layer{gone}, nil))
		if path := build.usedPath("x"); i%2 == 0 { // long ago
			os.Chtimes(path, day(0), day(0))
		}
		if i%4 < 2 {
			if _, err := build.UsedAgain("x"); err != nil {
				t.Error(err)
			}
			if err := build.Use("x", []Layer{gone}, nil); err != nil {
				t.Error(err)
			}
		}
		if err := build.Use("x", []Layer{layers["a"]}, nil); err != nil {
			t.Error(err)
		}
		if known, err := build.UsedAgain("x"); !known || err != nil {
			t.Errorf("the use of a layer that is there is not known: %v", err)
		}
	}
	enough.Store(true)
	forgets.Wait()
}
