package load

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func TestFormat(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"indent and align", "package \"a\" {\nversion=\"1\"\n  summary   = \"x\"\n}\n", "package \"a\" {\n  version = \"1\"\n  summary = \"x\"\n}\n"},
		{"comments stay", "# one\na=1 # two\n", "# one\na = 1 # two\n"},
		{
			"a raw heredoc with what HCL has no words for",
			"script=<<-SH\n  x=(1   2)\n\techo ${#x[@]} %{a ${x%#}   # \"\n  SH\nb  =  1\n",
			"script = <<-SH\n  x=(1   2)\n\techo ${#x[@]} %{a ${x%#}   # \"\n  SH\nb      = 1\n",
		},
		{"an empty heredoc", "s=<<SH\nSH\n", "s = <<SH\nSH\n"},
		{"two heredocs", "a=<<X\n 1 \nX\nb=<<X\n  2\t\nX\n", "a = <<X\n 1 \nX\nb = <<X\n  2\t\nX\n"},
		{
			"a heredoc that HCL interpolates, within another",
			"a=f(<<X\n ${ g(<<Y\n  ${ 1 }\nY\n) }\nX\n)\n",
			"a = f(<<X\n ${ g(<<Y\n  ${ 1 }\nY\n) }\nX\n)\n",
		},
		{"the end of the file is not a line", "a=1", "a = 1"},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, diags := Format("a.hcl", []byte(c.text))
			if diags.HasErrors() || string(got) != c.want {
				t.Errorf("got  %q\nwant %q\n%v", got, c.want, diags)
			}
		})
	}
	text := []byte("a=1\nb={\n")
	got, diags := Format("a.hcl", text)
	if !diags.HasErrors() || !bytes.Equal(got, text) || !strings.Contains(diags.Error(), "a.hcl:3") {
		t.Errorf("invalid HCL: %q, %v", got, diags)
	}
}

// FuzzFormat holds Format to what it promises: the tokens stay, heredocs stay byte by byte, and once is enough.
func FuzzFormat(f *testing.F) {
	for _, name := range Files("../..") {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a=f(<<X\n ${ g(<<Y\n  ${ 1 }\nY\n) }\nX\n)\r\nb=[1,\n2]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, diags := Format("a.hcl", text)
		if diags.HasErrors() {
			if !bytes.Equal(got, text) {
				t.Error("invalid HCL was changed")
			}
			return
		}
		if !slices.Equal(words(text), words(got)) {
			t.Errorf("tokens changed\nfrom %q\nto   %q", text, got)
		}
		if _, old := cutHeredocs(text); len(old) > 0 {
			if _, now := cutHeredocs(got); !slices.EqualFunc(old, now, bytes.Equal) {
				t.Errorf("a heredoc changed\nfrom %q\nto   %q", old, now)
			}
		}
		if again, diags := Format("a.hcl", got); diags.HasErrors() || !bytes.Equal(again, got) {
			t.Errorf("formatted again\nfrom %q\nto   %q\n%v", got, again, diags)
		}
	})
}

// words is what a text says, whatever its layout.
func words(text []byte) (list []string) {
	tokens, _ := hclsyntax.LexConfig(rawHeredocs(text), "", hcl.InitialPos)
	for _, t := range tokens {
		list = append(list, string(t.Bytes))
	}
	return list
}
