package rules

import (
	"sort"
	"strings"

	"vfsb/cache"
	"vfsb/engine"
)

// seed { apt { suite packages } } is the first toolchain, from Debian packages;
// seed { image { ref digest } } is one from an image or a tarball.
func seed(t *engine.Target) *engine.Step {
	a, blocks := t.Attributes([]string{"alternatives", "drop", "profiles", "stage"}, "apt", "image")
	s := &engine.Seed{Alternatives: a.StringMap("alternatives"), Drop: a.Strings("drop"), Range: t.Target.Range}
	step := &engine.Step{Seed: s}
	if len(blocks) != 1 {
		t.Errorf(t.Target.Range, "%s has %d origins; give it one block, apt { … } or image { … }", t.Label(), len(blocks))
		return step
	}
	b := blocks[0]
	s.Range = b.DefRange
	if b.Type == "apt" {
		step.Rule, step.Builtin = "seed-apt/1", engine.BuiltinDebs
		c := t.BlockAttributes(b, "suite", "components", "packages")
		s.Suite, s.Components, s.Packages = c.String("suite"), c.Strings("components"), c.Strings("packages")
		t.Diags = append(t.Diags, c.Diags...)
		if s.Suite == "" || len(s.Packages) == 0 {
			t.Errorf(b.DefRange, "apt lacks suite or packages; write apt { suite = \"bookworm\" packages = [\"gcc\"] }, an attribute a line")
		}
	} else {
		step.Rule, step.Builtin = "seed-image/1", engine.BuiltinImage
		c := t.BlockAttributes(b, "ref", "digest")
		s.Image, s.Digest = c.String("ref"), c.String("digest")
		t.Diags = append(t.Diags, c.Diags...)
		if s.Image == "" || !strings.HasPrefix(s.Digest, "sha256:") {
			t.Errorf(b.DefRange, "image lacks ref or digest; pin it: digest = \"sha256:…\"")
		}
		step.Settings = append(step.Settings, cache.Field{Name: "digest", Value: s.Digest})
	}
	links := make([]string, 0, len(s.Alternatives))
	for link := range s.Alternatives {
		links = append(links, link)
	}
	sort.Strings(links)
	for _, link := range links {
		step.Settings = append(step.Settings, cache.Field{Name: engine.SettingAlternative, Value: link + " " + s.Alternatives[link]})
	}
	for _, glob := range s.Drop {
		step.Settings = append(step.Settings, cache.Field{Name: engine.SettingDrop, Value: glob})
	}
	t.Diags = append(t.Diags, a.Diags...)
	return step
}
