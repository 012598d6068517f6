package diagram

import (
	"cmp"
	"slices"
)

// Sizes, in pixels.
const (
	boxPitch = 150.0 // from a box to the next one in its row, as a rule
	rowPitch = 84.0
	aspect   = 1.6 // of a screen: width by height
)

// rows puts each node, by its position, below those that it needs: the row of each, and their number. As many nodes are
// in a row as make the drawing as wide as a screen is for its height.
func rows(n int, links []link) (row []int, count int) {
	tail := make([]int, n) // the longest path to the end
	for _, l := range slices.Backward(links) {
		tail[l.low] = max(tail[l.low], tail[l.high]+1)
	}
	for width := 6; ; width++ {
		row, count = fill(n, links, tail, width)
		if count == slices.Max(tail)+1 || float64(count)*rowPitch*aspect <= boxPitch*float64(width) {
			shift(row, count, links, width)
			return row, count
		}
	}
}

// fill puts up to width nodes into each row, those with the longest tail first.
func fill(n int, links []link, tail []int, width int) (row []int, count int) {
	waiting := make([]int, n)
	next := make([][]int, n)
	for _, l := range links {
		waiting[l.high]++
		next[l.low] = append(next[l.low], l.high)
	}
	var ready []int
	for i := range n {
		if waiting[i] == 0 {
			ready = append(ready, i)
		}
	}
	row = make([]int, n)
	for ; len(ready) > 0; count++ {
		slices.SortFunc(ready, func(a, b int) int { return cmp.Or(cmp.Compare(tail[b], tail[a]), cmp.Compare(a, b)) })
		now := ready[:min(width, len(ready))]
		ready = slices.Clone(ready[len(now):])
		for _, i := range now {
			row[i] = count
			for _, d := range next[i] {
				if waiting[d]--; waiting[d] == 0 {
					ready = append(ready, d)
				}
			}
		}
	}
	return row, count
}

// shift moves nodes up or down to where the lines get shortest. All lines from a node share a trunk, so what counts is
// how far the farthest one goes.
func shift(row []int, count int, links []link, width int) {
	up, down := make([][]int, len(row)), make([][]int, len(row))
	used := make([]int, count)
	for _, r := range row {
		used[r]++
	}
	for _, l := range links {
		up[l.high] = append(up[l.high], l.low)
		down[l.low] = append(down[l.low], l.high)
	}
	length := func(i int) int {
		far := row[i]
		for _, d := range down[i] {
			far = max(far, row[d])
		}
		return far - row[i]
	}
	for range 8 {
		moved := false
		for i := len(row) - 1; i >= 0; i-- {
			first, last := 0, count-1
			for _, u := range up[i] {
				first = max(first, row[u]+1)
			}
			for _, d := range down[i] {
				last = min(last, row[d]-1)
			}
			old, best, least := row[i], row[i], -1
			for r := first; r <= last; r++ {
				if r != old && used[r] >= width {
					continue
				}
				row[i] = r
				cost := length(i)
				for _, u := range up[i] {
					cost += length(u)
				}
				if least < 0 || cost < least {
					best, least = r, cost
				}
			}
			row[i] = best
			if best != old {
				used[old]--
				used[best]++
				moved = true
			}
		}
		if !moved {
			return
		}
	}
}
