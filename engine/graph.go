package engine

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/dominikbraun/graph"
	"github.com/dominikbraun/graph/draw"
	"github.com/hashicorp/hcl/v2"

	"vfsb/engine/load"
)

// A Graph is the nodes of a build. Nodes[i].ID is i.
type Graph struct {
	Nodes []*Node
	Roots []int32 // what was asked for

	byLabel map[string]int32
	seed    *load.Target // in the place of the declared ones, if not nil
}

// Find is the node of a whole label, or nil.
func (g *Graph) Find(label string) *Node {
	if id, ok := g.byLabel[label]; ok {
		return g.Nodes[id]
	}
	return nil
}

// order lists the nodes so that each comes after its inputs; it is shorter than
// Nodes if there is a cycle. (The library's own sorts take half a minute for 10,000
// nodes; this takes a millisecond.)
func (g *Graph) order() []int32 {
	waiting, dependents := g.degrees()
	order := make([]int32, 0, len(g.Nodes))
	for id, n := range waiting {
		if n == 0 {
			order = append(order, int32(id))
		}
	}
	for i := 0; i < len(order); i++ {
		for _, d := range dependents[order[i]] {
			if waiting[d]--; waiting[d] == 0 {
				order = append(order, d)
			}
		}
	}
	return order
}

// degrees is the number of inputs of each node, and the nodes that have it as an input.
func (g *Graph) degrees() (waiting []int32, dependents [][]int32) {
	waiting = make([]int32, len(g.Nodes))
	count := make([]int32, len(g.Nodes))
	total := 0
	for id, n := range g.Nodes {
		waiting[id] = int32(len(n.Inputs))
		total += len(n.Inputs)
		for _, in := range n.Inputs {
			count[in]++
		}
	}
	backing := make([]int32, total)
	dependents = make([][]int32, len(g.Nodes))
	for id, c := range count {
		dependents[id], backing = backing[:0:c], backing[c:]
	}
	for id, n := range g.Nodes {
		for _, in := range n.Inputs {
			dependents[in] = append(dependents[in], int32(id))
		}
	}
	return waiting, dependents
}

// A Need is a node that another one names, and what does: its root, tools, deps, runtime or contents, or its platform's emulator.
type Need struct {
	Kind string
	ID   int32
}

// Needs is what n names, in the order in which it is declared.
func (n *Node) Needs() []Need {
	var list []Need
	for _, e := range n.edges {
		if need := (Need{e.kind.String(), e.to}); !slices.Contains(list, need) {
			list = append(list, need)
		}
	}
	return list
}

// Declared is the graph as it is declared: an edge for each label that a node names.
// Vertices are labels. (Never the zero value of their type: the library's
// StronglyConnectedComponents loses a vertex that is.)
func (g *Graph) Declared() graph.Graph[string, string] {
	declared := graph.New(graph.StringHash, graph.Directed())
	for _, n := range g.Nodes {
		declared.AddVertex(n.Label, graph.VertexAttribute("shape", shape(n)))
	}
	for _, n := range g.Nodes {
		for _, e := range n.edges {
			declared.AddEdge(n.Label, g.Nodes[e.to].Label, graph.EdgeAttribute("style", edgeStyle(e.kind))) // a second edge between two nodes is an error, and no news
		}
	}
	return declared
}

func shape(n *Node) string {
	switch {
	case n.Step == nil:
		return "folder"
	case n.Step.Deliver != "":
		return "box3d"
	case n.Step.Builtin != "":
		return "cylinder"
	}
	return "box"
}

func edgeStyle(k edgeKind) string {
	switch k {
	case toolEdge, rootEdge, emulatorEdge:
		return "dashed"
	case runtimeEdge:
		return "dotted"
	}
	return "solid"
}

// WriteDOT writes the declared graph in Graphviz's language: solid edges are deps
// and contents, dashed ones what runs, dotted ones runtime.
func (g *Graph) WriteDOT(w io.Writer) error {
	return draw.DOT(g.Declared(), w, draw.GraphAttribute("rankdir", "LR"))
}

// checkCycles reports every cycle, with a path through it.
func (g *Graph) checkCycles() hcl.Diagnostics {
	if len(g.order()) == len(g.Nodes) {
		return nil
	}
	components, err := graph.StronglyConnectedComponents(g.Declared())
	if err != nil {
		panic(fmt.Sprintf("BUG: strongly connected components: %v", err))
	}
	ids := map[string]int32{}
	for id, n := range g.Nodes {
		ids[n.Label] = int32(id)
	}
	var diags hcl.Diagnostics
	for _, labels := range components {
		sort.Strings(labels)
		component := make([]int32, len(labels))
		for i, label := range labels {
			component[i] = ids[label]
		}
		if path := g.cycle(component); path != nil {
			var lines []string
			for i, e := range path {
				from := g.Nodes[path[(i+len(path)-1)%len(path)].to]
				lines = append(lines, fmt.Sprintf("%s: %s: %s %s", load.Pos(e.at), from.Label, e.kind, g.Nodes[e.to].Label))
			}
			d := load.Errorf(path[0].at, "dependency cycle of %d nodes", len(path))
			d.Detail = strings.Join(lines, "\n") + "\nRemove one of these edges, or build one of the nodes in an earlier stage (@stage)."
			diags = append(diags, d)
		}
	}
	return diags
}

// cycle is a shortest cycle through the first node of the component, or nil if it has none.
func (g *Graph) cycle(component []int32) []edge {
	start := component[0]
	type step struct {
		at   int32
		path []edge
	}
	queue := []step{{at: start}}
	seen := map[int32]bool{}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for _, e := range g.Nodes[s.at].edges {
			if !slices.Contains(component, e.to) {
				continue
			}
			path := append(slices.Clone(s.path), e)
			if e.to == start {
				return path
			}
			if !seen[e.to] {
				seen[e.to] = true
				queue = append(queue, step{e.to, path})
			}
		}
	}
	return nil
}

// Dependents is every node that needs id, directly or not, in the order of their ids.
func (g *Graph) Dependents(id int32) []int32 {
	_, dependents := g.degrees()
	seen := map[int32]bool{id: true}
	list := []int32{id}
	for i := 0; i < len(list); i++ {
		for _, d := range dependents[list[i]] {
			if !seen[d] {
				seen[d] = true
				list = append(list, d)
			}
		}
	}
	list = list[1:]
	slices.Sort(list)
	return list
}
