package engine

import (
	"context"

	"vfsb/cache"
)

// Pretend is Build, but for what becomes of a node: whatever would be executed gets the layer that make returns for it.
func (e *Engine) Pretend(g *Graph, o Options, make func(n *Node) (cache.Layer, error)) (*Summary, error) {
	x, err := e.execution(g, o)
	if err != nil {
		return nil, err
	}
	defer x.close()
	x.emit(Event{Event: EventStarted, Total: int64(len(g.Nodes))})
	err = x.resolveSources(context.Background())
	if err == nil {
		err = schedule(context.Background(), g, x.weights, limits{Jobs: 1, Prepares: 1}, pretender{x, make})
	}
	if err == nil && !o.DryRun {
		err = x.remember(o.Remember)
	}
	return &x.summary, err
}

type pretender struct {
	*execution
	make func(n *Node) (cache.Layer, error)
}

func (p pretender) Prepare(ctx context.Context, id int32) error { return nil }

func (p pretender) Run(ctx context.Context, id int32) error {
	n := p.graph.Nodes[id]
	layer, err := p.make(n)
	if err != nil {
		return err
	}
	result := cache.Result{Layer: layer, Label: n.Label, Seconds: 1}
	if err := p.Store.PutResult(p.nodes[id].key, result); err != nil {
		return err
	}
	p.known(id, result, Executed)
	return nil
}

// EdgeText is what the node declares, for comparing.
func (g *Graph) EdgeText(n *Node) string {
	text := ""
	for _, e := range n.edges {
		text += e.kind.String() + " " + g.Nodes[e.to].Label + "\n"
	}
	return text
}

// Settled reports whether the node's result was recalled.
func (n *Node) Settled() bool { return n.settled != nil }
