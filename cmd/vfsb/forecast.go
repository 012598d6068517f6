package main

import (
	"runtime"
	"strings"
	"time"

	"vfsb/engine"
)

// A forecast tells how long a build still takes, from how long its nodes took the last time: it plays the rest of the
// build, with as many nodes at once as there are jobs and in the order of the schedule.
//
// It is what the store knows, no promise: a node that waits for one that runs counts in full, though it may turn out
// to need no execution, and nodes that share the processors' cores slow each other down.
type forecast struct {
	graph *engine.Graph
	jobs  int
	took  []float64           // seconds of each node the last time; 0: not known
	done  []bool              // by node
	begun map[int32]time.Time // what runs

	rest   rest
	played time.Time        // when rest was found out
	pause  time.Duration    // how long it is good for: a play of many nodes takes a while
	clock  func() time.Time // for pause
}

// A rest is how long the rest of a build takes.
type rest struct {
	seconds float64
	unknown bool // something that is left was never built, or takes longer than it did
}

// newForecast is for a build of g; took is how long nodes took the last time, by label.
func newForecast(g *engine.Graph, took map[string]float64, jobs int) *forecast {
	if jobs <= 0 {
		jobs = runtime.NumCPU() // as the engine
	}
	f := &forecast{graph: g, jobs: jobs, took: make([]float64, len(g.Nodes)), done: make([]bool, len(g.Nodes)), begun: map[int32]time.Time{}, clock: time.Now}
	for id, n := range g.Nodes {
		f.took[id] = took[n.Label]
	}
	return f
}

func (f *forecast) event(ev engine.Event) {
	for id, chosen := range ev.Chosen {
		f.done[id] = !chosen
	}
	n := f.graph.Find(ev.Label)
	if n == nil {
		return
	}
	switch ev.Event {
	case engine.EventRunning:
		f.begun[n.ID] = ev.Time
	case engine.EventStopped: // it is about to be finished
		delete(f.begun, n.ID)
		f.done[n.ID] = true
	case engine.EventFinished:
		f.done[n.ID] = ev.Status != engine.Planned // by a dry run: it is left
	}
}

// left says how long the rest takes; nothing if nothing is left, or if it knows nothing.
func (f *forecast) left(now time.Time) string {
	if now.Sub(f.played) >= f.pause {
		began := f.clock()
		f.played, f.rest = now, f.play(now)
		f.pause = 20 * f.clock().Sub(began)
	}
	switch {
	case f.rest.seconds == 0:
		return ""
	case f.rest.unknown:
		return "at least " + roughly(f.rest.seconds)
	}
	return "~" + roughly(f.rest.seconds)
}

func (f *forecast) play(now time.Time) rest {
	var r rest
	var running []int32
	left := make([]float64, len(f.took))
	for id, n := range f.graph.Nodes {
		if f.done[id] || n.Step == nil {
			continue
		}
		left[id] = f.took[id]
		if begun, ok := f.begun[int32(id)]; ok {
			running = append(running, int32(id))
			left[id] = max(0, left[id]-now.Sub(begun).Seconds())
		}
		r.unknown = r.unknown || left[id] == 0
	}
	r.seconds = f.graph.Makespan(left, running, f.jobs)
	return r
}

// expects says how long a node took the last time.
func (f *forecast) expects(label string) string {
	if n := f.graph.Find(label); n != nil && f.took[n.ID] > 0 {
		return "~" + roughly(f.took[n.ID])
	}
	return ""
}

// roughly rounds seconds to what a guess can mean.
func roughly(s float64) string {
	d := time.Duration(s * float64(time.Second))
	step := 5 * time.Minute
	switch {
	case d < 10*time.Second:
		step = time.Second
	case d < time.Minute:
		step = 5 * time.Second
	case d < 10*time.Minute:
		step = 30 * time.Second
	case d < time.Hour:
		step = time.Minute
	}
	text := max(d, time.Second).Round(step).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
