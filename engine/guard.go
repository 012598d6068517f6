package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"vfsb/cache"
	"vfsb/engine/guard"
	"vfsb/engine/load"
)

// A Guard is what the output of a node is checked for when its action has run. It is not in the action's key: a layer
// stays what it is when the guard changes, and is only checked again.
type Guard struct {
	Policy    guard.Policy // but for what lies in other layers
	Libraries []load.Label // of the root: their libraries are the platform's
	Range     hcl.Range    // of the allow-list, or of the target
}

// sandboxPaths are the folders that only the sandbox has. $HOME is one of them.
var sandboxPaths = []guard.Forbidden{
	{Path: "/build", What: "the build folder"}, {Path: "/out", What: "the output folder"}, {Path: "/sysroot", What: "the sysroot"},
}

// guard is the guard of the target's stage with the target's allow-list; nil if the stage has none.
func (t *Target) guard(a *load.Attrs) *Guard {
	allow := t.allow(a)
	declared := t.Stage.Guard
	if declared == nil {
		return nil
	}
	machine, ok := guard.Machines[t.Platform.Arch]
	if !ok {
		t.Errorf(declared.Range, "the guard does not know the architecture %q of platform %q; add it to Machines in engine/guard", t.Platform.Arch, t.Platform.Name)
	}
	g := &Guard{Range: t.Target.Range}
	if a.Has("allow") {
		g.Range = a.Range("allow")
	}
	g.Policy = guard.Policy{
		Machine: machine, Compiler: declared.Compiler, Interpreter: declared.Interpreter, LibraryPath: declared.LibraryPath,
		Forbidden: slices.Clone(sandboxPaths), Allow: allow,
	}
	for path, what := range declared.Forbidden {
		g.Policy.Forbidden = append(g.Policy.Forbidden, guard.Forbidden{Path: path, What: what})
	}
	slices.SortFunc(g.Policy.Forbidden, func(a, b guard.Forbidden) int { return strings.Compare(a.Path, b.Path) })
	for _, e := range t.EdgeList(declared.Libraries, declared.Range) {
		g.Libraries = append(g.Libraries, e.Label)
	}
	return g
}

// allow reads allow = [{ path = "…", value = "…", reason = "…" }].
func (t *Target) allow(a *load.Attrs) []guard.Allow {
	items, ok := a.Any("allow").([]any)
	if !ok && a.Has("allow") {
		a.Errorf("allow", "allow is a list of objects; write allow = [{ path = \"…\", value = \"…\", reason = \"…\" }]")
	}
	var list []guard.Allow
	for _, item := range items {
		var entry guard.Allow
		fields := map[string]*string{"path": &entry.Path, "value": &entry.Value, "reason": &entry.Reason}
		m, _ := item.(map[string]any)
		for name, value := range m {
			field := fields[name]
			text, ok := value.(string)
			if field == nil || !ok {
				a.Errorf("allow", "allow: %s is not understood; there are path, value and reason, all strings", name)
				continue
			}
			*field = text
		}
		entry.Path = strings.TrimPrefix(entry.Path, "/")
		if entry.Path == "" || entry.Value == "" {
			a.Errorf("allow", "an element of allow has no path or no value; copy both from what the guard says")
		}
		if strings.TrimSpace(entry.Reason) == "" {
			a.Errorf("allow", "allow %q gives no reason; write why %q may stay in it", entry.Path, entry.Value)
		}
		list = append(list, entry)
	}
	return list
}

// checkContents reports what roots and images of a stage with a guard hold that no guard has seen. All else in them has
// passed one, so they are not looked at themselves.
func (g *Graph) checkContents() hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, n := range g.Nodes {
		if n.Stage.Guard == nil || n.Step == nil || n.Step.Builtin == "" {
			continue
		}
		for _, id := range n.Contents {
			if m := g.Nodes[id]; !m.guarded() && !slices.Contains(n.Stage.Guard.Libraries, m.Target.Label().String()) {
				diags = append(diags, load.Errorf(n.Target.Range, "%s holds %s, which no guard checks; leave it out, or build %s in a stage without a guard",
					n.Label, m.Label, n.Target.Label()))
			}
		}
	}
	return diags
}

// guarded reports whether what the node makes has passed a guard, or is made of what has.
func (n *Node) guarded() bool {
	return n.Step == nil || n.Step.Guard != nil || n.Step.Builtin != "" && n.Step.Seed == nil && n.Stage.Guard != nil
}

// checkKey names the check of the node's layer under the node's policy. The action's key stands for the layers below,
// which decide what libraries there are.
func (x *execution) checkKey(id int32) cache.Digest {
	st := &x.nodes[id]
	b := x.graph.Nodes[id].Step.Guard.Policy.Spec()
	b = fmt.Appendf(b, "layer %s\naction %s\n", st.result.Layer.Tar, st.key)
	for _, in := range x.graph.Nodes[id].Libraries {
		b = fmt.Appendf(b, "libraries %s\n", x.nodes[in].result.Layer.Tar)
	}
	return cache.DigestOf(b)
}

// checked reports whether the node's layer needs no check, or has passed it.
func (x *execution) checked(id int32) bool {
	return x.graph.Nodes[id].Step.Guard == nil || x.Store.Checked(x.checkKey(id))
}

// check lets the guard look at the node's layer, once for each layer and policy. What it finds is a *NodeError; only
// that there was nothing is remembered.
func (x *execution) check(ctx context.Context, id int32) error {
	n := x.graph.Nodes[id]
	if x.checked(id) {
		return nil
	}
	policy, err := x.policy(ctx, n)
	if err != nil {
		return err
	}
	if err := x.present(ctx, id); err != nil {
		return err
	}
	layer := x.nodes[id].result.Layer
	index, err := x.Store.LoadIndex(layer)
	if err != nil {
		return err
	}
	report, err := guard.Check(ctx, x.Store.LayerDir(layer), index, policy)
	if err != nil {
		return err
	}
	if !report.OK() {
		return guardError(n, report)
	}
	return x.Store.PutChecked(x.checkKey(id), n.Label)
}

// policy completes the node's policy with what lies in the layers that its action saw: those of the sysroot, and of the
// root the stage's own, hold the libraries that there are; the rest of the seed must not be in an output.
func (x *execution) policy(ctx context.Context, n *Node) (*guard.Policy, error) {
	p := n.Step.Guard.Policy
	p.Libraries, p.Foreign = map[string]bool{}, map[cache.Digest]string{}
	for _, id := range n.Inputs {
		input := x.graph.Nodes[id]
		provides := slices.Contains(n.Sysroot, id) || slices.Contains(n.Libraries, id) || n.Stage.Native && input.guarded()
		if input.Step == nil || !provides && input.Step.Seed == nil {
			continue
		}
		if err := x.present(ctx, id); err != nil {
			return nil, err
		}
		index, err := x.Store.LoadIndex(x.nodes[id].result.Layer)
		if err != nil {
			return nil, err
		}
		if provides {
			guard.AddLibraries(p.Libraries, index, p.LibraryPath)
			continue
		}
		for i := range index.Entries {
			if e := &index.Entries[i]; e.Kind == cache.File {
				p.Foreign[e.Digest()] = input.Target.Label().String() + "/" + e.Path
			}
		}
	}
	return &p, nil
}

// guardError is the failure of a node in whose output the guard found something.
func guardError(n *Node, r *guard.Report) *NodeError {
	at := load.Pos(n.Step.Guard.Range)
	e := &NodeError{Reason: fmt.Sprintf("its output does not pass the guard (findings: %d)", len(r.Violations)+r.More+len(r.Stale))}
	for _, v := range r.Violations {
		e.Tail = append(e.Tail, v.String())
	}
	if r.More > 0 {
		e.Tail = append(e.Tail, fmt.Sprintf("and %d more", r.More))
	}
	for _, a := range r.Stale {
		e.Tail = append(e.Tail, fmt.Sprintf("%s: nothing in %s is %q any more: remove the entry of allow", at, a.Path, a.Value))
	}
	if len(r.Violations) > 0 {
		v := r.Violations[0]
		e.Reason += fmt.Sprintf("; mend the recipe at %s, or excuse there what must stay, each with its reason", at)
		e.Tail = append(e.Tail, fmt.Sprintf("to excuse: allow = [{ path = %q, value = %q, reason = \"why\" }]", v.Path, v.Value))
	}
	return e
}
