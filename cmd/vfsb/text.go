package main

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// A painter colors text for a terminal, or leaves it alone.
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

// columns is how wide text is on a terminal.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if r < utf8.RuneSelf {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// clip cuts s to so many columns.
func clip(s string, most int) string {
	if columns(s) <= most {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeColumns(r); n > most-1 { // one is for the ellipsis
			return s[:i] + strings.Repeat("…", min(1, max(0, most)))
		}
	}
	return s
}

// pad fills s up to so many columns.
func pad(s string, to int) string {
	return s + strings.Repeat(" ", max(0, to-columns(s)))
}

// escapes are what a terminal takes for commands: control sequences, strings such as titles, and short ones. One that
// is cut off goes on to the end.
var escapes = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*(?:[@-~]|$)|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|[ -/]*(?:[0-~]|$))`)

// longestLine is how many bytes of a line are looked at: more than is ever shown.
const longestLine = 16 << 10

// printable is a line of a script's output as it may be shown: what the line would look like at its end, without what
// could move the cursor, color, or reorder the text.
func printable(s string) string {
	s = strings.TrimRight(s, "\r\n")
	if i := strings.LastIndexByte(s, '\r'); i >= 0 { // a progress bar draws over itself
		s = s[i+1:]
	}
	s = s[:min(len(s), longestLine)]
	if strings.IndexByte(s, '\x1b') >= 0 {
		s = escapes.ReplaceAllString(s, "")
	}
	var b strings.Builder
	at := 0
	for _, r := range s {
		switch {
		case r == '\t':
			n := 8 - at%8
			b.WriteString("        "[:n])
			at += n
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector):
		default:
			b.WriteRune(r)
			at += runeColumns(r)
		}
	}
	return b.String()
}
