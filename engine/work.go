package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"vfsb/cache"
	"vfsb/engine/action"
	"vfsb/engine/load"
	"vfsb/engine/sandbox"
	"vfsb/engine/sandbox/jobs"
)

// A Report is what a worker says of an action beside its outputs and its log, as the last line of its standard error.
type Report struct {
	Unfit string `json:"unfit,omitempty"` // why this worker could not run it; "": it did

	Reason string `json:"reason,omitempty"` // why it failed, as in a NodeError; "": it did not
	Phase  string `json:"phase,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	Code   int    `json:"code,omitempty"`

	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`
	MaxRSS  int64   `json:"max_rss"` // bytes
}

// ParseReport finds the report in what a worker wrote to its standard error.
func ParseReport(stderr []byte) (r Report, ok bool) {
	line := bytes.TrimSpace(stderr)
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	if !bytes.HasPrefix(line, []byte("{")) {
		return r, false
	}
	return r, json.Unmarshal(line, &r) == nil
}

// A Worker runs actions that others have described: see action.Messages.
type Worker struct {
	Store *cache.Store // holds layers that were needed, or made, before
	Jobs  int          // compile jobs at once
}

// Work runs the action whose input root is the folder dir. What the script prints is written to log when it has ended;
// the outputs lie in dir then. Nothing that lies there is believed: each layer and file must be what its digest says.
func (w *Worker) Work(ctx context.Context, dir string, log io.Writer) (report Report) {
	var failed *NodeError
	var output *outputError
	var noProgram *sandbox.ExecError
	var disk unix.Errno
	switch err := w.work(ctx, dir, log, &report); {
	case errors.As(err, &failed) && !failed.full: // else another worker may have room
		report.Reason, report.Phase, report.Remedy, report.Code = failed.Reason, failed.Phase, failed.Remedy, failed.Code
	case errors.As(err, &output) && !errors.As(err, &disk): // another worker would refuse it, too
		report.Reason = fmt.Sprintf("output: %v", output.err)
	case errors.As(err, &noProgram):
		report.Reason = noProgram.Error()
	case err != nil:
		report.Unfit = err.Error()
	}
	return report
}

func (w *Worker) work(ctx context.Context, dir string, log io.Writer, report *Report) error {
	a, err := readAction(dir)
	if err != nil {
		return err
	}
	x, err := w.known(ctx, a, dir)
	if err != nil {
		return err
	}
	x.jobs = jobs.NewBroker(w.Jobs)
	defer x.jobs.Close()
	folder, release, err := w.Store.NewRun("action")
	if err != nil {
		return err
	}
	defer release()
	began := time.Now()
	r := &run{execution: x, node: x.graph.Nodes[0], action: a, key: a.Key(), dir: folder}
	err = r.perform(ctx)
	report.Seconds, report.CPU, report.MaxRSS = time.Since(began).Seconds(), r.cpu, r.maxRSS
	if r.log.Size > 0 {
		err = errors.Join(err, w.Store.ExportBlob(r.log, log))
	}
	if err != nil {
		return err
	}
	layer, err := r.commit()
	if err != nil {
		return err
	}
	index, err := w.Store.LoadIndex(layer)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, cache.IndexFile), index.Marshal(), 0o644); err != nil {
		return err
	}
	tar, err := os.Create(filepath.Join(dir, cache.TarFile))
	if err != nil {
		return err
	}
	if err := errors.Join(w.Store.ExportTar(layer, tar), tar.Close()); err != nil {
		return err
	}
	// No result names these layers here, and the next action is likely to need them.
	used := []cache.Layer{layer}
	for i := range x.nodes[1:] {
		used = append(used, x.nodes[i+1].result.Layer)
	}
	return w.Store.Use("action "+r.key.Hex(), used, fileDigests(a))
}

// readAction reads the action whose input root is dir.
func readAction(dir string) (*action.Action, error) {
	spec, err := os.ReadFile(filepath.Join(dir, "spec"))
	if err != nil {
		return nil, fmt.Errorf("this folder is no action's input root: %w", err)
	}
	script, err := os.ReadFile(filepath.Join(dir, "script"))
	if err != nil {
		return nil, fmt.Errorf("this folder is no action's input root: %w", err)
	}
	a, err := action.Parse(spec, script)
	switch {
	case err != nil:
		return nil, err
	case a.Builtin != "":
		return nil, fmt.Errorf("the step %q is not for workers", a.Builtin)
	case a.Sandbox != sandbox.Contract:
		return nil, fmt.Errorf("the action wants sandbox contract %d, and this vfsb has %d: update the older one", a.Sandbox, sandbox.Contract)
	case a.Exec != runtime.GOARCH:
		return nil, fmt.Errorf("the action wants a machine of architecture %s, and this is %s", a.Exec, runtime.GOARCH)
	}
	return a, nil
}

// known makes the action a graph: the first node is to be run, and each layer is one whose result is known and lies in the
// store.
func (w *Worker) known(ctx context.Context, a *action.Action, dir string) (*execution, error) {
	script := &Node{Label: "//action", Step: &Step{}, Config: load.Config{Target: &load.Target{}, Platform: &load.Platform{}}}
	x := &execution{
		Engine: &Engine{Store: w.Store}, graph: &Graph{Nodes: []*Node{script}, byLabel: map[string]int32{}}, nodes: make([]nodeState, 1),
	}
	if e := a.Emulator; e != nil {
		script.Platform = &load.Platform{Name: e.Arch, Arch: e.Arch, Emulator: &load.Emulator{Program: e.Program}}
	}
	for _, l := range a.Layers() {
		if _, known := x.graph.byLabel[l.Label]; known {
			continue
		}
		id := int32(len(x.nodes))
		x.graph.Nodes = append(x.graph.Nodes, &Node{ID: id, Label: l.Label, Step: &Step{}})
		x.graph.byLabel[l.Label] = id
		x.nodes = append(x.nodes, nodeState{result: cache.Result{Layer: cache.Layer{Tar: l.Tar}}})
	}
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i := range x.nodes[1:] {
		l := &x.nodes[i+1].result.Layer
		group.Go(func() (err error) { *l, err = w.layer(ctx, l.Tar, dir); return err })
	}
	for _, f := range a.Files {
		group.Go(func() error { return w.file(f.Digest, filepath.Join(dir, "files", f.Digest.Hex())) })
	}
	return x, group.Wait()
}

// layer brings a layer into the store, if it is not there. Of several workers that need it one unpacks it.
func (w *Worker) layer(ctx context.Context, tar cache.Digest, dir string) (cache.Layer, error) {
	if err := w.Store.Pin([]cache.Layer{{Tar: tar}}, nil); err != nil {
		return cache.Layer{}, err
	}
	unlock, err := w.Store.Lock(ctx, "layer-"+tar.Hex())
	if err != nil {
		return cache.Layer{}, err
	}
	defer unlock()
	if l, err := w.Store.FindLayer(tar.Hex()); err == nil {
		l.Tar = tar
		return l, nil
	}
	f, err := os.Open(filepath.Join(dir, "layers", tar.Hex()+".tar"))
	if err != nil {
		return cache.Layer{}, fmt.Errorf("the input root lacks a layer: %w", err)
	}
	defer f.Close()
	l, err := w.Store.ImportTarLimited(f, cache.ImportLimits{Bytes: tar.Size})
	if err == nil && l.Tar != tar {
		err = fmt.Errorf("the input root's layer %s: %w", tar.Hex(), cache.ErrWrong)
	}
	return l, err
}

// file brings a file into the store.
func (w *Worker) file(d cache.Digest, path string) error {
	if err := w.Store.Pin(nil, []cache.Digest{d}); err != nil || w.Store.HasBlob(d) {
		return err
	}
	got, err := w.Store.PutFile(path)
	if err == nil && got != d {
		err = fmt.Errorf("the input root's file %s: %w", d.Hex(), cache.ErrWrong)
	}
	return err
}
