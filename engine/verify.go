package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"vfsb/cache"
	"vfsb/engine/artifact"
)

var (
	// ErrNotBuilt is why a node cannot be verified.
	ErrNotBuilt = errors.New("is not built as it is declared now; build it first")
	// ErrNothing is why nothing can be.
	ErrNothing = errors.New("there is nothing to verify: seeds are not unpacked again, since their packages are pinned")
)

// A Sample is a random share of nodes. The same seed chooses the same ones of the same graph.
type Sample struct {
	Share float64 // above 0, at most 1
	Seed  uint64
}

// Verify runs the actions of g's nodes once more, each with what the store or a remote cache holds of its inputs, and compares
// what comes out with what is held of it, bit by bit. What differs is a *DifferError in a *BuildError. Nothing known changes,
// but the other layer stays in the store, named by nothing. Seeds are not unpacked again: their packages are pinned.
func (e *Engine) Verify(ctx context.Context, g *Graph, s Sample, o Options) (*Summary, error) {
	x, list, err := e.recall(ctx, g, o)
	if err != nil {
		return nil, err
	}
	defer x.close()
	if len(list) == 0 {
		return nil, ErrNothing
	}
	rng := rand.New(rand.NewPCG(s.Seed, 0))
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	list = list[:int(math.Ceil(float64(len(list))*s.Share))]
	v := &verification{x, make([]bool, len(g.Nodes))}
	for _, id := range list {
		v.chosen[id] = true
	}
	x.emit(Event{Event: EventStarted, Total: int64(len(list)), Chosen: v.chosen})
	err = schedule(ctx, Apart(g), x.weights, limits{Jobs: x.Jobs, Prepares: 4, KeepGoing: o.KeepGoing}, v)
	if err == errFailed {
		err = &BuildError{Failures: x.failures, Skipped: x.skipped}
	}
	for _, f := range x.failures {
		if d := (*DifferError)(nil); errors.As(f.Err, &d) {
			x.summary.Different++
		}
	}
	x.summary.Wall = time.Since(x.begun)
	x.emit(Event{Event: EventEnded, Seconds: x.summary.Wall.Seconds()})
	return &x.summary, err
}

// A DifferError says that a node came out another time than the store has it.
type DifferError struct {
	Stored, Again cache.Layer
	First         artifact.Change
	Count         int // of paths that differ; 0: the stored layer is gone
}

func (e *DifferError) Error() string {
	more := ""
	if e.Count == 0 {
		return fmt.Sprintf("it came out different: as layer %s, and not as %s, which is gone from the store", e.Again.Tar.Hex()[:12], e.Stored.Tar.Hex()[:12])
	}
	if e.Count > 1 {
		more = fmt.Sprintf(" (and %d more)", e.Count-1)
	}
	return fmt.Sprintf("it came out different: %s%s; vfsb diff -p %s %s shows it", e.First, more, e.Stored.Tar.Hex()[:12], e.Again.Tar.Hex()[:12])
}

// A verification is an execution whose nodes are all known, and some of which run nevertheless.
type verification struct {
	*execution
	chosen []bool // by node
}

// recall looks up every node of g, in remote caches, too; nothing of what is known will change. list is all but groups and
// seeds, in the order of their ids.
func (e *Engine) recall(ctx context.Context, g *Graph, o Options) (*execution, []int32, error) {
	x, err := e.execution(g, o)
	if err != nil {
		return nil, nil, err
	}
	list, err := x.recall(ctx)
	if err != nil {
		x.close()
		return nil, nil, err
	}
	return x, list, nil
}

func (x *execution) recall(ctx context.Context) (list []int32, err error) {
	o := x.Options
	x.KeepGoing = false // what has no key cannot be compared
	if err := x.resolveSources(ctx); err != nil {
		return nil, err
	}
	x.fixed = true
	x.Options, x.asks = Options{DryRun: true}, len(x.Remotes) > 0 // nobody is told of what is known
	err = schedule(ctx, x.graph, x.weights, x.limits(), x)
	x.Options, x.summary.Count = o, map[Status]int{}
	if err != nil {
		return nil, err
	}
	for id, n := range x.graph.Nodes {
		switch {
		case n.Step == nil || n.Step.Seed != nil:
		case !x.nodes[id].known:
			return nil, fmt.Errorf("%s %w", n.Label, ErrNotBuilt)
		default:
			list = append(list, int32(id))
		}
	}
	return list, nil
}

// Apart is the nodes of g without their edges: each is judged by itself, so none has to wait.
func Apart(g *Graph) *Graph {
	flat := &Graph{Nodes: slices.Clone(g.Nodes), byLabel: g.byLabel}
	for i, n := range flat.Nodes {
		alone := *n
		alone.Inputs = nil
		flat.Nodes[i] = &alone
	}
	return flat
}

// Lookup lets those run that are chosen.
func (v *verification) Lookup(id int32) (bool, error) { return !v.chosen[id], nil }

// Run runs the node's action and compares.
func (v *verification) Run(ctx context.Context, id int32) error {
	r, release, err := v.start(id)
	if err != nil {
		return err
	}
	defer release()
	began := time.Now()
	if err := r.do(ctx); err != nil {
		return err
	}
	again, err := r.commit()
	if err != nil {
		return err
	}
	stored := v.nodes[id].result.Layer
	if again != stored {
		return v.differ(ctx, id, again)
	}
	v.emit(Event{Event: EventFinished, Label: r.node.Label, Status: Same, Key: r.key.String(), Layer: stored.Tar.String(), Seconds: time.Since(began).Seconds(), CPU: r.cpu})
	return nil
}

// differ is in what the layer that came out differs from the one that is known.
func (x *execution) differ(ctx context.Context, id int32, again cache.Layer) error {
	stored := x.nodes[id].result.Layer
	if err := x.present(ctx, id); errors.Is(err, errLost) {
		return &DifferError{Stored: stored, Again: again}
	} else if err != nil {
		return err
	}
	var indexes [2]*cache.Index
	for i, l := range []cache.Layer{stored, again} {
		var err error
		if indexes[i], err = x.Store.LoadIndex(l); err != nil {
			return err
		}
	}
	changes := artifact.Compare(artifact.LayerContents(indexes[0], ""), artifact.LayerContents(indexes[1], "")).Changes
	return &DifferError{Stored: stored, Again: again, First: changes[0], Count: len(changes)}
}

// A Compared is a node as it came out of one seed and of another.
type Compared struct {
	Label  string
	Layer  cache.Layer  // from the other one
	Host   bool         // made by the seed's own compiler, to run here: it need not be the same
	Differ *DifferError // nil: they are the same
	Cause  string       // the label of an input that should be the same, and is not; "": all are
}

// VerifySeed builds other, the graph of g's roots from another seed, and compares the nodes of the two. All of g must be
// known. The nodes are listed so that each comes after its inputs. What was built stays known; nothing is delivered.
func (e *Engine) VerifySeed(ctx context.Context, g, other *Graph, o Options) (*Summary, []Compared, error) {
	x, _, err := e.recall(ctx, g, o)
	if err != nil {
		return nil, nil, err
	}
	defer x.close()
	build := o
	build.Pull, build.Past = PullNone, nil
	summary, err := e.Build(ctx, other, build)
	if err != nil {
		return summary, nil, err
	}
	y, _, err := e.recall(ctx, other, o)
	if err != nil {
		return summary, nil, err
	}
	defer y.close()
	var list []Compared
	differs := map[int32]bool{}
	for _, id := range g.order() {
		n := g.Nodes[id]
		if n.Step == nil || n.Step.Seed != nil {
			continue
		}
		m := other.Find(n.Label)
		c := Compared{Label: n.Label, Layer: y.nodes[m.ID].result.Layer, Host: !n.guarded()}
		if c.Layer != x.nodes[id].result.Layer {
			if err := y.present(ctx, m.ID); err != nil {
				return summary, nil, err
			}
			if err := x.differ(ctx, id, c.Layer); !errors.As(err, &c.Differ) {
				return summary, nil, err
			}
			if i := slices.IndexFunc(n.Inputs, func(in int32) bool { return differs[in] }); i >= 0 {
				c.Cause = g.Nodes[n.Inputs[i]].Label
			}
			differs[id] = !c.Host
		}
		list = append(list, c)
	}
	return summary, list, nil
}
