package render

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/tokens"
)

// A lexer cuts a source into the tokens that gonja's parser reads. gonja's own lexer is not used: it passes over
// characters that it does not know, gives errors no position, and never ends on "{{ 0.é }}".
type lexer struct {
	src  *source
	pos  int
	toks []*tokens.Token

	counted, line int // the line of the offset counted
}

var (
	opening = regexp.MustCompile(`\{\{-?|\{%[-+]?|\{##[-+]?`)
	endRaw  = regexp.MustCompile(`\{%[-+]?\s*endraw\b`)
)

// keywords are the names that are operators.
var keywords = map[string]tokens.Type{"in": tokens.In, "is": tokens.Is, "and": tokens.And, "or": tokens.Or, "not": tokens.Not}

// operators, of two characters first.
var operators = []struct {
	text string
	kind tokens.Type
}{
	{"==", tokens.Equals}, {"!=", tokens.Ne}, {"<=", tokens.LowerThanOrEqual}, {">=", tokens.GreaterThanOrEqual},
	{"//", tokens.FloorDivision}, {"**", tokens.Power},
	{"+", tokens.Addition}, {"-", tokens.Subtraction}, {"*", tokens.Multiply}, {"/", tokens.Division}, {"%", tokens.Modulo},
	{"~", tokens.Tilde}, {"|", tokens.Pipe}, {",", tokens.Comma}, {".", tokens.Dot}, {":", tokens.Colon},
	{"<", tokens.LowerThan}, {">", tokens.GreaterThan}, {"=", tokens.Assign},
	{"(", tokens.LeftParenthesis}, {")", tokens.RightParenthesis}, {"[", tokens.LeftBracket}, {"]", tokens.RightBracket},
	{"{", tokens.LeftBrace}, {"}", tokens.RightBrace},
}

// lex returns the tokens of src, the last of type EOF.
func lex(src *source) ([]*tokens.Token, error) {
	l := &lexer{src: src, line: 1}
	for {
		at := opening.FindStringIndex(src.text[l.pos:])
		if at == nil {
			l.data(len(src.text))
			l.emit(tokens.EOF, "", 0)
			return l.toks, nil
		}
		l.data(l.pos + at[0])
		begin := src.text[l.pos : l.pos+at[1]-at[0]]
		var err error
		switch begin[:2] {
		case "{{":
			err = l.expression(begin, tokens.VariableBegin, "}}", tokens.VariableEnd)
		case "{%":
			first := len(l.toks)
			err = l.expression(begin, tokens.BlockBegin, "%}", tokens.BlockEnd)
			if err == nil && len(l.toks) == first+3 && l.toks[first+1].Val == "raw" {
				err = l.raw(l.toks[first].Line)
			}
		default:
			err = l.comment(begin)
		}
		if err != nil {
			return nil, err
		}
	}
}

// emit adds a token of size bytes of the source, with the value val.
func (l *lexer) emit(kind tokens.Type, val string, size int) *tokens.Token {
	tok := &tokens.Token{Type: kind, Val: val, Pos: l.pos, Line: l.here()}
	l.toks = append(l.toks, tok)
	l.pos += size
	return tok
}

// here returns the line of the position, which only grows.
func (l *lexer) here() int {
	l.line += strings.Count(l.src.text[l.counted:l.pos], "\n")
	l.counted = l.pos
	return l.line
}

// data adds what lies before end as it is.
func (l *lexer) data(end int) {
	if end > l.pos {
		l.emit(tokens.Data, l.src.text[l.pos:end], end-l.pos)
	}
}

func (l *lexer) comment(begin string) error {
	line := l.emit(tokens.CommentBegin, begin, len(begin)).Line
	size := strings.Index(l.src.text[l.pos:], "##}")
	if size < 0 {
		return l.src.fail(line, "comment is not closed: expected ##}")
	}
	end := "##}"
	if size > 0 && strings.IndexByte("+-", l.src.text[l.pos+size-1]) >= 0 {
		size--
		end = l.src.text[l.pos+size : l.pos+size+4]
	}
	l.data(l.pos + size)
	l.emit(tokens.CommentEnd, end, len(end))
	return nil
}

// raw adds what lies before {% endraw %} as it is.
func (l *lexer) raw(line int) error {
	at := endRaw.FindStringIndex(l.src.text[l.pos:])
	if at == nil {
		return l.src.fail(line, `"raw" is not closed: expected {%% endraw %%}`)
	}
	l.data(l.pos + at[0])
	return nil
}

// expression adds the tokens from an opening delimiter to its closing one.
func (l *lexer) expression(begin string, kind tokens.Type, end string, endKind tokens.Type) error {
	first := l.emit(kind, begin, len(begin))
	count := len(l.toks)
	var open []byte // the closing brackets that are due
	for {
		l.pos += len(l.src.text[l.pos:]) - len(strings.TrimLeft(l.src.text[l.pos:], " \t\n"))
		rest := l.src.text[l.pos:]
		if rest == "" {
			return l.src.fail(first.Line, "%q is not closed: expected %s", begin, end)
		}
		due := byte(0)
		if len(open) > 0 {
			due = open[len(open)-1]
		}
		sign := ""
		if rest[0] == '-' || rest[0] == '+' && kind == tokens.BlockBegin {
			sign = rest[:1]
		}
		if strings.HasPrefix(rest, sign+end) && (due != '}' || end != "}}") {
			if due != 0 {
				return l.src.fail(l.here(), "expected %q before %s", due, end)
			}
			l.emit(endKind, sign+end, len(sign+end))
			return nil
		}
		if len(l.toks)-count > maxExpression {
			return l.src.fail(first.Line, "an expression has at most %d tokens", maxExpression)
		}
		if err := l.token(rest, len(l.toks) == count && kind == tokens.BlockBegin); err != nil {
			return err
		}
		switch c := rest[0]; c {
		case '(', '[', '{':
			open = append(open, map[byte]byte{'(': ')', '[': ']', '{': '}'}[c])
		case ')', ']', '}':
			if c != due {
				return l.src.fail(l.here(), "unexpected %q", c)
			}
			open = open[:len(open)-1]
		}
	}
}

// token adds the token that rest begins with. The first name of a statement is no operator.
func (l *lexer) token(rest string, statement bool) error {
	r, _ := utf8.DecodeRuneInString(rest)
	word := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if word < 0 {
		word = len(rest)
	}
	switch {
	case r >= '0' && r <= '9':
		return l.number(rest[:word], rest[word:])
	case word > 0 && !unicode.IsDigit(r) && r != utf8.RuneError:
		kind, ok := keywords[rest[:word]]
		if !ok || statement {
			kind = tokens.Name
		}
		l.emit(kind, rest[:word], word)
		return nil
	case r == '"' || r == '\'':
		return l.text(rest)
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op.text) {
			l.emit(op.kind, op.text, len(op.text))
			return nil
		}
	}
	return l.src.fail(l.here(), "unexpected character %q", r)
}

// number adds a decimal number. Behind a dot it is an item's (sources.0.file).
func (l *lexer) number(word, rest string) error {
	dotted := l.toks[len(l.toks)-1].Type == tokens.Dot
	if !dotted && len(rest) > 1 && rest[0] == '.' && rest[1] >= '0' && rest[1] <= '9' {
		return l.src.fail(l.here(), "there are whole numbers only")
	}
	if strings.Trim(word, "0123456789") != "" || len(word) > 1 && word[0] == '0' {
		return l.src.fail(l.here(), "%q is not a decimal number", word)
	}
	l.emit(tokens.Integer, word, len(word))
	return nil
}

// text adds a string. Its escapes are \n, \t, \\, \" and \'.
func (l *lexer) text(rest string) error {
	var val strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == rest[0]:
			// The parser takes backslashes for escapes once more.
			l.emit(tokens.String, strings.ReplaceAll(val.String(), `\`, `\\`), i+1)
			return nil
		case c == '\\' && i+1 < len(rest):
			i++
			at := strings.IndexByte(`nt\"'`, rest[i])
			if at < 0 {
				return l.src.fail(l.here(), `unknown escape \%c in a string: write \\ for a backslash`, rest[i])
			}
			val.WriteByte("\n\t\\\"'"[at])
		default:
			val.WriteByte(c)
		}
	}
	return l.src.fail(l.here(), "string is not closed")
}

// lastBegin returns the last opening delimiter, or a token without a line.
func lastBegin(toks []*tokens.Token) *tokens.Token {
	for i := len(toks) - 1; i >= 0; i-- {
		switch toks[i].Type {
		case tokens.BlockBegin, tokens.VariableBegin, tokens.CommentBegin:
			return toks[i]
		}
	}
	return &tokens.Token{}
}
