package cache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotFound is what errors about things that the store does not hold wrap.
var ErrNotFound = errors.New("not in the store")

// formatText is the content of the file `format`: another number is another layout.
const formatText = "vfsb-store 1\n"

// syncInterval is how long a process writes before its work is synced to disk: what a power cut can cost.
const syncInterval = 30 * time.Second

// A Store is the store on disk. Any number of processes may use one folder at the same time, and may be killed at any
// time. All methods but Close may be called from any goroutine.
//
//	format           the layout's version
//	blobs/ab/<hex>   blobs, by SHA-256
//	layers/<hex>/    layers, by the SHA-256 of the tar: index, and tree/ with the files
//	results          journal: what each action key gave
//	history          journal: how each node's key was made
//	checks           journal: which checks of layers have passed
//	locks/           flock files
//	run/<process>/   run folders and half-written files; the process holds a lock on run/<process>/lock, and what it
//	                 needs of the store stands in run/<process>/pins
//	failed/<label>/  run folders of failed nodes
//	shipped/<name>/  what a program carries, as files
//	unsynced/<boot>/ names of the layers and blobs that no sync has covered yet
//	used/            what each build used last: names, and the file's time
//
// Things become visible by rename, whole or not at all. Nothing is synced to disk one by one: each new layer and blob is
// first noted below unsynced/, with the boot's id, and Sync clears the notes. After a crash of the machine, Open checks
// the content of what is still noted for another boot, and removes what does not match.
type Store struct {
	dir     string
	boot    string
	results journal
	history journal
	checks  journal
	known   keyed // results
	passed  keyed // checks

	mu      sync.Mutex // guards what follows
	process string     // run/<process>, "" until the first write
	alive   *os.File   // the lock on it
	count   int        // names given out below it
	inUse   []*os.File // locks on what lies below shipped/
	dirty   bool       // something was written since the last sync
	synced  time.Time
	closed  bool
	syncErr error // of a sync in the background
	syncs   sync.WaitGroup

	pinning sync.Mutex // guards pinned, and the process's file of pins
	pinned  map[string]bool

	syncing   sync.Mutex   // held during a sync
	handovers atomic.Int64 // of Lock

	indexMu sync.Mutex
	indexes map[Digest]*Index
}

// Open opens the store in the folder dir and creates it, with mode 0700, where there is none. It removes the run folders
// of processes that died and checks what a crash of the machine may have damaged.
func Open(dir string) (*Store, error) {
	// Without /proc every boot looks the same, and nothing is checked.
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return openBoot(dir, strings.TrimSpace(string(boot)))
}

func openBoot(dir, boot string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: dir, boot: fileName(boot), synced: time.Now(), pinned: map[string]bool{}, indexes: map[Digest]*Index{}}
	s.results = journal{store: s, name: "results"}
	s.history = journal{store: s, name: "history"}
	s.checks = journal{store: s, name: "checks"}
	for _, step := range []func() error{s.create, s.reclaim, s.recover} {
		if err := step(); err != nil {
			s.Close()
			return nil, fmt.Errorf("open store %s: %w", dir, err)
		}
	}
	return s, nil
}

// create makes the folders, or checks that they are a store's.
func (s *Store) create() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	// The store holds programs that are setuid root: nobody else may reach them.
	if fi, err := os.Stat(s.dir); err != nil {
		return err
	} else if fi.Mode().Perm() != 0o700 {
		if err := os.Chmod(s.dir, 0o700); err != nil {
			return err
		}
	}
	format := filepath.Join(s.dir, "format")
	b, err := os.ReadFile(format)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.claim(format); err != nil {
			return err
		}
	} else if err != nil {
		return err
	} else if string(b) != formatText {
		return fmt.Errorf("its format is %.40q, this vfsb reads %q: use another folder, or remove this one",
			strings.TrimSpace(string(b)), strings.TrimSpace(formatText))
	}
	for _, name := range []string{"blobs", "layers", "locks", "run", "failed", "unsynced", "shipped", "used", "memos"} {
		err := os.Mkdir(filepath.Join(s.dir, name), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// claim makes an empty folder a store. The format comes first and at once, so a folder with anything else in it but no
// format is somebody's.
func (s *Store) claim(format string) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); !strings.HasPrefix(n, "format") && n != "lost+found" {
			if _, err := os.Stat(format); err == nil { // another process has just claimed it
				return nil
			}
			return fmt.Errorf("the folder holds %q and is no store: use an empty folder", n)
		}
	}
	tmp := format + "-" + rand.Text()
	if err := os.WriteFile(tmp, []byte(formatText), 0o600); err != nil {
		os.Remove(tmp)
		return err
	}
	return os.Rename(tmp, format)
}

// Dir returns the absolute path of the store's folder.
func (s *Store) Dir() string { return s.dir }

// Close syncs what this process wrote and removes its run folders. The store cannot be used afterwards.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.syncs.Wait()
	// A journal that could not be compacted works as before.
	s.results.compact(1)
	s.history.compact(boundHistory)
	s.checks.compact(1)
	err := errors.Join(s.syncErr, s.Sync())
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.inUse {
		l.Close()
	}
	if s.process != "" {
		err = errors.Join(err, Remove(s.process))
		s.alive.Close()
		s.process = ""
	}
	return err
}

// wrote notes that this process writes, and starts a sync in the background when the last one is old.
func (s *Store) wrote() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		s.dirty, s.synced = true, time.Now()
		return
	}
	if s.closed || time.Since(s.synced) < syncInterval {
		return
	}
	s.synced = time.Now()
	s.syncs.Go(func() {
		if err := s.Sync(); err != nil {
			s.mu.Lock()
			s.syncErr = err
			s.mu.Unlock()
		}
	})
}

// Sync makes durable what this process has put into the store, and returns at once if that is nothing. Whatever leaves
// the machine on the strength of the store should wait for it. Close and every 30 seconds of writing do the same.
func (s *Store) Sync() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	dirty := s.dirty
	s.dirty, s.synced = false, time.Now()
	s.mu.Unlock()
	if !dirty {
		return nil
	}
	err := s.syncFS()
	if err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
		return fmt.Errorf("sync store %s: %w", s.dir, err)
	}
	return nil
}

// syncFS syncs the file system and clears the notes of what that covered, whichever process made them.
func (s *Store) syncFS() error {
	dir := filepath.Join(s.dir, "unsynced", s.boot)
	// Who puts something holds this lock shared from the note to the rename: what is listed here is in its place.
	l, err := s.lockInternal("unsynced", unix.LOCK_EX)
	if err != nil {
		return err
	}
	notes, err := os.ReadDir(dir)
	l.Close()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return &fs.PathError{Op: "syncfs", Path: s.dir, Err: err}
	}
	for _, n := range notes {
		if err := os.Remove(filepath.Join(dir, n.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// place renames the finished tmp to its final path, below a note that it is not yet synced. kind is 'b' or 'l' and hex
// the name under which recover finds it. If path exists already, place leaves both as they are and returns fs.ErrExist.
func (s *Store) place(tmp, path string, kind byte, hex string) error {
	l, err := s.lockInternal("unsynced", unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer l.Close()
	// A rename would replace a file, and fails with different errors for a folder.
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	dir := filepath.Join(s.dir, "unsynced", s.boot)
	note := filepath.Join(dir, fmt.Sprintf("%c-%s-%s", kind, hex, rand.Text()))
	err = touch(note)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(dir, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			err = touch(note)
		}
	}
	if err != nil {
		return err
	}
	s.wrote()
	err = os.Rename(tmp, path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(filepath.Dir(path), 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			err = os.Rename(tmp, path)
		}
	}
	return err // of a folder that exists: ENOTEMPTY, which is fs.ErrExist too
}

func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// recover checks what another boot of the machine has noted as not yet synced, and removes what is damaged.
func (s *Store) recover() error {
	boots, err := os.ReadDir(filepath.Join(s.dir, "unsynced"))
	if err != nil {
		return err
	}
	for _, b := range boots {
		if b.Name() == s.boot {
			continue
		}
		l, err := s.lockInternal("recover", unix.LOCK_EX)
		if err != nil {
			return err
		}
		err = s.recoverBoot(filepath.Join(s.dir, "unsynced", b.Name()))
		l.Close()
		if err != nil {
			return fmt.Errorf("check what a crash may have damaged: %w", err)
		}
	}
	return nil
}

func (s *Store) recoverBoot(dir string) error {
	notes, err := os.ReadDir(dir)
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	for _, n := range notes {
		kind, rest, _ := strings.Cut(n.Name(), "-")
		hex, _, _ := strings.Cut(rest, "-")
		if hash, ok := parseHash(hex); ok {
			var err error
			switch kind {
			case "l":
				err = s.recoverLayer(hash)
			case "b":
				err = s.recoverBlob(hash)
			}
			if err != nil {
				return err
			}
		}
		if err := os.Remove(filepath.Join(dir, n.Name())); err != nil {
			return err
		}
	}
	return ignore(os.Remove(dir), fs.ErrNotExist)
}

// NoRoom reports whether an error is that of a full disk, or of a quota that is used up.
func NoRoom(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
