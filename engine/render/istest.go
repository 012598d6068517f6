package render

import (
	"fmt"

	"github.com/nikolalohinski/gonja/v2/nodes"
)

// A test is what follows "is", and the operator in.
type test struct {
	args  int
	holds func(v any, args []any) (bool, error)
}

func kindTest(f func(v any) bool) *test {
	return &test{0, func(v any, _ []any) (bool, error) { return f(v), nil }}
}

func isA[T any](v any) bool { _, ok := v.(T); return ok }

// tests lists the tests of the language.
var tests = map[string]*test{
	"defined":   kindTest(func(v any) bool { return v != nil }),
	"undefined": kindTest(func(v any) bool { return v == nil }),
	"none":      kindTest(func(v any) bool { return v == nil }),
	"string":    kindTest(isA[string]),
	"number":    kindTest(isA[int]),
	"integer":   kindTest(isA[int]),
	"boolean":   kindTest(isA[bool]),
	"sequence":  kindTest(isA[[]any]),
	"mapping":   kindTest(isA[map[string]any]),
	"true":      kindTest(func(v any) bool { return v == true }),
	"false":     kindTest(func(v any) bool { return v == false }),
	"in":        {1, func(v any, args []any) (bool, error) { return contains(args[0], v) }},
	"eq":        {1, func(v any, args []any) (bool, error) { return equal(v, args[0]), nil }},
	"equalto":   {1, func(v any, args []any) (bool, error) { return equal(v, args[0]), nil }},
	"ne":        {1, func(v any, args []any) (bool, error) { return !equal(v, args[0]), nil }},
}

func (r *run) test(n *nodes.TestExpression, sc *scope) (any, error) {
	v, err := r.eval(n.Expression, sc)
	if e, ok := err.(*Error); ok && e.undefined && (n.Test.Name == "defined" || n.Test.Name == "undefined") {
		v, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	args, kwargs, err := r.arguments(n.Test.Args, n.Test.Kwargs, sc)
	if err != nil {
		return nil, err
	}
	if len(kwargs) > 0 {
		return nil, fmt.Errorf("test %s takes no named arguments", n.Test.Name)
	}
	return tests[n.Test.Name].holds(v, args)
}
