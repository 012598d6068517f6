package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFiles(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// loaded is a workspace of files, which know the rule kind group.
func loaded(t *testing.T, files map[string]string) *Workspace {
	t.Helper()
	root := t.TempDir()
	writeFiles(t, root, files)
	ws, diags := Load(root, []string{"group"}, Carried{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return ws
}

const profiles = `
profile "gnu" {
  home = "tools"
  stage "cross" {
    vars = { prefix = "/cross" }
  }
  stage "tools" {
    env = { CC = "${platform.triplet}-gcc" }
  }
}
profile "musl" {
  home = "tools"
  stage "tools" {}
}
platform "arm64" {
  profile = "gnu"
  arch    = "arm64"
  triplet = "aarch64-x-linux-gnu"
  aliases = ["arm-64bit"]
}
platform "arm64-musl" {
  profile = "musl"
  arch    = "arm64"
  triplet = "aarch64-x-linux-musl"
}
`

func TestResolve(t *testing.T) {
	ws := loaded(t, map[string]string{
		"profiles/all.d/all.hcl":        profiles,
		"packages/bash/package.hcl":     "package \"bash\" {\n group {\n members = [] \n}\n}\n",
		"packages/gcc/package.hcl":      "package \"gcc\" {\n profiles = [\"gnu\"]\n group \"cross\" {\n members = []\n stage = profile == \"gnu\" ? \"cross\" : \"tools\"\n }\n}\n",
		"packages/none/package.hcl":     "package \"none\" {\n}\n",
		"packages/alkaline/package.hcl": "package \"alkaline\" {\n profile = \"musl\"\n group {\n members = []\n}\n}\n",
	})
	r := NewResolver(ws, Exec{Arch: "arm64", Triplet: "aarch64-pc-linux-gnu"})
	for in, want := range map[string]string{
		"//bash":                "//bash@tools:arm64",
		"//bash:arm64-musl":     "//bash@tools:arm64-musl",
		"//bash:arm-64bit":      "//bash@tools:arm64",
		"//bash@cross":          "//bash@cross:arm64",
		"//gcc/cross":           "//gcc/cross@cross:arm64",
		"//alkaline":            "//alkaline@tools:arm64-musl",
		"//alkaline:arm64":      "//alkaline@tools:arm64-musl",
		"//alkaline:arm64-musl": "//alkaline@tools:arm64-musl",
	} {
		l, err := ParseLabel(in)
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.Resolve(l, "")
		if err != nil || c.Label().String() != want {
			t.Errorf("Resolve(%s) = %v, %v; want %s", in, c.Target, err, want)
		}
	}
	for in, want := range map[string]string{
		"//bsh":                  `did you mean "bash"`,
		"//gcc":                  "no default target; it has //gcc/cross",
		"//none":                 "no targets; add one at packages/none/package.hcl:1",
		"//none/x":               "no targets; add one at packages/none/package.hcl:1",
		"//gcc/cros":             `did you mean "cross"`,
		"//gcc/cross:arm64-musl": "not built in profile",
		"//bash:sparc":           "platforms are arm64, arm64-musl",
		"//bash@native":          "no stage \"native\"; it has cross, tools",
		"//alkaline:mips":        "no platform \"mips\"",
	} {
		l, err := ParseLabel(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Resolve(l, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Resolve(%s): error %v; want one with %q", in, err, want)
		}
	}
	p, _ := ParsePattern("//...:arm64-musl")
	configs, err := r.Expand(p)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range configs {
		got = append(got, c.Label().String())
	}
	if want := "//alkaline@tools:arm64-musl //bash@tools:arm64-musl"; strings.Join(got, " ") != want {
		t.Errorf("//...:arm64-musl is %v; want %s", got, want)
	}
}

// TestExtends: a stage has what the one above it has, and what is written is its own.
func TestExtends(t *testing.T) {
	ws := loaded(t, map[string]string{
		"packages/a/package.hcl": "package \"a\" {\n group {\n members = [] \n}\n}\n",
		"profiles/p.d/p.hcl": `profile "p" {
  home = "one"
  stage "one" {
    native = true
    root   = ["//a"]
    tools  = ["//b"]
    vars   = { x = 1, y = 1 }
    env    = { X = "1", Y = "1" }
    guard {
      compiler     = "c"
      interpreter  = "/i"
      library_path = ["/l"]
    }
  }
  stage "two" {
    extends = "one"
    root    = stage == "two" ? null : ["//c"]
    tools   = []
    vars    = { y = 2 }
    env     = { Y = "2", Z = "2" }
  }
  stage "early" {
    extends = "late"
  }
  stage "late" {}
  stage "self" {
    extends = "self"
  }
}
platform "p" {
  profile = "p"
  arch    = "amd64"
  triplet = "t"
}
`,
	})
	r := NewResolver(ws, Exec{Arch: "amd64"})
	c, err := r.Resolve(Label{Package: "a", Stage: "two"}, "p")
	if err != nil {
		t.Fatal(err)
	}
	s := c.Stage
	if got, want := fmt.Sprintln(s.Name, s.Native, s.Root, s.Tools, s.Vars, s.Env), "two true [//a] [] map[x:1 y:2] map[X:1 Y:2 Z:2]\n"; got != want || s.Guard == nil {
		t.Errorf("the stage is %s with guard %v; want %s, and a guard", got, s.Guard, want)
	}
	if c, err = r.Resolve(Label{Package: "a", Stage: "one"}, "p"); err != nil || fmt.Sprint(c.Stage.Env) != "map[X:1 Y:1]" {
		t.Errorf("the extended stage is %+v, %v", c.Stage, err)
	}
	for _, name := range []string{"early", "self"} {
		if _, err := r.Resolve(Label{Package: "a", Stage: name}, "p"); err == nil || !strings.Contains(err.Error(), "which is not declared above it") {
			t.Errorf("stage %s: %v; want that the other one is not declared above it", name, err)
		}
	}
}

// TestEmulated: platform.emulated is true where this machine does not run the platform's programs, in every stage.
func TestEmulated(t *testing.T) {
	ws := loaded(t, map[string]string{
		"packages/a/package.hcl": "package \"a\" {\n group {\n members = [] \n}\n}\n",
		"profiles/p.d/p.hcl": `profile "p" {
  home = "s"
  stage "s" {
    vars = { word = platform.emulated ? "emulated" : "its own" }
  }
}
platform "x86" {
  profile = "p"
  arch    = "i686"
  triplet = "t"
}
platform "arm" {
  profile = "p"
  arch    = "arm64"
  triplet = "t"
}
`,
	})
	for machine, want := range map[string]map[string]bool{"amd64": {"x86": false, "arm": true}, "arm64": {"x86": true, "arm": false}} {
		r := NewResolver(ws, Exec{Arch: machine})
		for platform, emulated := range want {
			c, err := r.Resolve(Label{Package: "a"}, platform)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Vars(c)["platform"].(map[string]any)["emulated"]; got != emulated {
				t.Errorf("on %s platform %s: emulated is %v for targets; want %v", machine, platform, got, emulated)
			}
			if got := c.Stage.Vars["word"] == "emulated"; got != emulated {
				t.Errorf("on %s platform %s: emulated is %v for stages; want %v", machine, platform, got, emulated)
			}
		}
	}
}

func TestDuplicatesAndErrorsOfAllFiles(t *testing.T) {
	root := t.TempDir()
	writeFiles(t, root, map[string]string{
		"profiles/p/a.hcl":       profiles,
		"profiles/p/b.hcl":       "profile \"gnu\" {\n home = \"tools\"\n stage \"tools\" {}\n}\n",
		"packages/a/package.hcl": "package \"b\" {\n}\n",
		"packages/c/package.hcl": "package \"c\" {\n source {\n file = \"../../etc/passwd\"\n }\n source \"c\" {\n url = \"http://x/y\"\n sha256 = \"12\"\n }\n}\n",
		"profiles/p/c.hcl":       "platform \"q\" {\n profile = \"gnu\"\n arch = \"arm64\"\n triplet = \"t\"\n vars = { emulated = true }\n}\n",
		"templates/x.hcl":        "rule \"x\" {\n template = \"x.sh.j2\"\n attribute \"a\" {\n type = \"strin\"\n }\n}\n",
	})
	_, diags := Load(root, []string{"group"}, Carried{})
	var all []string
	for _, d := range diags {
		all = append(all, Pos(*d.Subject)+" "+d.Summary+" "+d.Detail)
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{
		"profiles/p/b.hcl:1 duplicate profile \"gnu\" it is declared at profiles/p/a.hcl:2",
		"profiles/p/c.hcl:5 vars of platform \"q\" hold emulated",
		"packages/a/package.hcl:1 package \"b\" lies in the folder packages/a name both alike",
		"leads out of the package's folder",
		"packages/c/package.hcl:5 duplicate source \"c\"",
		"packages/c/package.hcl:7 source \"c\": sha256 is not 64 lower-case hex digits",
		"templates/x.hcl:1 rule \"x\" has no template",
		"has type \"strin\"",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no diagnostic says %q in:\n%s", want, text)
		}
	}
}
