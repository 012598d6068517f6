package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"vfsb/engine"
)

// lines prints what is final: one line a change, failures with their last lines.
type lines struct {
	out      io.Writer
	verbose  int
	quiet    bool // but for failures
	paint    painter
	forecast *forecast // nil: none
	now      func() time.Time

	total, done, cached, failed int
}

func (l *lines) event(ev engine.Event) {
	l.count(ev)
	l.print(ev)
}

// note prints what is no event.
func (l *lines) note(text string) { fmt.Fprintf(l.out, "vfsb: %s\n", text) }

func (l *lines) count(ev engine.Event) {
	if l.forecast != nil {
		l.forecast.event(ev)
	}
	switch ev.Event {
	case engine.EventStarted:
		l.total, l.done, l.cached, l.failed = int(ev.Total), 0, 0, 0 // it may begin anew
	case engine.EventFinished:
		l.done++
		switch ev.Status {
		case engine.Executed:
			if ev.Rebuilt { // it counts as cached already
				l.done--
				l.cached--
			}
		case engine.Cached, engine.Pulled:
			l.cached++
		case engine.Failed:
			l.failed++
		}
	}
}

func (l *lines) print(ev engine.Event) {
	if l.quiet && ev.Status != engine.Failed {
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
			fmt.Fprintf(l.out, "%s %-8s %s\n", at, printable(ev.Phase), ev.Label)
		}
	case engine.EventWarning:
		if ev.Label != "" {
			ev.Message = ev.Label + ": " + ev.Message
		}
		fmt.Fprintf(l.out, "note: %s\n", printableLines(ev.Message))
	case engine.EventFinished:
		l.finished(at, ev)
	}
}

func (l *lines) finished(at string, ev engine.Event) {
	switch ev.Status {
	case engine.Same:
		fmt.Fprintf(l.out, "%s %s     %s  %s%s\n", at, l.paint.green("same"), ev.Label, seconds(ev.Seconds), l.left())
	case engine.Executed:
		where := ""
		if ev.Where != "" && l.verbose > 0 {
			where = " at " + ev.Where
		}
		fmt.Fprintf(l.out, "%s %s    %s  %s%s%s\n", at, l.paint.green("built"), ev.Label, seconds(ev.Seconds), where, l.left())
	case engine.Planned:
		fmt.Fprintf(l.out, "%s would build  %s%s\n", at, ev.Label, l.expected(ev.Label))
	case engine.Skipped:
		fmt.Fprintf(l.out, "%s skipped  %s: %s\n", at, ev.Label, ev.Message)
	case engine.Failed:
		l.failure(at, ev)
	case engine.Cached, engine.Pulled:
		if l.verbose > 0 {
			fmt.Fprintf(l.out, "%s %-8s %s\n", at, ev.Status, ev.Label)
		}
	}
}

// longestTail is how many columns of a failed script's line are shown: five lines of a usual terminal.
const longestTail = 400

func (l *lines) failure(at string, ev engine.Event) {
	after := ""
	if ev.Seconds > 0 {
		after = " after " + seconds(ev.Seconds)
	}
	fmt.Fprintf(l.out, "%s %s   %s: %s%s\n", at, l.paint.red("FAILED"), l.paint.bold(ev.Label), printableLines(ev.Message), after)
	for _, line := range ev.Tail {
		fmt.Fprintf(l.out, "    | %s\n", clip(printable(line), longestTail))
	}
	if ev.Log != "" {
		fmt.Fprintf(l.out, "    log:   vfsb log %s\n           %s\n", ev.Label, ev.Log)
	}
	if ev.Kept {
		fmt.Fprintf(l.out, "    shell: vfsb shell --failed %s\n", ev.Label)
	}
}

// left is what is said at the end of a line about the rest of the build.
func (l *lines) left() string {
	if l.forecast == nil {
		return ""
	}
	if text := l.forecast.left(l.now()); text != "" {
		return l.paint.faint(", " + text + " left")
	}
	return ""
}

// expected is how long a node took the last time.
func (l *lines) expected(label string) string {
	if l.forecast == nil {
		return ""
	}
	if text := l.forecast.expects(label); text != "" {
		return "  " + text
	}
	return ""
}

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	list := strings.Split(s, "\n")
	for i := range list {
		list[i] = printable(list[i])
	}
	return strings.Join(list, "\n")
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
