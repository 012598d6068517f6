package render

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Values are nil, bool, int, string, []any, map[string]any, and what templates make: *macro and module. No value is
// ever changed, so renderings may share them.

// freeze copies v into plain values. name says where v stands, for the error.
func freeze(name string, v any, depth int) (any, error) {
	switch v := v.(type) {
	case nil, bool, int, string:
		return v, nil
	}
	if depth > 32 {
		return nil, fmt.Errorf("%s: nested too deeply", name)
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Bool:
		return r.Bool(), nil
	case reflect.String:
		return r.String(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return int(r.Int()), nil
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return int(r.Uint()), nil
	case reflect.Slice:
		list := make([]any, r.Len())
		for i := range list {
			item, err := freeze(fmt.Sprintf("%s[%d]", name, i), r.Index(i).Interface(), depth+1)
			if err != nil {
				return nil, err
			}
			list[i] = item
		}
		return list, nil
	case reflect.Map:
		if r.Type().Key().Kind() != reflect.String {
			break
		}
		m := make(map[string]any, r.Len())
		for it := r.MapRange(); it.Next(); {
			key := it.Key().String()
			item, err := freeze(name+"."+key, it.Value().Interface(), depth+1)
			if err != nil {
				return nil, err
			}
			m[key] = item
		}
		return m, nil
	}
	return nil, fmt.Errorf("%s: a template cannot take a %T, only maps, lists, strings, booleans and whole numbers", name, v)
}

// kind names the kind of a value in messages.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	case *macro:
		return "a macro"
	default:
		return "a module"
	}
}

// text returns the printed form of a string or a number. Every other value is an error that says what to do.
func text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	case nil:
		return "", errors.New("cannot print null: give it a default, or test it with if")
	case bool:
		return "", errors.New("cannot print a boolean: write 'yes' if x else 'no'")
	case []any:
		return "", errors.New("cannot print a list: use | sh or | join(' ')")
	}
	return "", fmt.Errorf("cannot print %s", kind(v))
}

// truth is Python's: empty, zero and null are false.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equal)
	case module:
		return false
	}
	switch b.(type) {
	case nil, bool, int, string, *macro:
		return a == b
	}
	return false
}

// compare orders two numbers or two strings.
func compare(a, b any) (int, error) {
	switch a := a.(type) {
	case int:
		if b, ok := b.(int); ok {
			return cmp.Compare(a, b), nil
		}
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b), nil
		}
	}
	return 0, fmt.Errorf("cannot compare %s with %s", kind(a), kind(b))
}

// contains is the operator in.
func contains(in, v any) (bool, error) {
	switch in := in.(type) {
	case []any:
		return slices.ContainsFunc(in, func(item any) bool { return equal(item, v) }), nil
	case map[string]any:
		key, ok := v.(string)
		if !ok {
			return false, fmt.Errorf("the keys of a map are strings, not %s", kind(v))
		}
		_, ok = in[key]
		return ok, nil
	case string:
		part, ok := v.(string)
		if !ok {
			return false, fmt.Errorf("cannot look for %s in a string", kind(v))
		}
		return strings.Contains(in, part), nil
	}
	return false, fmt.Errorf("cannot look into %s", kind(in))
}

// items returns what a for loop sees: the items of a list, the sorted keys of a map.
func items(v any) ([]any, error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case map[string]any:
		list := make([]any, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = append(list, key)
		}
		return list, nil
	}
	return nil, fmt.Errorf("cannot loop over %s", kind(v))
}

// pairs returns the [key, value] pairs of a map, sorted by key.
func pairs(m map[string]any) []any {
	list := make([]any, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, []any{key, m[key]})
	}
	return list
}
