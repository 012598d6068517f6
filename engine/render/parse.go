package render

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// Limits of a template's source. Parser and evaluator recurse, and Go cannot recover from a stack overflow.
const (
	maxSource     = 1 << 20 // bytes
	maxStatements = 10000   // in one file
	maxNesting    = 100     // statements within each other
	maxExpression = 2000    // tokens between two delimiters
)

// lexicon is gonja's configuration. Trimming and undefined names are ours, see trimLines and findNeeds.
var lexicon = func() *config.Config {
	c := config.New()
	c.CommentStartString, c.CommentEndString = "{##", "##}"
	c.KeepTrailingNewline = true
	c.StrictUndefined = true
	return c
}()

// normalise turns the line ends of DOS and old Macs into "\n", as gonja's lexer does, so that positions agree.
func normalise(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
}

// parse returns the nodes of src: *nodes.Data, *nodes.Comment, *nodes.Output and *nodes.ControlStructureBlock, the
// last with a statement of this package inside. Every error is an *Error.
func parse(src *source) ([]nodes.Node, error) {
	if len(src.text) > maxSource {
		return nil, src.fail(0, "a template holds at most %d bytes, this one has %d", maxSource, len(src.text))
	}
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	trimLines(src, toks)
	g := &grammar{src: src, toks: toks, index: make(map[*tokens.Token]int, len(toks))}
	for i, tok := range toks {
		g.index[tok] = i
	}
	body, err := g.parse()
	if err != nil {
		return nil, err
	}
	return body, check(src, body)
}

var identifier = regexp.MustCompile(`^[\p{L}_][\p{L}\p{Nd}_]*$`)

// lex returns the tokens of src without white space, the last of type EOF. gonja's lexer has no position for its
// errors, and it passes over characters that it does not know: they stick to the next token. Both are mended here.
func lex(src *source) ([]*tokens.Token, error) {
	stream := tokens.LexAll(src.text, lexicon)
	var toks []*tokens.Token
	statements, length, inside := 0, 0, false
	for {
		tok := stream.Current()
		if inside && len(toks) > 0 && tok.Type != tokens.Error {
			if err := checkGap(src, toks[len(toks)-1], tok); err != nil {
				return nil, err
			}
		}
		switch tok.Type {
		case tokens.Error:
			return nil, lexError(src, tok, toks)
		case tokens.BlockBegin:
			if statements++; statements > maxStatements {
				return nil, src.fail(tok.Line, "more than %d statements in one template", maxStatements)
			}
			inside, length = true, 0
		case tokens.VariableBegin:
			inside, length = true, 0
		case tokens.BlockEnd, tokens.VariableEnd:
			inside = false
		case tokens.EOF:
			if inside {
				return nil, src.fail(lastBegin(toks).Line, "%q is not closed", lastBegin(toks).Val)
			}
			return append(toks, tok), nil
		}
		if length++; inside && length > maxExpression {
			return nil, src.fail(tok.Line, "an expression has at most %d tokens", maxExpression)
		}
		toks = append(toks, tok)
		stream.Next() // never over the last token: the stream would fail
	}
}

// checkGap compares the source between the starts of two neighbouring tokens of one expression with the first token's
// text: only white space may be left over. A token that begins with line breaks, which the lexer leaves there, is mended.
func checkGap(src *source, tok, next *tokens.Token) error {
	raw := src.text[tok.Pos:min(next.Pos, len(src.text))]
	trimmed := strings.TrimLeft(raw, "\n")
	breaks := len(raw) - len(trimmed)
	text := tok.Val
	switch {
	case tok.Type == tokens.String:
		if trimmed == "" || trimmed[0] != '\'' && trimmed[0] != '"' {
			return src.fail(tok.Line, "unexpected character %q", firstRune(trimmed))
		}
		tok.Val = tok.Val[min(breaks, len(tok.Val)):]
		// The lexer ends a string at the first quote that does not follow a backslash.
		end := 1
		for end < len(trimmed) && (trimmed[end] != trimmed[0] || trimmed[end-1] == '\\' && end > 1) {
			end++
		}
		text = trimmed[:min(end+1, len(trimmed))]
	case tok.Type == tokens.Name, tok.Type == tokens.Integer, tok.Type == tokens.Float:
		tok.Val = strings.TrimLeft(tok.Val, "\n")
		text = tok.Val
		if tok.Type == tokens.Name && !identifier.MatchString(text) {
			return src.fail(tok.Line+breaks, "unexpected %q", text)
		}
	default:
		text = strings.TrimLeft(text, "\n")
		if known := operatorText(tok.Type); known != "" && known != text {
			return src.fail(tok.Line+breaks, "unexpected character %q", firstRune(text))
		}
	}
	tok.Line += breaks
	rest := strings.TrimLeft(strings.TrimPrefix(trimmed, text), " \t\n")
	if rest != "" {
		return src.fail(tok.Line, "unexpected character %q", firstRune(rest))
	}
	return nil
}

func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

// operatorText returns the spelling of a token type that has only one, else "".
func operatorText(t tokens.Type) string {
	return map[tokens.Type]string{
		tokens.Addition: "+", tokens.Assign: "=", tokens.Colon: ":", tokens.Comma: ",", tokens.Division: "/",
		tokens.Dot: ".", tokens.Equals: "==", tokens.FloorDivision: "//", tokens.GreaterThan: ">",
		tokens.GreaterThanOrEqual: ">=", tokens.LeftBrace: "{", tokens.LeftBracket: "[", tokens.LeftParenthesis: "(",
		tokens.LowerThan: "<", tokens.LowerThanOrEqual: "<=", tokens.Not: "not", tokens.Is: "is", tokens.In: "in",
		tokens.And: "and", tokens.Or: "or", tokens.Modulo: "%", tokens.Multiply: "*", tokens.Ne: "!=", tokens.Pipe: "|",
		tokens.Power: "**", tokens.RightBrace: "}", tokens.RightBracket: "]", tokens.RightParenthesis: ")",
		tokens.Subtraction: "-", tokens.Tilde: "~",
	}[t]
}

// lexError says what the lexer stumbled over. Its message names no delimiter that is not closed.
func lexError(src *source, tok *tokens.Token, before []*tokens.Token) error {
	begin := lastBegin(before)
	switch {
	case strings.HasPrefix(tok.Val, "unclosed comment"):
		return src.fail(begin.Line, "comment is not closed: expected ##}")
	case strings.Contains(tok.Val, "raw closing"):
		return src.fail(begin.Line, "raw is not closed: expected {%% endraw %%}")
	case strings.HasPrefix(tok.Val, "Un") && (strings.Contains(tok.Val, "delimiter") || strings.Contains(tok.Val, `"!"`)):
		return src.fail(src.lineAt(tok.Pos), "%s", strings.ToLower(tok.Val[:1])+tok.Val[1:])
	case strings.Contains(tok.Val, "numeric"):
		return src.fail(src.lineAt(tok.Pos), "malformed number")
	}
	line := begin.Line
	if len(before) > 0 {
		line = before[len(before)-1].Line
	}
	return src.fail(line, "string is not closed")
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

// trimLines removes from the data tokens the line of every run of statements and comments that has its line to itself.
// Jinja's trim_blocks and lstrip_blocks, which the lexer offers, would also eat the newline after "x {% endif %}" and
// the blank before an inline "{% if %}", and so join words and lines of the script.
func trimLines(src *source, toks []*tokens.Token) {
	blank := func(s string) bool { return strings.Trim(s, " \t") == "" }
	var before *tokens.Token    // data in front of the run
	var between []*tokens.Token // data within it
	start, keep := -1, false    // where the run began in the source, -1: none; whether a "+" keeps its line
	for i := 0; i < len(toks); i++ {
		tok := toks[i]
		switch {
		case tok.Type == tokens.Data && start >= 0 && blank(tok.Val):
			between = append(between, tok)
			continue
		case tok.Type == tokens.Data:
			before, between, start, keep = tok, nil, -1, false
			continue
		case tok.Type != tokens.BlockBegin && tok.Type != tokens.CommentBegin:
			before, between, start, keep = nil, nil, -1, false
			continue
		}
		if start < 0 {
			start = tok.Pos
		}
		keep = keep || strings.HasSuffix(tok.Val, "+")
		for i++; toks[i].Type != tokens.BlockEnd && toks[i].Type != tokens.CommentEnd; i++ {
			if toks[i].Type == tokens.EOF {
				return
			}
		}
		end := toks[i]
		keep = keep || strings.HasPrefix(end.Val, "+")
		stop := end.Pos + len(end.Val)
		line, _, _ := strings.Cut(src.text[stop:], "\n")
		if next := strings.TrimLeft(line, " \t"); strings.HasPrefix(next, "{%") || strings.HasPrefix(next, "{##") {
			continue // the run goes on
		}
		head := src.text[strings.LastIndexByte(src.text[:start], '\n')+1 : start]
		if !keep && blank(head) && blank(line) {
			if before != nil && before.Pos+len(before.Val) == start {
				before.Val = strings.TrimRight(before.Val, " \t")
			}
			for _, data := range between {
				data.Val = ""
			}
			if data := toks[i+1]; data.Type == tokens.Data {
				rest := strings.TrimPrefix(data.Val[len(line):], "\n")
				data.Pos += len(data.Val) - len(rest)
				data.Val, data.Line = rest, src.lineAt(data.Pos)
			}
		}
		before, between, start, keep = nil, nil, -1, false
	}
}

// A grammar hands gonja's parser the statements of this package, bound to one source.
type grammar struct {
	src   *source
	toks  []*tokens.Token
	index map[*tokens.Token]int
	depth int // statements that are open
}

// parse runs gonja's parser over the tokens.
func (g *grammar) parse() (body []nodes.Node, err error) {
	p := parser.NewParser(g.src.name, tokens.NewStream(g.toks), lexicon, nil, g)
	defer g.malformed(&err, g.toks[0])
	tpl, err := p.Parse()
	if err != nil {
		return nil, g.explain(err, p.Current())
	}
	return tpl.Nodes, nil
}

// malformed, deferred, turns a panic of gonja's parser, which runs over the end of some incomplete expressions, into an
// error at the line of tok.
func (g *grammar) malformed(err *error, tok *tokens.Token) {
	if recover() != nil {
		*err = g.src.fail(tok.Line, "an expression is malformed")
	}
}

// Get implements parser.ControlStructureGetter.
func (g *grammar) Get(name string) (parser.ControlStructureParser, bool) {
	return func(p, args *parser.Parser) (_ nodes.ControlStructure, err error) {
		here := g.statementBefore(p.Current())
		defer g.malformed(&err, here)
		if g.depth++; g.depth > maxNesting {
			return nil, g.src.fail(here.Line, "statements are nested more than %d deep", maxNesting)
		}
		defer func() { g.depth-- }()
		read := statements[name]
		if read == nil {
			if strings.HasPrefix(name, "end") || name == "else" || name == "elif" {
				return nil, g.src.fail(here.Line, "%q without its beginning", name)
			}
			return nil, g.src.fail(here.Line, "unknown statement %q: there are if, for, set, macro, include, import, from, raw", name)
		}
		stmt, err := read(p, args, here)
		if err == nil && !args.End() {
			err = fmt.Errorf("unexpected %q", args.Current().Val)
		}
		if err == nil {
			return stmt, nil
		}
		if e := (*Error)(nil); !errors.As(err, &e) && p.Stream().EOF() && strings.Contains(err.Error(), "Unexpected EOF") {
			return nil, g.src.fail(here.Line, "%q is not closed: expected {%% end%s %%}", name, name)
		}
		return nil, g.explain(err, here)
	}, true
}

// statementBefore returns the opening token of the statement that ends right before tok.
func (g *grammar) statementBefore(tok *tokens.Token) *tokens.Token {
	i, ok := g.index[tok]
	if !ok {
		i = len(g.toks)
	}
	return lastBegin(g.toks[:i])
}

var positions = regexp.MustCompile(`\s*\(Line: \d+ Col: \d+, near .*`)

// explain turns an error of gonja's parser into one of ours; at is where to look when it has no position.
func (g *grammar) explain(err error, at *tokens.Token) error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	line, message, near := at.Line, err.Error(), ""
	var theirs *parser.SyntaxError
	if errors.As(err, &theirs) {
		message = theirs.Message
		if theirs.Line > 0 {
			line, near = theirs.Line, theirs.Raw
		}
	}
	message = strings.TrimRight(positions.ReplaceAllString(message, ""), ". ")
	if i := strings.Index(message, "<Token"); i >= 0 {
		message = strings.TrimRight(message[:i], ", got")
	}
	if strings.Contains(message, "invalid syntax") {
		message = `unknown escape in a string: write \\ for a backslash`
	}
	if message != "" {
		message = strings.ToLower(message[:1]) + message[1:]
	}
	if near = strings.TrimSpace(near); near != "" && len(near) <= 40 && !strings.Contains(message, near) {
		message += fmt.Sprintf(", found %q", near)
	}
	return g.src.fail(line, "%s", message)
}
