// Package rules holds the rule kinds that are written in Go, a file each. Kinds that
// only render a template, such as autotools, are data: templates/*.hcl.
package rules

import "vfsb/engine"

// All lists the rule kinds.
func All() []engine.Rule {
	return []engine.Rule{
		{Name: "group", Analyze: group},
		{Name: "image", Analyze: image},
		{Name: "rootfs", Analyze: rootfs},
		{Name: engine.SeedKind, Analyze: seed},
	}
}

// Names is the names of All.
func Names() []string {
	var names []string
	for _, r := range All() {
		names = append(names, r.Name)
	}
	return names
}
