package diagram

import (
	"bufio"
	_ "embed"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

//go:embed diagram.css
var style string

// Sizes, in pixels. The font is monospaced, so that its widths are known.
const (
	boxHeight  = 38.0
	boxGap     = 14.0
	nameWidth  = 7.25 // of a letter of a box's first line
	noteWidth  = 6.1
	longest    = 34 // letters of a name that are shown
	margin     = 24.0
	leastGap   = 30.0  // between rows
	lineHeight = 20.0  // of the legend
	leastWidth = 720.0 // of a legend that is no tower
)

// groupColors is how many colors diagram.css has for groups.
const groupColors = 8

// WriteSVG draws g as one picture that needs nothing else.
func (g *Graph) WriteSVG(w io.Writer) error {
	d := g.draw()
	width := max(d.width, leastWidth)
	legend, height := g.legend(d, width)
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" class="diagram" viewBox="0 0 %[1]s %[2]s" width="%[1]s" height="%[2]s">`+"\n",
		px(width), px(d.height+height+margin))
	fmt.Fprintf(b, "<title>%s</title>\n<style>\n%s</style>\n<rect class=\"page\" width=\"100%%\" height=\"100%%\"/>\n", html.EscapeString(g.Title), style)
	fmt.Fprintf(b, "<g transform=\"translate(%s,0)\">\n%s</g>\n<g transform=\"translate(0,%s)\">\n%s</g>\n</svg>\n",
		px((width-d.width)/2), d.body, px(d.height), legend)
	return b.Flush()
}

// A drawing is the boxes and lines of a graph.
type drawing struct {
	body          string
	width, height float64
	kinds         [len(kinds)]bool // that are drawn
}

func (g *Graph) draw() drawing {
	if len(g.Nodes) == 0 {
		return drawing{}
	}
	order := g.sorted()
	links := g.links(order)
	row, count := rows(len(order), links)
	widths := make([]float64, len(order))
	for i, id := range order {
		n := g.Nodes[id]
		widths[i] = max(textWidth(clip(n.Name), nameWidth)+36, textWidth(n.Note, noteWidth)+22)
	}
	p := &painter{graph: g, order: order, layout: place(row, count, widths, links), groups: g.groups()}
	p.measure()
	d := drawing{width: p.width, height: p.height}
	for _, above := range []bool{false, true} {
		for _, r := range p.routes {
			if r.Critical == above {
				p.line(r)
				d.kinds[r.Kind] = true
			}
		}
	}
	for i := range order {
		p.box(i)
	}
	d.body = p.out.String()
	return d
}

// groups lists the groups in the order of their names.
func (g *Graph) groups() []string {
	var names []string
	for _, n := range g.Nodes {
		if n.Group != "" && !slices.Contains(names, n.Group) {
			names = append(names, n.Group)
		}
	}
	slices.Sort(names)
	return names
}

// A painter turns a layout into SVG.
type painter struct {
	*layout
	graph  *Graph
	order  []int
	groups []string
	out    strings.Builder

	y             []float64 // of the rows' upper edges
	left          float64   // x of the leftmost box's left edge
	width, height float64
}

// measure gives each row its y, and leaves room for lines where they go far to the side.
func (p *painter) measure() {
	p.y = make([]float64, len(p.rows))
	y := margin
	right := 0.0
	for r, list := range p.rows {
		p.y[r] = y
		widest := 0.0
		for _, at := range list {
			v := &p.vertices[at]
			p.left, right = min(p.left, v.x-v.width/2), max(right, v.x+v.width/2)
			for _, d := range v.down {
				widest = max(widest, math.Abs(v.x-p.vertices[d].x))
			}
		}
		y += boxHeight + leastGap + min(40, widest/16)
	}
	p.width = right - p.left + 2*margin
	p.height = p.y[len(p.rows)-1] + boxHeight + margin
}

// at is where a vertex's upper middle is.
func (p *painter) at(v *vertex) (x, y float64) {
	return v.x - p.left + margin, p.y[v.row]
}

// line draws a link as curves between rows that are straight across them.
func (p *painter) line(r route) {
	var d strings.Builder
	for i, at := range r.vertices {
		v := &p.vertices[at]
		x, y := p.at(v)
		if i == 0 {
			fmt.Fprintf(&d, "M%s,%s", px(x), px(y+boxHeight))
			continue
		}
		fromX, fromY := p.at(&p.vertices[r.vertices[i-1]])
		middle := (fromY + boxHeight + y) / 2
		fmt.Fprintf(&d, "C%s,%s %s,%s %s,%s", px(fromX), px(middle), px(x), px(middle), px(x), px(y))
		if v.box < 0 {
			fmt.Fprintf(&d, "V%s", px(y+boxHeight))
		}
	}
	x, y := p.at(&p.vertices[r.high])
	head := fmt.Sprintf("M%s,%sl-4,-8h8z", px(x), px(y))
	if r.backward {
		x, y = p.at(&p.vertices[r.low])
		head = fmt.Sprintf("M%s,%sl-4,8h8z", px(x), px(y+boxHeight))
	}
	class := r.Kind.String()
	if r.Critical {
		class += " critical"
	}
	fmt.Fprintf(&p.out, "<g class=\"link %s\" data-from=\"%d\" data-to=\"%d\"><path class=\"line\" d=\"%s\"/><path class=\"head\" d=\"%s\"/></g>\n", class, r.From, r.To, d.String(), head)
}

func (p *painter) box(i int) {
	id := p.order[i]
	n := p.graph.Nodes[id]
	v := &p.vertices[i]
	x, y := p.at(v)
	class := "node " + n.State.String()
	if at := slices.Index(p.groups, n.Group); at >= 0 {
		class += fmt.Sprintf(" group%d", at%groupColors)
	}
	if n.Critical {
		class += " critical"
	}
	fmt.Fprintf(&p.out, "<g class=\"%s\" data-node=\"%d\" transform=\"translate(%s,%s)\"><title>%s</title>", class, id, px(x-v.width/2), px(y), html.EscapeString(n.Label))
	fmt.Fprintf(&p.out, `<rect class="box" width="%s" height="%s" rx="5"/><rect class="band" width="5" height="%[2]s" rx="2"/>`, px(v.width), px(boxHeight))
	fmt.Fprintf(&p.out, `<text class="name" x="13" y="16">%s</text><text class="note" x="13" y="30">%s</text>`, html.EscapeString(clip(n.Name)), html.EscapeString(n.Note))
	if n.State != NoState {
		fmt.Fprintf(&p.out, `<circle class="state" cx="%s" cy="12" r="4"/>`, px(v.width-11))
	}
	p.out.WriteString("</g>\n")
}

// legend explains the colors and lines of a drawing, in lines no longer than width.
func (g *Graph) legend(d drawing, width float64) (svg string, height float64) {
	var b strings.Builder
	x, y := margin, 0.0
	add := func(sample, words string) {
		long := 34 + textWidth(words, noteWidth) + 18
		if x+long > width && x > margin {
			x, y = margin, y+lineHeight
		}
		fmt.Fprintf(&b, "<g transform=\"translate(%s,%s)\">%s<text class=\"note\" x=\"34\" y=\"13\">%s</text></g>\n", px(x), px(y), sample, html.EscapeString(words))
		x += long
	}
	line := func(class string) string {
		return fmt.Sprintf(`<g class="link %s"><path class="line" d="M0,9H22"/><path class="head" d="M30,9l-8,-4v8z"/></g>`, class)
	}
	for k, kind := range kinds {
		if d.kinds[k] {
			add(line(kind.name), kind.name+": "+kind.words)
		}
	}
	if g.Path != "" {
		add(line("critical"), g.Path)
	}
	for s, state := range states[:NoState] {
		count := 0
		for _, n := range g.Nodes {
			if n.State == State(s) {
				count++
			}
		}
		if count > 0 {
			add(fmt.Sprintf(`<g class="node %s"><circle class="state" cx="20" cy="9" r="4"/></g>`, state.name), fmt.Sprintf("%s (%d)", state.words, count))
		}
	}
	for i, name := range g.groups() {
		add(fmt.Sprintf(`<g class="node group%d"><rect class="band" x="16" y="1" width="8" height="16" rx="2"/></g>`, i%groupColors), name)
	}
	return b.String(), y + lineHeight
}

func clip(name string) string {
	if utf8.RuneCountInString(name) <= longest {
		return name
	}
	return string([]rune(name)[:longest-1]) + "…"
}

func textWidth(s string, letter float64) float64 {
	return float64(utf8.RuneCountInString(s)) * letter
}

// px is a length with a digit after the point, where it is needed.
func px(v float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
}
