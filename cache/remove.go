package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Remove removes path and everything below it, folders that nobody may enter (mode 000) included, and follows no link.
// A path that does not exist is no error.
func Remove(path string) error {
	err := os.RemoveAll(path)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := openUp(unix.AT_FDCWD, path); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return os.RemoveAll(path)
}

// openUp gives the owner all rights to the folder name in the folder at, and to all folders below it. It goes from
// descriptor to descriptor, since a build can make paths that are longer than the kernel takes at once.
func openUp(at int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return ignore(err, unix.ENOENT)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if st.Mode&0o700 != 0o700 {
		if err := unix.Fchmodat(at, name, st.Mode&0o7777|0o700, 0); err != nil {
			return ignore(err, unix.ENOENT)
		}
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return ignore(err, unix.ENOENT)
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := openUp(fd, name); err != nil {
			return err
		}
	}
	return nil
}

// ignore returns nil instead of one kind of error.
func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}
