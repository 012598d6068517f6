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
		if _, diags := Load(root, nil); diags.HasErrors() {
			return diags[0].Error()
		}
		return ""
	}
	for name, expression := range map[string]string{
		"not":         strings.Repeat("!", 20*n) + "true",
		"minus":       strings.Repeat("-", 20*n) + "1",
		"splat":       "[]" + strings.Repeat("[*]", 340_000),
		"sum":         "1" + strings.Repeat("+1", n),
		"condition":   strings.Repeat("true ? ", n) + "1" + strings.Repeat(" : 1", n),
		"directive":   `"` + strings.Repeat("%{if true}", n) + strings.Repeat("%{endif}", n) + `"`,
		"template":    strings.Repeat(`"${`, n) + "1" + strings.Repeat(`}"`, n),
		"parentheses": strings.Repeat(`(")" == `, n) + "1" + strings.Repeat(")", n),
		"lists":       strings.Repeat("[ # ]\n", n) + strings.Repeat("]", n),
	} {
		want := "packages/a/package.hcl:"
		if got := load(expression); !strings.HasPrefix(got, want) || !strings.Contains(got, "more than 10000 brackets and operators in one file; ") {
			t.Errorf("%s: %.200s", name, got)
		}
	}
	if got := load(strings.Repeat("#", maxFile)); !strings.Contains(got, "the limit is 1048576; ") {
		t.Errorf("a large file: %.200s", got)
	}
	// Below the limit, and beyond it in a script and in strings.
	for name, expression := range map[string]string{
		"nested":  strings.Repeat(`upper(`, maxOperators-10) + `"x"` + strings.Repeat(")", maxOperators-10),
		"script":  "<<X\n" + strings.Repeat("-((", n) + "\nX",
		"strings": `join("", ["` + strings.Repeat("(!-", n) + `"])`,
	} {
		if got := load(expression); got != "" {
			t.Errorf("%s: %.200s", name, got)
		}
	}
}
