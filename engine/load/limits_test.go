package load

import (
	"strings"
	"testing"
)

// TestManyOperators has expressions that would overflow the stack of HCL's parser or of its evaluation, which ends the
// program; brackets in strings and comments must not make up for others.
func TestManyOperators(t *testing.T) {
	const n = 50_000
	load := func(expression string) string {
		root := t.TempDir()
		writeFiles(t, root, map[string]string{"packages/a/package.hcl": "package \"a\" {\n  version = " + expression + "\n}\n"})
		if _, diags := Load(root, nil, Carried{}); diags.HasErrors() {
			return diags[0].Error()
		}
		return ""
	}
	const many, deep = "more than 10000 brackets and operators in one file; ", "nested more than 200 deep; simplify"
	for name, c := range map[string]struct{ expression, want string }{
		"not":         {strings.Repeat("!", 20*n) + "true", many},
		"minus":       {strings.Repeat("-", 20*n) + "1", many},
		"splat":       {"[]" + strings.Repeat("[*]", 340_000), many},
		"sum":         {"1" + strings.Repeat("+1", n), many},
		"condition":   {strings.Repeat("true ? ", n) + "1" + strings.Repeat(" : 1", n), many},
		"directive":   {`"` + strings.Repeat("%{if true}", n) + strings.Repeat("%{endif}", n) + `"`, many},
		"template":    {strings.Repeat(`"${`, n) + "1" + strings.Repeat(`}"`, n), deep},
		"parentheses": {strings.Repeat(`(")" == `, n) + "1" + strings.Repeat(")", n), deep},
		"lists":       {strings.Repeat("[ # ]\n", n) + strings.Repeat("]", n), deep},
	} {
		if got := load(c.expression); !strings.HasPrefix(got, "packages/a/package.hcl:") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %.200s", name, got)
		}
	}
	if got := load(strings.Repeat("#", maxFile)); !strings.Contains(got, "the limit is 1048576; ") {
		t.Errorf("a large file: %.200s", got)
	}
	// Below the limit, and beyond it in a script and in strings.
	for name, expression := range map[string]string{
		"nested":  strings.Repeat(`upper(`, maxNesting-2) + `"x"` + strings.Repeat(")", maxNesting-2),
		"script":  "<<X\n" + strings.Repeat("-((", n) + "\nX",
		"strings": `join("", ["` + strings.Repeat("(!-", n) + `"])`,
	} {
		if got := load(expression); got != "" {
			t.Errorf("%s: %.200s", name, got)
		}
	}
}
