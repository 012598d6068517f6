package engine

import (
	"errors"
	"fmt"
	"io"
	"os"

	"vfsb/cache"
	"vfsb/engine/artifact"
	"vfsb/engine/source"
)

// Result is the known result of a node as it is declared now.
func (e *Engine) Result(g *Graph, id int32) (cache.Result, error) {
	n := g.Nodes[id]
	if n.Step == nil {
		return cache.Result{}, fmt.Errorf("%s is a group and has no output of its own; name one of its members", n.Label)
	}
	x, err := e.execution(g, Options{DryRun: true})
	if err != nil {
		return cache.Result{}, err
	}
	defer x.close()
	if err := x.lookups(); err != nil {
		return cache.Result{}, err
	}
	if !x.nodes[id].known {
		return cache.Result{}, fmt.Errorf("%s is not built as it is declared now; build it first, or name an earlier run, such as %s~0", n.Label, n.Label)
	}
	return x.nodes[id].result, nil
}

// LayerContents reads a layer of the store to be compared; of an image's layer, the image.
func LayerContents(store *cache.Store, l cache.Layer) (*artifact.Contents, error) {
	if err := store.Pin([]cache.Layer{l}, nil); err != nil {
		return nil, err
	}
	x, err := store.LoadIndex(l)
	if errors.Is(err, cache.ErrNotFound) {
		return nil, fmt.Errorf("%w; it was collected: build it again", err)
	}
	if err != nil {
		return nil, err
	}
	if artifact.IsLayout(x.Entries) {
		return artifact.ImageContents(store.LayerDir(l), source.Decompress)
	}
	return artifact.LayerContents(x, store.LayerDir(l)), nil
}

// FileContents reads a rootfs tarball, or an OCI image as an archive or as a layout's folder, to be compared. An archive
// is unpacked into the folder that tmp makes.
func FileContents(path string, tmp func() (string, error)) (*artifact.Contents, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return artifact.ImageContents(path, source.Decompress)
	}
	open := func() (io.ReadCloser, error) { return artifact.OpenCompressed(path, source.Decompress) }
	c, err := artifact.TarContents(open)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; name the tarball of a root file system, an OCI image or a label", path, err)
	}
	if !artifact.IsLayout(c.Entries) {
		return c, nil
	}
	dir, err := tmp()
	if err != nil {
		return nil, err
	}
	if err := artifact.UnpackLayout(dir, open); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return artifact.ImageContents(dir, source.Decompress)
}
