package engine

import (
	"fmt"
	"testing"

	"vfsb/engine/load"
)

// TestWhatEntersARoot: a root holds tools with their runtime, a sysroot deps with
// their deps and runtime, an image contents with their runtime, and nothing else. In a native stage the root holds it all.
func TestWhatEntersARoot(t *testing.T) {
	names := []string{"seed", "gcc", "libgmp", "bash", "ncurses", "headers", "terminfo", "image", "make", "perl", "qemu", "system", "base"}
	id := map[string]int32{}
	g := &Graph{}
	for i, name := range names {
		id[name] = int32(i)
		g.Nodes = append(g.Nodes, &Node{ID: int32(i), Label: name, Step: &Step{}, Config: load.Config{Stage: &load.Stage{Native: name == "perl"}}})
	}
	for _, e := range []struct {
		from string
		kind edgeKind
		to   string
	}{
		{"bash", rootEdge, "seed"},
		{"bash", toolEdge, "gcc"},
		{"bash", depEdge, "ncurses"},
		{"bash", runtimeEdge, "ncurses"},
		{"gcc", runtimeEdge, "libgmp"},
		{"gcc", depEdge, "make"}, // what a tool was built with is not in a root that has the tool
		{"ncurses", depEdge, "headers"},
		{"ncurses", runtimeEdge, "terminfo"},
		{"ncurses", toolEdge, "make"},
		{"image", contentEdge, "bash"},
		{"perl", rootEdge, "bash"}, // in a native stage
		{"perl", depEdge, "ncurses"},
		{"perl", emulatorEdge, "qemu"},
		{"system", contentEdge, "base"}, // an image of a group
		{"base", contentEdge, "bash"},
		{"base", contentEdge, "make"},
	} {
		g.Nodes[id[e.from]].edges = append(g.Nodes[id[e.from]].edges, edge{kind: e.kind, to: id[e.to]})
	}
	g.Nodes[id["base"]].Step = nil
	g.close()
	list := func(ids []int32) string {
		text := ""
		for _, i := range ids {
			text += names[i] + " "
		}
		return text
	}
	bash, image, perl := g.Nodes[id["bash"]], g.Nodes[id["image"]], g.Nodes[id["perl"]]
	for what, c := range map[string][2]string{
		"bash's root":       {list(bash.Root), "seed gcc libgmp "},
		"bash's sysroot":    {list(bash.Sysroot), "ncurses headers terminfo "},
		"bash's inputs":     {list(bash.Inputs), "seed gcc libgmp ncurses headers terminfo "},
		"perl's root":       {list(perl.Root), "bash ncurses terminfo headers "},
		"perl's sysroot":    {list(perl.Sysroot), ""},
		"perl's inputs":     {list(perl.Inputs), "bash ncurses headers terminfo qemu "},
		"image's contents":  {list(image.Contents), "bash ncurses terminfo "},
		"system's contents": {list(g.Nodes[id["system"]].Contents), "bash ncurses terminfo make "},
		"system's inputs":   {list(g.Nodes[id["system"]].Inputs), "bash ncurses terminfo make "},
		"base's members":    {list(g.Nodes[id["base"]].Contents), "bash make "},
		"make's dependents": {list(g.Dependents(id["libgmp"])), "bash image perl system base "},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %q, want %q", what, c[0], c[1])
		}
	}
	if order := g.order(); len(order) != len(names) {
		t.Error(fmt.Errorf("order %v misses nodes", order))
	}
}
