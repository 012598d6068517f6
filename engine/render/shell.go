package render

import (
	"errors"
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Quote returns s as one word of a POSIX shell. Words of letters, digits and @%+=:,./_- stay as they are. The result
// enters scripts and with them keys, so it depends on no library. A string with a NUL is an error.
func Quote(s string) (string, error) {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return "", errors.New("a shell word cannot hold a NUL byte")
	case s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0:
		return s, nil
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", nil
}

// maxScript bounds a script in bytes. The shell parser recurses, Go cannot recover from a stack overflow, and of all
// that nests none overflows within 1 MiB; 5 MB of "f() f() f() " do.
const maxScript = 1 << 20

// CheckShell parses script as bash and returns an *Error for the first mistake in its syntax. name is what errors call
// the script.
func CheckShell(name, script string) (err error) {
	src := &source{name: name, text: script}
	defer func() {
		if r := recover(); r != nil {
			err = src.fail(0, "cannot check the script: %v", r)
		}
	}()
	if i := strings.IndexByte(script, 0); i >= 0 {
		return src.fail(src.lineAt(i), "a script cannot hold a NUL byte")
	}
	if len(script) > maxScript {
		return src.fail(0, "a script holds at most %d bytes, this one has %d; data belongs into a source", maxScript, len(script))
	}
	if line := tooDeep(script); line > 0 {
		return src.fail(line, "nested too deeply")
	}
	_, err = syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), name)
	var parse syntax.ParseError
	var lang syntax.LangError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &parse):
		return src.fail(int(parse.Pos.Line()), "%s", parse.Text)
	case errors.As(err, &lang):
		return src.fail(int(lang.Pos.Line()), "%s is not bash", lang.Feature)
	}
	return src.fail(0, "%s", fmt.Sprint(err))
}

// tooDeep returns the line where more than 1000 opening brackets are open at once, counted without regard to quotes, or
// 0: the usual way to nest too deeply, found early and with its line.
func tooDeep(script string) int {
	depth, line := 0, 1
	for i := range len(script) {
		switch script[i] {
		case '\n':
			line++
		case '(', '{', '[', '`':
			if depth++; depth > 1000 {
				return line
			}
		case ')', '}', ']':
			depth = max(0, depth-1)
		}
	}
	return 0
}
