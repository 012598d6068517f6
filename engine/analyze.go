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
	Emulator []int32 // the node in whose layer the script's emulator lies; at most one
	Inputs   []int32 // all of these, once each: what must be done before the node

	Libraries []int32 // nodes of Root whose libraries are the platform's, see Guard

	edges []edge // as declared
}

type edgeKind byte

const (
	rootEdge edgeKind = iota
	toolEdge
	depEdge
	runtimeEdge
	contentEdge
	emulatorEdge
)

func (k edgeKind) String() string {
	return [...]string{"root", "tools", "deps", "runtime", "contents", "emulator"}[k]
}

type edge struct {
	kind edgeKind
	to   int32
	at   hcl.Range
}

// Analyze finds the nodes that the roots need, lets the rules make a Step of each,
// and checks that the graph is one: known labels, no cycle. Every error found is in
// the diagnostics.
func Analyze(ws *load.Workspace, rules []Rule, exec load.Exec, roots []load.Config) (*Graph, hcl.Diagnostics) {
	return analyze(ws, rules, exec, roots, nil)
}

// analyze is Analyze. If seed is not nil, it takes the place of every seed in a root of a stage; other things that are
// unpacked as a seed is, such as an emulator, stay.
func analyze(ws *load.Workspace, rules []Rule, exec load.Exec, roots []load.Config, seed *load.Target) (*Graph, hcl.Diagnostics) {
	a := &analyzer{
		ws: ws, rules: map[string]*Rule{}, resolver: load.NewResolver(ws, exec), seed: seed,
		templates: render.New(ws.Templates), graph: &Graph{byLabel: map[string]int32{}},
	}
	for i := range rules {
		a.rules[rules[i].Name] = &rules[i]
	}
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
	a.diags = append(a.diags, a.graph.checkContents()...)
	return a.graph, a.diags
}

type analyzer struct {
	ws        *load.Workspace
	rules     map[string]*Rule
	resolver  *load.Resolver
	templates *render.Templates
	seed      *load.Target // nil: as declared
	graph     *Graph
	diags     hcl.Diagnostics
}

// node is the id of the configuration's node, which it adds if it is new.
func (a *analyzer) node(c load.Config) int32 {
	label := c.Label().String()
	if id, ok := a.graph.byLabel[label]; ok {
		return id
	}
	id := int32(len(a.graph.Nodes))
	a.graph.byLabel[label] = id
	a.graph.Nodes = append(a.graph.Nodes, &Node{ID: id, Label: label, Config: c})
	return id
}

func (a *analyzer) analyze(n *Node) {
	t := &Target{Config: n.Config, Workspace: a.ws, resolver: a.resolver, templates: a.templates}
	var step *Step
	if rule := a.rules[n.Target.Kind]; rule != nil {
		step = rule.Analyze(t)
	} else {
		step = t.ScriptStep(a.ws.Kinds[n.Target.Kind])
	}
	a.diags = append(a.diags, t.Diags...)
	if step != nil && step.Rule != "" {
		n.Step = step
	}
	if step == nil || t.Diags.HasErrors() {
		return
	}
	for kind, edges := range [][]Edge{step.Root, step.Tools, step.Deps, step.Runtime, step.Contents, step.Emulator} {
		for _, e := range edges {
			c, err := a.resolver.Resolve(e.Label, n.Platform.Name)
			if err != nil {
				a.resolveError(n, e, err)
				continue
			}
			if a.seed != nil && edgeKind(kind) == rootEdge && c.Target.Kind == SeedKind {
				c.Target = a.seed
			}
			id := a.node(c)
			n.edges = append(n.edges, edge{edgeKind(kind), id, e.Range})
			if edgeKind(kind) == rootEdge && step.Guard != nil && slices.Contains(step.Guard.Libraries, e.Label) {
				n.Libraries = append(n.Libraries, id)
			}
		}
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
// headers include headers, libraries need libraries. In a native stage all of that lies in the root. An image holds
// its contents and their runtime.
func (g *Graph) close() {
	for _, n := range g.Nodes {
		var roots, sysroot, contents, emulator []int32
		for _, e := range n.edges {
			switch e.kind {
			case rootEdge, toolEdge:
				roots = append(roots, e.to)
			case depEdge:
				sysroot = append(sysroot, e.to)
			case contentEdge:
				contents = append(contents, e.to)
			case emulatorEdge:
				emulator = append(emulator, e.to)
			}
		}
		n.Root = g.closure(roots, runtimeEdge)
		n.Sysroot = g.closure(sysroot, depEdge, runtimeEdge)
		if n.Stage.Native {
			n.Root, n.Sysroot = union(n.Root, n.Sysroot), nil
		}
		n.Emulator = emulator
		n.Contents = contents
		if n.Step != nil {
			n.Contents = g.closure(contents, runtimeEdge)
		}
		n.Inputs = slices.Concat(n.Root, n.Sysroot, n.Contents, n.Emulator)
		slices.Sort(n.Inputs)
		n.Inputs = slices.Compact(n.Inputs)
	}
}

// union is a, then what b has besides.
func union(a, b []int32) []int32 {
	for _, id := range b {
		if !slices.Contains(a, id) {
			a = append(a, id)
		}
	}
	return a
}

// closure is the nodes that start reaches over edges of the given kinds, start
// included, each once and before what it reaches. A group stands for its members.
func (g *Graph) closure(start []int32, kinds ...edgeKind) []int32 {
	var list []int32
	seen := map[int32]bool{}
	var visit func(id int32)
	visit = func(id int32) {
		if seen[id] {
			return
		}
		seen[id] = true
		kinds := kinds
		if g.Nodes[id].Step == nil {
			kinds = []edgeKind{contentEdge}
		} else {
			list = append(list, id)
		}
		for _, e := range g.Nodes[id].edges {
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
