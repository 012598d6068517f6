package diagram

import (
	"cmp"
	"math"
	"slices"
)

// A vertex is a box, or a point at which a line passes a row. Lines of one kind from one box, or to one, share their
// points, so that they make a trunk with branches.
type vertex struct {
	box   int // the node's position, -1: a point
	row   int
	place int     // in its row, from the left
	x     float64 // of its middle
	width float64

	up, down []int // neighbours in the rows above and below
}

// A route is how a link is drawn: from its low box by way of points to its high box.
type route struct {
	link
	vertices []int
}

// A layout is where everything is. The first vertices are the boxes, by position.
type layout struct {
	vertices []vertex
	rows     [][]int // vertices, from the left
	routes   []route
}

// place finds where the boxes lie and how the links run.
func place(row []int, count int, widths []float64, links []link) *layout {
	l := &layout{rows: make([][]int, count)}
	for i, r := range row {
		l.vertices = append(l.vertices, vertex{box: i, row: r, width: widths[i]})
	}
	// end is a box and whether its lines come together above or below it.
	type end struct {
		box   int
		above bool
		kind  Kind
	}
	type point struct {
		end
		row int
	}
	lines := map[end]int{}
	for _, k := range links {
		lines[end{k.low, false, k.Kind}]++
		lines[end{k.high, true, k.Kind}]++
	}
	points := map[point]int{}
	for _, k := range links {
		trunk := end{k.low, false, k.Kind}
		if other := (end{k.high, true, k.Kind}); lines[other] > lines[trunk] {
			trunk = other
		}
		r := route{link: k, vertices: []int{k.low}}
		for i := row[k.low] + 1; i < row[k.high]; i++ {
			at := point{trunk, i}
			if _, ok := points[at]; !ok {
				points[at] = len(l.vertices)
				l.vertices = append(l.vertices, vertex{box: -1, row: i})
			}
			l.extend(&r, points[at])
		}
		l.extend(&r, k.high)
		l.routes = append(l.routes, r)
	}
	for i, v := range l.vertices {
		l.rows[v.row] = append(l.rows[v.row], i)
	}
	l.number()
	l.sort()
	l.align()
	return l
}

func (l *layout) extend(r *route, to int) {
	from := r.vertices[len(r.vertices)-1]
	r.vertices = append(r.vertices, to)
	if !slices.Contains(l.vertices[from].down, to) {
		l.vertices[from].down = append(l.vertices[from].down, to)
		l.vertices[to].up = append(l.vertices[to].up, from)
	}
}

// number tells the vertices their places.
func (l *layout) number() {
	for _, list := range l.rows {
		for i, v := range list {
			l.vertices[v].place = i
		}
	}
}

// sort orders each row by where the neighbours of its vertices are, downward and upward, again and again, and keeps the
// order with the fewest crossings.
func (l *layout) sort() {
	best, least := l.snapshot(), l.crossings()
	for sweep := range 24 {
		for i := range l.rows {
			row, side := i, func(v *vertex) []int { return v.up }
			if sweep%2 == 1 {
				row, side = len(l.rows)-1-i, func(v *vertex) []int { return v.down }
			}
			center := map[int]float64{}
			for _, v := range l.rows[row] {
				center[v] = l.mean(side(&l.vertices[v]), float64(l.vertices[v].place))
			}
			slices.SortStableFunc(l.rows[row], func(a, b int) int { return cmp.Compare(center[a], center[b]) })
			for at, v := range l.rows[row] {
				l.vertices[v].place = at
			}
		}
		l.exchange()
		if n := l.crossings(); n < least {
			best, least = l.snapshot(), n
		}
	}
	l.rows = best
	l.number()
}

func (l *layout) snapshot() [][]int {
	var copied [][]int
	for _, list := range l.rows {
		copied = append(copied, slices.Clone(list))
	}
	return copied
}

// mean is the mean place of vertices; of none it is none.
func (l *layout) mean(of []int, none float64) float64 {
	if len(of) == 0 {
		return none
	}
	sum := 0
	for _, v := range of {
		sum += l.vertices[v].place
	}
	return float64(sum) / float64(len(of))
}

// exchange swaps neighbours in a row as long as that undoes crossings.
func (l *layout) exchange() {
	for range 4 {
		swapped := false
		for _, list := range l.rows {
			for i := range len(list) - 1 {
				a, b := &l.vertices[list[i]], &l.vertices[list[i+1]]
				now := l.inversions(a.up, b.up) + l.inversions(a.down, b.down)
				then := l.inversions(b.up, a.up) + l.inversions(b.down, a.down)
				if then < now {
					list[i], list[i+1] = list[i+1], list[i]
					a.place, b.place = i+1, i
					swapped = true
				}
			}
		}
		if !swapped {
			return
		}
	}
}

// inversions is how many lines to one set of vertices cross lines to another one whose owner lies below.
func (l *layout) inversions(above, below []int) int {
	n := 0
	for _, a := range above {
		for _, b := range below {
			if l.vertices[a].place > l.vertices[b].place {
				n++
			}
		}
	}
	return n
}

// crossings counts, between each two rows, the pairs of lines that cross, by inserting their ends into a tree of
// partial sums in the order of their starts.
func (l *layout) crossings() int {
	n := 0
	for c, list := range l.rows[:len(l.rows)-1] {
		tree := make([]int, len(l.rows[c+1])+1)
		seen := 0
		for _, v := range list {
			ends := []int{}
			for _, r := range l.vertices[v].down {
				ends = append(ends, l.vertices[r].place)
			}
			for _, end := range ends {
				n += seen
				for i := end + 1; i > 0; i -= i & -i {
					n -= tree[i]
				}
			}
			for _, end := range ends {
				for i := end + 1; i < len(tree); i += i & -i {
					tree[i]++
				}
			}
			seen += len(ends)
		}
	}
	return n
}

// align gives each vertex an x: near its neighbours, in the order of its row, and not too near the next one.
func (l *layout) align() {
	for _, list := range l.rows {
		x := 0.0
		for i, v := range list {
			if i > 0 {
				x += l.distance(list[i-1], v)
			}
			l.vertices[v].x = x
		}
		for _, v := range list {
			l.vertices[v].x -= x / 2
		}
	}
	for sweep := range 40 {
		for i := range l.rows {
			row := i
			if sweep%2 == 1 {
				row = len(l.rows) - 1 - i
			}
			l.settle(l.rows[row])
		}
	}
	l.straighten()
}

// distance is the least one between two vertices, one beside the other.
func (l *layout) distance(left, right int) float64 {
	half := func(v int) float64 {
		if l.vertices[v].box < 0 {
			return 5
		}
		return (l.vertices[v].width + boxGap) / 2
	}
	return half(left) + half(right)
}

// settle moves the vertices of a row to where they want to be, as far as those around let them: the least squares
// among all that keep order and distances, by pooling those that push each other.
func (l *layout) settle(list []int) {
	type pool struct {
		sum, weight float64
		from        int
	}
	var pools []pool
	offsets := make([]float64, len(list))
	for i, v := range list {
		if i > 0 {
			offsets[i] = offsets[i-1] + l.distance(list[i-1], v)
		}
		want, weight := l.want(v)
		pools = append(pools, pool{(want - offsets[i]) * weight, weight, i})
		for len(pools) > 1 {
			a, b := &pools[len(pools)-2], pools[len(pools)-1]
			if a.sum/a.weight < b.sum/b.weight {
				break
			}
			a.sum += b.sum
			a.weight += b.weight
			pools = pools[:len(pools)-1]
		}
	}
	for i, p := range pools {
		end := len(list)
		if i+1 < len(pools) {
			end = pools[i+1].from
		}
		for at := p.from; at < end; at++ {
			l.vertices[list[at]].x = p.sum/p.weight + offsets[at]
		}
	}
}

// want is the x that makes a vertex's lines straightest, and how much that matters: most for the points of a trunk.
func (l *layout) want(v int) (x, weight float64) {
	at := &l.vertices[v]
	for _, side := range [][]int{at.up, at.down} {
		for _, other := range side {
			w := 1.0
			if at.box < 0 {
				w *= 4
			}
			if l.vertices[other].box < 0 {
				w *= 4
			}
			x += w * l.vertices[other].x
			weight += w
		}
	}
	if weight == 0 {
		return at.x, 1
	}
	return x / weight, weight
}

// straighten makes trunks run straight down as far as their neighbours leave room. Least squares spread a shift to the
// side over all rows, which is neither straight nor a curve.
func (l *layout) straighten() {
	for i := range l.vertices {
		if first := &l.vertices[i]; first.box >= 0 || l.before(first) >= 0 {
			continue
		}
		var run []int
		low, high := 0.0, 0.0
		for at := i; at >= 0; at = l.after(&l.vertices[at]) {
			least, most := l.room(at)
			if len(run) == 0 || max(low, least) > min(high, most) {
				l.set(run, low, high)
				run, low, high = nil, least, most
			}
			run, low, high = append(run, at), max(low, least), min(high, most)
		}
		l.set(run, low, high)
	}
}

// after is the next point of a trunk, -1 at its end or where trunks meet.
func (l *layout) after(v *vertex) int {
	for _, d := range v.down {
		if next := &l.vertices[d]; next.box < 0 && len(next.up) == 1 {
			return d
		}
	}
	return -1
}

// before is the point of a trunk that v is after, or -1.
func (l *layout) before(v *vertex) int {
	if len(v.up) != 1 {
		return -1
	}
	if u := &l.vertices[v.up[0]]; u.box >= 0 || l.after(u) < 0 || &l.vertices[l.after(u)] != v {
		return -1
	}
	return v.up[0]
}

// room is how far a vertex can move.
func (l *layout) room(v int) (least, most float64) {
	list, place := l.rows[l.vertices[v].row], l.vertices[v].place
	least, most = math.Inf(-1), math.Inf(1)
	if place > 0 {
		least = l.vertices[list[place-1]].x + l.distance(list[place-1], v)
	}
	if place+1 < len(list) {
		most = l.vertices[list[place+1]].x - l.distance(v, list[place+1])
	}
	return least, most
}

// set gives the vertices one x between low and high, as near as can be to the middle of where they are.
func (l *layout) set(run []int, low, high float64) {
	x := 0.0
	for _, v := range run {
		x += l.vertices[v].x / float64(len(run))
	}
	for _, v := range run {
		l.vertices[v].x = min(max(x, low), high)
	}
}
