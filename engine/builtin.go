package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"vfsb/cache"
	"vfsb/engine/action"
	"vfsb/engine/artifact"
	"vfsb/engine/load"
	"vfsb/engine/source"
)

// Steps that vfsb does itself.
const (
	BuiltinDebs   = "unpack-debs"  // the files are .deb packages
	BuiltinImage  = "unpack-image" // the one file is an OCI archive or a rootfs tarball
	BuiltinRootfs = "rootfs"       // the layers, filtered
	BuiltinOCI    = "oci"          // the layers as an OCI layout
)

// Names of settings.
const (
	SettingExclude     = "exclude"     // rootfs: a glob; may be repeated
	SettingAlternative = "alternative" // unpack-debs: "link target"; may be repeated
	SettingDrop        = "drop"        // seeds: a glob; may be repeated
	SettingImage       = "image"       // oci: the configuration, as JSON
)

func (r *run) builtin(ctx context.Context) error {
	out := filepath.Join(r.dir, "out")
	switch r.action.Builtin {
	case BuiltinDebs, BuiltinImage:
		return r.unpackSeed(ctx, out)
	case BuiltinRootfs:
		tree, err := r.rootfs()
		if err != nil {
			return err
		}
		r.tree = tree
		return tree.WriteTo(out)
	case BuiltinOCI:
		tree, err := r.merge(r.node, r.action.Mounts[0])
		if err != nil {
			return err
		}
		var config artifact.ImageConfig
		if err := json.Unmarshal([]byte(settings(r.action.Settings, SettingImage)[0]), &config); err != nil {
			return err
		}
		return artifact.WriteOCILayout(out, tree.Index(), tree.Open, config)
	}
	panic("BUG: builtin " + r.action.Builtin)
}

func settings(list []cache.Field, name string) []string {
	var values []string
	for _, f := range list {
		if f.Name == name {
			values = append(values, f.Value)
		}
	}
	return values
}

// rootfs is the contents as one tree, without what is excluded, with declared owners and modes.
func (r *run) rootfs() (*artifact.Tree, error) {
	if len(r.action.Mounts) == 0 {
		return nil, fmt.Errorf("%s: %s has no contents; list packages in contents", load.Pos(r.node.Target.Range), r.node.Label)
	}
	tree, err := r.merge(r.node, r.action.Mounts[0])
	if err != nil {
		return nil, err
	}
	if tree, err = tree.Filter(settings(r.action.Settings, SettingExclude), nil); err != nil {
		return nil, err
	}
	if err := tree.Apply(r.action.Attrs); err != nil {
		return nil, fmt.Errorf("%s: %w", load.Pos(r.node.Target.Range), err)
	}
	return tree, nil
}

// aptSeed is the node's seed in the words of engine/source.
func (x *execution) aptSeed(n *Node) source.AptSeed {
	s := n.Step.Seed
	return source.AptSeed{
		ID: n.Target.Label().String(), Pos: load.Pos(s.Range), Suite: s.Suite, Arch: x.Exec.Arch,
		Components: s.Components, Packages: s.Packages,
	}
}

func (x *execution) imageSeed(n *Node) source.ImageSeed {
	s := n.Step.Seed
	ref := s.Image
	if strings.HasPrefix(ref, "./") {
		ref = filepath.Join(n.Target.Package.Dir, ref)
	}
	return source.ImageSeed{ID: n.Target.Label().String(), Pos: load.Pos(s.Range), Ref: ref, Digest: s.Digest, Arch: x.Exec.Arch}
}

func (x *execution) resolveSeed(ctx context.Context, n *Node) error {
	if n.Step.Builtin == BuiltinImage {
		return nil // pinned by its digest
	}
	_, err := x.Fetcher.ResolveApt(ctx, x.aptSeed(n))
	return err
}

// seedFiles is the seed's packages as input files.
func (x *execution) seedFiles(n *Node) ([]action.File, error) {
	if n.Step.Builtin == BuiltinImage {
		return nil, nil // its digest is a setting
	}
	debs, err := x.Fetcher.ResolveApt(context.Background(), x.aptSeed(n))
	if err != nil {
		return nil, err
	}
	var files []action.File
	for _, d := range debs {
		digest, err := d.Digest()
		if err != nil {
			return nil, err
		}
		files = append(files, action.File{At: filepath.Base(d.Path), Digest: digest})
	}
	return files, nil
}

func (x *execution) fetchSeed(ctx context.Context, n *Node) error {
	if n.Step.Builtin == BuiltinImage {
		layers, err := x.Fetcher.FetchImage(ctx, x.imageSeed(n))
		if err != nil {
			return err
		}
		return x.Store.Pin(nil, layers) // unpackSeed fetches again what was collected before this
	}
	seed := x.aptSeed(n)
	debs, err := x.Fetcher.ResolveApt(ctx, seed)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(4)
	for _, d := range debs {
		group.Go(func() error { return x.Fetcher.FetchDeb(ctx, seed, d) })
	}
	return group.Wait()
}

func (r *run) unpackSeed(ctx context.Context, out string) error {
	s := r.node.Step.Seed
	options := source.UnpackOptions{Alternatives: s.Alternatives, Skeleton: true, Drop: s.Drop}
	var blobs []cache.Digest
	unpack := source.UnpackDebs
	if r.action.Builtin == BuiltinImage {
		layers, err := r.Fetcher.FetchImage(ctx, r.imageSeed(r.node))
		if err != nil {
			return err
		}
		blobs, unpack = layers, source.UnpackImage
	}
	for _, file := range r.action.Files {
		blobs = append(blobs, file.Digest)
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, d := range blobs {
		f, err := r.Store.OpenBlob(d)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	return unpack(out, files, options)
}
