package engine

import (
	"cmp"
	"slices"
)

// LongestPath is the path through g whose nodes' seconds add up to the most, in the order in which its nodes run: the
// part of a build that more jobs cannot shorten. Of paths that take the same, it is one with more nodes.
func (g *Graph) LongestPath(seconds []float64) []int32 {
	const tie = 1e-6
	weights := make([]float64, len(seconds))
	for id, s := range seconds {
		weights[id] = s + tie
	}
	rest := priorities(g, weights)
	_, next := g.degrees()
	var path []int32
	for from := g.order(); len(from) > 0; from = next[path[len(path)-1]] {
		path = append(path, slices.MaxFunc(from, func(a, b int32) int { return cmp.Compare(rest[a], rest[b]) }))
	}
	return path
}

// Makespan is how many seconds a schedule of at most jobs nodes at once takes, if each node takes the given seconds. A
// node that takes none waits for its inputs only. Those of running have begun: they keep their slots.
func (g *Graph) Makespan(seconds []float64, running []int32, jobs int) float64 {
	waiting, dependents := g.degrees()
	runnable := queue{priority: priorities(g, seconds)}
	due := queue{priority: make([]float64, len(g.Nodes))} // what runs, by the time of its end, negated
	now := 0.0
	start := func(id int32) {
		due.priority[id] = -(now + seconds[id])
		due.push(id)
	}
	begun := make([]bool, len(g.Nodes))
	for _, id := range running {
		if seconds[id] > 0 {
			begun[id] = true
			start(id)
		}
	}
	var ready []int32 // a stack
	for id, n := range waiting {
		if n == 0 {
			ready = append(ready, int32(id))
		}
	}
	finish := func(id int32) {
		for _, d := range dependents[id] {
			if waiting[d]--; waiting[d] == 0 {
				ready = append(ready, d)
			}
		}
	}
	for {
		for len(ready) > 0 {
			id := ready[len(ready)-1]
			ready = ready[:len(ready)-1]
			switch {
			case begun[id]:
			case seconds[id] > 0:
				runnable.push(id)
			default:
				finish(id)
			}
		}
		for due.Len() < jobs && runnable.Len() > 0 {
			start(runnable.pop())
		}
		if due.Len() == 0 {
			return now
		}
		id := due.pop()
		now = -due.priority[id]
		finish(id)
	}
}
