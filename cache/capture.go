package cache

import (
	"archive/tar"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"
)

// An Attr declares what a build cannot set itself where there is only one user id: mode, owner and capabilities. Path is
// a path of the output or a doublestar glob; something must match it. A declared attribute of one name of a hardlinked
// file is that of the file.
type Attr struct {
	Path     string
	Mode     *uint32 // 07777 at most; not for symlinks
	UID, GID *int
	Caps     string // text such as "cap_net_raw+ep", as setcap(8) takes it; files only
}

// CaptureOptions say what becomes of an output on its way into a layer.
type CaptureOptions struct {
	Drop  []string // doublestar globs; what they match is removed from disk first
	Attrs []Attr
}

// Capture makes a layer of the folder dir: it returns the index and the digest of the tar, and leaves on disk what the
// index says, so that the folder can serve as an overlay's lower. Each file is read once.
//
// On disk every entry gets the modification time Epoch, files get u+rw and folders u+rwx on top of their mode, and
// extended attributes that are not the layer's are removed, security.capability among them. The owner stays. In the
// index the mode is the true one (so a second Capture of the same folder may differ), the owner 0:0 unless declared, and
// of several names of a file the first in byte order is the file.
//
// Devices, sockets and overlay whiteouts are errors that name the path, as is a file that changes meanwhile. Nothing may
// write to dir while Capture runs. Root and an ordinary user who owns the tree get the same result.
func Capture(dir string, o CaptureOptions) (*Index, Digest, error) {
	c := &capture{dir: dir, files: map[inode]int{}}
	for _, d := range o.Drop {
		d = strings.TrimPrefix(d, "/")
		if !doublestar.ValidatePattern(d) {
			return nil, Digest{}, fmt.Errorf("drop %q: not a valid glob", d)
		}
		c.drop = append(c.drop, d)
	}
	if err := c.walkRoot(); err != nil {
		return nil, Digest{}, err
	}
	slices.SortFunc(c.found, func(a, b *found) int { return cmp.Compare(a.Path, b.Path) })
	for i, f := range c.found {
		c.link(i, f)
	}
	for _, a := range o.Attrs {
		if err := c.declare(a); err != nil {
			return nil, Digest{}, err
		}
	}
	d, err := c.read()
	if err != nil {
		return nil, Digest{}, err
	}
	if err := setTimes(dir); err != nil {
		return nil, Digest{}, fmt.Errorf("capture %s: %w", dir, err)
	}
	x := &Index{Entries: make([]Entry, 0, len(c.found))}
	for _, f := range c.found {
		if err := x.add(f.Entry); err != nil {
			return nil, Digest{}, fmt.Errorf("capture %s: %w", dir, err)
		}
	}
	return x, d, nil
}

// A found is an entry on its way into the index.
type found struct {
	Entry
	disk    uint32 // mode on disk
	inode   inode
	names   uint64 // number of hardlinks
	settled bool   // the modification time is Epoch already
	caps    string // declared value of security.capability
}

type inode struct{ dev, ino uint64 }

type capture struct {
	dir   string
	drop  []string
	found []*found
	files map[inode]int // files with several names: where the first one is in found
}

func (c *capture) walkRoot() error {
	var st unix.Stat_t
	if err := unix.Lstat(c.dir, &st); err != nil {
		return fmt.Errorf("capture %s: %w", c.dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("capture %s: not a folder", c.dir)
	}
	// The root itself is no entry of the layer: it is the same everywhere.
	if err := unix.Chmod(c.dir, 0o755); err != nil {
		return fmt.Errorf("capture %s: %w", c.dir, err)
	}
	if _, err := stripXattrs(c.dir, func(string) bool { return false }); err != nil {
		return fmt.Errorf("capture %s: %w", c.dir, err)
	}
	return c.walk("")
}

// walk collects what lies below the folder rel, which can be read, and removes what is to be dropped.
func (c *capture) walk(rel string) error {
	d, err := os.Open(filepath.Join(c.dir, rel))
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	names, err := d.Readdirnames(-1)
	d.Close()
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	for _, name := range names {
		path := name
		if rel != "" {
			path = rel + "/" + name
		}
		if c.dropped(path) {
			if err := Remove(filepath.Join(c.dir, path)); err != nil {
				return fmt.Errorf("drop: %w", err)
			}
			continue
		}
		if err := c.visit(path); err != nil {
			return err
		}
	}
	return nil
}

func (c *capture) dropped(path string) bool {
	return slices.ContainsFunc(c.drop, func(d string) bool { return doublestar.MatchUnvalidated(d, path) })
}

func (c *capture) visit(path string) error {
	full := c.dir + "/" + path
	var st unix.Stat_t
	if err := unix.Lstat(full, &st); err != nil {
		return fmt.Errorf("capture %q: %w", path, err)
	}
	f := &found{
		Entry:   Entry{Path: path, Mode: st.Mode & 0o7777},
		disk:    st.Mode & 0o7777,
		inode:   inode{uint64(st.Dev), st.Ino},
		names:   uint64(st.Nlink),
		settled: st.Mtim.Sec == Epoch && st.Mtim.Nsec == 0,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f.Kind, f.Size = File, st.Size
	case unix.S_IFDIR:
		f.Kind = Dir
		if f.disk&0o700 != 0o700 { // else nobody but root can read it
			f.disk |= 0o700
			if err := unix.Chmod(full, f.disk); err != nil {
				return fmt.Errorf("capture %q: make the folder readable: %w", path, err)
			}
		}
	case unix.S_IFLNK:
		target, err := os.Readlink(full)
		if err != nil {
			return fmt.Errorf("capture %q: %w", path, err)
		}
		f.Kind, f.Link, f.Mode = Symlink, target, 0o777
	case unix.S_IFIFO:
		f.Kind = Fifo
	case unix.S_IFSOCK:
		return fmt.Errorf("capture %q: a socket cannot be part of a layer: remove it or drop it", path)
	case unix.S_IFCHR:
		if st.Rdev == 0 {
			return fmt.Errorf("capture %q: an overlay whiteout: the build removed a file of a layer below", path)
		}
		fallthrough
	default:
		return fmt.Errorf("capture %q: a device cannot be part of a layer: remove it or drop it", path)
	}
	c.found = append(c.found, f)
	if f.Kind == Dir {
		return c.walk(path)
	}
	return nil
}

// link turns all but the first name of a file into hardlinks. It is called in the order of the index.
func (c *capture) link(i int, f *found) {
	if f.Kind != File || f.names < 2 {
		return
	}
	if first, ok := c.files[f.inode]; ok {
		f.Kind, f.Size, f.Link = Hardlink, 0, c.found[first].Path
		return
	}
	c.files[f.inode] = i
}

// declare applies one attribute to what it matches.
func (c *capture) declare(a Attr) error {
	path := strings.TrimPrefix(a.Path, "/")
	matches := func(f *found) bool { return f.Path == path } // "usr/bin/[" is a path, but no glob
	if !slices.ContainsFunc(c.found, matches) {
		if !doublestar.ValidatePattern(path) {
			return fmt.Errorf("attrs %q: not a valid glob", a.Path)
		}
		matches = func(f *found) bool { return doublestar.MatchUnvalidated(path, f.Path) }
	}
	hit := false
	for _, f := range c.found {
		if !matches(f) {
			continue
		}
		hit = true
		if f.Kind == Hardlink {
			f = c.found[c.files[f.inode]]
		}
		if err := f.declare(a); err != nil {
			return fmt.Errorf("attrs %q: %w", a.Path, err)
		}
	}
	if !hit {
		return fmt.Errorf("attrs %q: nothing in the output matches", a.Path)
	}
	for _, f := range c.found {
		if f.Kind == Hardlink {
			file := c.found[c.files[f.inode]]
			f.Mode, f.UID, f.GID = file.Mode, file.UID, file.GID
		}
	}
	return nil
}

func (f *found) declare(a Attr) (err error) {
	if a.Mode != nil {
		if *a.Mode&^0o7777 != 0 || f.Kind == Symlink {
			return fmt.Errorf("mode %#o of %q: want 07777 at most, and no symlink", *a.Mode, f.Path)
		}
		f.Mode = *a.Mode
	}
	for _, id := range []struct{ from, to *int }{{a.UID, &f.UID}, {a.GID, &f.GID}} {
		if id.from == nil {
			continue
		}
		if *id.from < 0 || *id.from > maxID {
			return fmt.Errorf("owner %d is out of range", *id.from)
		}
		*id.to = *id.from
	}
	if a.Caps != "" {
		if f.Kind != File {
			return fmt.Errorf("%q is not a file: only files have capabilities", f.Path)
		}
		f.caps, err = EncodeCaps(a.Caps)
	}
	return err
}

// A chunk is a piece of the tar's content: some bytes of a file, or an entry without content.
type chunk struct {
	f    *found
	head bool // first of its entry
	data *buffer
	n    int // bytes in it
	err  error
}

// read settles every entry on disk and returns the digest of the tar. One goroutine reads and hashes the files, another
// hashes the tar, since one core's SHA-256 is slower than a disk.
func (c *capture) read() (Digest, error) {
	free := make(chan *buffer, 8)
	for range cap(free) {
		free <- nil // taken when a file needs it
	}
	chunks, stop := make(chan chunk, 64), make(chan struct{})
	go func() {
		defer close(chunks)
		r := &reader{dir: c.dir, free: free, chunks: chunks, stop: stop, hash: sha256.New()}
		for _, f := range c.found {
			if err := r.entry(f); err != nil {
				if !errors.Is(err, errStopped) {
					r.send(chunk{err: fmt.Errorf("capture %q: %w", f.Path, err)})
				}
				return
			}
		}
	}()
	d, err := writeChunks(chunks, free)
	close(stop)
	for range chunks { // until the reader has ended
	}
	close(free)
	for b := range free {
		if b != nil {
			buffers.Put(b)
		}
	}
	return d, err
}

func writeChunks(chunks <-chan chunk, free chan<- *buffer) (Digest, error) {
	h := &countingHash{Hash: sha256.New()}
	tw := tar.NewWriter(h)
	for k := range chunks {
		if k.err != nil {
			return Digest{}, k.err
		}
		if k.head {
			if err := tw.WriteHeader(header(&k.f.Entry)); err != nil {
				return Digest{}, fmt.Errorf("capture %q: %w", k.f.Path, err)
			}
		}
		if k.data == nil {
			continue
		}
		if _, err := tw.Write(k.data[:k.n]); err != nil {
			return Digest{}, fmt.Errorf("capture %q: %w", k.f.Path, err)
		}
		free <- k.data
	}
	if err := tw.Close(); err != nil {
		return Digest{}, err
	}
	return Digest{sum(h), h.n}, nil
}

// countingHash is a hash that knows how much it has seen.
type countingHash struct {
	hash.Hash
	n int64
}

func (h *countingHash) Write(b []byte) (int, error) {
	h.n += int64(len(b))
	return h.Hash.Write(b)
}

var errStopped = errors.New("stopped")

// A reader is the reading half of capture.read.
type reader struct {
	dir    string
	free   <-chan *buffer
	chunks chan<- chunk
	stop   <-chan struct{}
	hash   hash.Hash
}

func (r *reader) send(k chunk) error {
	select {
	case r.chunks <- k:
		return nil
	case <-r.stop:
		return errStopped
	}
}

// entry settles f on disk and sends its chunks.
func (r *reader) entry(f *found) error {
	full := r.dir + "/" + f.Path
	if err := f.settle(full); err != nil {
		return err
	}
	if f.Kind != File {
		return r.send(chunk{f: f, head: true})
	}
	fd, err := unix.Open(full, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r.hash.Reset()
	var n int64
	for head := true; ; head = false {
		var buf *buffer
		select {
		case buf = <-r.free:
		case <-r.stop:
			return errStopped
		}
		if buf == nil {
			buf = buffers.Get().(*buffer)
		}
		m, err := readFull(fd, buf[:])
		if err != nil {
			return err
		}
		r.hash.Write(buf[:m])
		n += int64(m)
		last := m < len(buf)
		if n > f.Size || last && n < f.Size {
			return errors.New("the file changed while it was captured")
		}
		if last {
			f.Hash = sum(r.hash)
		}
		if err := r.send(chunk{f: f, head: head, data: buf, n: m}); err != nil || last {
			return err
		}
	}
}

// readFull fills buf, or less at the end of the file.
func readFull(fd int, buf []byte) (n int, err error) {
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, nil
}

// settle brings the entry on disk into the form that every store shows, and reads the extended attributes.
func (f *found) settle(full string) error {
	if f.Kind == Hardlink {
		return nil
	}
	if f.Kind != Symlink {
		want := diskMode(f.Kind, f.Mode)
		if want != f.disk {
			if err := unix.Chmod(full, want); err != nil {
				return fmt.Errorf("chmod: %w", err)
			}
		}
		kept, err := stripXattrs(full, func(name string) bool { return keptXattr(name) && f.Kind != Fifo })
		if err != nil {
			return err
		}
		if v, ok := kept[CapabilityXattr]; ok {
			// An owner may not remove the attribute, but any chown removes it, with setuid and setgid.
			if err := unix.Lchown(full, -1, -1); err != nil {
				return fmt.Errorf("chown: %w", err)
			}
			if err := unix.Chmod(full, want); err != nil {
				return fmt.Errorf("chmod: %w", err)
			}
			delete(kept, CapabilityXattr)
			if v, ok := normalCapability(v); ok && f.Kind == File {
				kept[CapabilityXattr] = v
			}
		}
		for name, value := range kept {
			if err := checkXattr(f.Kind, name, value); err != nil {
				return err
			}
		}
		f.Xattrs = kept
	}
	if f.caps != "" {
		if f.Xattrs == nil {
			f.Xattrs = map[string]string{}
		}
		f.Xattrs[CapabilityXattr] = f.caps
	}
	if f.settled {
		return nil
	}
	return setTimes(full)
}

// diskMode returns the mode that an entry has in the store: its owner must be able to read and replace it.
func diskMode(k Kind, mode uint32) uint32 {
	if k == Dir {
		return mode | 0o700
	}
	return mode | 0o600
}

// setTimes sets the times of path, which it does not follow.
func setTimes(path string) error {
	t := []unix.Timespec{{Sec: Epoch}, {Sec: Epoch}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, t, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set the time: %w", err)
	}
	return nil
}

// stripXattrs removes the extended attributes of path that are not kept. It returns the kept ones, and
// security.capability, which it leaves to the caller. path is no symlink. Attributes that the kernel does not let go
// (those of a security module) stay.
func stripXattrs(path string, keep func(string) bool) (kept map[string]string, err error) {
	buf := make([]byte, 0)
	for {
		n, err := unix.Llistxattr(path, buf)
		if err == unix.ENOTSUP || err == nil && n == 0 {
			return nil, nil
		}
		if err != nil && err != unix.ERANGE {
			return nil, fmt.Errorf("list extended attributes: %w", err)
		}
		if err == nil && len(buf) > 0 {
			buf = buf[:n]
			break
		}
		buf = make([]byte, max(n, 1024, 2*len(buf)))
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf), "\x00"), "\x00") {
		if !keep(name) && name != CapabilityXattr {
			err := unix.Lremovexattr(path, name)
			if err != nil && err != unix.ENODATA && strings.HasPrefix(name, "user.") {
				return nil, fmt.Errorf("remove extended attribute %q: %w", name, err)
			}
			continue
		}
		v, err := getXattr(path, name)
		if err == unix.ENODATA || err == unix.EOVERFLOW { // a capability of a namespace that is not ours
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %q: %w", name, err)
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[name] = v
	}
	return kept, nil
}

func getXattr(path, name string) (string, error) {
	buf := make([]byte, 256)
	for {
		n, err := unix.Lgetxattr(path, name, buf)
		if err == unix.ERANGE && len(buf) < maxXattr {
			buf = make([]byte, maxXattr)
			continue
		}
		if err != nil {
			return "", err
		}
		return string(buf[:n]), nil
	}
}
