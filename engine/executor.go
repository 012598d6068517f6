package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"vfsb/cache"
	"vfsb/engine/action"
	"vfsb/engine/sandbox"
)

// An Executor runs actions on other machines, which take their inputs from the executor's cache and leave the outputs
// there. *remote.Executor is one.
type Executor interface {
	Remote
	Name() string
	// Missing returns those of the digests that the cache does not have.
	Missing(ctx context.Context, list []cache.Digest) ([]cache.Digest, error)
	// Upload brings what the cache does not have into it: layers and blobs of the store, and texts.
	Upload(ctx context.Context, layers []cache.Layer, blobs []cache.Digest, texts [][]byte) error
	// Execute has the action executed whose message the cache holds, and waits for its end; fresh: even if it was before.
	// It tells stage how far that is. The error wraps cache.ErrInputs where the cache has lost something that the action needs,
	// cache.ErrWorker where another attempt may find a better worker, and cache.ErrDeadline where the server would not wait longer.
	Execute(ctx context.Context, action cache.Digest, fresh bool, stage func(string)) (cache.Outcome, error)
}

// Elsewhere says what runs on other machines than this one.
type Elsewhere struct {
	Executor Executor // nil: nothing does
	Jobs     int      // nodes at once
	Mixed    bool     // what finds no place there runs here, if there is one
	Distrust bool     // results from before this build are not taken from there
}

// keeps reports whether r is the executor's own cache, which has what was executed there.
func (e *Elsewhere) keeps(r Remote) bool {
	named, ok := r.(interface{ Name() string })
	return ok && e.Executor != nil && named.Name() == e.Executor.Name()
}

// attempts is how often an action is tried on other machines before the build gives up.
const attempts = 3

// workerPause is for how long the next attempt waits when a worker has failed, twice as long before the last one. Tests
// shorten it.
var workerPause = 2 * time.Second

// Portable reports whether the node can run elsewhere: what vfsb does itself is done here, and so are checks.
func (x *execution) Portable(id int32) bool {
	return x.portable(id) && !x.nodes[id].unchecked
}

// portable reports whether the node's action can run elsewhere.
func (x *execution) portable(id int32) bool {
	n := x.graph.Nodes[id]
	return x.Elsewhere.Executor != nil && n.Step != nil && n.Step.Builtin == ""
}

// RunElsewhere executes the node on another machine, unless another process did so meanwhile.
func (x *execution) RunElsewhere(ctx context.Context, id int32) error {
	err := x.run(ctx, id, x.executeElsewhere)
	if err == nil {
		x.pullAll(ctx, id)
	}
	return err
}

// executeElsewhere has the node's action executed on another machine and records the result, as execute does.
func (x *execution) executeElsewhere(ctx context.Context, id int32) (cache.Result, error) {
	n, st := x.graph.Nodes[id], &x.nodes[id]
	a, err := x.action(id)
	if err != nil {
		return cache.Result{}, err
	}
	st.where = x.Elsewhere.Executor.Name()
	x.emit(Event{Event: EventRunning, Label: n.Label, Where: st.where})
	defer x.emit(Event{Event: EventStopped, Label: n.Label})
	began := time.Now()
	out, report, err := x.delegate(ctx, id, a)
	record := cache.Record{
		Label: n.Label, Key: st.key, Fields: a.Fields(true), Status: string(Executed),
		Seconds: report.Seconds, CPU: report.CPU, Log: out.Log, Time: began, Layer: out.Layer,
	}
	if err == nil && report.Reason != "" {
		err = x.failedElsewhere(ctx, report, out.Log)
	}
	if err != nil {
		record.Status = string(Failed)
		if failed := (*NodeError)(nil); errors.As(err, &failed) && ctx.Err() == nil {
			err = errors.Join(err, x.Store.AddRecord(record))
		}
		return cache.Result{}, err
	}
	result := cache.Result{
		Layer: out.Layer, Log: out.Log, Seconds: report.Seconds, CPU: report.CPU, MaxRSS: report.MaxRSS, Label: n.Label, Time: began,
	}
	if err := x.Store.PutResult(st.key, result); err != nil {
		return cache.Result{}, err
	}
	return result, errors.Join(x.Store.DropFailed(n.Label), x.Store.AddRecord(record))
}

// delegate brings the action's inputs to the executor and has it executed. What a worker is to blame for is tried again.
func (x *execution) delegate(ctx context.Context, id int32, a *action.Action) (out cache.Outcome, report Report, err error) {
	n, st, e := x.graph.Nodes[id], &x.nodes[id], x.Elsewhere.Executor
	m := a.MessagesFor(n.Profile.Exec, x.timeout(n))
	texts := append(m.Directories, m.Action, m.Command, m.Spec, m.Script)
	phase := func(name string) { x.emit(Event{Event: EventPhase, Label: n.Label, Phase: name}) }
	for attempt := 1; ; attempt++ {
		phase("upload")
		if err = x.upload(ctx, id, a, texts); err != nil {
			return out, report, err
		}
		fresh := x.Elsewhere.Distrust || st.lost || x.Force && slices.Contains(x.graph.Roots, id) || attempt > 1
		out, err = e.Execute(ctx, cache.DigestOf(m.Action), fresh, phase)
		if err == nil {
			if report, err = reportOf(out); err == nil {
				return out, report, nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return out, report, context.Cause(ctx)
		case errors.Is(err, cache.ErrDeadline):
			return out, report, &NodeError{
				Reason: "timed out", Code: 128 + 9,
				Remedy: fmt.Sprintf("%v; --timeout, or timeout in the recipe, asks %s for more", err, e.Name()),
			}
		case attempt < attempts && (errors.Is(err, cache.ErrWorker) || errors.Is(err, cache.ErrInputs)):
			x.emit(Event{Event: EventWarning, Label: n.Label, Message: fmt.Sprintf("%s: %v; trying again", e.Name(), err)})
			if errors.Is(err, cache.ErrWorker) {
				select {
				case <-ctx.Done():
					return out, report, context.Cause(ctx)
				case <-time.After(workerPause << (attempt - 1)):
				}
			}
		case errors.Is(err, cache.ErrWorker):
			return out, report, &sandbox.Unfit{Step: "run on a worker of " + e.Name(), Err: err, Remedy: "look at the worker with `vfsb doctor`"}
		default:
			return out, report, fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
}

// reportOf is what the worker says of an action that it ran, or why nothing came of it that counts.
func reportOf(out cache.Outcome) (Report, error) {
	report, ok := ParseReport(out.Stderr)
	done := out.Code == 0 && out.Layer.Tar.Size > 0
	switch {
	case ok && report.Unfit != "":
		return report, fmt.Errorf("%w: %s", cache.ErrWorker, report.Unfit)
	case ok && (report.Reason != "" || done):
		return report, nil
	case done: // executed before, and what the worker said was not kept
		return Report{Seconds: out.Seconds, CPU: out.CPU}, nil
	}
	return report, fmt.Errorf("%w: `vfsb run-action` ended there with exit code %d and no report%s", cache.ErrWorker, out.Code, lastLine(out.Stderr))
}

// lastLine is what a message says of an output: its last line, in parentheses, or nothing.
func lastLine(text []byte) string {
	s := strings.TrimSpace(string(text))
	s = s[strings.LastIndexByte(s, '\n')+1:]
	if s == "" {
		return ""
	}
	return fmt.Sprintf(" (%.200s)", s)
}

// upload brings to the executor what the action needs and the executor lacks; what this store lacks, too, is fetched, pulled
// or built first.
func (x *execution) upload(ctx context.Context, id int32, a *action.Action, texts [][]byte) error {
	n, e := x.graph.Nodes[id], x.Elsewhere.Executor
	x.need(nil, x.inputs(id))
	if err := x.pin(); err != nil {
		return err
	}
	layers := map[cache.Digest]int32{}
	var all []cache.Digest
	for _, l := range a.Layers() {
		layers[l.Tar] = x.graph.Find(l.Label).ID
		all = append(all, l.Tar)
	}
	files := fileDigests(a)
	missing, err := e.Missing(ctx, append(all, files...))
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name(), err)
	}
	fetched := false
	for _, d := range missing {
		input, isLayer := layers[d]
		switch {
		case isLayer:
			if err := x.bringLayer(ctx, input); err != nil {
				return err
			}
		case !fetched && !x.Store.HasBlob(d):
			fetched = true
			if err := x.fetch(ctx, n); err != nil {
				return &SourceError{err}
			}
		}
	}
	// A worker does not know whose a layer is, nor what may replace what.
	for _, input := range layers {
		if err := x.knowIndex(ctx, input); err != nil {
			return err
		}
	}
	if err := x.agree(n, a); err != nil {
		return err
	}
	if err := e.Upload(ctx, nil, files, texts); err != nil {
		return fmt.Errorf("%s: %w", e.Name(), err)
	}
	return nil
}

// bringLayer brings the node's layer to the executor. Of the nodes that need it one does, and the others wait: a seed has
// hundreds of megabytes.
func (x *execution) bringLayer(ctx context.Context, id int32) error {
	st, e := &x.nodes[id], x.Elsewhere.Executor
	st.travel.Lock()
	defer st.travel.Unlock()
	missing, err := e.Missing(ctx, []cache.Digest{st.result.Layer.Tar})
	if err == nil && len(missing) == 0 {
		return nil
	}
	if err == nil {
		if err := x.present(ctx, id); err != nil {
			return err
		}
		err = e.Upload(ctx, []cache.Layer{st.result.Layer}, nil, nil)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name(), err)
	}
	return nil
}

// knowIndex makes sure that the store has the index of the node's layer, if not the layer.
func (x *execution) knowIndex(ctx context.Context, id int32) error {
	l := x.nodes[id].result.Layer
	if _, err := x.Store.LoadIndex(l); err == nil || !errors.Is(err, cache.ErrNotFound) {
		return err
	}
	if x.PullBlob(ctx, l.Index) {
		return nil
	}
	return x.present(ctx, id)
}

// failedElsewhere is the failure of a node's action on another machine.
func (x *execution) failedElsewhere(ctx context.Context, r Report, log cache.Digest) error {
	e := &NodeError{Reason: r.Reason, Phase: r.Phase, Remedy: r.Remedy, Code: r.Code, Seconds: r.Seconds}
	if log.Size == 0 || !x.Store.HasBlob(log) && !x.PullBlob(ctx, log) {
		return e
	}
	e.Log = x.Store.BlobPath(log)
	f, err := os.Open(e.Log)
	if err != nil {
		return errors.Join(e, err)
	}
	defer f.Close()
	lines := bufio.NewReaderSize(f, maxLine) // what is longer is shown in pieces, as here
	for {
		text, err := lines.ReadSlice('\n')
		if len(text) > 0 {
			e.Tail = append(e.Tail, strings.TrimRight(string(text), "\n"))
		}
		if len(e.Tail) > tailLines {
			e.Tail = e.Tail[1:]
		}
		switch err {
		case nil, bufio.ErrBufferFull:
		case io.EOF:
			return e
		default:
			return errors.Join(e, err)
		}
	}
}
