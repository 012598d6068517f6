package engine

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"vfsb/cache"
	"vfsb/engine/action"
)

// An Explanation says why a node was, or would be, executed.
type Explanation struct {
	Label   string
	Key     string          // "" if it depends on nodes that would run first
	Known   bool            // the result of this key is known
	Record  *cache.Record   // the execution that made it, if this store saw it
	Nearest *cache.Record   // the earlier execution of the node that differs least
	Changes []action.Change // between Nearest and the key
	Waits   []string        // inputs that would run first
}

// Explain compares the node's key with the earlier ones in the store's history.
func (e *Engine) Explain(g *Graph, id int32) (*Explanation, error) {
	x, err := e.execution(g, Options{DryRun: true})
	if err != nil {
		return nil, err
	}
	defer x.close()
	if err := x.lookups(); err != nil {
		return nil, err
	}
	n := g.Nodes[id]
	if n.Step == nil {
		return nil, fmt.Errorf("%s is a group; explain one of its members", n.Label)
	}
	result := &Explanation{Label: n.Label, Known: x.nodes[id].known}
	for _, in := range n.Inputs {
		if x.nodes[in].planned {
			result.Waits = append(result.Waits, g.Nodes[in].Label)
		}
	}
	history, err := e.Store.History(n.Label)
	if err != nil {
		return nil, err
	}
	history = slices.DeleteFunc(history, func(r cache.Record) bool { return r.Status != string(Executed) })
	if len(result.Waits) > 0 {
		if len(history) > 0 {
			result.Nearest = &history[len(history)-1]
		}
		return result, nil
	}
	a, err := x.action(id)
	if err != nil {
		return nil, err
	}
	if _, err := e.Store.PutBytes(a.Script); err != nil { // for Words, which compares scripts
		return nil, err
	}
	key := a.Key()
	result.Key = key.String()
	fields := a.Fields(true)
	earlier := history
	for i := range history {
		if history[i].Key == key {
			result.Record = &history[i]
			earlier = history[:i]
		}
	}
	for i := range earlier {
		if earlier[i].Key == key {
			continue
		}
		changes := action.Diff(earlier[i].Fields, fields)
		if result.Nearest == nil || len(changes) <= len(result.Changes) {
			result.Nearest, result.Changes = &earlier[i], changes
		}
	}
	return result, nil
}

// lookups looks every node up, in a dry run.
func (x *execution) lookups() error {
	for _, id := range x.graph.order() {
		if _, err := x.Lookup(id); err != nil {
			return err
		}
	}
	return nil
}

// Words tells a change in a line or more: which input, from what to what. Scripts are
// compared line by line if the store still has both.
func (e *Engine) Words(c action.Change) []string {
	kind, rest, _ := strings.Cut(c.Name, " ")
	switch {
	case kind == "layer":
		at, label, _ := strings.Cut(rest, " ")
		switch {
		case c.Added:
			return []string{fmt.Sprintf("%s is new in %s", label, at)}
		case c.Removed:
			return []string{fmt.Sprintf("%s is no longer in %s", label, at)}
		}
		return []string{fmt.Sprintf("the output of %s changed: %s -> %s", label, short(c.Old), short(c.New))}
	case kind == "file" && c.Added:
		return []string{"the file " + rest + " was added"}
	case kind == "file" && c.Removed:
		return []string{"the file " + rest + " was removed"}
	case kind == "file":
		return []string{fmt.Sprintf("the file %s changed: %s -> %s", rest, short(c.Old), short(c.New))}
	case kind == "script":
		return append([]string{"the script changed:"}, e.lineDiff(c.Old, c.New)...)
	}
	return []string{fmt.Sprintf("%s changed: %q -> %q", c.Name, c.Old, c.New)}
}

func short(digest string) string {
	if len(digest) > 12 {
		return digest[:12]
	}
	return digest
}

// lineDiff shows the lines that differ between two stored texts.
func (e *Engine) lineDiff(old, now string) []string {
	before, err1 := e.lines(old)
	after, err2 := e.lines(now)
	if errors.Join(err1, err2) != nil {
		return []string{"  (an earlier script is not in the store)"}
	}
	if diff, ok := DiffLines(before, after); ok {
		return diff
	}
	return []string{fmt.Sprintf("  (%d lines became %d, too many to compare)", len(before), len(after))}
}

func (e *Engine) lines(digest string) ([]string, error) {
	d, err := cache.ParseDigest(digest)
	if err != nil {
		return nil, err
	}
	f, err := e.Store.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}

// maxDiff bounds the table of DiffLines: 32 MiB.
const maxDiff = 4 << 20

// DiffLines is the removed and added lines, by the longest common subsequence of
// what lies between the common start and end. It reports false where that is too much.
func DiffLines(a, b []string) ([]string, bool) {
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	a, b = a[start:len(a)-end], b[start:len(b)-end]
	if (len(a)+1)*(len(b)+1) > maxDiff {
		return nil, false
	}
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []string
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || (i < len(a) && common[i+1][j] >= common[i][j+1]):
			out = append(out, "  - "+a[i])
			i++
		default:
			out = append(out, "  + "+b[j])
			j++
		}
	}
	return out, true
}
