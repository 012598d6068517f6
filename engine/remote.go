package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"vfsb/cache"
)

// A Remote is a cache that others share. It has deadlines of its own. An error that wraps cache.ErrNotFound is no news:
// it does not have it, or a call before has told why it does not answer. *remote.Cache is one.
type Remote interface {
	// Result returns what the action with that key gave, if it is believed and the cache has the layer. A result without
	// a layer says that a check has passed.
	Result(ctx context.Context, key cache.Digest) (cache.Result, error)
	// PullLayer brings a layer into the store, and may tell progress how many bytes have come; that may be nil.
	PullLayer(ctx context.Context, l cache.Layer, progress func(done int64)) error
	// PullBlob brings a blob into the store.
	PullBlob(ctx context.Context, d cache.Digest) error
	// Push stores a result, and before it what it names, the texts, and those of the blobs that are in the store.
	Push(ctx context.Context, key cache.Digest, r cache.Result, texts [][]byte, blobs []cache.Digest) error
}

// A PullPolicy says which layers are brought in from remote caches.
type PullPolicy string

// Policies. The zero value is PullNeeded.
const (
	PullAll    PullPolicy = "all"    // of every result that comes from there
	PullNeeded PullPolicy = "needed" // of what a node that runs needs, and of the roots
	PullNone   PullPolicy = "none"   // of what a node that runs needs; roots are not delivered
)

const (
	maxAsks   = 64 // lookups at once: they wait for the network
	maxPulls  = 8  // layers pulled at once
	maxPushes = 4  // results pushed at once

	// pushWait is for how long a build that is done waits for what is still being pushed.
	pushWait = 5 * time.Minute
)

// ask looks at remote caches, in their order. Where nothing has the result of a node, that is no error.
func (x *execution) ask(ctx context.Context, label string, key cache.Digest) (cache.Result, bool) {
	for _, r := range x.Remotes {
		result, err := r.Result(ctx, key)
		if err == nil {
			return result, true
		}
		x.warn(ctx, label, err)
	}
	return cache.Result{}, false
}

// warn tells of an error of a remote cache that is news.
func (x *execution) warn(ctx context.Context, label string, err error) {
	if ctx.Err() == nil && !errors.Is(err, cache.ErrNotFound) {
		x.emit(Event{Event: EventWarning, Label: label, Message: err.Error()})
	}
}

// Ask looks for the node's result in remote caches, and for that of its check.
func (x *execution) Ask(ctx context.Context, id int32) (bool, error) {
	n, st := x.graph.Nodes[id], &x.nodes[id]
	if x.Force && slices.Contains(x.graph.Roots, id) {
		return false, nil
	}
	if !st.unchecked { // else it is known already
		result, ok := x.ask(ctx, n.Label, st.key)
		ok = ok && result.Layer != (cache.Layer{}) // as a check's is
		if !ok && x.DryRun {
			return true, x.plan(id)
		}
		if !ok {
			return false, nil
		}
		result.Label = n.Label
		if err := x.Store.PutResult(st.key, result); err != nil {
			return false, err
		}
		a, err := x.action(id)
		if err != nil {
			return false, err
		}
		if err := x.Store.AddRecord(cache.Record{
			Label: n.Label, Key: st.key, Fields: a.Fields(true), Status: string(Pulled),
			Seconds: result.Seconds, CPU: result.CPU, Log: result.Log, Layer: result.Layer, Time: time.Now(),
		}); err != nil {
			return false, err
		}
		st.result, st.pulled = result, true
		st.unchecked = !x.DryRun && !x.checked(id)
	}
	if st.unchecked {
		if _, ok := x.ask(ctx, n.Label, x.checkKey(id)); !ok {
			return false, nil
		}
		if err := x.Store.PutChecked(x.checkKey(id), n.Label); err != nil {
			return false, err
		}
		st.unchecked = false
	}
	x.known(id, st.result, st.status())
	x.pullAll(ctx, id)
	return true, ctx.Err()
}

// pullAll brings in the layer of a node that is known from elsewhere, where every layer is wanted.
func (x *execution) pullAll(ctx context.Context, id int32) {
	if x.Pull != PullAll || x.DryRun {
		return
	}
	x.pull(ctx, []int32{id})
	st := &x.nodes[id]
	st.presence.Lock()
	defer st.presence.Unlock()
	if st.unpulled != nil {
		x.warn(ctx, x.graph.Nodes[id].Label, st.unpulled)
	}
}

// status is where the node's known result comes from.
func (st *nodeState) status() Status {
	if st.pulled {
		return Pulled
	}
	return Cached
}

// pull brings in, several at once, the layers of the nodes that remote caches have and this store has not.
func (x *execution) pull(ctx context.Context, ids []int32) {
	if len(x.Remotes) == 0 {
		return
	}
	var group errgroup.Group
	group.SetLimit(maxPulls)
	for _, id := range ids {
		st := &x.nodes[id]
		if x.graph.Nodes[id].Step == nil || x.Store.HasLayer(st.result.Layer) {
			continue
		}
		group.Go(func() error {
			st.presence.Lock()
			defer st.presence.Unlock()
			x.pullLayer(ctx, id)
			return nil
		})
	}
	group.Wait()
}

// pullLayer brings in the node's layer, and reports whether the store has it. It asks once in a build, and notes why it
// asked in vain. The caller holds the node's presence.
func (x *execution) pullLayer(ctx context.Context, id int32) bool {
	return x.bring(ctx, id, x.nodes[id].result.Layer)
}

// bring is pullLayer for a layer that need not be the one of the node's result.
func (x *execution) bring(ctx context.Context, id int32, layer cache.Layer) bool {
	st := &x.nodes[id]
	if st.unpulled == nil && !x.Store.HasLayer(layer) {
		for _, r := range x.Remotes {
			x.pulls <- struct{}{}
			told, ended := x.pulling(id, layer.Tar)
			st.unpulled = r.PullLayer(ctx, layer, told)
			ended()
			<-x.pulls
			if st.unpulled == nil || cache.NoRoom(st.unpulled) || ctx.Err() != nil {
				break
			}
		}
	}
	return x.Store.HasLayer(layer)
}

// pulling returns what tells, now and then, how much of a layer of the node has come, and that no more comes.
func (x *execution) pulling(id int32, layer cache.Digest) (told func(done int64), ended func()) {
	last := time.Now()
	ev := Event{Event: EventFetch, Label: x.graph.Nodes[id].Label, URL: "layers/" + layer.Hex()[:12]}
	told = func(done int64) {
		ev.Bytes = done
		if now := time.Now(); now.Sub(last) > 100*time.Millisecond && done < layer.Size {
			last, ev.Total = now, layer.Size
			x.emit(ev)
		}
	}
	return told, func() {
		if ev.Total > 0 {
			ev.Total = ev.Bytes
			x.emit(ev)
		}
	}
}

// PullBlob brings a blob into the store, if a remote cache has it.
func (e *Engine) PullBlob(ctx context.Context, d cache.Digest) bool {
	for _, r := range e.Remotes {
		if r.PullBlob(ctx, d) == nil {
			return true
		}
	}
	return false
}

// A pusher pushes results while the build goes on.
type pusher struct {
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	group  sync.WaitGroup

	mu   sync.Mutex
	left map[string]bool // labels of what is not pushed
}

func newPusher(ctx context.Context) *pusher {
	p := &pusher{slots: make(chan struct{}, maxPushes), left: map[string]bool{}}
	p.ctx, p.cancel = context.WithCancel(ctx)
	return p
}

// push begins to push the node's result.
func (x *execution) push(id int32) {
	p := x.pusher
	if p == nil {
		return
	}
	label := x.graph.Nodes[id].Label
	p.mu.Lock()
	p.left[label] = true
	p.mu.Unlock()
	p.group.Go(func() {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
		case <-p.ctx.Done():
			return
		}
		err := x.pushNode(p.ctx, id)
		if err != nil {
			x.warn(p.ctx, label, err)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.left, label)
	})
}

// pushNode pushes what is known of a node to every cache that takes results.
func (x *execution) pushNode(ctx context.Context, id int32) error {
	st := &x.nodes[id]
	a, err := x.action(id)
	if err != nil {
		return err
	}
	// Others rely on what leaves the machine: it must not be lost here.
	if err := x.Store.Sync(); err != nil {
		return err
	}
	m := a.Messages()
	texts := append(m.Directories, m.Action, m.Command, m.Spec)
	if m.Script != nil {
		texts = append(texts, m.Script)
	}
	var failures []error
	for _, r := range x.PushTo {
		if !x.Store.HasLayer(st.result.Layer) && !x.Elsewhere.keeps(r) {
			if err := x.present(ctx, id); err != nil {
				failures = append(failures, err)
				continue
			}
		}
		err := r.Push(ctx, st.key, st.result, texts, fileDigests(a))
		if err == nil && x.graph.Nodes[id].Step.Guard != nil && x.checked(id) {
			err = r.Push(ctx, x.checkKey(id), cache.Result{}, nil, nil)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// drain waits for what is being pushed, and says what was not.
func (x *execution) drain() {
	p := x.pusher
	if p == nil {
		return
	}
	bound := time.AfterFunc(pushWait, p.cancel)
	p.group.Wait()
	bound.Stop()
	p.cancel()
	if len(p.left) == 0 {
		return
	}
	list := slices.Sorted(maps.Keys(p.left))
	more := ""
	if len(list) > 3 {
		more = fmt.Sprintf(" and %d more", len(list)-3)
		list = list[:3]
	}
	x.emit(Event{Event: EventWarning, Message: fmt.Sprintf("not pushed: %s%s; vfsb cache push pushes what the store has", strings.Join(list, ", "), more)})
}

// A Share is what became of one node in a walk over a graph and remote caches.
type Share struct {
	Label  string
	Known  bool // its result is known
	Pulled bool // since a remote cache has it
	Err    error
}

// walk looks up every node of g, inputs first, in the store and, if ask is set, in remote caches, and calls do, several
// at once, for those whose result is known. What needs a node that is not known cannot be named.
func (e *Engine) walk(ctx context.Context, g *Graph, ask bool, do func(ctx context.Context, x *execution, id int32) error) ([]Share, error) {
	x, err := e.execution(g, Options{DryRun: true})
	if err != nil {
		return nil, err
	}
	defer x.close()
	x.asks = ask
	err = schedule(ctx, g, x.weights, x.limits(), x) // where nothing runs
	if err == errFailed {
		err = &BuildError{Failures: x.failures, Skipped: x.skipped}
	}
	if err != nil {
		return nil, err
	}
	if err := x.pin(); err != nil {
		return nil, err
	}
	list := make([]Share, 0, len(g.Nodes))
	var group errgroup.Group
	group.SetLimit(maxPulls)
	for id, n := range g.Nodes {
		if n.Step == nil {
			continue
		}
		st := &x.nodes[id]
		list = append(list, Share{Label: n.Label, Known: st.known, Pulled: st.pulled})
		if s := &list[len(list)-1]; st.known {
			group.Go(func() error { s.Err = do(ctx, x, int32(id)); return nil })
		}
	}
	group.Wait()
	return list, context.Cause(ctx)
}

// Push pushes what the store knows of the nodes of g to the caches that take results.
func (e *Engine) Push(ctx context.Context, g *Graph) ([]Share, error) {
	return e.walk(ctx, g, false, func(ctx context.Context, x *execution, id int32) error { return x.pushNode(ctx, id) })
}

// PullAll brings in what remote caches have of the nodes of g: results, layers and logs.
func (e *Engine) PullAll(ctx context.Context, g *Graph) ([]Share, error) {
	return e.walk(ctx, g, true, func(ctx context.Context, x *execution, id int32) error {
		st := &x.nodes[id]
		if st.result.Log.Size > 0 && !x.Store.HasBlob(st.result.Log) {
			x.PullBlob(ctx, st.result.Log)
		}
		if x.Store.HasLayer(st.result.Layer) {
			return nil
		}
		var failures []error
		for _, r := range x.Remotes {
			err := r.PullLayer(ctx, st.result.Layer, nil)
			if err == nil {
				return nil
			}
			failures = append(failures, err)
		}
		return errors.Join(failures...)
	})
}

// Survey says which nodes of g are known here, or to a remote cache.
func (e *Engine) Survey(ctx context.Context, g *Graph) ([]Share, error) {
	return e.walk(ctx, g, true, func(context.Context, *execution, int32) error { return nil })
}

// ErrDiffers is what the error about a node of which a remote cache has another result wraps.
var ErrDiffers = errors.New("differs")

// VerifyRemote compares what the store knows of the nodes of g with what r has: there must be a result that is believed,
// with its layer, and it must be the same.
func (e *Engine) VerifyRemote(ctx context.Context, g *Graph, r Remote) ([]Share, error) {
	return e.walk(ctx, g, false, func(ctx context.Context, x *execution, id int32) error {
		st := &x.nodes[id]
		result, err := r.Result(ctx, st.key)
		if err == nil && result.Layer != st.result.Layer {
			err = fmt.Errorf("its result %w: %s there, %s here", ErrDiffers, result.Layer.Tar.Hex()[:12], st.result.Layer.Tar.Hex()[:12])
		}
		return err
	})
}
