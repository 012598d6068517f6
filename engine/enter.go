package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"vfsb/engine/load"
	"vfsb/engine/sandbox"
)

// Enter builds what the root id of g needs and returns the sandbox in which its script would
// run. For a rootfs or an image it is the built root file system itself. release
// removes the sandbox's folder.
func (e *Engine) Enter(ctx context.Context, g *Graph, id int32, o Options) (spec sandbox.Spec, release func(), err error) {
	err = anew(ctx, o, func() (err error) {
		spec, release, err = e.enter(ctx, g, id, o)
		return err
	})
	return spec, release, err
}

func (e *Engine) enter(ctx context.Context, g *Graph, id int32, o Options) (spec sandbox.Spec, release func(), err error) {
	n := g.Nodes[id]
	for n.Step == nil || n.Step.Builtin == BuiltinOCI { // a group, or an image: its first content
		if len(n.Contents) == 0 {
			return spec, nil, fmt.Errorf("%s: %s is empty; name a target that runs a script", load.Pos(n.Target.Range), n.Label)
		}
		n = g.Nodes[n.Contents[0]]
	}
	emulator := int32(-1)
	if n.Step.Builtin != "" && n.Platform.Emulator != nil && !e.Exec.Runs(n.Platform.Arch) {
		if g, err = e.withEmulator(n); err != nil {
			return spec, nil, err
		}
		n, emulator = g.Nodes[g.Roots[0]], g.Roots[1]
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
		if emulator >= 0 {
			if err = x.present(ctx, emulator); err == nil {
				spec.Emulator, err = x.emulator(n.Platform, emulator)
			}
		}
		return spec, release, err
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

// withEmulator is the graph of n and the emulator of its platform, its two roots.
func (e *Engine) withEmulator(n *Node) (*Graph, error) {
	config, err := load.NewResolver(e.Workspace, e.Exec).Resolve(n.Platform.Emulator.Label, n.Platform.Name)
	if err != nil {
		return nil, fmt.Errorf("%s: the emulator of platform %q: %w", load.Pos(n.Platform.Range), n.Platform.Name, err)
	}
	g, diags := e.Analyze([]load.Config{n.Config, config})
	if diags.HasErrors() {
		return nil, diags
	}
	return g, nil
}

// emulator is the program of the platform's emulator, in the layer of the node id, which is there.
func (x *execution) emulator(p *load.Platform, id int32) (*sandbox.Emulator, error) {
	program := filepath.Join(x.Store.LayerDir(x.nodes[id].result.Layer), p.Emulator.Program)
	if _, err := os.Lstat(program); err != nil {
		return nil, fmt.Errorf("%s: the emulator of platform %q: %s holds no %s; name the file that its layer has",
			load.Pos(p.Range), p.Name, x.graph.Nodes[id].Label, p.Emulator.Program)
	}
	return &sandbox.Emulator{Arch: p.Arch, Program: program}, nil
}

// buildAll builds the graph, and delivers nothing. An *anewError says to do it once more: see anew.
func (x *execution) buildAll(ctx context.Context) error {
	x.emit(Event{Event: EventStarted, Total: int64(len(x.graph.Nodes))})
	x.asks = len(x.Remotes) > 0
	if err := x.resolveSources(ctx); err != nil {
		return err
	}
	err := schedule(ctx, x.graph, x.weights, x.limits(), x)
	if err == errFailed && x.anew != nil && len(x.failures) == 0 {
		return x.anew
	}
	if err == errFailed {
		err = &BuildError{Failures: x.failures, Skipped: x.skipped}
	}
	return err
}
