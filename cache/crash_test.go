package cache

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// putNode does what a build does for one node.
func putNode(s *Store, name string) error {
	l, err := putLayer(s, name)
	if err != nil {
		return err
	}
	log, err := s.PutBytes([]byte("log of " + name))
	if err != nil {
		return err
	}
	var tar bytes.Buffer
	if err := s.ExportTar(l, &tar); err != nil {
		return err
	}
	if got, err := s.ImportTar(&tar); err != nil || got != l {
		return fmt.Errorf("import gave %v: %w", got, err)
	}
	r := result(l, name, 1)
	r.Log = log
	if err := s.PutResult(DigestOf([]byte(name)), r); err != nil {
		return err
	}
	return s.AddRecord(Record{Label: name, Layer: l, Fields: []Field{{"name", name}}})
}

// childCommits puts nodes until it is killed.
func childCommits(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for i := 0; ; i++ {
		if err := putNode(s, fmt.Sprintf("%d-%d", os.Getpid(), i)); err != nil {
			return err
		}
		if i%16 == 15 {
			if err := s.Sync(); err != nil {
				return err
			}
		}
	}
}

func TestKill(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	results, longest := 0, 50*time.Millisecond
	for range 30 {
		cmd := child("commits", dir)
		stderr := &bytes.Buffer{}
		cmd.Stderr = stderr
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
			t.Fatalf("%q, %v: %s", line, err, stderr)
		}
		time.Sleep(rand.N(longest))
		check(t, cmd.Process.Kill())
		cmd.Wait()
		if stderr.Len() > 0 {
			t.Fatalf("before the kill: %s", stderr)
		}
		n, _ := checkStore(t, dir)
		if n < results {
			t.Errorf("%d results, there were %d", n, results)
		}
		if n == results { // a busy machine
			longest = min(2*longest, 2*time.Second)
		}
		results = n
		check(t, func() error { // the next run just works
			s, err := Open(dir)
			if err == nil {
				err = errors.Join(putNode(s, "after"), s.Close())
			}
			return err
		}())
	}
	if results < 10 {
		t.Errorf("only %d results: the kills came too early to show anything", results)
	}
	t.Logf("%d results survived 30 kills", results)
	_, before := checkStore(t, dir)
	s, err := openBoot(dir, "another boot") // reads again all that no sync has covered
	check(t, err)
	check(t, s.Close())
	if _, after := checkStore(t, dir); after != before {
		t.Errorf("%d layers after a reboot, %d before", after, before)
	}
}

const putsEach = 60

// childPuts puts nodes that another process puts at the same time, and some of its own, and counts below a lock.
func childPuts(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	for i := range putsEach {
		if err := putNode(s, fmt.Sprintf("shared-%d", i)); err != nil {
			return err
		}
		if err := putNode(s, fmt.Sprintf("%s-%d", os.Getenv("CACHE_TEST_NAME"), i)); err != nil {
			return err
		}
		unlock, err := s.Lock(context.Background(), "counter")
		if err != nil {
			return err
		}
		counter := filepath.Join(filepath.Dir(dir), "counter")
		b, _ := os.ReadFile(counter)
		n, _ := strconv.Atoi(string(b))
		if err := os.WriteFile(counter, []byte(strconv.Itoa(n+1)), 0o600); err != nil {
			return err
		}
		unlock()
	}
	return s.Close()
}

func TestTwoProcesses(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	s := openStore(t, dir)
	done := make(chan error)
	for _, name := range []string{"a", "b"} {
		cmd := child("puts", dir)
		cmd.Env = append(cmd.Env, "CACHE_TEST_NAME="+name)
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			done <- err
		}()
	}
	// This process looks on, without opening the store again.
	last := DigestOf(fmt.Appendf(nil, "a-%d", putsEach-1))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, ok := s.Result(last); ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the last result never came")
		}
	}
	check(t, errors.Join(<-done, <-done))
	for i := range putsEach {
		for _, name := range []string{"a", "b", "shared"} {
			label := fmt.Sprintf("%s-%d", name, i)
			r, ok := s.Result(DigestOf([]byte(label)))
			if !ok || r.Label != label || !s.HasLayer(r.Layer) {
				t.Errorf("%s: %+v", label, r)
			}
			records, err := s.History(label)
			if want := 1 + len(name)/len("shared"); err != nil || len(records) != want {
				t.Errorf("%s: %d records, %v", label, len(records), err)
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "counter")); err != nil || string(b) != strconv.Itoa(2*putsEach) {
		t.Errorf("counted %s below the lock, want %d", b, 2*putsEach)
	}
	check(t, s.Close())
	if results, layers := checkStore(t, dir); results != 3*putsEach || layers != 3*putsEach {
		t.Errorf("%d results, %d layers", results, layers)
	}
}

// TestManyGoroutines has one store that many use, and a sync now and then.
func TestManyGoroutines(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	s := openStore(t, dir)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for j := range 15 {
				name := fmt.Sprint("node", (i*7+j)%20)
				if err := putNode(s, name); err != nil {
					t.Error(err)
				}
				if r, ok := s.Result(DigestOf([]byte(name))); !ok || r.Label != name {
					t.Errorf("%s: %+v, %v", name, r, ok)
				}
				if j%5 == 4 {
					if err := s.Sync(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.Durations()); n != 20 {
		t.Errorf("%d durations", n)
	}
	check(t, s.Close())
	if results, layers := checkStore(t, dir); results != 20 || layers != 20 {
		t.Errorf("%d results, %d layers", results, layers)
	}
}

func TestSyncInBackground(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	s := openStore(t, dir)
	notes := func() int {
		n, err := filepath.Glob(dir + "/unsynced/*/*")
		check(t, err)
		return len(n)
	}
	check(t, putNode(s, "one"))
	if notes() == 0 {
		t.Error("no notes before a sync")
	}
	s.mu.Lock()
	s.synced = s.synced.Add(-syncInterval)
	s.mu.Unlock()
	check(t, s.AddRecord(Record{Label: "//x"}))
	s.syncs.Wait()
	if n := notes(); n != 0 {
		t.Errorf("%d notes after a sync", n)
	}
}

// TestReboot damages what a crash may damage, and opens the store as if the machine had started again.
func TestReboot(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	s, err := openBoot(dir, "boot-1")
	check(t, err)
	put := func(name string) Layer {
		check(t, putNode(s, name))
		r, ok := s.Result(DigestOf([]byte(name)))
		if !ok {
			t.Fatal(name)
		}
		return r.Layer
	}
	blob := func(name string) Digest { return DigestOf([]byte("log of " + name)) }
	damage := func(path string, text string) {
		check(t, os.Chmod(path, 0o600))
		check(t, os.WriteFile(path, []byte(text), 0o600))
	}
	synced := put("synced")
	check(t, s.Sync())
	notes, err := os.ReadDir(filepath.Join(dir, "unsynced", "boot-1"))
	if err != nil || len(notes) != 0 {
		t.Errorf("notes after a sync: %v, %v", notes, err)
	}
	good, cut, gone, moved := put("good"), put("cut"), put("gone"), put("moved")
	damage(s.LayerDir(cut)+"/usr/bin/2", "")
	check(t, os.Remove(s.LayerDir(gone)+"/usr/bin/1"))
	check(t, os.WriteFile(s.LayerDir(moved)+"/new", nil, 0o600))
	damage(s.BlobPath(blob("cut")), strings.Repeat("\x00", len("log of cut")))
	// As synced things are not read again, damage to them shows that the rest is.
	damage(s.LayerDir(synced)+"/usr/bin/2", "")

	again, err := openBoot(dir, "boot-1")
	check(t, err)
	if !again.HasLayer(cut) || !again.HasBlob(blob("cut")) {
		t.Error("checked without a reboot")
	}
	check(t, again.Close())

	s2, err := openBoot(dir, "boot-2")
	check(t, err)
	for l, want := range map[Layer]bool{synced: true, good: true, cut: false, gone: false, moved: false} {
		if got := s2.HasLayer(l); got != want {
			t.Errorf("layer %v: %v, want %v", l.Tar, got, want)
		}
	}
	if s2.HasBlob(blob("cut")) || !s2.HasBlob(blob("good")) || !s2.HasBlob(blob("synced")) {
		t.Error("blobs")
	}
	for _, name := range []string{"synced", "good", "cut", "gone"} {
		if _, ok := s2.Result(DigestOf([]byte(name))); !ok {
			t.Errorf("the result of %s is gone", name) // what it gave is known, whether it is here or not
		}
	}
	check(t, putNode(s2, "cut"))
	check(t, s2.VerifyLayer(cut))
	check(t, s2.Close())
	left, err := os.ReadDir(filepath.Join(dir, "unsynced"))
	if err != nil || len(left) != 1 || left[0].Name() != "boot-2" {
		t.Errorf("left in unsynced/: %v, %v", left, err)
	}
	wantError(t, openStore(t, dir).VerifyLayer(synced), "is damaged")
	s.Close()
}

// TestDiskFull runs on a small tmpfs in a mount namespace of its own.
func TestDiskFull(t *testing.T) {
	t.Log(output(t, asNamespaceRoot(child("diskfull", tempDir(t)), os.Getuid(), os.Getgid())))
}

// childDiskFull fills the disk with more and more of a filler, so that every step of a node fails once.
func childDiskFull(dir string) error {
	for _, options := range []string{"size=1m", "nr_inodes=150"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
		failed, worked := map[string]int{}, 0
		for room := 0; room < 30; room++ {
			if err := fillRound(dir, room, failed, &worked); err != nil {
				return fmt.Errorf("%s, room for %d: %w", options, room, err)
			}
		}
		if worked == 0 || len(failed) < 4 {
			return fmt.Errorf("%s: %d worked, failures %v: that shows little", options, worked, failed)
		}
		fmt.Println(options, "worked:", worked, "failed:", failed)
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return err
		}
	}
	return nil
}

// fillRound leaves room for some pages and inodes, tries a node, frees the disk and tries again.
func fillRound(dir string, room int, failed map[string]int, worked *int) error {
	store := filepath.Join(dir, "store")
	s, err := Open(store)
	if err != nil {
		return err
	}
	if err := putNode(s, "before"); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	filler := filepath.Join(dir, "filler")
	if err := fillDisk(filler, room); err != nil {
		return err
	}
	name := fmt.Sprint("node", room)
	s, err = Open(store)
	if err == nil {
		err = errors.Join(putNode(s, name), s.Close())
	}
	if err == nil {
		*worked++
	} else {
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), store) {
			return fmt.Errorf("the error has no path or is another: %w", err)
		}
		failed[strings.Fields(err.Error())[0]]++
	}
	if err := os.RemoveAll(filler); err != nil {
		return err
	}
	var t failures
	checkStore(&t, store)
	if t.err != nil {
		return fmt.Errorf("on the full disk: %w", t.err)
	}
	s, err = Open(store)
	if err != nil {
		return err
	}
	for _, name := range []string{"before", name} {
		if err := putNode(s, name); err != nil {
			return fmt.Errorf("with space again: %w", err)
		}
		if r, ok := s.Result(DigestOf([]byte(name))); !ok || s.VerifyLayer(r.Layer) != nil {
			return fmt.Errorf("with space again: %s: %+v", name, r)
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	checkStore(&t, store)
	if t.err != nil {
		return t.err
	}
	return Remove(store)
}

// fillDisk fills the disk with the new folder filler, but for some files.
func fillDisk(filler string, room int) error {
	if err := os.Mkdir(filler, 0o700); err != nil {
		return err
	}
	for i := 0; ; i++ {
		f, err := os.Create(fmt.Sprintf("%s/%d", filler, i))
		if err == nil {
			_, err = f.Write(make([]byte, 4096))
			f.Close()
		}
		if errors.Is(err, unix.ENOSPC) {
			for j := range room {
				os.Remove(fmt.Sprintf("%s/%d", filler, i-j))
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// TestCollectFull: a disk without any room is what garbage is collected for.
func TestCollectFull(t *testing.T) {
	output(t, asNamespaceRoot(child("nospace", tempDir(t)), os.Getuid(), os.Getgid()))
}

func childCollectsFull(dir string) error {
	for _, options := range []string{"size=1m", "nr_inodes=150"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
		if err := collectFull(dir); err != nil {
			return fmt.Errorf("%s: %w", options, err)
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return err
		}
	}
	return nil
}

func collectFull(dir string) error {
	store, filler := filepath.Join(dir, "store"), filepath.Join(dir, "filler")
	s, err := Open(store)
	if err != nil {
		return err
	}
	if err := putNode(s, "kept"); err != nil {
		return err
	}
	if _, err := s.Collect(context.Background(), CollectOptions{}); err != nil { // its locks are there from now on
		return err
	}
	for range 2 * boundHistory {
		if err := s.AddRecord(Record{Label: "a", Fields: []Field{{"text", strings.Repeat("long ", 400)}}}); err != nil {
			return err
		}
	}
	garbage, err := putLayer(s, "garbage")
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	for _, full := range []bool{true, false} {
		if full {
			err = fillDisk(filler, 0)
		} else {
			err = os.RemoveAll(filler)
		}
		if err != nil {
			return err
		}
		if s, err = Open(store); err != nil {
			return err
		}
		_, err := s.Collect(context.Background(), CollectOptions{})
		if err := errors.Join(err, s.Close()); err != nil {
			return fmt.Errorf("full: %v: %w", full, err)
		}
		if s.HasLayer(garbage) {
			return errors.New("the garbage is still there")
		}
		if left := s.glob("run/*"); len(left) > 0 {
			return fmt.Errorf("left in run/: %v", left)
		}
	}
	history, err := os.ReadFile(filepath.Join(store, "history"))
	if n := bytes.Count(history, []byte("\n")); n > boundHistory+1 { // and that of the node
		return fmt.Errorf("the history has %d lines, %v", n, err)
	}
	var t failures
	checkStore(&t, store)
	return t.err
}

// TestTornPins: what is pinned after the disk was full stays.
func TestTornPins(t *testing.T) {
	output(t, asNamespaceRoot(child("tornpins", tempDir(t)), os.Getuid(), os.Getgid()))
}

func childTornPins(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	s, err := Open(filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	var many []Digest
	for i := range 200 { // more than a page
		many = append(many, DigestOf([]byte(fmt.Sprint(i))))
	}
	if err := s.Pin(nil, many[:1]); err != nil {
		return err
	}
	filler := filepath.Join(dir, "filler")
	if err := fillDisk(filler, 0); err != nil {
		return err
	}
	if err := s.Pin(nil, many); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("on the full disk: %w", err)
	}
	if err := os.RemoveAll(filler); err != nil {
		return err
	}
	later := DigestOf([]byte("later"))
	if err := s.Pin(nil, []Digest{later}); err != nil {
		return err
	}
	if pinned, err := s.pins(); err != nil || !pinned[blobName(later)] {
		return fmt.Errorf("what was pinned later is not: %v", err)
	}
	return s.Close()
}

// failures is a testing.TB for a child process.
type failures struct {
	testing.TB
	err error
}

func (f *failures) Helper() {}
func (f *failures) Errorf(format string, a ...any) {
	f.err = errors.Join(f.err, fmt.Errorf(format, a...))
}
func (f *failures) Fatal(a ...any) {
	panic(fmt.Sprint(a...))
}
