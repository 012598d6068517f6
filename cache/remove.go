package cache

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxOpen is how many folders, one within the other, Remove has open. A build can nest them deeper than a process has
// descriptors and stack, and other work of this process needs descriptors, too.
const maxOpen = 64

// Remove removes path and everything below it, folders that nobody may enter (mode 000) included, and follows no link.
// A path that does not exist is no error. It goes from descriptor to descriptor, since a build can make paths that are
// longer than the kernel takes at once.
func Remove(path string) error {
	var err error
	for range 100 { // another process that removes it, too, may move something up where there was nothing left
		r := remover{top: -1}
		if err = r.remove(unix.AT_FDCWD, path, 0); !errors.Is(err, unix.ENOTEMPTY) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// A remover removes one folder. What lies too deep in it is moved up to its top, where it is found later.
type remover struct {
	top   int // descriptor
	moved int
}

// remove removes name, which is at the given depth, from the folder at.
func (r *remover) remove(at int, name string, depth int) error {
	err := unix.Unlinkat(at, name, 0)
	if !errors.Is(err, unix.EISDIR) {
		return ignore(err, unix.ENOENT)
	}
	err = unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
	if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return ignore(err, unix.ENOENT)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return ignore(err, unix.ENOENT)
	}
	if st.Mode&0o700 != 0o700 {
		if err := unix.Fchmodat(at, name, st.Mode&0o7777|0o700, 0); err != nil {
			return ignore(err, unix.ENOENT)
		}
	}
	if depth == maxOpen {
		return r.moveUp(at, name)
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return ignore(err, unix.ENOENT)
	}
	if depth == 0 {
		r.top = fd
	}
	if err := r.empty(os.NewFile(uintptr(fd), name), depth+1); err != nil {
		return err
	}
	return ignore(unix.Unlinkat(at, name, unix.AT_REMOVEDIR), unix.ENOENT)
}

// empty removes what is in the folder d, and closes it.
func (r *remover) empty(d *os.File, depth int) error {
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		if err == io.EOF || errors.Is(err, unix.ENOENT) { // the latter if another process was faster
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := r.remove(int(d.Fd()), name, depth); err != nil {
				return err
			}
		}
		if _, err := d.Seek(0, io.SeekStart); err != nil { // what went, and what came by moveUp, shifts the rest
			return err
		}
	}
}

// moveUp moves a folder to the top, under a name that is free there.
func (r *remover) moveUp(at int, name string) error {
	for {
		r.moved++
		err := unix.Renameat2(at, name, r.top, fmt.Sprintf("%d.up", r.moved), unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return ignore(err, unix.ENOENT)
		}
	}
}

// ignore returns nil instead of one kind of error.
func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}
