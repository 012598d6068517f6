package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vfsb/cache"
	"vfsb/engine/load"
	"vfsb/engine/source"
)

// TestFailedElsewhere: the last lines of a log are shown, also after one that is long.
func TestFailedElsewhere(t *testing.T) {
	store, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	x := &execution{Engine: &Engine{Store: store}}
	for _, text := range []string{"first\n" + strings.Repeat("long", maxLine) + "\nthe reason\n", "first\nthe reason"} {
		log, err := store.PutBytes([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var failed *NodeError
		if err := x.failedElsewhere(context.Background(), Report{Reason: "exit status 1"}, log); !errors.As(err, &failed) {
			t.Fatal(err)
		}
		if n := len(failed.Tail); n == 0 || failed.Tail[0] != "first" || failed.Tail[n-1] != "the reason" {
			t.Errorf("%d lines are shown, not the last ones", n)
		}
	}
}

// aCluster executes everything at once, and fails to give layers as often as there are reasons.
type aCluster struct {
	Executor
	layer    cache.Layer
	bring    func() error // brings the layer into the store
	failures []error      // of PullLayer
	broken   []error      // of Execute
	executed int
	ended    string // the message with which its build has ended
}

func (c *aCluster) Name() string { return "cluster" }
func (c *aCluster) Missing(context.Context, []cache.Digest) ([]cache.Digest, error) {
	return nil, nil
}
func (c *aCluster) Upload(context.Context, []cache.Layer, []cache.Digest, [][]byte) error {
	return nil
}
func (c *aCluster) Execute(context.Context, cache.Digest, bool, func(string)) (cache.Outcome, error) {
	c.executed++
	if len(c.broken) > 0 {
		err := c.broken[0]
		c.broken = c.broken[1:]
		return cache.Outcome{}, err
	}
	return cache.Outcome{Result: cache.Result{Layer: c.layer}, Stderr: []byte("{}")}, nil
}
func (c *aCluster) PullLayer(context.Context, cache.Layer, func(int64)) error {
	if len(c.failures) == 0 {
		return c.bring()
	}
	err := c.failures[0]
	c.failures = c.failures[1:]
	return err
}

// on is an execution of one node on the cluster.
func (c *aCluster) on(t *testing.T) *execution {
	t.Helper()
	store, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	layer := func(s *cache.Store) (cache.Layer, error) {
		dir, release, err := s.NewRun("layer")
		if err != nil {
			return cache.Layer{}, err
		}
		defer release()
		index, tar, err := cache.Capture(dir, cache.CaptureOptions{})
		if err != nil {
			return cache.Layer{}, err
		}
		return s.CommitLayer(dir, index, tar)
	}
	other, err := cache.Open(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if c.layer, err = layer(other); err != nil {
		t.Fatal(err)
	}
	c.bring = func() error { _, err := layer(store); return err }
	n := &Node{Label: "//a", Step: &Step{Script: []byte("true")}, Config: load.Config{Profile: &load.Profile{}}}
	x := &execution{
		Engine: &Engine{Store: store, Remotes: []Remote{c}}, graph: &Graph{Nodes: []*Node{n}, byLabel: map[string]int32{"//a": 0}},
		nodes: make([]nodeState, 1), pulls: make(chan struct{}, 1),
	}
	x.Elsewhere = Elsewhere{Executor: c, Jobs: 1}
	x.summary.Count = map[Status]int{}
	return x
}

// TestPullFull: where there is no room for a layer, it is not executed again for that.
func TestPullFull(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "/store", Err: unix.ENOSPC}
	c := &aCluster{failures: []error{full, full}}
	x := c.on(t)
	x.nodes[0].result.Layer = c.layer
	if err := x.present(t.Context(), 0); !errors.Is(err, unix.ENOSPC) || c.executed > 0 {
		t.Errorf("%v, executed %d times; want that the disk is full", err, c.executed)
	}
}

// TestCountElsewhere: what was executed there, lost and executed again counts once.
func TestCountElsewhere(t *testing.T) {
	c := &aCluster{failures: []error{cache.ErrNotFound}}
	x := c.on(t)
	if _, err := x.Lookup(0); err != nil {
		t.Fatal(err)
	}
	if err := x.RunElsewhere(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := x.present(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if n := x.summary.Count; c.executed != 2 || n[Executed] != 1 || n[Cached] != 0 {
		t.Errorf("executed %d times, and counted are %v", c.executed, n)
	}
}

// TestAnewElsewhere: a lost layer that comes out as another leaves the node's result to those who look at it meanwhile.
func TestAnewElsewhere(t *testing.T) {
	c := &aCluster{failures: []error{cache.ErrNotFound}}
	x := c.on(t)
	if _, err := x.Lookup(0); err != nil {
		t.Fatal(err)
	}
	lost := cache.DigestOf([]byte("lost"))
	x.nodes[0].result.Layer = cache.Layer{Tar: lost, Index: lost}
	var reader sync.WaitGroup
	ended := make(chan struct{})
	reader.Go(func() {
		for {
			if m := x.mount("/", []int32{0}); m.Layers[0].Tar != lost {
				t.Errorf("the result is %s", m.Layers[0].Tar)
				return
			}
			select {
			case <-ended:
				return
			default:
			}
		}
	})
	var anew *anewError
	if err := x.present(t.Context(), 0); !errors.As(err, &anew) {
		t.Error(err)
	}
	close(ended)
	reader.Wait()
	if got := x.nodes[0].result.Layer.Tar; got != lost {
		t.Errorf("the result is %s", got)
	}
}

// unreachable is a cluster whose layers cannot be had, and come out as others each time.
type unreachable struct {
	aCluster
	enough func() // is called when it has executed too often
}

func (u *unreachable) Result(context.Context, cache.Digest) (cache.Result, error) {
	return cache.Result{}, cache.ErrNotFound
}
func (u *unreachable) PullLayer(context.Context, cache.Layer, func(int64)) error {
	return errors.New("the layer is too large")
}
func (u *unreachable) Execute(context.Context, cache.Digest, bool, func(string)) (cache.Outcome, error) {
	if u.executed++; u.executed == 10 {
		u.enough()
	}
	d := cache.DigestOf(fmt.Append(nil, u.executed))
	return cache.Outcome{Result: cache.Result{Layer: cache.Layer{Tar: d, Index: d}}, Stderr: []byte("{}")}, nil
}

// build is a build of one node on the executor, which the cluster is a part of.
func (c *aCluster) build(ctx context.Context, t *testing.T, e Executor) (*Summary, error) {
	t.Helper()
	x := c.on(t)
	x.Remotes, x.graph.Roots = []Remote{e}, []int32{0}
	lock, err := source.OpenLock(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	x.Workspace, x.Fetcher = &load.Workspace{Root: t.TempDir()}, &source.Fetcher{Store: x.Store, Lock: lock}
	notify := func(ev Event) {
		if ev.Event == EventEnded {
			c.ended = ev.Message
		}
	}
	return x.Build(ctx, x.graph, Options{Notify: notify, Elsewhere: Elsewhere{Executor: e, Jobs: 1}})
}

// TestNeverHad: a layer that cannot be had is not executed again and again because it comes out as another.
func TestNeverHad(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	u := &unreachable{enough: cancel}
	_, err := u.build(ctx, t, u)
	if err == nil || !strings.Contains(err.Error(), "cannot be had: the layer is too large") || u.executed != 2 {
		t.Errorf("executed %d times, and then %v", u.executed, err)
	}
}

// lossy is a cluster that loses a layer, and makes another in its place.
type lossy struct {
	unreachable
	brought func() // is called when the other layer has been brought
}

func (l *lossy) Execute(ctx context.Context, d cache.Digest, fresh bool, stage func(string)) (cache.Outcome, error) {
	if l.executed == 0 {
		return l.unreachable.Execute(ctx, d, fresh, stage)
	}
	return l.aCluster.Execute(ctx, d, fresh, stage)
}
func (l *lossy) PullLayer(_ context.Context, layer cache.Layer, _ func(int64)) error {
	if layer != l.layer {
		return cache.ErrNotFound
	}
	defer l.brought()
	return l.bring()
}

// TestAnewInterrupted: a build that would begin anew when it is interrupted has been interrupted.
func TestAnewInterrupted(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		l, ended := &lossy{brought: func() {}}, ""
		if interrupted {
			l.brought, ended = func() { cancel(enough) }, enough.Error()
		}
		summary, err := l.build(ctx, t, l)
		if errors.Is(err, enough) != interrupted || err != nil && !interrupted || summary == nil || l.executed != 2 || l.ended != ended {
			t.Errorf("interrupted: %t: executed %d times, %v, %v, ended with %q", interrupted, l.executed, summary, err, l.ended)
		}
		cancel(nil)
	}
}

// TestWorkerPause: a worker that fails gets time to recover, which an interrupt ends.
func TestWorkerPause(t *testing.T) {
	defer func(was time.Duration) { workerPause = was }(workerPause)
	workerPause = 20 * time.Millisecond
	c := &aCluster{broken: []error{cache.ErrWorker, cache.ErrWorker}}
	x := c.on(t)
	if _, err := x.Lookup(0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := x.RunElsewhere(t.Context(), 0); err != nil || c.executed != 3 || time.Since(began) < 3*workerPause {
		t.Errorf("%v, executed %d times in %v", err, c.executed, time.Since(began))
	}

	workerPause = time.Hour
	c = &aCluster{broken: []error{cache.ErrWorker}}
	x = c.on(t)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	x.Notify = func(ev Event) {
		if ev.Event == EventWarning {
			cancel(enough)
		}
	}
	if _, err := x.Lookup(0); err != nil {
		t.Fatal(err)
	}
	if err := x.RunElsewhere(ctx, 0); !errors.Is(err, enough) || c.executed != 1 {
		t.Errorf("%v, executed %d times", err, c.executed)
	}
}

// TestPullAllElsewhere: with --pull all the layers come here of what is executed there, too, and with no other policy.
func TestPullAllElsewhere(t *testing.T) {
	for _, policy := range []PullPolicy{PullAll, PullNeeded, PullNone} {
		c := &aCluster{}
		x := c.on(t)
		x.Pull = policy
		if _, err := x.Lookup(0); err != nil {
			t.Fatal(err)
		}
		if err := x.RunElsewhere(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if got := x.Store.HasLayer(c.layer); got != (policy == PullAll) {
			t.Errorf("--pull %s: the layer is here: %t", policy, got)
		}
	}
}

// TestUncheckedElsewhere: a layer that the guard must see, and that is nowhere, is made again on the cluster.
func TestUncheckedElsewhere(t *testing.T) {
	c := &aCluster{failures: []error{cache.ErrNotFound}}
	x := c.on(t)
	if _, err := x.Lookup(0); err != nil {
		t.Fatal(err)
	}
	x.nodes[0].result.Layer, x.nodes[0].unchecked = c.layer, true
	if err := x.present(t.Context(), 0); err != nil || c.executed != 1 {
		t.Errorf("executed %d times there, %v", c.executed, err)
	}
}
