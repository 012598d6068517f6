package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

// declared makes a graph of "from kind to" lines; the n-th edge is declared in line n of its node's file.
func declared(edges string) *Graph {
	g := &Graph{byLabel: map[string]int32{}}
	node := func(label string) *Node {
		if n := g.Find(label); n != nil {
			return n
		}
		n := &Node{ID: int32(len(g.Nodes)), Label: label}
		g.byLabel[label] = n.ID
		g.Nodes = append(g.Nodes, n)
		return n
	}
	for i, line := range strings.Split(strings.TrimSpace(edges), "\n") {
		f := strings.Fields(line)
		kinds := map[string]edgeKind{"root": rootEdge, "tools": toolEdge, "deps": depEdge, "runtime": runtimeEdge, "contents": contentEdge}
		from, to := node(f[0]), node(f[2])
		at := hcl.Range{Filename: f[0] + ".hcl", Start: hcl.Pos{Line: i + 1}}
		from.edges = append(from.edges, edge{kinds[f[1]], to.ID, at})
	}
	return g
}

func pathsText(paths [][]Hop) string {
	var b strings.Builder
	for _, path := range paths {
		b.WriteString(path[0].From)
		for _, h := range path {
			b.WriteString(" -")
			for _, e := range h.Edges {
				fmt.Fprintf(&b, "%s %s,", e.Kind, e.At)
			}
			b.WriteString("> " + h.To)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestPaths(t *testing.T) {
	g := declared(`
		a deps b
		a deps c
		b tools d
		c deps b
		c runtime b
		d root e
		x deps a
		c contents f
		f deps c
		f deps e`)
	for _, c := range []struct {
		from, to string // to: several, separated by spaces
		most     int
		want     string
		more     bool
	}{
		{"a", "d", 1, "a -deps a.hcl:1,> b -tools b.hcl:3,> d\n", true},
		{"a", "d", 9, "a -deps a.hcl:1,> b -tools b.hcl:3,> d\n" +
			"a -deps a.hcl:2,> c -deps c.hcl:4,runtime c.hcl:5,> b -tools b.hcl:3,> d\n", false},
		{"a", "e c", 2, "a -deps a.hcl:2,> c\na -deps a.hcl:1,> b -tools b.hcl:3,> d -root d.hcl:6,> e\n", false},
		// c and f name each other: no path goes through a node twice
		{"c", "e", 9, "c -contents c.hcl:8,> f -deps f.hcl:10,> e\n" +
			"c -deps c.hcl:4,runtime c.hcl:5,> b -tools b.hcl:3,> d -root d.hcl:6,> e\n", false},
		{"e", "a", 9, "", false},
		{"a", "x", 9, "", false},
		{"a", "", 9, "", false},
	} {
		var to []int32
		for _, label := range strings.Fields(c.to) {
			to = append(to, g.Find(label).ID)
		}
		paths, more := g.Paths(g.Find(c.from).ID, to, c.most)
		if got := pathsText(paths); got != c.want || more != c.more {
			t.Errorf("%s to %q, at most %d: more %v\n%swant %v\n%s", c.from, c.to, c.most, more, got, c.more, c.want)
		}
	}
}

// TestPathsOfMany asks for some of the 100^98 paths through 10,000 nodes: a search that looks at more than it lists
// does not end.
func TestPathsOfMany(t *testing.T) {
	const width, layers = 100, 100
	g := &Graph{}
	for id := range int32(width * layers) {
		n := &Node{ID: id, Label: fmt.Sprint(id)}
		if id < width*(layers-1) {
			for to := range int32(width) {
				n.edges = append(n.edges, edge{kind: depEdge, to: (id/width+1)*width + to})
			}
		}
		g.Nodes = append(g.Nodes, n)
	}
	paths, more := g.Paths(0, []int32{width*layers - 1}, 500)
	if len(paths) != 500 || !more {
		t.Fatalf("%d paths, more %v", len(paths), more)
	}
	seen := map[string]bool{}
	for _, p := range paths {
		text := pathsText([][]Hop{p})
		if len(p) != layers-1 || seen[text] {
			t.Fatalf("a path of %d edges, or one that came twice: %s", len(p), text)
		}
		seen[text] = true
	}
}
