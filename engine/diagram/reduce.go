package diagram

import (
	"cmp"
	"math/big"
	"slices"
)

// A link is an edge that is drawn, downward: from low, which lies above, to high. It is
// backward if low needs high.
type link struct {
	Edge
	low, high int // positions in the order of the nodes
	backward  bool
}

// sorted lists the nodes so that each comes after those that it needs. Edges of kind Runtime are respected where they
// can be.
func (g *Graph) sorted() []int {
	strict, loose := make([]int, len(g.Nodes)), make([]int, len(g.Nodes))
	needed := make([][]Edge, len(g.Nodes))
	for _, e := range g.Edges {
		needed[e.To] = append(needed[e.To], e)
		if e.Kind == Runtime {
			loose[e.From]++
		} else {
			strict[e.From]++
		}
	}
	var order, ready []int // ready have all but, perhaps, some of what they need at run time
	for id := range g.Nodes {
		if strict[id] == 0 {
			ready = append(ready, id)
		}
	}
	for len(ready) > 0 {
		at := max(0, slices.IndexFunc(ready, func(id int) bool { return loose[id] == 0 }))
		id := ready[at]
		ready = slices.Delete(ready, at, at+1)
		order = append(order, id)
		for _, e := range needed[id] {
			if e.Kind == Runtime {
				loose[e.From]--
			} else if strict[e.From]--; strict[e.From] == 0 {
				ready = append(ready, e.From)
			}
		}
	}
	return order
}

// links is what is drawn: an edge for each pair of nodes, without those that a longer path implies. Edges of kind
// Runtime say nothing about the others and are all drawn, as are critical ones.
func (g *Graph) links(order []int) []link {
	position := make([]int, len(g.Nodes))
	for i, id := range order {
		position[id] = i
	}
	var all []link
	for _, e := range g.Edges {
		l := link{Edge: e, low: position[e.To], high: position[e.From]}
		if l.low > l.high {
			l.low, l.high, l.backward = l.high, l.low, true
		}
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(a, b link) int {
		return cmp.Or(cmp.Compare(a.high, b.high), cmp.Compare(b.low, a.low), cmp.Compare(a.Kind, b.Kind))
	})
	all = slices.CompactFunc(all, func(a, b link) bool { return a.low == b.low && a.high == b.high })

	// Of what a node needs, the nearest comes first, so that a path through it is known when the others are looked at.
	before := make([]big.Int, len(order)) // sets of positions
	var drawn []link
	for _, l := range all {
		known := &before[l.high]
		if l.Kind == Runtime || l.Critical || known.Bit(l.low) == 0 {
			drawn = append(drawn, l)
		}
		if l.Kind != Runtime {
			known.Or(known.SetBit(known, l.low, 1), &before[l.low])
		}
	}
	return drawn
}
