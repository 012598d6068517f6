package render

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

var update = flag.Bool("update", false, "write the expected results of the tests in testdata")

// sample is the context of the tests in valid/ and invalid/.
func sample() map[string]any {
	return map[string]any{
		"name": "bash", "version": "5.2", "yes": true, "no": false, "null": nil, "count": 3, "big": 1 << 40,
		"list": []string{"a", "b c", "d'e"}, "empty": []string{}, "numbers": []int{3, 1, 2},
		"platform": map[string]string{"arch": "arm64", "libc": "gnu"},
		"env":      map[string]any{"CC": "gcc -m32", "ARCH": "arm64"},
		"mixed":    []any{"a", true}, "sources": []map[string]any{{"name": "x", "file": "x.tar"}, {"name": "y", "file": "y.tar"}},
	}
}

// sections splits a file with lines "-- NAME --" into its parts.
func sections(t *testing.T, path string) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parts, name := map[string][]byte{}, ""
	for line := range strings.Lines(string(data)) {
		if head, ok := strings.CutPrefix(strings.TrimSuffix(line, " --\n"), "-- "); ok && strings.HasSuffix(line, " --\n") {
			name = head
			parts[name] = []byte{}
			continue
		}
		parts[name] = append(parts[name], line...)
	}
	return parts
}

// files runs f for each file of testdata/folder; f gets its sections and returns what the section result must be.
func files(t *testing.T, folder, result string, f func(t *testing.T, parts map[string][]byte) string) {
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no tests", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			parts := sections(t, path)
			want := string(parts[result])
			delete(parts, result)
			got := f(t, parts)
			if got == want {
				return
			}
			if *update {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				head, _, _ := strings.Cut(string(data), "-- "+result+" --\n")
				if err := os.WriteFile(path, []byte(head+"-- "+result+" --\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		})
	}
}

func TestValid(t *testing.T) {
	files(t, "valid", "want", func(t *testing.T, parts map[string][]byte) string {
		got, err := New(parts).Render("main", sample())
		if err != nil {
			t.Fatal(err)
		}
		text, err := New(parts).RenderText("main", string(parts["main"]), sample())
		if err != nil || text != got {
			t.Errorf("RenderText gives %q, %v", text, err)
		}
		return got
	})
}

func TestInvalid(t *testing.T) {
	files(t, "invalid", "error", func(t *testing.T, parts map[string][]byte) string {
		got, err := New(parts).Render("main", sample())
		if err == nil {
			t.Fatalf("no error, but the script\n%s", got)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%T is not an *Error", err)
		} else if e.Line == 0 {
			t.Error("the error has no line")
		}
		return err.Error() + "\n"
	})
}

func TestContextIsFrozen(t *testing.T) {
	for _, v := range []any{1.5, struct{}{}, &struct{ X int }{1}, errors.New("x"), func() {}, make(chan int), map[int]string{1: "a"}} {
		_, err := New(nil).RenderText("t", "{{ 1 }}", map[string]any{"a": map[string]any{"b": []any{v}}})
		if err == nil || !strings.Contains(err.Error(), "a.b[0]") {
			t.Errorf("%T: error %v", v, err)
		}
	}
	cycle := map[string]any{}
	cycle["a"] = cycle
	if _, err := New(nil).RenderText("t", "{{ 1 }}", cycle); err == nil {
		t.Error("a cyclic context is taken")
	}
	type named string
	got, err := New(nil).RenderText("t", "{{ a }}{{ b[0] }}", map[string]any{"a": named("x"), "b": []int32{7}})
	if err != nil || got != "x7" {
		t.Errorf("%q, %v", got, err)
	}
	ctx := sample()
	const text = "{% set list = list + ['z'] %}{% set env = {'a': 'b'} %}{% for k, v in env %}{% set v = 1 %}{% endfor %}{{ list | sort | reverse | sh }}"
	if _, err := New(nil).RenderText("t", text, ctx); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(ctx, sample()) {
		t.Error("a rendering changed the caller's context")
	}
}

func TestUses(t *testing.T) {
	tpl := New(map[string][]byte{
		"a":   []byte(`{% if x %}{% include "b" %}{% endif %}{% from "d/e" import m %}`),
		"b":   []byte(`{% for i in [1] %}{% include "c" %}{% endfor %}`),
		"c":   []byte("c"),
		"d/e": []byte(`{% macro m() %}{% include "c" %}{% endmacro %}`),
		"bad": []byte(`{% include "c" `),
	})
	for name, want := range map[string][]string{"a": {"b", "c", "d/e"}, "b": {"c"}, "c": nil, "bad": nil, "none": nil} {
		if got := tpl.Uses(name); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s uses %v, want %v", name, got, want)
		}
	}
	if err := tpl.Check("bad"); err == nil {
		t.Error("bad compiles")
	}
	got, err := tpl.UsesText("t", `{% include "b" %}`)
	if err != nil || fmt.Sprint(got) != "[b c]" {
		t.Errorf("%v, %v", got, err)
	}
}

// A rendering must end, and in an error, whatever the template is.
func TestLimits(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"macro calls itself":   {`{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}`, "nested more than 50 deep"},
		"macros call others":   {`{% macro a() %}{{ b() }}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}`, "nested more than 50"},
		"macro passed along":   {`{% macro a(f) %}{{ f(f) }}{% endmacro %}{{ a(a) }}`, "nested more than 50"},
		"wide recursion":       {`{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(40) }}`, "does not come to an end"},
		"long loop":            {`{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}x{% endfor %}{% endfor %}{% endfor %}`, "does not come to an end"},
		"long range":           {`{{ range(2000000000) | length }}`, "16 MiB"},
		"doubling":             {`{% macro m(s, n) %}{% if n %}{{ m(s ~ s, n - 1) }}{% endif %}{% endmacro %}{{ m("0123456789", 40) }}`, "16 MiB"},
		"much output":          {`{% set s %}{% for i in range(1000) %}0123456789012345678901234567890123456789{% endfor %}{% endset %}{% for i in range(1000) %}{{ s }}{% endfor %}`, "16 MiB"},
		"replace":              {`{% set s %}{% for i in range(10000) %}aaaaaaaaaa{% endfor %}{% endset %}{{ s | replace('a', s) }}`, "16 MiB"},
		"nested parentheses":   {"{{ " + strings.Repeat("(", 100000) + " }}", "at most 2000 tokens"},
		"nested statements":    {strings.Repeat("{% if 1 %}", 101) + strings.Repeat("{% endif %}", 101), "nested more than 100 deep"},
		"many statements":      {strings.Repeat("{% if 1 %}", 100000), "nested more than 100 deep"},
		"large":                {strings.Repeat("x", 1<<20+1), "at most 1048576 bytes"},
		"number overflow":      {"{{ 2147483647 * 2147483647 * 2147483647 }}", "too large"},
		"number literal":       {"{{ 99999999999999999999 }}", "out of range"},
		"sort a list of lists": {"{{ [[1], [2]] | sort | sh }}", "cannot compare"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := New(nil).RenderText("t", test.text, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%.100q, error %v, want %q", got, err, test.want)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestConcurrentRenderings(t *testing.T) {
	tpl := New(map[string][]byte{
		"main": []byte(`{% include "sub" %}{% for k, v in env %}{% set x = v %}{{ k }}={{ x | sh }} {% endfor %}{{ n }}`),
		"sub":  []byte(`{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(n) }}`),
	})
	shared := sample()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 20 {
				ctx := map[string]any{"n": i, "env": shared["env"]}
				got, err := tpl.Render("main", ctx)
				if want := fmt.Sprintf("<%d>ARCH=arm64 CC='gcc -m32' %d", i, i); err != nil || got != want {
					t.Errorf("%q, %v, want %q", got, err, want)
				}
				tpl.Uses("main")
			}
		})
	}
	wg.Wait()
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"": "''", "a": "a", "--prefix=/usr": "--prefix=/usr", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "~": "'~'",
		"é": "'é'", "a\nb": "'a\nb'", "\xff": "'\xff'", "*": "'*'", "{a,b}": "'{a,b}'", "!": "'!'",
	} {
		if got, err := Quote(in); got != want || err != nil {
			t.Errorf("Quote(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	if _, err := Quote("a\x00b"); err == nil {
		t.Error("a NUL is quoted")
	}
}

func TestCheckShell(t *testing.T) {
	for _, script := range []string{
		"", "a=(1 2)\nn=${#a[@]}; x=${y%#}\n[[ $x =~ ^a ]] && echo \"${x##*/}\"\n", "cat <<EOF\n$x\nEOF\n",
		"for ((i=0;i<3;i++)); do echo $i; done\n", "x=$(case a in a) echo;; esac)\n",
	} {
		if err := CheckShell("s", script); err != nil {
			t.Errorf("%q: %v", script, err)
		}
	}
	for script, want := range map[string]string{
		"echo a\nif true; then\n  echo\n":     "s:2: `if` statement must end with `fi`\n\t2 | if true; then",
		"a\nb '\n":                            "s:2: reached EOF without closing quote `'`\n\t2 | b '",
		"a\n\n\x00":                           "s:3: a script cannot hold a NUL byte\n\t3 | \x00",
		"\n" + strings.Repeat("(", 2000):      "s:2: nested too deeply\n\t2 | " + strings.Repeat("(", 160) + "…",
		strings.Repeat("while x; do ", 1<<20): "s: a script holds at most 1048576 bytes, this one has 12582912; data belongs into a source",
	} {
		err := CheckShell("s", script)
		var e *Error
		if !errors.As(err, &e) || err.Error() != want {
			t.Errorf("%.40q: %v, want %s", script, err, want)
		}
	}
}

// FuzzRender holds that no template panics, that errors are *Error and short, and that a text renders the same twice.
func FuzzRender(f *testing.F) {
	for _, folder := range []string{"valid", "invalid"} {
		paths, _ := filepath.Glob(filepath.Join("testdata", folder, "*.txt"))
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			for _, part := range strings.Split(string(data), "\n-- ") {
				f.Add(part)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl := New(map[string][]byte{"other": []byte("{% macro m(a, b=1) %}{{ a }}{% endmacro %}{{ name }}")})
		got, err := tpl.RenderText("t", text, sample())
		again, err2 := tpl.RenderText("t", text, sample())
		if got != again || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Errorf("two results: %q, %v and %q, %v", got, err, again, err2)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || len(e.Message) > 1000 || len(e.Excerpt) > 170 {
				t.Errorf("error %T %v", err, err)
			}
			if e != nil && (strings.HasPrefix(e.Message, "cannot render") || strings.HasPrefix(e.Message, "cannot check")) {
				t.Errorf("a panic was caught: %v", err)
			}
		}
		if err := CheckShell("t", text); err != nil && strings.Contains(err.Error(), "cannot check") {
			t.Errorf("a panic was caught: %v", err)
		}
	})
}

// FuzzQuote: a quoted string is one word, whose value is the string.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "plain", "a b", "it's", "$(x)", "~", "*?[", "\n", "-n", "a=b", "{a,b}", "\\", "!", "#", "ü\xff", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Quote(s)
		if strings.Contains(s, "\x00") {
			if err == nil {
				t.Errorf("%q was quoted", s)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.ValidString(s) { // no script is valid with it
			return
		}
		file, err := syntax.NewParser().Parse(strings.NewReader("echo "+q+"\n"), "")
		if err != nil || len(file.Stmts) != 1 {
			t.Fatalf("%q quoted as %s: %v", s, q, err)
		}
		call, ok := file.Stmts[0].Cmd.(*syntax.CallExpr)
		if !ok || len(call.Args) != 2 {
			t.Fatalf("%q quoted as %s is no word", s, q)
		}
		got, err := expand.Fields(nil, call.Args[1])
		want := []string{strings.ReplaceAll(s, "\r\n", "\n")} // the parser's own way with line ends
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q quoted as %s is %q, %v", s, q, got, err)
		}
	})
}
