package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// needing is a graph in which node i needs the nodes of inputs[i].
func needing(inputs ...[]int32) *Graph {
	g := &Graph{}
	for id, in := range inputs {
		g.Nodes = append(g.Nodes, &Node{ID: int32(id), Label: fmt.Sprintf("//n%d", id), Inputs: in})
	}
	return g
}

func TestLongestPath(t *testing.T) {
	diamond := needing(nil, []int32{0}, []int32{0}, []int32{1, 2}, []int32{0, 3})
	for _, c := range []struct {
		seconds []float64
		want    []int32
	}{
		{[]float64{1, 5, 2, 1, 1}, []int32{0, 1, 3, 4}},
		{[]float64{1, 2, 5, 1, 1}, []int32{0, 2, 3, 4}},
		{[]float64{1, 0, 0, 0, 1}, []int32{0, 1, 3, 4}}, // not straight from 0 to 4
		{[]float64{0, 0, 0, 0, 0}, []int32{0, 1, 3, 4}},
	} {
		if got := diamond.LongestPath(c.seconds); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v: %v, want %v", c.seconds, got, c.want)
		}
	}
	if got := needing(nil, []int32{0, 2}, []int32{0}).LongestPath(make([]float64, 3)); fmt.Sprint(got) != "[0 2 1]" {
		t.Errorf("%v is not the path with most nodes", got)
	}
	if got := needing().LongestPath(nil); len(got) != 0 {
		t.Errorf("a path %v through nothing", got)
	}
}

func TestMakespan(t *testing.T) {
	wide := needing(nil, nil, nil, nil)
	serial := needing(nil, []int32{0}, []int32{1}, []int32{2})
	fan := needing(nil, []int32{0}, []int32{0}, []int32{0}, []int32{1, 2, 3})
	for _, c := range []struct {
		name    string
		g       *Graph
		seconds []float64
		running []int32
		jobs    int
		want    float64
	}{
		{"nothing", needing(), nil, nil, 2, 0},
		{"four at once", wide, []float64{5, 5, 5, 5}, nil, 4, 5},
		{"two by two", wide, []float64{5, 5, 5, 5}, nil, 2, 10},
		{"the longest first", wide, []float64{2, 2, 2, 6}, nil, 2, 6},
		{"one after the other", serial, []float64{1, 2, 3, 4}, nil, 8, 10},
		{"first one, then many", fan, []float64{30, 10, 10, 10, 1}, nil, 2, 51}, // more than the path (41) and than half of all (30.5)
		{"what is done takes no slot", fan, []float64{0, 10, 10, 10, 0}, nil, 3, 10},
		{"the whole is done", fan, make([]float64, 5), nil, 1, 0},
		{"nothing runs yet", needing(nil, nil, nil), []float64{3, 3, 6}, nil, 2, 6},
		{"what runs does not give way", needing(nil, nil, nil), []float64{3, 3, 6}, []int32{0, 1}, 2, 9},
		{"what runs is not run again", needing(nil, nil, nil), []float64{3, 3, 6}, []int32{0, 1}, 1, 9},
	} {
		if got := c.g.Makespan(c.seconds, c.running, c.jobs); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestMakespanBounds: no schedule is shorter than the longest path or than the work over the slots, and none that
// leaves no slot idle without need is longer than both together.
func TestMakespanBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for seed := range uint64(50) {
		g := layered(200, seed)
		seconds := make([]float64, len(g.Nodes))
		total := 0.0
		for id := range seconds {
			seconds[id] = float64(rng.IntN(100))
			total += seconds[id]
		}
		path := 0.0
		for _, id := range g.LongestPath(seconds) {
			path += seconds[id]
		}
		jobs := 1 + rng.IntN(16)
		got, work := g.Makespan(seconds, nil, jobs), total/float64(jobs)
		if got < max(path, work)-1e-6 || got > path+work+1e-6 {
			t.Errorf("graph %d with %d jobs: %v, path %v, work %v", seed, jobs, got, path, work)
		}
	}
}
