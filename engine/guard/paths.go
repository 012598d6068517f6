package guard

import (
	"bytes"
	"io"
	"strings"
)

// A scanner finds paths below forbidden ones in files of any kind, text or binary, in one pass. Every such path begins
// with a slash: the scanner jumps from slash to slash.
type scanner struct {
	forbidden [256][]Forbidden // by their second byte
	ahead     int              // bytes after a slash that decide
	buf       []byte
}

const (
	chunk    = 256 << 10
	behind   = 16  // bytes before a slash that decide
	maxValue = 200 // bytes of a value; the rest is cut off
)

func newScanner(forbidden []Forbidden) *scanner {
	s := &scanner{buf: make([]byte, chunk)}
	longest := 0
	for _, f := range forbidden {
		list := &s.forbidden[f.Path[1]]
		*list = append(*list, f)
		longest = max(longest, len(f.Path))
	}
	s.ahead = max(longest, maxValue) + 2
	return s
}

// scan calls found for every path in r that is a forbidden one or lies below it.
func (s *scanner) scan(r io.Reader, found func(f Forbidden, value string)) error {
	have, next := 0, 0 // the bytes in buf; the first that was not looked at
	for {
		n, err := io.ReadFull(r, s.buf[have:])
		have += n
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return err
		}
		end := have
		if !last {
			end -= s.ahead
		}
		for next < end {
			i := bytes.IndexByte(s.buf[next:end], '/')
			if i < 0 {
				next = end
				break
			}
			at := next + i
			next = at + 1
			if next == have {
				break
			}
			for _, f := range s.forbidden[s.buf[next]] {
				text := s.buf[at:have]
				if after, ok := bytes.CutPrefix(text, []byte(f.Path)); ok && ends(after) && begins(s.buf[max(0, at-behind):at]) {
					found(f, value(text))
					break
				}
			}
		}
		if last {
			return nil
		}
		have = copy(s.buf, s.buf[next-behind:have])
		next = behind
	}
}

// begins reports whether an absolute path may begin after before: nothing that belongs to a name or is a path itself
// stands there, such as in ../build, $dir/build or https://example.org/build. An option may: -I/build/include.
func begins(before []byte) bool {
	if len(before) == 0 || bytes.HasSuffix(before, []byte("file://")) {
		return true
	}
	rest := bytes.TrimRightFunc(before, isLetter)
	if len(rest) < len(before) {
		option, ok := bytes.CutSuffix(rest, []byte("-"))
		return ok && (len(option) == 0 || !inName(option[len(option)-1]))
	}
	c := before[len(before)-1]
	return !inName(c) && strings.IndexByte("./)}]*?$%", c) < 0
}

// ends reports whether a path's component may end before after. A full stop may end a sentence, or go on as in /build.log.
func ends(after []byte) bool {
	if len(after) > 1 && after[0] == '.' {
		after = after[1:]
	}
	return len(after) == 0 || !inName(after[0])
}

// value is the path that text begins with, up to what no path holds unquoted.
func value(text []byte) string {
	n := 1
	for n < min(len(text), maxValue) && text[n] > ' ' && text[n] < 0x7f && strings.IndexByte("\"'`:;,=<>(){}[]|&$\\*?!#", text[n]) < 0 {
		n++
	}
	return strings.TrimRight(string(text[:n]), ".")
}

func isLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }

// inName reports whether c is one of the bytes that names in paths are made of.
func inName(c byte) bool {
	return isLetter(rune(c)) || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '+' || c == '~' || c == '@'
}
