package guard

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func scanned(t testing.TB, text string) []string {
	t.Helper()
	var got []string
	s := newScanner([]Forbidden{{"/build", "b"}, {"/out", "o"}, {"/sysroot", "s"}, {"/usr/lib/x86_64-linux-gnu", "d"}})
	if err := s.scan(strings.NewReader(text), func(_ Forbidden, value string) { got = append(got, value) }); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestPaths: which texts lead to a forbidden path, and which only look like it.
func TestPaths(t *testing.T) {
	for text, want := range map[string]string{
		"/build":                                    "/build",
		"/build/src/main.c":                         "/build/src/main.c",
		"#!/build/bin/sh\n":                         "/build/bin/sh",
		"x\x00/build/src/main.c\x00y":               "/build/src/main.c",
		"\xff\xfe/build/\x00":                       "/build/",
		"\"/build/a\" '/build/b' </build/c>":        "/build/a /build/b /build/c",
		"PATH=/build/bin:/out/bin:/usr/bin":         "/build/bin /out/bin",
		"-I/sysroot/usr/include":                    "/sysroot/usr/include",
		" -isystem/sysroot/usr/include,x":           "/sysroot/usr/include",
		"-L/build/lib -Wl,-rpath,/build/l":          "/build/lib /build/l",
		"-ffile-prefix-map=/build=.":                "/build",
		"see file:///build/index.html":              "/build/index.html",
		"It is built in /build.":                    "/build",
		"It is built in /build. There":              "/build",
		"a,/build;b":                                "/build",
		"cd /build&&make":                           "/build",
		"/build/src/../obj":                         "/build/src/../obj",
		"/usr/lib/x86_64-linux-gnu/gconv":           "/usr/lib/x86_64-linux-gnu/gconv",
		"/build/sysroot /sysroot/build":             "/build/sysroot /sysroot/build",
		"/build//x":                                 "/build//x",
		"/" + strings.Repeat("build/", 60) + " end": "/" + strings.Repeat("build/", 60)[:maxValue-1],

		"/builder /build-aux /build_x /build2":     "",
		"“/build”":                                 "/build", // what is not ASCII belongs to no name
		"/build.log /build.d/x":                    "",
		"https://example.org/build/x":              "",
		"https://build/x":                          "",
		"http://example.org:80/build":              "",
		"//build:label":                            "",
		"./build ../build ~/build */build ?/build": "",
		"$top/build ${top}/build $(top)/build":     "",
		"@top@/build %s/build $/build -/build":     "",
		"src/build in/out and/or":                  "",
		"a-I/build --prefix/build x-/build":        "",
		"/usr/build /usr/lib/x86_64-linux-gnux32":  "",
		"/usr/libexec /usr/lib /usr/lib/":          "",
		"/buil /":                                  "",
	} {
		if got := strings.Join(scanned(t, text), " "); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}

// TestPathsAcrossChunks: a path is found once, wherever the pieces of a file end.
func TestPathsAcrossChunks(t *testing.T) {
	const path = "-I/sysroot/usr/include"
	for _, edge := range []int{chunk, 2 * chunk, chunk - maxValue} {
		for shift := -300; shift <= 40; shift++ {
			text := strings.Repeat("x", edge+shift) + "\n" + path + "\n" + strings.Repeat("y", 1000)
			if got := scanned(t, text); len(got) != 1 || got[0] != path[2:] {
				t.Fatalf("at %d: found %q", edge+shift, got)
			}
		}
	}
	// What stands before and behind decides across the edge as well.
	for shift := -40; shift <= 40; shift++ {
		fill := strings.Repeat("x", chunk+shift)
		for _, text := range []string{"../build/a\n", "/builder\n", "a-I/build\n"} {
			if got := scanned(t, fill+"\n"+text); got != nil {
				t.Fatalf("at %d: found %q in %q", chunk+shift, got, text)
			}
		}
	}
}

// TestPathsByBytes: a reader that gives little at a time gives the same.
func TestPathsByBytes(t *testing.T) {
	text := strings.Repeat("nothing /here but /build/a and\n", 20000)
	var got []string
	s := newScanner([]Forbidden{{"/build", "b"}})
	if err := s.scan(iotest.HalfReader(strings.NewReader(text)), func(_ Forbidden, value string) { got = append(got, value) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, slices.Repeat([]string{"/build/a"}, 20000)) {
		t.Errorf("found %d", len(got))
	}
	if err := s.scan(iotest.ErrReader(fmt.Errorf("broken")), nil); err == nil || err.Error() != "broken" {
		t.Errorf("a read error gives %v", err)
	}
}

// BenchmarkScan: text with a slash in every line, and bytes as in a program.
func BenchmarkScan(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	binary := make([]byte, 16<<20)
	for i := range binary {
		binary[i] = byte(rng.Uint32())
	}
	for name, data := range map[string][]byte{
		"text":   bytes.Repeat([]byte("  install -m 0755 src/program /usr/bin/program # and more words that fill a line\n"), 200_000),
		"binary": binary,
	} {
		b.Run(name, func(b *testing.B) {
			s := newScanner([]Forbidden{{"/build", "b"}, {"/out", "o"}, {"/sysroot", "s"}, {"/cross", "c"}, {"/usr/lib/x86_64-linux-gnu", "d"}})
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := s.scan(bytes.NewReader(data), func(Forbidden, string) { b.Fatal("found") }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
