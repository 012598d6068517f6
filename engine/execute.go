package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"vfsb/cache"
	"vfsb/engine/action"
	"vfsb/engine/artifact"
	"vfsb/engine/load"
	"vfsb/engine/sandbox"
	"vfsb/engine/source"
)

// Lookup computes the node's key from the results of its inputs and looks it up.
func (x *execution) Lookup(id int32) (bool, error) {
	n, st := x.graph.Nodes[id], &x.nodes[id]
	if n == x.entered {
		return true, nil
	}
	if n.Step == nil {
		x.emit(Event{Event: EventFinished, Label: n.Label, Status: Grouped})
		return true, nil
	}
	if st.unresolved != nil {
		return false, st.unresolved
	}
	if x.DryRun {
		for _, in := range n.Inputs {
			if x.nodes[in].planned {
				return true, x.plan(id)
			}
		}
	}
	a, err := x.action(id)
	if err != nil {
		return false, err
	}
	st.key = a.Key()
	st.files = fileDigests(a)
	if x.before != nil && x.before[id].failed != nil && x.before[id].key == st.key { // it would again
		return false, x.before[id].failed
	}
	if x.Force && slices.Contains(x.graph.Roots, id) {
		return false, nil
	}
	if result, ok := x.Store.Result(st.key); ok {
		st.result = result
		if st.unchecked = !x.DryRun && !x.checked(id); st.unchecked {
			return false, nil
		}
		x.known(id, result, Cached)
		return true, nil
	}
	if x.DryRun && !x.asks {
		return true, x.plan(id)
	}
	return false, nil
}

func (x *execution) plan(id int32) error {
	x.nodes[id].planned = true
	ev := Event{Event: EventFinished, Label: x.graph.Nodes[id].Label, Status: Planned}
	if st := &x.nodes[id]; st.key.Size > 0 { // unknown where an input is only planned, too
		ev.Key = st.key.String()
	}
	x.emit(ev)
	return nil
}

func (x *execution) known(id int32, r cache.Result, status Status) {
	st := &x.nodes[id]
	st.result, st.known, st.counted = r, true, status
	x.need([]cache.Layer{r.Layer}, nil)
	ev := Event{Event: EventFinished, Label: x.graph.Nodes[id].Label, Status: status, Key: st.key.String(), Layer: r.Layer.Tar.String()}
	if status == Executed {
		ev.Seconds, ev.CPU, ev.Where = r.Seconds, r.CPU, st.where
	}
	x.emit(ev)
}

// Prepare brings in what Run needs: for a check of a known result that is nothing.
func (x *execution) Prepare(ctx context.Context, id int32) error {
	if x.nodes[id].unchecked {
		return nil
	}
	return x.prepare(ctx, id)
}

// prepare fetches the node's sources and makes the layers of its inputs present.
func (x *execution) prepare(ctx context.Context, id int32) error {
	x.need(nil, x.inputs(id))
	if err := x.pin(); err != nil {
		return err
	}
	if err := x.fetch(ctx, x.graph.Nodes[id]); err != nil {
		return &SourceError{err}
	}
	x.pull(ctx, x.graph.Nodes[id].Inputs)
	for _, in := range x.graph.Nodes[id].Inputs {
		if err := x.present(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

// present makes sure that the node's layer lies in the store: a result may be known
// while its layer is gone. Then it is pulled from a remote cache, or its action runs again.
func (x *execution) present(ctx context.Context, id int32) error {
	n, st := x.graph.Nodes[id], &x.nodes[id]
	if n.Step == nil {
		return nil
	}
	if err := x.pin(); err != nil {
		return err
	}
	st.presence.Lock()
	defer st.presence.Unlock()
	if x.Store.HasLayer(st.result.Layer) || x.pullLayer(ctx, id) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if cache.NoRoom(st.unpulled) { // nor would there be for what is built
		return fmt.Errorf("pull the layer of %s: %w", n.Label, st.unpulled)
	}
	if x.fixed {
		return fmt.Errorf("the layer of %s %w", n.Label, errLost)
	}
	before := st.result.Layer
	message := "its layer is gone from the store and is built again"
	if st.unpulled != nil {
		message = "its layer cannot be pulled and is built again: " + st.unpulled.Error()
	}
	x.emit(Event{Event: EventWarning, Label: n.Label, Message: message})
	execute := x.executeElsewhere
	st.lost = true
	if !x.portable(id) {
		execute = x.execute
		if err := x.prepare(ctx, id); err != nil {
			return err
		}
	}
	result, err := execute(ctx, id)
	if err != nil {
		return err
	}
	st.unpulled = nil
	if !x.bring(ctx, id, result.Layer) { // nor would it be had another time
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("the layer of %s cannot be had: %w", n.Label, st.unpulled)
	}
	if result.Layer != before {
		return &anewError{n.Label, before.Tar, result.Layer.Tar}
	}
	x.push(id)
	x.emit(Event{Event: EventFinished, Label: n.Label, Status: Executed, Rebuilt: true, Key: st.key.String(), Layer: before.Tar.String(),
		Seconds: result.Seconds, CPU: result.CPU})
	return nil
}

// errLost is what happens to a layer that nothing may be built in the place of.
var errLost = errors.New("is gone from the store; build it first")

// An anewError says that a node's lost layer came out as another. What needs it has another key now: Build begins anew.
type anewError struct {
	label       string
	before, now cache.Digest
}

func (e *anewError) Error() string {
	return fmt.Sprintf("%s is not reproducible: its lost layer %s came out as %s; what needs it is looked at anew",
		e.label, e.before.Hex()[:12], e.now.Hex()[:12])
}

// Run executes the node, unless another process did so meanwhile, and has the guard check what came out.
func (x *execution) Run(ctx context.Context, id int32) error { return x.run(ctx, id, x.execute) }

func (x *execution) run(ctx context.Context, id int32, execute func(context.Context, int32) (cache.Result, error)) error {
	st := &x.nodes[id]
	unlock, err := x.Store.TryLock(st.key.Hex())
	if err != nil {
		return err
	}
	if unlock == nil {
		return errBusy
	}
	defer unlock()
	status := st.status()
	result, ok := x.Store.Result(st.key)
	if !ok || x.Force && !st.unchecked {
		status = Executed
		if result, err = execute(ctx, id); err != nil {
			return err
		}
	}
	st.result, st.counted = result, status
	if err := x.check(ctx, id); err != nil {
		return err
	}
	if status == Executed {
		x.push(id)
	}
	x.known(id, result, status)
	return nil
}

// Await waits until no other process executes the node.
func (x *execution) Await(ctx context.Context, id int32) error {
	unlock, err := x.Store.Lock(ctx, x.nodes[id].key.Hex())
	if err == nil {
		unlock()
	}
	return err
}

// Fail records why a node failed.
func (x *execution) Fail(id int32, err error) {
	n := x.graph.Nodes[id]
	if anew := (*anewError)(nil); errors.As(err, &anew) {
		x.anew, x.nodes[id].anew = err, true
		return
	}
	x.nodes[id].failed = err
	x.mu.Lock()
	x.failures = append(x.failures, Failure{n.Label, err})
	x.mu.Unlock()
	ev := Event{Event: EventFinished, Label: n.Label, Status: Failed, Message: err.Error()}
	if st := &x.nodes[id]; st.key.Size > 0 {
		ev.Key = st.key.String()
	}
	var failed *NodeError
	if errors.As(err, &failed) {
		ev.Phase, ev.Log, ev.Tail, ev.Code, ev.Seconds, ev.Kept = failed.Phase, failed.Log, failed.Tail, failed.Code, failed.Seconds, failed.Kept
	}
	x.emit(ev)
}

// Skip records that a node was not run.
func (x *execution) Skip(id, cause int32) {
	if x.nodes[cause].anew {
		return
	}
	label, why := x.graph.Nodes[id].Label, "needs "+x.graph.Nodes[cause].Label
	x.mu.Lock()
	x.skipped = append(x.skipped, Failure{label, errors.New(why)})
	x.mu.Unlock()
	x.emit(Event{Event: EventFinished, Label: label, Status: Skipped, Message: why})
}

// A NodeError is the failure of a node's own action, or of its output before the guard.
type NodeError struct {
	Reason  string // "exit status 2", "timed out after 1h0m0s", …
	Phase   string
	Remedy  string // what else is known, and what to do; or ""
	Log     string // path
	Tail    []string
	Code    int
	Seconds float64
	Kept    bool // its folder is kept for `vfsb shell --failed`

	full bool // the machine's disk was
}

func (e *NodeError) Error() string {
	s := e.Reason
	if e.Phase != "" {
		s += " in phase " + e.Phase
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// sandboxEnv is the environment of every script, below what stage and target set.
var sandboxEnv = map[string]string{
	"PATH": "/cross/bin:/usr/bin:/usr/sbin", "HOME": "/build", "LC_ALL": "C", "TZ": "UTC", "TERM": "dumb", "SHELL": "/bin/bash",
	"SOURCE_DATE_EPOCH": fmt.Sprint(cache.Epoch), "OUT": "/out", "SYSROOT": "/sysroot", "PYTHONDONTWRITEBYTECODE": "1",
	"TAR_OPTIONS": "--no-same-owner", "MAKEINFO": "true", "FORCE_UNSAFE_CONFIGURE": "1",
}

// action is the node's action, its inputs named by what they are in this build.
func (x *execution) action(id int32) (*action.Action, error) {
	n := x.graph.Nodes[id]
	s := n.Step
	a := &action.Action{
		Rule: s.Rule, Builtin: s.Builtin, Exec: x.Exec.Arch, Linux32: s.Linux32, Script: s.Script,
		Drop: s.Drop, Attrs: s.Attrs, Settings: s.Settings,
	}
	if s.Builtin == "" {
		a.Sandbox = sandbox.Contract
		a.Env = scriptEnv(s)
	}
	for _, m := range []struct {
		at  string
		ids []int32
	}{{"/", slices.Concat(n.Root, n.Contents)}, {"/sysroot", n.Sysroot}} {
		if len(m.ids) == 0 {
			continue
		}
		a.Mounts = append(a.Mounts, x.mount(m.at, m.ids))
	}
	for _, id := range n.Emulator {
		from := x.graph.Nodes[id]
		a.Emulator = &action.Emulator{
			Layer: action.Layer{Tar: x.nodes[id].result.Layer.Tar, Label: from.Label}, Arch: n.Platform.Arch, Program: n.Platform.Emulator.Program,
		}
	}
	if s.Seed != nil {
		debs, err := x.seedFiles(n)
		if err != nil {
			return nil, err
		}
		a.Files = debs
	}
	files, err := x.scriptFiles(n)
	if err != nil {
		return nil, err
	}
	a.Files = append(a.Files, files...)
	return a, nil
}

// scriptEnv is the whole environment of a step's script.
func scriptEnv(s *Step) map[string]string {
	env := maps.Clone(sandboxEnv)
	maps.Copy(env, s.Env)
	return env
}

// scriptFiles is the node's sources and patches.
func (x *execution) scriptFiles(n *Node) (list []action.File, err error) {
	for _, src := range n.Step.Sources {
		_, d, err := x.Fetcher.Resolve(context.Background(), sourceSpec(n, src))
		if err != nil {
			return nil, err
		}
		list = append(list, action.File{At: "/build/sources/" + SourceFilename(src), Digest: d})
	}
	for _, p := range n.Step.Patches {
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", load.Pos(n.Target.Range), err)
		}
		d, err := x.Store.PutBytes(text)
		if err != nil {
			return nil, err
		}
		list = append(list, action.File{At: "/build/patches/" + filepath.Base(p), Digest: d})
	}
	return list, nil
}

// mount is the layers of the nodes, each once. Where a node declares that it
// replaces files of others, the order is fixed: it lies above them.
func (x *execution) mount(at string, ids []int32) action.Mount {
	m := action.Mount{At: at}
	seen := map[cache.Digest]bool{}
	var above, below []action.Layer
	for _, id := range ids {
		n := x.graph.Nodes[id]
		tar := x.nodes[id].result.Layer.Tar
		if seen[tar] {
			continue
		}
		seen[tar] = true
		l := action.Layer{Tar: tar, Label: n.Label}
		if len(n.Step.Replaces) > 0 {
			above = append(above, l)
		} else {
			below = append(below, l)
		}
	}
	slices.SortStableFunc(below, func(a, b action.Layer) int { return strings.Compare(a.Tar.Hex(), b.Tar.Hex()) })
	m.Layers = append(above, below...)
	m.Ordered = len(above) > 0
	return m
}

func sourceSpec(n *Node, s *load.Source) source.Spec {
	spec := source.Spec{
		ID: n.Target.Package.Name + "/" + s.Name, Pos: load.Pos(s.Range), URLs: s.URLs, SHA256: s.SHA256, Filename: SourceFilename(s),
	}
	if s.Debian != nil {
		spec.Debian = &source.Debian{Suite: s.Debian.Suite, Source: s.Debian.Source, File: s.Debian.File, SHA256: s.Debian.SHA256}
	}
	if s.Git != nil {
		spec.Git = &source.Git{URL: s.Git.URL, Commit: s.Git.Commit, Submodules: s.Git.Submodules}
	}
	if s.File != "" {
		spec.File = filepath.Join(n.Target.Package.Dir, s.File)
	}
	return spec
}

// resolveSources decides, before anything runs, which file each source is. What the
// lock file records costs nothing; what it lacks is added to it. With KeepGoing a source
// that cannot be had is the failure of its node.
func (x *execution) resolveSources(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(4)
	resolve := func(n *Node, decide func() error) {
		group.Go(func() error {
			err := decide()
			if err == nil || !x.KeepGoing {
				return err
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			st := &x.nodes[n.ID]
			st.unresolved = &SourceError{errors.Join(st.unresolved, err)}
			return nil
		})
	}
	for _, n := range x.graph.Nodes {
		if n.Step == nil {
			continue
		}
		if n.Step.Seed != nil {
			resolve(n, func() error { return x.resolveSeed(ctx, n) })
		}
		for _, s := range n.Step.Sources {
			resolve(n, func() error {
				_, _, err := x.Fetcher.Resolve(ctx, sourceSpec(n, s))
				return err
			})
		}
	}
	err := group.Wait()
	if err != nil {
		err = &SourceError{err}
	}
	for _, what := range x.Fetcher.Lock.Changed() {
		x.emit(Event{Event: EventWarning, Message: "lock file: " + what})
	}
	return errors.Join(err, x.Fetcher.Lock.Save())
}

// fetch brings the node's sources into the store.
func (x *execution) fetch(ctx context.Context, n *Node) error {
	if n.Step == nil {
		return nil
	}
	if n.Step.Seed != nil {
		return x.fetchSeed(ctx, n)
	}
	for _, s := range n.Step.Sources {
		spec := sourceSpec(n, s)
		entry, _, err := x.Fetcher.Resolve(ctx, spec)
		if err != nil {
			return err
		}
		if err := x.Fetcher.Fetch(ctx, spec, entry); err != nil {
			return err
		}
	}
	return nil
}

// execute runs the node's action in a new run folder, and puts the output into the
// store and the result into the action cache.
func (x *execution) execute(ctx context.Context, id int32) (cache.Result, error) {
	r, release, err := x.start(id)
	if err != nil {
		return cache.Result{}, err
	}
	defer release()
	n, began := r.node, time.Now()
	runErr := r.do(ctx)
	record := cache.Record{
		Label: n.Label, Key: r.key, Fields: r.action.Fields(true), Status: string(Executed),
		Seconds: time.Since(began).Seconds(), CPU: r.cpu, Log: r.log, Time: began,
	}
	if runErr != nil {
		record.Status = string(Failed)
		if ctx.Err() == nil {
			runErr = errors.Join(r.keep(runErr), x.Store.AddRecord(record))
		}
		return cache.Result{}, runErr
	}
	layer, err := r.commit()
	if err != nil {
		return cache.Result{}, err
	}
	record.Layer = layer
	result := cache.Result{Layer: layer, Log: r.log, Seconds: record.Seconds, CPU: r.cpu, MaxRSS: r.maxRSS, Label: n.Label, Time: began}
	if err := x.Store.PutResult(r.key, result); err != nil {
		return cache.Result{}, err
	}
	// What is kept of an earlier failure has served its purpose.
	return result, errors.Join(x.Store.DropFailed(n.Label), x.Store.AddRecord(record))
}

// start makes the folder for a run of the node's action. release removes it.
func (x *execution) start(id int32) (r *run, release func(), err error) {
	n := x.graph.Nodes[id]
	a, err := x.action(id)
	if err != nil {
		return nil, nil, err
	}
	dir, remove, err := x.Store.NewRun(n.Label)
	if err != nil {
		return nil, nil, err
	}
	x.emit(Event{Event: EventRunning, Label: n.Label})
	return &run{execution: x, node: n, action: a, key: x.nodes[id].key, dir: dir}, func() {
		x.emit(Event{Event: EventStopped, Label: n.Label})
		remove()
	}, nil
}

// agree checks that the layers of each of the action's mounts agree.
func (x *execution) agree(n *Node, a *action.Action) error {
	for _, m := range a.Mounts {
		if _, err := x.merge(n, m); err != nil {
			return err
		}
	}
	return nil
}

// merge checks that the layers of a mount agree, and returns them as one tree.
func (x *execution) merge(n *Node, m action.Mount) (*artifact.Tree, error) {
	var parts []artifact.Part
	replaces := map[string][]artifact.Replace{}
	for _, l := range m.Layers {
		other := x.graph.Find(l.Label)
		layer := x.nodes[other.ID].result.Layer
		index, err := x.Store.LoadIndex(layer)
		if err != nil {
			return nil, err
		}
		parts = append(parts, artifact.Part{Label: l.Label, Index: index, Dir: x.Store.LayerDir(layer)})
		for _, r := range other.Step.Replaces {
			replaces[l.Label] = append(replaces[l.Label], artifact.Replace{Path: r.Path, Reason: r.Reason})
		}
	}
	if !m.Ordered { // so that an error reads the same each time
		slices.SortFunc(parts, func(a, b artifact.Part) int { return strings.Compare(a.Label, b.Label) })
	}
	tree, err := artifact.Merge(parts, replaces)
	if err != nil {
		return nil, fmt.Errorf("%s: the layers of %s at %s: %w", load.Pos(n.Target.Range), n.Label, m.At, err)
	}
	return tree, nil
}
