package cache

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ImportLimits bound what a tar may cost. A zero field means no bound.
type ImportLimits struct {
	Bytes   int64 // length of the tar
	Entries int
}

// maxLayer bounds the tar of a layer in bytes. It is far above any real layer, and below what a disk holds: a file of
// exabytes costs nothing to make, but hours to read.
const maxLayer = 64 << 30

// DefaultImportLimits are what Capture keeps to, too.
var DefaultImportLimits = ImportLimits{Bytes: maxLayer, Entries: maxEntries}

// ImportTar stores a layer from the tar that r gives up to its end, which may come from anywhere, and returns the layer
// that it turned out to be: the caller compares. It accepts what WriteTar writes, byte by byte, and nothing else, so
// exporting the layer gives the same tar. Bad input leaves nothing behind.
func (s *Store) ImportTar(r io.Reader) (Layer, error) {
	return s.ImportTarLimited(r, DefaultImportLimits)
}

// ImportTarLimited is ImportTar with other limits: who knows the size of the tar passes it.
func (s *Store) ImportTarLimited(r io.Reader, m ImportLimits) (Layer, error) {
	dir, release, err := s.NewRun("import")
	if err != nil {
		return Layer{}, err
	}
	defer release()
	x, d, err := unpack(dir, r, m)
	if err != nil {
		return Layer{}, fmt.Errorf("import layer into %s: %w", s.dir, err)
	}
	return s.CommitLayer(dir, x, d)
}

// ErrWrong is what errors about content that is not what its digest says wrap.
var ErrWrong = errors.New("not what its digest says")

// ImportLayer is ImportTar for who knows which layer it must be. Anything else leaves nothing behind, and an error that
// wraps ErrWrong, unless r or the disk failed.
func (s *Store) ImportLayer(r io.Reader, l Layer) error {
	dir, release, err := s.NewRun("import")
	if err != nil {
		return err
	}
	defer release()
	in := &watched{Reader: r}
	x, d, err := unpack(dir, in, ImportLimits{Bytes: l.Tar.Size, Entries: maxEntries})
	var disk unix.Errno
	switch {
	case in.err != nil:
		err = in.err
	case err == nil && (Layer{d, DigestOf(x.Marshal())}) != l:
		err = ErrWrong
	case err != nil && !errors.As(err, &disk):
		err = fmt.Errorf("%w: %w", ErrWrong, err)
	}
	if err != nil {
		return fmt.Errorf("import layer %s: %w", l.Tar, err)
	}
	_, err = s.CommitLayer(dir, x, d)
	return err
}

// watched is a reader that remembers its own failure.
type watched struct {
	io.Reader
	err error
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// unpack writes a tar below the empty folder dir and settles it as Capture does.
func unpack(dir string, r io.Reader, m ImportLimits) (*Index, Digest, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, Digest{}, err
	}
	defer unix.Close(root)
	t := &tree{root: root, parent: -1}
	defer t.close()
	whole := newSideHash()
	defer whole.sum()
	u := &unpacker{
		tree: t,
		echo: &echo{r: bufio.NewReaderSize(r, 128<<10), hash: whole, limit: m.Bytes},
		x:    &Index{},
		buf:  make([]byte, 128<<10),
	}
	u.in, u.out = tar.NewReader(u.echo), tar.NewWriter(u.echo)
	for {
		h, err := u.in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, Digest{}, err
		}
		if m.Entries > 0 && len(u.x.Entries) == m.Entries {
			return nil, Digest{}, fmt.Errorf("more than %d entries", m.Entries)
		}
		if err := u.entry(h); err != nil {
			return nil, Digest{}, err
		}
	}
	if err := u.out.Close(); err != nil {
		return nil, Digest{}, err
	}
	if err := u.echo.end(); err != nil {
		return nil, Digest{}, err
	}
	for i := range u.x.Entries {
		if e := &u.x.Entries[i]; e.Kind == Dir {
			if err := t.settleDir(e); err != nil {
				return nil, Digest{}, fmt.Errorf("%q: %w", e.Path, err)
			}
		}
	}
	if err := unix.Chmod(dir, 0o755); err != nil {
		return nil, Digest{}, err
	}
	return u.x, Digest{whole.sum(), u.echo.n}, setTimes(dir)
}

// A sideHash is a SHA-256 on a goroutine of its own: the tar and each file are hashed, and one core is slower than a
// disk. Whoever makes one calls sum, at least once.
type sideHash struct {
	full  chan sidePiece
	ended chan [32]byte
	piece sidePiece // being filled
	done  bool
	value [32]byte
}

type sidePiece struct {
	data *buffer
	n    int
}

func newSideHash() *sideHash {
	h := &sideHash{full: make(chan sidePiece, 4), ended: make(chan [32]byte, 1)}
	go func() {
		s := sha256.New()
		for p := range h.full {
			s.Write(p.data[:p.n])
			buffers.Put(p.data)
		}
		h.ended <- sum(s)
	}()
	return h
}

func (h *sideHash) write(b []byte) {
	for p := &h.piece; len(b) > 0; {
		if p.data == nil {
			p.data = buffers.Get().(*buffer)
		}
		k := copy(p.data[p.n:], b)
		p.n += k
		b = b[k:]
		if p.n == len(p.data) {
			h.full <- *p
			*p = sidePiece{}
		}
	}
}

// sum returns the hash of what was written, and ends the goroutine.
func (h *sideHash) sum() [32]byte {
	if !h.done {
		h.done = true
		if h.piece.data != nil {
			h.full <- h.piece
		}
		close(h.full)
		h.value = <-h.ended
	}
	return h.value
}

// An echo reads a tar and takes what is written to it as the tar that should have come: every byte must be the same.
type echo struct {
	r     io.Reader
	hash  *sideHash
	n     int64 // read so far
	limit int64
	ahead []byte // read but not yet written
}

// maxAhead bounds what is read before an entry is known: with its long names and records, of 1 MiB at most each. A tar
// that goes on with headers for headers would fill the memory.
const maxAhead = 4 << 20

var errNotCanonical = errors.New("not a layer's tar: a header or the padding is not as this program writes it")

func (e *echo) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	e.n += int64(n)
	if e.limit > 0 && e.n > e.limit {
		return 0, fmt.Errorf("the tar is longer than %d bytes", e.limit)
	}
	if len(e.ahead)+n > maxAhead {
		return 0, fmt.Errorf("not a layer's tar: more than %d bytes of headers before an entry", maxAhead)
	}
	e.hash.write(b[:n])
	e.ahead = append(e.ahead, b[:n]...)
	return n, err
}

func (e *echo) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(e.ahead, b) {
		return 0, errNotCanonical
	}
	e.ahead = e.ahead[:copy(e.ahead, e.ahead[len(b):])]
	return len(b), nil
}

// end checks that all has been read and written.
func (e *echo) end() error {
	n, err := io.ReadFull(e.r, make([]byte, 1))
	if err != nil && err != io.EOF {
		return err
	}
	if n > 0 || len(e.ahead) > 0 {
		return errors.New("not a layer's tar: there is data behind its end")
	}
	return nil
}

type unpacker struct {
	tree *tree
	echo *echo
	in   *tar.Reader
	out  *tar.Writer
	x    *Index
	text int // bytes of what the entries say of themselves
	buf  []byte
}

// entry checks one entry, and then writes it to disk.
func (u *unpacker) entry(h *tar.Header) error {
	e, err := entryOf(h)
	if err != nil {
		return err
	}
	if err := u.x.add(e); err != nil {
		return err
	}
	if u.text += len(e.Path) + len(e.Link) + e.xattrBytes(); u.text > maxText {
		return fmt.Errorf("%q: %w", e.Path, errLarge)
	}
	p := &u.x.Entries[len(u.x.Entries)-1]
	if err := u.out.WriteHeader(header(p)); err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	if err := u.write(p); err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	return nil
}

// entryOf turns a header into an entry; Index.add checks the values, and the header written again the rest.
func entryOf(h *tar.Header) (Entry, error) {
	if h.Mode&^0o7777 != 0 {
		return Entry{}, fmt.Errorf("%q: mode %#o", h.Name, h.Mode)
	}
	e := Entry{Path: h.Name, Mode: uint32(h.Mode), UID: h.Uid, GID: h.Gid}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Kind, e.Size = File, h.Size
		if e.Size == 0 {
			e.Hash = sha256.Sum256(nil)
		}
	case tar.TypeDir:
		e.Kind, e.Path = Dir, strings.TrimSuffix(h.Name, "/")
	case tar.TypeSymlink:
		e.Kind, e.Link = Symlink, h.Linkname
	case tar.TypeLink:
		e.Kind, e.Link = Hardlink, h.Linkname
	case tar.TypeFifo:
		e.Kind = Fifo
	default:
		return Entry{}, fmt.Errorf("%q: entries of type %q cannot be part of a layer", h.Name, h.Typeflag)
	}
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return Entry{}, fmt.Errorf("%q: sparse files cannot be part of a layer", h.Name)
		}
		if name, ok := strings.CutPrefix(k, xattrRecord); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = v
		}
	}
	return e, nil
}

// write creates the entry. Its parent is a folder that an earlier entry made.
func (u *unpacker) write(e *Entry) error {
	at, name, err := u.tree.open(e.Path)
	if err != nil {
		return err
	}
	switch e.Kind {
	case Dir: // settled at the end, when nothing is created in it any more
		return unix.Mkdirat(at, name, 0o700)
	case Symlink:
		if err := unix.Symlinkat(e.Link, at, name); err != nil {
			return err
		}
	case Fifo:
		if err := unix.Mknodat(at, name, unix.S_IFIFO|0o600, 0); err != nil {
			return err
		}
		if err := unix.Fchmodat(at, name, diskMode(Fifo, e.Mode), 0); err != nil {
			return err
		}
	case Hardlink:
		return u.tree.link(e.Link, at, name)
	case File:
		if err := u.writeFile(e, at, name); err != nil {
			return err
		}
	}
	return setTimesAt(at, name)
}

func (u *unpacker) writeFile(e *Entry, at int, name string) error {
	fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if e.Size > 0 {
		h := sha256.New()
		w := io.MultiWriter(u.out, h, f)
		n, err := io.CopyBuffer(w, struct{ io.Reader }{u.in}, u.buf)
		if err != nil {
			return err
		}
		if n != e.Size {
			return io.ErrUnexpectedEOF
		}
		e.Hash = sum(h)
	}
	if err := setXattrs(fd, e); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, diskMode(File, e.Mode)); err != nil {
		return err
	}
	return f.Close()
}

// setXattrs sets the user's attributes. A layer on disk has no capabilities: an ordinary user could not set them.
func setXattrs(fd int, e *Entry) error {
	for name, value := range e.Xattrs {
		if name == CapabilityXattr {
			continue
		}
		if err := unix.Fsetxattr(fd, name, []byte(value), 0); err != nil {
			return fmt.Errorf("set extended attribute %q: %w", name, err)
		}
	}
	return nil
}

func setTimesAt(at int, name string) error {
	t := []unix.Timespec{{Sec: Epoch}, {Sec: Epoch}}
	return unix.UtimesNanoAt(at, name, t, unix.AT_SYMLINK_NOFOLLOW)
}

// A tree writes below one folder. It goes from folder to folder by descriptor and never through a link.
type tree struct {
	root   int
	parent int    // descriptor of the folder path, -1 for none
	path   string // of parent
}

// open returns the folder that path is in, until the next call, and path's last component.
func (t *tree) open(path string) (at int, name string, err error) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return t.root, path, nil
	}
	if t.parent >= 0 && t.path == path[:i] {
		return t.parent, path[i+1:], nil
	}
	t.close()
	fd, err := t.folder(path[:i])
	if err != nil {
		return -1, "", err
	}
	t.parent, t.path = fd, path[:i]
	return fd, path[i+1:], nil
}

func (t *tree) close() {
	if t.parent >= 0 {
		unix.Close(t.parent)
	}
	t.parent = -1
}

// folder opens the folder path, which the caller closes.
func (t *tree) folder(path string) (int, error) {
	at := t.root
	for name := range strings.SplitSeq(path, "/") {
		fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if at != t.root {
			unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = fd
	}
	return at, nil
}

// link gives the file path another name.
func (t *tree) link(path string, at int, name string) error {
	from, base := t.root, path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		fd, err := t.folder(path[:i])
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		from, base = fd, path[i+1:]
	}
	return unix.Linkat(from, base, at, name, 0)
}

// settleDir sets what a folder can only get when all is in it.
func (t *tree) settleDir(e *Entry) error {
	at, name, err := t.open(e.Path)
	if err != nil {
		return err
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := setXattrs(fd, e); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, diskMode(Dir, e.Mode)); err != nil {
		return err
	}
	return setTimesAt(at, name)
}
