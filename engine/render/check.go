package render

import (
	"maps"
	"slices"
	"strings"

	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// check refuses what the parser lets through but the evaluator does not know, so that it is found in branches that are
// not taken too.
func check(src *source, body []nodes.Node) error {
	for _, node := range body {
		switch n := node.(type) {
		case *nodes.Data, *nodes.Comment:
		case *nodes.Output:
			if err := checkExprs(src, n.Start.Line, false, n.Expression); err != nil {
				return err
			}
			if err := checkExprs(src, n.Start.Line, true, n.Condition, n.Alternative); err != nil {
				return err
			}
		case *nodes.ControlStructureBlock:
			line := n.Location.Line
			if err := checkStatement(src, line, n.ControlStructure); err != nil {
				return err
			}
			for _, b := range bodies(n.ControlStructure) {
				if err := check(src, b); err != nil {
					return err
				}
			}
		default:
			return src.fail(0, "unexpected end of the template")
		}
	}
	return nil
}

func checkStatement(src *source, line int, stmt nodes.Node) error {
	switch s := stmt.(type) {
	case *ifStatement:
		return checkExprs(src, line, false, s.conditions...)
	case *forStatement:
		if err := checkNames(src, line, s.key, s.value); err != nil {
			return err
		}
		if err := checkExprs(src, line, false, s.over); err != nil {
			return err
		}
		return checkExprs(src, line, true, s.condition)
	case *setStatement:
		if err := checkNames(src, line, s.name); err != nil {
			return err
		}
		return checkExprs(src, line, true, s.value, s.condition, s.alternative)
	case *macroStatement:
		if err := checkNames(src, line, s.name); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, p := range s.params {
			if err := checkNames(src, line, p.name); err != nil {
				return err
			}
			if seen[p.name] {
				return src.fail(line, "parameter %q occurs twice", p.name)
			}
			seen[p.name] = true
			if err := checkExprs(src, line, true, p.value); err != nil {
				return err
			}
		}
	case *includeStatement:
		return checkNames(src, line, s.binds()...)
	}
	return nil
}

// checkNames refuses to give a value to a name of the language.
func checkNames(src *source, line int, list ...string) error {
	for _, name := range list {
		if builtin(name) || slices.Contains([]string{"true", "True", "false", "False", "nil", "None", "loop"}, name) {
			return src.fail(line, "%q is a name of the language and cannot be set", name)
		}
	}
	return nil
}

func checkExprs(src *source, line int, optional bool, list ...nodes.Expression) error {
	for _, n := range list {
		if n == nil && optional {
			continue
		}
		if err := checkExpr(src, line, n); err != nil {
			return err
		}
	}
	return nil
}

// checkExpr reports the first part of an expression that is not of the language; line is that of its surroundings.
func checkExpr(src *source, line int, node nodes.Node) error {
	if node == nil {
		return src.fail(line, "expected an expression")
	}
	if l := lineOf(node); l > 0 {
		line = l
	}
	switch n := node.(type) {
	case *nodes.BinaryExpression:
		switch n.Operator.Token.Type {
		case tokens.Division, tokens.Power:
			return src.fail(line, "operator %q is not supported: // divides whole numbers", strings.TrimSpace(n.Operator.Token.Val))
		}
	case *nodes.GetSlice:
		if n.Step != nil {
			return src.fail(line, "a slice with a step is not supported")
		}
	case *nodes.Call:
		if err := checkArguments(src, line, n.Args, n.Kwargs); err != nil {
			return err
		}
	case *nodes.FilteredExpression:
		for _, filter := range n.Filters {
			if filters[filter.Name] == nil {
				return src.fail(filter.Token.Line, "unknown filter %q: there are %s", filter.Name, known(filters))
			}
			if err := checkArguments(src, line, filter.Args, filter.Kwargs); err != nil {
				return err
			}
		}
	case *nodes.TestExpression:
		test := tests[n.Test.Name]
		if test == nil {
			return src.fail(n.Test.Token.Line, "unknown test %q: there are %s", n.Test.Name, known(tests))
		}
		if len(n.Test.Args) != test.args {
			return src.fail(n.Test.Token.Line, "test %q takes %d argument(s), not %d", n.Test.Name, test.args, len(n.Test.Args))
		}
		if err := checkArguments(src, line, n.Test.Args, n.Test.Kwargs); err != nil {
			return err
		}
	case *nodes.Error:
		return src.fail(line, "%s", n.Error)
	}
	for _, child := range children(node) {
		if err := checkExpr(src, line, child); err != nil {
			return err
		}
	}
	return nil
}

func checkArguments(src *source, line int, args []nodes.Expression, kwargs map[string]nodes.Expression) error {
	if err := checkExprs(src, line, false, args...); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(kwargs)) {
		if err := checkExpr(src, line, kwargs[key]); err != nil {
			return err
		}
	}
	return nil
}

func known[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}
