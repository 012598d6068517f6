package load

import (
	"encoding/binary"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Stamps are the stat of every file and folder that a workspace is read from. As long as they are the same, loading
// and analyzing it gives the same.
type Stamps struct {
	Shared   []FileStamp            // of profiles/ and templates/, and of the folder packages/
	Packages map[string][]FileStamp // of all that lies in a package's folder: patches and file sources too
}

// A FileStamp is what stat says of one file or folder.
type FileStamp struct {
	Path string // relative to the workspace
	Stat Stat
}

// A Stat is the mode, size, times and inode of a file, in a form that is only good for comparing. The zero Stat is that
// of no file, and of one whose stat proves nothing.
type Stat [36]byte

// Settled reports whether s is a file's, and equal to what the file has now only if nobody has written to it.
func (s Stat) Settled() bool { return s != Stat{} }

// clockTick is how far a file's times may lie behind the clock: kernels stamp files with the time of the last timer
// interrupt, every 10 ms at the slowest. What was changed so recently may be changed again without another time.
const clockTick = 20 * time.Millisecond

// coarseTick is the same for file systems that store whole seconds, at worst even ones.
const coarseTick = 2 * time.Second

// Stamp takes the stamps of the workspace at root.
func Stamp(root string) Stamps {
	w := newStamper(root)
	defer w.close()
	s := Stamps{Packages: map[string][]FileStamp{}}
	s.Shared = w.tree(nil, "profiles")
	s.Shared = w.tree(s.Shared, "templates")
	s.Shared = append(s.Shared, FileStamp{"packages", w.stat("packages")})
	for _, name := range w.names("packages") {
		s.Packages[name] = w.tree(nil, "packages/"+name)
	}
	return s
}

// StampPackages takes the stamps of some packages' folders again.
func StampPackages(root string, names []string) map[string][]FileStamp {
	w := newStamper(root)
	defer w.close()
	stamps := make(map[string][]FileStamp, len(names))
	for _, name := range names {
		stamps[name] = w.tree(nil, "packages/"+name)
	}
	return stamps
}

// A Stamper takes stamps below one folder.
type stamper struct {
	root  int // descriptor, -1: there is no such folder
	path  string
	since time.Time // when it began
}

func newStamper(root string) *stamper {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	return &stamper{root: fd, path: root, since: time.Now()}
}

func (w *stamper) close() { unix.Close(w.root) }

// tree appends the stamps of name and of everything below it.
func (w *stamper) tree(list []FileStamp, name string) []FileStamp {
	var st unix.Stat_t
	stat := w.lstat(name, &st)
	list = append(list, FileStamp{name, stat})
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		for _, child := range w.names(name) {
			list = w.tree(list, name+"/"+child)
		}
	}
	return list
}

func (w *stamper) names(dir string) []string {
	f, err := os.Open(path.Join(w.path, dir))
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	slices.Sort(names)
	return names
}

func (w *stamper) stat(name string) Stat {
	var st unix.Stat_t
	return w.lstat(name, &st)
}

// lstat is the stat of name, zero where that does not tell of every change: for what was changed just now, and for
// links, since they lead elsewhere.
func (w *stamper) lstat(name string, st *unix.Stat_t) (s Stat) {
	if unix.Fstatat(w.root, name, st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return Stat{}
	}
	tick := clockTick
	if st.Ctim.Nsec == 0 {
		tick = coarseTick
	}
	if time.Unix(st.Ctim.Unix()).After(w.since.Add(-tick)) {
		return Stat{}
	}
	binary.LittleEndian.PutUint32(s[0:], st.Mode)
	binary.LittleEndian.PutUint64(s[4:], uint64(st.Size))
	binary.LittleEndian.PutUint64(s[12:], uint64(st.Mtim.Nano()))
	binary.LittleEndian.PutUint64(s[20:], uint64(st.Ctim.Nano()))
	binary.LittleEndian.PutUint64(s[28:], st.Ino)
	return s
}

// Unchanged returns a function that tells whether a file below root is as it was when its stamp was taken. close ends
// its use.
func Unchanged(root string) (unchanged func(FileStamp) bool, close func()) {
	w := newStamper(root)
	return func(f FileStamp) bool { return f.Stat.Settled() && w.stat(f.Path) == f.Stat }, w.close
}

// isTemplate reports whether the path is that of a template beside a package.hcl, which other packages can include.
func IsTemplate(name string) bool {
	return strings.HasSuffix(name, ".j2") && strings.Count(name, "/") == 2
}
