package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseLabel(t *testing.T) {
	for in, want := range map[string]Label{
		"//zlib":                        {Package: "zlib"},
		"//gcc/cross":                   {Package: "gcc", Target: "cross"},
		"//bash@tools:arm64":            {Package: "bash", Stage: "tools", Platform: "arm64"},
		"//gcc/libgcc@tools:amd64-musl": {Package: "gcc", Target: "libgcc", Stage: "tools", Platform: "amd64-musl"},
		"//libstdc++:amd64":             {Package: "libstdc++", Platform: "amd64"},
	} {
		got, err := ParseLabel(in)
		if err != nil || got != want {
			t.Errorf("ParseLabel(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"zlib":            "labels start with //",
		"//":              "not a package's name",
		"//a/b/c":         "not a target's name",
		"//a:":            "not a platform's name",
		"//a@:x":          "not a stage's name",
		"//a:{x,y}":       "several platforms",
		"//...":           "is a pattern",
		"//a/...":         "is a pattern",
		"//a:{x":          "ends in }",
		"//-rf":           "not a package's name",
		"//../etc/passwd": "not a package's name",
		"//a b":           "not a package's name",
	} {
		if _, err := ParseLabel(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseLabel(%q): error %v; want one with %q", in, err, want)
		}
	}
}

// FuzzLabel: what parses prints as something that parses to the same.
func FuzzLabel(f *testing.F) {
	for _, s := range []string{"//zlib", "//gcc/cross@tools:amd64-musl", "//...", "//a/...:{b,c}", "//a@b:c", "//", ":", "@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLabel(s)
		if err != nil {
			return
		}
		again, err := ParseLabel(l.String())
		if err != nil || again != l {
			t.Errorf("%q parses to %+v, which prints as %q and parses to %+v, %v", s, l, l, again, err)
		}
	})
}

func TestRawHeredocs(t *testing.T) {
	in := "a = \"${version}\"\nb = <<-SH\n  echo ${x:-1} %{y} ${#z[@]}\n  cat <<EOF\n  SH\nc = \"%{if true}x%{endif}\"\n# d = <<X\n"
	want := "a = \"${version}\"\nb = <<-SH\n  echo $${x:-1} %%{y} $${#z[@]}\n  cat <<EOF\n  SH\nc = \"%{if true}x%{endif}\"\n# d = <<X\n"
	if got := string(rawHeredocs([]byte(in))); got != want {
		t.Errorf("rawHeredocs:\n%s\nwant:\n%s", got, want)
	}
}

// FuzzHCL: no file, however odd, makes the loader panic; it says the same of it twice, with file, line and what is wrong.
func FuzzHCL(f *testing.F) {
	for _, pattern := range []string{"packages/*/package.hcl", "profiles/*/*.hcl", "templates/*.hcl"} {
		names, _ := filepath.Glob("../../" + pattern)
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	for _, s := range []string{"package \"a\" {\n script { script = \"x\" }\n}\n", "package {", "a = <<X\n${\nX\n", "package \"a\" { source { git = 1 } }", "profile \"p\" {\n stage \"s\" {}\n}\n", "profile \"p\" {\n home = \"s\"\n stage \"s\" {}\n}\nplatform \"x\" {\n profile = \"p\"\n vars = { a = 1.5 }\n}\n", "rule \"r\" {\n attribute \"a\" {\n  type = 3\n }\n}\n", "workspace {\n import = [\"shipped\", \"./x\"]\n pin = null\n}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root := t.TempDir()
		writeFiles(t, root, map[string]string{
			"packages/a/package.hcl": text, "profiles/p/p.hcl": text, "templates/t.hcl": text, "other/vfsb.hcl": text,
		})
		shipped := Carried{Unpack: func() (string, error) { return root, nil }}
		load := func(root string) string {
			ws, diags := Load(root, []string{"group", "seed"}, shipped)
			var b strings.Builder
			if !diags.HasErrors() {
				nodes, err := NewResolver(ws, Exec{Arch: "amd64"}).Expand(Pattern{Recursive: true})
				fmt.Fprintln(&b, len(nodes), err)
			}
			for _, d := range diags {
				if d.Subject == nil || d.Subject.Filename == "" || d.Subject.Start.Line < 1 || d.Summary+d.Detail == "" {
					t.Errorf("%q: where, and what? %+v at %v", text, d, d.Subject)
				}
			}
			if err := ws.PrintDiagnostics(&b, diags, 80, false); err != nil {
				t.Error(err)
			}
			return b.String()
		}
		for _, root := range []string{root, filepath.Join(root, "other")} {
			if one, two := load(root), load(root); one != two {
				t.Errorf("%q gives\n%s\nand then\n%s", text, one, two)
			}
		}
	})
}
