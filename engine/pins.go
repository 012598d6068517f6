package engine

import (
	"slices"
	"strings"
	"sync"

	"vfsb/cache"
	"vfsb/engine/action"
)

// needs is what a build has found out to need of the store since it pinned something last. Known results cost no write
// each: their layers are pinned together, before the first of them is relied on, and in a build that has nothing to do
// never.
type needs struct {
	mu     sync.Mutex
	layers []cache.Layer
	blobs  []cache.Digest
}

// need notes what is to be pinned.
func (x *execution) need(layers []cache.Layer, blobs []cache.Digest) {
	x.needs.mu.Lock()
	defer x.needs.mu.Unlock()
	x.needs.layers = append(x.needs.layers, layers...)
	x.needs.blobs = append(x.needs.blobs, blobs...)
}

// pin keeps what is needed from being collected while this process runs. What is not there afterwards was collected
// before: then it is fetched or built again.
func (x *execution) pin() error {
	x.needs.mu.Lock()
	defer x.needs.mu.Unlock()
	if len(x.needs.layers)+len(x.needs.blobs) == 0 {
		return nil
	}
	if err := x.Store.Pin(x.needs.layers, x.needs.blobs); err != nil {
		return err
	}
	x.needs.layers, x.needs.blobs = nil, nil
	return nil
}

// fileDigests is the blobs of an action's files.
func fileDigests(a *action.Action) []cache.Digest {
	var list []cache.Digest
	for _, f := range a.Files {
		list = append(list, f.Digest)
	}
	return list
}

// inputs is the blobs that the node's execution reads.
func (x *execution) inputs(id int32) []cache.Digest {
	blobs := slices.Clone(x.nodes[id].files)
	if script := x.graph.Nodes[id].Step.Script; script != nil {
		blobs = append(blobs, cache.DigestOf(script))
	}
	return blobs
}

// noteUse tells the store what this build used.
func (x *execution) noteUse() error {
	var layers []cache.Layer
	var blobs []cache.Digest
	for i := range x.nodes {
		if x.nodes[i].known {
			layers = append(layers, x.nodes[i].result.Layer)
		}
		blobs = append(blobs, x.nodes[i].files...)
	}
	return x.Store.Use(x.useName(), layers, blobs)
}

// useName tells this build from others of the store.
func (x *execution) useName() string {
	name := []string{x.Workspace.Root}
	for _, id := range x.graph.Roots {
		name = append(name, x.graph.Nodes[id].Label)
	}
	if x.graph.seed != nil {
		name = append(name, "from "+x.graph.seed.Label().String())
	}
	return strings.Join(name, "\n")
}
