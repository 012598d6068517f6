package load

import (
	"strings"
	"testing"
)

func TestAddPatch(t *testing.T) {
	const source = "  source {\n    file = \"x\"\n  }\n"
	const heredoc = "  script {\n    script = <<-SH\n      x=(1)\n      echo ${#x[@]} %{y\n    SH\n  }\n"
	for _, c := range []struct {
		name, text string
		others     []string
		want       string
	}{
		{"after the source", "package \"a\" {\n  version = \"1\" # one\n\n" + source + heredoc + "}\n", nil,
			"package \"a\" {\n  version = \"1\" # one\n\n" + source + "  patches = [\"patches/*.patch\"]\n" + heredoc + "}\n"},
		{"after the attributes", "package \"a\" {\n" + heredoc + "  version = \"1\"\n}\n", nil,
			"package \"a\" {\n" + heredoc + "  version = \"1\"\n  patches = [\"patches/*.patch\"]\n}\n"},
		{"after the header", "package \"b\" {\n}\npackage \"a\" {\n" + heredoc + "}\n", nil,
			"package \"b\" {\n}\npackage \"a\" {\n  patches = [\"patches/*.patch\"]\n" + heredoc + "}\n"},
		{"beside a heredoc", "package \"a\" {\n  summary = <<-X\n    text\n  X\n}\n", nil,
			"package \"a\" {\n  summary = <<-X\n    text\n  X\n  patches = [\"patches/*.patch\"]\n}\n"},
		{"others lie there that are not applied", "package \"a\" {\n" + source + "}\n", []string{"patches/0.patch"},
			"package \"a\" {\n" + source + "  patches = [\"patches/1.patch\"]\n}\n"},
		{"a glob covers it", "package \"a\" {\n  patches = [\"patches/*.patch\"]\n}\n", nil, "package \"a\" {\n  patches = [\"patches/*.patch\"]\n}\n"},
		{"an expression covers it", "package \"a\" {\n  patches = concat([\"patches/*.patch\"], [])\n}\n", nil, "package \"a\" {\n  patches = concat([\"patches/*.patch\"], [])\n}\n"},
		{"a list of names", "package \"a\" {\n" + heredoc + "  patches = [\n    \"patches/0.patch\", # ü\n  ]\n}\n", nil,
			"package \"a\" {\n" + heredoc + "  patches = [\n    \"patches/0.patch\", \"patches/1.patch\", # ü\n  ]\n}\n"},
		{"an empty list", "package \"a\" {\n" + heredoc + "  patches = []\n}\n", nil, "package \"a\" {\n" + heredoc + "  patches = [\"patches/1.patch\"]\n}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := AddPatch("a.hcl", []byte(c.text), "a", "patches/1.patch", c.others)
			if err != nil || string(got) != c.want {
				t.Errorf("got\n%s\nwant\n%s\n%v", got, c.want, err)
			}
		})
	}
	for text, want := range map[string]string{
		"package \"a\" {\n  patches = concat([], [])\n}\n": "a.hcl:2: patches is no plain list; add \"patches/1.patch\"",
		"package \"b\" {\n}\n":                             "package \"a\" is not declared here",
		"package \"a\" { version = \"1\" }\n":              "add patches = [\"patches/1.patch\"]",
		"package \"a\" {\n":                                "a.hcl:1",
	} {
		_, err := AddPatch("a.hcl", []byte(text), "a", "patches/1.patch", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
