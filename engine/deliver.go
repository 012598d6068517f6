package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vfsb/cache"
	"vfsb/engine/artifact"
)

// Kinds of artifacts that a build writes to the output folder.
const (
	DeliverTar = "tar.zst" // the layer as a compressed tar
	DeliverOCI = "oci"     // the layer is an OCI layout: as a folder and as an archive
)

// deliver writes what the roots are to the output folder. What lies there already
// from the same layer is left alone.
func (x *execution) deliver(ctx context.Context) error {
	if x.Pull == PullNone {
		return nil
	}
	stamps := readStamps(x.Out)
	x.pull(ctx, slices.DeleteFunc(x.members(), func(id int32) bool { return x.graph.Nodes[id].Step.Deliver != "" }))
	for _, id := range x.members() {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, st := x.graph.Nodes[id], &x.nodes[id]
		x.summary.Roots = append(x.summary.Roots, RootResult{Label: n.Label, Layer: st.result.Layer, Dir: x.Store.LayerDir(st.result.Layer)})
		if n.Step.Deliver != "" {
			if err := x.deliverFile(ctx, id, stamps); err != nil {
				return err
			}
		} else if !x.Store.HasLayer(st.result.Layer) { // else without a pin: it is only pointed at
			if err := x.present(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// members is the roots, groups replaced by their members, each once.
func (x *execution) members() []int32 {
	var list []int32
	seen := map[int32]bool{}
	var visit func(id int32)
	visit = func(id int32) {
		if seen[id] {
			return
		}
		seen[id] = true
		if n := x.graph.Nodes[id]; n.Step == nil {
			for _, member := range n.Contents {
				visit(member)
			}
			return
		}
		list = append(list, id)
	}
	for _, id := range x.graph.Roots {
		visit(id)
	}
	return list
}

// artifactFile is the name of the file that a node is delivered as, "" if it is not: alkaline-amd64.tar.zst,
// stage1-macaroni-arm64.tar.zst. The endings rootfs and image of a target's name are not in it: the file's own ending
// says as much.
func artifactFile(n *Node) string {
	switch n.Step.Deliver {
	case DeliverTar:
		return artifactName(n) + ".tar.zst"
	case DeliverOCI:
		return artifactName(n) + ".oci.tar"
	}
	return ""
}

func artifactName(n *Node) string {
	name := n.Target.Package.Name + "-" + n.Target.Name
	for _, kind := range []string{"rootfs", "image", ""} {
		name = strings.TrimSuffix(name, "-"+kind)
	}
	if n.Target.Package.Profile != "" {
		return name + "-" + n.Platform.Arch
	}
	return name + "-" + n.Platform.Name
}

// writeArtifact writes what the node's file holds.
func (x *execution) writeArtifact(id int32, w io.Writer) error {
	layer := x.nodes[id].result.Layer
	if x.graph.Nodes[id].Step.Deliver == DeliverOCI {
		return artifact.WriteOCIArchive(w, x.Store.LayerDir(layer))
	}
	index, err := x.Store.LoadIndex(layer)
	if err != nil {
		return err
	}
	part := artifact.Part{Label: x.graph.Nodes[id].Label, Index: index, Dir: x.Store.LayerDir(layer)}
	tree, err := artifact.Merge([]artifact.Part{part}, nil)
	if err != nil {
		return err
	}
	return artifact.WriteTarZst(w, tree.Index(), tree.Open) // whose bytes are checked
}

// deliverFile writes the artifact to a temporary file in the output folder and renames it.
func (x *execution) deliverFile(ctx context.Context, id int32, stamps map[string]stamp) error {
	n, st := x.graph.Nodes[id], &x.nodes[id]
	name := artifactFile(n)
	path := filepath.Join(x.Out, name)
	if old, ok := stamps[name]; ok && old.matches(path, st.result.Layer.Tar) {
		x.delivered(n.Label, path, old.Size)
		return nil
	}
	if err := x.present(ctx, id); err != nil {
		return err
	}
	if err := os.MkdirAll(x.Out, 0o755); err != nil {
		return fmt.Errorf("output folder: %w", err)
	}
	tmp, err := os.CreateTemp(x.Out, "."+name+".*")
	if err != nil {
		return fmt.Errorf("output folder: %w", err)
	}
	defer os.Remove(tmp.Name())
	buffered := bufio.NewWriterSize(tmp, 1<<20)
	err = errors.Join(x.writeArtifact(id, buffered), buffered.Flush(), tmp.Chmod(0o644), tmp.Close())
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(tmp.Name()) // under its final name another build may put its own file any time
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	stamps[name] = stamp{Layer: st.result.Layer.Tar.String(), Size: info.Size(), ModTime: info.ModTime().UnixNano()}
	x.delivered(n.Label, path, info.Size())
	return x.writeStamps(stamps)
}

func (x *execution) delivered(label, path string, size int64) {
	x.summary.Delivered = append(x.summary.Delivered, path)
	x.emit(Event{Event: EventDelivered, Label: label, Path: path, Bytes: size})
}

// A stamp says from which layer a delivered file was made. Stamps only save work:
// without them everything is written again.
type stamp struct {
	Layer   string `json:"layer"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"mtime"` // nanoseconds
}

func (s stamp) matches(path string, tar cache.Digest) bool {
	info, err := os.Stat(path)
	return err == nil && s.Layer == tar.String() && s.Size == info.Size() && s.ModTime == info.ModTime().UnixNano()
}

// stampsFile lies in the output folder.
const stampsFile = ".delivered.json"

func readStamps(out string) map[string]stamp {
	stamps := map[string]stamp{}
	text, err := os.ReadFile(filepath.Join(out, stampsFile))
	if err == nil {
		if json.Unmarshal(text, &stamps) != nil {
			return map[string]stamp{}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return map[string]stamp{}
	}
	return stamps
}

func (x *execution) writeStamps(stamps map[string]stamp) error {
	text, err := json.MarshalIndent(stamps, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(x.Out, stampsFile), append(text, '\n'), 0o644)
}
