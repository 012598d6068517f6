package artifact

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vfsb/cache"
)

// WriteTo writes the tree into the folder dir, which is made or must be empty. Files are clones of the layers' where
// the file system can do that, and copies otherwise; they never share an inode with a layer, whose modes on disk are
// the store's own. Modes are those of the index, and hard links stay links.
//
// What only root could write is left out, so that everybody gets the same folder: owners, and extended attributes
// outside "user.". Attrs returns them for cache.CaptureOptions.
func (t *Tree) WriteTo(dir string) error {
	if err := makeEmpty(dir); err != nil {
		return fmt.Errorf("write tree: %w", err)
	}
	w := folderWriter{tree: t, dir: dir}
	if err := w.write(); err != nil {
		return fmt.Errorf("write tree: %w", err)
	}
	return nil
}

// makeEmpty makes the folder dir, or makes sure that it is empty.
func makeEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	switch names, err := f.Readdirnames(1); {
	case len(names) > 0:
		return fmt.Errorf("%s is not empty", dir)
	case err != nil && !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// A folderWriter holds the state of one WriteTo.
type folderWriter struct {
	tree    *Tree
	dir     string
	noClone bool // the file system cannot clone, or not from the store's
}

// write goes through the kinds in an order in which no path can lead through a link that it made itself: symbolic links
// come last, and the deepest first. The modes of folders come at the end, since a folder may forbid to write.
func (w *folderWriter) write() error {
	steps := []struct {
		kind      cache.Kind
		backwards bool
		do        func(path string, e *cache.Entry) error
	}{
		{cache.Dir, false, func(path string, _ *cache.Entry) error { return unix.Mkdir(path, 0o700) }},
		{cache.File, false, w.file},
		{cache.Hardlink, false, w.hardlink},
		{cache.Fifo, false, w.fifo},
		{cache.Symlink, true, func(path string, e *cache.Entry) error { return unix.Symlink(e.Link, path) }},
		{cache.Dir, true, w.attributes},
	}
	entries := w.tree.index.Entries
	for _, s := range steps {
		for i := range entries {
			e := &entries[i]
			if s.backwards {
				e = &entries[len(entries)-1-i]
			}
			if e.Kind != s.kind {
				continue
			}
			if !filepath.IsLocal(e.Path) {
				return fmt.Errorf("path %s leads out of the tree", printable(e.Path))
			}
			if err := s.do(filepath.Join(w.dir, e.Path), e); err != nil {
				return fmt.Errorf("%s: %w", printable(e.Path), err)
			}
		}
	}
	return nil
}

func (w *folderWriter) file(path string, e *cache.Entry) error {
	src, err := w.tree.open(e.Path)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := w.copy(dst, src, e.Size); err != nil {
		return err
	}
	if err := w.attributes(path, e); err != nil {
		return err
	}
	return dst.Close()
}

// copy clones src, or copies it where that is not possible.
func (w *folderWriter) copy(dst, src *os.File, size int64) error {
	if !w.noClone && size > 0 {
		if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
			return nil
		}
		w.noClone = true
	}
	n, err := io.Copy(dst, src)
	if err == nil && n != size {
		err = fmt.Errorf("holds %d bytes, its index says %d; the store is damaged", n, size)
	}
	return err
}

func (w *folderWriter) hardlink(path string, e *cache.Entry) error {
	if !filepath.IsLocal(e.Link) {
		return fmt.Errorf("link to %s leads out of the tree", printable(e.Link))
	}
	return unix.Link(filepath.Join(w.dir, e.Link), path)
}

func (w *folderWriter) fifo(path string, e *cache.Entry) error {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return err
	}
	return unix.Chmod(path, e.Mode) // not attributes: a fifo has none of "user."
}

// attributes sets the extended attributes that anybody may set, then the mode, which may forbid it.
func (w *folderWriter) attributes(path string, e *cache.Entry) error {
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		if !strings.HasPrefix(name, userXattr) {
			continue
		}
		if err := unix.Lsetxattr(path, name, []byte(e.Xattrs[name]), 0); err != nil {
			return fmt.Errorf("set attribute %q: %w", name, err)
		}
	}
	return unix.Chmod(path, e.Mode)
}

// userXattr begins the names of the extended attributes that need no privilege.
const userXattr = "user."
