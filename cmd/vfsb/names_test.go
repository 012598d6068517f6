package main

import (
	"testing"

	"vfsb/engine"
	"vfsb/engine/load"
)

func TestShortNames(t *testing.T) {
	node := func(name, stage, platform string) *engine.Node {
		return &engine.Node{Label: "//" + name + "@" + stage + ":" + platform, Config: load.Config{
			Target: &load.Target{Package: &load.Package{Name: name}}, Stage: &load.Stage{Name: stage}, Platform: &load.Platform{Name: platform},
		}}
	}
	one := &engine.Graph{Nodes: []*engine.Node{node("gmp", "cross", "amd64"), node("gmp", "tools", "amd64"), node("bash", "tools", "amd64")}}
	several := &engine.Graph{Nodes: append(one.Nodes, node("bash", "tools", "arm64"))}
	for _, c := range []struct {
		g    *engine.Graph
		want []string
	}{
		{one, []string{"//gmp@cross", "//gmp@tools", "//bash"}},
		{several, []string{"//gmp@cross:amd64", "//gmp@tools:amd64", "//bash:amd64", "//bash:arm64"}},
	} {
		names := shortNames(c.g)
		for i, n := range c.g.Nodes {
			if names[n.Label] != c.want[i] {
				t.Errorf("%s is called %s, want %s", n.Label, names[n.Label], c.want[i])
			}
		}
	}
}
