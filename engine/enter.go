package engine

import (
	"context"
	"fmt"

	"vfsb/engine/load"
	"vfsb/engine/sandbox"
)

// Enter builds what the root id of g needs and returns the sandbox in which its script would
// run. For a rootfs or an image it is the built root file system itself. release
// removes the sandbox's folder.
func (e *Engine) Enter(ctx context.Context, g *Graph, id int32, o Options) (spec sandbox.Spec, release func(), err error) {
	n := g.Nodes[id]
	for n.Step == nil || n.Step.Builtin == BuiltinOCI { // a group, or an image: its first content
		if len(n.Contents) == 0 {
			return spec, nil, fmt.Errorf("%s: %s is empty; name a target that runs a script", load.Pos(n.Target.Range), n.Label)
		}
		n = g.Nodes[n.Contents[0]]
	}
	x, err := e.execution(g, o)
	if err != nil {
		return spec, nil, err
	}
	defer x.close()
	if n.Step.Builtin == "" {
		x.entered = n
	}
	if err := x.buildAll(ctx); err != nil {
		return spec, nil, err
	}
	dir, release, err := e.Store.NewRun(n.Label)
	if err != nil {
		return spec, nil, err
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	if n.Step.Builtin != "" {
		if err := x.present(ctx, n.ID); err != nil {
			return spec, release, err
		}
		spec = sandbox.Spec{Dir: dir, Cwd: "/", Root: []string{e.Store.LayerDir(x.nodes[n.ID].result.Layer)}}
		spec.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/root"}
		return spec, release, nil
	}
	a, err := x.action(n.ID)
	if err != nil {
		return spec, release, err
	}
	x.nodes[n.ID].files = fileDigests(a)
	if err := x.Prepare(ctx, n.ID); err != nil {
		return spec, release, err
	}
	r := &run{execution: x, node: n, action: a, dir: dir}
	spec, err = r.sandboxSpec()
	spec.Timeout = 0
	return spec, release, err
}

// buildAll builds the graph, and delivers nothing.
func (x *execution) buildAll(ctx context.Context) error {
	x.emit(Event{Event: EventStarted, Total: int64(len(x.graph.Nodes)), Remain: x.criticalPath()})
	if err := x.resolveSources(ctx); err != nil {
		return err
	}
	err := schedule(ctx, x.graph, x.weights, limits{Jobs: x.Jobs, Prepares: 4}, x)
	if err == errFailed {
		err = &BuildError{Failures: x.failures, Skipped: x.skipped}
	}
	return err
}
