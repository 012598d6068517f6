package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"vfsb/engine"
)

// readTrace reads a trace, and checks what holds for each: slices of a track lie within or beside each other, every
// track has a name, and nothing lies outside the build.
func readTrace(t *testing.T, file string) []traceEvent {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var content struct{ TraceEvents []traceEvent }
	if err := json.Unmarshal(text, &content); err != nil {
		t.Fatalf("%v in %.200s", err, text)
	}
	names := map[int]bool{}
	tracks := map[int][]traceEvent{}
	var whole traceEvent
	for _, ev := range content.TraceEvents {
		switch ev.Phase {
		case "M":
			names[ev.TID] = true
		case "X":
			tracks[ev.TID] = append(tracks[ev.TID], ev)
			if ev.TID == buildTrack {
				whole = ev
			}
		}
	}
	if whole.Dur == nil {
		t.Fatal("there is no slice for the build")
	}
	for tid, list := range tracks {
		if !names[tid] {
			t.Errorf("track %d has no name", tid)
		}
		sort.SliceStable(list, func(i, j int) bool { return list[i].Start < list[j].Start })
		var open []int64 // ends of the slices around
		for _, ev := range list {
			end := ev.Start + *ev.Dur
			if ev.Start < 0 || *ev.Dur < 0 || end > *whole.Dur {
				t.Errorf("%s of track %d lies outside the build: %d to %d", ev.Name, tid, ev.Start, end)
			}
			for len(open) > 0 && open[len(open)-1] <= ev.Start {
				open = open[:len(open)-1]
			}
			if len(open) > 0 && end > open[len(open)-1] {
				t.Errorf("%s of track %d ends after the slice that it is in", ev.Name, tid)
			}
			if open = append(open, end); len(open) > 2 {
				t.Errorf("%s of track %d is a slice in a slice in a slice", ev.Name, tid)
			}
		}
	}
	return content.TraceEvents
}

// on lists the slices of the tracks from first to last, as "name status".
func on(list []traceEvent, first, last int) []string {
	var found []string
	for _, ev := range list {
		if ev.Phase == "X" && ev.TID >= first && ev.TID <= last {
			found = append(found, strings.TrimSpace(fmt.Sprint(ev.Name, " ", ev.Args["status"])))
		}
	}
	sort.Strings(found)
	return found
}

// TestTrace: what was executed is in the trace, once, with its phases, on as many tracks as there were jobs.
func TestTrace(t *testing.T) {
	ws := workspace(t, 5)
	store := filepath.Join(t.TempDir(), "store")
	build(t, store, "-C", ws, "//n1:amd64")
	file := filepath.Join(t.TempDir(), "trace.json")
	build(t, store, "-C", ws, "-j", "2", "--trace", file, "//...:amd64")
	list := readTrace(t, file)
	var want []string
	for i := 2; i < 5; i++ {
		want = append(want, fmt.Sprintf("//n%d@build:amd64 executed", i), "build <nil>", "unpack <nil>")
	}
	sort.Strings(want)
	if got := on(list, jobTrack, jobTrack+1); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("jobs have %q, want %q", got, want)
	}
	if got := on(list, jobTrack+2, loadTrack); len(got) > 0 {
		t.Errorf("two jobs ran more than two nodes at once: %q", got)
	}
	// each needs the one before it
	if got := on(list, pathTrack, pathTrack); strings.Join(got, ", ") != "//n2@build:amd64 executed, //n3@build:amd64 executed, //n4@build:amd64 executed" {
		t.Errorf("the longest path is %q", got)
	}
	counters := []any{}
	for _, ev := range list {
		if ev.Phase == "C" {
			counters = append(counters, ev.Args["nodes"])
		}
	}
	if fmt.Sprint(counters) != "[1 0 1 0 1 0]" {
		t.Errorf("nodes that run: %v", counters)
	}
}

// TestTraceOfFailure: a failed build has a trace with the failure, and one that cannot be written fails at once.
func TestTraceOfFailure(t *testing.T) {
	ws := workspace(t, 1)
	writePackage(t, ws, "bad", "  script {\n    script = \"false\"\n  }\n")
	dir := t.TempDir()
	file := filepath.Join(dir, "trace.json")
	err := exec.Command("vfsb", "--store", filepath.Join(dir, "store"), "-C", ws, "build", "--trace", file, "//bad:amd64").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Fatalf("ended with %v", err)
	}
	list := readTrace(t, file)
	if got := strings.Join(on(list, jobTrack, jobTrack), ", "); !strings.Contains(got, "//bad@build:amd64 failed") || !strings.Contains(got, "//seed@build:amd64 executed") {
		t.Errorf("jobs have %s", got)
	}
	out, err := exec.Command("vfsb", "--store", filepath.Join(dir, "store"), "-C", ws, "build", "--trace", filepath.Join(dir, "no/such/trace.json"), "//n0:amd64").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "trace.json") || strings.Contains(string(out), "built") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestTraceOfDownloads: two at once have a track each, and one that begins again is two slices.
func TestTraceOfDownloads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace.json")
	tr, err := newTrace(file, &engine.Graph{}, []string{"//a"})
	if err != nil {
		t.Fatal(err)
	}
	readTrace(t, file)
	clock := tr.began
	for _, ev := range []engine.Event{
		{Event: engine.EventFetch, Label: "a/a", URL: "http://one/a", Bytes: 10, Total: -1},
		{Event: engine.EventFetch, Label: "b/b", URL: "http://one/b", Bytes: 10, Total: 20},
		{Event: engine.EventFetch, Label: "a/a", URL: "http://one/a", Bytes: 30, Total: 30},
		{Event: engine.EventFetch, Label: "c/c", URL: "http://one/c", Bytes: 5, Total: 5},
		{Event: engine.EventFetch, Label: "a/a", URL: "http://one/a", Bytes: 30, Total: 30},
		{Event: engine.EventWarning, Label: "b/b", Message: "retry in 2s"},
		{Event: engine.EventEnded},
	} {
		clock = clock.Add(1e9)
		ev.Time = clock
		tr.event(ev)
	}
	if err := tr.save(); err != nil {
		t.Fatal(err)
	}
	list := readTrace(t, file)
	if got := fmt.Sprint(on(list, loadTrack, loadTrack)); got != "[a/a <nil> a/a <nil> c/c <nil>]" {
		t.Errorf("first track of downloads: %s", got)
	}
	for _, ev := range list {
		if ev.Name == "b/b" && (ev.TID != loadTrack+1 || *ev.Dur != 5e6) { // it never ended
			t.Errorf("%+v, %d", ev, *ev.Dur)
		}
	}
}
