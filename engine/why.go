package engine

import (
	"container/heap"
	"slices"

	"vfsb/engine/load"
)

// A Hop is two nodes of which one names the other, and how: most often one edge.
type Hop struct {
	From, To string // labels
	Edges    []HopEdge
}

// A HopEdge is one declaration of a Hop.
type HopEdge struct {
	Kind string // root, tools, deps, runtime or contents
	At   string // file:line
}

// maxSteps bounds the search of Paths where circles of runtime edges lead it astray.
const maxSteps = 1 << 20

// Paths lists the simple paths of the declared graph from a node to the first of the nodes to, the shortest first: most
// of them at most. more reports that there may be others.
//
// It is a best-first search that knows how far each node is from to, so every step lies on a path that it will list:
// the work is that of the paths listed, however many there are.
func (g *Graph) Paths(from int32, to []int32, most int) (paths [][]Hop, more bool) {
	far := g.distances(to)
	if far[from] < 0 {
		return nil, false
	}
	q := &trails{{at: from, length: far[from]}}
	count := 0
	for steps := 0; q.Len() > 0; steps++ {
		if len(paths) == most || steps == maxSteps {
			return paths, true
		}
		t := heap.Pop(q).(*trail)
		if far[t.at] == 0 {
			paths = append(paths, g.hops(t))
			continue
		}
		for _, next := range g.successors(t.at) {
			if far[next] >= 0 && !t.holds(next) {
				count++
				heap.Push(q, &trail{at: next, before: t, done: t.done + 1, length: t.done + 1 + far[next], count: count})
			}
		}
	}
	return paths, false
}

// Match lists the nodes that a label means; one without stage or platform means those of any.
func (g *Graph) Match(l load.Label) (list []int32) {
	for _, n := range g.Nodes {
		got := n.Config.Label()
		if l.Stage == "" {
			got.Stage = ""
		}
		if l.Platform == "" {
			got.Platform = ""
		}
		if got == l {
			list = append(list, n.ID)
		}
	}
	return list
}

// distances is, by node, the number of edges of a shortest path to one of to, or -1.
func (g *Graph) distances(to []int32) []int {
	sources := make([][]int32, len(g.Nodes))
	for id, n := range g.Nodes {
		for _, e := range n.edges {
			sources[e.to] = append(sources[e.to], int32(id))
		}
	}
	far := slices.Repeat([]int{-1}, len(g.Nodes))
	for _, id := range to {
		far[id] = 0
	}
	for list := slices.Clone(to); len(list) > 0; list = list[1:] {
		for _, id := range sources[list[0]] {
			if far[id] < 0 {
				far[id] = far[list[0]] + 1
				list = append(list, id)
			}
		}
	}
	return far
}

// successors is the nodes that a node names, each once, in the order of declaration.
func (g *Graph) successors(id int32) (list []int32) {
	for _, e := range g.Nodes[id].edges {
		if !slices.Contains(list, e.to) {
			list = append(list, e.to)
		}
	}
	return list
}

// hops turns a trail into a path.
func (g *Graph) hops(t *trail) []Hop {
	hops := make([]Hop, t.done)
	for ; t.before != nil; t = t.before {
		from := g.Nodes[t.before.at]
		h := Hop{From: from.Label, To: g.Nodes[t.at].Label}
		for _, e := range from.edges {
			if e.to == t.at {
				h.Edges = append(h.Edges, HopEdge{e.kind.String(), load.Pos(e.at)})
			}
		}
		hops[t.done-1] = h
	}
	return hops
}

// A trail is the beginning of a path, from its end back.
type trail struct {
	at     int32
	before *trail
	done   int // edges so far
	length int // edges of the shortest path that begins so
	count  int // trails before it
}

func (t *trail) holds(id int32) bool {
	for ; t != nil; t = t.before {
		if t.at == id {
			return true
		}
	}
	return false
}

// trails is a heap: the shortest paths come first, and of several the one that is nearest to its end, so that the
// search finishes one before it looks at all; then the one that is declared first.
type trails []*trail

func (q trails) Len() int      { return len(q) }
func (q trails) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q trails) Less(i, j int) bool {
	if q[i].length != q[j].length {
		return q[i].length < q[j].length
	}
	if q[i].done != q[j].done {
		return q[i].done > q[j].done
	}
	return q[i].count < q[j].count
}
func (q *trails) Push(x any) { *q = append(*q, x.(*trail)) }
func (q *trails) Pop() any {
	t := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return t
}
