package engine

import (
	"vfsb/cache"
	"vfsb/engine/load"
)

// Current lists what the workspace, as it is declared now, has in the store: the layers of all its nodes for all
// platforms whose results are known, and its sources and patches. It fetches nothing.
func (e *Engine) Current() (results, sources cache.Keep, err error) {
	results.Reason, sources.Reason = "results of this workspace as it is now", "sources of this workspace"
	e.Fetcher.Offline = true
	sources.Blobs = e.Fetcher.Lock.Digests()
	resolver := load.NewResolver(e.Workspace, e.Exec)
	var roots []load.Config
	for platform := range e.Workspace.Platforms {
		for name := range e.Workspace.Packages {
			// What cannot be resolved for the platform cannot be built for it, so it has no result.
			configs, _ := resolver.Expand(load.Pattern{Label: load.Label{Package: name}, Recursive: true, Platforms: []string{platform}})
			roots = append(roots, configs...)
		}
	}
	g, diags := e.Analyze(roots)
	if diags.HasErrors() {
		return results, sources, diags
	}
	x, err := e.execution(g, Options{DryRun: true})
	if err != nil {
		return results, sources, err
	}
	defer x.close()
	for _, id := range g.order() {
		if _, err := x.Lookup(id); err != nil { // a source that is not locked yet: the node was never built as it is
			x.nodes[id].planned = true
		}
		st, n := &x.nodes[id], g.Nodes[id]
		if st.known {
			results.Layers = append(results.Layers, st.result.Layer)
		}
		sources.Blobs = append(sources.Blobs, st.files...)
		if n.Step != nil && n.Step.Builtin == BuiltinImage {
			sources.Blobs = append(sources.Blobs, e.Fetcher.StoredImage(x.imageSeed(n))...)
		}
	}
	return results, sources, nil
}
