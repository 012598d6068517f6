package load

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

// group is a package.hcl that says nothing but its name and a summary.
func group(name, summary string) string {
	return "package \"" + name + "\" {\n  summary = \"" + summary + "\"\n  group {\n    members = []\n  }\n}\n"
}

const rule = "rule \"k\" {\n  template = \"k.sh.j2\"\n  contract = 1\n  summary = \"WHOSE\"\n}\n"

// loadThree loads the workspace own, which imports ../team and what is shipped.
func loadThree(t *testing.T, files map[string]string) (*Workspace, string, string) {
	t.Helper()
	dir := t.TempDir()
	base := map[string]string{
		"own/vfsb.hcl":                          "workspace {\n  import = [\"../team\", \"shipped\"]\n}\n",
		"team/packages/bash/package.hcl":        group("bash", "team's"),
		"team/packages/bash/script.sh.j2":       "team's\n",
		"team/packages/mine/package.hcl":        group("mine", "team's"),
		"shipped/profiles/all/all.hcl":          profiles,
		"shipped/templates/k.hcl":               strings.Replace(rule, "WHOSE", "shipped", 1),
		"shipped/templates/k.sh.j2":             "shipped\n",
		"shipped/packages/bash/package.hcl":     group("bash", "shipped"),
		"shipped/packages/bash/old.sh.j2":       "shipped\n",
		"shipped/packages/zlib/package.hcl":     strings.Replace(group("zlib", "shipped"), "summary", "patches = [\"patches/*.patch\"]\n  summary", 1),
		"shipped/packages/zlib/patches/b.patch": "b\n",
	}
	for name, text := range files {
		base[name] = text
	}
	writeFiles(t, dir, base)
	ws, diags := loadOwn(dir)
	var text strings.Builder
	if err := ws.PrintDiagnostics(&text, diags, 0, false); err != nil {
		t.Fatal(err)
	}
	return ws, strings.ReplaceAll(text.String(), dir, "DIR"), dir
}

func loadOwn(dir string) (*Workspace, hcl.Diagnostics) {
	unpack := func() (string, error) { return filepath.Join(dir, "shipped"), nil }
	return Load(filepath.Join(dir, "own"), []string{"group"}, Carried{Digest: "d1", Unpack: unpack})
}

func TestOverlay(t *testing.T) {
	ws, diags, dir := loadThree(t, map[string]string{
		"own/packages/mine/package.hcl":         group("mine", "own"),
		"own/packages/zlib/patches/c.patch":     "c\n",
		"own/packages/zlib/patches/a.patch":     "a\n",
		"team/packages/zlib/patches/team.patch": "team\n",
		"own/templates/k.hcl":                   strings.Replace(rule, "WHOSE", "own", 1),
		"own/profiles/mine/p.hcl":               "platform \"riscv64\" {\n  profile = \"gnu\"\n  arch = \"riscv64\"\n  triplet = \"r\"\n}\n",
	})
	if diags != "" {
		t.Fatal(diags)
	}
	for name, want := range map[string][2]string{"mine": {"own", "own"}, "bash": {"team's", "team"}, "zlib": {"shipped", "shipped"}} {
		p := ws.Packages[name]
		if p == nil || p.Summary != want[0] || p.Dir != filepath.Join(dir, want[1], "packages", name) {
			t.Errorf("%s is %+v, want that of %s", name, p, want[1])
		}
	}
	if got := ws.Templates["bash/script.sh.j2"]; string(got) != "team's\n" {
		t.Errorf("team's template is %q", got)
	}
	if got, ok := ws.Templates["bash/old.sh.j2"]; ok {
		t.Errorf("a file of a package that is replaced counts: %q", got)
	}
	if got := ws.Kinds["k"].Summary; got != "own" {
		t.Errorf("rule k is %s's", got)
	}
	if got, want := ws.TemplateFile("k.sh.j2"), filepath.Join(dir, "shipped/templates/k.sh.j2"); string(ws.Templates["k.sh.j2"]) != "shipped\n" || got != want {
		t.Errorf("the shipped template is %q, %q", got, ws.Templates["k.sh.j2"])
	}
	if ws.Platforms["riscv64"] == nil || ws.Platforms["arm64"] == nil {
		t.Errorf("platforms are %v", keys(ws.Platforms))
	}
	var patches []string
	for _, p := range ws.Packages["zlib"].Patches {
		rel, _ := filepath.Rel(dir, p)
		patches = append(patches, rel)
	}
	want := []string{"shipped/packages/zlib/patches/b.patch", "team/packages/zlib/patches/team.patch", "own/packages/zlib/patches/a.patch", "own/packages/zlib/patches/c.patch"}
	if !slices.Equal(patches, want) {
		t.Errorf("patches of zlib are %q, want %q", patches, want)
	}
}

// TestWorkspaceErrors: each mistake names file and line, and a remedy.
func TestWorkspaceErrors(t *testing.T) {
	own := func(imports string) map[string]string {
		return map[string]string{"own/vfsb.hcl": "workspace {\n  import = " + imports + "\n}\n"}
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"broken":                 {map[string]string{"own/vfsb.hcl": "workspace {\n"}, []string{"vfsb.hcl line 1", "closing brace"}},
		"misspelt":               {map[string]string{"own/vfsb.hcl": "workspace {\n  imports = []\n}\n"}, []string{"vfsb.hcl line 2", `Did you mean "import"`}},
		"two blocks":             {map[string]string{"own/vfsb.hcl": "workspace {}\n\nworkspace {}\n"}, []string{"vfsb.hcl line 3", "vfsb.hcl:1"}},
		"no list":                {own(`"shipped"`), []string{"vfsb.hcl line 2", "a list of strings"}},
		"unknown":                {own(`["shiped"]`), []string{"vfsb.hcl line 2", `did you mean "shipped"`, "begin with ./, ../ or /"}},
		"missing":                {own(`["../taem"]`), []string{"vfsb.hcl line 2", "no folder DIR/taem", "correct the path"}},
		"no workspace":           {own(`["../team/packages/bash"]`), []string{"vfsb.hcl line 2", "holds no packages/"}},
		"twice":                  {own(`["../team", "../own/../team"]`), []string{"vfsb.hcl line 2", "counts already"}},
		"itself":                 {own(`["."]`), []string{"vfsb.hcl line 2", "counts already"}},
		"pin":                    {map[string]string{"own/vfsb.hcl": "workspace {\n  import = [\"shipped\"]\n  pin = \"d0\"\n}\n"}, []string{"vfsb.hcl line 3", "carries the packages d1", "change the pin"}},
		"no package.hcl":         {map[string]string{"own/packages/bash/x.sh.j2": ""}, []string{"packages/bash line 1", "has no package.hcl", "write one"}},
		"empty package.hcl":      {map[string]string{"own/packages/bash/package.hcl": "# nothing\n"}, []string{"packages/bash/package.hcl line 1", "no package is declared", `write package "bash"`}},
		"unreadable package.hcl": {map[string]string{"own/packages/bash/package.hcl/x": ""}, []string{"packages/bash/package.hcl line 1", "is a directory", "make it a file that can be read"}},
		"no imports":             {map[string]string{"own/vfsb.hcl": "workspace {}\n", "own/packages/a/package.hcl": "package \"a\" {\n script {}\n}\n"}, []string{"packages/a/package.hcl line 2", "unknown rule kind", "write import = [\"shipped\"]"}},
		"more than patches":      {map[string]string{"own/packages/bash/patches/a.patch": "", "own/packages/bash/x.sh.j2": ""}, []string{"packages/bash line 1", "has no package.hcl"}},
		"no patches":             {map[string]string{"own/packages/bash/patches/a.diff": ""}, []string{"packages/bash line 1", "has no package.hcl"}},
		"patches of none":        {map[string]string{"own/packages/bsh/patches/a.patch": ""}, []string{"packages/bsh line 1", `did you mean "bash"`}},
		"patch of the same name": {map[string]string{"own/packages/zlib/patches/b.patch": ""}, []string{"packages/zlib line 1", "zlib/patches/b.patch has the name of a patch", "rename it"}},
		"case":                   {map[string]string{"own/packages/Bash/package.hcl": group("Bash", "")}, []string{"packages/Bash/package.hcl line 1", "in case only", "../team/packages/bash/package.hcl:1"}},
		"case, imported later":   {map[string]string{"own/packages/zLib/package.hcl": group("zLib", "")}, []string{"packages/zLib/package.hcl line 1", "in case only", "DIR/shipped/packages/zlib/package.hcl:1"}},
		"other folder's name":    {map[string]string{"own/packages/zlib/package.hcl": group("zlub", "")}, []string{"packages/zlib/package.hcl line 1", "name both alike"}},
		"imported file":          {map[string]string{"team/packages/bash/package.hcl": "package {"}, []string{"../team/packages/bash/package.hcl line 1"}},
		"shipped file":           {map[string]string{"shipped/packages/zlib/package.hcl": "package {"}, []string{"DIR/shipped/packages/zlib/package.hcl line 1"}},
		"duplicate platform": {map[string]string{"own/profiles/a/a.hcl": "platform \"arm64\" {\n profile = \"gnu\"\n arch = \"arm64\"\n triplet = \"x\"\n}\n"},
			[]string{"profiles/a/a.hcl line 1", "declared at DIR/shipped/profiles/all/all.hcl:15"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, diags, _ := loadThree(t, c.files)
			for _, want := range c.want {
				if !strings.Contains(diags, want) {
					t.Errorf("diagnostics lack %q:\n%s", want, diags)
				}
			}
			if n := strings.Count(diags, "Error:"); n != 1 {
				t.Errorf("%d errors:\n%s", n, diags)
			}
		})
	}
}

func TestFindRoot(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"out/vfsb.hcl": "", "out/a/packages/x": "", "out/a/profiles/x": "", "out/a/b/packages/x": ""})
	for from, want := range map[string]string{"out": "out", "out/a": "out/a", "out/a/b": "out/a", "out/a/b/packages": "out/a", "out/none": "out"} {
		if got, err := FindRoot(filepath.Join(dir, from)); err != nil || got != filepath.Join(dir, want) {
			t.Errorf("FindRoot(%s) = %s, %v; want %s", from, got, err, want)
		}
	}
	if _, err := FindRoot(dir); err == nil || !strings.Contains(err.Error(), "vfsb init") {
		t.Errorf("outside of a workspace: %v", err)
	}
}

func TestOverride(t *testing.T) {
	ws, _, dir := loadThree(t, map[string]string{"own/packages/mine/package.hcl": group("mine", "own"), "own/packages/zlib/patches/a.patch": "a\n"})
	for path, want := range map[string]string{
		"packages/mine": "its own", "packages/none": "no imported folder has packages/none", "packages/zlb": `did you mean "zlib"`,
		"packages/zlib": "holds patches", "templates/none.j2": "no imported folder has", "packages/bash/package.hcl": "no imported folder has",
		"../team/packages/bash": "no imported folder has", "packages/..": "no imported folder has", "templates": "no imported folder has",
	} {
		if _, err := ws.Override(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Override(%s): %v, want %q", path, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "own", overridesFile)); err == nil {
		t.Error("something was recorded")
	}

	if err := os.Chmod(filepath.Join(dir, "team/packages/bash/package.hcl"), 0o400); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"packages/bash", "profiles/all/all.hcl", "templates/k.sh.j2"} {
		if _, err := ws.Override(path); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "own/packages/bash/package.hcl")); err != nil || info.Mode()&0o200 == 0 {
		t.Errorf("the copy cannot be changed: %v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "own/*/.copy*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := ws.Override("packages/bash"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("the second time: %v", err)
	}
	list := func() string {
		t.Helper()
		overrides, err := ws.Overrides()
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, o := range overrides {
			line := o.Path + " of " + o.Import
			for word, is := range map[string]bool{" same": o.Same, " patched": o.Patches == 1} {
				if is {
					line += word
				}
			}
			if o.Copied {
				line += " copied"
			}
			if o.Changed {
				line += " changed"
			}
			lines = append(lines, line)
		}
		return strings.Join(lines, "\n")
	}
	if got, want := list(), `packages/bash of ../team same copied
packages/mine of ../team
packages/zlib of shipped patched
profiles/all/all.hcl of shipped same copied
templates/k.sh.j2 of shipped same copied`; got != want {
		t.Errorf("overrides are\n%s\nwant\n%s", got, want)
	}
	writeFiles(t, dir, map[string]string{"own/packages/bash/package.hcl": group("bash", "mine"), "shipped/templates/k.sh.j2": "newer\n"})
	if got, want := list(), `packages/bash of ../team copied
packages/mine of ../team
packages/zlib of shipped patched
profiles/all/all.hcl of shipped same copied
templates/k.sh.j2 of shipped copied changed`; got != want {
		t.Errorf("overrides are\n%s\nwant\n%s", got, want)
	}
	if ws, _ = loadOwn(dir); ws.Packages["bash"].Summary != "mine" {
		t.Error("the copy does not count")
	}
	writeFiles(t, dir, map[string]string{"own/" + overridesFile: "<<<<<<< HEAD\n"})
	if _, err := ws.Overrides(); err == nil || !strings.HasPrefix(err.Error(), overridesFile+":1: ") {
		t.Errorf("a broken record: %v", err)
	}
}
