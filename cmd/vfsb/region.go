package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"vfsb/engine"
)

// region is the live part at the bottom of a terminal: a header, and a row for each
// node that runs and each file that is fetched.
//
// The cursor rests at the region's start, not at its end. A terminal that is made
// narrower may fold rows or cut them; either way what is below the cursor is the region.
type region struct {
	mu      sync.Mutex
	out     io.Writer
	lines   *lines
	names   map[string]string // of labels, where there is little room
	scroll  strings.Builder   // final lines, not shown yet
	nodes   map[string]*row   // what runs, by label
	fetches map[string]*row   // by URL
	began   time.Time
	frame   string // what is on the screen
	now     func() time.Time
	size    func() (width, height int, err error)

	stop, ended chan bool
}

type row struct {
	name, phase, last string
	began, changed    time.Time
}

func newRegion(out io.Writer, l *lines, names map[string]string, size func() (width, height int, err error)) *region {
	r := &region{
		out: out, lines: l, names: names, size: size, now: l.now, began: l.now(), nodes: map[string]*row{}, fetches: map[string]*row{},
		stop: make(chan bool), ended: make(chan bool),
	}
	l.out = &r.scroll
	return r
}

func (r *region) event(ev engine.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines.event(ev)
	switch ev.Event {
	case engine.EventStarted:
		r.began = ev.Time
	case engine.EventFetch:
		r.fetched(ev)
	case engine.EventRunning:
		r.nodes[ev.Label] = &row{name: r.names[ev.Label], began: ev.Time}
	case engine.EventPhase:
		n := r.nodes[ev.Label]
		n.phase, n.last = ev.Phase, ""
	case engine.EventOutput:
		r.nodes[ev.Label].last = ev.Message
	case engine.EventStopped:
		delete(r.nodes, ev.Label)
	}
}

func (r *region) fetched(ev engine.Event) {
	f := r.fetches[ev.URL]
	if f == nil {
		f = &row{name: ev.Label, phase: path.Base(ev.URL), began: ev.Time}
		r.fetches[ev.URL] = f
	}
	f.changed = ev.Time
	f.last = size(ev.Bytes)
	if ev.Total > 0 {
		f.last += " of " + size(ev.Total)
	}
	if ev.Bytes == ev.Total {
		delete(r.fetches, ev.URL)
	}
}

func (r *region) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines.note(text)
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

// erase clears from the start of the cursor's row to the screen's end. It clears the first row by itself: some terminals
// keep in their history what is cleared from the screen's very start.
const erase = "\r\x1b[K\n\x1b[J\x1b[A"

// draw writes the final lines and, below them, the region, if it is not the last time.
func (r *region) draw(last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	width, height, err := r.size()
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	var rows []string
	if !last {
		rows = r.rows(width-1, max(1, height-1))
	}
	frame := strings.Join(rows, "\n")
	if r.scroll.Len() == 0 && frame == r.frame {
		return
	}
	r.frame = frame
	var b strings.Builder
	if r.scroll.Len() > 0 || last {
		b.WriteString(erase + r.scroll.String())
		r.scroll.Reset()
	}
	if len(rows) > 0 {
		// Where a terminal takes a letter for wider than we do, the row is cut and not folded.
		b.WriteString("\x1b[?7l")
		for i, text := range rows {
			if i > 0 {
				b.WriteString("\n")
			}
			b.WriteString("\r" + text + "\x1b[K")
		}
		b.WriteString("\x1b[J\x1b[?7h\r")
		if len(rows) > 1 {
			fmt.Fprintf(&b, "\x1b[%dA", len(rows)-1)
		}
	}
	io.WriteString(r.out, b.String())
}

// rows is the header and a row for each node that runs and each download, oldest first.
func (r *region) rows(width, most int) []string {
	list := []string{r.lines.paint.bold(r.header(width))}
	nodes := oldest(r.nodes)
	label, phase := 0, 0 // columns
	for _, n := range nodes {
		label = max(label, columns(n.name))
		phase = min(12, max(phase, 1+columns(printable(n.phase))))
	}
	if width < 40 {
		phase = 0
	}
	label = min(label, max(width/2, width-phase-40))
	for _, n := range nodes {
		text := "  " + pad(clip(n.name, label), label) + pad(clip(" "+printable(n.phase), phase), phase) + fmt.Sprintf(" %7s", r.since(n.began))
		last := ""
		if room := width - columns(text) - 2; room >= 8 && n.last != "" {
			last = "  " + r.lines.paint.faint(clip(printable(n.last), room))
		}
		list = append(list, clip(text, width)+last)
	}
	for _, f := range oldest(r.fetches) {
		if r.now().Sub(f.changed) < gaveUp {
			list = append(list, clip(fmt.Sprintf("  fetch %s  %s  %s", f.name, f.last, printable(f.phase)), width))
		}
	}
	if len(list) > most {
		hidden := len(list) - most + 1
		list = list[:most]
		if most > 1 {
			list[most-1] = clip(fmt.Sprintf("  … and %d more", hidden), width)
		}
	}
	return list
}

// gaveUp is after what time without news a download is not shown: what failed has no last event.
const gaveUp = 30 * time.Second

func oldest(rows map[string]*row) []*row {
	list := slices.Collect(maps.Values(rows))
	slices.SortFunc(list, func(a, b *row) int { return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.name, b.name)) })
	return list
}

func (r *region) since(t time.Time) string {
	return max(0, r.now().Sub(t)).Round(time.Second).String()
}

// header says how far the build is: as much of it as there is room for.
func (r *region) header(width int) string {
	l := r.lines
	if l.total == 0 {
		return clip(r.since(r.began), width)
	}
	done := fmt.Sprintf("%d/%d", l.done, l.total)
	running := fmt.Sprintf("%d running", len(r.nodes))
	counts := []string{done}
	if l.failed > 0 {
		counts = append(counts, fmt.Sprintf("%d failed", l.failed))
	}
	brief := slices.Concat(counts, []string{r.since(r.began)})
	counts = append(counts, running)
	if l.cached > 0 {
		counts = append(counts, fmt.Sprintf("%d cached", l.cached))
	}
	counts = append(counts, r.since(r.began))
	if l.forecast != nil {
		if left := l.forecast.left(r.now()); left != "" {
			left += " left"
			counts, brief = append(counts, left), append(brief, left)
		}
	}
	full := strings.Join(counts, "  ")
	for _, text := range []string{
		bar(l.done, len(r.nodes), l.total, min(30, width/4)) + " " + full,
		bar(l.done, len(r.nodes), l.total, 10) + " " + full,
		full,
		strings.Join(brief, "  "),
	} {
		if columns(text) <= width {
			return text
		}
	}
	return clip(strings.Join(brief, "  "), width)
}

// bar shows done, running and remaining nodes.
func bar(done, running, total, width int) string {
	d := min(width, done*width/total)
	n := min(width-d, (running*width+total-1)/total)
	return "[" + strings.Repeat("=", d) + strings.Repeat("-", n) + strings.Repeat(" ", width-d-n) + "]"
}
