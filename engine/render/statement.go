package render

import (
	"errors"
	"fmt"

	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// at is where a statement begins; it makes the statements nodes of gonja.
type at struct{ tok *tokens.Token }

func (a at) Position() *tokens.Token { return a.tok }
func (a at) String() string          { return "statement" }
func (a at) line() int               { return a.tok.Line }

type (
	ifStatement struct {
		at
		conditions []nodes.Expression
		bodies     [][]nodes.Node // one for each condition, and one more for else
	}
	forStatement struct {
		at
		key, value string // value is empty where one name is given
		over       nodes.Expression
		condition  nodes.Expression // may be nil
		body       []nodes.Node
		otherwise  []nodes.Node
	}
	setStatement struct {
		at
		name                          string
		value, condition, alternative nodes.Expression // condition and alternative may be nil
		body                          []nodes.Node
		block                         bool // {% set x %}…{% endset %}
	}
	macroStatement struct {
		at
		name   string
		params []param
		body   []nodes.Node
	}
	param struct {
		name  string
		value nodes.Expression // nil: must be given
	}
	// includeStatement is include, import and from.
	includeStatement struct {
		at
		file  string
		as    string   // import FILE as NAME
		names []rename // from FILE import NAME as NAME, …
	}
	rename       struct{ name, as string }
	rawStatement struct {
		at
		body []nodes.Node
	}
)

// statements lists the statements of the language. A reader gets the template's parser behind the statement, the parser
// of the statement's arguments, and the token that opens the statement.
var statements = map[string]func(p, args *parser.Parser, here *tokens.Token) (nodes.Node, error){
	"if": readIf, "for": readFor, "set": readSet, "macro": readMacro, "raw": readRaw,
	"include": readInclude, "import": readImport, "from": readFrom,
}

// wrap reads the nodes up to one of the given statements, and returns which one it was.
func wrap(p *parser.Parser, ends ...string) ([]nodes.Node, *parser.Parser, string, error) {
	w, args, err := p.WrapUntil(ends...)
	if err != nil {
		return nil, nil, "", err
	}
	return w.Nodes, args, w.EndTag, nil
}

// wrapEnd is wrap for an end statement, which has no arguments.
func wrapEnd(p *parser.Parser, end string) ([]nodes.Node, error) {
	body, args, _, err := wrap(p, end)
	if err == nil && !args.End() {
		err = fmt.Errorf("%s takes no arguments", end)
	}
	return body, err
}

func readIf(p, args *parser.Parser, here *tokens.Token) (nodes.Node, error) {
	s := &ifStatement{at: at{here}}
	for {
		condition, err := args.ParseExpression()
		if err != nil {
			return nil, err
		}
		if !args.End() {
			return nil, fmt.Errorf("unexpected %q after the condition", args.Current().Val)
		}
		body, next, end, err := wrap(p, "elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		s.conditions = append(s.conditions, condition)
		s.bodies = append(s.bodies, body)
		if end == "elif" {
			args = next
			continue
		}
		if !next.End() {
			return nil, fmt.Errorf("%s takes no arguments", end)
		}
		if end == "else" {
			body, err := wrapEnd(p, "endif")
			if err != nil {
				return nil, err
			}
			s.bodies = append(s.bodies, body)
		}
		return s, nil
	}
}

func readFor(p, args *parser.Parser, here *tokens.Token) (nodes.Node, error) {
	s := &forStatement{at: at{here}}
	key := args.Match(tokens.Name)
	if key == nil {
		return nil, errors.New("expected a name after for")
	}
	s.key = key.Val
	if args.Match(tokens.Comma) != nil {
		value := args.Match(tokens.Name)
		if value == nil {
			return nil, errors.New("expected a name after the comma")
		}
		s.value = value.Val
	}
	if args.Match(tokens.In) == nil {
		return nil, errors.New("expected in")
	}
	var err error
	if s.over, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	if args.MatchName("if") != nil {
		if s.condition, err = args.ParseExpression(); err != nil {
			return nil, err
		}
	}
	if !args.End() {
		return nil, fmt.Errorf("unexpected %q in for", args.Current().Val)
	}
	body, next, end, err := wrap(p, "else", "endfor")
	if err != nil {
		return nil, err
	}
	s.body = body
	if !next.End() {
		return nil, fmt.Errorf("%s takes no arguments", end)
	}
	if end == "else" {
		s.otherwise, err = wrapEnd(p, "endfor")
	}
	return s, err
}

func readSet(p, args *parser.Parser, here *tokens.Token) (nodes.Node, error) {
	s := &setStatement{at: at{here}}
	name := args.Match(tokens.Name)
	if name == nil {
		return nil, errors.New("expected a name after set")
	}
	s.name = name.Val
	var err error
	if args.End() {
		s.block = true
		s.body, err = wrapEnd(p, "endset")
		return s, err
	}
	if args.Match(tokens.Assign) == nil {
		return nil, errors.New("expected = after the name: only plain names can be set")
	}
	if s.value, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	s.condition, s.alternative, err = args.ParseCondition()
	if err == nil && s.condition != nil && s.alternative == nil {
		err = errors.New("set with if needs an else")
	}
	return s, err
}

func readMacro(p, args *parser.Parser, here *tokens.Token) (nodes.Node, error) {
	s := &macroStatement{at: at{here}}
	name := args.Match(tokens.Name)
	if name == nil || args.Match(tokens.LeftParenthesis) == nil {
		return nil, errors.New("expected macro NAME(PARAMETERS)")
	}
	s.name = name.Val
	for args.Match(tokens.RightParenthesis) == nil {
		if len(s.params) > 0 && args.Match(tokens.Comma) == nil {
			return nil, errors.New("expected , or ) in the parameters")
		}
		name := args.Match(tokens.Name)
		if name == nil {
			return nil, errors.New("expected the name of a parameter")
		}
		prm := param{name: name.Val}
		if args.Match(tokens.Assign) != nil {
			value, err := args.ParseExpression()
			if err != nil {
				return nil, err
			}
			prm.value = value
		}
		s.params = append(s.params, prm)
	}
	if !args.End() {
		return nil, errors.New("unexpected text after the parameters")
	}
	var err error
	s.body, err = wrapEnd(p, "endmacro")
	return s, err
}

func readRaw(p, args *parser.Parser, here *tokens.Token) (nodes.Node, error) {
	body, err := wrapEnd(p, "endraw")
	return &rawStatement{at{here}, body}, err
}

func readFile(args *parser.Parser, here *tokens.Token) (*includeStatement, error) {
	expr, err := args.ParseExpression()
	if err != nil {
		return nil, err
	}
	file, ok := expr.(*nodes.String)
	if !ok {
		return nil, errors.New("the name of a file must be a literal string, so that a script's inputs are known without rendering it")
	}
	return &includeStatement{at: at{here}, file: file.Val}, nil
}

func readInclude(p, args *parser.Parser, here *tokens.Token) (nodes.Node, error) {
	return readFile(args, here)
}

func readImport(p, args *parser.Parser, here *tokens.Token) (nodes.Node, error) {
	s, err := readFile(args, here)
	if err != nil {
		return nil, err
	}
	if args.MatchName("as") == nil {
		return nil, errors.New("expected as NAME after the file")
	}
	name := args.Match(tokens.Name)
	if name == nil {
		return nil, errors.New("expected a name after as")
	}
	s.as = name.Val
	return s, nil
}

func readFrom(p, args *parser.Parser, here *tokens.Token) (nodes.Node, error) {
	s, err := readFile(args, here)
	if err != nil {
		return nil, err
	}
	if args.MatchName("import") == nil {
		return nil, errors.New("expected import after the file")
	}
	for len(s.names) == 0 || args.Match(tokens.Comma) != nil {
		name := args.Match(tokens.Name)
		if name == nil {
			return nil, errors.New("expected the name of a macro")
		}
		r := rename{name.Val, name.Val}
		if args.MatchName("as") != nil {
			as := args.Match(tokens.Name)
			if as == nil {
				return nil, errors.New("expected a name after as")
			}
			r.as = as.Val
		}
		s.names = append(s.names, r)
	}
	return s, nil
}
