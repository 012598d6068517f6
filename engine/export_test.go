package engine

import (
	"context"
	"errors"

	"vfsb/cache"
)

// Pretend is Build, but for what becomes of a node: whatever would be executed gets the layer that output returns for it,
// and so do roots whose layers are gone.
func (e *Engine) Pretend(g *Graph, o Options, output func(n *Node) (cache.Layer, error)) (*Summary, error) {
	x, err := e.execution(g, o)
	if err != nil {
		return nil, err
	}
	defer x.close()
	x.emit(Event{Event: EventStarted, Total: int64(len(g.Nodes))})
	err = x.resolveSources(context.Background())
	if err == nil {
		err = schedule(context.Background(), g, x.weights, limits{Jobs: 1, Prepares: 1}, pretender{x, output})
	}
	if err != nil || o.DryRun {
		return &x.summary, err
	}
	for _, id := range x.members() {
		if !x.Store.HasLayer(x.nodes[id].result.Layer) {
			if _, err := output(g.Nodes[id]); err != nil {
				return nil, err
			}
		}
	}
	err = errors.Join(x.deliver(context.Background()), x.noteUse(), x.remember())
	x.emit(Event{Event: EventEnded})
	return &x.summary, err
}

type pretender struct {
	*execution
	output func(n *Node) (cache.Layer, error)
}

func (p pretender) Prepare(ctx context.Context, id int32) error { return nil }

func (p pretender) Run(ctx context.Context, id int32) error {
	n := p.graph.Nodes[id]
	layer, err := p.output(n)
	if err != nil {
		return err
	}
	result := cache.Result{Layer: layer, Label: n.Label, Seconds: 1}
	if err := p.Store.PutResult(p.nodes[id].key, result); err != nil {
		return err
	}
	p.nodes[id].result = result
	if n.Step.Guard != nil {
		if err := p.Store.PutChecked(p.checkKey(id), n.Label); err != nil {
			return err
		}
	}
	p.known(id, result, Executed)
	return nil
}
