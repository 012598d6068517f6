package render

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// An Error says what is wrong with a template, or with the script that it gave, and where.
type Error struct {
	Template string // name of the file or text that holds the line
	Line     int    // counted from 1; 0 if no line is to blame
	Excerpt  string // that line, without indentation, cut at 160 bytes
	Message  string

	undefined bool // an undefined name; "is defined" and default catch it
}

// Error returns "template:line: message" and, on a second line, the excerpt.
func (e *Error) Error() string {
	text := e.Template
	if e.Line > 0 {
		text += fmt.Sprintf(":%d", e.Line)
	}
	text += ": " + e.Message
	if e.Excerpt != "" {
		text += fmt.Sprintf("\n\t%d | %s", e.Line, e.Excerpt)
	}
	return text
}

// A source is a template's text with its name. Its line ends are "\n".
type source struct{ name, text string }

// fail returns an error at line, counted from 1. What it quotes of the template may be long, an error may not.
func (s *source) fail(line int, format string, args ...any) *Error {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = cut(text, 400)
		}
	}
	return &Error{Template: s.name, Line: line, Excerpt: excerpt(s.text, line), Message: fmt.Sprintf(format, args...)}
}

// lineAt returns the line of the byte at offset.
func (s *source) lineAt(offset int) int {
	return 1 + strings.Count(s.text[:max(0, min(offset, len(s.text)))], "\n")
}

func excerpt(text string, line int) string {
	for n := 1; n < line; n++ {
		_, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return ""
		}
		text = rest
	}
	if line < 1 {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n")
	return cut(strings.TrimSpace(text), 160)
}

// cut returns text, or its first limit bytes, or some less, with an ellipsis.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
