package cache

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// makeTorture fills the empty folder dir with all that a build may leave, as any user can.
func makeTorture(dir string) error {
	at := func(p string) string { return dir + "/" + p }
	long := strings.Repeat("n", 255)
	var first error
	do := func(err error) {
		if err != nil && first == nil {
			first = err
		}
	}
	for _, d := range []string{"a", "a/b", "a-b", "closed", "closed/in", "sticky", "setgid", "empty", "odd", long, long + "/" + long} {
		do(os.Mkdir(at(d), 0o755))
	}
	write := func(p, text string, mode uint32) {
		do(os.WriteFile(at(p), []byte(text), 0o600))
		do(unix.Chmod(at(p), mode))
	}
	write("a/setuid", "u", 0o4755)
	write("a/setgid", "g", 0o2711)
	write("a/sticky", "s", 0o1644)
	write("a/secret", "mode 000", 0)
	write("a/writable", "w", 0o200)
	write("a/empty", "", 0o444)
	write("a/big", strings.Repeat("0123456789abcdef", 40000), 0o644)
	write("closed/in/file", "below mode 000", 0)
	write("odd/\xff\xfe\x01", "bytes", 0o644)
	write("odd/a b\n%41\\", "space", 0o644)
	write("odd/ünïcödé", "letters", 0o644)
	write("odd/-rf *", "dash", 0o644)
	write(long+"/"+long+"/"+strings.Repeat("x", 200), "deep", 0o644)
	write(strings.Repeat("y", 101), "over 100", 0o644)
	write("zz", "hardlinked", 0o4750)
	do(os.Link(at("zz"), at("a/b/first")))
	do(os.Link(at("zz"), at("a-b/second")))
	do(os.Link(at("a/secret"), at("odd/secret")))
	do(os.Symlink("loop2", at("loop1")))
	do(os.Symlink("loop1", at("loop2")))
	do(os.Symlink("..", at("a/up")))
	do(os.Symlink("/etc/passwd", at("absolute")))
	do(os.Symlink(strings.Repeat("t", 3000), at("dangling")))
	do(os.Symlink("\xff", at("odd/link")))
	do(os.Link(at("loop1"), at("loop1-again"))) // two names of one symlink are two symlinks
	do(unix.Mkfifo(at("fifo"), 0o600))
	do(unix.Chmod(at("fifo"), 0o240))
	sparse, err := os.Create(at("sparse"))
	do(err)
	do(sparse.Truncate(1 << 20))
	_, err = sparse.WriteAt([]byte("end"), 1<<20)
	do(err)
	do(sparse.Close())
	do(unix.Setxattr(at("a/big"), "user.note", []byte("kept\x00\xff"), 0))
	do(unix.Setxattr(at("a/big"), "user.empty", nil, 0))
	do(unix.Setxattr(at("empty"), "user.dir", []byte("kept"), 0))
	do(unix.Setxattr(at("empty"), "user.overlay.opaque", []byte("y"), 0))
	do(unix.Setxattr(dir, "user.overlay.impure", []byte("y"), 0))
	if os.Getuid() == 0 {
		do(unix.Setxattr(at("a"), "trusted.overlay.opaque", []byte("y"), 0))
		do(unix.Setxattr(at("a/big"), "trusted.other", []byte("dropped"), 0))
	}
	acl := "\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\x01\x00\x00\x00" +
		"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff"
	do(unix.Setxattr(at("a/empty"), "system.posix_acl_access", []byte(acl), 0))
	do(unix.Chmod(at("sticky"), 0o1777))
	do(unix.Chmod(at("setgid"), 0o2775))
	do(unix.Chmod(at("closed/in"), 0o111))
	do(unix.Chmod(at("closed"), 0))
	return first
}

// childTorture sends the torture tree through capture, store, tar and a second store, and prints the layer.
func childTorture(dir string) error {
	s, err := Open(dir + "/store")
	if err != nil {
		return err
	}
	defer s.Close()
	run, _, err := s.NewRun("torture")
	if err != nil {
		return err
	}
	if err := makeTorture(run); err != nil {
		return err
	}
	x, d, err := Capture(run, CaptureOptions{})
	if err != nil {
		return err
	}
	if err := checkSettled(run, x); err != nil {
		return err
	}
	l, err := s.CommitLayer(run, x, d)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(run); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is still there: %v", run, err)
	}
	if err := s.VerifyLayer(l); err != nil {
		return err
	}
	var tar, again bytes.Buffer
	if err := s.ExportTar(l, &tar); err != nil {
		return err
	}
	if got := DigestOf(tar.Bytes()); got != l.Tar {
		return fmt.Errorf("exported %v, want %v", got, l.Tar)
	}
	s2, err := Open(dir + "/store2")
	if err != nil {
		return err
	}
	defer s2.Close()
	l2, err := s2.ImportTar(bytes.NewReader(tar.Bytes()))
	if err != nil {
		return err
	}
	if l2 != l {
		return fmt.Errorf("imported %v, want %v", l2, l)
	}
	x2, err := s2.LoadIndex(l2)
	if err != nil {
		return err
	}
	if err := checkSettled(s2.LayerDir(l2), x2); err != nil {
		return err
	}
	if err := s2.VerifyLayer(l2); err != nil {
		return err
	}
	if err := s2.ExportTar(l2, &again); err != nil {
		return err
	}
	if !bytes.Equal(tar.Bytes(), again.Bytes()) {
		return errors.New("the tar differs after a round trip")
	}
	fmt.Printf("%s\n%s", l.Tar, x.Marshal())
	return nil
}

// checkSettled checks what a layer looks like on disk: the same for captured and imported ones.
func checkSettled(dir string, x *Index) error {
	for _, e := range append([]Entry{{Path: ".", Kind: Dir, Mode: 0o755}}, x.Entries...) {
		path := filepath.Join(dir, e.Path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Mtim.Sec != Epoch || st.Mtim.Nsec != 0 {
			return fmt.Errorf("%q: time %d.%d", e.Path, st.Mtim.Sec, st.Mtim.Nsec)
		}
		if e.Kind == Symlink {
			continue
		}
		if got := st.Mode & 0o7777; got != diskMode(e.Kind, e.Mode) {
			return fmt.Errorf("%q: mode %o on disk, %o in the index", e.Path, got, e.Mode)
		}
		buf := make([]byte, 1024)
		n, err := unix.Llistxattr(path, buf)
		if err != nil {
			return err
		}
		want := 0
		for name := range e.Xattrs {
			if name != CapabilityXattr {
				want += len(name) + 1
			}
		}
		if e.Kind != Hardlink && n != want {
			return fmt.Errorf("%q: attributes %q on disk, %q in the index", e.Path, buf[:n], e.Xattrs)
		}
	}
	return nil
}

// TestTorture runs as this user and, if that is root, as an ordinary one: both must get the same layer.
func TestTorture(t *testing.T) {
	own := output(t, child("torture", tempDir(t)))
	other := output(t, asUser(child("torture", userDir(t))))
	if own != other {
		t.Errorf("this user got\n%s\nan ordinary user got\n%s", own, other)
	}
	golden(t, "torture.index", []byte(own+"\n"))
	_, text, _ := strings.Cut(own, "\n")
	x, err := ParseIndex([]byte(text + "\n"))
	check(t, err)
	for path, want := range map[string]Entry{
		"a/b/first":   {Kind: Hardlink, Mode: 0o4750, Link: "a-b/second"},
		"a-b/second":  {Kind: File, Mode: 0o4750},
		"zz":          {Kind: Hardlink, Mode: 0o4750, Link: "a-b/second"},
		"closed":      {Kind: Dir, Mode: 0},
		"closed/in":   {Kind: Dir, Mode: 0o111},
		"a/secret":    {Kind: File, Mode: 0},
		"odd/secret":  {Kind: Hardlink, Mode: 0, Link: "a/secret"},
		"a/setgid":    {Kind: File, Mode: 0o2711},
		"sticky":      {Kind: Dir, Mode: 0o1777},
		"loop1":       {Kind: Symlink, Mode: 0o777, Link: "loop2"},
		"loop1-again": {Kind: Symlink, Mode: 0o777, Link: "loop2"},
		"fifo":        {Kind: Fifo, Mode: 0o240},
	} {
		got, ok := x.Lookup(path)
		if !ok || got.Kind != want.Kind || got.Mode != want.Mode || got.Link != want.Link {
			t.Errorf("%q: %+v, want %+v", path, got, want)
		}
	}
}

func u32(v uint32) *uint32 { return &v }
func num(v int) *int       { return &v }

func TestCaptureOptions(t *testing.T) {
	dir := tempDir(t)
	for _, d := range []string{"usr", "usr/bin", "usr/lib", "usr/lib/x", "info", "info/closed"} {
		check(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	for _, f := range []string{"usr/bin/[", "usr/bin/ping", "usr/bin/ping6", "usr/lib/a.la", "usr/lib/x/b.la", "usr/lib/c.so", "info/dir", "info/closed/x"} {
		check(t, os.WriteFile(filepath.Join(dir, f), []byte(f), 0o644))
	}
	check(t, os.Link(filepath.Join(dir, "usr/bin/ping"), filepath.Join(dir, "usr/bin/ping-again")))
	check(t, os.Chmod(filepath.Join(dir, "info/closed"), 0))
	x, _, err := Capture(dir, CaptureOptions{
		Drop: []string{"**/*.la", "/info"},
		Attrs: []Attr{
			{Path: "usr/bin/*", Mode: u32(0o755)},
			{Path: "usr/bin/[", Mode: u32(0o700)},
			{Path: "/usr/bin/ping-again", UID: num(33), GID: num(44), Caps: "cap_net_raw+ep"},
			{Path: "usr/lib", Mode: u32(0o055)},
		},
	})
	check(t, err)
	caps, _ := EncodeCaps("cap_net_raw+ep")
	want := &Index{}
	for _, e := range []Entry{
		{Path: "usr", Kind: Dir, Mode: 0o755},
		{Path: "usr/bin", Kind: Dir, Mode: 0o755},
		{Path: "usr/bin/[", Kind: File, Mode: 0o700},
		{Path: "usr/bin/ping", Kind: File, Mode: 0o755, UID: 33, GID: 44, Xattrs: map[string]string{CapabilityXattr: caps}},
		{Path: "usr/bin/ping-again", Kind: Hardlink, Link: "usr/bin/ping"},
		{Path: "usr/bin/ping6", Kind: File, Mode: 0o755},
		{Path: "usr/lib", Kind: Dir, Mode: 0o055},
		{Path: "usr/lib/c.so", Kind: File, Mode: 0o644},
		{Path: "usr/lib/x", Kind: Dir, Mode: 0o755},
	} {
		if e.Kind == File {
			d := DigestOf([]byte(e.Path))
			e.Hash, e.Size = d.Hash, d.Size
		}
		check(t, want.add(e))
	}
	if got := x.Marshal(); !bytes.Equal(got, want.Marshal()) {
		t.Errorf("got %s\nwant %s", got, want.Marshal())
	}
	check(t, checkSettled(dir, x))

	for _, c := range []struct {
		o    CaptureOptions
		want string
	}{
		{CaptureOptions{Drop: []string{"a[b"}}, `drop "a[b": not a valid glob`},
		{CaptureOptions{Attrs: []Attr{{Path: "a[b"}}}, `attrs "a[b": not a valid glob`},
		{CaptureOptions{Attrs: []Attr{{Path: "nothing/**"}}}, "nothing in the output matches"},
		{CaptureOptions{Attrs: []Attr{{Path: "usr", Mode: u32(0o10000)}}}, "07777"},
		{CaptureOptions{Attrs: []Attr{{Path: "usr", UID: num(-1)}}}, "out of range"},
		{CaptureOptions{Attrs: []Attr{{Path: "usr", Caps: "cap_net_raw+ep"}}}, "only files"},
		{CaptureOptions{Attrs: []Attr{{Path: "usr/bin/ping", Caps: "cap_nonsense+ep"}}}, "unknown capability"},
	} {
		_, _, err := Capture(dir, c.o)
		wantError(t, err, c.want)
	}
}

func TestCaptureRefuses(t *testing.T) {
	cases := map[string]func(path string) error{
		"an overlay whiteout": func(p string) error { return unix.Mknod(p, unix.S_IFCHR, 0) },
		"a socket": func(p string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p, Net: "unix"})
			if err == nil {
				l.SetUnlinkOnClose(false)
				l.Close()
			}
			return err
		},
		"'='": func(p string) error {
			if err := os.WriteFile(p, nil, 0o644); err != nil {
				return err
			}
			return unix.Setxattr(p, "user.a=b", []byte("c"), 0)
		},
	}
	if os.Getuid() == 0 { // nobody else can make one
		cases["a device"] = func(p string) error { return unix.Mknod(p, unix.S_IFCHR, int(unix.Mkdev(1, 3))) }
	}
	for want, make := range cases {
		dir := tempDir(t)
		check(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
		check(t, make(filepath.Join(dir, "sub", "thing")))
		_, _, err := Capture(dir, CaptureOptions{})
		wantError(t, err, want)
		wantError(t, err, "sub/thing")
		if x, _, err := Capture(dir, CaptureOptions{Drop: []string{"**/thing"}}); err != nil || len(x.Entries) != 1 {
			t.Errorf("%s: dropped: %v", want, err)
		}
	}
	_, _, err := Capture(filepath.Join(tempDir(t), "none"), CaptureOptions{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// childCapture captures dir and prints the index.
func childCapture(dir string) error {
	x, _, err := Capture(dir, CaptureOptions{})
	if err != nil {
		return err
	}
	fmt.Printf("%s", x.Marshal())
	return checkSettled(dir, x)
}

// childSetcap gives the file dir/file a capability.
func childSetcap(dir string) error {
	caps, err := EncodeCaps("cap_net_raw+ep")
	if err != nil {
		return err
	}
	return unix.Setxattr(dir+"/file", CapabilityXattr, []byte(caps), 0)
}

// TestCapability captures a capability that the root of a user namespace has set, which the kernel keeps in version 3,
// and one of the real root if that is who runs the test.
func TestCapability(t *testing.T) {
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = ordinary, ordinary
	}
	setters := map[string]*exec.Cmd{}
	dir := userDir(t)
	setters[dir] = asNamespaceRoot(child("setcap", dir), uid, gid)
	if os.Getuid() == 0 {
		dir := userDir(t)
		setters[dir] = child("setcap", dir)
	}
	for dir, setter := range setters {
		file := dir + "/file"
		check(t, os.WriteFile(file, []byte("x"), 0o755))
		check(t, os.Chown(file, uid, gid))
		check(t, os.Chmod(file, 0o755|fs.ModeSetuid))
		output(t, setter)
		size, err := unix.Getxattr(file, CapabilityXattr, nil)
		if err != nil || setter.SysProcAttr != nil && size != capabilityV3Size {
			t.Fatalf("the test's own capability has %d bytes: %v", size, err)
		}
		got := output(t, asUser(child("capture", dir)))
		want := &Index{}
		caps, _ := EncodeCaps("cap_net_raw+ep")
		d := DigestOf([]byte("x"))
		check(t, want.add(Entry{Path: "file", Kind: File, Mode: 0o4755, Size: 1, Hash: d.Hash, Xattrs: map[string]string{CapabilityXattr: caps}}))
		if got += "\n"; got != string(want.Marshal()) {
			t.Errorf("got %s, want %s", got, want.Marshal())
		}
	}
}

// TestCaptureDeep has a path that is longer than the kernel takes: an error, and Remove copes.
func TestCaptureDeep(t *testing.T) {
	dir := tempDir(t)
	at, err := unix.Open(dir, unix.O_PATH, 0)
	check(t, err)
	name := strings.Repeat("d", 250)
	for range 20 {
		check(t, unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, unix.O_PATH, 0)
		check(t, err)
		unix.Close(at)
		at = next
	}
	check(t, unix.Mkdirat(at, "closed", 0o755))
	check(t, unix.Mkdirat(at, "closed/in", 0o755))
	check(t, unix.Fchmodat(at, "closed", 0, 0))
	unix.Close(at)
	_, _, err = Capture(dir, CaptureOptions{})
	wantError(t, err, "the path is longer than the kernel takes; remove it or drop it")
	check(t, Remove(filepath.Join(dir, name)))
}

// TestCaptureBounds: what costs a build nothing to make must not cost the engine hours or all its memory.
func TestCaptureBounds(t *testing.T) {
	dir := tempDir(t)
	for _, name := range []string{"a", "huge"} {
		f, err := os.Create(filepath.Join(dir, name))
		check(t, err)
		check(t, f.Truncate(maxLayer/2+1))
		check(t, f.Close())
	}
	check(t, os.Link(filepath.Join(dir, "huge"), filepath.Join(dir, "huge-again"))) // does not count twice
	_, _, err := Capture(dir, CaptureOptions{})
	wantError(t, err, `capture "huge": with it the output has more than 68719476736 bytes; remove it or drop it`)
	x, _, err := Capture(dir, CaptureOptions{Drop: []string{"a", "huge*"}})
	if err != nil || len(x.Entries) != 0 {
		t.Errorf("dropped: %v", err)
	}

	check(t, os.WriteFile(filepath.Join(dir, "one-more"), nil, 0o644))
	c := &capture{dir: dir, found: make([]*found, maxEntries)}
	wantError(t, c.visit("one-more"), `capture "one-more": a layer holds at most 1048576 entries`)
	c = &capture{dir: dir, text: maxText}
	wantError(t, c.visit("one-more"), "268435456 bytes of paths; remove some or drop them")
	x = &Index{Entries: make([]Entry, maxEntries)}
	wantError(t, x.add(Entry{Path: "a", Kind: Dir}), `"a": a layer holds at most 1048576 entries`)
	u := &unpacker{x: &Index{}, text: maxText}
	wantError(t, u.entry(&tar.Header{Typeflag: tar.TypeDir, Name: "a/", Mode: 0o755}), "with 268435456 bytes of paths")
	check(t, unix.Setxattr(filepath.Join(dir, "one-more"), "user.x", []byte("y"), 0))
	r := &reader{dir: dir, xattrs: maxText}
	wantError(t, r.entry(&found{Entry: Entry{Path: "one-more", Kind: File}}), "bytes of paths; remove some or drop them")
	_, err = ParseIndex(make([]byte, maxIndex+1))
	wantError(t, err, "index: 1073741825 bytes: a layer holds at most")
}

func TestCaptureMany(t *testing.T) {
	dir := tempDir(t)
	want := map[string]string{}
	for i := range 300 { // more than the pipeline holds, sizes around the buffer's
		name := fmt.Sprintf("f%03d", i)
		size := []int{0, 1, 511, 512, 128<<10 - 1, 128 << 10, 128<<10 + 1, 300 << 10}[i%8]
		want[name] = strings.Repeat(string(rune('a'+i%26)), size)
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(want[name]), 0o644))
	}
	x, d, err := Capture(dir, CaptureOptions{})
	check(t, err)
	for _, e := range x.Entries {
		if e.Digest() != DigestOf([]byte(want[e.Path])) {
			t.Errorf("%s has another hash", e.Path)
		}
	}
	var b bytes.Buffer
	got, err := exportTree(dir, x, &b)
	check(t, err)
	if got != d || DigestOf(b.Bytes()) != d {
		t.Errorf("capture says %v, the tar is %v", d, got)
	}
	if !slices.IsSortedFunc(x.Entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) }) {
		t.Error("not sorted")
	}
}

// childRemove removes the torture tree.
func childRemove(dir string) error {
	tree := dir + "/tree"
	if err := errors.Join(os.Mkdir(tree, 0o700), makeTorture(tree), os.Chmod(tree, 0)); err != nil {
		return err
	}
	if err := Remove(tree); err != nil {
		return err
	}
	if _, err := os.Lstat(tree); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is still there: %v", tree, err)
	}
	return nil
}

// childRemoveDeep removes folders that are nested deeper than it may open files, the last one closed to everyone and
// with two names that Remove itself uses.
func childRemoveDeep(dir string) error {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: 100}); err != nil {
		return err
	}
	at, err := unix.Open(dir, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	var errs []error
	for range 500 {
		errs = append(errs, unix.Mkdirat(at, "tree", 0o755), unix.Mkdirat(at, "1.up", 0o755), unix.Mknodat(at, "2.up", unix.S_IFREG, 0))
		next, err := unix.Openat(at, "tree", unix.O_PATH, 0)
		if err := errors.Join(append(errs, err)...); err != nil {
			return err
		}
		unix.Close(at)
		at = next
	}
	errs = append(errs, unix.Mkdirat(at, "in", 0o755), unix.Fchmodat(at, "in", 0, 0), unix.Fchmodat(at, "../tree", 0, 0), unix.Close(at),
		Remove(dir+"/1.up"), Remove(dir+"/2.up"), Remove(dir+"/tree"))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		errs = append(errs, fmt.Errorf("left: %v, %v", left, err))
	}
	return errors.Join(errs...)
}

func TestRemove(t *testing.T) {
	for _, name := range []string{"remove", "deep"} {
		output(t, child(name, tempDir(t)))
		output(t, asUser(child(name, userDir(t))))
	}
	dir := tempDir(t)
	check(t, Remove(filepath.Join(dir, "none")))
	check(t, os.Mkdir(filepath.Join(dir, "keep"), 0o555))
	check(t, os.Mkdir(filepath.Join(dir, "go"), 0o755))
	check(t, os.Symlink("../keep", filepath.Join(dir, "go", "link")))
	check(t, os.Chmod(filepath.Join(dir, "go"), 0))
	check(t, Remove(filepath.Join(dir, "go")))
	if fi, err := os.Stat(filepath.Join(dir, "keep")); err != nil || fi.Mode().Perm() != 0o555 {
		t.Errorf("the folder behind a link: %v, %v", fi, err)
	}
}

// TestRemoveTwice: what two processes remove at once is gone, and neither fails.
func TestRemoveTwice(t *testing.T) {
	dir := tempDir(t)
	for range 4 {
		tree := filepath.Join(dir, "tree")
		for _, side := range []string{"", "a", "b"} {
			check(t, os.MkdirAll(tree+"/"+side+strings.Repeat("/d", 3*maxOpen), 0o755))
		}
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if err := Remove(tree); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if _, err := os.Lstat(tree); err == nil {
			t.Error("it is still there")
			check(t, Remove(tree))
		}
	}
	d, err := os.Open(dir)
	check(t, err)
	defer d.Close()
	r := remover{top: int(d.Fd())}
	if err := r.moveUp(r.top, "gone"); err != nil {
		t.Errorf("what another process has moved: %v", err)
	}
}

// TestDiskModes: on disk a captured file keeps its mode, setuid and sticky bits too,
// but that its owner can always read and write it; the index has the true mode.
func TestDiskModes(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]uint32{"su": 0o4755, "hidden": 0o000, "plain": 0o644} {
		must(os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600))
		must(unix.Chmod(filepath.Join(dir, name), mode))
	}
	must(os.Mkdir(filepath.Join(dir, "tmp"), 0o700))
	must(unix.Chmod(filepath.Join(dir, "tmp"), 0o1777))
	x, _, err := Capture(dir, CaptureOptions{})
	must(err)
	for name, want := range map[string][2]uint32{"su": {0o4755, 0o4755}, "hidden": {0, 0o600}, "plain": {0o644, 0o644}, "tmp": {0o1777, 0o1777}} {
		var st unix.Stat_t
		must(unix.Lstat(filepath.Join(dir, name), &st))
		e, ok := x.Lookup(name)
		if !ok || e.Mode != want[0] || st.Mode&0o7777 != want[1] {
			t.Errorf("%s: index has %04o, the disk %04o; want %04o and %04o", name, e.Mode, st.Mode&0o7777, want[0], want[1])
		}
	}
}
