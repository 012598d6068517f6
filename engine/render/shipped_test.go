package render

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// shipped returns the templates that come with the program.
func shipped(t testing.TB) *Templates {
	paths, err := filepath.Glob("../../templates/*.j2")
	if err != nil || len(paths) == 0 {
		t.Fatal("no templates", err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = data
	}
	return New(files)
}

// target is the context of a target with nothing special, and with the attributes of changes.
func target(changes map[string]any) map[string]any {
	ctx := map[string]any{
		"name": "zlib", "version": "1.3.1", "profile": "musl", "target": "zlib", "kind": "autotools",
		"platform": map[string]any{"name": "arm64-musl", "arch": "arm64", "libc": "musl", "triplet": "aarch64-vfsb-linux-musl"},
		"exec":     map[string]any{"arch": "amd64", "triplet": "x86_64-pc-linux-gnu"},
		"stage": map[string]any{
			"name": "tools", "prefix": "/usr", "libdir": "/usr/lib", "host": "aarch64-vfsb-linux-musl", "configure": []string{"--disable-nls"},
			"env": map[string]string{"CC": "aarch64-vfsb-linux-musl-gcc", "CFLAGS": "-O2 -pipe"},
		},
		"sources": []map[string]any{{"name": "zlib", "file": "zlib-1.3.1.tar.gz"}}, "patches": []string{},
		"env": map[string]string{}, "vars": map[string]string{},
		"configure": []string{}, "make": []string{}, "install": []string{"install"}, "prefix": "",
		"in_tree": false, "bare": false, "prepare": "", "before_build": "", "after": "", "script": "",
	}
	maps.Copy(ctx, changes)
	return ctx
}

func TestShippedTemplates(t *testing.T) {
	tests := map[string]struct {
		template string
		changes  map[string]any
	}{
		"autotools-plain": {"autotools.sh.j2", nil},
		"autotools-full": {"autotools.sh.j2", map[string]any{
			"sources":   []map[string]any{{"name": "gcc", "file": "gcc 12.tar.xz"}, {"name": "gmp", "file": "gmp.tar.zst"}, {"name": "conf", "file": "site.conf"}},
			"patches":   []string{"01-fix.patch", "02 odd name.patch"},
			"env":       map[string]string{"CFLAGS": "-O1 -DNAME='\"x\"'", "LDFLAGS": "-static"},
			"configure": []string{"--enable-languages=c,c++", "--with-pkgversion=vfsb build"},
			"make":      []string{"all", "V=1"}, "install": []string{"install-strip"}, "prefix": "/opt/gcc",
			"prepare": "for f in \"${files[@]}\"; do sed -i s/a/b/ \"$f\"; done\n", "before_build": "touch stamp\n", "after": "ln -s gcc /out/usr/bin/cc\n",
		}},
		"autotools-bare": {"autotools.sh.j2", map[string]any{"bare": true, "in_tree": true, "configure": []string{"--static"}}},
		"autotools-stage-without-options": {"autotools.sh.j2", map[string]any{
			"stage": map[string]any{"name": "seed", "prefix": "/usr", "libdir": "/usr/lib", "host": "x86_64-pc-linux-gnu"}, "bare": true}},
		"make-plain": {"make.sh.j2", nil},
		"make-full": {"make.sh.j2", map[string]any{"make": []string{"CFLAGS=-O2 -g"}, "install": []string{"install", "PREFIX=/out/usr"},
			"prepare": "rm -f x\n", "after": "true\n", "prefix": "/usr/local", "patches": []string{"a.patch"}}},
		"script": {"script.sh.j2", map[string]any{"script": "mkdir -p \"$OUT/etc\"\ncat > \"$OUT/etc/x\" <<'EOF'\n${not} {{ touched }}\nEOF\n", "sources": []any{}}},
	}
	tpl := shipped(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tpl.Render(test.template, target(test.changes))
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckShell(name, got); err != nil {
				t.Error(err)
			}
			path := filepath.Join("testdata", "golden", name+".sh")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs; got:\n%s", path, got)
			}
		})
	}
}

func BenchmarkRender(b *testing.B) {
	tpl, ctx := shipped(b), target(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tpl.Render("autotools.sh.j2", ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRenderText(b *testing.B) {
	tpl, ctx := shipped(b), target(nil)
	const text = "sed -i 's/x/{{ version }}/' configure\n{% if platform.libc == 'musl' %}\ntouch x\n{% endif %}\n"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tpl.RenderText("prepare", text, ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if err := shipped(b).Check("autotools.sh.j2"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckShell(b *testing.B) {
	script, err := shipped(b).Render("autotools.sh.j2", target(nil))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := CheckShell("s", script); err != nil {
			b.Fatal(err)
		}
	}
}
