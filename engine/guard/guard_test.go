package guard

import (
	"bytes"
	"compress/zlib"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vfsb/cache"
)

// An image is an ELF file to be made.
type image struct {
	machine  elf.Machine // 0: the policy's
	class    elf.Class   // 0: 64 bits
	data     elf.Data    // 0: little endian
	typ      elf.Type    // 0: a shared object
	interp   string
	needed   []string
	rpath    string
	runpath  string
	comment  string            // texts that end in NUL
	sections map[string]string // further ones
	pack     bool              // compress them
	headless bool              // leave the table of sections out
}

// bytes lays the file out: header, program headers, contents, section headers.
func (im image) bytes() []byte {
	if im.machine == 0 {
		im.machine = elf.EM_X86_64
	}
	if im.class == 0 {
		im.class = elf.ELFCLASS64
	}
	if im.data == 0 {
		im.data = elf.ELFDATA2LSB
	}
	if im.typ == 0 {
		im.typ = elf.ET_DYN
	}
	var order binary.AppendByteOrder = binary.LittleEndian
	if im.data == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	wide := im.class == elf.ELFCLASS64
	word := func(b []byte, v uint64) []byte { // an address, an offset or a size
		if wide {
			return order.AppendUint64(b, v)
		}
		return order.AppendUint32(b, uint32(v))
	}
	header, program, section := 64, 56, 64
	if !wide {
		header, program, section = 52, 32, 40
	}
	var progs []elf.Prog64
	var content []byte
	base := uint64(header + 3*program)
	put := func(text []byte) (at uint64) {
		at = base + uint64(len(content))
		content = append(content, text...)
		return at
	}
	if im.interp != "" {
		progs = append(progs, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: put([]byte(im.interp + "\x00")), Filesz: uint64(len(im.interp) + 1)})
	}
	if im.needed != nil || im.rpath != "" || im.runpath != "" {
		strtab := []byte{0}
		var dynamic []byte
		entry := func(tag elf.DynTag, v uint64) { dynamic = word(word(dynamic, uint64(tag)), v) }
		name := func(tag elf.DynTag, s string) {
			entry(tag, uint64(len(strtab)))
			strtab = append(strtab, s+"\x00"...)
		}
		for _, n := range im.needed {
			name(elf.DT_NEEDED, n)
		}
		if im.rpath != "" {
			name(elf.DT_RPATH, im.rpath)
		}
		if im.runpath != "" {
			name(elf.DT_RUNPATH, im.runpath)
		}
		const address = 0x10000
		entry(elf.DT_STRTAB, address)
		entry(elf.DT_NULL, 0)
		progs = append(progs,
			elf.Prog64{Type: uint32(elf.PT_LOAD), Off: put(strtab), Vaddr: address, Filesz: uint64(len(strtab))},
			elf.Prog64{Type: uint32(elf.PT_DYNAMIC), Off: put(dynamic), Filesz: uint64(len(dynamic))})
	}
	type header64 struct {
		name        string
		typ, flags  uint64
		offset, len uint64
	}
	sections := []header64{{}}
	add := func(name string, typ elf.SectionType, flags elf.SectionFlag, text []byte) {
		sections = append(sections, header64{name, uint64(typ), uint64(flags), put(text), uint64(len(text))})
	}
	if im.comment != "" {
		add(".comment", elf.SHT_PROGBITS, elf.SHF_MERGE|elf.SHF_STRINGS, []byte(im.comment))
	}
	for name, text := range im.sections {
		flags := elf.SectionFlag(0)
		body := []byte(text)
		if im.pack {
			flags = elf.SHF_COMPRESSED
			var z bytes.Buffer
			if wide {
				z.Write(order.AppendUint64(order.AppendUint64(order.AppendUint32(order.AppendUint32(nil, uint32(elf.COMPRESS_ZLIB)), 0), uint64(len(text))), 1))
			} else {
				z.Write(order.AppendUint32(order.AppendUint32(order.AppendUint32(nil, uint32(elf.COMPRESS_ZLIB)), uint32(len(text))), 1))
			}
			w := zlib.NewWriter(&z)
			w.Write(body)
			w.Close()
			body = z.Bytes()
		}
		add(name, elf.SHT_PROGBITS, flags, body)
	}
	names := []byte{0}
	offsets := []uint32{0}
	sections = append(sections, header64{name: ".shstrtab", typ: uint64(elf.SHT_STRTAB)})
	for _, s := range sections[1:] {
		offsets = append(offsets, uint32(len(names)))
		names = append(names, s.name+"\x00"...)
	}
	last := &sections[len(sections)-1]
	last.offset, last.len = put(names), uint64(len(names))

	shoff := base + uint64(len(content))
	if im.headless {
		sections, shoff = nil, 0
	}
	b := append([]byte(elf.ELFMAG), byte(im.class), byte(im.data), byte(elf.EV_CURRENT), 0)
	b = append(b, make([]byte, 8)...)
	b = order.AppendUint16(order.AppendUint16(b, uint16(im.typ)), uint16(im.machine))
	b = word(word(word(order.AppendUint32(b, 1), 0), uint64(header)), shoff)
	b = order.AppendUint32(b, 0)
	for _, v := range []int{header, program, len(progs), section, len(sections), max(0, len(sections)-1)} {
		b = order.AppendUint16(b, uint16(v))
	}
	for _, p := range progs {
		b = order.AppendUint32(b, p.Type)
		if wide {
			b = order.AppendUint32(b, p.Flags)
		}
		b = word(word(word(word(word(b, p.Off), p.Vaddr), p.Vaddr), p.Filesz), p.Filesz)
		if !wide {
			b = order.AppendUint32(b, p.Flags)
		}
		b = word(b, 1)
	}
	b = append(b, make([]byte, int(base)-len(b))...)
	b = append(b, content...)
	for i, s := range sections {
		b = order.AppendUint32(order.AppendUint32(b, offsets[i]), uint32(s.typ))
		b = word(word(word(word(b, s.flags), 0), s.offset), s.len)
		b = word(word(order.AppendUint32(order.AppendUint32(b, 0), 0), 1), 0)
	}
	return b
}

func (im image) String() string { return string(im.bytes()) }

const ours = "GCC: (vfsb) 14.2.0"

func testPolicy() *Policy {
	return &Policy{
		Machine: Machines["amd64"], Compiler: ours, Interpreter: "/lib/ld-musl-x86_64.so.1", LibraryPath: []string{"/lib", "/usr/lib"},
		Forbidden: []Forbidden{{"/build", "the build folder"}, {"/cross", "the cross tools"}, {"/sysroot", "the sysroot"}},
		Libraries: map[string]bool{"libc.so": true},
	}
}

// layer writes the files, by path: those whose text begins with "-> " are links, those whose path ends in a slash folders.
func layer(t testing.TB, files map[string]string) (dir string, x *cache.Index) {
	t.Helper()
	dir = t.TempDir()
	for path, text := range files {
		name := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, name)
		} else if !strings.HasSuffix(path, "/") {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	x, _, err := cache.Capture(dir, cache.CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return dir, x
}

func check(t testing.TB, p *Policy, files map[string]string) *Report {
	t.Helper()
	dir, x := layer(t, files)
	r, err := Check(context.Background(), dir, x, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestObjects: what is found in a file, as "value why" with the start of the why.
func TestObjects(t *testing.T) {
	const loader = "/lib/ld-musl-x86_64.so.1"
	for name, c := range map[string]struct {
		file image
		want []string
	}{
		"program":             {image{interp: loader, needed: []string{"libc.so", "libown.so.1"}, comment: "\x00" + ours + "\x00"}, nil},
		"object":              {image{typ: elf.ET_REL, comment: ours + "\x00" + ours + "\x00"}, nil},
		"of an assembler":     {image{typ: elf.ET_REL}, nil},
		"other machine":       {image{machine: elf.EM_AARCH64, needed: []string{"libx.so"}}, []string{"EM_AARCH64 ELFCLASS64 ELFDATA2LSB is another machine; the platform's is EM_X86_64"}},
		"x32":                 {image{class: elf.ELFCLASS32}, []string{"EM_X86_64 ELFCLASS32 ELFDATA2LSB is another machine"}},
		"i386":                {image{machine: elf.EM_386, class: elf.ELFCLASS32, typ: elf.ET_REL}, []string{"EM_386 ELFCLASS32 ELFDATA2LSB is another machine"}},
		"other order":         {image{data: elf.ELFDATA2MSB}, []string{"EM_X86_64 ELFCLASS64 ELFDATA2MSB is another machine"}},
		"other compiler":      {image{comment: ours + "\x00GCC: (Debian 12.2.0-14) 12.2.0\x00"}, []string{"GCC: (Debian 12.2.0-14) 12.2.0 is another compiler; the stage's is \"GCC: (vfsb)"}},
		"nearly the compiler": {image{comment: ours + ".1\x00"}, []string{ours + ".1 is another compiler"}},
		"text without end":    {image{comment: "clang version 19"}, []string{"clang version 19 is another compiler"}},
		"other interpreter":   {image{interp: "/lib64/ld-linux-x86-64.so.2"}, []string{"/lib64/ld-linux-x86-64.so.2 is another interpreter; the platform's is " + loader}},
		"lacking library":     {image{needed: []string{"libc.so", "libc.so.6"}}, []string{"libc.so.6 is needed, and neither this layer"}},
		"library by path":     {image{needed: []string{"/usr/lib/libown.so.1"}}, []string{"/usr/lib/libown.so.1 is needed"}},
		"not in the folders":  {image{needed: []string{"libhidden.so"}}, []string{"libhidden.so is needed"}},
		"rpath":               {image{rpath: "/usr/lib/x"}, []string{"/usr/lib/x is a run path"}},
		"runpath":             {image{runpath: "$ORIGIN/../lib"}, []string{"$ORIGIN/../lib is a run path"}},
		"beside it":           {image{runpath: "$ORIGIN", needed: []string{"libbeside.so"}}, nil},
		"not beside it":       {image{runpath: "$ORIGIN", needed: []string{"libhidden.so"}}, []string{"libhidden.so is needed"}},
		"beside it by path":   {image{runpath: "$ORIGIN", needed: []string{"../bin/libbeside.so"}}, []string{"../bin/libbeside.so is needed"}},
		"beside it, untold":   {image{needed: []string{"libbeside.so"}}, []string{"libbeside.so is needed"}},
		"more than beside it": {image{runpath: "$ORIGIN:/usr/lib/x"}, []string{"$ORIGIN:/usr/lib/x is a run path"}},
		"no section headers":  {image{headless: true, needed: []string{"libx.so"}, rpath: "/x"}, []string{"/x is a run path", "libx.so is needed"}},
		"path in a section":   {image{sections: map[string]string{".debug_str": "/build/src/a.c\x00"}}, []string{"/build/src/a.c leads to the build folder"}},
		"packed section":      {image{sections: map[string]string{".debug_str": "/build/src/a.c\x00"}, pack: true}, []string{"/build/src/a.c leads to the build folder"}},
		"second comment":      {image{comment: ours + "\x00", sections: map[string]string{".comment": "other\x00"}}, []string{"other is another compiler"}},
	} {
		r := check(t, testPolicy(), map[string]string{
			"usr/bin/x": c.file.String(), "usr/bin/libbeside.so": "x", "usr/lib/libown.so.1": "-> libown.so.1.2", "usr/lib/libown.so.1.2": "x", "usr/lib/x/libhidden.so": "x",
		})
		found(t, name, r, c.want)
	}
}

// TestObjects32: 32 bits, and the other byte order, are read as well.
func TestObjects32(t *testing.T) {
	p := testPolicy()
	p.Machine = Machine{elf.EM_MIPS, elf.ELFCLASS32, elf.ELFDATA2MSB}
	im := image{
		machine: elf.EM_MIPS, class: elf.ELFCLASS32, data: elf.ELFDATA2MSB, interp: "/x", needed: []string{"liby.so"}, rpath: "/z", comment: "q\x00",
		sections: map[string]string{".debug_str": "/sysroot/a\x00"}, pack: true,
	}
	found(t, "mips", check(t, p, map[string]string{"x": im.String()}), []string{
		"q is another compiler", "/x is another interpreter", "/z is a run path", "liby.so is needed", "/sysroot/a leads to the sysroot",
	})
}

// found compares the violations, "value why", with the starts of what is wanted.
func found(t *testing.T, name string, r *Report, want []string) {
	t.Helper()
	var got []string
	for _, v := range r.Violations {
		got = append(got, v.Value+" "+v.Why)
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("%s: found %q, want %q", name, got, want)
	}
}

// TestMalformed: what is not what it begins like is found, not trusted and not fallen over.
func TestMalformed(t *testing.T) {
	whole := image{interp: "/lib/ld-musl-x86_64.so.1", needed: []string{"libc.so"}, comment: ours + "\x00"}.bytes()
	patched := func(at int, b ...byte) string {
		c := slices.Clone(whole)
		copy(c[at:], b)
		return string(c)
	}
	for name, text := range map[string]string{
		"ELF":                       elf.ELFMAG,
		"cut off":                   string(whole[:len(whole)-100]),
		"program headers at 2^63":   patched(32, 0, 0, 0, 0, 0, 0, 0, 0x80),
		"65535 program headers":     patched(54, 0xff, 0xff, 0xff, 0xff),
		"names beyond sections":     patched(62, 0xf0, 0xf0),
		"sections counted in none":  patched(60, 0, 0, 0xff, 0xff),
		"dynamic names elsewhere":   strings.Replace(string(whole), "\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", "\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02", 1),
		"archive of rubbish":        arMagic + "rubbish",
		"archive with a negative":   arMagic + member("x/", -60),
		"archive cut off":           arMagic + member("x/", 100) + "xx",
		"archive without names":     arMagic + member("/7", 0),
		"archive with bad members":  arMagic + member("x/", 6) + elf.ELFMAG + "xx",
		"thin archive with a table": thinMagic + member("//", 100),
	} {
		r := check(t, testPolicy(), map[string]string{"usr/lib/x": text})
		found(t, name, r, []string{"malformed is not what it begins like"})
	}
}

// zeros reads as a file of any size that begins with head.
type zeros struct{ head []byte }

func (z zeros) ReadAt(p []byte, at int64) (int, error) {
	clear(p)
	if at < int64(len(z.head)) {
		copy(p, z.head[at:])
	}
	return len(p), nil
}

// TestHostileHeaders: headers are not read into memory whatever their size, and not trusted.
func TestHostileHeaders(t *testing.T) {
	sections := func(count uint64, names uint32) []byte { // the table begins behind the header; its first entry tells both
		head := image{}.bytes()[:64]
		binary.LittleEndian.PutUint64(head[40:], 64)
		copy(head[58:], []byte{64, 0, 0, 0, 0xff, 0xff})
		head = binary.LittleEndian.AppendUint64(append(head, make([]byte, 32)...), count)
		return binary.LittleEndian.AppendUint32(head, names)
	}
	if _, err := openELF(zeros{sections(1<<21, 0xff00)}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("2^21 sections: %v", err)
	}
	packed := image{}.bytes()
	packed[len(packed)-64+9] |= byte(elf.SHF_COMPRESSED >> 8) // the last section is .shstrtab
	if _, err := openELF(bytes.NewReader(packed)); err == nil || !strings.Contains(err.Error(), "are compressed") {
		t.Errorf("compressed names: %v", err)
	}
	c := newChecker(&cache.Index{}, testPolicy())
	if err := c.object(zeros{sections(0xff00, 0xffff)}, ""); err != nil {
		t.Error(err)
	}
	found(t, "names beyond the sections", &c.report, []string{"malformed is not what it begins like"})
}

// member is the header of a member of an archive.
func member(name string, size int) string {
	return fmt.Sprintf("%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, 0, 0, 0, 0o644, size)
}

func archive(members ...string) string {
	text := arMagic
	for i := 0; i < len(members); i += 2 {
		text += member(members[i], len(members[i+1])) + members[i+1] + "\n"[:len(members[i+1])&1]
	}
	return text
}

// TestArchives: every member is looked at, whatever way its name is written.
func TestArchives(t *testing.T) {
	good, foreign := image{typ: elf.ET_REL}.String(), image{typ: elf.ET_REL, machine: elf.EM_AARCH64}.String()
	long := "a-name-of-more-than-sixteen-bytes.o/\nanother-name-of-that-length.o/\n"
	for name, c := range map[string]struct{ text, member string }{
		"short":      {archive("/", "\x00\x00\x00\x00", "good.o/", good, "readme/", "odd", "bad.o/", foreign), "bad.o"},
		"long":       {archive("//", long, "/0", good, "/37", foreign), "another-name-of-that-length.o"},
		"64 bits":    {archive("/SYM64/", "1234567", "bad.o/", foreign), "bad.o"},
		"bsd":        {archive("#1/8", "bad.o\x00\x00\x00"+foreign), "bad.o"},
		"after odd":  {archive("a/", "1", "b/", "1", "bad.o/", foreign), "bad.o"},
		"unnamed":    {archive("bad.o", foreign), "bad.o"},
		"empty ones": {archive("a/", "", "b/", "", "bad.o/", foreign), "bad.o"},
	} {
		r := check(t, testPolicy(), map[string]string{"usr/lib/libx.a": c.text})
		found(t, name, r, []string{"EM_AARCH64 ELFCLASS64 ELFDATA2LSB is another machine"})
		if len(r.Violations) == 1 && (r.Violations[0].Path != "usr/lib/libx.a" || r.Violations[0].Member != c.member) {
			t.Errorf("%s: found in %s", name, r.Violations[0])
		}
	}
	found(t, "empty", check(t, testPolicy(), map[string]string{"usr/lib/libx.a": arMagic}), nil)

	thin := thinMagic + member("//", len(long)) + long + "\n"[:len(long)&1] + member("in.o/", 5) + member("/0", 7) + member("/37", 7) + member("../out.o/", 7)
	r := check(t, testPolicy(), map[string]string{"usr/lib/libx.a": thin, "usr/lib/in.o": good, "usr/lib/a-name-of-more-than-sixteen-bytes.o": foreign, "usr/out.o": good})
	found(t, "thin", r, []string{"EM_AARCH64 ELFCLASS64", "another-name-of-that-length.o is a member of this thin archive, but no file"})
}

// TestViolationText: a value is told once a file, with the first member that has it.
func TestViolationText(t *testing.T) {
	foreign := image{typ: elf.ET_REL, comment: "GCC: (Debian) 12\x00"}.String()
	r := check(t, testPolicy(), map[string]string{"usr/lib/libx.a": archive("one.o/", foreign, "two.o/", foreign)})
	if len(r.Violations) != 1 {
		t.Fatalf("found %v", r.Violations)
	}
	if got, want := r.Violations[0].String(), `usr/lib/libx.a(one.o): "GCC: (Debian) 12" is another compiler; the stage's is "GCC: (vfsb) 14.2.0"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestPlaces: links and files that were installed into a folder of the build.
func TestPlaces(t *testing.T) {
	r := check(t, testPolicy(), map[string]string{
		"usr/lib/libz.so": "-> /sysroot/usr/lib/libz.so.1", "usr/lib/fine": "-> ../../build/x", "build/usr/x": "x", "usr/build/x": "x", "cross": "-> usr",
	})
	found(t, "places", r, []string{
		"/build is the build folder: something was installed into it", "/cross is the cross tools: something", "/sysroot/usr/lib/libz.so.1 leads to the sysroot",
	})
}

// TestForeign: a copy is found under any name; an empty archive, and a text, may be the same.
func TestForeign(t *testing.T) {
	lib := archive("a.o/", image{typ: elf.ET_REL}.String())
	p := testPolicy()
	p.Foreign = map[cache.Digest]string{}
	for name, text := range map[string]string{"libc.a": lib, "libm.a": arMagic, "license": "text"} {
		p.Foreign[cache.DigestOf([]byte(text))] = "//seed/usr/lib/" + name
	}
	r := check(t, p, map[string]string{"usr/lib/libx.a": lib, "usr/lib/libm.a": arMagic, "usr/license": "text"})
	found(t, "copy", r, []string{"//seed/usr/lib/libc.a is the same file"})
}

// TestAllow: an entry excuses one value in one file, and must excuse something.
func TestAllow(t *testing.T) {
	files := map[string]string{"etc/a": "/build/a /build/b", "etc/b": "/build/a"}
	p := testPolicy()
	p.Allow = []Allow{{"etc/a", "/build/a", "why"}, {"etc/b", "/build/a", "why"}}
	r := check(t, p, files)
	found(t, "allowed", r, []string{"/build/b leads"})
	if len(r.Stale) > 0 || r.OK() {
		t.Errorf("stale: %v, ok: %v", r.Stale, r.OK())
	}
	p.Allow = []Allow{{"etc/a", "/build/a", "why"}, {"etc/a", "/build/b", "why"}, {"etc/b", "/build", "why"}, {"etc/c", "/build/a", "why"}, {"etc/b", "/build/a", "why"}}
	r = check(t, p, files)
	found(t, "allowed", r, nil)
	if len(r.Stale) != 2 || r.Stale[0].Value != "/build" || r.Stale[1].Path != "etc/c" || r.OK() {
		t.Errorf("stale: %v, ok: %v", r.Stale, r.OK())
	}
}

// TestBound: what is too much to read is counted.
func TestBound(t *testing.T) {
	text := ""
	for i := range 1000 {
		text += fmt.Sprintf("/build/%d\n", i)
	}
	r := check(t, testPolicy(), map[string]string{"a": text, "b": "/build/x"})
	if len(r.Violations) != maxViolations || r.More != 1001-maxViolations || r.OK() {
		t.Errorf("%d listed, %d more", len(r.Violations), r.More)
	}
}

// TestMissingFile: a damaged layer is an error, not a finding.
func TestMissingFile(t *testing.T) {
	dir, x := layer(t, map[string]string{"a": "x"})
	os.Remove(filepath.Join(dir, "a"))
	if _, err := Check(context.Background(), dir, x, testPolicy()); err == nil {
		t.Error("a file is missing, and there is no error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Check(ctx, dir, x, testPolicy()); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSpec: all that decides is in the text, but for other layers and reasons.
func TestSpec(t *testing.T) {
	base := string(testPolicy().Spec())
	for name, c := range map[string]struct {
		change func(p *Policy)
		same   bool
	}{
		"machine":      {func(p *Policy) { p.Machine.Class = elf.ELFCLASS32 }, false},
		"compiler":     {func(p *Policy) { p.Compiler = "x" }, false},
		"interpreter":  {func(p *Policy) { p.Interpreter = "/x" }, false},
		"library path": {func(p *Policy) { p.LibraryPath = p.LibraryPath[:1] }, false},
		"split":        {func(p *Policy) { p.LibraryPath = []string{"/lib :/usr/lib"} }, false},
		"forbidden":    {func(p *Policy) { p.Forbidden = p.Forbidden[:1] }, false},
		"allow":        {func(p *Policy) { p.Allow = []Allow{{"a", "b", "c"}} }, false},
		"words":        {func(p *Policy) { p.Forbidden[0].What = "that folder" }, true},
		"libraries":    {func(p *Policy) { p.Libraries = nil }, true},
	} {
		p := testPolicy()
		c.change(p)
		if same := string(p.Spec()) == base; same != c.same {
			t.Errorf("%s: the same text: %v", name, same)
		}
	}
	one, two := testPolicy(), testPolicy()
	one.Allow, two.Allow = []Allow{{"a", "b", "one"}}, []Allow{{"a", "b", "two"}}
	if string(one.Spec()) != string(two.Spec()) {
		t.Error("a reason decides")
	}
}

// FuzzCheck: no file makes the check fail, or fall over.
func FuzzCheck(f *testing.F) {
	for _, im := range []image{
		{interp: "/lib/x", needed: []string{"libc.so", "libd.so"}, rpath: "/build", comment: ours + "\x00x\x00", sections: map[string]string{".debug_str": "/build/a"}, pack: true},
		{class: elf.ELFCLASS32, data: elf.ELFDATA2MSB, interp: "/lib/x", needed: []string{"libc.so"}},
		{typ: elf.ET_REL, machine: elf.EM_AARCH64},
	} {
		f.Add(im.bytes())
		f.Add([]byte(archive("//", "a-long-name-of-a-member.o/\n", "/0", im.String(), "b.o/", im.String())))
	}
	f.Add([]byte(thinMagic + member("//", 6) + "abc.o/" + member("/0", 5)))
	f.Fuzz(func(t *testing.T, text []byte) {
		p := testPolicy()
		if len(text) > 20 { // so that mutations get past the first test
			p.Machine = Machine{elf.Machine(text[18]), elf.Class(text[4]), elf.Data(text[5])}
		}
		c := newChecker(&cache.Index{}, p)
		c.begin("x")
		if err := c.code(bytes.NewReader(text), cache.DigestOf(text)); err != nil {
			t.Error(err)
		}
	})
}
