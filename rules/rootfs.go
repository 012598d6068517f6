package rules

import (
	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/artifact"
)

// rootfs { contents = [labels] exclude = [globs] } is the layers of its contents and
// of their runtime, laid over each other, without what is excluded. Build delivers it
// as a tar.zst.
func rootfs(t *engine.Target) *engine.Step {
	a, _ := t.Attributes([]string{"contents", "exclude", "attrs", "runtime", "profiles", "stage"})
	step := &engine.Step{
		Rule: "rootfs/1", Builtin: engine.BuiltinRootfs, Deliver: engine.DeliverTar,
		Contents: t.Edges(a, "contents"), Runtime: t.Edges(a, "runtime"), Attrs: t.Attrs(a),
	}
	exclude := a.Strings("exclude")
	if err := artifact.CheckGlobs(exclude); err != nil {
		a.Errorf("exclude", "%v", err)
	}
	for _, glob := range exclude {
		step.Settings = append(step.Settings, cache.Field{Name: engine.SettingExclude, Value: glob})
	}
	if len(step.Contents) == 0 {
		t.Errorf(t.Target.Range, "%s has no contents; list the packages that it holds", t.Label())
	}
	t.Diags = append(t.Diags, a.Diags...)
	return step
}
