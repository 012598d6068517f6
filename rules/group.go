package rules

import "vfsb/engine"

// group { members = [labels] } stands for its members.
func group(t *engine.Target) *engine.Step {
	a, _ := t.Attributes([]string{"members", "profiles", "stage"})
	step := &engine.Step{Contents: t.Edges(a, "members")}
	t.Diags = append(t.Diags, a.Diags...)
	return step
}
