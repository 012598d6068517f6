package engine

import (
	"container/heap"
	"context"
	"errors"
)

// runner does the work of a schedule. Lookup is called by the goroutine that owns
// the schedule; Ask, Prepare and Run by workers, for different nodes at once.
type runner interface {
	// Lookup decides whether the node's result is known.
	Lookup(id int32) (done bool, err error)
	// Ask decides it where Lookup did not, and may take its time. It is called where limits.Asks is set.
	Ask(ctx context.Context, id int32) (done bool, err error)
	// Prepare brings in what Run needs from outside.
	Prepare(ctx context.Context, id int32) error
	// Run executes the node. If it returns errBusy, Await is called, and then the node is looked up again.
	Run(ctx context.Context, id int32) error
	// Portable reports whether RunElsewhere can execute the node. It is called where limits.Elsewhere is set.
	Portable(id int32) bool
	// RunElsewhere executes the node, which was not prepared, on another machine.
	RunElsewhere(ctx context.Context, id int32) error
	// Await waits for who executes the node in another process. Any number of nodes may be waited for.
	Await(ctx context.Context, id int32) error
	// Skip is told of a node that is not run since cause failed.
	Skip(id, cause int32)
	// Fail is told why a node failed.
	Fail(id int32, err error)
}

// limits bound a schedule.
type limits struct {
	Jobs      int  // nodes that run at once
	Asks      int  // nodes that are asked for at once; 0: none is
	Prepares  int  // nodes that are prepared at once
	Elsewhere int  // nodes that run on other machines at once; 0: none does
	Mixed     bool // what could run on other machines runs here, too, while there is nothing else to run here
	KeepGoing bool
}

// errBusy is returned by a runner's Run and RunElsewhere when another process executes the node.
var errBusy = errors.New("another process executes it")

// errFailed is returned by schedule when at least one node failed.
var errFailed = errors.New("build failed")

// A state is where a node stands. Only the goroutine that runs schedule changes one.
type state byte

const (
	stateWaiting state = iota // an input is not done
	stateReady                // all inputs are done; to be looked up
	stateUnknown              // to be asked for
	stateUnready              // to be prepared
	stateQueued               // to be run
	stateAway                 // to be run on another machine
	stateActive               // a worker has it
	stateDone                 // its result is known
	stateFailed               // it failed, or something that it needs did
)

// schedule runs every node of g after its inputs, those with the longest remaining
// path (weights in seconds) first. One goroutine, the caller's, owns the states;
// workers execute and report. It returns errFailed, or the context's error, when all
// workers have ended.
func schedule(ctx context.Context, g *Graph, weights []float64, l limits, r runner) error {
	s := &scheduler{graph: g, runner: r, limits: l, priority: priorities(g, weights), states: make([]state, len(g.Nodes))}
	s.waiting, s.dependents = g.degrees()
	for _, q := range []*queue{&s.ready, &s.unknown, &s.unprepared, &s.runnable, &s.away} {
		q.priority = s.priority
	}
	for id := range g.Nodes {
		if s.waiting[id] == 0 {
			s.enter(int32(id), stateReady)
		}
	}
	return s.loop(ctx)
}

type scheduler struct {
	graph      *Graph
	runner     runner
	limits     limits
	priority   []float64
	states     []state
	waiting    []int32
	dependents [][]int32
	failed     bool

	ready, unknown, unprepared, runnable, away queue
	asking, preparing, running, abroad         int
	awaiting                                   int
}

type report struct {
	id   int32
	next state // where the node goes
	from *int  // the count of those that do the same
	err  error
}

func (s *scheduler) loop(ctx context.Context) error {
	reports := make(chan report)
	done := ctx.Done()
	waiting, forget := context.WithCancel(ctx) // for what other processes execute
	defer forget()
	for {
		stopping := ctx.Err() != nil || (s.failed && !s.limits.KeepGoing)
		if !stopping {
			s.lookups()
			stopping = s.failed && !s.limits.KeepGoing
		}
		if stopping {
			forget()
		}
		for !stopping && s.asking < s.limits.Asks && s.unknown.Len() > 0 {
			s.start(ctx, s.unknown.pop(), &s.asking, s.ask, reports)
		}
		for !stopping && s.abroad < s.limits.Elsewhere && s.away.Len() > 0 {
			s.start(ctx, s.away.pop(), &s.abroad, s.runElsewhere, reports)
		}
		for !stopping && s.limits.Mixed && s.away.Len() > 0 && s.unprepared.Len()+s.preparing+s.runnable.Len()+s.running < s.limits.Jobs {
			s.enter(s.away.pop(), stateUnready)
		}
		for !stopping && s.preparing < s.limits.Prepares && s.unprepared.Len() > 0 {
			s.start(ctx, s.unprepared.pop(), &s.preparing, s.prepare, reports)
		}
		for !stopping && s.running < s.limits.Jobs && s.runnable.Len() > 0 {
			s.start(ctx, s.runnable.pop(), &s.running, s.run, reports)
		}
		if s.asking+s.preparing+s.running+s.abroad+s.awaiting == 0 {
			break
		}
		select {
		case rep := <-reports:
			if *rep.from--; rep.err == errBusy { // without a slot: other nodes can run meanwhile
				s.start(waiting, rep.id, &s.awaiting, s.await, reports)
				continue
			}
			if rep.from == &s.awaiting && waiting.Err() != nil {
				continue
			}
			s.handle(ctx, rep)
		case <-done:
			done = nil // the workers see it too: wait for them
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if s.failed {
		return errFailed
	}
	return nil
}

// lookups settles every ready node: its result is known, or it must be asked for or prepared.
func (s *scheduler) lookups() {
	for s.ready.Len() > 0 {
		id := s.ready.pop()
		done, err := s.runner.Lookup(id)
		switch {
		case err != nil:
			s.fail(id, err)
			if !s.limits.KeepGoing {
				return
			}
		case done:
			s.finish(id)
		case s.limits.Asks > 0:
			s.enter(id, stateUnknown)
		default:
			s.enter(id, s.todo(id))
		}
	}
}

// todo is where a node goes whose result is not known.
func (s *scheduler) todo(id int32) state {
	if s.limits.Elsewhere > 0 && s.runner.Portable(id) {
		return stateAway
	}
	return stateUnready
}

func (s *scheduler) ask(ctx context.Context, id int32) (state, error) {
	done, err := s.runner.Ask(ctx, id)
	if done {
		return stateDone, err
	}
	return s.todo(id), err
}

func (s *scheduler) prepare(ctx context.Context, id int32) (state, error) {
	return stateQueued, s.runner.Prepare(ctx, id)
}

func (s *scheduler) run(ctx context.Context, id int32) (state, error) {
	return stateDone, s.runner.Run(ctx, id)
}

func (s *scheduler) runElsewhere(ctx context.Context, id int32) (state, error) {
	return stateDone, s.runner.RunElsewhere(ctx, id)
}

func (s *scheduler) await(ctx context.Context, id int32) (state, error) {
	return stateReady, s.runner.Await(ctx, id)
}

func (s *scheduler) start(ctx context.Context, id int32, count *int, work func(context.Context, int32) (state, error), reports chan<- report) {
	s.states[id] = stateActive
	*count++
	go func() {
		next, err := work(ctx, id)
		reports <- report{id, next, count, err}
	}()
}

func (s *scheduler) handle(ctx context.Context, rep report) {
	switch {
	case rep.err != nil && ctx.Err() != nil: // cancelled, not failed
	case rep.err != nil:
		s.fail(rep.id, rep.err)
	case rep.next == stateDone:
		s.finish(rep.id)
	default:
		s.enter(rep.id, rep.next)
	}
}

// enter puts a node into the queue of its new state.
func (s *scheduler) enter(id int32, to state) {
	s.states[id] = to
	switch to {
	case stateReady:
		s.ready.push(id)
	case stateUnknown:
		s.unknown.push(id)
	case stateUnready:
		s.unprepared.push(id)
	case stateQueued:
		s.runnable.push(id)
	case stateAway:
		s.away.push(id)
	}
}

func (s *scheduler) finish(id int32) {
	s.states[id] = stateDone
	for _, d := range s.dependents[id] {
		if s.waiting[d]--; s.waiting[d] == 0 && s.states[d] == stateWaiting {
			s.enter(d, stateReady)
		}
	}
}

// fail marks the node and everything that needs it.
func (s *scheduler) fail(id int32, err error) {
	s.failed = true
	s.states[id] = stateFailed
	s.runner.Fail(id, err)
	stack := []int32{id}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, d := range s.dependents[at] {
			if s.states[d] == stateWaiting {
				s.states[d] = stateFailed
				s.runner.Skip(d, id)
				stack = append(stack, d)
			}
		}
	}
}

// priorities is, for each node, the seconds of the longest path from its start to
// the end of the build.
func priorities(g *Graph, weights []float64) []float64 {
	p := make([]float64, len(g.Nodes))
	order := g.order()
	for i := len(order) - 1; i >= 0; i-- {
		id := order[i]
		p[id] += weights[id]
		for _, in := range g.Nodes[id].Inputs {
			p[in] = max(p[in], p[id])
		}
	}
	return p
}

// A queue is a heap of nodes, the highest priority first, then the lowest id.
type queue struct {
	ids      []int32
	priority []float64
}

func (q *queue) push(id int32) { heap.Push(q, id) }
func (q *queue) pop() int32    { return heap.Pop(q).(int32) }

func (q *queue) Len() int      { return len(q.ids) }
func (q *queue) Swap(i, j int) { q.ids[i], q.ids[j] = q.ids[j], q.ids[i] }
func (q *queue) Less(i, j int) bool {
	a, b := q.ids[i], q.ids[j]
	if q.priority[a] != q.priority[b] {
		return q.priority[a] > q.priority[b]
	}
	return a < b
}
func (q *queue) Push(x any) { q.ids = append(q.ids, x.(int32)) }
func (q *queue) Pop() any {
	x := q.ids[len(q.ids)-1]
	q.ids = q.ids[:len(q.ids)-1]
	return x
}
