package main

import (
	"testing"
	"time"

	"vfsb/engine"
)

// TestForecast follows a build of four nodes after the seed, two at once.
func TestForecast(t *testing.T) {
	g := graphOf(t, "a", "b", "c", "d")
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := newForecast(g, map[string]float64{label("seed"): 30, label("a"): 100, label("b"): 100, label("c"): 40}, 2)
	f.clock = func() time.Time { return clock }
	send := func(kind engine.EventKind, name string, status engine.Status) {
		f.event(engine.Event{Time: clock, Event: kind, Label: label(name), Status: status})
	}
	look := func(what string, after float64, want string) {
		t.Helper()
		clock = clock.Add(time.Duration(after * float64(time.Second)))
		if got := f.left(clock); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	look("nothing has run, and d was never built", 0, "at least 3m") // 30 + 100 + 40, rounded
	send(engine.EventFinished, "seed", engine.Cached)
	look("the seed need not run", 1, "at least 2m30s")
	send(engine.EventRunning, "a", "")
	send(engine.EventRunning, "b", "")
	look("half of two", 50, "at least 1m30s") // 50 + 40
	send(engine.EventFinished, "d", engine.Cached)
	look("what was never built turns out to be known", 1, "~1m30s")
	send(engine.EventStopped, "a", "")
	look("what has stopped is not run again", 1, "~50s")
	send(engine.EventFinished, "a", engine.Executed)
	send(engine.EventRunning, "c", "")
	look("one goes on as long as the other", 1, "~45s")
	look("b takes longer than it did", 60, "")
	send(engine.EventFinished, "c", engine.Executed)
	send(engine.EventStopped, "b", "")
	send(engine.EventFinished, "b", engine.Failed)
	look("the end", 1, "")
}

// TestForecastOverdue: a node that takes longer than it did makes the rest a least one.
func TestForecastOverdue(t *testing.T) {
	g := graphOf(t, "a", "b")
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := newForecast(g, map[string]float64{label("seed"): 10, label("a"): 100, label("b"): 100}, 1)
	f.clock = func() time.Time { return clock }
	f.event(engine.Event{Time: clock, Event: engine.EventFinished, Label: label("seed"), Status: engine.Cached})
	f.event(engine.Event{Time: clock, Event: engine.EventRunning, Label: label("a")})
	if got := f.left(clock.Add(99 * time.Second)); got != "~1m30s" {
		t.Errorf("%q", got)
	}
	if got := f.left(clock.Add(101 * time.Second)); got != "at least 1m30s" {
		t.Errorf("%q", got)
	}
}

// TestForecastOfDryRun: what a dry run plans is what is left.
func TestForecastOfDryRun(t *testing.T) {
	g := graphOf(t, "a", "b", "c")
	f := newForecast(g, map[string]float64{label("seed"): 10, label("a"): 100, label("b"): 200, label("c"): 300}, 2)
	for _, name := range []string{"seed", "a"} {
		f.event(engine.Event{Event: engine.EventFinished, Label: label(name), Status: engine.Cached})
	}
	for _, name := range []string{"b", "c"} {
		f.event(engine.Event{Event: engine.EventFinished, Label: label(name), Status: engine.Planned})
	}
	if got := f.left(time.Now()); got != "~5m" {
		t.Errorf("%q", got)
	}
	if got := f.expects(label("b")); got != "~3m30s" {
		t.Errorf("%q", got)
	}
	if got := newForecast(g, nil, 2).expects(label("b")); got != "" {
		t.Errorf("%q", got)
	}
}

// TestForecastOfVerify: only what was chosen is left, and none of it waits for another one.
func TestForecastOfVerify(t *testing.T) {
	g := graphOf(t, "a", "b", "c")
	g.Find(label("b")).Inputs = append(g.Find(label("b")).Inputs, g.Find(label("a")).ID)
	f := newForecast(engine.Apart(g), map[string]float64{label("seed"): 1000, label("a"): 100, label("b"): 100, label("c"): 500}, 3)
	chosen := make([]bool, len(g.Nodes))
	for _, name := range []string{"a", "b"} {
		chosen[g.Find(label(name)).ID] = true
	}
	f.event(engine.Event{Event: engine.EventStarted, Total: 2, Chosen: chosen})
	if got := f.left(time.Now()); got != "~1m30s" { // 100 s, rounded
		t.Errorf("%q", got)
	}
	f.event(engine.Event{Event: engine.EventStopped, Label: label("a")})
	f.event(engine.Event{Event: engine.EventStopped, Label: label("b")})
	if got := f.left(time.Now().Add(time.Hour)); got != "" {
		t.Errorf("at the end: %q", got)
	}
}

// TestForecastPause: in a large graph the rest is not played again at each event.
func TestForecastPause(t *testing.T) {
	g := graphOf(t, "a")
	f := newForecast(g, map[string]float64{label("seed"): 10, label("a"): 100}, 1)
	now, slow := time.Now(), time.Now()
	f.clock = func() time.Time { slow = slow.Add(time.Second); return slow } // each play takes a second
	if got := f.left(now); got != "~2m" {
		t.Errorf("%q", got)
	}
	f.event(engine.Event{Event: engine.EventFinished, Label: label("seed"), Status: engine.Cached})
	if got := f.left(now.Add(19 * time.Second)); got != "~2m" {
		t.Errorf("played again too early: %q", got)
	}
	if got := f.left(now.Add(21 * time.Second)); got != "~1m30s" {
		t.Errorf("not played again: %q", got)
	}
}

func TestRoughly(t *testing.T) {
	for s, want := range map[float64]string{
		0.2: "1s", 1: "1s", 7.4: "7s", 13: "15s", 60: "1m", 100: "1m30s", 599: "10m", 750: "13m", 3599: "1h", 3700: "1h", 4000: "1h5m", 9000: "2h30m",
	} {
		if got := roughly(s); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
	}
}
