// Package bench writes workspaces for measuring: graphs of many nodes whose scripts do next to nothing, so that what
// is measured is vfsb. It knows the language of a workspace and nothing of the engine.
package bench

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Goal is the label that names everything of a workspace.
const Goal = "//goal"

// A Graph says what to write. The same Graph always gives the same files.
type Graph struct {
	Shape   string // dag, trivial or chain
	N       int
	Salt    string // part of every node's output
	Leaf    string // part of the output of the node //leaf of a dag, which the node //final needs
	Comment string // in the script of a node that nearly all others need: its input changes, its output does not
}

// A node's script reads a line from each of its dependencies and writes one.
type node struct {
	name    string
	deps    []string
	value   string
	comment string
	last    bool // passes the last dependency's line on
}

func (n node) script() string {
	var b strings.Builder
	b.WriteString("set -e\nl=\n")
	if n.comment != "" {
		fmt.Fprintf(&b, "# %s\n", n.comment)
	}
	if len(n.deps) > 0 {
		fmt.Fprintf(&b, "for d in /%s; do read -r l < $d; done\n", strings.Join(n.deps, " /"))
	}
	tail := ""
	if n.last {
		tail = " $l"
	}
	fmt.Fprintf(&b, "echo \"%s %s%s\" > /out/%s\n", n.name, n.value, tail, n.name)
	return b.String()
}

// nodes returns the graph's nodes, each after its dependencies.
func (g Graph) nodes() ([]node, error) {
	name := func(i int) string { return fmt.Sprintf("n%05d", i) }
	var list []node
	switch g.Shape {
	case "trivial":
		for i := range g.N {
			list = append(list, node{name: name(i), value: g.Salt})
		}
	case "chain":
		for i := range g.N {
			n := node{name: name(i), value: g.Salt}
			if i > 0 {
				n.deps = []string{name(i - 1)}
			}
			list = append(list, n)
		}
	case "dag":
		list = g.dag(name)
	default:
		return nil, fmt.Errorf("shape %q; shapes are dag, trivial and chain", g.Shape)
	}
	return list, nil
}

// fanIn is the number of dependencies of most nodes of a dag.
const fanIn = 5

// dag is N-2 nodes in layers of about √N: each needs one node of the first layer, two of the layer before, and others
// from anywhere below. A leaf and a final node, which needs whatever nothing else does, complete it.
func (g Graph) dag(name func(int) string) []node {
	rnd := newTwister(20240229 + uint32(g.N))
	body := g.N - 2
	width := max(4, int(math.RoundToEven(math.Sqrt(float64(body)))))
	used := make([]bool, body)
	var list []node
	for i := range body {
		var deps []int
		if layer := i / width; layer > 0 {
			lo, hi := (layer-1)*width, layer*width
			add := func(d int) {
				if !slices.Contains(deps, d) {
					deps = append(deps, d)
				}
			}
			add(rnd.below(min(width, hi)))
			for len(deps) < min(3, hi) {
				add(lo + rnd.below(hi-lo))
			}
			for len(deps) < min(fanIn, hi) {
				add(rnd.below(hi))
			}
			slices.Sort(deps)
		}
		n := node{name: name(i), value: g.Salt}
		for _, d := range deps {
			used[d] = true
			n.deps = append(n.deps, name(d))
		}
		list = append(list, n)
	}
	list[0].comment = g.Comment
	final := node{name: "final", value: g.Salt, last: true}
	for i := range body {
		if !used[i] {
			final.deps = append(final.deps, name(i))
		}
	}
	final.deps = append(final.deps, "leaf")
	return append(list, node{name: "leaf", value: g.Salt + g.Leaf}, final)
}

const profile = `profile "bench" {
  home = "build"
  stage "build" {
    root = ["//seed"]
  }
}

platform "%s" {
  profile = "bench"
  arch    = "%[1]s"
  triplet = "%[1]s-linux"
}
`

const rule = `rule "shell" {
  summary  = "a script and nothing else"
  template = "shell.sh.j2"
  contract = 1
  attribute "script" {
    type = "script"
  }
}
`

// Write writes g's workspace into dir, and leaves files alone that it would not change. shell is a statically linked
// bash, the seed's only program.
func (g Graph) Write(dir, shell string) error {
	nodes, err := g.nodes()
	if err != nil {
		return err
	}
	seed, err := seedTar(shell)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(seed)
	files := map[string]string{
		"packages/seed/seed.tar":    string(seed),
		"packages/seed/package.hcl": imageHCL("seed", sum[:]),
		"profiles/bench/bench.hcl":  fmt.Sprintf(profile, runtime.GOARCH),
		"templates/shell.hcl":       rule,
		"templates/shell.sh.j2":     "{{ script }}",
	}
	goals := []string{"//" + nodes[len(nodes)-1].name}
	if g.Shape == "trivial" {
		goals = nil
	}
	for _, n := range nodes {
		if g.Shape == "trivial" {
			goals = append(goals, "//"+n.name)
		}
		files["packages/"+n.name+"/package.hcl"] = n.hcl()
	}
	files["packages/goal/package.hcl"] = fmt.Sprintf("package \"goal\" {\n  group {\n    members = %s\n  }\n}\n", list(goals))
	return putAll(dir, files)
}

// WriteTree writes a workspace with one node, //tree, a tarball of files of 40,000 bytes, half random, half text.
func WriteTree(dir string, files int) error {
	path := filepath.Join(dir, "packages/tree/tree.tar")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	w := tar.NewWriter(io.MultiWriter(f, hash))
	rnd := newTwister(20240229)
	for i := range files {
		data := make([]byte, 0, 41000)
		for len(data) < 20000 {
			data = binary.LittleEndian.AppendUint32(data, rnd.next())
		}
		for line := 0; len(data) < 40000; line++ {
			data = fmt.Appendf(data, "The quick brown fox jumps over the lazy dog, line %08d of a file.\n", i*1000+line)
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("usr/share/d%02d/f%05d", i%50, i), Mode: 0o644, Size: 40000}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(data[:40000]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return putAll(dir, map[string]string{
		"packages/tree/package.hcl": imageHCL("tree", hash.Sum(nil)),
		"profiles/bench/bench.hcl":  fmt.Sprintf(profile, runtime.GOARCH),
	})
}

// imageHCL is a package whose layer is the tarball NAME.tar beside it.
func imageHCL(name string, sum []byte) string {
	return fmt.Sprintf("package %q {\n  seed {\n    image {\n      ref    = \"./%[1]s.tar\"\n      digest = \"sha256:%x\"\n    }\n  }\n}\n",
		name, sum)
}

func putAll(dir string, files map[string]string) error {
	for name, text := range files {
		if err := put(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

func (n node) hcl() string {
	var b strings.Builder
	fmt.Fprintf(&b, "package %q {\n  shell {\n", n.name)
	if len(n.deps) > 0 {
		fmt.Fprintf(&b, "    tools = %s\n", list(labels(n.deps)))
	}
	b.WriteString("    script = <<-SH\n")
	for line := range strings.Lines(n.script()) {
		b.WriteString("      " + line)
	}
	b.WriteString("    SH\n  }\n}\n")
	return b.String()
}

func labels(names []string) []string {
	var l []string
	for _, n := range names {
		l = append(l, "//"+n)
	}
	return l
}

// list is a list of strings in HCL.
func list(items []string) string {
	return `["` + strings.Join(items, `", "`) + `"]`
}

func put(path, text string) error {
	old, err := os.ReadFile(path)
	if err == nil && string(old) == text {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// seedTar is a root file system that holds /bin/bash.
func seedTar(shell string) ([]byte, error) {
	text, err := os.ReadFile(shell)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"usr/", "usr/bin/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "usr/bin/bash", Mode: 0o755, Size: int64(len(text))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin", Linkname: "usr/bin"}); err != nil {
		return nil, err
	}
	return b.Bytes(), w.Close()
}

// A twister is the Mersenne Twister MT19937 with Python's seeding and ranges, so that other tools that are measured
// beside vfsb, whose projects a Python program writes, get the same graphs.
type twister struct {
	state [624]uint32
	at    int
}

func newTwister(seed uint32) *twister {
	t := &twister{at: 624}
	s := &t.state
	s[0] = 19650218
	for i := uint32(1); i < 624; i++ {
		s[i] = 1812433253*(s[i-1]^s[i-1]>>30) + i
	}
	i := 1
	for range 624 {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1664525) + seed
		if i++; i == 624 {
			s[0], i = s[623], 1
		}
	}
	for range 623 {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1566083941) - uint32(i)
		if i++; i == 624 {
			s[0], i = s[623], 1
		}
	}
	s[0] = 1 << 31
	return t
}

func (t *twister) next() uint32 {
	if t.at == 624 {
		for i := range t.state {
			y := t.state[i]&(1<<31) | t.state[(i+1)%624]&(1<<31-1)
			t.state[i] = t.state[(i+397)%624] ^ y>>1 ^ (y&1)*0x9908b0df
		}
		t.at = 0
	}
	y := t.state[t.at]
	t.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// below returns a number from 0 up to n, which it excludes.
func (t *twister) below(n int) int {
	bits := 0
	for n>>bits > 0 {
		bits++
	}
	for {
		if v := int(t.next() >> (32 - bits)); v < n {
			return v
		}
	}
}
