package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vfsb/engine"
	"vfsb/engine/load"
	"vfsb/rules"
)

var update = flag.Bool("update", false, "write the golden files")

// A screen is as much of a terminal as the display uses, and strict.
type screen struct {
	t             *testing.T
	width, height int
	history       []string // rows that have scrolled away
	rows          [][]rune // cells; the second one of a wide letter is 0
	folded        []bool   // by row: it goes on in the next one
	x, y          int
	fold          bool // at the right edge letters go on in the next row
}

func newScreen(t *testing.T, width, height int) *screen {
	s := &screen{t: t, width: width, height: height, fold: true, folded: make([]bool, height)}
	for range height {
		s.rows = append(s.rows, s.blank())
	}
	return s
}

func (s *screen) blank() []rune { return []rune(strings.Repeat(" ", s.width)) }

func (s *screen) down() {
	if s.y++; s.y == s.height {
		s.history = append(s.history, text(s.rows[0]))
		s.rows, s.folded = append(s.rows[1:], s.blank()), append(s.folded[1:], false)
		s.y--
	}
}

// Write obeys what the display may send and refuses everything else.
func (s *screen) Write(p []byte) (int, error) {
	list := []rune(string(p))
	for i := 0; i < len(list); i++ {
		switch r := list[i]; {
		case r == '\r':
			s.x = 0
		case r == '\n': // the terminal's driver adds the carriage return
			s.x = 0
			s.down()
		case r == '\x1b' && list[i+1] == '[':
			i += 2
			start := i
			for list[i] < '@' {
				i++
			}
			s.control(string(list[start:i]), list[i])
		case r < ' ' || r >= 0x7f && r < 0xa0:
			s.t.Errorf("control character %q", r)
		default:
			s.put(r)
		}
	}
	return len(p), nil
}

func (s *screen) put(r rune) {
	n := runeColumns(r)
	if n == 0 {
		return
	}
	if s.x+n > s.width {
		if !s.fold {
			s.t.Errorf("a row is longer than %d columns: %s", s.width, text(s.rows[s.y]))
			return
		}
		s.folded[s.y] = true
		s.x = 0
		s.down()
	}
	for i := range n {
		s.rows[s.y][s.x+i] = 0
	}
	s.rows[s.y][s.x] = r
	s.x += n
}

func (s *screen) control(args string, command rune) {
	switch {
	case command == 'm':
	case command == 'A':
		n, err := strconv.Atoi("0" + args)
		if s.y -= max(1, n); s.y < 0 || err != nil {
			s.t.Fatalf("the cursor leaves the screen: %q, %v", args, err)
		}
	case command == 'K' && args == "":
		copy(s.rows[s.y][min(s.x, s.width-1):], s.blank())
	case command == 'J' && args == "":
		copy(s.rows[s.y][min(s.x, s.width-1):], s.blank())
		for y := s.y + 1; y < s.height; y++ {
			s.rows[y], s.folded[y] = s.blank(), false
		}
	case args == "?7" && command == 'l':
		s.fold = false
	case args == "?7" && command == 'h':
		s.fold = true
	default:
		s.t.Errorf("control sequence %q %q", args, command)
	}
}

func text(row []rune) string {
	return strings.TrimRight(strings.ReplaceAll(string(row), "\x00", ""), " ")
}

// String is the history, a ruler, and the screen as far as there is something on it.
func (s *screen) String() string {
	var list []string
	for _, row := range s.rows {
		list = append(list, text(row))
	}
	shown := strings.TrimRight(strings.Join(list, "\n"), "\n")
	return strings.Join(append(s.history, strings.Repeat("~", s.width), shown), "\n") + "\n"
}

// resize changes the width as terminals do: rows that no longer fit go on in a next one, and come together again, or are
// cut. The cursor stays where it is in the text.
func (s *screen) resize(width int, folds bool) {
	var rows [][]rune
	var folded []bool
	for y := 0; y < s.height; y++ {
		if y == s.y {
			s.y = len(rows)
		}
		row := []rune(text(s.rows[y]))
		for folds && s.folded[y] {
			y++
			row = append(row, []rune(text(s.rows[y]))...)
		}
		for {
			next := []rune(strings.Repeat(" ", width))
			copy(next, row)
			rows, folded = append(rows, next), append(folded, folds && len(row) > width)
			if !folds || len(row) <= width {
				break
			}
			row = row[width:]
		}
	}
	s.width = width
	for len(rows) < s.height {
		rows, folded = append(rows, s.blank()), append(folded, false)
	}
	s.rows, s.folded = rows[:s.height], folded[:s.height] // there was room
}

// TestResize: when the terminal becomes narrower, nothing is left of the wider region, whether it was folded or cut; nor
// of the folded one when it becomes wider again.
func TestResize(t *testing.T) {
	names := []string{"one", "two", "three", "a-package-with-a-long-name"}
	g := graphOf(t, names...)
	for _, folds := range []bool{true, false} {
		s := newStage(t, g, nil, 4, 100, 40)
		s.send(engine.Event{Event: engine.EventStarted, Total: 5})
		for _, name := range names {
			s.send(engine.Event{Event: engine.EventRunning, Label: label(name)}, engine.Event{Event: engine.EventOutput, Label: label(name), Message: strings.Repeat("x", 200)})
		}
		s.region.note("what is final")
		s.wait(1)
		s.screen.resize(30, folds)
		got := s.wait(0)
		want := strings.Repeat("~", 30) + `
vfsb: what is final
[------ ] 0/5  4 running  1s
  //a-package-w…      1s
  //one               1s
  //three             1s
  //two               1s
`
		if got != want {
			t.Errorf("folds %v: the screen is\n%s, want\n%s", folds, got, want)
		}
		s.wait(1)
		s.screen.resize(100, folds)
		got = s.wait(0)
		if n := strings.Count(got, "\n"); n != 7 || strings.Count(got, "xxxxx…") != 4 {
			t.Errorf("folds %v: the wide screen is\n%s", folds, got)
		}
		s.region.draw(true)
		if got, want := s.screen.String(), strings.Repeat("~", 100)+"\nvfsb: what is final\n"; got != want {
			t.Errorf("folds %v: at the end the screen is\n%s", folds, got)
		}
	}
}

// stage is a display on a screen, with a clock that only the test moves.
type stage struct {
	t      *testing.T
	screen *screen
	region *region
	clock  time.Time
}

func newStage(t *testing.T, g *engine.Graph, took map[string]float64, jobs, width, height int) *stage {
	s := &stage{t: t, screen: newScreen(t, width, height), clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	now := func() time.Time { return s.clock }
	f := newForecast(g, took, jobs)
	f.clock = now
	l := &lines{forecast: f, now: now, paint: true}
	s.region = newRegion(s.screen, l, shortNames(g), func() (int, int, error) { return s.screen.width, s.screen.height, nil })
	return s
}

func (s *stage) send(list ...engine.Event) {
	for _, ev := range list {
		ev.Time = s.clock
		s.region.event(ev)
	}
}

func (s *stage) wait(seconds float64) string {
	s.clock = s.clock.Add(time.Duration(seconds * float64(time.Second)))
	s.region.draw(false)
	return s.screen.String()
}

// graphOf is the graph of packages that need nothing but the seed.
func graphOf(t *testing.T, names ...string) *engine.Graph {
	t.Helper()
	dir := workspace(t, 0)
	for _, name := range names {
		writePackage(t, dir, name, "  script {\n    script = \"true\"\n  }\n")
	}
	ws, diags := load.Load(dir, rules.Names(), load.Carried{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	e := &engine.Engine{Workspace: ws, Rules: rules.All(), Exec: engine.HostExec()}
	var patterns []string
	for _, name := range names {
		patterns = append(patterns, "//"+name+":amd64")
	}
	roots, err := e.Expand(patterns)
	if err != nil {
		t.Fatal(err)
	}
	g, diags := e.Analyze(roots)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return g
}

// TestDisplay plays a build to screens of several sizes. Look at the golden files: they are what a person sees.
func TestDisplay(t *testing.T) {
	names := []string{
		"bash", "coreutils", "a-package-with-a-name-that-is-longer-than-half-a-terminal", "zlib", "wide", "colors", "tabs", "bar",
		"endless", "make", "sed", "tar",
	}
	g := graphOf(t, names...)
	took := map[string]float64{"//seed@build:amd64": 20}
	for _, name := range names[:4] {
		took[label(name)] = 60
	}
	for _, c := range []struct{ width, height, nodes int }{{80, 24, 1}, {80, 24, 12}, {200, 50, 1}, {200, 50, 12}, {20, 24, 12}, {80, 5, 12}} {
		t.Run(fmt.Sprintf("%dx%d-%d", c.width, c.height, c.nodes), func(t *testing.T) {
			s := newStage(t, g, took, 12, c.width, c.height)
			var got strings.Builder
			look := func(title string, wait float64) {
				fmt.Fprintf(&got, "-- %s --\n%s", title, s.wait(wait))
			}
			s.send(engine.Event{Event: engine.EventStarted, Total: 13})
			look("begun", 0)
			s.send(
				engine.Event{Event: engine.EventFinished, Label: label("seed"), Status: engine.Cached},
				engine.Event{Event: engine.EventFetch, Label: "bash/bash", URL: "https://example.org/bash-5.2.37.tar.gz", Bytes: 1 << 20, Total: 5 << 20},
				engine.Event{Event: engine.EventFetch, Label: "tar/tar", URL: "https://example.org/tar-1.35.tar.xz", Bytes: 1 << 10, Total: -1},
			)
			look("downloads", 2)
			s.send(
				engine.Event{Event: engine.EventFetch, Label: "bash/bash", URL: "https://example.org/bash-5.2.37.tar.gz", Bytes: 5 << 20, Total: 5 << 20},
				engine.Event{Event: engine.EventWarning, Label: "tar/tar", Message: "retry in 2s: \x1b[31mbroken\x1b[0m\nsecond line"},
			)
			look("one is here", 1)
			for _, name := range names[:c.nodes] {
				s.send(
					engine.Event{Event: engine.EventRunning, Label: label(name)},
					engine.Event{Event: engine.EventPhase, Label: label(name), Phase: "configure"},
				)
			}
			say := func(name, text string) {
				if s.region.nodes[label(name)] != nil {
					s.send(engine.Event{Event: engine.EventOutput, Label: label(name), Message: text})
				}
			}
			say("bash", "checking for gcc... yes")
			say("wide", strings.Repeat("日本語", 100))
			say("colors", "\x1b[31m\x1b[2J\x1b[Hred\x1b]0;title\x07 and \u202eback")
			say("tabs", "a\tb\tc")
			say("bar", "10%\r20%\r30%")
			say("endless", strings.Repeat("x", 100000))
			look("running", 30)
			if c.nodes == 12 {
				s.send(
					engine.Event{Event: engine.EventPhase, Label: label("endless"), Phase: "a phase with a long name"},
					engine.Event{Event: engine.EventStopped, Label: label("colors")},
					engine.Event{Event: engine.EventFinished, Label: label("colors"), Status: engine.Failed, Seconds: 31, Message: "exit status 2 in phase build", Code: 2, Phase: "build",
						Tail: []string{"\x1b[01;31merror:\x1b[0m expected ‘;’", "\tint x", strings.Repeat("y", 1000)},
						Log:  "/home/user/.cache/vfsb/blobs/eb/ebcc418c63b2342fce62441f057e2f6df6d45c77dcb66d815ff5691570d0898e", Kept: true},
				)
				for _, name := range []string{"tabs", "bar", names[2]} {
					s.send(
						engine.Event{Event: engine.EventStopped, Label: label(name)},
						engine.Event{Event: engine.EventFinished, Label: label(name), Status: engine.Executed, Seconds: 31},
					)
				}
				look("a failure", 40)
			}
			s.region.note("stopping; interrupt again to stop at once")
			s.region.draw(true)
			fmt.Fprintf(&got, "-- the end --\n%s", s.screen)
			golden(t, filepath.Join("testdata/display", fmt.Sprintf("%dx%d-%d.txt", c.width, c.height, c.nodes)), got.String())
		})
	}
}

func label(name string) string { return "//" + name + "@build:amd64" }

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("not as in %s (use -update if it is right):\n%s", file, got)
	}
}
