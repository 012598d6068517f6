package load

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions are what expressions may call.
var functions = map[string]function.Function{
	"concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc, "format": stdlib.FormatFunc,
	"join": stdlib.JoinFunc, "keys": stdlib.KeysFunc, "length": stdlib.LengthFunc, "lookup": stdlib.LookupFunc,
	"lower": stdlib.LowerFunc, "merge": stdlib.MergeFunc, "regexreplace": stdlib.RegexReplaceFunc,
	"replace": stdlib.ReplaceFunc, "split": stdlib.SplitFunc, "trimprefix": stdlib.TrimPrefixFunc,
	"trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc,
}

// An Attrs reads the attributes of one block: each getter returns the zero value
// where the attribute is absent, and adds a diagnostic where it has the wrong type.
type Attrs struct {
	Diags hcl.Diagnostics
	attrs hcl.Attributes
	ctx   *hcl.EvalContext
}

// NewAttrs reads attrs with ctx.
func NewAttrs(attrs hcl.Attributes, ctx *hcl.EvalContext) *Attrs {
	return &Attrs{attrs: attrs, ctx: ctx}
}

// Has reports whether the attribute is written.
func (a *Attrs) Has(name string) bool { return a.attrs[name] != nil }

// Given reports whether the attribute is written and not null: where null is as good as nothing. What is wrong with it is
// left to who reads it.
func (a *Attrs) Given(name string) bool {
	if !a.Has(name) {
		return false
	}
	v, diags := a.attrs[name].Expr.Value(a.ctx)
	return diags.HasErrors() || !v.IsNull()
}

// Range is where the attribute's value is written.
func (a *Attrs) Range(name string) hcl.Range {
	if attr := a.attrs[name]; attr != nil {
		return attr.Expr.Range()
	}
	return hcl.Range{}
}

// Value is the attribute's value, or cty.NilVal.
func (a *Attrs) Value(name string) cty.Value {
	attr := a.attrs[name]
	if attr == nil {
		return cty.NilVal
	}
	v, diags := attr.Expr.Value(a.ctx)
	a.Diags = append(a.Diags, diags...)
	if diags.HasErrors() {
		return cty.NilVal
	}
	if !v.IsWhollyKnown() || v.IsNull() {
		a.Errorf(name, "%s is null", name)
		return cty.NilVal
	}
	return v
}

// Errorf adds a diagnostic about the attribute.
func (a *Attrs) Errorf(name, format string, args ...any) {
	a.Diags = append(a.Diags, Errorf(a.Range(name), format, args...))
}

// String is a string attribute.
func (a *Attrs) String(name string) string {
	v := a.Value(name)
	if v == cty.NilVal {
		return ""
	}
	if v.Type() != cty.String {
		a.Errorf(name, "%s is a string; this is %s", name, v.Type().FriendlyName())
		return ""
	}
	return v.AsString()
}

// Bool is a boolean attribute.
func (a *Attrs) Bool(name string) bool {
	v := a.Value(name)
	if v == cty.NilVal {
		return false
	}
	if v.Type() != cty.Bool {
		a.Errorf(name, "%s is true or false; this is %s", name, v.Type().FriendlyName())
		return false
	}
	return v.True()
}

// Int is a whole number.
func (a *Attrs) Int(name string) int {
	v := a.Value(name)
	if v == cty.NilVal {
		return 0
	}
	if v.Type() == cty.Number {
		if n, accuracy := v.AsBigFloat().Int64(); accuracy == big.Exact {
			return int(n)
		}
	}
	a.Errorf(name, "%s is a whole number", name)
	return 0
}

// Strings is a list of strings.
func (a *Attrs) Strings(name string) []string {
	v := a.Value(name)
	if v == cty.NilVal {
		return nil
	}
	if !v.CanIterateElements() || v.Type().IsObjectType() || v.Type().IsMapType() {
		a.Errorf(name, "%s is a list of strings", name)
		return nil
	}
	list := make([]string, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		_, item := it.Element()
		if item.IsNull() || item.Type() != cty.String {
			a.Errorf(name, "%s is a list of strings; element %d is %s", name, len(list)+1, item.Type().FriendlyName())
			return nil
		}
		list = append(list, item.AsString())
	}
	return list
}

// StringMap is a map of strings.
func (a *Attrs) StringMap(name string) map[string]string {
	m, ok := a.Any(name).(map[string]any)
	if !ok {
		if a.Has(name) {
			a.Errorf(name, "%s is a map of strings", name)
		}
		return nil
	}
	result := make(map[string]string, len(m))
	for k, v := range m {
		s, ok := v.(string)
		if !ok {
			a.Errorf(name, "%s is a map of strings; %s is not a string", name, k)
			return nil
		}
		result[k] = s
	}
	return result
}

// Any is the value as strings, ints, bools, []any and map[string]any; nil where absent.
func (a *Attrs) Any(name string) any {
	v := a.Value(name)
	if v == cty.NilVal {
		return nil
	}
	x, err := ToGo(v)
	if err != nil {
		a.Errorf(name, "%s: %v", name, err)
		return nil
	}
	return x
}

// ToGo turns a value into strings, ints, bools, []any and map[string]any.
func ToGo(v cty.Value) (any, error) {
	t := v.Type()
	switch {
	case v.IsNull():
		return nil, fmt.Errorf("a value is null; leave it out instead")
	case t == cty.String:
		return v.AsString(), nil
	case t == cty.Bool:
		return v.True(), nil
	case t == cty.Number:
		n, accuracy := v.AsBigFloat().Int64()
		if accuracy != big.Exact {
			return nil, fmt.Errorf("%s is not a whole number", v.AsBigFloat().Text('g', -1))
		}
		return int(n), nil
	case t.IsTupleType() || t.IsListType() || t.IsSetType():
		list := make([]any, 0, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			_, item := it.Element()
			x, err := ToGo(item)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		return list, nil
	case t.IsObjectType() || t.IsMapType():
		m := make(map[string]any, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			k, item := it.Element()
			x, err := ToGo(item)
			if err != nil {
				return nil, err
			}
			m[k.AsString()] = x
		}
		return m, nil
	}
	return nil, fmt.Errorf("a %s cannot be used here", t.FriendlyName())
}

// fromGo is the inverse of ToGo.
func fromGo(x any) cty.Value {
	switch x := x.(type) {
	case string:
		return cty.StringVal(x)
	case bool:
		return cty.BoolVal(x)
	case int:
		return cty.NumberIntVal(int64(x))
	case []any:
		list := make([]cty.Value, len(x))
		for i, item := range x {
			list[i] = fromGo(item)
		}
		return cty.TupleVal(list)
	case map[string]any:
		m := make(map[string]cty.Value, len(x))
		for k, item := range x {
			m[k] = fromGo(item)
		}
		return cty.ObjectVal(m)
	}
	panic(fmt.Sprintf("BUG: value of type %T", x))
}

func evalContext(vars map[string]any) *hcl.EvalContext {
	ctx := &hcl.EvalContext{Variables: make(map[string]cty.Value, len(vars)), Functions: functions}
	for k, v := range vars {
		ctx.Variables[k] = fromGo(v)
	}
	return ctx
}

// Errorf is an error about what is written at r. What follows the first "; " of
// the message, the remedy, becomes the diagnostic's detail.
func Errorf(r hcl.Range, format string, args ...any) *hcl.Diagnostic {
	text := fmt.Sprintf(format, args...)
	summary, detail, _ := strings.Cut(text, "; ")
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: r.Ptr()}
}
