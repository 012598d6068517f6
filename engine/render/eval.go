package render

import (
	"errors"
	"fmt"
	"math"

	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// builtin reports whether name has a value without the context: none, and the function range.
func builtin(name string) bool { return name == "none" || name == "range" }

// eval returns the value of an expression. Its errors have a place.
func (r *run) eval(node nodes.Node, sc *scope) (any, error) {
	if err := r.spend(0); err != nil {
		return nil, sc.at(lineOf(node), err)
	}
	v, err := r.value(node, sc)
	if err != nil {
		return nil, sc.at(lineOf(node), err)
	}
	return v, nil
}

func (r *run) value(node nodes.Node, sc *scope) (any, error) {
	switch n := node.(type) {
	case *nodes.None:
		return nil, nil
	case *nodes.String:
		return n.Val, nil
	case *nodes.Integer:
		return n.Val, nil
	case *nodes.Bool:
		return n.Val, nil
	case *nodes.Name:
		return r.name(n, sc)
	case *nodes.List:
		return r.list(n.Val, sc)
	case *nodes.Tuple:
		return r.list(n.Val, sc)
	case *nodes.Dict:
		return r.dict(n, sc)
	case *nodes.GetAttribute:
		of, err := r.eval(n.Node, sc)
		if err != nil {
			return nil, err
		}
		if n.Attribute == "" {
			return r.item(n.Node, of, n.Index, sc)
		}
		return r.item(n.Node, of, n.Attribute, sc)
	case *nodes.GetItem:
		of, err := r.eval(n.Node, sc)
		if err != nil {
			return nil, err
		}
		key, err := r.eval(n.Arg, sc)
		if err != nil {
			return nil, err
		}
		return r.item(n.Node, of, key, sc)
	case *nodes.GetSlice:
		return r.slice(n, sc)
	case *nodes.Negation:
		v, err := r.eval(n.Term, sc)
		return !truth(v), err
	case *nodes.UnaryExpression:
		v, err := r.eval(n.Term, sc)
		if err != nil {
			return nil, err
		}
		i, ok := v.(int)
		if !ok {
			return nil, fmt.Errorf("%s has no sign", kind(v))
		}
		if n.Negative {
			return -i, nil
		}
		return i, nil
	case *nodes.BinaryExpression:
		return r.binary(n, sc)
	case *nodes.Call:
		return r.function(n, sc)
	case *nodes.FilteredExpression:
		return r.filtered(n, sc)
	case *nodes.TestExpression:
		return r.test(n, sc)
	}
	return nil, fmt.Errorf("unknown expression %T", node)
}

func (r *run) name(n *nodes.Name, sc *scope) (any, error) {
	if v, ok := sc.lookup(n.Name.Val); ok {
		return v, nil
	}
	switch n.Name.Val {
	case "none":
		return nil, nil
	case "range":
		return nil, errors.New("range is a function: write range(N)")
	}
	return nil, undefined(sc.src.src, n.Name.Line, "", n.Name.Val, r.context.vars)
}

func (r *run) list(exprs []nodes.Expression, sc *scope) (any, error) {
	list := make([]any, len(exprs))
	for i, expr := range exprs {
		v, err := r.eval(expr, sc)
		if err != nil {
			return nil, err
		}
		list[i] = v
	}
	return list, nil
}

func (r *run) dict(n *nodes.Dict, sc *scope) (any, error) {
	m := make(map[string]any, len(n.Pairs))
	for _, p := range n.Pairs {
		key, err := r.eval(p.Key, sc)
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("the keys of a map are strings, not %s", kind(key))
		}
		if m[name], err = r.eval(p.Value, sc); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// item returns of[key]; node is the expression that gave of.
func (r *run) item(node nodes.Node, of, key any, sc *scope) (any, error) {
	what, ok := dotted(node)
	if !ok {
		what = "the value"
	}
	switch of := of.(type) {
	case map[string]any, module:
		m, ok := of.(map[string]any)
		if !ok {
			m = of.(module)
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("the keys of a map are strings, not %s", kind(key))
		}
		v, ok := m[name]
		if !ok {
			return nil, undefined(sc.src.src, lineOf(node), what, name, m)
		}
		return v, nil
	case []any:
		i, ok := key.(int)
		if !ok {
			return nil, fmt.Errorf("%s is a list: its items have numbers, not %q", what, fmt.Sprint(key))
		}
		if i < 0 {
			i += len(of)
		}
		if i < 0 || i >= len(of) {
			e := sc.src.src.fail(lineOf(node), "%s has %d items, there is no item %d", what, len(of), key)
			e.undefined = true
			return nil, e
		}
		return of[i], nil
	}
	return nil, fmt.Errorf("%s is %s and has no %q", what, kind(of), fmt.Sprint(key))
}

func (r *run) slice(n *nodes.GetSlice, sc *scope) (any, error) {
	of, err := r.eval(n.Node, sc)
	if err != nil {
		return nil, err
	}
	size := 0
	switch of := of.(type) {
	case []any:
		size = len(of)
	case string:
		size = len(of)
	default:
		return nil, fmt.Errorf("cannot slice %s", kind(of))
	}
	bound := func(expr nodes.Node, absent int) (int, error) {
		if expr == nil {
			return absent, nil
		}
		v, err := r.eval(expr, sc)
		if err != nil {
			return 0, err
		}
		i, ok := v.(int)
		if !ok {
			return 0, fmt.Errorf("a slice goes from number to number, not %s", kind(v))
		}
		if i < 0 {
			i += size
		}
		return max(0, min(i, size)), nil
	}
	from, err := bound(n.Start, 0)
	if err != nil {
		return nil, err
	}
	to, err := bound(n.End, size)
	if err != nil {
		return nil, err
	}
	to = max(from, to)
	if s, ok := of.(string); ok {
		return s[from:to], nil
	}
	return of.([]any)[from:to:to], nil
}

func (r *run) binary(n *nodes.BinaryExpression, sc *scope) (any, error) {
	a, err := r.eval(n.Left, sc)
	if err != nil {
		return nil, err
	}
	op := n.Operator.Token.Type
	if op == tokens.And && !truth(a) || op == tokens.Or && truth(a) {
		return a, nil
	}
	b, err := r.eval(n.Right, sc)
	if err != nil {
		return nil, err
	}
	switch op {
	case tokens.And, tokens.Or:
		return b, nil
	case tokens.Equals:
		return equal(a, b), nil
	case tokens.Ne:
		return !equal(a, b), nil
	case tokens.In:
		return contains(b, a)
	case tokens.Tilde:
		left, err := text(a)
		if err != nil {
			return nil, err
		}
		right, err := text(b)
		if err != nil {
			return nil, err
		}
		return left + right, r.spend(len(left) + len(right))
	case tokens.LowerThan, tokens.LowerThanOrEqual, tokens.GreaterThan, tokens.GreaterThanOrEqual:
		c, err := compare(a, b)
		return op == tokens.LowerThan && c < 0 || op == tokens.LowerThanOrEqual && c <= 0 ||
			op == tokens.GreaterThan && c > 0 || op == tokens.GreaterThanOrEqual && c >= 0, err
	}
	return r.arithmetic(op, n.Operator.Token.Val, a, b)
}

// arithmetic computes with numbers; + joins two strings or two lists too.
func (r *run) arithmetic(op tokens.Type, sign string, a, b any) (any, error) {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok && op == tokens.Addition {
			return a + b, r.spend(len(a) + len(b))
		}
	case []any:
		if b, ok := b.([]any); ok && op == tokens.Addition {
			if err := r.spend(len(a) + len(b)); err != nil {
				return nil, err
			}
			return append(a[:len(a):len(a)], b...), nil
		}
	case int:
		b, ok := b.(int)
		if !ok {
			break
		}
		// Within 32 bits no operation below overflows, and scripts need no more.
		if max(a, b) > math.MaxInt32 || min(a, b) < math.MinInt32 {
			return nil, errors.New("the number is too large to compute with")
		}
		switch op {
		case tokens.Addition:
			return a + b, nil
		case tokens.Subtraction:
			return a - b, nil
		case tokens.Multiply:
			return a * b, nil
		case tokens.FloorDivision, tokens.Modulo:
			if b == 0 {
				return nil, errors.New("division by zero")
			}
			// Python rounds down.
			quotient, rest := a/b, a%b
			if rest != 0 && (rest < 0) != (b < 0) {
				quotient, rest = quotient-1, rest+b
			}
			if op == tokens.Modulo {
				return rest, nil
			}
			return quotient, nil
		}
	}
	return nil, fmt.Errorf("operator %q does not take %s and %s", sign, kind(a), kind(b))
}

// arguments evaluates the arguments of a call, a filter or a test.
func (r *run) arguments(args []nodes.Expression, kwargs map[string]nodes.Expression, sc *scope) ([]any, map[string]any, error) {
	values := make([]any, len(args))
	var err error
	for i, arg := range args {
		if values[i], err = r.eval(arg, sc); err != nil {
			return nil, nil, err
		}
	}
	named := make(map[string]any, len(kwargs))
	for _, key := range sortedKeys(kwargs) {
		if named[key], err = r.eval(kwargs[key], sc); err != nil {
			return nil, nil, err
		}
	}
	return values, named, nil
}

// function calls range, a macro, or a method of a map or a string.
func (r *run) function(n *nodes.Call, sc *scope) (any, error) {
	args, kwargs, err := r.arguments(n.Args, n.Kwargs, sc)
	if err != nil {
		return nil, err
	}
	var called any
	switch f := n.Func.(type) {
	case *nodes.Name:
		if _, shadowed := sc.lookup("range"); f.Name.Val == "range" && !shadowed {
			return r.numbers(args, kwargs)
		}
		called, err = r.eval(f, sc)
	case *nodes.GetAttribute:
		var of any
		if of, err = r.eval(f.Node, sc); err != nil {
			return nil, err
		}
		if _, ok := of.(module); !ok {
			return r.method(of, f.Attribute, args, kwargs)
		}
		called, err = r.item(f.Node, of, f.Attribute, sc)
	default:
		called, err = r.eval(f, sc)
	}
	if err != nil {
		return nil, err
	}
	m, ok := called.(*macro)
	if !ok {
		return nil, fmt.Errorf("%s cannot be called", kind(called))
	}
	return r.call(m, args, kwargs)
}

// numbers is range([start,] stop[, step]).
func (r *run) numbers(args []any, kwargs map[string]any) (any, error) {
	bounds := []int{0, 0, 1}
	if len(args) < 1 || len(args) > 3 || len(kwargs) > 0 {
		return nil, errors.New("range takes one to three numbers")
	}
	for i, arg := range args {
		n, ok := arg.(int)
		if !ok || n > math.MaxInt32 || n < math.MinInt32 {
			return nil, fmt.Errorf("range takes small numbers, not %s", kind(arg))
		}
		if len(args) == 1 {
			i = 1
		}
		bounds[i] = n
	}
	start, stop, step := bounds[0], bounds[1], bounds[2]
	if step == 0 {
		return nil, errors.New("the step of range cannot be 0")
	}
	if err := r.spend(max(0, (stop-start)/step)); err != nil {
		return nil, err
	}
	list := []any{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		list = append(list, i)
	}
	return list, nil
}
