package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// CommitLayer makes the folder dir, which Capture or an import has settled, the layer with that index and tar. dir must
// lie on the store's file system and is gone afterwards: it is renamed, or removed if the store has the layer already.
// After an error it is where it was.
func (s *Store) CommitLayer(dir string, x *Index, tar Digest) (Layer, error) {
	index := x.Marshal()
	l := Layer{tar, DigestOf(index)}
	if err := s.commitLayer(dir, l, index); err != nil {
		return Layer{}, fmt.Errorf("commit layer %s: %w", dir, err)
	}
	return l, nil
}

func (s *Store) commitLayer(dir string, l Layer, index []byte) error {
	if err := s.Pin([]Layer{l}, nil); err != nil {
		return err
	}
	if s.HasLayer(l) {
		return Remove(dir)
	}
	tmp, err := s.temp("layer")
	if err != nil {
		return err
	}
	defer Remove(tmp)
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "index"), index, 0o444); err != nil {
		return err
	}
	tree := filepath.Join(tmp, "tree")
	if err := os.Rename(dir, tree); err != nil {
		if errors.Is(err, unix.EXDEV) {
			return fmt.Errorf("%w: make it below the store's run folder", err)
		}
		return err
	}
	final := s.layerPath(l.Tar.Hash)
	err = s.place(tmp, final, 'l', l.Tar.Hex())
	if errors.Is(err, fs.ErrExist) && !s.HasLayer(l) { // what is there is no layer
		if err = s.discard(final); err == nil {
			err = s.place(tmp, final, 'l', l.Tar.Hex())
		}
	}
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return nil
	}
	if err != nil {
		return errors.Join(err, os.Rename(tree, dir))
	}
	return nil
}

func (s *Store) layerPath(tar [32]byte) string {
	return filepath.Join(s.dir, "layers", hex.EncodeToString(tar[:]))
}

// HasLayer reports whether the store holds the layer, at the cost of one stat.
func (s *Store) HasLayer(l Layer) bool {
	fi, err := os.Lstat(filepath.Join(s.layerPath(l.Tar.Hash), "index"))
	return err == nil && fi.Mode().IsRegular() && fi.Size() == l.Index.Size
}

// LayerDir returns where the layer's tree lies if the store holds it: an overlay lower. Nobody may write there.
func (s *Store) LayerDir(l Layer) string {
	return filepath.Join(s.layerPath(l.Tar.Hash), "tree")
}

// FindLayer returns the layer whose tar's SHA-256, in hex, begins with prefix; the size of the tar stays 0. The error
// wraps ErrNotFound if the store holds none, and says so if it holds several.
func (s *Store) FindLayer(prefix string) (Layer, error) {
	if strings.Trim(prefix, "0123456789abcdef") != "" {
		return Layer{}, fmt.Errorf("layer %q: want lower-case hex digits", prefix)
	}
	switch found := s.glob("layers/" + prefix + "*"); len(found) {
	case 0:
		return Layer{}, fmt.Errorf("layer %s: %w", prefix, ErrNotFound)
	case 1:
		hash, ok := parseHash(filepath.Base(found[0]))
		b, err := os.ReadFile(filepath.Join(s.dir, found[0], "index"))
		if !ok || errors.Is(err, fs.ErrNotExist) {
			return Layer{}, fmt.Errorf("layer %s: %w", prefix, ErrNotFound)
		}
		return Layer{Tar: Digest{Hash: hash}, Index: DigestOf(b)}, err
	default:
		return Layer{}, fmt.Errorf("layer %s: %d layers begin so; give more digits", prefix, len(found))
	}
}

// LoadIndex returns the index of a layer, which nobody may change: it is read once. Where the store holds the index only, as
// a blob, that is enough. The error wraps ErrNotFound if it holds neither.
func (s *Store) LoadIndex(l Layer) (*Index, error) {
	s.indexMu.Lock()
	x, ok := s.indexes[l.Index]
	s.indexMu.Unlock()
	if ok {
		return x, nil
	}
	path := filepath.Join(s.layerPath(l.Tar.Hash), "index")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && l.Index.Size > 0 {
		path = s.BlobPath(l.Index)
		b, err = os.ReadFile(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("layer %s: %w", l.Tar, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", l.Tar, err)
	}
	if DigestOf(b) != l.Index {
		return nil, fmt.Errorf("%s is damaged: remove it, or the folder it is in", path)
	}
	if x, err = ParseIndex(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	s.indexes[l.Index] = x
	return x, nil
}

// ExportTar writes the layer's tar. It fails, after having written, if the layer on disk is damaged.
func (s *Store) ExportTar(l Layer, w io.Writer) error {
	x, err := s.LoadIndex(l)
	if err != nil {
		return err
	}
	d, err := exportTree(s.LayerDir(l), x, w)
	if err != nil {
		return fmt.Errorf("export layer %s: %w", l.Tar, err)
	}
	if d != l.Tar {
		return fmt.Errorf("layer %s is damaged on disk: remove %s", l.Tar, s.layerPath(l.Tar.Hash))
	}
	return nil
}

// exportTree writes the tar of a settled tree to w and returns its digest.
func exportTree(dir string, x *Index, w io.Writer) (Digest, error) {
	h := &countingHash{Hash: sha256.New()}
	err := x.WriteTar(io.MultiWriter(w, h), func(e *Entry) (io.ReadCloser, error) {
		fd, err := unix.Open(dir+"/"+e.Path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: filepath.Join(dir, e.Path), Err: err}
		}
		return os.NewFile(uintptr(fd), e.Path), nil
	})
	return Digest{sum(h), h.n}, err
}

// VerifyLayer reads the whole layer and returns an error if anything on disk is not what its digests say.
func (s *Store) VerifyLayer(l Layer) error {
	x, err := s.LoadIndex(l)
	if err != nil {
		return err
	}
	err = verifyTree(s.LayerDir(l), x, l.Tar.Hash)
	if err != nil {
		return fmt.Errorf("layer %s is damaged: %w: remove %s", l.Tar, err, s.layerPath(l.Tar.Hash))
	}
	return nil
}

// verifyTree compares a settled tree with its index and the hash of its tar.
func verifyTree(dir string, x *Index, hash [32]byte) error {
	n := 0
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		n++
		e, ok := x.Lookup(path[len(dir)+1:])
		if !ok {
			return fmt.Errorf("%s is not in the index", path)
		}
		return verifyEntry(dir, path, e)
	})
	if err != nil {
		return err
	}
	if n != len(x.Entries) {
		return fmt.Errorf("%d of %d entries are there", n, len(x.Entries))
	}
	d, err := exportTree(dir, x, io.Discard)
	if err == nil && d.Hash != hash {
		err = errors.New("the content of a file has changed")
	}
	return err
}

func verifyEntry(dir, path string, e *Entry) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	if uint32(st.Mode)&unix.S_IFMT != diskType(e.Kind) {
		return fmt.Errorf("%s is of another kind", path)
	}
	switch e.Kind {
	case Symlink:
		if target, err := os.Readlink(path); err != nil || target != e.Link {
			return fmt.Errorf("%s: link to %q, want %q", path, target, e.Link)
		}
		return nil
	case Hardlink:
		var to unix.Stat_t
		if err := unix.Lstat(dir+"/"+e.Link, &to); err != nil || to.Ino != st.Ino || to.Dev != st.Dev {
			return fmt.Errorf("%s is no longer a hardlink to %s", path, e.Link)
		}
	}
	// An ordinary user may lose setgid, see Capture.
	if got, want := uint32(st.Mode)&0o777, diskMode(e.Kind, e.Mode)&0o777; got != want {
		return fmt.Errorf("%s: mode %#o, want %#o", path, got, want)
	}
	return nil
}

// diskType returns the file type bits of an entry on disk.
func diskType(k Kind) uint32 {
	switch k {
	case Dir:
		return unix.S_IFDIR
	case Symlink:
		return unix.S_IFLNK
	case Fifo:
		return unix.S_IFIFO
	}
	return unix.S_IFREG
}

// recoverLayer removes the layer if it is not what its name says.
func (s *Store) recoverLayer(hash [32]byte) error {
	path := s.layerPath(hash)
	b, err := os.ReadFile(filepath.Join(path, "index"))
	var x *Index
	if err == nil {
		x, err = ParseIndex(b)
	}
	if err == nil {
		err = verifyTree(filepath.Join(path, "tree"), x, hash)
	}
	if err != nil {
		return s.discard(path)
	}
	return nil
}
