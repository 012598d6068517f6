// Package engine builds what a workspace declares, in three phases: load, analyze,
// execute. It knows no rule kind; cmd/vfsb hands it the list of them.
package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2"

	"vfsb/cache"
	"vfsb/engine/load"
	"vfsb/engine/sandbox/jobs"
	"vfsb/engine/source"
)

// Options say how to build. The zero value of an optional field works.
type Options struct {
	Jobs       int  // nodes and compile jobs at once; 0: the number of processors
	KeepGoing  bool // go on with what does not need a failed node
	DryRun     bool // look up, execute nothing
	KeepFailed bool // keep the folder of a failed node, for `vfsb shell --failed`
	Force      bool // execute the roots even if their results are known

	Pull    PullPolicy    // which layers come from remote caches; "": PullNeeded
	Timeout time.Duration // of a node that sets none; 0: none
	Out     string        // where artifacts land; "": out/ in the workspace
	Past    *Past         // to remember this build in; nil: it is not remembered

	Elsewhere Elsewhere // what runs on other machines

	Notify func(Event) // called by one goroutine at a time
}

// An Engine builds in one workspace with one store.
type Engine struct {
	Workspace *load.Workspace
	Rules     []Rule
	Store     *cache.Store
	Fetcher   *source.Fetcher
	Exec      load.Exec

	Remotes []Remote // asked for what the store does not have, in this order
	PushTo  []Remote // given what is executed here
}

// HostExec describes this machine.
func HostExec() load.Exec {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686"}[runtime.GOARCH]
	if machine == "" {
		machine = runtime.GOARCH
	}
	return load.Exec{Arch: runtime.GOARCH, Triplet: machine + "-pc-linux-gnu"}
}

// Expand turns patterns into the nodes that they mean.
func (e *Engine) Expand(patterns []string) ([]load.Config, error) {
	resolver := load.NewResolver(e.Workspace, e.Exec)
	var roots []load.Config
	for _, s := range patterns {
		p, err := load.ParsePattern(s)
		if err != nil {
			return nil, err
		}
		configs, err := resolver.Expand(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
		roots = append(roots, configs...)
	}
	return roots, nil
}

// Analyze makes the graph of what the roots need.
func (e *Engine) Analyze(roots []load.Config) (*Graph, hcl.Diagnostics) {
	return Analyze(e.Workspace, e.Rules, e.Exec, roots)
}

// Reseed makes the graph of what the roots need if seed, of kind SeedKind, takes the place of every seed in a root of a stage.
func (e *Engine) Reseed(roots []load.Config, seed *load.Target) (*Graph, hcl.Diagnostics) {
	g, diags := analyze(e.Workspace, e.Rules, e.Exec, roots, seed)
	g.seed = seed
	return g, diags
}

// Build executes what g needs and delivers its roots. It returns a *BuildError when
// nodes failed, the context's cause when it was cancelled; every other error is the
// machine's.
func (e *Engine) Build(ctx context.Context, g *Graph, o Options) (summary *Summary, err error) {
	var before []nodeState
	err = anew(ctx, o, func() error {
		x, err := e.execution(g, o)
		if err != nil {
			return err
		}
		x.before = before
		summary, err = x.build(ctx)
		before = x.nodes
		return err
	})
	return summary, err
}

// anew calls do once more whenever its error is an *anewError. What is different then lies in the store, so this comes to
// an end.
func anew(ctx context.Context, o Options, do func() error) error {
	for {
		err := do()
		lost := (*anewError)(nil)
		if !errors.As(err, &lost) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if o.Notify != nil {
			o.Notify(Event{Event: EventWarning, Time: time.Now(), Message: lost.Error()})
		}
	}
}

func (x *execution) build(ctx context.Context) (*Summary, error) {
	defer x.close()
	x.emit(Event{Event: EventStarted, Total: int64(len(x.graph.Nodes)), Remain: x.criticalPath()})
	x.asks = len(x.Remotes) > 0
	if len(x.PushTo) > 0 && !x.DryRun {
		x.pusher = newPusher(ctx)
	}
	err := x.resolveSources(ctx)
	if err == nil {
		err = schedule(ctx, x.graph, x.weights, x.limits(), x)
	}
	if err == nil && !x.DryRun {
		err = x.deliver(ctx)
	}
	x.drain()
	if err == errFailed && x.anew != nil && (x.KeepGoing || len(x.failures) == 0) {
		err = x.anew
	}
	if anew := (*anewError)(nil); errors.As(err, &anew) {
		if ctx.Err() == nil {
			return nil, err
		}
		err = context.Cause(ctx)
	}
	if err == errFailed {
		err = &BuildError{Failures: x.failures, Skipped: x.skipped}
	}
	if !x.DryRun {
		if useErr := x.noteUse(); err == nil {
			err = useErr
		}
		if err == nil {
			err = x.remember()
		}
	}
	x.summary.Wall = time.Since(x.begun)
	message := ""
	if err != nil {
		message = err.Error()
	}
	x.emit(Event{Event: EventEnded, Message: message, Seconds: x.summary.Wall.Seconds()})
	return &x.summary, err
}

// A Summary counts what a build did.
type Summary struct {
	Count     map[Status]int
	Different int      // of those that failed: what Verify found to differ
	Delivered []string // paths of artifacts
	Roots     []RootResult
	Wall      time.Duration
	CPU       float64 // seconds, of executed nodes
}

// A RootResult is what became of one thing that was asked for.
type RootResult struct {
	Label string
	Layer cache.Layer
	Dir   string // the unpacked layer in the store
}

// A BuildError lists the nodes that failed, and those that were not run since they
// need one of them.
type BuildError struct {
	Failures, Skipped []Failure
}

// Unwrap is the failures' errors.
func (e *BuildError) Unwrap() []error {
	var list []error
	for _, f := range e.Failures {
		list = append(list, f.Err)
	}
	return list
}

// A SourceError says that a source cannot be had.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// A Failure is one failed or skipped node, and why.
type Failure struct {
	Label string
	Err   error
}

func (e *BuildError) Error() string {
	if len(e.Failures) == 1 {
		return fmt.Sprintf("%s: %v", e.Failures[0].Label, e.Failures[0].Err)
	}
	return fmt.Sprintf("%d nodes failed, %d were skipped because of them", len(e.Failures), len(e.Skipped))
}

// execution is the state of one Build.
type execution struct {
	*Engine
	Options
	graph   *Graph
	begun   time.Time
	weights []float64
	nodes   []nodeState
	entered *Node // not to be run: Enter opens it instead
	needs   needs
	fixed   bool          // nothing that is known may change
	asks    bool          // remote caches are asked for what the store does not know
	pulls   chan struct{} // a token for each layer that is being pulled
	pusher  *pusher       // nil: nothing is pushed
	summary Summary

	before []nodeState // of the execution that this one takes the place of; nil: it is the first

	mu       sync.Mutex // guards failures, skipped, summary, what is unresolved and the calls of Notify
	failures []Failure
	skipped  []Failure
	anew     error // an *anewError, if a node failed with one

	jobs *jobs.Broker // of compile jobs over all sandboxes
}

// nodeState is what is known of a node in this build. It is written by the owner of
// the schedule or by the node's one worker, and read when the node is done.
type nodeState struct {
	key     cache.Digest
	result  cache.Result
	known   bool           // result is the node's
	counted Status         // as what it counts, once it is known
	files   []cache.Digest // sources and patches
	planned bool           // a dry run: the node would run, or something that it needs would
	// unchecked: result is the node's, but the guard has not seen the layer under the policy of today.
	unchecked bool
	pulled    bool // result comes from a remote cache
	anew      bool // it was not run, because of an *anewError

	unresolved error // a source of it cannot be had
	failed     error // why it failed

	where string // on which cluster it was executed; "": here
	lost  bool   // the layer of its result is nowhere

	presence sync.Mutex // held while the layer is made present
	unpulled error      // why the layer could not be pulled

	travel sync.Mutex // held while the layer is brought to the cluster
}

func (e *Engine) execution(g *Graph, o Options) (*execution, error) {
	if o.Jobs <= 0 {
		o.Jobs = runtime.NumCPU()
	}
	if o.Out == "" {
		o.Out = filepath.Join(e.Workspace.Root, "out")
	}
	x := &execution{Engine: e, Options: o, graph: g, begun: time.Now(), nodes: make([]nodeState, len(g.Nodes)), pulls: make(chan struct{}, maxPulls)}
	x.summary.Count = map[Status]int{}
	durations := e.Store.Durations()
	x.weights = make([]float64, len(g.Nodes))
	for i, n := range g.Nodes {
		x.weights[i] = 10 // seconds, for what was never built
		if seconds, ok := durations[n.Label]; ok {
			x.weights[i] = seconds
		}
		if n.Step == nil {
			x.weights[i] = 0
		}
	}
	if e.Fetcher.Notify == nil {
		e.Fetcher.Notify = x.fetchProgress
	}
	if len(e.Remotes) > 0 {
		e.Fetcher.Pull = e.PullBlob
	}
	x.jobs = jobs.NewBroker(o.Jobs)
	return x, nil
}

// limits bound the schedule.
func (x *execution) limits() limits {
	l := limits{Jobs: x.Jobs, Prepares: 4, KeepGoing: x.KeepGoing, Elsewhere: x.Elsewhere.Jobs, Mixed: x.Elsewhere.Mixed}
	if x.asks {
		l.Asks = maxAsks
	}
	return l
}

func (x *execution) close() {
	x.jobs.Close()
	x.Fetcher.Notify = nil
}

func (x *execution) criticalPath() float64 {
	longest := 0.0
	for _, p := range priorities(x.graph, x.weights) {
		longest = max(longest, p)
	}
	return longest
}

// emit hands out an event.
func (x *execution) emit(ev Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	ev.Time = time.Now()
	if ev.Event == EventFinished {
		x.summary.Count[ev.Status]++
		if ev.Rebuilt {
			x.summary.Count[x.nodes[x.graph.Find(ev.Label).ID].counted]--
		}
		x.summary.CPU += ev.CPU
	}
	if x.Notify != nil {
		x.Notify(ev)
	}
}

func (x *execution) fetchProgress(p source.Progress) {
	if p.Note != "" {
		x.emit(Event{Event: EventWarning, Label: p.ID, Message: p.Note})
		return
	}
	x.emit(Event{Event: EventFetch, Label: p.ID, URL: p.URL, Bytes: p.Done, Total: p.Total})
}
