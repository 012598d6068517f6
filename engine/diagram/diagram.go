// Package diagram draws a graph of dependencies for people: as an SVG, or as a page that can be searched and walked.
//
// What is needed lies above what needs it. A drawing is made in four steps, a file each: edges that others imply are
// left out (reduce.go), nodes are put into rows (rows.go), the nodes of each row are sorted and placed so that
// edges are short and cross little (place.go), and the result is written (svg.go, html.go). The same graph always gives
// the same bytes. The package knows boxes, lines and colors; it does not know what is built.
package diagram

// A Graph is what to draw.
type Graph struct {
	Title string
	Nodes []Node
	Edges []Edge
	Path  string // what the nodes and edges that are Critical are called in the legend; "": they are not in it
}

// A Node is a box with two lines of text.
type Node struct {
	Label    string // whole and unique, for the page's details and for its search
	Name     string // the box's first line
	Note     string // the second
	Group    string // nodes of a group have a color
	State    State
	Critical bool
}

// An Edge says that a node needs another one. But for those of kind Runtime, edges make no cycle.
type Edge struct {
	From, To int // From needs To; indexes of Nodes
	Kind     Kind
	Critical bool
}

// A Kind is why a node needs another one.
type Kind int

// Kinds, those first that are drawn when a node needs another one for several reasons.
const (
	Contents Kind = iota
	Deps
	Tools
	Root
	Runtime
)

var kinds = [...]struct{ name, words string }{
	{"contents", "is packed into"},
	{"deps", "is in the sysroot of"},
	{"tools", "is run by"},
	{"root", "is the root of"},
	{"runtime", "comes along with"},
}

func (k Kind) String() string { return kinds[k].name }

// A State is what is known of a node's result.
type State int

// States.
const (
	Unbuilt State = iota // it was never built
	Built                // its result is known
	Stale                // it was built, and would be built again unless what it needs comes out the same
	Failed               // its last run failed
	NoState              // it is not built at all
)

var states = []struct{ name, words string }{
	{"unbuilt", "never built"},
	{"built", "up to date"},
	{"stale", "may be built again"},
	{"failed", "failed"},
	{"none", ""},
}

func (s State) String() string { return states[s].name }
