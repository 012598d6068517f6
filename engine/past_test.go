package engine_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/load"
	"vfsb/engine/source"
	"vfsb/rules"
)

// A world is a workspace in which nothing is ever executed: a node's output is what world.output says.
type world struct {
	testing.TB
	root  string
	store *cache.Store
	goals []string

	recalled, loaded int
}

func newWorld(t testing.TB, goals ...string) *world {
	store, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, root: t.TempDir(), store: store, goals: goals}
	t.Cleanup(func() { w.store.Close() })
	return w
}

// engine is a new process's.
func (w *world) engine() *engine.Engine {
	lock, err := source.OpenLock(filepath.Join(w.root, ".vfsb", "lock.json"))
	if err != nil {
		w.Fatal(err)
	}
	return &engine.Engine{
		Rules: rules.All(), Store: w.store, Exec: load.Exec{Arch: "amd64", Triplet: "x86_64-linux"},
		Fetcher: &source.Fetcher{Store: w.store, Lock: lock, Offline: true},
	}
}

// load is the long way to the graph; nil if something is wrong.
func (w *world) load() (*engine.Engine, *engine.Graph) {
	e := w.engine()
	ws, diags := load.Load(w.root, rules.Names(), load.Carried{})
	if len(diags) > 0 {
		w.Log(diags)
		return e, nil
	}
	e.Workspace = ws
	roots, err := e.Expand(w.goals)
	if err != nil {
		return e, nil
	}
	g, diags := e.Analyze(roots)
	if len(diags) > 0 {
		w.Log(diags)
		return e, nil
	}
	return e, g
}

// output makes the layer of a node: of its script's lines but comments, so that comments are cut off.
func (w *world) output(n *engine.Node) (cache.Layer, error) {
	dir, release, err := w.store.NewRun("output")
	if err != nil {
		return cache.Layer{}, err
	}
	defer release()
	out := filepath.Join(dir, "out")
	var text strings.Builder
	for line := range strings.Lines(string(n.Step.Script)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			text.WriteString(line)
		}
	}
	fmt.Fprint(&text, n.Step.Builtin, n.Step.Settings, len(n.Step.Patches))
	if err := errors.Join(os.Mkdir(out, 0o755), os.WriteFile(filepath.Join(out, "file"), []byte(text.String()), 0o644)); err != nil {
		return cache.Layer{}, err
	}
	index, tar, err := cache.Capture(out, cache.CaptureOptions{})
	if err != nil {
		return cache.Layer{}, err
	}
	return w.store.CommitLayer(out, index, tar)
}

// past is what the last build came to.
func (w *world) past() *engine.Past {
	return engine.NewPast(w.store, w.engine().Exec, w.root, load.Folders(w.root, load.Carried{}), w.goals)
}

// told collects what is told of nodes, a line each.
func told(text *[]string) func(engine.Event) {
	return func(ev engine.Event) {
		if ev.Event == engine.EventFinished {
			*text = append(*text, fmt.Sprintln(ev.Label, ev.Status, ev.Key, ev.Layer))
		}
	}
}

// check goes the short way and the long way. Where the short one leads to an end, the long one must have nothing to do,
// and say the same. It reports whether the workspace is without errors.
func (w *world) check(what string) bool {
	w.Helper()
	var short, long []string
	past := w.past()
	summary, err := past.Recall(engine.Options{Notify: told(&short)})
	if err != nil {
		w.Fatal(err)
	}
	e, g := w.load()
	switch {
	case g == nil && summary != nil:
		w.Fatalf("after %s: nothing to do, though the workspace has errors", what)
	case g == nil:
		return false
	case summary == nil:
		w.loaded++
		if _, err := e.Pretend(g, engine.Options{Past: past, Jobs: 1}, w.output); err != nil {
			w.Fatal(err)
		}
		return true
	}
	w.recalled++
	if _, err := e.Pretend(g, engine.Options{DryRun: true, Notify: told(&long)}, nil); err != nil {
		w.Fatal(err)
	}
	slices.Sort(short)
	slices.Sort(long)
	if !slices.Equal(short, long) {
		w.Fatalf("after %s: recalled\n%s\nloaded\n%s", what, short, long)
	}
	return true
}

func (w *world) write(name, text string) {
	w.Helper()
	path := filepath.Join(w.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) remove(name string) {
	if err := os.RemoveAll(filepath.Join(w.root, name)); err != nil {
		w.Fatal(err)
	}
}

// pause waits until the clock of the file system has gone on: what was written before is not suspect any more.
func pause() { time.Sleep(25 * time.Millisecond) }

// A recipe is a package that random edits change.
type recipe struct {
	name                 string
	deps, tools, runtime []string
	stage                string // an expression
	script               string
	patches              map[string]string
	file                 string // content of a file source
	template             string // content of script.sh.j2, in the place of script
	second               bool   // a second target
	broken               string // what makes the file wrong
	locked               bool   // a source that is in the lock file
}

func (r *recipe) hcl() string {
	var b strings.Builder
	fmt.Fprintf(&b, "package %q {\n  version = \"1\"\n", r.name)
	if len(r.patches) > 0 {
		b.WriteString("  patches = [\"patches/*.patch\"]\n")
	}
	if r.file != "" {
		b.WriteString("  source {\n    file = \"file\"\n  }\n")
	}
	if r.locked {
		fmt.Fprintf(&b, "  source \"far\" {\n    url = \"https://example.org/far.tar\"\n    sha256 = \"%064d\"\n  }\n", 7)
	}
	list := func(name string, labels []string) {
		if len(labels) > 0 {
			fmt.Fprintf(&b, "    %s = [\"%s\"]\n", name, strings.Join(labels, `", "`))
		}
	}
	b.WriteString("  shell {\n")
	list("deps", r.deps)
	list("tools", r.tools)
	list("runtime", r.runtime)
	if r.stage != "" {
		fmt.Fprintf(&b, "    stage = %s\n", r.stage)
	}
	if r.template != "" {
		b.WriteString("    script = \"script.sh.j2\"\n  }\n")
	} else {
		fmt.Fprintf(&b, "    script = <<-SH\n      %s\n    SH\n  }\n", r.script)
	}
	if r.second {
		b.WriteString("  shell \"second\" {\n    script = \"echo second\"\n  }\n")
	}
	b.WriteString("  " + r.broken + "\n}\n")
	return b.String()
}

const shellKind = `rule "shell" {
  template = "shell.sh.j2"
  contract = 1
  attribute "script" {
    type = "script"
  }
}
`

func profileText(env string) string {
	return `profile "p" {
  home = "build"
  stage "build" {
    root = ["//seed"]
    env  = { FLAGS = "` + env + `" }
    guard {
      compiler     = "none"
      interpreter  = "/lib/ld.so"
      library_path = ["/lib"]
    }
  }
  stage "early" {
    root = ["//seed"]
  }
}
platform "amd64" {
  profile = "p"
  arch    = "amd64"
  triplet = "x86_64-linux"
}
`
}

func lockText(size int) string {
	return fmt.Sprintf("{\n  \"version\": 1,\n  \"sources\": {\n    \"n0/far\": {\"origin\":\"upstream\",\"filename\":\"far.tar\",\"sha256\":\"%064d\",\"size\":%d}\n  },\n  \"seeds\": {\n  }\n}\n", 7, size)
}

func (w *world) put(r *recipe) {
	dir := "packages/" + r.name + "/"
	w.write(dir+"package.hcl", r.hcl())
	for name, text := range r.patches {
		w.write(dir+"patches/"+name, text)
	}
	if r.file != "" {
		w.write(dir+"file", r.file)
	}
	if r.template != "" {
		w.write(dir+"script.sh.j2", r.template)
	}
}

// TestPast edits a workspace at random: where an earlier build is recalled, a full load must find nothing to do.
func TestPast(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 2))
	t.Logf("seed %d", seed)
	w := newWorld(t, "//top", "//n3@early")
	w.write("profiles/p/p.hcl", profileText("-O1"))
	w.write("templates/shell.hcl", shellKind)
	w.write("templates/shell.sh.j2", "{{ script }}")
	w.write(".vfsb/lock.json", lockText(10))
	w.write("packages/seed/package.hcl", seedPackage)
	const count = 12
	recipes := make([]*recipe, count)
	for i := range recipes {
		r := &recipe{name: fmt.Sprintf("n%d", i), script: fmt.Sprintf("echo %d", i), patches: map[string]string{}}
		for range rng.IntN(3) {
			if i > 0 {
				r.deps = append(r.deps, fmt.Sprintf("//n%d", rng.IntN(i)))
				r.tools = append(r.tools, fmt.Sprintf("//n%d", rng.IntN(i)))
			}
		}
		r.locked = i == 0
		w.put(r)
		recipes[i] = r
	}
	top := func() {
		w.write("packages/top/package.hcl", `package "top" {
  rootfs "rootfs" {
    contents = ["//n11", "//n10"]
  }
  group {
    members = ["//top/rootfs", "//n9", "//n8", "//n7"]
  }
}
`)
	}
	top()
	any := func() *recipe { return recipes[rng.IntN(count)] }
	serial := 0
	next := func() string { serial++; return fmt.Sprint(serial) }
	edits := map[string]func(r *recipe){
		"nothing":          func(r *recipe) {},
		"a touch":          func(r *recipe) {},
		"a comment":        func(r *recipe) { r.script += "\n      # " + next() },
		"a script":         func(r *recipe) { r.script = "echo " + next() },
		"the same length":  func(r *recipe) { r.script = "echo " + fmt.Sprint(rng.IntN(2)) },
		"a dependency":     func(r *recipe) { r.deps = append(r.deps, "//"+any().name) }, // maybe a cycle
		"a runtime":        func(r *recipe) { r.runtime = append(r.runtime, "//"+any().name) },
		"a tool":           func(r *recipe) { r.tools = append(r.tools, "//"+any().name+"@early") },
		"a new label":      func(r *recipe) { r.deps = append(r.deps, "//spare") },
		"an unknown label": func(r *recipe) { r.deps = append(r.deps, "//nowhere") },
		"no edges":         func(r *recipe) { r.deps, r.tools, r.runtime = nil, nil, nil },
		"a stage":          func(r *recipe) { r.stage = []string{"", `"early"`, `name == "x" ? "early" : "build"`}[rng.IntN(3)] },
		"a patch":          func(r *recipe) { r.patches[fmt.Sprintf("%d.patch", rng.IntN(3))] = next() },
		"a file source":    func(r *recipe) { r.file = next() },
		"a template":       func(r *recipe) { r.template = "echo " + next() },
		"an include":       func(r *recipe) { r.template = fmt.Sprintf("{%% include %q %%}", "n1/script.sh.j2") },
		"a target":         func(r *recipe) { r.second = !r.second },
		"a syntax error":   func(r *recipe) { r.broken = "{" },
		"a wrong name":     func(r *recipe) { r.broken = "vershun = 1" },
	}
	others := map[string]func(){
		"a patch file alone": func() { w.write("packages/n5/patches/0.patch", next()); recipes[5].patches["0.patch"] = next() },
		"no patch file":      func() { w.remove("packages/n5/patches"); recipes[5].patches = map[string]string{} },
		"a profile":          func() { w.write("profiles/p/p.hcl", profileText("-O"+next())) },
		"a shared template":  func() { w.write("templates/shell.sh.j2", "{{ script }} # "+next()) },
		"a new package": func() {
			w.write("packages/spare/package.hcl", "package \"spare\" {\n  shell {\n    script = \"echo "+next()+"\"\n  }\n}\n")
		},
		"a package gone":      func() { w.remove("packages/spare") },
		"the lock file":       func() { w.write(".vfsb/lock.json", lockText(serial)) },
		"a result gone":       func() { w.loseResults() },
		"a layer gone":        func() { w.loseLayer(rng) },
		"a damaged memo":      func() { w.damage(rng) },
		"a file beside":       func() { w.write("packages/n2/README", next()) },
		"a file of no kind":   func() { w.write("packages/README", next()) },
		"a link":              func() { w.remove("packages/n4/link"); os.Symlink("/etc", filepath.Join(w.root, "packages/n4/link")) },
		"a change of the top": func() { top() },
	}
	names := slices.Concat(sorted(edits), sorted(others))
	w.check("nothing")
	for i := range 100 {
		what := names[rng.IntN(len(names))]
		at := rng.IntN(count)
		before := *recipes[at]
		before.patches = maps.Clone(before.patches)
		if other := others[what]; other != nil {
			other()
		} else {
			edits[what](recipes[at])
			w.put(recipes[at])
		}
		if rng.IntN(3) > 0 { // else the edit is suspect for being so new
			pause()
		}
		if !w.check(fmt.Sprintf("edit %d: %s", i, what)) { // take back what made it wrong
			recipes[at] = &before
			w.put(&before)
			if !w.check("taking it back") {
				w.write("packages/spare/package.hcl", "package \"spare\" {\n  shell {\n    script = \"\"\n  }\n}\n")
				w.check("a new package")
			}
		}
		if rng.IntN(2) == 0 {
			w.remove("packages/n4/link")
			pause()
			w.check("nothing more")
			before := w.recalled
			if w.check("nothing at all"); w.recalled == before {
				t.Fatalf("edit %d: %s: nothing has changed, and the workspace is loaded again", i, what)
			}
		}
	}
	t.Logf("recalled %d times, loaded %d times", w.recalled, w.loaded)
}

// TestPastGone: what is missing, or other than it was, is never passed over.
func TestPastGone(t *testing.T) {
	elsewhere := t.TempDir()
	for name, change := range map[string]func(w *world){
		"a root's layer": func(w *world) {
			for _, dir := range glob(w.store.Dir() + "/layers/*") {
				os.RemoveAll(dir)
			}
		},
		"a delivered file":        func(w *world) { w.remove("out/top-amd64.tar.zst") },
		"a delivered file's data": func(w *world) { w.write("out/top-amd64.tar.zst", "") },
		"the results":             func(w *world) { w.loseResults() },
		"the guard's checks":      func(w *world) { os.Truncate(w.store.Dir()+"/checks", 0); w.reopen() },
		"other labels":            func(w *world) { w.goals = w.goals[:1] },
		"a new vfsb.hcl":          func(w *world) { w.write("vfsb.hcl", "workspace {\n}\n") },
		"a file that a link leads to": func(w *world) {
			os.WriteFile(elsewhere+"/patch", []byte("other"), 0o644)
		},
		"another layer of the same key": func(w *world) {
			var key cache.Digest
			w.past().Recall(engine.Options{Notify: func(ev engine.Event) {
				if ev.Label == "//n@build:amd64" {
					key.UnmarshalText([]byte(ev.Key))
				}
			}})
			if err := w.store.PutResult(key, cache.Result{Layer: cache.Layer{Tar: key, Index: key}}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "//n", "//top/rootfs")
			w.write("profiles/p/p.hcl", profileText("-O1"))
			w.write("templates/shell.hcl", shellKind)
			w.write("templates/shell.sh.j2", "{{ script }}")
			w.write("packages/seed/package.hcl", seedPackage)
			w.put(&recipe{name: "n", script: "echo", patches: map[string]string{"0.patch": "patch"}})
			w.write("packages/top/package.hcl", "package \"top\" {\n  rootfs \"rootfs\" {\n    contents = [\"//n\"]\n  }\n}\n")
			linked := name == "a file that a link leads to"
			if linked {
				w.remove("packages/n/patches/0.patch")
				if err := errors.Join(os.WriteFile(elsewhere+"/patch", []byte("patch"), 0o644), os.Symlink(elsewhere+"/patch", w.root+"/packages/n/patches/0.patch")); err != nil {
					t.Fatal(err)
				}
			}
			pause()
			if !w.check("nothing") {
				t.Fatal("the workspace has errors")
			}
			if w.check("nothing more"); w.recalled != 1 && !linked {
				t.Fatal("nothing is recalled though nothing has changed")
			}
			change(w)
			pause()
			if summary, err := w.past().Recall(engine.Options{}); summary != nil || err != nil {
				t.Errorf("there is said to be nothing to do: %v, %v", summary, err)
			}
		})
	}
}

func glob(pattern string) []string {
	list, _ := filepath.Glob(pattern)
	return list
}

// seedPackage is an image that is empty.
var seedPackage = fmt.Sprintf("package \"seed\" {\n  seed {\n    image {\n      ref = \"./seed.tar\"\n      digest = \"sha256:%x\"\n    }\n  }\n}\n", sha256.Sum256(nil))

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// loseResults forgets what was built.
func (w *world) loseResults() {
	if err := os.Truncate(filepath.Join(w.store.Dir(), "results"), 0); err != nil {
		w.Fatal(err)
	}
	w.reopen()
}

// reopen is what a new process does.
func (w *world) reopen() {
	store, err := cache.Open(w.store.Dir())
	if err := errors.Join(w.store.Close(), err); err != nil {
		w.Fatal(err)
	}
	w.store = store
}

// loseLayer removes a layer from the store.
func (w *world) loseLayer(rng *rand.Rand) {
	dir := filepath.Join(w.store.Dir(), "layers")
	entries, err := os.ReadDir(dir)
	if err != nil {
		w.Fatal(err)
	}
	if len(entries) > 0 {
		os.RemoveAll(filepath.Join(dir, entries[rng.IntN(len(entries))].Name()))
	}
}

// damage cuts off, or changes a byte of, what is remembered.
func (w *world) damage(rng *rand.Rand) {
	dir := filepath.Join(w.store.Dir(), "memos")
	entries, err := os.ReadDir(dir)
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			w.Fatal(err)
		}
		at := rng.IntN(len(b))
		if rng.IntN(2) == 0 {
			b = b[:at]
		} else {
			b[at] ^= 1
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			w.Fatal(err)
		}
	}
}
