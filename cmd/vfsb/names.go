package main

import (
	"strings"

	"vfsb/engine"
)

// shortNames is what the nodes of g are called where there is little room: without the platform if all have the same,
// without the stage if no other node is the same target in another one.
func shortNames(g *engine.Graph) map[string]string {
	platforms, stages := map[string]bool{}, map[string]int{}
	for _, n := range g.Nodes {
		platforms[n.Platform.Name] = true
		stages[n.Target.Label().String()+":"+n.Platform.Name]++
	}
	names := map[string]string{}
	for _, n := range g.Nodes {
		name, platform, _ := strings.Cut(n.Label, ":")
		if target := n.Target.Label().String(); stages[target+":"+platform] == 1 {
			name = target
		}
		if len(platforms) > 1 {
			name += ":" + platform
		}
		names[n.Label] = name
	}
	return names
}
