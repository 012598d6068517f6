package main

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                    "plain",
		"\x1b[01m\x1b[Kfile.c:1:\x1b[m error":      "file.c:1: error",
		"\x1b]0;a title\x07text":                   "text",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link",
		"\x1bP1;2q#0\x1b\\after":                   "after",
		"\x1bc\x1b(B\x1b=reset":                    "reset",
		"cut off \x1b[3":                           "cut off ",
		"cut off \x1b]0;title":                     "cut off ",
		"alone \x1b":                               "alone ",
		"10%\r20%\r30%":                            "30%",
		"with the other line end\r":                "with the other line end",
		"a\tb":                                     "a       b",
		"日本\tb":                                    "日本    b",
		"bell\a back\bspace \x7f":                  "bell backspace ",
		"C1 \u0085\u009b31m":                       "C1 31m",
		"bidi \u202eabc\u2066 \u2028":              "bidi abc ",
		"not \xff UTF-8":                           "not \ufffd UTF-8",
		"e\u0301":                                  "e\u0301",
		"👩\u200d👧":                                 "👩👧",
		"\u2764\ufe0f":                             "\u2764",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abcd", 1, "…"}, {"abcd", 0, ""}, {"abcd", -1, ""},
		{"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"},
	} {
		if got := clip(c.text, c.most); got != c.want {
			t.Errorf("%q in %d columns: %q, want %q", c.text, c.most, got, c.want)
		}
	}
	if got := pad("日本", 6) + "|"; got != "日本  |" {
		t.Errorf("%q", got)
	}
}

// FuzzPrintable: whatever a script prints, nothing is left that a terminal would obey, and no row gets too long.
func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"\x1b[31mred\x1b[0m\t日本\r", "\x1b]0;\x1b\x1b[", "\xff\xc2\x85e\u0301👩‍👩‍👧"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := printable(in)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
			t.Errorf("%q leaves %q", in, got)
		}
		for _, most := range []int{0, 1, 2, 7, 80} {
			if n := columns(clip(got, most)); n > most {
				t.Errorf("%q clipped to %d has %d columns", got, most, n)
			}
		}
	})
}
