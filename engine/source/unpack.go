package source

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// UnpackOptions tells how archives become a root file system.
type UnpackOptions struct {
	// Alternatives are links to make: a path to its targets, separated by spaces, of which the first that exists is taken.
	// A link none of whose targets exists is not made. See ToolAlternatives.
	Alternatives map[string]string
	Skeleton     bool     // write /etc/passwd, group, hosts, nsswitch.conf and shells, and make /dev, /proc, /tmp and the like
	Drop         []string // doublestar globs of paths to leave out, usr/lib/gcc/**/lto1; a folder goes with all it holds

	Owners int    // files keep their owners where both ids are below this, which takes root's rights; others are the caller's
	Remedy string // for an archive that is refused; "": what a seed's declaration can do

	limits limits // zero: defaults
}

// limits refuse archives that are bombs: what an archive unpacks to, and what its files hold, may be floor bytes or ratio
// times its own size, whichever is more, in at most entries entries with names bytes of names. Debian's packages unpack
// to less than 20 times their size; of the shipped seed's none has more than 1,000 entries, Linux's sources have 84,000.
type limits struct{ floor, ratio, entries, names int64 }

func (l limits) orDefault() limits {
	if l == (limits{}) {
		return limits{floor: 256 << 20, ratio: 200, entries: 1 << 20, names: 64 << 20}
	}
	return l
}

// most is what an archive of size bytes may unpack to.
func (l limits) most(size int64) int64 { return max(l.floor, l.ratio*size) }

// Names beyond these are no archive's own; file systems take no others, and each step down costs time.
const (
	maxPath  = 4095 // bytes: PATH_MAX without the NUL
	maxDepth = 256  // folders within each other
)

// documentation is what the tree of a Debian seed leaves out.
var documentation = []string{"usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "etc/ld.so.cache"}

// UnpackDebs unpacks Debian packages below dir, an empty folder, as one tree: without their scripts and without root,
// what lies in /bin, /sbin and /lib* below /usr, with the links. Modes are kept, except that the owner can always read
// and write; owners, times and extended attributes are not. Where two packages have a file, the later one's stays, so
// the tree is a function of the list. An archive that leaves dir, or holds devices, is refused.
func UnpackDebs(dir string, debs []*os.File, o UnpackOptions) error {
	t, err := newTree(dir, o)
	if err != nil {
		return err
	}
	defer t.close()
	t.merged = true
	t.drop = append(slices.Clone(documentation), o.Drop...)
	archives, err := t.stageAll(debs, func(in *os.File, size int64) (io.ReadCloser, error) { return openDeb(in, size) })
	if err != nil {
		return err
	}
	for i, items := range archives {
		for _, it := range items {
			if err := t.apply(it); err != nil {
				return t.refused(debs[i], fmt.Errorf("entry %q: %w", it.path, plain(err)))
			}
		}
	}
	return t.finish(o)
}

// UnpackImage unpacks the layers of an image, lowest first, or one rootfs tarball, below dir, an empty folder. Layers
// are tars, compressed with gzip, xz, zstd, bzip2 or not at all; their whiteouts are applied. Device nodes below /dev are
// left out, elsewhere refused; for the rest see UnpackDebs, except that nothing is moved below /usr, and owners are kept if
// asked for.
func UnpackImage(dir string, layers []*os.File, o UnpackOptions) error {
	t, err := newTree(dir, o)
	if err != nil {
		return err
	}
	defer t.close()
	t.image, t.drop = true, o.Drop
	archives, err := t.stageAll(layers, func(in *os.File, size int64) (io.ReadCloser, error) {
		return Decompress(io.NewSectionReader(in, 0, size))
	})
	if err != nil {
		return err
	}
	for i, items := range archives {
		fail := func(it item, err error) error {
			return t.refused(layers[i], fmt.Errorf("entry %q: %w", it.path, plain(err)))
		}
		for _, it := range items { // a whiteout hides lower layers only, wherever it comes in its own
			if err := t.whiteout(it); err != nil {
				return fail(it, err)
			}
		}
		for _, it := range items {
			if strings.HasPrefix(path.Base(it.path), ".wh.") {
				continue
			}
			if err := t.apply(it); err != nil {
				return fail(it, err)
			}
		}
	}
	return t.finish(o)
}

// plain is err without the path, which would reach a terminal as it is in the archive.
func plain(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return fmt.Errorf("%s: %w", p.Op, p.Err)
	case errors.As(err, &l):
		return fmt.Errorf("%s: %w", l.Op, l.Err)
	}
	return err
}

// A tree is a root file system in the making. Every access goes through root, which refuses paths and links that lead
// out of it. Archives are first staged side by side (their files' bytes below stage), then applied in order.
type tree struct {
	root   *os.Root
	stage  string   // folder for the files' bytes, below root
	merged bool     // /bin and the like are links to /usr/bin
	image  bool     // an upper layer replaces whatever it finds
	owners int      // ids below this are kept
	drop   []string // globs
	limits limits
	remedy string            // for what is refused
	modes  map[string]uint32 // of folders, set at the end
	known  map[string]bool   // folders, or links to one, that are there
}

// An item is an archive's entry, checked and with its bytes staged.
type item struct {
	path string
	kind byte // tar's
	mode uint32
	uid  int
	gid  int
	link string // symlink: target; hard link: path of the first name
	file string // path of the staged bytes
}

func newTree(dir string, o UnpackOptions) (*tree, error) {
	for _, p := range o.Drop {
		if !doublestar.ValidatePattern(p) {
			return nil, fmt.Errorf("drop: bad pattern %q", p)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	stage, err := os.MkdirTemp(dir, ".stage-*")
	if err != nil {
		root.Close()
		return nil, err
	}
	remedy := cmp.Or(o.Remedy, "leave entries out with drop = […], or choose another package or image")
	return &tree{root: root, stage: filepath.Base(stage), owners: o.Owners, limits: o.limits.orDefault(), remedy: remedy, modes: map[string]uint32{}, known: map[string]bool{}}, nil
}

func (t *tree) close() {
	t.root.RemoveAll(t.stage)
	t.root.Close()
}

// stageAll reads archives in parallel. The result has their items in the order of the archives.
func (t *tree) stageAll(archives []*os.File, open func(*os.File, int64) (io.ReadCloser, error)) ([][]item, error) {
	items := make([][]item, len(archives))
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i, in := range archives {
		g.Go(func() error {
			st, err := in.Stat()
			if err == nil {
				var r io.ReadCloser
				if r, err = open(in, st.Size()); err == nil {
					items[i], err = t.stageTar(strconv.Itoa(i), r, st.Size())
					r.Close()
				}
			}
			if err != nil {
				return t.refused(in, err)
			}
			return nil
		})
	}
	return items, g.Wait()
}

// refused says which archive err is about, and unless this machine is to blame, what to do about it.
func (t *tree) refused(archive *os.File, err error) error {
	remedy := "; " + t.remedy
	for _, no := range []syscall.Errno{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EROFS, unix.EACCES, unix.EPERM, unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, no) {
			remedy = ""
		}
	}
	return fmt.Errorf("%s: %w%s", filepath.Base(archive.Name()), err, remedy)
}

// stageTar reads a tar, checks its entries and writes its files' bytes below the stage.
func (t *tree) stageTar(name string, in io.Reader, size int64) ([]item, error) {
	stage := path.Join(t.stage, name)
	if err := t.root.Mkdir(stage, 0o700); err != nil {
		return nil, err
	}
	limit := &limiter{r: in, left: t.limits.most(size)}
	content, names := limit.left, t.limits.names
	end := &trailer{r: bufio.NewReaderSize(limit, 128<<10)}
	tr := tar.NewReader(end)
	var items []item
	buf := make([]byte, 128<<10)
	for n := int64(0); ; n++ {
		h, err := tr.Next()
		if err == io.EOF && end.zeros >= 512 {
			return items, nil
		}
		if err == io.EOF {
			return nil, errors.New("the archive is cut off: a tar ends with blocks of zeros")
		}
		if err != nil {
			return nil, err
		}
		if n >= t.limits.entries {
			return nil, fmt.Errorf("more than %d entries", t.limits.entries)
		}
		if names -= int64(len(h.Name) + len(h.Linkname)); names < 0 {
			return nil, fmt.Errorf("more than %d bytes of names", t.limits.names)
		}
		it, ok, err := t.check(h)
		if err != nil {
			return nil, fmt.Errorf("entry %q: %w", h.Name, err)
		}
		if !ok {
			continue
		}
		if it.kind == tar.TypeReg {
			if content -= h.Size; content < 0 { // a sparse file is longer than what the archive holds of it
				return nil, fmt.Errorf("entry %q: %w", h.Name, errBomb)
			}
			it.file = path.Join(stage, strconv.FormatInt(n, 10))
			if err := t.writeFile(it, tr, buf); err != nil {
				return nil, fmt.Errorf("entry %q: %w", h.Name, err)
			}
		}
		items = append(items, it)
	}
}

var errBomb = errors.New("unpacks to much more than its size allows: a bomb")

// trailer counts the zeros at the end of what was read.
type trailer struct {
	r     io.Reader
	zeros int
}

func (t *trailer) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	rest := len(bytes.TrimRight(b[:n], "\x00"))
	if rest > 0 {
		t.zeros = 0
	}
	t.zeros += n - rest
	return n, err
}

// limiter fails when more than left bytes are read: io.LimitReader would end the archive silently.
type limiter struct {
	r    io.Reader
	left int64
}

func (l *limiter) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		return 0, errBomb
	}
	return n, err
}

func (t *tree) writeFile(it item, in io.Reader, buf []byte) error {
	out, err := t.root.OpenFile(it.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{out}, in, buf); err != nil {
		return err
	}
	if err := t.chown(it, it.file); err != nil {
		return err
	}
	if err := out.Chmod(fileMode(it.mode)); err != nil { // after chown, which takes setuid away
		return err
	}
	return out.Close()
}

// chown gives name, a path in the tree, the item's owner, if that is kept.
func (t *tree) chown(it item, name string) error {
	if min(it.uid, it.gid) < 0 || max(it.uid, it.gid) >= t.owners {
		return nil
	}
	return t.root.Lchown(name, it.uid, it.gid)
}

// fileMode turns tar's permission bits into Go's.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m
}

// check turns a header into an item. It reports false for entries to leave out.
func (t *tree) check(h *tar.Header) (item, bool, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return item{}, false, nil
	}
	name, err := cleanPath(h.Name)
	if err != nil {
		return item{}, false, err
	}
	if name == "." { // the root itself
		return item{}, false, nil
	}
	it := item{path: name, kind: h.Typeflag, mode: uint32(h.Mode) & 0o7777, uid: h.Uid, gid: h.Gid, link: h.Linkname}
	if t.merged {
		if mergedNames[name] {
			target := strings.TrimPrefix(h.Linkname, "/")
			if h.Typeflag != tar.TypeDir && !(h.Typeflag == tar.TypeSymlink && path.Clean(target) == "usr/"+name) {
				return item{}, false, errors.New("is neither a folder nor the link to it below /usr")
			}
			return item{}, false, nil // finish makes the link
		}
		it.path = mergedPath(name)
	}
	if t.dropped(it.path) {
		return item{}, false, nil
	}
	switch it.kind {
	case tar.TypeReg, tar.TypeGNUSparse:
		it.kind = tar.TypeReg
		it.mode |= 0o600
	case tar.TypeDir:
		it.mode |= 0o700
	case tar.TypeFifo:
		it.mode |= 0o600
	case tar.TypeSymlink:
		if h.Linkname == "" {
			return item{}, false, errors.New("link without a target")
		}
		if !path.IsAbs(h.Linkname) && !filepath.IsLocal(path.Join(path.Dir(it.path), h.Linkname)) {
			return item{}, false, fmt.Errorf("link to %q leaves the tree", h.Linkname)
		}
	case tar.TypeLink:
		if it.link, err = cleanPath(h.Linkname); err != nil {
			return item{}, false, fmt.Errorf("hard link to %q: %w", h.Linkname, err)
		}
		if t.merged {
			it.link = mergedPath(it.link)
		}
	case tar.TypeChar, tar.TypeBlock:
		if t.image && strings.HasPrefix(it.path, "dev/") {
			return item{}, false, nil // the sandbox has its own
		}
		return item{}, false, errors.New("is a device; a seed has none")
	default:
		return item{}, false, fmt.Errorf("is of the unknown type %q", it.kind)
	}
	return it, true, nil
}

// cleanPath returns an archive's path without "./" and final "/".
func cleanPath(name string) (string, error) {
	if path.IsAbs(name) {
		return "", errors.New("absolute path")
	}
	if name == "" || strings.ContainsRune(name, 0) {
		return "", errors.New("no path")
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", errors.New("path with .. in it")
	}
	name = path.Clean(name)
	if len(name) > maxPath || strings.Count(name, "/") >= maxDepth {
		return "", fmt.Errorf("path of more than %d bytes or %d folders", maxPath, maxDepth)
	}
	return name, nil
}

// mergedNames are the folders of / that lie below /usr.
var mergedNames = map[string]bool{"bin": true, "sbin": true, "lib": true, "lib32": true, "lib64": true, "libx32": true}

// mergedPath moves a path below /usr if it belongs there.
func mergedPath(name string) string {
	if first, _, _ := strings.Cut(name, "/"); mergedNames[first] {
		return "usr/" + name
	}
	return name
}

func (t *tree) dropped(name string) bool {
	for _, p := range t.drop {
		if doublestar.MatchUnvalidated(p, name) || doublestar.MatchUnvalidated(p+"/**", name) {
			return true
		}
	}
	return false
}

// apply puts an item into the tree.
func (t *tree) apply(it item) error {
	if err := t.folder(path.Dir(it.path)); err != nil {
		return err
	}
	if it.kind == tar.TypeReg && t.root.Rename(it.file, it.path) == nil { // fails over a folder only
		return nil
	}
	old, err := t.root.Lstat(it.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		if done, err := t.replace(it, old); done || err != nil {
			return err
		}
	}
	switch it.kind {
	case tar.TypeDir:
		t.modes[it.path] = it.mode
		if err := t.root.Mkdir(it.path, 0o700); err != nil {
			return err
		}
		return t.chown(it, it.path)
	case tar.TypeSymlink:
		if err := t.root.Symlink(it.link, it.path); err != nil {
			return err
		}
		return t.chown(it, it.path)
	case tar.TypeLink:
		st, err := t.root.Lstat(it.link)
		if err != nil {
			return fmt.Errorf("hard link to %q: %w", it.link, plain(err))
		}
		if st.IsDir() {
			return fmt.Errorf("hard link to the folder %q", it.link)
		}
		return t.root.Link(it.link, it.path)
	case tar.TypeFifo:
		return t.mkfifo(it)
	}
	return t.root.Rename(it.file, it.path)
}

// replace makes way for an item where old lies. It reports true if nothing is left to do. A package's folder stays where
// a link leads to one, and a link does not replace a folder, both as dpkg has it; an image's upper layer replaces all.
func (t *tree) replace(it item, old fs.FileInfo) (done bool, err error) {
	isDir := it.kind == tar.TypeDir
	if isDir && old.IsDir() {
		t.modes[it.path] = it.mode
		return true, t.chown(it, it.path)
	}
	if t.image {
		t.forget(it.path) // a folder, or a link to one
		return false, t.root.RemoveAll(it.path)
	}
	switch {
	case isDir && old.Mode().Type() == fs.ModeSymlink:
		if st, err := t.root.Stat(it.path); err == nil && st.IsDir() {
			return true, nil
		}
		return false, errors.New("a folder lies where another package has a link")
	case isDir:
		return false, errors.New("a folder lies where another package has a file")
	case old.IsDir() && it.kind == tar.TypeSymlink:
		return true, nil
	case old.IsDir():
		return false, errors.New("a file lies where another package has a folder")
	case it.kind == tar.TypeLink && it.link == it.path:
		return true, nil
	}
	return false, t.root.Remove(it.path)
}

// forget drops what is noted of a folder that goes.
func (t *tree) forget(dir string) {
	clear(t.known)
	maps.DeleteFunc(t.modes, func(p string, _ uint32) bool { return p == dir || strings.HasPrefix(p, dir+"/") })
}

// folder makes a folder that an archive implies but does not hold.
func (t *tree) folder(dir string) error {
	if dir == "." || t.known[dir] {
		return nil
	}
	if st, err := t.root.Stat(dir); err == nil {
		if !st.IsDir() {
			return fmt.Errorf("%q is not a folder", dir)
		}
		t.known[dir] = true
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := t.folder(path.Dir(dir)); err != nil {
		return err
	}
	t.modes[dir] = 0o755
	return t.root.Mkdir(dir, 0o700)
}

func (t *tree) mkfifo(it item) error {
	parent, err := t.root.Open(path.Dir(it.path))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := unix.Mkfifoat(int(parent.Fd()), path.Base(it.path), 0o600); err != nil {
		return fmt.Errorf("make fifo: %w", err)
	}
	if err := t.chown(it, it.path); err != nil {
		return err
	}
	return t.root.Chmod(it.path, fileMode(it.mode))
}

// whiteout removes from lower layers what an image layer's .wh. entry names.
func (t *tree) whiteout(it item) error {
	dir, base := path.Split(it.path)
	name, ok := strings.CutPrefix(base, ".wh.")
	if !ok || strings.HasPrefix(name, ".wh.") && name != ".wh..opq" { // .wh..wh.plnk and the like: of no meaning here
		return nil
	}
	dir = path.Clean(dir)
	if name != ".wh..opq" {
		if name == "" || name == "." || name == ".." {
			return errors.New("odd whiteout")
		}
		target := path.Join(dir, name)
		if target == t.stage {
			return errors.New("odd whiteout")
		}
		t.forget(target)
		return ignoreMissing(t.root.RemoveAll(target))
	}
	d, err := t.root.Open(dir)
	if err != nil {
		return ignoreMissing(err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		target := path.Join(dir, n)
		if target == t.stage {
			continue
		}
		t.forget(target)
		if err := t.root.RemoveAll(target); err != nil {
			return err
		}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
