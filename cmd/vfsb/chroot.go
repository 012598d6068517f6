package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/load"
	"vfsb/engine/sandbox"
	"vfsb/engine/source"
)

func chrootVerb(app *app) *cobra.Command {
	c := chroot{app: app}
	cmd := &cobra.Command{
		Use:   "chroot ROOTFS [COMMAND…]",
		Short: "Work in a root file system of any architecture: a folder, or a tarball",
		Long: `Runs a shell, or the command, with ROOTFS as its root: with /proc, /dev and /tmp of its
own, the host's network and resolv.conf, and, if its programs are another machine's,
under the emulator of a platform. Neither root nor anything of the host is needed.
Without a terminal the shell runs the script on standard input.

What is changed in a folder stays. A tarball is unpacked, and what is changed is thrown
away, unless --keep names a folder to unpack it into.

The ids inside are 65,536 if you are root, with owners on disk as inside: name a folder
that others cannot reach, as a setuid program in it is one for them, too. Else id 0 is you,
and the others are those that /etc/subuid and /etc/subgid give you. Where they give none,
or newuidmap is missing, 0 is the only one, and chown has no effect.`,
		Example: `  vfsb chroot ./stage3 emerge --info
  vfsb chroot --cpu cortex-a53 --bind ~/src:/src:ro out/stage1-arm64.tar.zst`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if os.Geteuid() != 0 {
				// Without the ids of others it goes on as it is; doctor tells.
				if code, err := sandbox.WithUsers(cmd.Context()); err == nil {
					return exitError{code}
				}
			}
			return app.withStore(func(store *cache.Store) error { return c.run(cmd.Context(), store, args[0], args[1:]) })
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows ROOTFS is the command's
	f.StringVar(&c.cpu, "cpu", "", "`MODEL` that the emulator shows, such as cortex-a53")
	f.StringArrayVar(&c.binds, "bind", nil, "show `SRC[:DST][:ro]` of the host inside; may be repeated")
	f.StringArrayVar(&c.env, "env", nil, "set `NAME=VALUE` inside; may be repeated")
	f.BoolVar(&c.preserveEnv, "preserve-env", false, "keep the environment")
	f.BoolVar(&c.noNet, "no-net", false, "no network but the loopback")
	f.StringVar(&c.keep, "keep", "", "unpack a tarball into the new `DIR`, and keep what is changed")
	return cmd
}

// chroot is one command line of the verb.
type chroot struct {
	app                *app
	cpu, keep          string
	binds, env         []string
	preserveEnv, noNet bool
}

func (c *chroot) run(ctx context.Context, store *cache.Store, root string, command []string) (failure error) {
	for _, text := range c.env {
		if name, _, ok := strings.Cut(text, "="); !ok || name == "" {
			return usageError{fmt.Errorf("--env is NAME=VALUE, not %q", text)}
		}
	}
	root = within(c.app.directory, root)
	info, err := os.Stat(root)
	if err != nil {
		return usageError{err}
	}
	isFolder := info.IsDir()
	if !isFolder && !info.Mode().IsRegular() {
		return usageError{fmt.Errorf("%s is neither a folder nor a file; name a tarball that lies on disk", root)}
	}
	if isFolder && c.keep != "" {
		return usageError{fmt.Errorf("--keep is for tarballs: %s is a folder, and what is changed in it stays", root)}
	}
	dir, release, err := store.NewRun("chroot")
	if err != nil {
		return err
	}
	defer release()
	tree := root
	if !isFolder {
		if tree, err = c.unpack(ctx, dir, root); err != nil {
			return err
		}
	}
	if tree, err = filepath.Abs(tree); err != nil {
		return err
	}
	arch, shell, err := engine.RootArch(tree, root)
	if err != nil {
		if !isFolder {
			err = errors.Join(err, cache.Remove(tree)) // --keep's
		}
		return usageError{err}
	}
	spec := sandbox.Spec{Dir: dir, Cwd: "/", Argv: command, Env: c.environment(), Terminal: true, Network: !c.noNet, Users: true, NoBuild: true}
	if len(command) == 0 {
		spec.Argv = shellCommand(shell)
	}
	if isFolder || c.keep != "" {
		unlock, err := lockTree(tree, fmt.Sprintf("another vfsb chroot is in %s; end that one first, or work on a copy", tree))
		if err != nil {
			return err
		}
		defer unlock()
		spec.Tree = tree
		if spec.Dir, err = beside(dir, tree); err != nil {
			return err
		}
		defer func() { failure = errors.Join(failure, forget(spec)) }()
	} else {
		spec.Root = []string{tree}
	}
	if !engine.HostExec().Runs(arch) {
		if spec.Emulator, err = c.emulator(ctx, store, arch); err != nil {
			return err
		}
	}
	spec.Linux32 = arch == "i686" || arch == "armv7"
	if err := c.bind(&spec, tree); err != nil {
		return err
	}
	result, err := runWhileRead(ctx, spec)
	if err != nil {
		if errors.Is(err, sandbox.ErrUnfit) && errors.Is(err, unix.EACCES) && spec.Tree != "" && (os.Geteuid() != 0 || sandbox.IsWithUsers()) {
			if name := othersIn(spec); name != "" {
				return usageError{fmt.Errorf("%s belongs to another user, and so the kernel mounts nothing there; name a copy of your own, or a tarball", name)}
			}
		}
		return err
	}
	if result.ExitCode != 0 {
		return exitError{result.ExitCode}
	}
	return nil
}

// runWhileRead runs the command. Who reads what it writes may go, as head does: then it ends, the terminal is set back, and
// what is left is removed.
func runWhileRead(ctx context.Context, spec sandbox.Spec) (sandbox.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	go func() {
		for {
			select {
			case <-broken:
				if unread(os.Stdout) || unread(os.Stderr) { // and not the command's own input
					cancel(exitError{128 + int(syscall.SIGPIPE)})
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return sandbox.Run(ctx, spec)
}

// unread reports whether f is a pipe or a socket that nobody reads any more.
func unread(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// unpack unpacks a tarball into the folder that --keep names, or below dir.
func (c *chroot) unpack(ctx context.Context, dir, tarball string) (tree string, err error) {
	f, err := os.Open(tarball)
	if err != nil {
		return "", err
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })() // nothing more is read
	tree = filepath.Join(dir, "root")
	if c.keep != "" {
		tree = within(c.app.directory, c.keep)
	}
	if err := os.Mkdir(tree, 0o755); err != nil {
		return "", usageError{err}
	}
	if err := os.Chmod(tree, 0o755); err != nil { // whatever the umask
		return "", err
	}
	if err := source.UnpackImage(tree, []*os.File{f}, source.UnpackOptions{Owners: sandbox.Users(), Remedy: "name a folder, or a tarball of a root file system"}); err != nil {
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case !cache.NoRoom(err):
			err = usageError{err}
		}
		return "", errors.Join(err, cache.Remove(tree))
	}
	return tree, nil
}

// lockTree keeps the tree for this run: the kernel does not define what two overlays with one upper folder are. If another
// one has it, busy says so.
func lockTree(tree, busy string) (unlock func() error, err error) {
	unlock, err = cache.LockUnused(tree)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = usageError{errors.New(busy)}
	}
	return unlock, err
}

// beside is a run's folder on the file system of tree, and not in tree: dir, if it lies so, else one next to tree, which is
// locked: what an earlier run that was killed has left of it goes.
func beside(dir, tree string) (string, error) {
	if err := unix.Access(tree, unix.W_OK); errors.Is(err, unix.EROFS) {
		return "", usageError{fmt.Errorf("%s is on a read-only file system, and what is changed in a folder stays; name a copy, or a tarball of it", tree)}
	}
	tree, err := filepath.EvalSymlinks(tree)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	of, err := mountOf(tree)
	if err != nil {
		return "", err
	}
	if a, err := mountOf(dir); err != nil {
		return "", err
	} else if a == of && !strings.HasPrefix(dir, strings.TrimSuffix(tree, "/")+"/") {
		return dir, nil
	}
	parent := filepath.Dir(tree)
	if a, err := mountOf(parent); err != nil {
		return "", err
	} else if a != of || parent == tree {
		return "", usageError{fmt.Errorf("%s is the top of a file system, and the kernel needs a folder beside the tree, on the same one: move the tree into a folder there, or name a tarball of it", tree)}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(tree, &st); err != nil {
		return "", err
	}
	made := filepath.Join(parent, fmt.Sprintf(".vfsb-chroot-%d", st.Ino))
	err = cache.Remove(made)
	if err == nil {
		err = os.Mkdir(made, 0o700)
	}
	if err != nil {
		return "", usageError{fmt.Errorf("%w; the kernel needs a folder beside %s: make the one above it writable, or use a --store on the same file system", err, tree)}
	}
	return made, nil
}

// A mount is where a file lies: of two folders of one mount the kernel makes an overlay.
type mount struct {
	id           uint64
	major, minor uint32 // of one mount of btrfs there are several
}

func mountOf(name string) (mount, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, name, 0, unix.STATX_TYPE|unix.STATX_MNT_ID, &st); err != nil {
		return mount{}, &os.PathError{Op: "statx", Path: name, Err: err}
	}
	return mount{st.Mnt_id, st.Dev_major, st.Dev_minor}, nil
}

// othersIn names what belongs to another user of the folders that the kernel merges with mount points, "" if nothing does.
func othersIn(spec sandbox.Spec) string {
	folders := merged(spec)
	for _, name := range mounted {
		folders = append(folders, filepath.Join(spec.Tree, name))
	}
	for _, name := range folders {
		var st syscall.Stat_t
		if syscall.Lstat(name, &st) == nil && int(st.Uid) != os.Geteuid() {
			return name
		}
	}
	return ""
}

// merged are the folders of the tree that hold mount points, if they are there.
func merged(spec sandbox.Spec) []string {
	list := []string{spec.Tree}
	for _, b := range spec.Binds {
		for dir := path.Dir(b.At); dir != "/"; dir = path.Dir(dir) {
			list = append(list, filepath.Join(spec.Tree, dir))
		}
	}
	return list
}

// forget removes what the run has left: its folder, and what the kernel notes in the tree about folders that were merged
// with those that hold mount points.
func forget(spec sandbox.Spec) error {
	marked := merged(spec)
	for _, dir := range slices.Clone(marked) {
		entries, _ := os.ReadDir(dir) // some are in the run's folder only
		for _, e := range entries {
			marked = append(marked, filepath.Join(dir, e.Name()))
		}
	}
	for _, name := range marked {
		for _, mark := range []string{"impure", "opaque", "origin", "uuid"} {
			unix.Lremovexattr(name, "user.overlay."+mark) // most do not have it
		}
	}
	return cache.Remove(spec.Dir)
}

// environment is what the command gets.
func (c *chroot) environment() []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	if c.preserveEnv {
		env = os.Environ()
	}
	env = withTerm(env)
	set := c.env
	if c.cpu != "" {
		set = append([]string{"QEMU_CPU=" + c.cpu}, set...)
	}
	for _, text := range set { // of two values of a name programs take the first
		name, _, _ := strings.Cut(text, "=")
		env = append(slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") }), text)
	}
	return env
}

// emulator builds what runs programs of arch: of the workspace around, else of what vfsb carries.
func (c *chroot) emulator(ctx context.Context, store *cache.Store, arch string) (_ *sandbox.Emulator, err error) {
	a := *c.app
	if _, err := load.FindRoot(a.directory); err != nil {
		dir, err := os.MkdirTemp("", "vfsb-chroot-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if err := os.WriteFile(filepath.Join(dir, load.FileName), []byte(newWorkspace), 0o644); err != nil {
			return nil, err
		}
		a.directory = dir
	}
	e, err := a.open(store)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeCaches(e)) }()
	show := a.display(ctx, "auto", &engine.Graph{}, nil)
	defer show.close()
	return e.EmulatorOf(ctx, arch, engine.Options{Notify: show.event})
}

// mounted are the folders of the root on which the sandbox mounts its own.
var mounted = []string{"dev", "proc", "sys", "tmp"}

// top is the first name of an absolute path.
func top(at string) string {
	first, _, _ := strings.Cut(at[1:], "/")
	return first
}

// bind adds what the host shows inside.
func (c *chroot) bind(spec *sandbox.Spec, tree string) error {
	for _, name := range mounted {
		if info, err := os.Lstat(filepath.Join(tree, name)); err == nil && !info.IsDir() {
			return usageError{fmt.Errorf("%s is no folder, and the sandbox mounts its own there; put an empty folder in its place", filepath.Join(tree, name))}
		}
	}
	for _, text := range c.binds {
		b, err := c.parseBind(text)
		if err != nil {
			return usageError{err}
		}
		b.At = engine.Inside(tree, b.At)
		spec.Binds = append(spec.Binds, b)
	}
	for i, b := range spec.Binds {
		if err := fits(b, spec.Binds, tree); err != nil {
			return usageError{fmt.Errorf("--bind %q: %w", c.binds[i], err)}
		}
	}
	const resolver = "/etc/resolv.conf"
	if _, err := os.Stat(resolver); err == nil && spec.Network {
		// Where it leads to the kernel's files, as /proc/net/pnp, or nowhere, the tree's own counts.
		b := sandbox.Bind{From: resolver, At: engine.Inside(tree, resolver)}
		if slices.Contains([]string{"dev", "proc", "sys"}, top(b.At)) || fits(b, spec.Binds, tree) != nil {
			return nil
		}
		spec.Binds = append([]sandbox.Bind{b}, spec.Binds...) // under the user's
	}
	return nil
}

// fits reports why b cannot be shown where it is to be: over a folder only a folder can, and over a file only a file.
func fits(b sandbox.Bind, all []sandbox.Bind, tree string) error {
	for _, other := range all {
		if strings.HasPrefix(b.At, other.At+"/") {
			return nil // the tree does not tell
		}
	}
	if top(b.At) == "tmp" {
		return nil
	}
	from, err := os.Stat(b.From)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer root.Close()
	at, err := root.Lstat(b.At[1:]) // no link leads out to what the host has there
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case at.Mode()&os.ModeSymlink != 0:
		return fmt.Errorf("%s is a link that leads nowhere", b.At)
	case at.IsDir() && !from.IsDir():
		return fmt.Errorf("%s is a folder; write SRC:DST with the name that the file has inside", b.At)
	case !at.IsDir() && from.IsDir():
		return fmt.Errorf("%s is no folder", b.At)
	}
	return nil
}

// parseBind reads SRC[:DST][:ro].
func (c *chroot) parseBind(text string) (b sandbox.Bind, err error) {
	rest, readOnly := strings.CutSuffix(text, ":ro")
	from, at, both := strings.Cut(rest, ":")
	if from == "" {
		return b, fmt.Errorf("--bind %q names nothing; write SRC[:DST][:ro]", text)
	}
	if from, err = filepath.Abs(within(c.app.directory, from)); err != nil {
		return b, err
	}
	if _, err := os.Stat(from); err != nil {
		return b, fmt.Errorf("--bind %q: %w", text, err)
	}
	if !both {
		at = from
	}
	if at = filepath.Clean(at); !filepath.IsAbs(at) || strings.Contains(at, ":") {
		return b, fmt.Errorf("--bind %q: where it is shown is an absolute path without a colon; write SRC[:DST][:ro]", text)
	}
	if slices.Contains([]string{"", "dev", "proc", "sys"}, top(at)) {
		return b, fmt.Errorf("--bind %q: %s is the sandbox's own; show it elsewhere", text, at)
	}
	return sandbox.Bind{From: from, At: at, Writable: !readOnly}, nil
}
