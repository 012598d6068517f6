package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"vfsb/engine"
)

// A display shows a build's events. On a terminal a region at the bottom shows what
// runs, and what is final scrolls away above it; elsewhere each change is a line.
type display struct {
	event func(engine.Event)
	note  func(string) // shows a line; from any goroutine
	close func()
}

// chooseProgress gives f the flag that says how a build is shown.
func chooseProgress(f *pflag.FlagSet, progress *string) {
	choose(f, progress, "progress", "auto", "auto, tty, plain or none", "auto", "tty", "plain", "none")
}

// display chooses how the events of g are shown. Until it is closed it says when ctx is cancelled. Without a forecast f
// it says nothing of the time that is left.
func (a *app) display(ctx context.Context, progress string, g *engine.Graph, f *forecast) *display {
	if progress == "auto" {
		progress = "plain"
		if term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb" {
			progress = "tty"
		}
		if a.quiet {
			progress = "none"
		}
	}
	l := &lines{out: os.Stderr, verbose: a.verbose, quiet: a.quiet || progress == "none", paint: painter(a.colors(os.Stderr)), forecast: f, now: time.Now}
	if progress != "tty" {
		return (&display{event: l.event, note: l.note, close: func() {}}).watch(ctx)
	}
	r := newRegion(os.Stderr, l, shortNames(g), func() (int, int, error) { return term.GetSize(int(os.Stderr.Fd())) })
	go r.loop()
	return (&display{event: r.event, note: r.note, close: r.close}).watch(ctx)
}

// show is the display, or what --json asks for in its place.
func (a *app) show(ctx context.Context, asJSON bool, progress string, g *engine.Graph, f *forecast) *display {
	if asJSON {
		return jsonDisplay(ctx)
	}
	return a.display(ctx, progress, g, f)
}

// jsonDisplay prints every event but the lines that scripts print.
func jsonDisplay(ctx context.Context) *display {
	encoder := json.NewEncoder(stdout)
	encoder.SetEscapeHTML(false)
	event := func(ev engine.Event) {
		if ev.Event != engine.EventOutput {
			encoder.Encode(ev)
		}
	}
	l := &lines{out: os.Stderr}
	return (&display{event: event, note: l.note, close: func() {}}).watch(ctx)
}

// watch says when the first interrupt has come.
func (d *display) watch(ctx context.Context) *display {
	stop := context.AfterFunc(ctx, func() { d.note("stopping; interrupt again to stop at once") })
	end := d.close
	d.close = func() { stop(); end() }
	return d
}
