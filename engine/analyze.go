package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"vfsb/engine/load"
	"vfsb/engine/render"
)

// A Node is one target, in one stage, for one platform.
type Node struct {
	ID    int32
	Label string // whole: stage and platform included
	load.Config
	Step *Step // nil: a group

	Root     []int32 // nodes whose layers make "/", as declared
	Sysroot  []int32 // nodes whose layers make "/sysroot"
	Contents []int32 // nodes whose layers a rootfs or image holds, or the members of a group
	Inputs   []int32 // all of these, once each: what must be done before the node

	edges    []edge   // as declared
	artifact string   // base name of what is delivered
	settled  *settled // its result is recalled from the last build: Step says only what others need to know
}

type edgeKind byte

const (
	rootEdge edgeKind = iota
	toolEdge
	depEdge
	runtimeEdge
	contentEdge
)

func (k edgeKind) String() string {
	return [...]string{"root", "tools", "deps", "runtime", "contents"}[k]
}

type edge struct {
	kind edgeKind
	to   int32
	at   *hcl.Range // nil where it is recalled
}

// pos is where the edge is written.
func (e edge) pos() hcl.Range {
	if e.at == nil {
		return hcl.Range{}
	}
	return *e.at
}

// Analyze finds the nodes that the roots need, lets the rules make a Step of each,
// and checks that the graph is one: known labels, no cycle. Every error found is in
// the diagnostics.
func Analyze(ws *load.Workspace, rules []Rule, exec load.Exec, roots []load.Config) (*Graph, hcl.Diagnostics) {
	return newAnalyzer(ws, rules, exec).run(roots)
}

func newAnalyzer(ws *load.Workspace, rules []Rule, exec load.Exec) *analyzer {
	a := &analyzer{
		ws: ws, rules: map[string]*Rule{}, resolver: load.NewResolver(ws, exec),
		templates: render.New(ws.Templates), graph: &Graph{byLabel: map[string]int32{}},
	}
	for i := range rules {
		a.rules[rules[i].Name] = &rules[i]
	}
	return a
}

func (a *analyzer) run(roots []load.Config) (*Graph, hcl.Diagnostics) {
	for _, c := range roots {
		a.graph.Roots = append(a.graph.Roots, a.node(c))
	}
	for i := 0; i < len(a.graph.Nodes); i++ { // analyze appends the nodes that it meets
		a.analyze(a.graph.Nodes[i])
	}
	if a.diags.HasErrors() {
		return a.graph, a.diags
	}
	a.graph.close()
	a.diags = append(a.diags, a.graph.checkCycles()...)
	return a.graph, a.diags
}

type analyzer struct {
	ws        *load.Workspace
	rules     map[string]*Rule
	resolver  *load.Resolver
	templates *render.Templates
	past      *recall // whose clean nodes are not analyzed; nil: there are none
	graph     *Graph
	diags     hcl.Diagnostics
}

// node is the id of the configuration's node, which it adds if it is new.
func (a *analyzer) node(c load.Config) int32 {
	label := c.Label().String()
	if id, ok := a.graph.byLabel[label]; ok {
		return id
	}
	n := a.past.clean(label)
	if n == nil {
		n = &Node{Label: label}
	}
	n.Config = c
	return a.add(n)
}

func (a *analyzer) add(n *Node) int32 {
	n.ID = int32(len(a.graph.Nodes))
	a.graph.byLabel[n.Label] = n.ID
	a.graph.Nodes = append(a.graph.Nodes, n)
	return n.ID
}

func (a *analyzer) analyze(n *Node) {
	if a.past.clean(n.Label) == n {
		a.takeOver(n)
		return
	}
	t := &Target{Config: n.Config, Workspace: a.ws, resolver: a.resolver, templates: a.templates}
	var step *Step
	if rule := a.rules[n.Target.Kind]; rule != nil {
		step = rule.Analyze(t)
	} else {
		step = t.ScriptStep(a.ws.Kinds[n.Target.Kind])
	}
	a.diags = append(a.diags, t.Diags...)
	if step == nil || t.Diags.HasErrors() {
		return
	}
	if step.Rule != "" {
		n.Step = step
	}
	if step.Deliver != "" {
		n.artifact = artifactName(n)
	}
	for kind, edges := range [][]Edge{step.Root, step.Tools, step.Deps, step.Runtime, step.Contents} {
		for i := range edges {
			e := &edges[i]
			c, err := a.resolver.Resolve(e.Label, n.Platform.Name)
			if err != nil {
				a.resolveError(n, *e, err)
				continue
			}
			n.edges = append(n.edges, edge{edgeKind(kind), a.node(c), &e.Range})
		}
	}
}

// takeOver makes the edges of a clean node, which lead to other clean nodes, those of the new graph.
func (a *analyzer) takeOver(n *Node) {
	for i := range n.edges {
		to := a.past.graph.Nodes[n.edges[i].to]
		id, ok := a.graph.byLabel[to.Label]
		if !ok {
			id = a.add(to)
		}
		n.edges[i].to = id
	}
}

func (a *analyzer) resolveError(n *Node, e Edge, err error) {
	if diags, ok := err.(hcl.Diagnostics); ok {
		a.diags = append(a.diags, diags...)
		return
	}
	d := load.Errorf(e.Range, "unknown label %s: %v", e.Label, err)
	d.Detail = strings.TrimSpace(d.Detail + fmt.Sprintf("\n%s names it.", n.Label))
	a.diags = append(a.diags, d)
}

// close computes what each node needs from what is declared.
//
// A root holds the layers of the stage, the tools, and the tools' runtime. A sysroot
// holds the deps, what those were built against (their own deps) and their runtime:
// headers include headers, libraries need libraries. An image holds its contents
// and their runtime.
func (g *Graph) close() {
	c := closer{graph: g, seen: make([]int32, len(g.Nodes))}
	for _, n := range g.Nodes {
		var roots, sysroot, contents []int32
		for _, e := range n.edges {
			switch e.kind {
			case rootEdge, toolEdge:
				roots = append(roots, e.to)
			case depEdge:
				sysroot = append(sysroot, e.to)
			case contentEdge:
				contents = append(contents, e.to)
			}
		}
		n.Root = c.closure(roots, runtimeEdge)
		n.Sysroot = c.closure(sysroot, depEdge, runtimeEdge)
		n.Contents = contents
		if n.Step != nil {
			n.Contents = c.closure(contents, runtimeEdge)
		}
		n.Inputs = slices.Concat(n.Root, n.Sysroot, n.Contents)
		slices.Sort(n.Inputs)
		n.Inputs = slices.Compact(n.Inputs)
	}
}

// A closer finds closures, one after the other.
type closer struct {
	graph *Graph
	seen  []int32 // by node: the number of the last closure that holds it
	count int32
}

// closure is the nodes that start reaches over edges of the given kinds, start
// included, each once and before what it reaches.
func (c *closer) closure(start []int32, kinds ...edgeKind) []int32 {
	if len(start) == 0 {
		return nil
	}
	c.count++
	list := make([]int32, 0, len(start))
	var visit func(id int32)
	visit = func(id int32) {
		if c.seen[id] == c.count {
			return
		}
		c.seen[id] = c.count
		list = append(list, id)
		for _, e := range c.graph.Nodes[id].edges {
			if slices.Contains(kinds, e.kind) {
				visit(e.to)
			}
		}
	}
	for _, id := range start {
		visit(id)
	}
	return list
}
