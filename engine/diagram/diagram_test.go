package diagram

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// sample has every kind, state and group, a critical path, edges that others imply, runtime edges in both directions,
// and text that is markup.
func sample() *Graph {
	return &Graph{
		Title: "a <sample> & more",
		Path:  "longest path: 1m",
		Nodes: []Node{
			{Label: "//seed@a:x", Name: "//seed", Note: "a 3s", Group: "a", State: Built, Critical: true},
			{Label: "//gcc@b:x", Name: "//gcc", Note: "b 50s", Group: "b", State: Stale, Critical: true},
			{Label: "//libc@a:x", Name: "//libc", Note: "a", Group: "a", State: Unbuilt},
			{Label: "//app@a:x", Name: "//app", Note: "a 7s", Group: "a", State: Failed, Critical: true},
			{Label: "//data@a:x", Name: "//a-name-that-is-longer-than-a-box-may-be/ä", Note: "<a> & b", Group: "a", State: Unbuilt},
			{Label: "//all@a:x", Name: "//all", Note: "a", Group: "a", State: NoState},
		},
		Edges: []Edge{
			{1, 0, Root, true}, {2, 0, Root, false}, {3, 0, Root, false}, {4, 0, Root, false},
			{2, 1, Tools, false}, {3, 1, Tools, true}, {3, 2, Deps, false},
			{3, 4, Runtime, false}, {4, 3, Runtime, false},
			{5, 3, Contents, false}, {5, 2, Contents, false},
		},
	}
}

func TestSVG(t *testing.T) {
	var got bytes.Buffer
	if err := sample().WriteSVG(&got); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(got.Bytes())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	const golden = "testdata/sample.svg"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the picture is not %s; look at it, and use -update if it is right", golden)
	}
}

// TestHTML: the page lists every need, those that are not drawn too, is well escaped, and asks nobody for anything.
func TestHTML(t *testing.T) {
	var b strings.Builder
	g := sample()
	if err := g.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if !strings.Contains(page, "<title>a &lt;sample&gt; &amp; more</title>") {
		t.Error("the title is not there, or not escaped")
	}
	for _, outside := range []string{"http:", "https:", "src=", "@import", "url("} {
		if strings.Contains(page, outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	_, text, _ := strings.Cut(page, `<script id="nodes" type="application/json">`)
	text, _, _ = strings.Cut(text, "</script>")
	var nodes []struct {
		Label, Note string
		Needs       []struct{ To int }
	}
	if err := json.Unmarshal([]byte(text), &nodes); err != nil {
		t.Fatal(err)
	}
	needs := 0
	for i, n := range nodes {
		if n.Label != g.Nodes[i].Label || n.Note != g.Nodes[i].Note {
			t.Errorf("node %d is %+v", i, n)
		}
		needs += len(n.Needs)
	}
	if needs != len(g.Edges) {
		t.Errorf("%d needs are in the page, %d in the graph", needs, len(g.Edges))
	}
}

// random is a graph of packages: each needs up to five of the ones before it, in an order of nodes that says nothing.
func random(n int, seed uint64) *Graph {
	rng := rand.New(rand.NewPCG(seed, 2))
	name := rng.Perm(n)
	g := &Graph{Nodes: make([]Node, n)}
	for i := range n {
		g.Nodes[name[i]] = Node{Label: fmt.Sprint("//", i), Name: fmt.Sprint("//", i), Note: "stage", Group: "stage"}
		for range rng.IntN(6) {
			if i == 0 {
				break
			}
			g.Edges = append(g.Edges, Edge{From: name[i], To: name[rng.IntN(i)], Kind: Kind(rng.IntN(int(Runtime)))})
		}
		if rng.IntN(4) == 0 {
			if to := rng.IntN(n); to != i {
				g.Edges = append(g.Edges, Edge{From: name[i], To: name[to], Kind: Runtime})
			}
		}
	}
	return g
}

// TestLayout: what is drawn implies every edge, and no other; what is needed lies above what needs it; nothing
// overlaps; the same graph gives the same picture.
func TestLayout(t *testing.T) {
	for _, n := range []int{1, 2, 10, 120, 1000} {
		g := random(n, uint64(n))
		order := g.sorted()
		links := g.links(order)
		row, count := rows(n, links)
		widths := make([]float64, n)
		for i := range widths {
			widths[i] = float64(80 + i%100)
		}
		l := place(row, count, widths, links)

		checkLinks(t, g, order, links)
		for _, r := range l.routes {
			if row[r.low] >= row[r.high] {
				t.Errorf("%d nodes: a line leads from row %d to row %d", n, row[r.low], row[r.high])
			}
			if got := len(r.vertices) - 1; got != row[r.high]-row[r.low] {
				t.Errorf("%d nodes: a line over %d rows has %d parts", n, row[r.high]-row[r.low], got)
			}
		}
		for _, list := range l.rows {
			for i := range len(list) - 1 {
				a, b := l.vertices[list[i]], l.vertices[list[i+1]]
				if a.x+a.width/2 > b.x-b.width/2 {
					t.Errorf("%d nodes: %v overlaps %v", n, a, b)
				}
			}
		}
		var first, second bytes.Buffer
		if err := errors.Join(g.WriteSVG(&first), g.WriteSVG(&second)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%d nodes: two pictures differ", n)
		}
	}
}

func checkLinks(t *testing.T, g *Graph, order []int, links []link) {
	t.Helper()
	position := make([]int, len(order))
	for i, id := range order {
		position[id] = i
	}
	above := make([]map[int]bool, len(order)) // what lines that are no runtime lead from, directly or not
	drawn := map[[2]int]bool{}
	for i := range above {
		above[i] = map[int]bool{}
	}
	for _, l := range links {
		drawn[[2]int{l.From, l.To}] = true
		if l.Kind == Runtime {
			continue
		}
		if above[l.high][l.low] {
			t.Errorf("the line from %d to %d is implied by others", l.low, l.high)
		}
		above[l.high][l.low] = true
		for i := range above[l.low] {
			above[l.high][i] = true
		}
	}
	for _, e := range g.Edges {
		low, high := position[e.To], position[e.From]
		switch {
		case e.Kind != Runtime && low >= high:
			t.Errorf("%d is drawn before %d, which it needs", e.From, e.To)
		case e.Kind != Runtime && !above[high][low]:
			t.Errorf("no line implies that %d needs %d", e.From, e.To)
		case e.Kind == Runtime && !drawn[[2]int{e.From, e.To}] && !drawn[[2]int{e.To, e.From}]:
			t.Errorf("no line shows that %d needs %d at run time", e.From, e.To)
		}
	}
}

// TestEmpty: a graph without nodes is an empty picture.
func TestEmpty(t *testing.T) {
	var b bytes.Buffer
	if err := (&Graph{Title: "nothing"}).WriteSVG(&b); err != nil || !strings.Contains(b.String(), "<title>nothing</title>") {
		t.Errorf("%v: %s", err, b.String())
	}
}

func BenchmarkSVG(b *testing.B) {
	g := random(1000, 1)
	for b.Loop() {
		g.WriteSVG(io.Discard)
	}
}
