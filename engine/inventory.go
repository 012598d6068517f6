package engine

import (
	"context"
	"maps"
	"slices"

	"vfsb/engine/load"
	"vfsb/engine/source"
)

// A Component is a package of which something lies in what is asked for, or was linked into it.
type Component struct {
	Package *load.Package
	Sources []Origin
	Patches []string // paths
	Needs   []string // names of other components, which it was linked with or needs to run
}

// An Origin is a source, and the file of it that is taken.
type Origin struct {
	Spec  source.Spec
	Entry source.Entry
}

// Inventory lists the components of g's roots, by name: what root file systems and images hold, what that needs to run, and
// what it was compiled against. Tools, and the roots of sandboxes, leave nothing of themselves in what they make.
func (e *Engine) Inventory(ctx context.Context, g *Graph) ([]Component, error) {
	byName := map[string]*Component{}
	component := func(n *Node) *Component {
		c := byName[n.Target.Package.Name]
		if c == nil {
			c = &Component{Package: n.Target.Package}
			byName[n.Target.Package.Name] = c
		}
		return c
	}
	seen := make([]bool, len(g.Nodes))
	var visit func(id int32) error
	visit = func(id int32) error {
		if seen[id] {
			return nil
		}
		seen[id] = true
		n := g.Nodes[id]
		var c *Component // nil: a group, or made of others' layers
		if n.Step != nil && n.Step.Script != nil {
			c = component(n)
			if err := e.addNode(ctx, c, n); err != nil {
				return err
			}
		}
		for _, edge := range n.edges {
			if edge.kind != depEdge && edge.kind != runtimeEdge && edge.kind != contentEdge {
				continue
			}
			if err := visit(edge.to); err != nil {
				return err
			}
			if c == nil {
				continue
			}
			for _, to := range g.closure([]int32{edge.to}) { // a group's members
				if name := g.Nodes[to].Target.Package.Name; name != c.Package.Name && !slices.Contains(c.Needs, name) {
					c.Needs = append(c.Needs, name)
				}
			}
		}
		return nil
	}
	for _, id := range g.Roots {
		if err := visit(id); err != nil {
			return nil, err
		}
	}
	var list []Component
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		slices.Sort(byName[name].Needs)
		list = append(list, *byName[name])
	}
	return list, nil
}

// addNode adds what the node was made of.
func (e *Engine) addNode(ctx context.Context, c *Component, n *Node) error {
	for _, s := range n.Step.Sources {
		spec := sourceSpec(n, s)
		if spec.File != "" || slices.ContainsFunc(c.Sources, func(o Origin) bool { return o.Spec.ID == spec.ID }) {
			continue
		}
		entry, _, err := e.Fetcher.Resolve(ctx, spec)
		if err != nil {
			return &SourceError{err}
		}
		c.Sources = append(c.Sources, Origin{spec, entry})
	}
	for _, p := range n.Step.Patches {
		if !slices.Contains(c.Patches, p) {
			c.Patches = append(c.Patches, p)
		}
	}
	return nil
}
