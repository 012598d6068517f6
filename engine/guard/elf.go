package guard

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strings"
)

const (
	maxTables       = 64 << 20 // bytes of an ELF file's headers and names that debug/elf may read: it keeps them in memory
	maxName         = 4 << 10  // bytes of a name in an ELF file
	maxDynamic      = 1 << 16  // entries of a dynamic section
	maxDecompressed = 1 << 30  // bytes of a compressed section
)

// malformed is the value of what cannot be read as what it says it is.
const malformed = "malformed"

// object checks one ELF file, or one member of an archive.
func (c *checker) object(r io.ReaderAt, member string) (err error) {
	defer func() {
		if p := recover(); p != nil { // debug/elf is not meant for files that somebody broke on purpose
			err = c.malformed(member, fmt.Errorf("%v", p))
		}
	}()
	f, err := openELF(r)
	if err != nil {
		return c.malformed(member, err)
	}
	if m := (Machine{f.Machine, f.Class, f.Data}); m != c.policy.Machine {
		c.add(member, m.String(), fmt.Sprintf("is another machine; the platform's is %v", c.policy.Machine))
		return nil // nothing else in it is the platform's
	}
	for _, check := range []func(*elf.File, string) error{c.compiler, c.loader, c.compressed} {
		if err := check(f, member); err != nil {
			return c.malformed(member, err)
		}
	}
	return nil
}

// malformed turns an error about what was read into a finding. An error of reading stays one.
func (c *checker) malformed(member string, err error) error {
	var reading *fs.PathError
	if errors.As(err, &reading) {
		return err
	}
	c.add(member, malformed, "is not what it begins like: "+err.Error())
	return nil
}

// compiler checks the texts of .comment. What an assembler made has none.
func (c *checker) compiler(f *elf.File, member string) error {
	for _, s := range f.Sections {
		if s.Name != ".comment" || s.Type == elf.SHT_NOBITS {
			continue
		}
		texts := bufio.NewScanner(s.Open())
		texts.Buffer(nil, maxName)
		texts.Split(splitNUL)
		for texts.Scan() {
			if text := texts.Text(); text != "" && text != c.policy.Compiler {
				c.add(member, text, fmt.Sprintf("is another compiler; the stage's is %q", c.policy.Compiler))
			}
		}
		if err := texts.Err(); err != nil {
			return fmt.Errorf(".comment: %w", err)
		}
	}
	return nil
}

func splitNUL(data []byte, last bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if last && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// loader checks what the loader is told: the interpreter, the libraries, where to look for them.
func (c *checker) loader(f *elf.File, member string) error {
	for _, p := range f.Progs {
		switch {
		case p.Filesz == 0: // a file with nothing but debugging information
		case p.Type == elf.PT_INTERP:
			name, err := readName(p, 0)
			if err != nil {
				return fmt.Errorf("interpreter: %w", err)
			}
			if name != c.policy.Interpreter {
				c.add(member, name, fmt.Sprintf("is another interpreter; the platform's is %s", c.policy.Interpreter))
			}
		case p.Type == elf.PT_DYNAMIC:
			if err := c.dynamic(f, p, member); err != nil {
				return fmt.Errorf("dynamic section: %w", err)
			}
		}
	}
	return nil
}

// dynamic reads the dynamic section as the loader does, by the program headers: there may be no other.
func (c *checker) dynamic(f *elf.File, p *elf.Prog, member string) error {
	var table uint64
	var names []elf.Dyn64 // entries whose value is a name's offset in the table
	entries := bufio.NewReader(p.Open())
	for n := 0; ; n++ {
		d, err := readDyn(f, entries)
		if err == io.EOF || err == nil && elf.DynTag(d.Tag) == elf.DT_NULL {
			break
		}
		if err != nil {
			return err
		}
		if n == maxDynamic {
			return fmt.Errorf("it has more than %d entries", maxDynamic)
		}
		switch elf.DynTag(d.Tag) {
		case elf.DT_STRTAB:
			table = d.Val
		case elf.DT_NEEDED, elf.DT_RPATH, elf.DT_RUNPATH:
			names = append(names, d)
		}
	}
	beside := false // its libraries may lie where it lies itself
	for _, needed := range []bool{false, true} {
		for _, d := range names {
			if needed != (elf.DynTag(d.Tag) == elf.DT_NEEDED) {
				continue
			}
			name, err := nameAt(f, table+d.Val)
			switch {
			case err != nil:
				return err
			case !needed && name == "$ORIGIN":
				beside = true
			case !needed:
				c.add(member, name, "is a run path; the loader needs none to find the platform's libraries")
			case !c.own[name] && !c.policy.Libraries[name] && !(beside && c.holds(name)):
				c.add(member, name, "is needed, and neither this layer nor one of its deps or their runtime holds it")
			}
		}
	}
	return nil
}

// holds reports whether the layer has something of that name in the folder of the file that is checked.
func (c *checker) holds(name string) bool {
	_, ok := c.index.Lookup(path.Join(path.Dir(c.path), name))
	return ok && !strings.Contains(name, "/")
}

func readDyn(f *elf.File, r io.Reader) (d elf.Dyn64, err error) {
	if f.Class == elf.ELFCLASS64 {
		err = binary.Read(r, f.ByteOrder, &d)
		return d, err
	}
	var d32 elf.Dyn32
	err = binary.Read(r, f.ByteOrder, &d32)
	return elf.Dyn64{Tag: int64(d32.Tag), Val: uint64(d32.Val)}, err
}

// nameAt reads the name at an address of the loaded file.
func nameAt(f *elf.File, address uint64) (string, error) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Vaddr <= address && address-p.Vaddr < p.Filesz {
			return readName(p, int64(address-p.Vaddr))
		}
	}
	return "", fmt.Errorf("a name lies at %#x, which is not in the file", address)
}

func readName(r io.ReaderAt, at int64) (string, error) {
	b, err := readUpTo(r, at, maxName)
	if err != nil {
		return "", err
	}
	name, _, ok := bytes.Cut(b, []byte{0})
	if !ok {
		return "", errors.New("a name does not end")
	}
	return string(name), nil
}

// compressed scans the sections that the scan of the file's bytes could not see.
func (c *checker) compressed(f *elf.File, member string) error {
	for _, s := range f.Sections {
		if s.Type == elf.SHT_NOBITS || s.Flags&elf.SHF_COMPRESSED == 0 && !strings.HasPrefix(s.Name, ".zdebug") {
			continue
		}
		text := &io.LimitedReader{R: s.Open(), N: maxDecompressed}
		if err := c.strings(text); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if text.N == 0 {
			return fmt.Errorf("%s: it is larger than %d bytes", s.Name, maxDecompressed)
		}
	}
	return nil
}

// openELF reads an ELF file's headers and the names of its sections, unless they are so large that they are an attack.
func openELF(r io.ReaderAt) (*elf.File, error) {
	compressed, err := namesCompressed(r)
	if err != nil {
		return nil, err
	}
	if compressed { // debug/elf would unpack them, whatever they grow to
		return nil, errors.New("the names of its sections are compressed")
	}
	b := &budget{ReaderAt: r, left: maxTables}
	f, err := elf.NewFile(b)
	b.left = math.MaxInt64 // sections are read piece by piece
	return f, err
}

// namesCompressed reads the flags of the section that holds the names of the others, and nothing that it does not need
// for that.
func namesCompressed(r io.ReaderAt) (bool, error) {
	h, err := readUpTo(r, 0, 64)
	if err != nil {
		return false, err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(h[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	wide := elf.Class(h[elf.EI_CLASS]) == elf.ELFCLASS64
	table, size, index := uint64(order.Uint32(h[32:])), uint64(order.Uint16(h[46:])), uint64(order.Uint16(h[50:]))
	if wide {
		table, size, index = order.Uint64(h[40:]), uint64(order.Uint16(h[58:])), uint64(order.Uint16(h[62:]))
	}
	section := func(i uint64) (flags, link uint64, err error) {
		s, err := readUpTo(r, int64(table+i*size), 44)
		if wide {
			return order.Uint64(s[8:]), uint64(order.Uint32(s[40:])), err
		}
		return uint64(order.Uint32(s[8:])), uint64(order.Uint32(s[24:])), err
	}
	if index == uint64(elf.SHN_XINDEX) { // it stands in the first section
		if _, index, err = section(0); err != nil {
			return false, err
		}
	}
	if index == 0 {
		return false, nil
	}
	flags, _, err := section(index)
	return elf.SectionFlag(flags)&elf.SHF_COMPRESSED != 0, err
}

// readUpTo returns n bytes, zeros where the file has ended.
func readUpTo(r io.ReaderAt, at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := r.ReadAt(b, at)
	if err == io.EOF {
		err = nil
	}
	return b, err
}

// A budget is a reader that refuses to go on when left bytes were read.
type budget struct {
	io.ReaderAt
	left int64
}

func (b *budget) ReadAt(p []byte, at int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errors.New("its headers are too large")
	}
	return b.ReaderAt.ReadAt(p, at)
}
