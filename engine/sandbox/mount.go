package sandbox

import (
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Mounting with the calls of Linux 5.2 and later: a mount is a descriptor until it is attached, and is attached to a
// descriptor, so that no path is looked up twice.

const (
	attrsData = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	attrsNone = attrsData | unix.MOUNT_ATTR_NOEXEC
)

// newMount makes a file system of one type, detached. Options are "key" or "key=value".
func newMount(typ string, attrs int, options ...string) (fd int, err error) {
	ctx, err := unix.Fsopen(typ, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(ctx)
	for _, o := range options {
		key, value, has := strings.Cut(o, "=")
		if has {
			err = unix.FsconfigSetString(ctx, key, value)
		} else {
			err = unix.FsconfigSetFlag(ctx, key)
		}
		if err != nil {
			return -1, mountError(ctx, o, err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, mountError(ctx, "create", err)
	}
	fd, err = unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	return fd, nil
}

// mountError adds what the kernel wrote about a file system context.
func mountError(ctx int, what string, err error) error {
	var log []string
	var b [1024]byte
	for {
		n, e := unix.Read(ctx, b[:])
		if e != nil || n <= 2 {
			break
		}
		log = append(log, strings.TrimSpace(string(b[2:n])))
	}
	if len(log) > 0 {
		return fmt.Errorf("%s: %w (%s)", what, err, strings.Join(log, "; "))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// attach puts a detached mount on the file or folder that point refers to, and closes both.
func attach(mount, point int) error {
	err := unix.MoveMount(mount, "", point, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	unix.Close(mount)
	unix.Close(point)
	return err
}

// clone makes a detached mount of the file or folder name below dir, with more attributes.
func clone(dir int, name string, attrs uint64) (fd int, err error) {
	fd, err = unix.OpenTree(dir, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil || attrs == 0 {
		return fd, err
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: attrs}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// A newRoot is the root folder that is being put together. Paths are resolved as they will be after the pivot: links
// lead nowhere out of it.
type newRoot struct {
	fd  int
	dev uint64 // of the overlay itself
}

func openRoot(dir int, name string) (newRoot, error) {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return newRoot{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return newRoot{}, err
	}
	return newRoot{fd, st.Dev}, nil
}

// open returns a descriptor for the absolute path at. Links are followed inside the root where links is set.
func (r newRoot) open(at string, links bool) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if !links {
		how.Resolve |= unix.RESOLVE_NO_SYMLINKS
	}
	name := strings.TrimPrefix(at, "/")
	if name == "" {
		name = "."
	}
	return unix.Openat2(r.fd, name, &how)
}

// point returns a descriptor for a mount point. A missing one is made, but not in the overlay: there it would become
// part of the command's output.
func (r newRoot) point(at string, file bool) (int, error) {
	fd, err := r.open(at, true)
	if err != unix.ENOENT || at == "/" {
		return fd, err
	}
	parent, err := r.point(path.Dir(at), false)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	var st unix.Stat_t
	if err := unix.Fstat(parent, &st); err != nil {
		return -1, err
	}
	if st.Dev == r.dev {
		return -1, unix.ENOENT
	}
	if file {
		err = unix.Mknodat(parent, path.Base(at), unix.S_IFREG|0644, 0)
	} else {
		err = unix.Mkdirat(parent, path.Base(at), 0755)
	}
	if err != nil {
		return -1, err
	}
	return r.open(at, true)
}

// mount attaches a detached mount at the path at, which must exist and hold no link.
func (r newRoot) mount(fd int, at string) error {
	point, err := r.open(at, false)
	if err != nil {
		unix.Close(fd)
		return err
	}
	return attach(fd, point)
}

// maxLowers is the kernel's limit for one overlay.
const maxLowers = 500

// overlay makes a detached overlay of lower folders, given as short names below the current folder (the kernel takes
// 255 bytes at most, and shows them to the command in /proc/self/mountinfo). Where there are too many, those at the
// bottom become an overlay of their own, attached below the name nest. upper may be "".
func overlay(lowers []string, upper, work, nest string) (int, error) {
	if len(lowers) > maxLowers {
		keep := maxLowers - 1
		fd, err := overlay(lowers[keep:], "", "", nest+"n")
		if err != nil {
			return -1, err
		}
		if err := os.Mkdir(nest, 0755); err != nil {
			return -1, err
		}
		point, err := unix.Open(nest, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		if err := attach(fd, point); err != nil {
			return -1, err
		}
		lowers = append(lowers[:keep:keep], nest)
	}
	// userxattr always: a folder that was an upper with one class of attributes must not become a lower with another.
	options := append(make([]string, 0, len(lowers)+8), "source=vfsb", "userxattr", "redirect_dir=nofollow", "index=off", "metacopy=off", "xino=off")
	for _, l := range lowers {
		options = append(options, "lowerdir+="+l)
	}
	attrs := attrsData
	if upper != "" {
		// volatile: else the end of the sandbox waits until everything on that file system is on disk.
		options = append(options, "upperdir="+upper, "workdir="+work, "volatile")
	} else {
		attrs |= unix.MOUNT_ATTR_RDONLY
	}
	return newMount("overlay", attrs, options...)
}
