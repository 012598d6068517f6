package cache

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hostile makes a tar from headers; a file's content is its name, cut or padded to the size.
func hostile(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.ModTime.IsZero() && h.Typeflag != tar.TypeXGlobalHeader {
			h.ModTime = time.Unix(Epoch, 0)
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o755
		}
		check(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg && h.Size < 1<<20 {
			_, err := w.Write([]byte(strings.Repeat("x", int(h.Size))))
			check(t, err)
		}
	}
	w.Close()
	return b.Bytes()
}

func TestImportHostile(t *testing.T) {
	x, good := sampleTar(t)
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name + "/"} }
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 3} }
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}
	}
	hard := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
	}
	xattr := func(name, value string) tar.Header {
		h := file("a")
		h.PAXRecords = map[string]string{xattrRecord + name: value}
		return h
	}
	with := func(h tar.Header, change func(*tar.Header)) tar.Header { change(&h); return h }

	store := tempDir(t)
	outside := filepath.Join(store, "outside")
	check(t, os.WriteFile(outside, []byte("safe"), 0o644))
	s := openStore(t, filepath.Join(store, "store"))
	base := filepath.Base(outside)

	for name, c := range map[string]struct {
		tar  []byte
		want string
	}{
		"dot dot":             {hostile(t, file("../"+base)), "clean"},
		"dot dot inside":      {hostile(t, dir("a"), file("a/../../../../"+base)), "clean"},
		"dot dot folder":      {hostile(t, dir("..")), "clean"},
		"absolute":            {hostile(t, file(outside)), "clean"},
		"dot":                 {hostile(t, dir(".")), "clean"},
		"leading dot":         {hostile(t, file("./a")), "clean"},
		"double slash":        {hostile(t, dir("a"), file("a//b")), "clean"},
		"empty name":          {hostile(t, tar.Header{Typeflag: tar.TypeDir, Name: "/"}), "want 1 to"},
		"long component":      {hostile(t, file(strings.Repeat("a", 256))), "255"},
		"long path":           {hostile(t, file(strings.Repeat("a/", 3000)+"a")), "4095"},
		"below a symlink":     {hostile(t, link("a", store), file("a/"+base)), "not a folder"},
		"below a file":        {hostile(t, file("a"), file("a/b")), "not a folder"},
		"symlink for folder":  {hostile(t, dir("a"), link("a", store), file("a/"+base)), "named twice"},
		"no parent":           {hostile(t, file("a/b")), "not a folder"},
		"twice":               {hostile(t, file("a"), file("a")), "named twice"},
		"unsorted":            {hostile(t, file("b"), file("a")), "out of order"},
		"hardlink out":        {hostile(t, hard("a", outside)), "no file before it"},
		"hardlink up":         {hostile(t, hard("a", "../../"+base)), "no file before it"},
		"hardlink by symlink": {hostile(t, link("a", store), hard("b", "a/"+base)), "no file before it"},
		"hardlink to symlink": {hostile(t, link("a", outside), hard("b", "a")), "no file before it"},
		"hardlink to folder":  {hostile(t, dir("a"), hard("b", "a")), "no file before it"},
		"hardlink to later":   {hostile(t, hard("a", "b"), file("b")), "no file before it"},
		"hardlink to itself":  {hostile(t, hard("a", "a")), "no file before it"},
		"symlink to nothing":  {hostile(t, link("a", "")), "target"},
		"char device":         {hostile(t, tar.Header{Typeflag: tar.TypeChar, Name: "a", Devmajor: 1, Devminor: 3}), "cannot be part"},
		"whiteout":            {hostile(t, tar.Header{Typeflag: tar.TypeChar, Name: "a"}), "cannot be part"},
		"block device":        {hostile(t, tar.Header{Typeflag: tar.TypeBlock, Name: "a", Devmajor: 8}), "cannot be part"},
		"contiguous file":     {hostile(t, tar.Header{Typeflag: tar.TypeCont, Name: "a"}), "cannot be part"},
		"global header":       {hostile(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}), ""},
		"opaque":              {hostile(t, xattr("user.overlay.opaque", "y")), "cannot be part"},
		"trusted":             {hostile(t, xattr("trusted.overlay.opaque", "y")), "cannot be part"},
		"selinux":             {hostile(t, xattr("security.selinux", "y")), "cannot be part"},
		"capability v3":       {hostile(t, xattr(CapabilityXattr, "\x01\x00\x00\x03"+strings.Repeat("\x00", 20))), "version 2"},
		"file, then folder":   {hostile(t, file("a"), dir("a")), "named twice"},
		"below a fifo":        {hostile(t, tar.Header{Typeflag: tar.TypeFifo, Name: "a"}, file("a/b")), "not a folder"},
		"negative size":       {patched(t, file("a"), 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "invalid tar header"},
		"negative time":       {patched(t, file("a"), 136, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "not a layer's tar"},
		"negative owner":      {patched(t, file("a"), 108, "\xff\xff\xff\xff\xff\xff\xff\xff"), "out of range"},
		"no checksum":         {hostile(t, file("a"))[1:], "invalid tar header"},
		"socket":              {patched(t, file("a"), 156, "s"), "cannot be part"},
		"NUL in a path":       {pax(t, "path=a\x00b"), "invalid tar header"},
		"path in PAX":         {pax(t, "path=../../"+base), "clean"},
		"PAX of other length": {pax(t, "size=1"), ""},
		"negative PAX size":   {pax(t, "size=-1"), "invalid tar header"},
		"PAX link path":       {pax(t, "linkpath=/etc"), "not a layer's tar"},
		"PAX sparse":          {pax(t, "GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=1099511627776"), ""},
		"PAX character set":   {pax(t, "hdrcharset=BINARY"), "not a layer's tar"},
		"PAX without a file":  {pax(t, "path=b")[:1024], ""},
		"GNU long name":       {gnuLong(t, "../"+base), "clean"},
		"two GNU long names":  {gnuLong(t, "b", "../"+base), "clean"},
		"GNU long name, NUL":  {gnuLong(t, "b\x00/../../x"), "not a layer's tar"},
		"control characters":  {hostile(t, file("a\x1b[2J"), file("a\x1b[2J")), `"a\x1b[2J"`},
		"many xattrs":         {hostile(t, manyXattrs(9)), "524288 bytes of extended attributes"},
		"huge PAX header":     {hugeHeader(t), "too long"},
		"headers only":        {headersOnly(t, 9), "more than 4194304 bytes of headers"},
		"long xattr":          {hostile(t, xattr("user.x", strings.Repeat("v", maxXattr+1))), "longer than"},
		"other record":        {hostile(t, with(file("a"), func(h *tar.Header) { h.PAXRecords = map[string]string{"VENDOR.x": "y"} })), "not a layer's tar"},
		"other time":          {hostile(t, with(file("a"), func(h *tar.Header) { h.ModTime = time.Unix(1, 0) })), "not a layer's tar"},
		"user name":           {hostile(t, with(file("a"), func(h *tar.Header) { h.Uname = "root" })), "not a layer's tar"},
		"GNU form":            {hostile(t, with(file("a"), func(h *tar.Header) { h.Format = tar.FormatGNU })), "not a layer's tar"},
		"needless PAX":        {hostile(t, with(file("a"), func(h *tar.Header) { h.Format = tar.FormatPAX; h.ModTime = time.Unix(Epoch, 1) })), "not a layer's tar"},
		"size with folder":    {hostile(t, with(link("a", "b"), func(h *tar.Header) { h.Devmajor = 1 })), "not a layer's tar"},
		"symlink mode":        {hostile(t, with(link("a", "b"), func(h *tar.Header) { h.Mode = 0o755 })), "mode 0777"},
		"mode bits":           {hostile(t, with(file("a"), func(h *tar.Header) { h.Mode = 0o100644 })), "mode"},
		"hardlink mode":       {hostile(t, file("a"), with(hard("b", "a"), func(h *tar.Header) { h.Mode = 0o4755 })), "not a layer's tar"},
		"huge id":             {hostile(t, with(file("a"), func(h *tar.Header) { h.Uid = 1 << 40 })), "out of range"},
		"a bomb's header":     {hostile(t, with(file("a"), func(h *tar.Header) { h.Size = 1 << 50 })), "unexpected EOF"},
		"sparse bomb":         {sparseBomb(t), ""},
		"nothing":             {nil, "not a layer's tar"},
		"one zero block":      {make([]byte, 512), ""},
		"zero padding":        {append(bytes.Clone(good), make([]byte, 512)...), "behind its end"},
		"trailing data":       {append(bytes.Clone(good), 'x'), "behind its end"},
		"no end":              {good[:len(good)-1024], "not a layer's tar"},
		"half an end":         {good[:len(good)-512], ""},
		"noise":               {[]byte(strings.Repeat("noise", 1000)), "invalid tar header"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.ImportTar(bytes.NewReader(c.tar))
			wantError(t, err, c.want)
			wantError(t, err, "import layer")
			if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("control characters would reach the terminal: %q", err)
			}
			wantUntouched(t, s, outside)
		})
	}
	t.Run("limits", func(t *testing.T) {
		_, err := s.ImportTarLimited(bytes.NewReader(good), ImportLimits{Bytes: int64(len(good)) - 1})
		wantError(t, err, "longer than")
		_, err = s.ImportTarLimited(bytes.NewReader(good), ImportLimits{Entries: len(x.Entries) - 1})
		wantError(t, err, "entries")
		endless := with(file("a"), func(h *tar.Header) { h.Size = 1 << 50 })
		_, err = s.ImportTarLimited(io.MultiReader(bytes.NewReader(hostile(t, endless)), zeros{}), ImportLimits{Bytes: 4 << 20})
		wantError(t, err, "longer than 4194304 bytes")
		broken := io.MultiReader(bytes.NewReader(good[:3000]), failing{})
		_, err = s.ImportTar(broken)
		wantError(t, err, "the line went dead")
		wantUntouched(t, s, outside)
	})
	t.Run("control characters", func(t *testing.T) { // no output has them but as %XX and \x
		odd := hostile(t, dir("\x1b]0;x\a"), file("\x1b]0;x\a/\xff\n"))
		l, err := s.ImportTar(bytes.NewReader(odd))
		check(t, err)
		x, err := s.LoadIndex(l)
		if err != nil || strings.ContainsFunc(strings.ReplaceAll(string(x.Marshal()), "\n", ""), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%v: %q", err, x.Marshal())
		}
		check(t, Remove(s.layerPath(l.Tar.Hash)))
	})
	t.Run("cut", func(t *testing.T) {
		for n := 0; n < len(good); n += 509 {
			if _, err := s.ImportTar(bytes.NewReader(good[:n])); err == nil {
				t.Fatalf("the first %d bytes were accepted", n)
			}
		}
		wantUntouched(t, s, outside)
	})
	t.Run("flipped", func(t *testing.T) {
		for n := 0; n < len(good); n += 1009 {
			bad := bytes.Clone(good)
			bad[n] ^= 1
			if l, err := s.ImportTar(bytes.NewReader(bad)); err == nil && l.Tar != DigestOf(bad) {
				t.Fatalf("byte %d flipped: accepted as %v", n, l)
			}
		}
	})
	l, err := s.ImportTar(bytes.NewReader(good))
	check(t, err)
	if l.Tar != DigestOf(good) || l.Index != DigestOf(x.Marshal()) {
		t.Errorf("the good one gave %v", l)
	}
	check(t, s.VerifyLayer(l))
	check(t, checkSettled(s.LayerDir(l), x))
}

// manyXattrs is a file with n extended attributes of the largest size.
func manyXattrs(n int) tar.Header {
	h := tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: 3, PAXRecords: map[string]string{}}
	for i := range n {
		h.PAXRecords[fmt.Sprintf("%suser.%d", xattrRecord, i)] = strings.Repeat("v", maxXattr)
	}
	return h
}

// patched is a tar of one entry with a field of its header changed.
func patched(t testing.TB, h tar.Header, at int, field string) []byte {
	b := hostile(t, h)
	copy(b[at:512], field)
	setSum(b[:512])
	return b
}

// special is an entry of some type, which holds text, before the file "a".
func special(t testing.TB, kind byte, text string) []byte {
	b := hostile(t, tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: int64(len(text))}, tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: 3})
	b[156] = kind
	setSum(b[:512])
	copy(b[512:], text)
	return b
}

// pax is the file "a" with PAX records.
func pax(t testing.TB, records ...string) []byte {
	text := ""
	for _, r := range records {
		n := len(r) + len(" \n") + 1
		for len(fmt.Sprintf("%d %s\n", n, r)) != n {
			n++
		}
		text += fmt.Sprintf("%d %s\n", n, r)
	}
	return special(t, tar.TypeXHeader, text)
}

// gnuLong is the file "a" with other names, as GNU tar writes long ones.
func gnuLong(t testing.TB, names ...string) []byte {
	var all []byte
	for i, name := range names {
		b := special(t, tar.TypeGNULongName, name+"\x00")
		if i < len(names)-1 {
			b = b[:1024]
		}
		all = append(all, b...)
	}
	return all
}

// hugeHeader is a PAX header of 2 MiB.
func hugeHeader(t testing.TB) []byte {
	b := hostile(t, manyXattrs(1))
	copy(b[124:], "00010000000\x00")
	setSum(b[:512])
	return append(b[:512], bytes.Repeat([]byte("x"), 2<<20)...)
}

// headersOnly is n headers of 650 KB each, none of which is followed by what it describes: a reader goes on looking.
func headersOnly(t testing.TB, n int) []byte {
	b := hostile(t, manyXattrs(10))
	return bytes.Repeat(b[:len(b)-4*512], n) // without the file's own header, content, and the end
}

// sparseBomb is an old GNU sparse file of 1 TiB in two blocks.
func sparseBomb(t testing.TB) []byte {
	b := hostile(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", Format: tar.FormatGNU, Size: 0})
	b[156] = 'S'
	copy(b[386:], "00000000000\x00")              // one piece at 0
	copy(b[398:], "00000000000\x00")              // of 0 bytes
	copy(b[483:], "\x80\x00\x00\x00\x00\x00\x01") // real size, base 256
	copy(b[483+7:], "\x00\x00\x00\x00\x00")       // 1 << 40
	setSum(b[:512])
	return b
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the line went dead") }

// wantUntouched checks that a failed import has left nothing.
func wantUntouched(t *testing.T, s *Store, outside string) {
	t.Helper()
	if b, err := os.ReadFile(outside); err != nil || string(b) != "safe" {
		t.Errorf("the file outside: %q, %v", b, err)
	}
	entries, err := os.ReadDir(filepath.Dir(outside))
	if err != nil || len(entries) != 2 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	layers, err := os.ReadDir(filepath.Join(s.Dir(), "layers"))
	if err != nil || len(layers) != 0 {
		t.Errorf("layers: %v, %v", layers, err)
	}
	left, err := filepath.Glob(filepath.Join(s.Dir(), "run", "*", "*-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("run folders: %v, %v", left, err)
	}
}

func FuzzImportTar(f *testing.F) {
	_, good := sampleTar(f)
	f.Add(good)
	f.Add(good[:1024])
	f.Add(hostile(f, tar.Header{Typeflag: tar.TypeDir, Name: "a/"}, tar.Header{Typeflag: tar.TypeReg, Name: "a/b", Size: 3},
		tar.Header{Typeflag: tar.TypeLink, Name: "a/c", Linkname: "a/b"}, tar.Header{Typeflag: tar.TypeSymlink, Name: "d", Linkname: "..", Mode: 0o777}))
	f.Add(hostile(f, tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/tmp", Mode: 0o777}, tar.Header{Typeflag: tar.TypeReg, Name: "a/b", Size: 3}))
	f.Add(sparseBomb(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzImport(t, b)
		fuzzImport(t, repairSums(b)) // else nearly every change ends at a header's checksum
	})
}

// repairSums sets the checksum of whatever looks like a header.
func repairSums(b []byte) []byte {
	b = bytes.Clone(b)
	for h := b; len(h) >= 512; h = h[512:] {
		if string(h[257:262]) == "ustar" {
			setSum(h[:512])
		}
	}
	return b
}

func setSum(h []byte) {
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

func fuzzImport(t *testing.T, b []byte) {
	parent := t.TempDir()
	defer Remove(parent)
	dir := filepath.Join(parent, "dir")
	check(t, os.Mkdir(dir, 0o700))
	x, d, err := unpack(dir, bytes.NewReader(b), ImportLimits{Bytes: 1 << 20, Entries: 1000})
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
		t.Fatalf("written outside: %v, %v", entries, err)
	}
	if err != nil {
		return
	}
	if d != DigestOf(b) {
		t.Errorf("accepted, but the digest is %v", d)
	}
	if err := verifyTree(dir, x, d.Hash); err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if y, err := ParseIndex(x.Marshal()); err != nil || len(y.Entries) != len(x.Entries) {
		t.Errorf("its index does not parse: %v", err)
	}
}
