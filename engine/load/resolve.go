package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// A Config is a target in a stage, for a platform: what a node of the graph builds.
type Config struct {
	Target   *Target
	Profile  *Profile
	Stage    *Stage
	Platform *Platform
}

// Label is the node's whole label.
func (c Config) Label() Label {
	l := c.Target.Label()
	l.Stage, l.Platform = c.Stage.Name, c.Platform.Name
	return l
}

// A Resolver turns labels into configurations. It memoises; one goroutine uses it.
type Resolver struct {
	ws       *Workspace
	exec     Exec
	stages   map[[2]string]*Stage // by platform and stage
	resolved map[reference]Config
}

// A reference is a label with the platform of where it is written.
type reference struct {
	label Label
	base  string
}

// NewResolver resolves labels of ws on a machine of exec's architecture.
func NewResolver(ws *Workspace, exec Exec) *Resolver {
	return &Resolver{ws: ws, exec: exec, stages: map[[2]string]*Stage{}, resolved: map[reference]Config{}}
}

// Vars are the variables that expressions of the configuration see.
func (r *Resolver) Vars(c Config) map[string]any {
	exec := r.exec
	if c.Stage.Native {
		exec = Exec{Arch: c.Platform.Arch, Triplet: c.Platform.Triplet}
	}
	return map[string]any{
		"name": c.Target.Package.Name, "version": c.Target.Package.Version, "target": c.Target.Name,
		"profile": c.Profile.Name, "stage": c.Stage.Name,
		"platform": r.platformVars(c.Platform),
		"exec":     map[string]any{"arch": exec.Arch, "triplet": exec.Triplet},
	}
}

// Emulates reports whether the configuration's scripts are the platform's programs, and this machine cannot run them.
func (r *Resolver) Emulates(c Config) bool { return c.Stage.Native && !r.exec.Runs(c.Platform.Arch) }

// platformVars is what expressions see as platform.*.
func (r *Resolver) platformVars(p *Platform) map[string]any {
	vars := map[string]any{
		"name": p.Name, "arch": p.Arch, "libc": p.Libc, "triplet": p.Triplet, "machine": p.Machine, "kernel_arch": p.KernelArch,
		"emulated": !r.exec.Runs(p.Arch),
	}
	maps.Copy(vars, p.Vars)
	return vars
}

// EvalContext is what the target's expressions are evaluated with.
func (r *Resolver) EvalContext(c Config) *hcl.EvalContext { return evalContext(r.Vars(c)) }

// Resolve finds the node that a label means. base is the platform for labels
// without one; empty, it is the machine's own.
func (r *Resolver) Resolve(l Label, base string) (Config, error) {
	if c, ok := r.resolved[reference{l, base}]; ok {
		return c, nil
	}
	c, err := r.resolve(l, base)
	if err == nil {
		r.resolved[reference{l, base}] = c
	}
	return c, err
}

func (r *Resolver) resolve(l Label, base string) (Config, error) {
	pkg := r.ws.Packages[l.Package]
	if pkg == nil {
		return Config{}, fmt.Errorf("no package %q%s", l.Package, orAdd(Suggest(l.Package, keys(r.ws.Packages)), "; add packages/"+l.Package+"/package.hcl"))
	}
	var target *Target
	var names []string
	for _, t := range pkg.Targets {
		if t.Name == l.Target {
			target = t
		}
		names = append(names, t.Name)
	}
	if target == nil {
		if len(pkg.Targets) == 0 {
			return Config{}, fmt.Errorf("package %q has no targets; add one at %s, such as autotools {} or script { … }", l.Package, Pos(pkg.Range))
		}
		var list []string
		for _, t := range pkg.Targets {
			list = append(list, t.Label().String())
		}
		if l.Target == "" {
			return Config{}, fmt.Errorf("package %q has no default target; it has %s", l.Package, strings.Join(list, ", "))
		}
		return Config{}, fmt.Errorf("package %q has no target %q%s", l.Package, l.Target, orAdd(Suggest(l.Target, names), "; it has "+strings.Join(list, ", ")))
	}
	platform, err := r.platform(pkg, l.Platform, base)
	if err != nil {
		return Config{}, err
	}
	return r.configure(target, platform, l.Stage)
}

func orAdd(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// configure chooses the stage: the one asked for, else the target's home stage.
func (r *Resolver) configure(t *Target, p *Platform, stage string) (Config, error) {
	profile := r.ws.Profiles[p.Profile]
	c := Config{Target: t, Profile: profile, Platform: p, Stage: &Stage{Name: stage}}
	if stage == "" {
		stage = profile.Home
		attrs, diags := justAttributes(t.Body)
		if diags.HasErrors() {
			return Config{}, diags
		}
		if attrs["stage"] != nil {
			a := NewAttrs(attrs, r.EvalContext(c))
			stage = a.String("stage")
			if a.Diags.HasErrors() {
				return Config{}, a.Diags
			}
		}
	}
	s, err := r.stage(profile, p, stage)
	if err != nil {
		return Config{}, err
	}
	c.Stage = s
	return c, nil
}

// justAttributes is the attributes of a body that may hold blocks too.
func justAttributes(body hcl.Body) (hcl.Attributes, hcl.Diagnostics) {
	content, _, diags := body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "stage"}, {Name: "profiles"}}})
	return content.Attributes, diags
}

// stage is the profile's stage, evaluated for the platform.
func (r *Resolver) stage(profile *Profile, p *Platform, name string) (*Stage, error) {
	key := [2]string{p.Name, name}
	if s := r.stages[key]; s != nil {
		return s, nil
	}
	declared := profile.Stages[name]
	if declared == nil {
		return nil, fmt.Errorf("profile %q has no stage %q; it has %s", profile.Name, name, strings.Join(profile.StageNames, ", "))
	}
	ctx := evalContext(map[string]any{
		"profile": profile.Name, "stage": name, "platform": r.platformVars(p),
		"exec": map[string]any{"arch": r.exec.Arch, "triplet": r.exec.Triplet},
	})
	l := &loader{}
	a, blocks := l.content(declared.body, ctx, []string{"summary", "extends", "native", "root", "tools", "deps", "vars", "env"}, hcl.BlockHeaderSchema{Type: "guard"})
	s := &Stage{}
	if base := a.String("extends"); base != "" {
		// Only what stands above it: so no stage extends itself.
		if above := profile.StageNames[:slices.Index(profile.StageNames, name)]; !slices.Contains(above, base) {
			a.Errorf("extends", "stage %q extends %q, which is not declared above it%s", name, base, orAdd(Suggest(base, above), "; move it down, or that one up"))
		} else if extended, err := r.stage(profile, p, base); err != nil {
			return nil, err
		} else {
			*s = *extended
		}
	}
	s.Name, s.Range, s.Summary = name, declared.Range, a.String("summary")
	if a.Given("native") {
		s.Native = a.Bool("native")
	}
	for name, list := range map[string]*[]string{"root": &s.Root, "tools": &s.Tools, "deps": &s.Deps} {
		if a.Given(name) {
			*list = a.Strings(name)
		}
	}
	vars, _ := a.Any("vars").(map[string]any)
	s.Vars, s.Env = merged(s.Vars, vars), merged(s.Env, a.StringMap("env"))
	guarded := s.Guard
	s.Guard = nil
	for _, b := range blocks {
		if s.Guard != nil {
			l.errorf(b.DefRange, "stage %q has two guards; keep one", name)
		}
		s.Guard = l.guard(b, ctx, s.Root)
	}
	if s.Guard == nil {
		s.Guard = guarded
	}
	if diags := append(l.diags, a.Diags...); diags.HasErrors() {
		return nil, diags
	}
	r.stages[key] = s
	return s, nil
}

// merged is base with what is in over put over it.
func merged[V any](base, over map[string]V) map[string]V {
	all := maps.Clone(base)
	if all == nil {
		return over
	}
	maps.Copy(all, over)
	return all
}

// platform finds a platform by name, alias or, for a package of one profile, architecture.
func (r *Resolver) platform(pkg *Package, name, base string) (*Platform, error) {
	if name == "" && base != "" {
		name = base
	}
	given := name
	if name == "" {
		name = r.exec.Arch
	}
	var found *Platform
	for _, n := range keys(r.ws.Platforms) {
		p := r.ws.Platforms[n]
		switch {
		case pkg.Profile != "" && p.Profile != pkg.Profile:
		case p.Name == name:
			found = p
		case found == nil && (slices.Contains(p.Aliases, name) || (pkg.Profile != "" && p.Arch == name)):
			found = p
		}
	}
	if found == nil {
		usable := r.ws.PlatformsOf(pkg)
		if given == "" {
			return nil, fmt.Errorf("package %q needs a platform here; write //%s:%s (platforms: %s)", pkg.Name, pkg.Name, first(usable), strings.Join(usable, ", "))
		}
		return nil, fmt.Errorf("package %q has no platform %q%s", pkg.Name, given, orAdd(Suggest(given, usable), "; platforms are "+strings.Join(usable, ", ")))
	}
	if !builds(pkg, found.Profile) {
		return nil, fmt.Errorf("package %q is not built in profile %q; its profiles are %s", pkg.Name, found.Profile, strings.Join(pkg.Profiles, ", "))
	}
	return found, nil
}

// PlatformsOf lists the platforms that the package can be built for.
func (ws *Workspace) PlatformsOf(pkg *Package) []string {
	return slices.DeleteFunc(keys(ws.Platforms), func(n string) bool { return !builds(pkg, ws.Platforms[n].Profile) })
}

func first(list []string) string {
	if len(list) == 0 {
		return "PLATFORM"
	}
	return list[0]
}

// builds reports whether the package can be built in the profile.
func builds(p *Package, profile string) bool {
	if p.Profile != "" {
		return p.Profile == profile
	}
	return len(p.Profiles) == 0 || slices.Contains(p.Profiles, profile)
}

// Expand lists the nodes that a pattern means, in the order of their labels.
// A pattern without "..." means exactly one for each platform.
func (r *Resolver) Expand(p Pattern) ([]Config, error) {
	platforms := p.Platforms
	if len(platforms) == 0 {
		platforms = []string{""}
	}
	var list []Config
	for _, platform := range platforms {
		l := p.Label
		l.Platform = platform
		if !p.Recursive {
			c, err := r.Resolve(l, "")
			if err != nil {
				return nil, err
			}
			list = append(list, c)
			continue
		}
		names := keys(r.ws.Packages)
		if l.Package != "" {
			names = []string{l.Package}
			if r.ws.Packages[l.Package] == nil {
				_, err := r.Resolve(l, "")
				return nil, err
			}
		}
		matched := false
		for _, name := range names {
			pkg := r.ws.Packages[name]
			plat, err := r.platform(pkg, platform, "")
			if err != nil {
				continue
			}
			matched = true
			for _, t := range pkg.Targets {
				if ok, err := r.wanted(t, plat); err != nil {
					return nil, err
				} else if !ok {
					continue
				}
				c, err := r.configure(t, plat, l.Stage)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", Pos(t.Range), err)
				}
				list = append(list, c)
			}
		}
		if !matched {
			return nil, fmt.Errorf("no package is built for platform %q; platforms are %s", orAdd(platform, r.exec.Arch), strings.Join(keys(r.ws.Platforms), ", "))
		}
	}
	return list, nil
}

// wanted reports whether a pattern includes the target: its `profiles`, if any, name the platform's.
func (r *Resolver) wanted(t *Target, p *Platform) (bool, error) {
	attrs, diags := justAttributes(t.Body)
	if diags.HasErrors() {
		return false, diags
	}
	if attrs["profiles"] == nil {
		return true, nil
	}
	a := NewAttrs(attrs, r.EvalContext(Config{Target: t, Profile: r.ws.Profiles[p.Profile], Platform: p, Stage: &Stage{}}))
	profiles := a.Strings("profiles")
	if a.Diags.HasErrors() {
		return false, a.Diags
	}
	return slices.Contains(profiles, p.Profile), nil
}
