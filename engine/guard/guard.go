// Package guard checks that a layer is the platform's alone: that its programs and libraries are for the platform's
// machine, made by the compiler that is meant to make them, complete, and that nothing in it leads to a folder that
// exists only while it is built. It reads what it is given as data and knows of no package, stage or store.
package guard

import (
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vfsb/cache"
)

// Version is the version of the rules. Whoever remembers that a layer has passed remembers under which version: raise it
// when a rule finds more than before.
const Version = 1

// A Machine is what an ELF file says of the processor that it is for.
type Machine struct {
	Machine elf.Machine
	Class   elf.Class
	Data    elf.Data
}

func (m Machine) String() string { return fmt.Sprintf("%v %v %v", m.Machine, m.Class, m.Data) }

// Machines is the machine of each architecture, by the names that platforms use.
var Machines = map[string]Machine{
	"amd64":   {elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"arm64":   {elf.EM_AARCH64, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"armv7":   {elf.EM_ARM, elf.ELFCLASS32, elf.ELFDATA2LSB},
	"i686":    {elf.EM_386, elf.ELFCLASS32, elf.ELFDATA2LSB},
	"riscv64": {elf.EM_RISCV, elf.ELFCLASS64, elf.ELFDATA2LSB},
}

// A Policy says what a layer may hold.
type Policy struct {
	Machine     Machine
	Compiler    string      // what .comment sections say: "GCC: (vfsb) 14.2.0"
	Interpreter string      // of programs that need libraries
	LibraryPath []string    // absolute folders in which the platform's loader looks for libraries
	Forbidden   []Forbidden // what nothing may lead to
	Allow       []Allow

	Libraries map[string]bool         // names of the libraries that lie in other layers
	Foreign   map[cache.Digest]string // files that must not be here, whatever their name: where else they lie
}

// A Forbidden is an absolute path that exists only during a build, and what it is: {"/build", "the build folder"}.
type Forbidden struct{ Path, What string }

// An Allow excuses what is found in one file, if it is exactly Value.
type Allow struct{ Path, Value, Reason string }

// Spec is all in the policy that decides, in a form of which equal policies give equal bytes: each value with its length
// before it, in lines. Libraries and Foreign are left out, as functions of other layers.
func (p *Policy) Spec() []byte {
	b := make([]byte, 0, 1<<10)
	add := func(name string, values ...string) {
		b = append(b, name...)
		for _, v := range values {
			b = strconv.AppendInt(append(b, ' '), int64(len(v)), 10)
			b = append(append(b, ':'), v...)
		}
		b = append(b, '\n')
	}
	add("version", strconv.Itoa(Version))
	add("machine", strconv.Itoa(int(p.Machine.Machine)), strconv.Itoa(int(p.Machine.Class)), strconv.Itoa(int(p.Machine.Data)))
	add("compiler", p.Compiler)
	add("interpreter", p.Interpreter)
	add("library_path", p.LibraryPath...)
	for _, f := range p.Forbidden {
		add("forbidden", f.Path)
	}
	for _, a := range p.Allow {
		add("allow", a.Path, a.Value)
	}
	return b
}

// A Violation is something in a file that the policy does not allow.
type Violation struct {
	Path   string // of the file in the layer
	Value  string // what was found, as an Allow names it
	Member string // of an archive; "": the file itself
	Why    string // "leads to the build folder"
}

func (v Violation) String() string {
	where := v.Path
	if v.Member != "" {
		where += "(" + v.Member + ")"
	}
	return fmt.Sprintf("%s: %q %s", where, v.Value, v.Why)
}

// A Report is what a check found.
type Report struct {
	Violations []Violation // in the order of their files, each value once a file
	More       int         // further findings, which are not listed
	Stale      []Allow     // entries of the policy that excuse nothing
}

// OK reports whether the layer passes.
func (r *Report) OK() bool { return len(r.Violations) == 0 && len(r.Stale) == 0 }

// maxViolations is how many violations are listed: enough to see what is wrong, little enough to be read.
const maxViolations = 50

// Check reads the files of the layer with that index, whose tree lies in dir. Memory is bounded whatever they hold. The
// error is of reading, never of what was read.
func Check(ctx context.Context, dir string, x *cache.Index, p *Policy) (*Report, error) {
	c := newChecker(x, p)
	for i := range x.Entries {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e := &x.Entries[i]
		c.begin(e.Path)
		c.place(e)
		switch e.Kind {
		case cache.Symlink:
			if err := c.strings(strings.NewReader(e.Link)); err != nil {
				return nil, err
			}
		case cache.File:
			if err := c.file(dir, e); err != nil {
				return nil, fmt.Errorf("guard: %w", err)
			}
		}
	}
	for i, used := range c.used {
		if !used {
			c.report.Stale = append(c.report.Stale, p.Allow[i])
		}
	}
	return &c.report, nil
}

// AddLibraries adds to names what the layer holds in the folders of the library path.
func AddLibraries(names map[string]bool, x *cache.Index, libraryPath []string) {
	for i := range x.Entries {
		e := &x.Entries[i]
		if e.Kind != cache.Dir && slices.Contains(libraryPath, "/"+path.Dir(e.Path)) {
			names[path.Base(e.Path)] = true
		}
	}
}

// A checker is the state of one Check.
type checker struct {
	policy  *Policy
	index   *cache.Index
	scanner *scanner
	own     map[string]bool // the layer's libraries
	used    []bool          // which of the policy's Allow have excused something
	report  Report

	path  string          // of the file that is checked
	found map[string]bool // values already found in it
}

func newChecker(x *cache.Index, p *Policy) *checker {
	c := &checker{
		policy: p, index: x, scanner: newScanner(p.Forbidden), own: map[string]bool{}, used: make([]bool, len(p.Allow)),
		found: map[string]bool{},
	}
	AddLibraries(c.own, x, p.LibraryPath)
	return c
}

// begin turns to another file.
func (c *checker) begin(path string) {
	c.path = path
	clear(c.found)
}

// add records a finding in the file that is checked, unless it is allowed or known already.
func (c *checker) add(member, value, why string) {
	value = value[:min(len(value), maxValue)]
	if c.found[value] {
		return
	}
	allowed := false
	for i, a := range c.policy.Allow {
		if a.Path == c.path && a.Value == value {
			allowed, c.used[i] = true, true
		}
	}
	switch {
	case allowed:
	case len(c.report.Violations) < maxViolations:
		c.report.Violations = append(c.report.Violations, Violation{Path: c.path, Value: value, Member: member, Why: why})
	default:
		c.report.More++
	}
	if len(c.found) < maxViolations { // beyond that a value may count twice
		c.found[value] = true
	}
}

// place finds an entry that was installed into a folder of the build. Folders are entries too: what lies in them is not
// looked at.
func (c *checker) place(e *cache.Entry) {
	for _, f := range c.policy.Forbidden {
		if e.Path == f.Path[1:] {
			c.add("", f.Path, "is "+f.What+": something was installed into it")
		}
	}
}

// file checks a regular file: any for strings, objects and archives of objects for the rest.
func (c *checker) file(dir string, e *cache.Entry) error {
	f, err := os.Open(filepath.Join(dir, e.Path))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := c.strings(f); err != nil {
		return err
	}
	return c.code(f, e.Digest())
}

// strings finds in r what leads to a forbidden path.
func (c *checker) strings(r io.Reader) error {
	return c.scanner.scan(r, func(f Forbidden, value string) { c.add("", value, "leads to "+f.What) })
}

// code checks an ELF file or an archive of them.
func (c *checker) code(r io.ReaderAt, d cache.Digest) error {
	magic := make([]byte, len(arMagic))
	n, err := r.ReadAt(magic, 0)
	if err != nil && err != io.EOF {
		return err
	}
	switch magic := string(magic[:n]); {
	case strings.HasPrefix(magic, elf.ELFMAG):
		err = c.object(r, "")
	case magic == arMagic || magic == thinMagic:
		err = c.archive(r, d.Size, magic == thinMagic)
	default:
		return nil
	}
	if other, ok := c.policy.Foreign[d]; ok && d.Size > int64(len(arMagic)) { // one empty archive is like another
		c.add("", other, "is the same file: it was copied, not built")
	}
	return err
}
