package main

import (
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"vfsb/engine"
)

// display shows a build's events. On a terminal a region at the bottom shows what
// runs, and what is final scrolls away above it; elsewhere each change is a line.
type display struct {
	event func(engine.Event)
	close func()
}

// display chooses how events are shown.
func (a *app) display(progress string, asJSON bool) (*display, error) {
	if asJSON {
		return &display{event: jsonEvents(), close: func() {}}, nil
	}
	if progress == "auto" {
		progress = "plain"
		if term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb" {
			progress = "tty"
		}
	}
	if a.quiet && progress != "tty" {
		progress = "none"
	}
	l := &lines{out: os.Stderr, verbose: a.verbose, paint: painter(a.colors(os.Stderr)), none: progress == "none"}
	switch progress {
	case "none", "plain":
		return &display{event: func(ev engine.Event) { l.count(ev); l.print(ev) }, close: func() {}}, nil
	case "tty":
		r := &region{lines: l, nodes: map[string]*row{}, fetches: map[string]engine.Event{}, stop: make(chan bool), size: term.GetSize, ended: make(chan bool)}
		l.out = &r.scroll
		go r.loop()
		return &display{event: r.event, close: r.close}, nil
	}
	return nil, usageError{fmt.Errorf("--progress is auto, tty, plain or none, not %q", progress)}
}

// painter colors text for a terminal, or leaves it alone.
type painter bool

func (p painter) bold(s string) string  { return p.wrap("1", s) }
func (p painter) red(s string) string   { return p.wrap("1;31", s) }
func (p painter) green(s string) string { return p.wrap("32", s) }
func (p painter) faint(s string) string { return p.wrap("2", s) }

func (p painter) wrap(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// lines prints what is final: one line a change, failures with their last lines.
type lines struct {
	out     io.Writer
	verbose int
	none    bool
	paint   painter

	total, done, cached, failed int
}

func (l *lines) count(ev engine.Event) {
	switch ev.Event {
	case engine.EventStarted:
		l.total = int(ev.Total)
	case engine.EventFinished:
		l.done++
		switch ev.Status {
		case engine.Cached, engine.Pulled:
			l.cached++
		case engine.Failed:
			l.failed++
		}
	}
}

func (l *lines) print(ev engine.Event) {
	if l.none && ev.Status != engine.Failed {
		return
	}
	at := l.paint.faint(fmt.Sprintf("[%d/%d]", l.done, l.total))
	switch ev.Event {
	case engine.EventRunning:
		if l.verbose > 0 {
			fmt.Fprintf(l.out, "%s start    %s\n", at, ev.Label)
		}
	case engine.EventPhase:
		if l.verbose > 1 {
			fmt.Fprintf(l.out, "%s %-8s %s\n", at, ev.Phase, ev.Label)
		}
	case engine.EventWarning:
		if ev.Label != "" {
			ev.Message = ev.Label + ": " + ev.Message
		}
		fmt.Fprintf(l.out, "note: %s\n", ev.Message)
	case engine.EventFinished:
		l.finished(at, ev)
	}
}

func (l *lines) finished(at string, ev engine.Event) {
	switch ev.Status {
	case engine.Executed:
		fmt.Fprintf(l.out, "%s %s    %s  %s\n", at, l.paint.green("built"), ev.Label, seconds(ev.Seconds))
	case engine.Planned:
		fmt.Fprintf(l.out, "%s would build  %s\n", at, ev.Label)
	case engine.Skipped:
		fmt.Fprintf(l.out, "%s skipped  %s: %s\n", at, ev.Label, ev.Message)
	case engine.Failed:
		fmt.Fprintf(l.out, "%s %s   %s: %s\n", at, l.paint.red("FAILED"), l.paint.bold(ev.Label), ev.Message)
		for _, line := range ev.Tail {
			fmt.Fprintf(l.out, "    | %s\n", line)
		}
		if ev.Log != "" {
			fmt.Fprintf(l.out, "    log:   %s\n    shell: vfsb shell --failed %s\n", ev.Log, ev.Label)
		}
	case engine.Cached, engine.Pulled:
		if l.verbose > 0 {
			fmt.Fprintf(l.out, "%s %-8s %s\n", at, ev.Status, ev.Label)
		}
	}
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// region is the live part at the bottom of a terminal.
type region struct {
	mu      sync.Mutex
	lines   *lines
	scroll  strings.Builder // final lines, not shown yet
	nodes   map[string]*row // what runs, by label
	fetches map[string]engine.Event
	began   time.Time
	drawn   int // rows on the screen
	size    func(fd int) (width, height int, err error)

	stop, ended chan bool
}

type row struct {
	label, phase, last string
	began              time.Time
}

func (r *region) event(ev engine.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines.count(ev)
	r.lines.print(ev)
	switch ev.Event {
	case engine.EventStarted:
		r.began = ev.Time
	case engine.EventFetch:
		r.fetches[ev.Label] = ev
		if ev.Total > 0 && ev.Bytes >= ev.Total {
			delete(r.fetches, ev.Label)
		}
	case engine.EventRunning:
		r.nodes[ev.Label] = &row{label: ev.Label, began: ev.Time}
	case engine.EventPhase, engine.EventOutput:
		if n := r.nodes[ev.Label]; n != nil {
			if ev.Event == engine.EventPhase {
				n.phase = ev.Phase
			}
			n.last = ev.Message
		}
	case engine.EventFinished:
		delete(r.nodes, ev.Label)
	}
}

// loop redraws ten times a second: more would slow the build down and tell no more.
func (r *region) loop() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	defer close(r.ended)
	for {
		select {
		case <-ticker.C:
			r.draw(false)
		case <-r.stop:
			r.draw(true)
			return
		}
	}
}

func (r *region) close() {
	close(r.stop)
	<-r.ended
}

func (r *region) draw(last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	width, height, err := r.size(int(os.Stderr.Fd()))
	if err != nil || width < 20 || height < 4 {
		width, height = 80, 24
	}
	var b strings.Builder
	if r.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", r.drawn)
	}
	b.WriteString("\r\x1b[J")
	b.WriteString(r.scroll.String())
	r.scroll.Reset()
	r.drawn = 0
	if !last {
		rows := r.rows(width, height-2)
		for _, line := range rows {
			b.WriteString(line + "\n")
		}
		r.drawn = len(rows)
	}
	io.WriteString(os.Stderr, b.String())
}

// rows is the header and a line for each node that runs, oldest first.
func (r *region) rows(width, most int) []string {
	l := r.lines
	header := fmt.Sprintf("%s %d/%d  %d running", bar(l.done, len(r.nodes), l.total, 20), l.done, l.total, len(r.nodes))
	if l.cached > 0 {
		header += fmt.Sprintf("  %d cached", l.cached)
	}
	if l.failed > 0 {
		header += fmt.Sprintf("  %d failed", l.failed)
	}
	header += "  " + time.Since(r.began).Round(time.Second).String()
	list := []string{l.paint.bold(clip(header, width))}

	running := make([]*row, 0, len(r.nodes))
	for _, n := range r.nodes {
		running = append(running, n)
	}
	sort.Slice(running, func(i, j int) bool { return running[i].began.Before(running[j].began) })
	labelWidth := 0
	for _, n := range running {
		labelWidth = max(labelWidth, utf8.RuneCountInString(n.label))
	}
	labelWidth = min(labelWidth, width/2)
	for _, n := range running {
		line := fmt.Sprintf("  %-*s %-9s %6s  ", labelWidth, clip(n.label, labelWidth), n.phase, time.Since(n.began).Round(time.Second))
		room := width - utf8.RuneCountInString(line)
		if room > 8 {
			line += l.paint.faint(clip(printable(n.last), room))
		}
		list = append(list, line)
	}
	var ids []string
	for id := range r.fetches {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	for _, id := range ids {
		f := r.fetches[id]
		text := fmt.Sprintf("  fetch %s  %s", id, size(f.Bytes))
		if f.Total > 0 {
			text += " of " + size(f.Total)
		}
		list = append(list, clip(text, width))
	}
	if len(list) > most {
		hidden := len(list) - most + 1
		list = append(list[:most-1], fmt.Sprintf("  … and %d more", hidden))
	}
	return list
}

// bar shows done, running and remaining nodes.
func bar(done, running, total, width int) string {
	if total == 0 {
		return "[" + strings.Repeat(" ", width) + "]"
	}
	d := min(width, done*width/total)
	n := min(width-d, (running*width+total-1)/total)
	return "[" + strings.Repeat("=", d) + strings.Repeat("-", n) + strings.Repeat(" ", width-d-n) + "]"
}

// clip cuts s to width columns.
func clip(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	runes := []rune(s)
	return string(runes[:max(0, width-1)]) + "…"
}

// printable makes a line of a script's output fit for the screen.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
}
