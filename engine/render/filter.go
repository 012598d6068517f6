package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/nodes"
)

// A filter turns v into another value.
type filter func(r *run, v any, a *arguments) (any, error)

// filters lists the filters of the language. All are functions of their arguments alone.
var filters map[string]filter

func init() { // map and select look filters and tests up by name
	filters = map[string]filter{
		"sh": shFilter, "join": joinFilter, "default": defaultFilter, "d": defaultFilter,
		"length": lengthFilter, "count": lengthFilter, "list": listFilter, "items": itemsFilter, "dictsort": itemsFilter,
		"first": firstFilter, "last": lastFilter, "reverse": reverseFilter, "sort": sortFilter, "unique": uniqueFilter,
		"map": mapFilter, "select": selectFilter(true), "reject": selectFilter(false),
		"lower": stringFilter(strings.ToLower), "upper": stringFilter(strings.ToUpper), "trim": trimFilter,
		"replace": replaceFilter, "indent": indentFilter, "string": textFilter, "int": intFilter,
	}
}

// arguments are those of one call, taken by position or by name. Each must be taken.
type arguments struct {
	args   []any
	kwargs map[string]any
	next   int
	taken  int
}

// take returns the next argument, also known as name, or absent.
func (a *arguments) take(name string, absent any) any {
	at := a.next
	a.next++
	if at < len(a.args) {
		a.taken++
		return a.args[at]
	}
	if v, ok := a.kwargs[name]; ok {
		a.taken++
		return v
	}
	return absent
}

// done is an error if an argument is left.
func (a *arguments) done() error {
	if a.taken < len(a.args)+len(a.kwargs) {
		return fmt.Errorf("too many arguments")
	}
	return nil
}

// text takes a string.
func (a *arguments) text(name, absent string) (string, error) {
	v := a.take(name, absent)
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("argument %s must be a string, not %s", name, kind(v))
	}
	return s, nil
}

func isDefault(name string) bool { return name == "default" || name == "d" }

func (r *run) filtered(n *nodes.FilteredExpression, sc *scope) (any, error) {
	v, err := r.eval(n.Expression, sc)
	if e, ok := err.(*Error); ok && e.undefined && len(n.Filters) > 0 && isDefault(n.Filters[0].Name) {
		v, err = nil, nil
	}
	for _, call := range n.Filters {
		if err != nil {
			return nil, err
		}
		var args []any
		var kwargs map[string]any
		if args, kwargs, err = r.arguments(call.Args, call.Kwargs, sc); err != nil {
			return nil, err
		}
		v, err = r.filter(call.Name, v, &arguments{args: args, kwargs: kwargs})
		err = sc.at(call.Token.Line, err)
	}
	return v, err
}

func (r *run) filter(name string, v any, a *arguments) (any, error) {
	f := filters[name]
	if f == nil {
		return nil, fmt.Errorf("unknown filter %q", name)
	}
	v, err := f(r, v, a)
	if err == nil {
		err = a.done()
	}
	if err != nil {
		if _, ok := err.(*Error); ok {
			return nil, err
		}
		return nil, fmt.Errorf("filter %s: %w", name, err)
	}
	return v, nil
}

// shFilter quotes a string, a number, or each item of a list, for the shell.
func shFilter(r *run, v any, _ *arguments) (any, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	words := make([]string, len(list))
	for i, item := range list {
		s, err := text(item)
		if err != nil {
			return nil, fmt.Errorf("takes strings and lists of strings, not %s", kind(item))
		}
		if err := r.spend(4 * len(s)); err != nil {
			return nil, err
		}
		if words[i], err = Quote(s); err != nil {
			return nil, err
		}
	}
	return strings.Join(words, " "), nil
}

func joinFilter(r *run, v any, a *arguments) (any, error) {
	sep, err := a.text("d", "")
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("takes a list, not %s", kind(v))
	}
	words := make([]string, len(list))
	size := 0
	for i, item := range list {
		if words[i], err = text(item); err != nil {
			return nil, err
		}
		if size += len(words[i]) + len(sep); size > maxOutput {
			break
		}
	}
	if err := r.spend(size); err != nil {
		return nil, err
	}
	return strings.Join(words, sep), nil
}

// defaultFilter replaces what is undefined or null, and with a true second argument all that counts as false.
func defaultFilter(_ *run, v any, a *arguments) (any, error) {
	other, all := a.take("default_value", ""), a.take("boolean", false)
	if v == nil || truth(all) && !truth(v) {
		return other, nil
	}
	return v, nil
}

func lengthFilter(_ *run, v any, _ *arguments) (any, error) {
	switch v := v.(type) {
	case string:
		return len([]rune(v)), nil
	case []any:
		return len(v), nil
	case map[string]any:
		return len(v), nil
	}
	return nil, fmt.Errorf("%s has no length", kind(v))
}

func listFilter(_ *run, v any, _ *arguments) (any, error) { return items(v) }

func itemsFilter(_ *run, v any, _ *arguments) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("takes a map, not %s", kind(v))
	}
	return pairs(m), nil
}

func firstFilter(r *run, v any, _ *arguments) (any, error) { return end(v, 0) }

func lastFilter(r *run, v any, _ *arguments) (any, error) { return end(v, 1) }

// end returns the first item of a list, or the last.
func end(v any, last int) (any, error) {
	list, err := items(v)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("the list is empty")
	}
	return list[last*(len(list)-1)], nil
}

func reverseFilter(r *run, v any, _ *arguments) (any, error) {
	list, err := items(v)
	if err != nil {
		return nil, err
	}
	list = slices.Clone(list)
	slices.Reverse(list)
	return list, r.spend(len(list))
}

// sortFilter sorts strings or numbers, case-sensitively and by bytes.
func sortFilter(r *run, v any, _ *arguments) (any, error) {
	list, err := items(v)
	if err != nil {
		return nil, err
	}
	if err := r.spend(stepBytes * len(list)); err != nil {
		return nil, err
	}
	list = slices.Clone(list)
	var failed error
	sort.SliceStable(list, func(i, j int) bool {
		c, err := compare(list[i], list[j])
		if err != nil && failed == nil {
			failed = err
		}
		return c < 0
	})
	return list, failed
}

// uniqueFilter keeps the first of equal items.
func uniqueFilter(r *run, v any, _ *arguments) (any, error) {
	list, err := items(v)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, item := range list {
		if err := r.spend(len(out)); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(o any) bool { return equal(o, item) }) {
			out = append(out, item)
		}
	}
	return out, nil
}

// mapFilter is map('filter', …) or map(attribute='name').
func mapFilter(r *run, v any, a *arguments) (any, error) {
	list, err := items(v)
	if err != nil {
		return nil, err
	}
	out := make([]any, len(list))
	if attribute, ok := a.kwargs["attribute"].(string); ok && len(a.args) == 0 {
		a.taken++
		for i, item := range list {
			m, _ := item.(map[string]any)
			if out[i], ok = m[attribute]; !ok {
				return nil, fmt.Errorf("item %d has no %q", i, attribute)
			}
		}
		return out, r.spend(len(out))
	}
	name, err := a.text("filter", "")
	if err != nil {
		return nil, err
	}
	rest := a.args[min(1, len(a.args)):]
	for i, item := range list {
		if err := r.spend(0); err != nil {
			return nil, err
		}
		if out[i], err = r.filter(name, item, &arguments{args: rest, kwargs: a.kwargs}); err != nil {
			return nil, err
		}
	}
	a.taken = len(a.args) + len(a.kwargs)
	return out, nil
}

// selectFilter keeps the items that pass select('test', argument), or that count as true where no test is named.
func selectFilter(keep bool) filter {
	return func(r *run, v any, a *arguments) (any, error) {
		list, err := items(v)
		if err != nil {
			return nil, err
		}
		name, err := a.text("test", "")
		if err != nil {
			return nil, err
		}
		t := tests[name]
		rest := a.args[min(1, len(a.args)):]
		if name != "" && (t == nil || t.args != len(rest)) {
			return nil, fmt.Errorf("no test %q with %d arguments", name, len(rest))
		}
		a.taken = len(a.args)
		out := []any{}
		for _, item := range list {
			if err := r.spend(0); err != nil {
				return nil, err
			}
			ok := truth(item)
			if t != nil {
				if ok, err = t.holds(item, rest); err != nil {
					return nil, err
				}
			}
			if ok == keep {
				out = append(out, item)
			}
		}
		return out, nil
	}
}

func stringFilter(f func(string) string) filter {
	return func(r *run, v any, _ *arguments) (any, error) {
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("takes a string, not %s", kind(v))
		}
		return f(s), r.spend(len(s))
	}
}

func trimFilter(r *run, v any, a *arguments) (any, error) {
	set, err := a.text("chars", " \t\n")
	if err != nil {
		return nil, err
	}
	return stringFilter(func(s string) string { return strings.Trim(s, set) })(r, v, a)
}

func replaceFilter(r *run, v any, a *arguments) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("takes a string, not %s", kind(v))
	}
	old, err := a.text("old", "")
	if err != nil {
		return nil, err
	}
	with, err := a.text("new", "")
	if err != nil {
		return nil, err
	}
	if old == "" {
		return nil, errors.New("nothing to replace")
	}
	if err := r.spend(len(s) + strings.Count(s, old)*len(with)); err != nil {
		return nil, err
	}
	return strings.ReplaceAll(s, old, with), nil
}

// indentFilter puts blanks before each line that is not empty; before the first one only if asked.
func indentFilter(r *run, v any, a *arguments) (any, error) {
	s, ok := v.(string)
	width, isInt := a.take("width", 4).(int)
	first := truth(a.take("first", false))
	if !ok || !isInt || width < 0 || width > 1000 {
		return nil, errors.New("takes a string and a width of at most 1000")
	}
	lines := strings.SplitAfter(s, "\n")
	if err := r.spend(len(s) + width*len(lines)); err != nil {
		return nil, err
	}
	for i, line := range lines {
		if strings.TrimSpace(line) != "" && (i > 0 || first) {
			lines[i] = strings.Repeat(" ", width) + line
		}
	}
	return strings.Join(lines, ""), nil
}

func textFilter(_ *run, v any, _ *arguments) (any, error) { return text(v) }

func intFilter(_ *run, v any, _ *arguments) (any, error) {
	switch v := v.(type) {
	case int:
		return v, nil
	case string:
		n, err := strconv.Atoi(v)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", v)
		}
		return n, nil
	}
	return nil, fmt.Errorf("%s is not a whole number", kind(v))
}

// method calls a method of a map or a string.
func (r *run) method(of any, name string, args []any, kwargs map[string]any) (any, error) {
	a := &arguments{args: args, kwargs: kwargs}
	v, err := r.methodOf(of, name, a)
	if err == nil {
		err = a.done()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

func (r *run) methodOf(of any, name string, a *arguments) (any, error) {
	switch of := of.(type) {
	case map[string]any:
		switch name {
		case "items":
			return pairs(of), r.spend(len(of))
		case "keys":
			return items(of)
		case "values":
			list := make([]any, 0, len(of))
			for _, key := range slices.Sorted(maps.Keys(of)) {
				list = append(list, of[key])
			}
			return list, r.spend(len(of))
		case "get":
			key, err := a.text("key", "")
			other := a.take("default", nil)
			if v, ok := of[key]; ok {
				return v, err
			}
			return other, err
		}
	case string:
		switch name {
		case "startswith", "endswith":
			part, err := a.text("part", "")
			if name == "startswith" {
				return strings.HasPrefix(of, part), err
			}
			return strings.HasSuffix(of, part), err
		case "split":
			sep, err := a.text("sep", "")
			if err != nil {
				return nil, err
			}
			parts := strings.Fields(of)
			if sep != "" {
				parts = strings.Split(of, sep)
			}
			list := make([]any, len(parts))
			for i, part := range parts {
				list[i] = part
			}
			return list, r.spend(stepBytes / 4 * len(list))
		}
	}
	return nil, fmt.Errorf("%s has no such method", kind(of))
}

func sortedKeys[V any](m map[string]V) []string {
	if len(m) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(m))
}
