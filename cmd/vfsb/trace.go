package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"vfsb/engine"
)

// A trace collects a build's events as slices of time for Perfetto (ui.perfetto.dev) and Chrome (about:tracing): a track
// for each job, with the phases of each node below it, one for each download, and one with the longest path.
type trace struct {
	file  string
	title string
	graph *engine.Graph

	began, last time.Time // of the build, and the latest event
	saved       time.Time
	jobs, loads track
	latest      map[string]*slice // of each node's label and each download's URL
	marks       []traceEvent      // notes and counters
}

// A slice is a node's execution or a download. It goes on while end is zero.
type slice struct {
	name       string
	lane       int
	start, end time.Time
	args       map[string]any
	phases     []phase
}

type phase struct {
	name  string
	start time.Time
}

// A track is slices that may overlap in time, in as many lanes as that takes.
type track struct {
	slices []*slice
	busy   []*slice // the latest of each lane
}

func (t *track) begin(name string, at time.Time) *slice {
	s := &slice{name: name, start: at, args: map[string]any{}}
	for s.lane < len(t.busy) && t.busy[s.lane] != nil && t.busy[s.lane].end.IsZero() {
		s.lane++
	}
	if s.lane == len(t.busy) {
		t.busy = append(t.busy, nil)
	}
	t.busy[s.lane] = s
	t.slices = append(t.slices, s)
	return s
}

func (t *track) running() int {
	n := 0
	for _, s := range t.busy {
		if s.end.IsZero() {
			n++
		}
	}
	return n
}

// newTrace starts a trace, which is saved at once: then a file that cannot be written does not cost the build.
func newTrace(file string, g *engine.Graph, labels []string) (*trace, error) {
	now := time.Now()
	t := &trace{file: file, title: "vfsb build " + strings.Join(labels, " "), graph: g, began: now, last: now, latest: map[string]*slice{}}
	return t, t.save()
}

func (t *trace) event(ev engine.Event) {
	t.last = ev.Time
	switch ev.Event {
	case engine.EventStarted:
		t.began = ev.Time
	case engine.EventFetch:
		s := t.latest[ev.URL]
		if s == nil || !s.end.IsZero() {
			s = t.loads.begin(ev.Label, ev.Time)
			s.args["url"] = ev.URL
			t.latest[ev.URL] = s
		}
		s.args["bytes"] = ev.Bytes
		if ev.Bytes == ev.Total {
			s.end = ev.Time
		}
	case engine.EventRunning:
		t.latest[ev.Label] = t.jobs.begin(ev.Label, ev.Time)
		t.count(ev.Time)
	case engine.EventPhase:
		s := t.latest[ev.Label]
		s.phases = append(s.phases, phase{ev.Phase, ev.Time})
	case engine.EventStopped:
		t.latest[ev.Label].end = ev.Time
		t.count(ev.Time)
		if ev.Time.Sub(t.saved) > 10*time.Second {
			t.save() // what a killed build leaves; whether it can be written is told at the end
		}
	case engine.EventFinished:
		s := t.latest[ev.Label]
		if s == nil { // it did not run
			return
		}
		s.args["status"] = ev.Status
		s.args["key"] = ev.Key
		s.args["cpu"] = ev.CPU
		if ev.Message != "" {
			s.args["message"] = ev.Message
		}
	case engine.EventDelivered:
		t.note(ev.Time, ev.Path, map[string]any{"bytes": ev.Bytes})
	case engine.EventWarning:
		t.note(ev.Time, ev.Message, map[string]any{"label": ev.Label})
	}
}

// Tracks, in the order in which they are shown. Those of jobs and downloads have a number for each lane.
const (
	buildTrack = 1
	pathTrack  = 2
	jobTrack   = 100
	loadTrack  = 10000
)

// A traceEvent is one of https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
type traceEvent struct {
	Name  string         `json:"name"`
	Phase string         `json:"ph"` // X: a slice, C: a counter, i: a note, M: a name
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Start int64          `json:"ts"` // microseconds
	Dur   *int64         `json:"dur,omitempty"`
	Scope string         `json:"s,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
}

func (t *trace) micros(at time.Time) int64 { return at.Sub(t.began).Microseconds() }

func (t *trace) count(at time.Time) {
	t.marks = append(t.marks, traceEvent{Name: "nodes that run", Phase: "C", PID: 1, Start: t.micros(at), Args: map[string]any{"nodes": t.jobs.running()}})
}

func (t *trace) note(at time.Time, text string, args map[string]any) {
	t.marks = append(t.marks, traceEvent{Name: text, Phase: "i", PID: 1, TID: buildTrack, Scope: "t", Start: t.micros(at), Args: args})
}

// save writes what is known so far; what has not ended yet ends now.
func (t *trace) save() error {
	t.saved = t.last
	return writeOutput(t.file, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(map[string]any{"displayTimeUnit": "ms", "traceEvents": t.events()})
	})
}

func (t *trace) events() []traceEvent {
	list := []traceEvent{{Name: "process_name", Phase: "M", PID: 1, Args: map[string]any{"name": t.title}}}
	name := func(tid int, text string) {
		list = append(list,
			traceEvent{Name: "thread_name", Phase: "M", PID: 1, TID: tid, Args: map[string]any{"name": text}},
			traceEvent{Name: "thread_sort_index", Phase: "M", PID: 1, TID: tid, Args: map[string]any{"sort_index": tid}})
	}
	add := func(tid int, name string, start, end time.Time, args map[string]any) {
		if end.IsZero() {
			end = t.last
		}
		dur := t.micros(end) - t.micros(start)
		list = append(list, traceEvent{Name: name, Phase: "X", PID: 1, TID: tid, Start: t.micros(start), Dur: &dur, Args: args})
	}
	name(buildTrack, "build")
	add(buildTrack, t.title, t.began, t.last, nil)
	name(pathTrack, "longest path")
	path := t.longestPath()
	for _, s := range t.jobs.slices {
		s.args["on longest path"] = slices.Contains(path, s)
	}
	for _, s := range path {
		add(pathTrack, s.name, s.start, s.end, s.args)
	}
	lanes := func(first int, title string, tr *track) {
		for lane := range tr.busy {
			name(first+lane, fmt.Sprintf("%s %d", title, lane+1))
		}
		for _, s := range tr.slices {
			add(first+s.lane, s.name, s.start, s.end, s.args)
			for i, p := range s.phases {
				end := s.end
				if i+1 < len(s.phases) {
					end = s.phases[i+1].start
				}
				add(first+s.lane, p.name, p.start, end, nil)
			}
		}
	}
	lanes(jobTrack, "job", &t.jobs)
	lanes(loadTrack, "download", &t.loads)
	return append(list, t.marks...)
}

// longestPath is the nodes that ran on the path through the graph that took longest: what more jobs would not shorten.
func (t *trace) longestPath() []*slice {
	seconds := make([]float64, len(t.graph.Nodes))
	for id, n := range t.graph.Nodes {
		if s := t.latest[n.Label]; s != nil && !s.end.IsZero() {
			seconds[id] = s.end.Sub(s.start).Seconds()
		}
	}
	var path []*slice
	for _, id := range t.graph.LongestPath(seconds) {
		if seconds[id] > 0 {
			path = append(path, t.latest[t.graph.Nodes[id].Label])
		}
	}
	return path
}
