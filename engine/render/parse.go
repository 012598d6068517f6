package render

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// Limits of a template's source. Parser and evaluator recurse, and Go cannot recover from a stack overflow.
const (
	maxSource     = 1 << 20 // bytes
	maxNesting    = 100     // statements within each other
	maxExpression = 2000    // tokens between two delimiters
)

// normalise turns the line ends of DOS and old Macs into "\n".
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
	p := parser.NewParser(g.src.name, tokens.NewStream(g.toks), config.New(), nil, g)
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
	if message != "" {
		message = strings.ToLower(message[:1]) + message[1:]
	}
	if near = strings.TrimSpace(near); near != "" && len(near) <= 40 && !strings.Contains(message, near) {
		message += fmt.Sprintf(", found %q", near)
	}
	return g.src.fail(line, "%s", message)
}
