package diagram

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

var page = template.Must(template.New("page").Parse(pageText))

// WriteHTML draws g as a page that needs nothing else: it can be searched, moved and enlarged, and shows what a node
// needs and what needs it.
func (g *Graph) WriteHTML(w io.Writer) error {
	type need struct {
		To   int    `json:"to"`
		Kind string `json:"kind"`
	}
	type node struct {
		Label string `json:"label"`
		Note  string `json:"note"`
		State string `json:"state"`
		Needs []need `json:"needs"` // all, those that are not drawn, too
	}
	var nodes []node
	for _, n := range g.Nodes {
		nodes = append(nodes, node{n.Label, n.Note, states[n.State].words, []need{}})
	}
	for _, e := range g.Edges {
		nodes[e.From].Needs = append(nodes[e.From].Needs, need{e.To, e.Kind.String()})
	}
	d := g.draw()
	legend, height := g.legend(d, 1500)
	return page.Execute(w, map[string]any{
		"Title": g.Title, "Count": len(g.Nodes), "Nodes": nodes,
		"Style": template.CSS(style + pageStyle), "Script": template.JS(pageScript),
		"Body": template.HTML(d.body), "Width": px(d.width), "Height": px(d.height),
		"Legend": template.HTML(legend), "LegendHeight": px(height),
	})
}
