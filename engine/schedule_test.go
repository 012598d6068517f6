package engine

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"vfsb/engine/load"
)

// layered is a graph of n nodes in layers of about sqrt(n), like packages: each needs
// up to five nodes of earlier layers.
func layered(n int, seed uint64) *Graph {
	rng := rand.New(rand.NewPCG(seed, 1))
	width := max(1, intSqrt(n))
	g := &Graph{}
	for id := range n {
		node := &Node{ID: int32(id), Label: fmt.Sprintf("//n%d", id)}
		if first := id / width * width; first > 0 {
			seen := map[int32]bool{}
			for range 5 {
				in := int32(rng.IntN(first))
				if !seen[in] {
					seen[in] = true
					node.Inputs = append(node.Inputs, in)
				}
			}
		}
		g.Nodes = append(g.Nodes, node)
	}
	return g
}

func intSqrt(n int) int {
	i := 0
	for i*i < n {
		i++
	}
	return i
}

// fakeRunner checks the order in which the schedule runs nodes.
type fakeRunner struct {
	t         *testing.T
	g         *Graph
	mu        sync.Mutex
	done      map[int32]bool
	prepared  map[int32]bool
	running   int
	most      int
	asked     int // being asked for
	mostAsked int // of them at once
	cached    func(id int32) bool
	remote    func(id int32) bool
	fails     map[int32]bool
	failed    []int32
	skipped   map[int32]int32
	ran       []int32
	run       func(ctx context.Context, id int32) error

	busy map[int32]chan struct{} // nodes that another process executes until the channel is closed

	portable       func(id int32) bool
	away, mostAway int
	ranAway        []int32
}

func newFake(t *testing.T, g *Graph) *fakeRunner {
	return &fakeRunner{t: t, g: g, done: map[int32]bool{}, prepared: map[int32]bool{}, skipped: map[int32]int32{}, fails: map[int32]bool{}}
}

func (f *fakeRunner) inputsDone(id int32) {
	for _, in := range f.g.Nodes[id].Inputs {
		if !f.done[in] {
			f.t.Errorf("node %d was looked up before its input %d was done", id, in)
		}
	}
}

func (f *fakeRunner) Lookup(id int32) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inputsDone(id)
	if f.cached != nil && f.cached(id) {
		f.done[id] = true
		return true, nil
	}
	return false, nil
}

func (f *fakeRunner) Ask(ctx context.Context, id int32) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	f.mostAsked = max(f.mostAsked, f.asked)
	f.mu.Unlock()
	runtime.Gosched()
	f.mu.Lock()
	f.asked--
	if f.remote != nil && f.remote(id) {
		f.done[id] = true
		return true, nil
	}
	return false, nil
}

func (f *fakeRunner) Prepare(ctx context.Context, id int32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prepared[id] = true
	return nil
}

func (f *fakeRunner) Run(ctx context.Context, id int32) error {
	f.mu.Lock()
	if f.busy[id] != nil {
		f.mu.Unlock()
		return errBusy
	}
	if !f.prepared[id] {
		f.t.Errorf("node %d ran unprepared", id)
	}
	f.ran = append(f.ran, id)
	f.running++
	f.most = max(f.most, f.running)
	f.mu.Unlock()
	var err error
	if f.run != nil {
		err = f.run(ctx, id)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	if f.fails[id] {
		return errors.New("planned failure")
	}
	if err == nil {
		f.done[id] = true
	}
	return err
}

func (f *fakeRunner) Portable(id int32) bool { return f.portable(id) }

func (f *fakeRunner) RunElsewhere(ctx context.Context, id int32) error {
	f.mu.Lock()
	f.away++
	f.mostAway = max(f.mostAway, f.away)
	f.mu.Unlock()
	var err error
	if f.run != nil {
		err = f.run(ctx, id)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away--
	f.ranAway = append(f.ranAway, id)
	f.done[id] = true
	return err
}

func (f *fakeRunner) Await(ctx context.Context, id int32) error {
	f.mu.Lock()
	wait := f.busy[id]
	delete(f.busy, id)
	f.mu.Unlock()
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeRunner) Skip(id, cause int32)     { f.skipped[id] = cause }
func (f *fakeRunner) Fail(id int32, err error) { f.failed = append(f.failed, id) }

// TestScheduleAsks: what is not known is asked for, many at once, before anything of it is prepared.
func TestScheduleAsks(t *testing.T) {
	g := layered(10_000, 3)
	f := newFake(t, g)
	f.cached = func(id int32) bool { return id%3 == 0 }
	f.remote = func(id int32) bool { return id%3 == 1 }
	if err := schedule(context.Background(), g, make([]float64, len(g.Nodes)), limits{Jobs: 2, Asks: 16, Prepares: 4}, f); err != nil {
		t.Fatal(err)
	}
	if len(f.done) != len(g.Nodes) {
		t.Errorf("%d of %d nodes are done", len(f.done), len(g.Nodes))
	}
	for _, id := range f.ran {
		if id%3 != 2 {
			t.Errorf("node %d ran, whose result was known", id)
		}
	}
	if f.mostAsked < 2 || f.mostAsked > 16 {
		t.Errorf("%d nodes were asked for at once, want some, and no more than 16", f.mostAsked)
	}
}

// TestScheduleBusy: a node that another process executes takes no slot, and is looked up again when that has ended.
func TestScheduleBusy(t *testing.T) {
	g := &Graph{}
	for id := range 20 {
		g.Nodes = append(g.Nodes, &Node{ID: int32(id)})
	}
	f := newFake(t, g)
	wait := make(chan struct{})
	f.busy = map[int32]chan struct{}{0: wait, 1: wait}
	f.cached = func(id int32) bool { return id == 0 && f.busy[0] == nil } // the other process had its result, but failed with 1
	f.run = func(context.Context, int32) error {
		if len(f.ran) == 18 { // all others
			close(wait)
		}
		return nil
	}
	if err := schedule(context.Background(), g, make([]float64, 20), limits{Jobs: 1, Prepares: 4}, f); err != nil {
		t.Fatal(err)
	}
	if len(f.done) != 20 || len(f.ran) != 19 || f.ran[18] != 1 {
		t.Errorf("%d nodes are done, and ran: %v; want all but 0, and 1 last", len(f.done), f.ran)
	}
}

// TestScheduleBusyAndFailed: once a node has failed nobody waits for what another process executes.
func TestScheduleBusyAndFailed(t *testing.T) {
	g := &Graph{Nodes: []*Node{{ID: 0}, {ID: 1}}}
	f := newFake(t, g)
	f.busy = map[int32]chan struct{}{0: make(chan struct{})} // for ever
	f.fails[1] = true
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := schedule(ctx, g, []float64{1, 0}, limits{Jobs: 1, Prepares: 1}, f); !errors.Is(err, errFailed) {
		t.Errorf("error %v, want errFailed", err)
	}
	if len(f.failed) != 1 || f.failed[0] != 1 {
		t.Errorf("failed: %v, want 1 alone", f.failed)
	}
}

// TestScheduleElsewhere: what is portable runs elsewhere, as many at once as there is room for; in mixed mode here, too,
// while there is room. Nothing else is prepared.
func TestScheduleElsewhere(t *testing.T) {
	for _, mixed := range []bool{false, true} {
		g := &Graph{}
		for id := range 100 {
			g.Nodes = append(g.Nodes, &Node{ID: int32(id)})
		}
		f := newFake(t, g)
		f.portable = func(id int32) bool { return id != 0 }
		f.run = func(context.Context, int32) error { time.Sleep(time.Millisecond); return nil }
		l := limits{Jobs: 2, Prepares: 4, Elsewhere: 6, Mixed: mixed}
		if err := schedule(context.Background(), g, make([]float64, len(g.Nodes)), l, f); err != nil {
			t.Fatal(err)
		}
		here := 0
		for _, id := range f.ran {
			if f.portable(id) {
				here++
			}
		}
		for _, id := range f.ranAway {
			if !f.portable(id) {
				t.Errorf("mixed %v: node %d ran elsewhere, which it cannot", mixed, id)
			}
		}
		if len(f.ran)+len(f.ranAway) != len(g.Nodes) || mixed != (here > 0) {
			t.Errorf("mixed %v: %d nodes ran here, %d of them portable, and %d elsewhere, of %d", mixed, len(f.ran), here, len(f.ranAway), len(g.Nodes))
		}
		if f.most > 2 || f.mostAway > 6 || f.mostAway < 3 {
			t.Errorf("mixed %v: at most %d ran here and %d elsewhere at once; 2 and 6 are allowed", mixed, f.most, f.mostAway)
		}
	}
}

func TestSchedule100000Nodes(t *testing.T) {
	g := layered(100_000, 7)
	f := newFake(t, g)
	began := time.Now()
	if err := schedule(context.Background(), g, make([]float64, len(g.Nodes)), limits{Jobs: 8, Prepares: 4}, f); err != nil {
		t.Fatal(err)
	}
	if len(f.done) != len(g.Nodes) || len(f.ran) != len(g.Nodes) {
		t.Errorf("%d nodes done and %d run, of %d", len(f.done), len(f.ran), len(g.Nodes))
	}
	if f.most > 8 {
		t.Errorf("%d nodes ran at once; 8 are allowed", f.most)
	}
	t.Logf("%d nodes in %s, %.1f µs a node", len(g.Nodes), time.Since(began), float64(time.Since(began).Microseconds())/float64(len(g.Nodes)))
}

func TestScheduleNothingToDo100000Nodes(t *testing.T) {
	g := layered(100_000, 8)
	f := newFake(t, g)
	f.cached = func(int32) bool { return true }
	if err := schedule(context.Background(), g, make([]float64, len(g.Nodes)), limits{Jobs: 2, Prepares: 2}, f); err != nil {
		t.Fatal(err)
	}
	if len(f.ran) != 0 || len(f.done) != len(g.Nodes) {
		t.Errorf("%d nodes ran and %d are done; none and %d are wanted", len(f.ran), len(f.done), len(g.Nodes))
	}
}

// TestScheduleJobs: as many nodes run at once as there are jobs, and never more.
func TestScheduleJobs(t *testing.T) {
	g := &Graph{}
	for id := range 60 {
		g.Nodes = append(g.Nodes, &Node{ID: int32(id)})
	}
	f := newFake(t, g)
	f.run = func(context.Context, int32) error {
		time.Sleep(2 * time.Millisecond)
		return nil
	}
	if err := schedule(context.Background(), g, make([]float64, 60), limits{Jobs: 4, Prepares: 8}, f); err != nil {
		t.Fatal(err)
	}
	if f.most != 4 {
		t.Errorf("at most %d nodes ran at once; 4 are wanted", f.most)
	}
}

// TestScheduleLongestPathFirst simulates time. A chain of ten long nodes, declared
// after a hundred short ones, must begin at once: with two jobs the chain's length is
// the whole time, and the order of declaration takes half as long again.
func TestScheduleLongestPathFirst(t *testing.T) {
	g := &Graph{}
	var weights []float64
	for id := range 110 {
		n := &Node{ID: int32(id)}
		weight := 1.0
		if id >= 100 {
			weight = 10
		}
		if id > 100 {
			n.Inputs = []int32{int32(id - 1)}
		}
		g.Nodes = append(g.Nodes, n)
		weights = append(weights, weight)
	}
	got := simulate(g, weights, priorities(g, weights), 2)
	declared := simulate(g, weights, make([]float64, len(weights)), 2)
	if got != 100 || declared != 150 {
		t.Errorf("longest path first takes %.0f s, want 100; the order of declaration %.0f s, want 150", got, declared)
	}
}

// TestScheduleNearTheBound: on a graph like that of a distribution, the simulated time
// is near max(critical path, work/jobs).
func TestScheduleNearTheBound(t *testing.T) {
	const jobs = 16
	g := layered(100_000, 3)
	rng := rand.New(rand.NewPCG(5, 5))
	weights := make([]float64, len(g.Nodes))
	work, critical := 0.0, 0.0
	for i := range weights {
		weights[i] = 1 + 100*rng.Float64()*rng.Float64()*rng.Float64()
		work += weights[i]
	}
	p := priorities(g, weights)
	for _, x := range p {
		critical = max(critical, x)
	}
	bound := max(critical, work/jobs)
	got := simulate(g, weights, p, jobs)
	t.Logf("bound %.0f s (critical path %.0f s), longest path first %.0f s", bound, critical, got)
	if got > 1.05*bound {
		t.Errorf("longest path first takes %.0f s; the bound is %.0f s", got, bound)
	}
}

// simulate is the makespan of list scheduling with the given priorities.
func simulate(g *Graph, weights, priority []float64, jobs int) float64 {
	waiting, dependents := g.degrees()
	ready := &queue{priority: priority}
	for id, n := range waiting {
		if n == 0 {
			ready.push(int32(id))
		}
	}
	// The nodes that run are a heap by the time at which they end.
	ends := make([]float64, len(g.Nodes))
	running := &queue{priority: ends} // negative times: the earliest first
	now := 0.0
	for ready.Len() > 0 || running.Len() > 0 {
		for running.Len() < jobs && ready.Len() > 0 {
			id := ready.pop()
			ends[id] = -(now + weights[id])
			running.push(id)
		}
		id := heap.Pop(running).(int32)
		now = -ends[id]
		for _, d := range dependents[id] {
			if waiting[d]--; waiting[d] == 0 {
				ready.push(d)
			}
		}
	}
	return now
}

func chain(n int) *Graph {
	g := &Graph{}
	for id := range n {
		node := &Node{ID: int32(id)}
		if id > 0 {
			node.Inputs = []int32{int32(id - 1)}
		}
		g.Nodes = append(g.Nodes, node)
	}
	return g
}

func TestScheduleFailureStops(t *testing.T) {
	g := chain(5)
	f := newFake(t, g)
	f.fails[2] = true
	err := schedule(context.Background(), g, make([]float64, 5), limits{Jobs: 2, Prepares: 1}, f)
	if !errors.Is(err, errFailed) {
		t.Errorf("error %v, want errFailed", err)
	}
	if len(f.skipped) != 2 || f.skipped[3] != 2 || f.skipped[4] != 2 {
		t.Errorf("skipped %v, want 3 and 4 because of 2", f.skipped)
	}
}

func TestScheduleKeepGoing(t *testing.T) {
	g := layered(500, 9)
	f := newFake(t, g)
	f.fails[30] = true
	err := schedule(context.Background(), g, make([]float64, 500), limits{Jobs: 4, Prepares: 4, KeepGoing: true}, f)
	if !errors.Is(err, errFailed) {
		t.Errorf("error %v, want errFailed", err)
	}
	needs := map[int32]bool{}
	for _, id := range g.Dependents(30) {
		needs[id] = true
	}
	if len(needs) == 0 {
		t.Fatal("node 30 has no dependents: the test shows nothing")
	}
	for id := range int32(500) {
		_, skipped := f.skipped[id]
		if skipped != needs[id] {
			t.Errorf("node %d: skipped is %v, want %v", id, skipped, needs[id])
		}
		if !skipped && id != 30 && !f.done[id] {
			t.Errorf("node %d was neither skipped nor done", id)
		}
	}
}

func TestScheduleCancel(t *testing.T) {
	g := layered(200, 2)
	f := newFake(t, g)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	f.run = func(ctx context.Context, id int32) error {
		if id == 20 {
			cancel(why)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	if err := schedule(ctx, g, make([]float64, 200), limits{Jobs: 3, Prepares: 3}, f); !errors.Is(err, why) {
		t.Errorf("error %v, want the cause of the cancellation", err)
	}
	if f.running != 0 {
		t.Errorf("%d workers are still running", f.running)
	}
	if len(f.failed) != 0 {
		t.Errorf("nodes %v are reported as failed; they were cancelled", f.failed)
	}
}

func TestCyclesAreAllReported(t *testing.T) {
	// 0 <-> 1, 2 -> 3 -> 4 -> 2, 5 -> 5, 6 -> 0, and 7 <-> 8, where 8 is a group
	g := &Graph{}
	for id := range 9 {
		g.Nodes = append(g.Nodes, &Node{ID: int32(id), Label: fmt.Sprintf("//n%d", id), Step: &Step{}, Config: load.Config{Stage: &load.Stage{}}})
	}
	g.Nodes[8].Step = nil
	g.Nodes[8].edges = []edge{{kind: contentEdge, to: 7}}
	for _, e := range [][2]int32{{0, 1}, {1, 0}, {2, 3}, {3, 4}, {4, 2}, {5, 5}, {6, 0}, {7, 8}} {
		g.Nodes[e[0]].edges = append(g.Nodes[e[0]].edges, edge{kind: depEdge, to: e[1]})
	}
	g.close()
	diags := g.checkCycles()
	sizes := map[string]int{}
	for _, d := range diags {
		sizes[d.Summary]++
	}
	want := map[string]int{"dependency cycle of 2 nodes": 2, "dependency cycle of 3 nodes": 1, "dependency cycle of 1 nodes": 1}
	if fmt.Sprint(sizes) != fmt.Sprint(want) {
		t.Errorf("cycles %v, want %v", sizes, want)
	}
}
