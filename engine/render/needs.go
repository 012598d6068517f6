package render

import (
	"maps"
	"slices"
	"strings"

	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// A template is a parsed file or text. It does not change once it is built.
type template struct {
	src   *source
	body  []nodes.Node
	files map[string]*template // what it includes or imports itself
	uses  []string             // names of all files below it, sorted
	needs []need               // what it and they read from the context
}

// A need is a name, or a name with attributes (a.b.c), that a template reads from the context.
type need struct {
	path string
	src  *source
	line int
}

// missing returns an error for the first need that ctx does not hold.
func (t *template) missing(ctx map[string]any) error {
	for _, n := range t.needs {
		parts := strings.Split(n.path, ".")
		var at any = ctx
		for i, part := range parts {
			m, ok := at.(map[string]any)
			if !ok {
				break
			}
			if at, ok = m[part]; !ok {
				return undefined(n.src, n.line, strings.Join(parts[:i], "."), part, m)
			}
		}
	}
	return nil
}

// undefined returns the error for the absent key of the map m, which the template calls parent; the context has no name.
func undefined(src *source, line int, parent, key string, m map[string]any) *Error {
	const most = 16
	names := slices.Sorted(maps.Keys(m))
	if len(names) > most {
		names = append(names[:most], "…")
	}
	what, where := key, "the context"
	if parent != "" {
		what, where = parent+"."+key, parent
	}
	known := where + " has " + strings.Join(names, ", ")
	if len(names) == 0 {
		known = where + " is empty"
	}
	e := src.fail(line, "%q is not defined: %s", what, known)
	e.undefined = true
	return e
}

// findNeeds returns what tpl needs of the context; its files are compiled already.
func findNeeds(tpl *template) ([]need, error) {
	f := &finder{tpl: tpl, excused: map[string]bool{}}
	everything := &names{own: map[string]bool{}}
	assigned(tpl.body, everything.own)
	f.late = everything
	f.nodes(tpl.body, &names{own: map[string]bool{}})
	needs := slices.DeleteFunc(f.found, func(n need) bool {
		for path := n.path; ; {
			if f.excused[path] || path != n.path && f.excused[path+"."] {
				return true
			}
			i := strings.LastIndexByte(path, '.')
			if i < 0 {
				return false
			}
			path = path[:i]
		}
	})
	return append(needs, f.included...), nil
}

// names is a scope of names that the template itself gives values to.
type names struct {
	own map[string]bool
	up  *names
}

func (n *names) has(name string) bool {
	for ; n != nil; n = n.up {
		if n.own[name] {
			return true
		}
	}
	return false
}

func (n *names) sub(own ...string) *names {
	s := &names{own: map[string]bool{}, up: n}
	for _, name := range own {
		s.own[name] = true
	}
	return s
}

// A finder walks one template.
type finder struct {
	tpl      *template
	late     *names // all names that the template sets anywhere: a macro sees those too that come after it
	found    []need
	included []need          // of included files; what those excuse is left out already
	excused  map[string]bool // paths that "is defined" tests; "path." where "in" tests the path's keys
}

// assigned adds the names that body sets to own.
func assigned(body []nodes.Node, own map[string]bool) {
	eachStatement(body, func(stmt nodes.Node) {
		switch s := stmt.(type) {
		case *setStatement:
			own[s.name] = true
		case *macroStatement:
			own[s.name] = true
		case *includeStatement:
			for _, name := range s.binds() {
				own[name] = true
			}
		}
	})
}

func (s *includeStatement) binds() []string {
	if s.as != "" {
		return []string{s.as}
	}
	var list []string
	for _, r := range s.names {
		list = append(list, r.as)
	}
	return list
}

// isInclude reports whether s renders the file in place.
func (s *includeStatement) isInclude() bool { return s.as == "" && len(s.names) == 0 }

// includes returns the include, import and from statements below body.
func includes(body []nodes.Node) []*includeStatement {
	var list []*includeStatement
	eachStatement(body, func(stmt nodes.Node) {
		if s, ok := stmt.(*includeStatement); ok {
			list = append(list, s)
		}
	})
	return list
}

// eachStatement calls visit for every statement below body, outer ones first.
func eachStatement(body []nodes.Node, visit func(nodes.Node)) {
	for _, node := range body {
		block, ok := node.(*nodes.ControlStructureBlock)
		if !ok {
			continue
		}
		visit(block.ControlStructure)
		for _, b := range bodies(block.ControlStructure) {
			eachStatement(b, visit)
		}
	}
}

// bodies returns the node lists of a statement.
func bodies(stmt nodes.Node) [][]nodes.Node {
	switch s := stmt.(type) {
	case *ifStatement:
		return s.bodies
	case *forStatement:
		return [][]nodes.Node{s.body, s.otherwise}
	case *setStatement:
		return [][]nodes.Node{s.body}
	case *macroStatement:
		return [][]nodes.Node{s.body}
	}
	return nil
}

func (f *finder) nodes(body []nodes.Node, known *names) {
	for _, node := range body {
		switch n := node.(type) {
		case *nodes.Output:
			f.exprs(known, n.Expression, n.Condition, n.Alternative)
		case *nodes.ControlStructureBlock:
			f.statement(n.ControlStructure, known)
		}
	}
}

func (f *finder) statement(stmt nodes.Node, known *names) {
	switch s := stmt.(type) {
	case *ifStatement:
		for i, body := range s.bodies {
			if i < len(s.conditions) {
				f.expr(s.conditions[i], known)
			}
			f.nodes(body, known)
		}
	case *forStatement:
		f.expr(s.over, known)
		inner := known.sub(s.key, s.value)
		f.exprs(inner, s.condition)
		inner.own["loop"] = true
		f.nodes(s.body, inner)
		f.nodes(s.otherwise, known)
	case *setStatement:
		f.exprs(known, s.value, s.condition, s.alternative)
		f.nodes(s.body, known.sub())
		known.own[s.name] = true
	case *macroStatement:
		known.own[s.name] = true
		// The body runs when the macro is called, and then names below the macro have their values too.
		inner := &names{own: map[string]bool{}, up: f.late}
		for n := known; n != nil; n = n.up {
			maps.Copy(inner.own, n.own)
		}
		for _, p := range s.params {
			f.exprs(inner, p.value)
			inner.own[p.name] = true
		}
		f.nodes(s.body, inner)
	case *includeStatement:
		for _, n := range f.tpl.files[s.file].needs {
			root, _, _ := strings.Cut(n.path, ".")
			if !s.isInclude() || !known.has(root) {
				f.included = append(f.included, n)
			}
		}
		for _, name := range s.binds() {
			known.own[name] = true
		}
	}
}

func (f *finder) exprs(known *names, list ...nodes.Expression) {
	for _, n := range list {
		if n != nil {
			f.expr(n, known)
		}
	}
}

func (f *finder) expr(node nodes.Node, known *names) {
	if path, ok := dotted(node); ok {
		root, _, _ := strings.Cut(path, ".")
		if !known.has(root) && !builtin(root) {
			f.found = append(f.found, need{path, f.tpl.src, lineOf(node)})
		}
		return
	}
	switch n := node.(type) {
	case *nodes.Call:
		if attr, ok := n.Func.(*nodes.GetAttribute); ok { // a method, or a macro of a module
			f.expr(attr.Node, known)
		} else {
			f.expr(n.Func, known)
		}
		f.arguments(n.Args, n.Kwargs, known)
		return
	case *nodes.FilteredExpression:
		if path, ok := dotted(n.Expression); ok && len(n.Filters) > 0 && isDefault(n.Filters[0].Name) {
			f.parent(path, n.Expression, known)
		} else {
			f.expr(n.Expression, known)
		}
		for _, filter := range n.Filters {
			f.arguments(filter.Args, filter.Kwargs, known)
		}
		return
	case *nodes.TestExpression:
		path, ok := dotted(n.Expression)
		if ok && (n.Test.Name == "defined" || n.Test.Name == "undefined") {
			f.excused[path] = true
			f.parent(path, n.Expression, known)
		} else {
			f.expr(n.Expression, known)
		}
		f.arguments(n.Test.Args, n.Test.Kwargs, known)
		if n.Test.Name == "in" && len(n.Test.Args) == 1 {
			if path, ok := dotted(n.Test.Args[0]); ok {
				f.excused[path+"."] = true
			}
		}
		return
	}
	for _, child := range children(node) {
		f.expr(child, known)
	}
}

// parent notes that what path, which may be undefined itself, hangs on is needed.
func (f *finder) parent(path string, node nodes.Node, known *names) {
	if attr, ok := node.(*nodes.GetAttribute); ok && strings.Contains(path, ".") {
		f.expr(attr.Node, known)
	}
}

func (f *finder) arguments(args []nodes.Expression, kwargs map[string]nodes.Expression, known *names) {
	for _, arg := range args {
		f.expr(arg, known)
	}
	for _, key := range slices.Sorted(maps.Keys(kwargs)) {
		f.expr(kwargs[key], known)
	}
}

// dotted returns "a.b.c" for a name with attributes.
func dotted(node nodes.Node) (string, bool) {
	switch n := node.(type) {
	case *nodes.Name:
		return n.Name.Val, true
	case *nodes.GetAttribute:
		if parent, ok := dotted(n.Node); ok && n.Attribute != "" {
			return parent + "." + n.Attribute, true
		}
	}
	return "", false
}

// children returns the parts of an expression, in reading order, without those of calls.
func children(node nodes.Node) []nodes.Expression {
	var list []nodes.Expression
	switch n := node.(type) {
	case *nodes.List:
		list = append(list, n.Val...)
	case *nodes.Tuple:
		list = append(list, n.Val...)
	case *nodes.Dict:
		for _, p := range n.Pairs {
			list = append(list, p.Key, p.Value)
		}
	case *nodes.GetItem:
		list = append(list, n.Node, n.Arg)
	case *nodes.GetSlice:
		list = append(list, n.Node)
		for _, part := range []nodes.Node{n.Start, n.End} {
			if part != nil {
				list = append(list, part)
			}
		}
	case *nodes.GetAttribute:
		list = append(list, n.Node)
	case *nodes.Negation:
		list = append(list, n.Term)
	case *nodes.UnaryExpression:
		list = append(list, n.Term)
	case *nodes.BinaryExpression:
		list = append(list, n.Left, n.Right)
	case *nodes.FilteredExpression:
		list = append(list, n.Expression)
	case *nodes.TestExpression:
		list = append(list, n.Expression)
	case *nodes.Call:
		list = append(list, n.Func)
	}
	return list
}

// lineOf returns the line of an expression. gonja's own Position follows missing parts blindly.
func lineOf(node nodes.Node) int {
	var tok *tokens.Token
	switch n := node.(type) {
	case *nodes.BinaryExpression:
		return lineOf(n.Left)
	case *nodes.FilteredExpression:
		return lineOf(n.Expression)
	case *nodes.TestExpression:
		return lineOf(n.Expression)
	case *nodes.GetAttribute:
		return lineOf(n.Node)
	case *nodes.GetItem:
		return lineOf(n.Node)
	case *nodes.GetSlice:
		return lineOf(n.Node)
	case *nodes.Call:
		return lineOf(n.Func)
	case nil:
		return 0
	default:
		tok = n.Position()
	}
	if tok == nil {
		return 0
	}
	return tok.Line
}
