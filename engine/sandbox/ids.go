package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The sandbox has one id, 0. For an ordinary user it is the caller's own outside, so files that it writes are the
// caller's. For root it is an id that nobody has: the kernel lets the id 0 of the host write its sysctls and other
// files of /proc and /sys whatever capabilities it lacks, and an id in use would reach that user's processes and files.
// What the sandbox sees of the host's files it then sees through idmapped mounts, on which that id is written to disk
// as 0. So both kinds of caller find 0:0 inside, and their own id on disk.

// sandboxID is root's id for sandboxes: "vfsb". It lies in the gap that systemd's table of ids leaves between container
// ids and the signed limit, out of the way of the ranges in /etc/subuid.
const sandboxID = 0x76667362

// privileged reports whether the caller is the host's root (and not one of a user namespace, whose 0 is harmless).
var privileged = sync.OnceValue(func() bool {
	if os.Geteuid() != 0 {
		return false
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/sys/kernel", &st); err != nil {
		return true
	}
	return st.Uid == 0
})

// setIDs maps 0 to the id outside.
func setIDs(attr *syscall.SysProcAttr) {
	uid, gid := os.Geteuid(), os.Getegid()
	if privileged() {
		uid, gid = unusedID("/proc/self/uid_map"), unusedID("/proc/self/gid_map")
		attr.GidMappingsEnableSetgroups = true
		attr.Credential = &syscall.Credential{} // 0 and 0 inside, root's groups gone
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
}

// unusedID returns sandboxID, or in a container that lacks it the largest id that the container has and that is no
// common name for nobody.
func unusedID(mapFile string) int {
	f, err := os.Open(mapFile)
	if err != nil {
		return sandboxID
	}
	defer f.Close()
	best := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var inside, outside, count int
		if n, _ := fmt.Sscan(lines.Text(), &inside, &outside, &count); n != 3 {
			continue
		}
		if inside <= sandboxID && sandboxID < inside+count {
			return sandboxID
		}
		last := inside + count - 1
		if last >= 65534 && inside < 65534 && last < 65536 {
			last = 65533
		}
		best = max(best, last)
	}
	return best
}

// hostPaths are the paths of the host that an order names, in place.
type hostPaths struct {
	paths []*string
}

func (h *hostPaths) add(p *string) { h.paths = append(h.paths, p) }

// shift makes one idmapped clone for each mount of the host that paths lie on, of the deepest folder that holds them
// all, and rewrites the paths to lie below treeName(i).
func (h *hostPaths) shift(userns int) (fds []int, trees []tree, err error) {
	type group struct {
		base  string
		paths []*string
		file  bool
	}
	var groups []*group
	byMount := map[uint64]*group{}
	walk := walker{seen: map[string]place{}}
	for _, p := range h.paths {
		real, pl, err := walk.resolve(*p)
		if err != nil {
			return nil, nil, fmt.Errorf("sandbox: %w", err)
		}
		*p = real
		g := byMount[pl.mount]
		if g == nil {
			g = &group{base: real, file: !pl.dir}
			byMount[pl.mount] = g
			groups = append(groups, g)
		} else if !within(real, g.base) {
			g.file = false
			for !within(real, g.base) {
				g.base = filepath.Dir(g.base)
			}
		}
		g.paths = append(g.paths, p)
	}
	for i, g := range groups {
		fd, err := clone(unix.AT_FDCWD, g.base, 0)
		if err != nil {
			return fds, nil, unfit("clone mount of "+g.base, err)
		}
		fds = append(fds, fd)
		err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)})
		if err != nil {
			return fds, nil, unfit(stepIDMap+" "+g.base, err)
		}
		trees = append(trees, tree{File: g.file})
		for _, p := range g.paths {
			*p = filepath.Join(treeName(i), strings.TrimPrefix(*p, g.base))
		}
	}
	return fds, trees, nil
}

// within reports whether p is base or below it; both are clean.
func within(p, base string) bool {
	return p == base || base == "/" || strings.HasPrefix(p, base) && p[len(base)] == '/'
}

// A place is what a walker knows about a path without links.
type place struct {
	mount uint64
	dir   bool
	link  bool
}

// A walker finds out on which mount paths lie, asking once for each folder: layers have their parents in common.
type walker struct{ seen map[string]place }

// resolve returns p without links, and its place.
func (w walker) resolve(p string) (string, place, error) {
	p = filepath.Clean(p)
	for q := p; ; q = filepath.Dir(q) {
		pl, err := w.look(q)
		if err != nil {
			return "", place{}, err
		}
		if pl.link {
			real, err := filepath.EvalSymlinks(p)
			if err != nil {
				return "", place{}, err
			}
			pl, err := w.look(real)
			return real, pl, err
		}
		if q == "/" {
			break
		}
	}
	pl, err := w.look(p)
	return p, pl, err
}

func (w walker) look(p string) (place, error) {
	if pl, ok := w.seen[p]; ok {
		return pl, nil
	}
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE|unix.STATX_MNT_ID, &st)
	if err != nil {
		return place{}, &os.PathError{Op: "statx", Path: p, Err: err}
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return place{}, errors.New("the kernel is older than 5.8")
	}
	pl := place{mount: st.Mnt_id, dir: st.Mode&unix.S_IFMT == unix.S_IFDIR, link: st.Mode&unix.S_IFMT == unix.S_IFLNK}
	w.seen[p] = pl
	return pl, nil
}
