package engine

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"vfsb/cache"
	"vfsb/engine/load"
)

// What a build leaves for the next one.
//
// There is no daemon, and reading ten thousand packages takes seconds. So a build leaves in the store the graph that it
// analyzed, each node's key and layer, and the stat of every file and folder that was read. The next build of the same
// labels looks at the files again, which takes milliseconds. Nodes that cannot have changed are settled: their results
// are taken over without a Step. For the others, which are those of changed packages, those whose results are gone, and
// all that need one of these, the packages are loaded and analyzed as always.
//
// It is a short cut only: whatever does not fit leads back to loading everything, and so does every error, which is
// then reported as always.

// A settled node is one whose result was recalled.
type settled struct {
	key   cache.Digest
	layer cache.Layer
}

// A unit is the encoded stamps of one package's folder, or with no name those that all packages share.
type unit struct{ name, stamps string }

// Recall returns the graph of the patterns in the workspace at root, from what the last build has left. It returns nil
// if that is not possible. Otherwise e.Workspace holds the packages that had to be loaded.
func (e *Engine) Recall(root string, patterns []string) *Graph {
	data, ok := e.Store.Graph(e.graphName(root, patterns))
	if !ok {
		return nil
	}
	r := &recall{engine: e, root: root, patterns: patterns, in: decoder{rest: string(data)}}
	if !r.files() || !r.nodes() {
		return nil
	}
	r.findDirty()
	e.Workspace = &load.Workspace{Root: root}
	if len(r.changed) > 0 || slices.Contains(r.dirty, true) {
		return r.renew()
	}
	r.graph.close()
	r.graph.remembered = true
	return r.graph
}

// graphName names what is remembered of the patterns. Another program, a store of another machine or another lock file
// has other names: what they left is of no use.
func (e *Engine) graphName(root string, patterns []string) string {
	var program syscall.Stat_t
	if err := syscall.Stat("/proc/self/exe", &program); err != nil {
		return ""
	}
	identity := fmt.Sprintf("%d %d %d %d %d %q %q %v %s", program.Dev, program.Ino, program.Size, program.Mtim, program.Ctim,
		root, patterns, e.Exec, e.Fetcher.Lock.Digest())
	return cache.DigestOf([]byte(identity)).Hex()
}

type recall struct {
	engine   *Engine
	root     string
	patterns []string
	in       decoder

	units   []unit
	changed map[string]bool // packages with changed files
	graph   *Graph          // as it was
	dirty   []bool          // nodes of it that must be analyzed
}

// files finds the packages whose files have changed. It reports false if something did that all packages share.
func (r *recall) files() bool {
	unchanged, close := load.Unchanged(r.root)
	defer close()
	r.changed = map[string]bool{}
	for range r.in.count() {
		u := unit{name: r.in.text(), stamps: r.in.text()}
		r.units = append(r.units, u)
		files := decoder{rest: u.stamps}
		same := true
		for same && files.rest != "" {
			same = unchanged(files.stamp())
		}
		switch {
		case same:
		case u.name == "" || strings.ContainsAny(u.name, `*?[\`): // a glob is no name to load
			return false
		default:
			r.changed[u.name] = true
		}
	}
	return !r.in.bad
}

// nodes reads the graph.
func (r *recall) nodes() bool {
	in := &r.in
	nodes := make([]Node, in.count())
	known := make([]settled, len(nodes))
	g := &Graph{Nodes: make([]*Node, len(nodes)), byLabel: make(map[string]int32, len(nodes))}
	for i := range nodes {
		n := &nodes[i]
		n.ID, n.Label = int32(i), in.text()
		g.Nodes[i], g.byLabel[n.Label] = n, n.ID
		n.edges = make([]edge, in.count())
		for j := range n.edges {
			v := in.int()
			n.edges[j] = edge{kind: edgeKind(v & 7), to: int32(v >> 3)}
			if v>>3 >= len(nodes) || edgeKind(v&7) > contentEdge {
				return false
			}
		}
		if in.int() == 0 {
			continue // a group
		}
		n.Step, n.artifact = in.step()
		known[i] = settled{in.digest(), cache.Layer{Tar: in.digest(), Index: in.digest()}}
		n.settled = &known[i]
	}
	g.Roots = make([]int32, in.count())
	for i := range g.Roots {
		g.Roots[i] = int32(in.int())
		if int(g.Roots[i]) >= len(nodes) {
			return false
		}
	}
	r.graph = g
	return !in.bad && in.rest == ""
}

// findDirty marks the nodes of changed packages, those whose results or delivered layers are gone, and all that need them.
func (r *recall) findDirty() {
	g, store := r.graph, r.engine.Store
	r.dirty = make([]bool, len(g.Nodes))
	var dirty []int32
	mark := func(id int32) {
		if !r.dirty[id] {
			r.dirty[id] = true
			dirty = append(dirty, id)
		}
	}
	for _, n := range g.Nodes {
		switch s := n.settled; {
		case r.changed[packageOf(n.Label)]:
			mark(n.ID)
		case s == nil:
		case s.key == cache.Digest{}:
			mark(n.ID)
		default:
			result, ok := store.Result(s.key)
			if !ok || result.Layer != s.layer || n.Step.Deliver != "" && !store.HasLayer(s.layer) {
				mark(n.ID)
			}
		}
	}
	if len(dirty) == 0 {
		return
	}
	dependents := make([][]int32, len(g.Nodes))
	for _, n := range g.Nodes {
		for _, e := range n.edges {
			dependents[e.to] = append(dependents[e.to], n.ID)
		}
	}
	for i := 0; i < len(dirty); i++ {
		for _, d := range dependents[dirty[i]] {
			mark(d)
		}
	}
}

// packageOf is the package of a whole label.
func packageOf(label string) string {
	name := strings.TrimPrefix(label, "//")
	if i := strings.IndexAny(name, "/@:"); i >= 0 {
		name = name[:i]
	}
	return name
}

// renew makes the graph anew: what is settled is taken over, the rest is loaded and analyzed.
func (r *recall) renew() *Graph {
	packages := map[string]bool{}
	for _, s := range r.patterns {
		p, err := load.ParsePattern(s)
		if err != nil || p.Recursive { // what "..." means can be known only from all packages
			return nil
		}
		packages[p.Label.Package] = true
	}
	for name := range r.changed {
		packages[name] = true
	}
	for i, n := range r.graph.Nodes {
		if !r.dirty[i] {
			continue
		}
		packages[packageOf(n.Label)] = true
		for _, e := range n.edges {
			packages[packageOf(r.graph.Nodes[e.to].Label)] = true
		}
	}
	if !r.stampChanged() {
		return nil
	}
	e := r.engine
	ws, diags := load.LoadOnly(r.root, ruleNames(e.Rules), sortedKeys(packages))
	if len(diags) > 0 {
		return nil
	}
	e.Workspace = ws
	roots, err := e.Expand(r.patterns)
	if err != nil {
		return nil
	}
	a := newAnalyzer(ws, e.Rules, e.Exec)
	a.past = r
	g, diags := a.run(roots)
	if len(diags) > 0 || !r.inputsPresent(g) {
		return nil
	}
	g.units = r.units
	return g
}

// clean is the node of that label, if it is as it was.
func (r *recall) clean(label string) *Node {
	if r == nil {
		return nil
	}
	id, ok := r.graph.byLabel[label]
	if !ok || r.dirty[id] {
		return nil
	}
	return r.graph.Nodes[id]
}

// stampChanged takes the stamps of the changed packages again. It reports false if a template did change: any package
// may include it.
func (r *recall) stampChanged() bool {
	again := load.StampPackages(r.root, sortedKeys(r.changed))
	for i := range r.units {
		u := &r.units[i]
		stamps, ok := again[u.name]
		if !ok {
			continue
		}
		old := decoder{rest: u.stamps}
		var before []load.FileStamp
		for old.rest != "" {
			before = append(before, old.stamp())
		}
		if !slices.Equal(templatesOf(before), templatesOf(stamps)) {
			return false
		}
		u.stamps = encodeStamps(stamps)
	}
	return true
}

func templatesOf(stamps []load.FileStamp) []load.FileStamp {
	return slices.DeleteFunc(slices.Clone(stamps), func(f load.FileStamp) bool { return !load.IsTemplate(f.Path) })
}

// inputsPresent reports whether the layers lie in the store that nodes may need which are not settled.
func (r *recall) inputsPresent(g *Graph) bool {
	seen := make([]bool, len(g.Nodes))
	for _, n := range g.Nodes {
		if n.settled != nil {
			continue
		}
		for _, in := range n.Inputs {
			if s := g.Nodes[in].settled; s != nil && !seen[in] && !r.engine.Store.HasLayer(s.layer) {
				return false
			}
			seen[in] = true
		}
	}
	return true
}

// remember leaves the graph for the next build of the patterns.
func (x *execution) remember(patterns []string) error {
	g := x.graph
	if g.remembered || len(x.Fetcher.Lock.Changed()) > 0 {
		return nil
	}
	var out encoder
	if g.units == nil {
		g.units = encodeUnits(x.Workspace.Stamps)
	}
	out.int(len(g.units))
	for _, u := range g.units {
		out.text(u.name)
		out.text(u.stamps)
	}
	out.int(len(g.Nodes))
	for i, n := range g.Nodes {
		out.text(n.Label)
		out.int(len(n.edges))
		for _, e := range n.edges {
			out.int(int(e.to)<<3 | int(e.kind))
		}
		if n.Step == nil {
			out.int(0)
			continue
		}
		out.int(1)
		out.step(n)
		st := &x.nodes[i]
		key := st.key
		if !st.known {
			key = cache.Digest{}
		}
		out.digest(key)
		out.digest(st.result.Layer.Tar)
		out.digest(st.result.Layer.Index)
	}
	out.int(len(g.Roots))
	for _, id := range g.Roots {
		out.int(int(id))
	}
	return x.Store.PutGraph(x.graphName(x.Workspace.Root, patterns), out.b)
}

func encodeUnits(s load.Stamps) []unit {
	units := []unit{{"", encodeStamps(s.Shared)}}
	for _, name := range sortedKeys(s.Packages) {
		units = append(units, unit{name, encodeStamps(s.Packages[name])})
	}
	return units
}

func encodeStamps(stamps []load.FileStamp) string {
	var out encoder
	for _, f := range stamps {
		out.text(f.Path)
		out.b = append(out.b, f.Stat[:]...)
	}
	return string(out.b)
}

// An encoder writes what a decoder reads back.
type encoder struct{ b []byte }

func (e *encoder) int(v int) { e.b = binary.AppendUvarint(e.b, uint64(v)) }

func (e *encoder) text(s string) {
	e.int(len(s))
	e.b = append(e.b, s...)
}

func (e *encoder) digest(d cache.Digest) {
	e.b = append(e.b, d.Hash[:]...)
	e.int(int(d.Size))
}

// step writes what others need to know of a node's step.
func (e *encoder) step(n *Node) {
	e.text(n.Step.Deliver)
	e.text(n.artifact)
	e.int(len(n.Step.Replaces))
	for _, r := range n.Step.Replaces {
		e.text(r.Path)
		e.text(r.Reason)
	}
}

// A decoder reads what an encoder has written. Where something else comes it is bad from then on, and gives zeros.
type decoder struct {
	rest string
	bad  bool
}

func (d *decoder) int() int {
	var v uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		c := d.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.rest = d.rest[i+1:]
			if v>>40 != 0 {
				break
			}
			return int(v)
		}
	}
	d.rest, d.bad = "", true
	return 0
}

// count is the length of a list: each element takes a byte at least.
func (d *decoder) count() int {
	n := d.int()
	if n > len(d.rest) {
		d.rest, d.bad = "", true
		return 0
	}
	return n
}

func (d *decoder) take(n int) string {
	if n > len(d.rest) {
		d.rest, d.bad = "", true
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) text() string { return d.take(d.int()) }

func (d *decoder) digest() (x cache.Digest) {
	copy(x.Hash[:], d.take(len(x.Hash)))
	x.Size = int64(d.int())
	return x
}

func (d *decoder) stamp() (f load.FileStamp) {
	f.Path = d.text()
	copy(f.Stat[:], d.take(len(f.Stat)))
	return f
}

// plainStep is the step of the many nodes of which there is nothing to say.
var plainStep = &Step{}

func (d *decoder) step() (s *Step, artifact string) {
	deliver, artifact := d.text(), d.text()
	n := d.count()
	if deliver == "" && n == 0 {
		return plainStep, ""
	}
	s = &Step{Deliver: deliver}
	for range n {
		s.Replaces = append(s.Replaces, Replace{d.text(), d.text()})
	}
	return s, artifact
}

func ruleNames(rules []Rule) []string {
	var names []string
	for _, r := range rules {
		names = append(names, r.Name)
	}
	return names
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
