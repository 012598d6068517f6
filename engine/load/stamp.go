package load

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sys/unix"
)

// Folders is the workspace at root and what its vfsb.hcl imports, as Load finds them; none if there is an error, which
// Load reports.
func Folders(root string, shipped Carried) []Folder {
	l := &loader{ws: &Workspace{Root: root, files: map[string]*hcl.File{}}}
	if l.folders(shipped); l.diags.HasErrors() {
		return nil
	}
	return l.ws.Folders
}

// Stamp is a digest of the stat of all that a workspace is read from: as long as it is the same, loading and analyzing
// give the same. It is "" where that cannot be told: of a link, which leads elsewhere, and of what was changed just now,
// since it may be changed again without another time.
func Stamp(folders []Folder) string {
	s := stamper{now: time.Now(), buf: make([]byte, 32<<10)}
	for _, f := range folders {
		fd, err := unix.Open(f.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return ""
		}
		s.list(fd, []string{FileName, LockFile, "packages", "profiles", "templates"})
		unix.Close(fd)
	}
	if s.unsure {
		return ""
	}
	sum := sha256.Sum256(s.seen)
	return hex.EncodeToString(sum[:])
}

// A stamper walks folders.
type stamper struct {
	now    time.Time
	seen   []byte // names and stats
	unsure bool
	buf    []byte // of a folder's entries
}

// Kernels stamp files with the time of the last timer interrupt, every 10 ms at the slowest; some file systems store
// whole seconds, at worst even ones.
const clockTick, coarseTick = 20 * time.Millisecond, 2 * time.Second

// list stamps the names in the open folder dir, and all that is below them.
func (s *stamper) list(dir int, names []string) {
	for _, name := range names {
		var st unix.Stat_t
		s.seen = append(append(s.seen, name...), 0)
		if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			s.unsure = s.unsure || err != unix.ENOENT
			continue
		}
		s.seen = append(s.seen, 1) // no name begins so
		changed := time.Unix(st.Ctim.Unix())
		tick := clockTick
		if st.Ctim.Nsec == 0 {
			tick = coarseTick
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK || changed.After(s.now.Add(-tick)) {
			s.unsure = true
		}
		for _, v := range []int64{int64(st.Mode), int64(st.Ino), st.Size, st.Mtim.Nano(), st.Ctim.Nano()} {
			s.seen = binary.LittleEndian.AppendUint64(s.seen, uint64(v))
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			s.folder(dir, name)
		}
	}
	s.seen = append(s.seen, 0)
}

func (s *stamper) folder(dir int, name string) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		s.unsure = true
		return
	}
	defer unix.Close(fd)
	var names []string
	for {
		n, err := unix.ReadDirent(fd, s.buf)
		if err != nil {
			s.unsure = true
		}
		if n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(s.buf[:n], -1, names)
	}
	slices.Sort(names)
	s.list(fd, names)
}
