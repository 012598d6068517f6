package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nikolalohinski/gonja/v2/nodes"
)

// Limits of one rendering. A template that exceeds one is in error; the scripts of a whole system come nowhere near.
const (
	maxOutput = 16 << 20 // bytes of the script, and of every string on the way
	maxDepth  = 50       // macros and files within each other
	maxSteps  = 2 << 20  // nodes rendered and expressions evaluated; long results count for more
	stepBytes = 256      // bytes or list items that count as one step
)

// A scope holds the names that a template sets. src is the text that its nodes are of.
type scope struct {
	src  *template
	vars map[string]any
	up   *scope
}

func (s *scope) sub(src *template) *scope { return &scope{src: src, vars: map[string]any{}, up: s} }

func (s *scope) lookup(name string) (any, bool) {
	for ; s != nil; s = s.up {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// A macro is a value; it runs in the scope that defines it.
type macro struct {
	def   *macroStatement
	scope *scope
}

// A module holds what an imported file defines.
type module map[string]any

// A run is one rendering.
type run struct {
	steps, depth int
	context      *scope // what the caller gave
}

// render renders tpl with a frozen copy of ctx.
func render(tpl *template, ctx map[string]any) (out string, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = "", tpl.src.fail(0, "cannot render: %v", r)
		}
	}()
	frozen := make(map[string]any, len(ctx))
	for name, v := range ctx {
		if frozen[name], err = freeze(name, v, 0); err != nil {
			return "", fmt.Errorf("%s: %w", tpl.src.name, err)
		}
	}
	if err := tpl.missing(frozen); err != nil {
		return "", err
	}
	r := &run{context: &scope{src: tpl, vars: frozen}}
	var w strings.Builder
	if err := r.nodes(tpl.body, r.context.sub(tpl), &w); err != nil {
		return "", err
	}
	return w.String(), nil
}

// spend counts a step that yields size bytes or items.
func (r *run) spend(size int) error {
	if size < 0 || size > maxOutput {
		return fmt.Errorf("a result is larger than %d MiB", maxOutput>>20)
	}
	if r.steps += 1 + size/stepBytes; r.steps > maxSteps {
		return fmt.Errorf("the template does not come to an end: more than %d steps", maxSteps)
	}
	return nil
}

// enter counts a macro or file within another.
func (r *run) enter() error {
	if r.depth++; r.depth > maxDepth {
		return fmt.Errorf("macros and files are nested more than %d deep: does one call itself?", maxDepth)
	}
	return nil
}

// at gives err a place, unless it has one.
func (s *scope) at(line int, err error) error {
	if _, ok := err.(*Error); ok || err == nil {
		return err
	}
	return s.src.src.fail(line, "%s", err)
}

func (r *run) write(w *strings.Builder, s string) error {
	if w.Len()+len(s) > maxOutput {
		return fmt.Errorf("the output is larger than %d MiB", maxOutput>>20)
	}
	w.WriteString(s)
	return r.spend(len(s))
}

func (r *run) nodes(body []nodes.Node, sc *scope, w *strings.Builder) error {
	for _, node := range body {
		switch n := node.(type) {
		case *nodes.Data:
			if err := r.write(w, data(n)); err != nil {
				return sc.at(n.Data.Line, err)
			}
		case *nodes.Output:
			if err := r.output(n, sc, w); err != nil {
				return sc.at(n.Start.Line, err)
			}
		case *nodes.ControlStructureBlock:
			if err := r.statement(n.ControlStructure, sc, w); err != nil {
				return sc.at(n.Location.Line, err)
			}
		}
	}
	return nil
}

func data(n *nodes.Data) string {
	s := n.Data.Val
	if n.Trim.Left {
		s = strings.TrimLeft(s, " \n\t")
	}
	if n.Trim.Right {
		s = strings.TrimRight(s, " \n\t")
	}
	return s
}

func (r *run) output(n *nodes.Output, sc *scope, w *strings.Builder) error {
	chosen, err := r.choose(n.Expression, n.Condition, n.Alternative, sc)
	if err != nil || chosen == nil {
		return err // without an else, nothing prints where the condition is false
	}
	v, err := r.eval(chosen, sc)
	if err != nil {
		return err
	}
	s, err := text(v)
	if err != nil {
		return sc.at(lineOf(chosen), err)
	}
	return r.write(w, s)
}

// choose returns the branch that counts of "value if condition else alternative"; the last two may be nil.
func (r *run) choose(value, condition, alternative nodes.Node, sc *scope) (nodes.Node, error) {
	if condition == nil {
		return value, nil
	}
	v, err := r.eval(condition, sc)
	if err == nil && truth(v) {
		return value, nil
	}
	return alternative, err
}

func (r *run) statement(stmt nodes.Node, sc *scope, w *strings.Builder) error {
	if err := r.spend(0); err != nil {
		return err
	}
	switch s := stmt.(type) {
	case *ifStatement:
		for i, body := range s.bodies {
			if i < len(s.conditions) {
				v, err := r.eval(s.conditions[i], sc)
				if err != nil {
					return err
				}
				if !truth(v) {
					continue
				}
			}
			return r.nodes(body, sc, w)
		}
	case *forStatement:
		return r.loop(s, sc, w)
	case *setStatement:
		return r.set(s, sc)
	case *macroStatement:
		sc.vars[s.name] = &macro{s, sc}
	case *includeStatement:
		return r.include(s, sc, w)
	case *rawStatement:
		return r.nodes(s.body, sc, w)
	}
	return nil
}

func (r *run) set(s *setStatement, sc *scope) error {
	if !s.block {
		chosen, err := r.choose(s.value, s.condition, s.alternative, sc)
		if err != nil {
			return err
		}
		sc.vars[s.name], err = r.eval(chosen, sc)
		return err
	}
	var w strings.Builder
	if err := r.nodes(s.body, sc.sub(sc.src), &w); err != nil {
		return err
	}
	sc.vars[s.name] = w.String()
	return nil
}

func (r *run) loop(s *forStatement, sc *scope, w *strings.Builder) error {
	over, err := r.eval(s.over, sc)
	if err != nil {
		return err
	}
	list, err := items(over)
	if m, ok := over.(map[string]any); ok && s.value != "" {
		list = pairs(m)
	}
	if err != nil {
		return err
	}
	var turns []*scope
	for _, item := range list {
		if err := r.spend(0); err != nil {
			return err
		}
		inner := sc.sub(sc.src)
		if s.value == "" {
			inner.vars[s.key] = item
		} else if pair, ok := item.([]any); ok && len(pair) == 2 {
			inner.vars[s.key], inner.vars[s.value] = pair[0], pair[1]
		} else {
			return fmt.Errorf("for %s, %s needs a map or a list of pairs, not %s", s.key, s.value, kind(item))
		}
		if s.condition != nil {
			v, err := r.eval(s.condition, inner)
			if err != nil {
				return err
			}
			if !truth(v) {
				continue
			}
		}
		turns = append(turns, inner)
	}
	if len(turns) == 0 {
		return r.nodes(s.otherwise, sc, w)
	}
	for i, inner := range turns {
		inner.vars["loop"] = map[string]any{
			"index": i + 1, "index0": i, "first": i == 0, "last": i == len(turns)-1, "length": len(turns),
		}
		if err := r.nodes(s.body, inner, w); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) include(s *includeStatement, sc *scope, w *strings.Builder) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer func() { r.depth-- }()
	tpl := sc.src.files[s.file]
	if s.isInclude() {
		return r.nodes(tpl.body, sc.sub(tpl), w)
	}
	// An imported file sees the context and nothing of its importer, and what it prints is dropped.
	inner := r.context.sub(tpl)
	if err := r.nodes(tpl.body, inner, &strings.Builder{}); err != nil {
		return err
	}
	if s.as != "" {
		sc.vars[s.as] = module(inner.vars)
		return nil
	}
	for _, n := range s.names {
		v, ok := inner.vars[n.name]
		if !ok {
			return fmt.Errorf("%s defines no %q", s.file, n.name)
		}
		sc.vars[n.as] = v
	}
	return nil
}

// call renders a macro. Its result is a string.
func (r *run) call(m *macro, args []any, kwargs map[string]any) (any, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer func() { r.depth-- }()
	if len(args) > len(m.def.params) {
		return nil, fmt.Errorf("macro %s takes %d argument(s), not %d", m.def.name, len(m.def.params), len(args))
	}
	inner := m.scope.sub(m.scope.src)
	for i, p := range m.def.params {
		v, named := kwargs[p.name]
		switch {
		case named && i < len(args):
			return nil, fmt.Errorf("macro %s: argument %q is given twice", m.def.name, p.name)
		case i < len(args):
			v = args[i]
		case named:
		case p.value == nil:
			return nil, fmt.Errorf("macro %s needs the argument %q", m.def.name, p.name)
		default:
			var err error
			if v, err = r.eval(p.value, inner); err != nil {
				return nil, err
			}
		}
		inner.vars[p.name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(kwargs)) {
		if !slices.ContainsFunc(m.def.params, func(p param) bool { return p.name == name }) {
			return nil, fmt.Errorf("macro %s has no parameter %q", m.def.name, name)
		}
	}
	var w strings.Builder
	err := r.nodes(m.def.body, inner, &w)
	return w.String(), err
}
