package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"vfsb/cache"
)

// entry is a tar entry of a test archive. The kind follows from the fields: a final "/" is a folder, link a symlink.
type entry struct {
	name, link, text string
	mode             int64
	kind             byte
}

func tarball(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Mode: e.mode, Typeflag: e.kind, Uid: 12, Gid: 34}
		switch {
		case e.kind != 0:
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
		case e.link != "":
			h.Typeflag = tar.TypeSymlink
		default:
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.text))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ar makes an ar archive of name, content, name, content…
func ar(parts ...string) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for i := 0; i < len(parts); i += 2 {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", parts[i], 0, 0, 0, 0o644, len(parts[i+1]), parts[i+1])
		if len(parts[i+1])%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func debOf(data string, b []byte) []byte {
	return ar("debian-binary", "2.0\n", "control.tar.xz", "odd", data, string(b))
}

func tempFile(t testing.TB, b []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "archive-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return f
}

func compressed(t testing.TB, b []byte, how string) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch how {
	case "gz":
		w = gzip.NewWriter(&out)
	case "zst":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	case "xz", "bz2":
		cmd := exec.Command(map[string]string{"xz": "xz", "bz2": "bzip2"}[how], "-c")
		cmd.Stdin, cmd.Stdout = bytes.NewReader(b), &out
		if err := cmd.Run(); err != nil {
			t.Skip(err)
		}
		return out.Bytes()
	default:
		return b
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// list returns "path mode content or link" of a tree.
func list(t *testing.T, dir string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		st, err := os.Lstat(p)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %v", rel, st.Mode())
		switch st.Mode().Type() {
		case 0:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += " " + string(b)
		case fs.ModeSymlink:
			to, _ := os.Readlink(p)
			line += " " + to
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func equalLists(t *testing.T, got, want []string) {
	t.Helper()
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("unexpected %q", g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("missing %q", w)
		}
	}
}

func TestUnpackDebs(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077)) // must not matter
	one := tarball(t, entry{name: "./"}, entry{name: "./bin/", mode: 0o755}, entry{name: "./bin/sh", link: "dash"}, entry{name: "./bin/dash", text: "dash", mode: 0o555},
		entry{name: "./lib64/ld.so", link: "/lib/ld.so"}, entry{name: "./etc/conf", text: "conffile", mode: 0o640},
		entry{name: "./usr/bin/su", text: "su", mode: 0o4755}, entry{name: "./usr/bin/su2", link: "./usr/bin/su", kind: tar.TypeLink},
		entry{name: "./usr/share/doc/p/copyright", text: "c"}, entry{name: "./usr/share/man/man1/p.1", text: "m"}, entry{name: "./usr/lib/big/x", text: "x"},
		entry{name: "./var/locked/", mode: 0o500}, entry{name: "./var/locked/in", text: "in", mode: 0o400}, entry{name: "./srv/", mode: 0o2775})
	two := tarball(t, entry{name: "./bin", link: "usr/bin"}, entry{name: "./usr/bin/tool", text: "two"}, entry{name: "./sbin/init", text: "init"}, entry{name: "./var/pipe", kind: tar.TypeFifo, mode: 0o600})
	three := tarball(t, entry{name: "./usr/bin/tool", text: "three"}, entry{name: "./usr/bin/gawk", text: "gawk"}, entry{name: "./usr/bin/mawk", text: "mawk"})
	want := []string{"bin Lrwxrwxrwx usr/bin", "sbin Lrwxrwxrwx usr/sbin", "lib Lrwxrwxrwx usr/lib", "lib64 Lrwxrwxrwx usr/lib64",
		"etc drwxr-xr-x", "etc/conf -rw-r----- conffile", "usr drwxr-xr-x", "usr/bin drwxr-xr-x", "usr/sbin drwxr-xr-x", "usr/lib drwxr-xr-x", "usr/lib64 drwxr-xr-x",
		"usr/bin/sh Lrwxrwxrwx dash", "usr/bin/dash -rwxr-xr-x dash", "usr/lib64/ld.so Lrwxrwxrwx /lib/ld.so", "usr/bin/su urwxr-xr-x su", "usr/bin/su2 urwxr-xr-x su",
		"usr/bin/tool -rwxr-xr-x three", "usr/sbin/init -rwxr-xr-x init", "var drwxr-xr-x", "var/locked drwx------", "var/locked/in -rw------- in", "var/pipe prw-------",
		"srv dgrwxrwxr-x", "usr/bin/gawk -rwxr-xr-x gawk", "usr/bin/mawk -rwxr-xr-x mawk", "usr/bin/awk Lrwxrwxrwx gawk", "usr/bin/abs Lrwxrwxrwx /bin/tool"}
	unpack := func(dir string, o UnpackOptions) error {
		debs := []*os.File{tempFile(t, debOf("data.tar.xz", compressed(t, one, "xz"))), tempFile(t, debOf("data.tar.zst", compressed(t, two, "zst"))), tempFile(t, debOf("data.tar", three))}
		return UnpackDebs(dir, debs, o)
	}
	o := UnpackOptions{Drop: []string{"usr/lib/big"}, Alternatives: map[string]string{"usr/bin/awk": "nosuch gawk mawk", "usr/bin/yacc": "bison.yacc", "/bin/abs": "/bin/tool"}}
	dir := t.TempDir()
	if err := unpack(dir, o); err != nil {
		t.Fatal(err)
	}
	equalLists(t, list(t, dir), want)

	t.Run("skeleton", func(t *testing.T) {
		dir := t.TempDir()
		o := o
		o.Skeleton = true
		if err := unpack(dir, o); err != nil {
			t.Fatal(err)
		}
		got := list(t, dir)
		for _, line := range []string{"tmp dtrwxrwxrwx", "root drwx------", "dev drwxr-xr-x", "etc/hosts -rw-r--r-- 127.0.0.1 localhost\n::1 localhost\n"} {
			if !slices.Contains(got, line) {
				t.Errorf("missing %q", line)
			}
		}
	})
	t.Run("ordinary user", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("runs as one anyway")
		}
		asRoot := treeDigest(t, dir)
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		// The test binary again, as nobody, in a folder that is nobody's.
		home, err := os.MkdirTemp("", "unpack")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(home)
		copied := filepath.Join(home, "test")
		b, err := os.ReadFile(exe)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, b, 0o755); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(home, "out")
		if err := errors.Join(os.Chmod(copied, 0o755), os.Mkdir(out, 0o755), os.Chown(out, 65534, 65534), os.Chmod(home, 0o755)); err != nil {
			t.Fatal(err)
		}
		for i, b := range [][]byte{debOf("data.tar.xz", compressed(t, one, "xz")), debOf("data.tar.zst", compressed(t, two, "zst")), debOf("data.tar", three)} {
			name := filepath.Join(home, fmt.Sprint(i))
			if err := errors.Join(os.WriteFile(name, b, 0o644), os.Chmod(name, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(copied, "-test.run=^TestUnpackAsUser$")
		cmd.Dir = home
		cmd.Env = append(os.Environ(), "UNPACK_AS_USER="+out)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if got := treeDigest(t, out); got != asRoot {
			t.Errorf("as an ordinary user %s, as root %s", got, asRoot)
			equalLists(t, list(t, out), want)
		}
	})
}

// TestUnpackAsUser is the part of TestUnpackDebs that runs as an ordinary user.
func TestUnpackAsUser(t *testing.T) {
	out := os.Getenv("UNPACK_AS_USER")
	if out == "" {
		t.Skip("part of TestUnpackDebs")
	}
	var debs []*os.File
	for i := range 3 {
		f, err := os.Open(filepath.Join(filepath.Dir(out), fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		debs = append(debs, f)
	}
	o := UnpackOptions{Drop: []string{"usr/lib/big"}, Alternatives: map[string]string{"usr/bin/awk": "nosuch gawk mawk", "usr/bin/yacc": "bison.yacc", "/bin/abs": "/bin/tool"}}
	if err := UnpackDebs(out, debs, o); err != nil {
		t.Fatal(err)
	}
}

func TestHostileDebs(t *testing.T) {
	good := tarball(t, entry{name: "./usr/bin/x", text: "x"})
	zeros := bytes.Repeat([]byte{0}, 8<<20)
	one := func(e ...entry) []byte { return debOf("data.tar", tarball(t, e...)) }
	for name, c := range map[string]struct {
		deb  []byte
		want string
	}{
		"empty":                        {nil, "no ar archive"},
		"no ar":                        {[]byte("PK\x03\x04 and so on"), "no ar archive"},
		"bare ar":                      {ar(), "no data member"},
		"cut header":                   {ar("debian-binary", "2.0\n")[:40], "cut off"},
		"cut member":                   {debOf("data.tar", good)[:200], "are left"},
		"negative size":                {bytes.Replace(debOf("data.tar", good), []byte("4         `"), []byte("-4        `"), 1), "odd header"},
		"huge size":                    {bytes.Replace(debOf("data.tar", good), []byte("4         `"), []byte("9999999999`"), 1), "are left"},
		"no magic":                     {bytes.Replace(debOf("data.tar", good), []byte("`\n"), []byte("xx"), 1), "odd header"},
		"first member":                 {ar("data.tar", string(good)), "format 2"},
		"format 3":                     {ar("debian-binary", "3.0\n", "data.tar", string(good)), "format 2"},
		"unknown member":               {ar("debian-binary", "2.0\n", "x", "y", "data.tar", string(good)), "unknown ar member"},
		"no data":                      {ar("debian-binary", "2.0\n", "control.tar", ""), "no data member"},
		"data is no tar":               {debOf("data.tar", bytes.Repeat([]byte("text "), 200)), "tar"},
		"cut tar":                      {debOf("data.tar", tarball(t, entry{name: "./x", text: strings.Repeat("x", 2000)})[:1000]), "unexpected EOF"},
		"cut xz":                       {debOf("data.tar.xz", compressed(t, good, "xz")[:60]), "xz"},
		"broken zstd":                  {debOf("data.tar.zst", []byte("\x28\xb5\x2f\xfd garbage garbage")), ""},
		"absolute path":                {one(entry{name: "/etc/passwd", text: "x"}), "absolute path"},
		"path with ..":                 {one(entry{name: "./usr/../../x", text: "x"}), ".."},
		"just ..":                      {one(entry{name: "..", text: "x"}), ".."},
		"link out, then through":       {one(entry{name: "./usr/out", link: "/etc"}, entry{name: "./usr/out/x", text: "x"}), "escapes"},
		"link out":                     {one(entry{name: "./usr/out", link: "../../etc"}), "leaves the tree"},
		"merged folder as a link out":  {one(entry{name: "./lib", link: "/etc"}, entry{name: "./lib/x", text: "x"}), "neither"},
		"merged folder as a file":      {one(entry{name: "./bin", text: "x"}), "neither"},
		"usr as a link":                {one(entry{name: "./usr", link: "/tmp"}, entry{name: "./bin/x", text: "x"}), "escapes"},
		"hard link out":                {one(entry{name: "./x", link: "../../etc/passwd", kind: tar.TypeLink}), ".."},
		"absolute hard link":           {one(entry{name: "./x", link: "/etc/passwd", kind: tar.TypeLink}), "absolute"},
		"hard link through a link":     {one(entry{name: "./e", link: "/etc"}, entry{name: "./x", link: "./e/passwd", kind: tar.TypeLink}), "hard link"},
		"hard link to nothing":         {one(entry{name: "./x", link: "./nosuch", kind: tar.TypeLink}), "hard link"},
		"hard link to a folder":        {one(entry{name: "./d/"}, entry{name: "./x", link: "./d", kind: tar.TypeLink}), "folder"},
		"character device":             {one(entry{name: "./dev/null", kind: tar.TypeChar}), "device"},
		"block device":                 {one(entry{name: "./x", kind: tar.TypeBlock}), "device"},
		"unknown type":                 {one(entry{name: "./x", kind: 'Z'}), "unknown type"},
		"file below a file":            {one(entry{name: "./x", text: "x"}, entry{name: "./x/y", text: "y"}), "not a"},
		"folder over a file":           {one(entry{name: "./x", text: "x"}, entry{name: "./x/"}), "another package has a file"},
		"file over a folder":           {one(entry{name: "./x/"}, entry{name: "./x", text: "x"}), "another package has a folder"},
		"folder over a link to a file": {one(entry{name: "./x", text: "x"}, entry{name: "./l", link: "x"}, entry{name: "./l/"}), "another package has a link"},
		"link loop":                    {one(entry{name: "./a", link: "b"}, entry{name: "./b", link: "a"}, entry{name: "./a/x", text: "x"}), "too many"},
		"long name":                    {one(entry{name: "./" + strings.Repeat("x", 300), text: "x"}), "too long"},
		"bomb":                         {debOf("data.tar.zst", compressed(t, tarball(t, entry{name: "./x", text: string(zeros)}), "zst")), "its size allows: a bomb; "},
		"bomb of entries":              {one(slices.Repeat([]entry{{name: "./x"}}, 100)...), "more than 50 entries"},
		"bomb of names":                {one(slices.Repeat([]entry{{name: "./" + strings.Repeat("x/", 200)}}, 6)...), "more than 2000 bytes of names"},
		"sparse bomb":                  {debOf("data.tar", sparse(t, true)), "its size allows: a bomb; "},
		"sparse bomb of GNU tar":       {debOf("data.tar", sparse(t, false)), "its size allows: a bomb; "},
		"huge file":                    {debOf("data.tar", patched(tarball(t, entry{name: "./x", text: "x"}), 124, "\x80\x00\x00\x00\x10")), "its size allows: a bomb; "},
		"negative size in the tar":     {debOf("data.tar", patched(tarball(t, entry{name: "./x", text: "x"}), 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")), "invalid tar header"},
		"negative time":                {debOf("data.tar", patched(tarball(t, entry{name: "./x", kind: 'Z'}), 136, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")), "unknown type"},
		"NUL in a PAX path":            {debOf("data.tar", paxed(t, "path=a\x00b")), "invalid tar header"},
		"path in PAX":                  {debOf("data.tar", paxed(t, "path=../../x")), ".."},
		"hard link in PAX":             {debOf("data.tar", patched(paxed(t, "linkpath=/etc/passwd"), 1024+156, "1")), "absolute path"},
		"negative PAX size":            {debOf("data.tar", paxed(t, "size=-1")), "invalid tar header"},
		"odd PAX sparse map":           {debOf("data.tar", paxed(t, "GNU.sparse.map=0,1,x", "GNU.sparse.size=100")), "invalid tar header"},
		"deep folders":                 {one(entry{name: "./" + strings.Repeat("d/", 300)}), "256 folders"},
		"long path":                    {one(entry{name: "./" + strings.Repeat(strings.Repeat("d", 99)+"/", 50)}), "bytes of names"},
		"socket":                       {one(entry{name: "./x", kind: 's'}), "unknown type"},
		"hard link before its target":  {one(entry{name: "./a", link: "./b", kind: tar.TypeLink}, entry{name: "./b", text: "b"}), "hard link"},
		"folder by a folder's link":    {one(entry{name: "./l", link: "/srv"}, entry{name: "./l/"}, entry{name: "./l/x", text: "x"}), "another package has a link"},
		"control characters":           {one(entry{name: "./\x1b]0;x\a\xff", kind: tar.TypeBlock}), `\x1b]0;x\a\xff`},
		"cut between entries":          {debOf("data.tar", tarball(t, entry{name: "./x"}, entry{name: "./y"})[:512]), "cut off"},
		"cut after all entries":        {debOf("data.tar", good[:1024]), "cut off"},
		"window of xz":                 {debOf("data.tar.xz", unhex("fd377a585a000004e6d6b44602002101250000003b787b4101000468656c6c6f00000000b137b9dbe5da1e9b00011d05b82d80af1fb6f37d010000000004595a")), "dictionary size exceeds max"},
		"window of zstd":               {debOf("data.tar.zst", unhex("28b52ffd04a829000068656c6c6fa36d9f88")), "window"},
		"lzip":                         {debOf("data.tar", append([]byte("LZIP\x01\x17"), good...)), "it is compressed with lzip; vfsb reads tar, "},
		"lz4":                          {debOf("data.tar", unhex("04224d186440a70500008068656c6c6f00000000")), "compressed with lz4"},
		"squashfs":                     {debOf("data.tar", append([]byte("hsqs"), good...)), "a squashfs image"},
		"7z":                           {debOf("data.tar", unhex("377abcaf271c0004")), "a 7z archive"},
		"bomb of xz":                   {debOf("data.tar.xz", compressed(t, bytes.Repeat(tarball(t, entry{name: "./x"})[:512], 1<<14), "xz")), "more than 50 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			dir := filepath.Join(outer, "a", "root")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			o := UnpackOptions{limits: limits{floor: 1 << 20, ratio: 10, entries: 50, names: 2000}}
			err := UnpackDebs(dir, []*os.File{tempFile(t, c.deb)}, o)
			wantRefused(t, err, c.want)
			if out, _ := filepath.Glob(filepath.Join(outer, "*")); len(out) != 1 {
				t.Errorf("written outside: %q", out)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".stage*")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

func TestUnpackImage(t *testing.T) {
	lower := tarball(t, entry{name: "bin/", mode: 0o755}, entry{name: "bin/sh", text: "sh"}, entry{name: "etc/a", text: "a"}, entry{name: "etc/b", text: "b"},
		entry{name: "opt/x/one", text: "1"}, entry{name: "opt/x/two", text: "2"}, entry{name: "opt/x/sub/", mode: 0o700}, entry{name: "was/dir/f", text: "f"}, entry{name: "file", text: "f"},
		entry{name: "link", link: "opt"}, entry{name: "dev/null", kind: tar.TypeChar}, entry{name: "usr/share/doc/x", text: "doc"})
	upper := tarball(t, entry{name: "etc/.wh.a"}, entry{name: "opt/x/three", text: "3"}, entry{name: "opt/x/.wh..wh..opq"}, entry{name: "was/dir", text: "now a file"},
		entry{name: "file/", mode: 0o750}, entry{name: "file/in", text: "in"}, entry{name: "link/"}, entry{name: "link/own", text: "own"}, entry{name: ".wh.nosuch"}, entry{name: ".wh..wh.plnk/", mode: 0o755})
	want := []string{"bin drwxr-xr-x", "bin/sh -rwxr-xr-x sh", "etc drwxr-xr-x", "etc/b -rwxr-xr-x b", "opt drwxr-xr-x", "opt/x drwxr-xr-x", "opt/x/three -rwxr-xr-x 3",
		"was drwxr-xr-x", "was/dir -rwxr-xr-x now a file", "file drwxr-x---", "file/in -rwxr-xr-x in", "link drwxr-xr-x", "link/own -rwxr-xr-x own",
		"usr drwxr-xr-x", "usr/share drwxr-xr-x", "usr/share/doc drwxr-xr-x", "usr/share/doc/x -rwxr-xr-x doc"}
	for _, how := range []string{"", "gz", "xz", "zst", "bz2"} {
		t.Run("compressed "+how, func(t *testing.T) {
			dir := t.TempDir()
			if err := UnpackImage(dir, []*os.File{tempFile(t, compressed(t, lower, how)), tempFile(t, compressed(t, upper, how))}, UnpackOptions{}); err != nil {
				t.Fatal(err)
			}
			equalLists(t, list(t, dir), want)
		})
	}
	t.Run("drop", func(t *testing.T) {
		dir := t.TempDir()
		if err := UnpackImage(dir, []*os.File{tempFile(t, lower)}, UnpackOptions{Drop: []string{"{bin,etc,opt,was,link,usr}", "**/fil?"}}); err != nil {
			t.Fatal(err)
		}
		equalLists(t, list(t, dir), nil)
		if err := UnpackImage(dir, nil, UnpackOptions{Drop: []string{"[a"}}); err == nil {
			t.Error("a bad pattern was taken")
		}
	})
}

func TestHostileImages(t *testing.T) {
	for name, c := range map[string]struct {
		layers [][]entry
		want   string
	}{
		"device":                    {[][]entry{{{name: "x", kind: tar.TypeBlock}}}, "device"},
		"whiteout device":           {[][]entry{{{name: "x", kind: tar.TypeChar}}}, "device"},
		"device in a folder of dev": {[][]entry{{{name: "dev/../x", kind: tar.TypeChar}}}, ".."},
		"whiteout of ..":            {[][]entry{{{name: "a/.wh..."}}}, "odd whiteout"},
		"whiteout of .":             {[][]entry{{{name: "a/.wh.."}}}, "odd whiteout"},
		"whiteout of nothing":       {[][]entry{{{name: "a/.wh."}}}, "odd whiteout"},
		"whiteout through ..":       {[][]entry{{{name: "a/../../.wh.x"}}}, ".."},
		"whiteout through a link":   {[][]entry{{{name: "out", link: "/"}}, {{name: "out/.wh.tmp"}}}, "escapes"},
		"opaque through a link":     {[][]entry{{{name: "out", link: "/"}}, {{name: "out/.wh..wh..opq"}}}, "escapes"},
		"whiteout of a whiteout":    {[][]entry{{{name: "x", link: "/"}}, {{name: "x/.wh..wh.x"}, {name: "x/y"}}}, "escapes"},
		"write through a link":      {[][]entry{{{name: "out", link: "/tmp"}}, {{name: "out/x", text: "x"}}}, "escapes"},
		"write through a chain":     {[][]entry{{{name: "a", link: "b"}, {name: "b", link: "/tmp"}}, {{name: "a/x", text: "x"}}}, "escapes"},
		"control characters":        {[][]entry{{{name: "o\x1b\xff", link: "/tmp"}, {name: "o\x1b\xff/x", text: "x"}}}, "escapes"},
		"link for a parent":         {[][]entry{{{name: "d/in", text: "x"}}, {{name: "d", link: "/tmp"}, {name: "d/x", text: "x"}}}, "escapes"},
		"mode through a link":       {[][]entry{{{name: "out/", mode: 0o777}}, {{name: "out", link: "/tmp"}}, {{name: "out/y/x", text: "x"}}}, "escapes"},
		"fifo through a link":       {[][]entry{{{name: "out", link: "/tmp"}, {name: "out/x", kind: tar.TypeFifo}}}, "escapes"},
		"link through a link":       {[][]entry{{{name: "out", link: "/tmp"}, {name: "out/x", link: "y"}}}, "escapes"},
		"folder through a link":     {[][]entry{{{name: "out", link: "/tmp"}, {name: "out/x/"}}}, "escapes"},
		"hard link through a link":  {[][]entry{{{name: "out", link: "/etc"}, {name: "x", link: "out/passwd", kind: tar.TypeLink}}}, "escapes"},
		"hard link to a stolen one": {[][]entry{{{name: "x", link: "/etc/passwd", kind: tar.TypeLink}}}, "absolute"},
		"hard link to what is gone": {[][]entry{{{name: "x", text: "x"}}, {{name: ".wh.x"}, {name: "y", link: "x", kind: tar.TypeLink}}}, "hard link"},
		"hard link to a folder":     {[][]entry{{{name: "d/"}}, {{name: "y", link: "d", kind: tar.TypeLink}}}, "folder"},
		"hard link to itself":       {[][]entry{{{name: "x", text: "x"}, {name: "x", link: "x", kind: tar.TypeLink}}}, "hard link"},
		"long path":                 {[][]entry{{{name: strings.Repeat(strings.Repeat("d", 99)+"/", 50)}}}, "4095 bytes"},
		"below a file of its own":   {[][]entry{{{name: "x", text: "x"}, {name: "x/y", text: "y"}}}, "not a"},
	} {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			dir := filepath.Join(outer, "root")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			var layers []*os.File
			for _, l := range c.layers {
				layers = append(layers, tempFile(t, tarball(t, l...)))
			}
			wantRefused(t, UnpackImage(dir, layers, UnpackOptions{}), c.want)
			if out, _ := filepath.Glob(filepath.Join(outer, "*")); len(out) != 1 {
				t.Errorf("written outside: %q", out)
			}
		})
	}
}

// TestStrangeImages has what is odd but does no harm.
func TestStrangeImages(t *testing.T) {
	dir := t.TempDir()
	layers := []*os.File{
		tempFile(t, tarball(t, entry{name: "was-file", text: "x"}, entry{name: "was-file/"}, entry{name: "twice", text: "1"}, entry{name: "twice", text: "2"},
			entry{name: "odd\n\xff\x1b", text: "odd"}, entry{name: "pipe", kind: tar.TypeFifo, mode: 0o4000}, entry{name: "su", text: "su", mode: 0o6755},
			entry{name: "self", link: "self"}, entry{name: "big", text: "gone"})),
		tempFile(t, tarball(t, entry{name: ".wh..wh..opq"}, entry{name: ".wh.big"}, entry{name: "su", text: "su", mode: 0o6755}, entry{name: "closed/", mode: 0o001},
			entry{name: "closed/in", text: "in", mode: 0o001}, entry{name: ".wh.su"}, entry{name: "out", link: "/../../etc/passwd"}, entry{name: "out", text: "own"})),
	}
	if err := UnpackImage(dir, layers, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	equalLists(t, list(t, dir), []string{"su ugrwxr-xr-x su", "closed drwx-----x", "closed/in -rw------x in", "out -rwxr-xr-x own"})
	if _, _, err := cache.Capture(dir, cache.CaptureOptions{}); err != nil {
		t.Error(err)
	}
}

// TestCutArchives cuts archives at every byte. What is taken all the same lacks nothing.
func TestCutArchives(t *testing.T) {
	data := tarball(t, entry{name: "./usr/bin/x", text: "x"}, entry{name: "./etc/"}, entry{name: "./y", link: "etc"})
	for name, c := range map[string]struct {
		archive []byte
		unpack  func(string, []*os.File, UnpackOptions) error
	}{
		"tar": {data, UnpackImage}, "tar.gz": {compressed(t, data, "gz"), UnpackImage}, "tar.zst": {compressed(t, data, "zst"), UnpackImage},
		"deb": {debOf("data.tar.gz", compressed(t, data, "gz")), UnpackDebs},
	} {
		o := UnpackOptions{limits: limits{floor: 1 << 20, ratio: 10, entries: 50, names: 2000}}
		all := t.TempDir()
		if err := c.unpack(all, []*os.File{tempFile(t, c.archive)}, o); err != nil {
			t.Fatal(err)
		}
		refused := 0
		for n := range c.archive {
			dir := filepath.Join(t.TempDir(), "root")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.unpack(dir, []*os.File{tempFile(t, c.archive[:n])}, o); err == nil {
				equalLists(t, list(t, dir), list(t, all))
			} else {
				refused++
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".stage*")); len(left) > 0 {
				t.Fatalf("%s, %d bytes: left %q", name, n, left)
			}
		}
		if refused < len(c.archive)*2/3 {
			t.Errorf("%s: only %d of %d were refused", name, refused, len(c.archive))
		}
	}
}

// wantRefused checks an error about an archive: it says what is wrong and what to do, and no name in it reaches a
// terminal as it is.
func wantRefused(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil || !strings.Contains(err.Error(), want):
		t.Errorf("error %v, want %q", err, want)
	case !strings.HasPrefix(err.Error(), "archive-") || !strings.Contains(err.Error(), "; leave entries out with drop = […], or choose another"):
		t.Errorf("which archive, and what to do? %v", err)
	case strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == utf8.RuneError }):
		t.Errorf("raw names in %q", err)
	}
}

// patched changes a field of a tar's header at a multiple of 512.
func patched(b []byte, at int, field string) []byte {
	copy(b[at:], field)
	h := b[at&^511:][:512]
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// paxed is the file x with PAX records.
func paxed(t testing.TB, records ...string) []byte {
	text := ""
	for _, r := range records {
		n := len(r) + len(" \n") + 1
		for len(fmt.Sprintf("%d %s\n", n, r)) != n {
			n++
		}
		text += fmt.Sprintf("%d %s\n", n, r)
	}
	b := tarball(t, entry{name: "PaxHeaders", text: text}, entry{name: "x", text: "x"})
	return patched(b, 156, "x")
}

// sparse is a file of 1 TiB in a few blocks.
func sparse(t testing.TB, pax bool) []byte {
	if pax {
		return paxed(t, "GNU.sparse.size=1099511627776", "GNU.sparse.numblocks=1", "GNU.sparse.map=1099511627775,1")
	}
	b := patched(tarball(t, entry{name: "x"}), 156, "S")
	copy(b[257:], "ustar  \x00")
	copy(b[386:], strings.Repeat("0", 11)+"\x00"+strings.Repeat("0", 11)+"\x00") // no data at all
	return patched(b, 483, "\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00")   // of 1 << 40 bytes
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
