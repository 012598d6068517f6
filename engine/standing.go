package engine

import (
	"errors"
	"io/fs"
	"os"
)

// A Standing is what the store knows of a node when nothing runs.
type Standing struct {
	Status  Status  // Cached, Failed (it would run again, and its last run failed), Planned or Grouped
	Seconds float64 // how long its newest execution took; 0: this store saw none
}

// Standings looks up every node of g, by its id, as a dry run does. What cannot be looked up, because a source is not
// locked yet, say, would have to be built.
func (e *Engine) Standings(g *Graph) ([]Standing, error) {
	x, err := e.execution(g, Options{DryRun: true})
	if err != nil {
		return nil, err
	}
	defer x.close()
	durations := e.Store.Durations()
	list := make([]Standing, len(g.Nodes))
	for _, id := range g.order() {
		n, st := g.Nodes[id], &x.nodes[id]
		if _, err := x.Lookup(id); err != nil {
			st.planned = true
		}
		list[id] = Standing{Status: Planned, Seconds: durations[n.Label]}
		switch {
		case n.Step == nil:
			list[id].Status = Grouped
		case st.known:
			list[id].Status = Cached
		default:
			_, err := os.Lstat(e.Store.FailedDir(n.Label))
			if err == nil {
				list[id].Status = Failed
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return list, nil
}
