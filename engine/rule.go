package engine

import (
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"vfsb/cache"
	"vfsb/engine/load"
	"vfsb/engine/render"
)

// A Rule turns a target's block into a Step. Rules for kinds declared as data share
// one Analyze; rules written in Go have one each.
type Rule struct {
	Name    string
	Analyze func(*Target) *Step
}

// A Target is what a rule sees of the node that it analyzes: its declaration, its
// configuration, and ways to read attributes and to report what is wrong with them.
type Target struct {
	load.Config
	Workspace *load.Workspace
	Diags     hcl.Diagnostics

	resolver  *load.Resolver
	templates *render.Templates
}

// A Step is what a rule makes of a target: the action without the digests of its inputs.
type Step struct {
	Rule     string            // kind/contract
	Builtin  string            // "" for a script; else the step vfsb does itself
	Script   []byte            // rendered
	Env      map[string]string // of the script
	Sources  []*load.Source
	Patches  []string // paths, in the order in which they are applied
	Drop     []string
	Attrs    []cache.Attr
	Settings []cache.Field
	Replaces []Replace
	Linux32  bool

	Root     []Edge // layers of the root
	Tools    []Edge // further layers of the root, with their runtime
	Deps     []Edge // layers below /sysroot, or in the root of a native stage, with their deps and runtime
	Runtime  []Edge // what whoever uses the output needs besides
	Contents []Edge // what an image or rootfs holds, with its runtime
	Emulator []Edge // what runs the script's programs, if this machine cannot; at most one

	Seed    *Seed  // for builtins unpack-debs and unpack-image
	Guard   *Guard // what the output is checked for; nil: nothing
	Deliver string // what build writes to out/: "", "tar.zst" or "oci"

	Timeout, Silence time.Duration // 0: none
}

// An Edge names another node, at the place where it is written.
type Edge struct {
	Label load.Label
	Range hcl.Range
}

// A Replace allows the layer of this node to hide a path of another one.
type Replace struct{ Path, Reason string }

// SeedKind is the kind of targets that are first toolchains.
const SeedKind = "seed"

// A Seed is the declaration of a first toolchain.
type Seed struct {
	Suite        string
	Components   []string
	Packages     []string
	Image        string // reference, layout or tarball
	Digest       string
	Alternatives map[string]string
	Drop         []string
	Range        hcl.Range
}

// Errorf reports what is wrong at r; the text after the first "; " is the remedy.
func (t *Target) Errorf(r hcl.Range, format string, args ...any) {
	t.Diags = append(t.Diags, load.Errorf(r, format, args...))
}

// commonAttributes are the attributes of every rule kind that runs a script.
var commonAttributes = []string{
	"deps", "tools", "runtime", "stage", "profiles", "bootstrap", "env", "vars", "patches", "sources",
	"timeout", "silence", "drop", "attrs", "replaces", "allow",
}

// Attributes reads the block's attributes; names and block types beyond those given
// are errors with a suggestion.
func (t *Target) Attributes(names []string, blocks ...string) (*load.Attrs, hcl.Blocks) {
	schema := &hcl.BodySchema{}
	for _, name := range names {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name})
	}
	for _, b := range blocks {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: b})
	}
	content, diags := t.Target.Body.Content(schema)
	t.Diags = append(t.Diags, diags...)
	return load.NewAttrs(content.Attributes, t.resolver.EvalContext(t.Config)), content.Blocks
}

// BlockAttributes reads the attributes of a block within the target's.
func (t *Target) BlockAttributes(b *hcl.Block, names ...string) *load.Attrs {
	schema := &hcl.BodySchema{}
	for _, name := range names {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name})
	}
	content, diags := b.Body.Content(schema)
	t.Diags = append(t.Diags, diags...)
	return load.NewAttrs(content.Attributes, t.resolver.EvalContext(t.Config))
}

// Edges parses the labels of an attribute.
func (t *Target) Edges(a *load.Attrs, name string) []Edge {
	return t.EdgeList(a.Strings(name), a.Range(name))
}

// EdgeList parses labels written at r.
func (t *Target) EdgeList(labels []string, r hcl.Range) []Edge {
	var list []Edge
	for _, s := range labels {
		l, err := load.ParseLabel(s)
		if err != nil {
			t.Errorf(r, "%v", err)
			continue
		}
		list = append(list, Edge{Label: l, Range: r})
	}
	return list
}

// ScriptStep reads the common attributes and those of kind, and renders kind's template.
func (t *Target) ScriptStep(kind *load.Kind) *Step {
	names := append([]string(nil), commonAttributes...)
	for _, attr := range kind.Attributes {
		names = append(names, attr.Name)
	}
	a, _ := t.Attributes(names)
	step := &Step{Rule: fmt.Sprintf("%s/%d", kind.Name, kind.Contract)}
	t.common(step, a)
	context := t.context(step, a)
	for _, attr := range kind.Attributes {
		context[attr.Name] = t.attribute(a, attr, context)
	}
	t.Diags = append(t.Diags, a.Diags...)
	if t.Diags.HasErrors() {
		return step
	}
	text, err := t.templates.Render(kind.Template, context)
	if err != nil {
		t.renderError(t.Target.Range, err, "")
		return step
	}
	step.Script = []byte(text)
	if err := render.CheckShell(t.Label().String(), text); err != nil {
		t.renderError(t.Target.Range, err, fmt.Sprintf(" `vfsb render %s` shows the script.", t.Label()))
	}
	return step
}

// common reads the attributes that every script kind has.
func (t *Target) common(step *Step, a *load.Attrs) {
	step.Env = map[string]string{}
	maps.Copy(step.Env, t.Stage.Env)
	maps.Copy(step.Env, a.StringMap("env"))
	step.Root = t.EdgeList(t.Stage.Root, t.Stage.Range)
	if !a.Bool("bootstrap") {
		step.Tools = t.EdgeList(t.Stage.Tools, t.Stage.Range)
		step.Deps = t.EdgeList(t.Stage.Deps, t.Stage.Range)
	}
	if t.Stage.Native {
		step.Linux32 = t.Platform.Arch == "i686" || t.Platform.Arch == "armv7"
		step.Emulator = t.emulator()
	}
	step.Tools = append(step.Tools, t.Edges(a, "tools")...)
	step.Deps = append(step.Deps, t.Edges(a, "deps")...)
	step.Runtime = t.Edges(a, "runtime")
	step.Drop = a.Strings("drop")
	step.Attrs = t.Attrs(a)
	step.Timeout = time.Duration(a.Int("timeout")) * time.Second
	step.Silence = time.Duration(a.Int("silence")) * time.Second
	step.Patches = t.patches(a)
	step.Sources = t.sources(a)
	step.Guard = t.guard(a)
	for path, reason := range a.StringMap("replaces") {
		if reason == "" {
			a.Errorf("replaces", "replaces %q gives no reason; write why this package may hide the other's file", path)
		}
		step.Replaces = append(step.Replaces, Replace{Path: path, Reason: reason})
	}
}

// emulator is what runs the script's programs, if this machine cannot.
func (t *Target) emulator() []Edge {
	switch {
	case !t.resolver.Emulates(t.Config):
		return nil
	case t.Platform.Emulator == nil:
		t.Errorf(t.Platform.Range, "stage %q runs programs of platform %q, which this machine cannot; name an emulator: emulator = { package = \"//qemu\", program = \"usr/bin/qemu-aarch64-static\" }",
			t.Stage.Name, t.Platform.Name)
		return nil
	}
	return []Edge{{Label: t.Platform.Emulator.Label, Range: t.Platform.Range}}
}

// patches is the package's patches, if the target takes any of its sources, then those that the target adds.
func (t *Target) patches(a *load.Attrs) []string {
	var list []string
	if !a.Has("sources") || len(a.Strings("sources")) > 0 {
		list = append(list, t.Target.Package.Patches...)
	}
	for _, pattern := range a.Strings("patches") {
		names, err := filepath.Glob(filepath.Join(t.Target.Package.Dir, pattern))
		if err != nil || len(names) == 0 {
			a.Errorf("patches", "no file %q beside package.hcl; add it", pattern)
		}
		list = append(list, names...)
	}
	return list
}

// sources is the package's sources, or those that the target chooses.
func (t *Target) sources(a *load.Attrs) []*load.Source {
	if !a.Has("sources") {
		return t.Target.Package.Sources
	}
	var list []*load.Source
	for _, name := range a.Strings("sources") {
		var found *load.Source
		for _, s := range t.Target.Package.Sources {
			if s.Name == name {
				found = s
			}
		}
		if found == nil {
			a.Errorf("sources", "package %q has no source %q; declare it in a source block", t.Target.Package.Name, name)
			continue
		}
		list = append(list, found)
	}
	return list
}

// Attrs reads attrs = [{ path = "…", mode = "4755", uid = 0, gid = 5, caps = "…" }].
func (t *Target) Attrs(a *load.Attrs) []cache.Attr {
	items, ok := a.Any("attrs").([]any)
	if !ok && a.Has("attrs") {
		a.Errorf("attrs", "attrs is a list of objects; write attrs = [{ path = \"tmp\", mode = \"1777\" }]")
	}
	var list []cache.Attr
	for _, item := range items {
		m, ok := item.(map[string]any)
		path, _ := m["path"].(string)
		if !ok || path == "" {
			a.Errorf("attrs", "an element of attrs has no path; write { path = \"tmp\", mode = \"1777\" }")
			continue
		}
		attr := cache.Attr{Path: strings.TrimPrefix(path, "/")}
		for name, value := range m {
			switch v := value.(type) {
			case string:
				switch name {
				case "path":
					continue
				case "caps":
					attr.Caps = v
					continue
				case "mode":
					if mode, err := strconv.ParseUint(v, 8, 12); err == nil {
						m := uint32(mode)
						attr.Mode = &m
						continue
					}
				}
			case int:
				switch name {
				case "uid":
					attr.UID = &v
					continue
				case "gid":
					attr.GID = &v
					continue
				}
			}
			a.Errorf("attrs", "attrs %q: %s is not understood; there are mode (a string of octal digits), uid, gid (numbers) and caps", path, name)
		}
		list = append(list, attr)
	}
	return list
}

// context is what the kind's template sees beside the kind's own attributes.
func (t *Target) context(step *Step, a *load.Attrs) map[string]any {
	vars := t.resolver.Vars(t.Config)
	stage := map[string]any{}
	maps.Copy(stage, t.Stage.Vars)
	stage["name"] = t.Stage.Name
	vars["stage"] = stage
	vars["kind"] = t.Target.Kind
	vars["env"] = toAny(step.Env)
	extra, _ := a.Any("vars").(map[string]any)
	if extra == nil {
		extra = map[string]any{}
	}
	vars["vars"] = extra
	sources := []any{}
	for _, s := range step.Sources {
		sources = append(sources, map[string]any{"name": s.Name, "file": SourceFilename(s)})
	}
	vars["sources"] = sources
	patches := []any{}
	for _, p := range step.Patches {
		patches = append(patches, filepath.Base(p))
	}
	vars["patches"] = patches
	return vars
}

// SourceFilename is the source's name below /build/sources.
func SourceFilename(s *load.Source) string {
	if s.Filename != "" {
		return s.Filename
	}
	return s.Name + ".tar"
}

func toAny(m map[string]string) map[string]any {
	result := make(map[string]any, len(m))
	for k, v := range m {
		result[k] = v
	}
	return result
}

// attribute is the value of one of the kind's attributes, scripts already rendered.
func (t *Target) attribute(a *load.Attrs, attr load.KindAttribute, context map[string]any) any {
	value, err := load.ToGo(attr.Default)
	if err != nil {
		t.Errorf(attr.Range, "default of %s: %v", attr.Name, err)
	}
	if a.Has(attr.Name) {
		switch attr.Type {
		case "string", "script":
			value = a.String(attr.Name)
		case "bool":
			value = a.Bool(attr.Name)
		case "number":
			value = a.Int(attr.Name)
		case "list":
			list := []any{}
			for _, s := range a.Strings(attr.Name) {
				list = append(list, s)
			}
			value = list
		case "map":
			value = toAny(a.StringMap(attr.Name))
		}
	}
	if attr.Type != "script" {
		return value
	}
	text, _ := value.(string)
	return t.renderScript(text, a.Range(attr.Name), context)
}

// renderScript renders a script attribute: inline text, or the name of a file beside
// package.hcl that ends in .j2.
func (t *Target) renderScript(text string, r hcl.Range, context map[string]any) string {
	if text == "" {
		return ""
	}
	var err error
	if strings.HasSuffix(text, ".j2") && !strings.ContainsAny(text, " \n") {
		name := t.Target.Package.Name + "/" + text
		if _, ok := t.Workspace.Templates[name]; !ok {
			t.Errorf(r, "no file %q beside package.hcl; add it", text)
			return ""
		}
		text, err = t.templates.Render(name, context)
	} else {
		text, err = t.templates.RenderText(load.Pos(r), text, context)
	}
	if err != nil {
		t.renderError(r, err, "")
	}
	return text
}

// renderError reports an error of a template or of a rendered script, at the template's own line where it is known.
// hint is what else helps.
func (t *Target) renderError(r hcl.Range, err error, hint string) {
	detail := ""
	if e, ok := err.(*render.Error); ok {
		err = fmt.Errorf("%s:%d: %s", t.Workspace.TemplateFile(e.Template), e.Line, e.Message)
		detail = strings.TrimRight(e.Excerpt, "\n")
	}
	d := load.Errorf(r, "%s", strings.ReplaceAll(err.Error(), "; ", ", "))
	d.Detail = strings.TrimSpace(fmt.Sprintf("%s\nSeen while making %s.%s", detail, t.Label(), hint))
	t.Diags = append(t.Diags, d)
}
