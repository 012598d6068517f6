package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The sandbox has one id, 0, unless Spec.Users asks for more. For an ordinary user it is the caller's own outside, so files that it writes are the
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

// users is how many ids root's sandboxes with users have: those of a user namespace of systemd's or a container's.
const users = 1 << 16

// setIDs maps the ids inside to those outside.
func setIDs(attr *syscall.SysProcAttr, many bool) {
	uid, gid := os.Geteuid(), os.Getegid()
	if many {
		attr.GidMappingsEnableSetgroups = true
		attr.Credential = &syscall.Credential{}
		attr.UidMappings, attr.GidMappings = manyIDs("/proc/self/uid_map"), manyIDs("/proc/self/gid_map")
		return
	}
	if privileged() {
		uid, gid = unusedID("/proc/self/uid_map"), unusedID("/proc/self/gid_map")
		attr.GidMappingsEnableSetgroups = true
		attr.Credential = &syscall.Credential{} // 0 and 0 inside, root's groups gone
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
}

// HasUsers reports whether this process's sandboxes have more ids than 0 if Spec.Users asks for them: root's do, and those
// of a user namespace's root who has more, see [WithUsers].
func HasUsers() bool { return Users() > 0 }

// Users is how many ids those sandboxes have, from 0 on; 0: they have none but 0.
var Users = sync.OnceValue(func() int {
	var rights [2]unix.CapUserData
	const needed = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	if os.Geteuid() != 0 || unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &rights[0]) != nil || rights[0].Effective&needed != needed {
		return 0
	}
	if b, err := os.ReadFile("/proc/self/setgroups"); err != nil || string(b) != "allow\n" {
		return 0
	}
	least := users
	for _, name := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		count := 0
		for _, m := range manyIDs(name) {
			count += m.Size
		}
		least = min(least, count)
	}
	if least < 2 {
		return 0
	}
	return least
})

// manyIDs maps ids of the sandbox to as many that nobody has, for root, or to all that its user namespace has.
func manyIDs(mapFile string) (all []syscall.SysProcIDMap) {
	for _, r := range idRanges(mapFile) {
		switch {
		case !privileged():
			all = append(all, syscall.SysProcIDMap{ContainerID: r.first, HostID: r.first, Size: r.count})
		case r.first <= sandboxID && sandboxID+users <= r.first+r.count:
			return []syscall.SysProcIDMap{{ContainerID: 0, HostID: sandboxID, Size: users}}
		}
	}
	return all
}

// An idRange is a line of /proc/self/uid_map, as this process sees it.
type idRange struct{ first, count int }

func idRanges(mapFile string) (list []idRange) {
	b, _ := os.ReadFile(mapFile)
	for line := range strings.Lines(string(b)) {
		var r idRange
		var outside int
		if n, _ := fmt.Sscan(line, &r.first, &outside, &r.count); n == 3 {
			list = append(list, r)
		}
	}
	return list
}

// unusedID returns sandboxID, or in a container that lacks it the largest id that the container has and that is no
// common name for nobody.
func unusedID(mapFile string) int {
	ranges := idRanges(mapFile)
	if len(ranges) == 0 {
		return sandboxID
	}
	best := 0
	for _, r := range ranges {
		if r.first <= sandboxID && sandboxID < r.first+r.count {
			return sandboxID
		}
		last := r.first + r.count - 1
		if last >= 65534 && r.first < 65534 && last < 65536 {
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
