package artifact

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"vfsb/cache"
)

// Kinds of entries that a layer cannot have, but another's tarball can. Link holds their numbers.
const (
	charDevice  cache.Kind = 'c'
	blockDevice cache.Kind = 'b'
)

// Contents is a file tree to be compared: a layer, a rootfs tarball, or the layers of an image laid over each other.
type Contents struct {
	Entries []cache.Entry // sorted by path
	Config  []cache.Field // of an image: its configuration, by name

	dir    string            // where the files lie, of a layer
	layers []Stream          // lowest first, of all else
	inLink map[string]string // by path: the hard link's target that has its bytes in the tar
	copies map[string]string // by path: where Fetch put it
}

// A Stream opens an uncompressed tar. It may be called several times.
type Stream func() (io.ReadCloser, error)

// LayerContents is a layer of the store, whose files lie in dir.
func LayerContents(x *cache.Index, dir string) *Contents {
	return &Contents{Entries: x.Entries, dir: dir}
}

// TarContents reads a rootfs tarball, whoever made it.
func TarContents(open Stream) (*Contents, error) { return stack([]Stream{open}) }

// ImageContents reads the image in the OCI image layout dir. decompress tells a layer's compression from its bytes.
func ImageContents(dir string, decompress func(io.Reader) (io.ReadCloser, error)) (*Contents, error) {
	c, err := imageContents(layout(dir), decompress)
	if err != nil {
		return nil, fmt.Errorf("read image %s: %w", dir, err)
	}
	return c, nil
}

// IsLayout reports whether entries are those of an OCI image layout.
func IsLayout(entries []cache.Entry) bool {
	x := cache.Index{Entries: entries}
	_, version := x.Lookup("oci-layout")
	_, index := x.Lookup("index.json")
	return version && index
}

// UnpackLayout unpacks the parts of an OCI image layout in a tar into the folder dir.
func UnpackLayout(dir string, open Stream) error {
	if err := os.MkdirAll(layout(dir).blob(""), 0o755); err != nil {
		return err
	}
	return readTar(open, func(name string, h *tar.Header, r io.Reader) error {
		blob, isBlob := strings.CutPrefix(name, "blobs/sha256/")
		if h.Typeflag != tar.TypeReg || name != "oci-layout" && name != "index.json" && !(isBlob && isHash(blob)) {
			return nil
		}
		return copyTo(filepath.Join(dir, name), r)
	})
}

// readTar calls do for every entry of a tar with its clean path.
func readTar(open Stream, do func(name string, h *tar.Header, r io.Reader) error) error {
	in, err := open()
	if err != nil {
		return err
	}
	defer in.Close()
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if name == "" || h.Typeflag == tar.TypeXGlobalHeader { // the root itself
			continue
		}
		if err := do(name, h, tr); err != nil {
			return fmt.Errorf("%s: %w", printable(name), err)
		}
	}
}

func copyTo(path string, r io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// stack lays tars over each other, and applies their whiteouts.
func stack(layers []Stream) (*Contents, error) {
	c := &Contents{layers: layers, inLink: map[string]string{}}
	tree := map[string]cache.Entry{}
	for _, open := range layers {
		upper := map[string]cache.Entry{}
		err := readTar(open, func(name string, h *tar.Header, r io.Reader) error {
			base := path.Base(name)
			switch hidden, whiteout := strings.CutPrefix(base, ".wh."); {
			case base == ".wh..wh..opq":
				hide(tree, path.Dir(name), false)
			case whiteout:
				if hidden != "" && hidden != "." && hidden != ".." {
					hide(tree, path.Join(path.Dir(name), hidden), true)
				}
			default:
				e, err := entryOf(name, h, r)
				upper[name] = e
				return err
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for name, e := range upper {
			if old, ok := tree[name]; ok && old.Kind == cache.Dir && e.Kind != cache.Dir {
				hide(tree, name, true)
			}
			tree[name] = e
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		c.Entries = append(c.Entries, tree[name])
	}
	c.relink()
	return c, nil
}

// hide removes what lies below a path of the lower layers, and with self that path, too.
func hide(tree map[string]cache.Entry, name string, self bool) {
	for p := range tree {
		if name == "." || strings.HasPrefix(p, name+"/") || self && p == name {
			delete(tree, p)
		}
	}
}

// entryOf makes an entry of a header, and reads a file's bytes.
func entryOf(name string, h *tar.Header, r io.Reader) (e cache.Entry, err error) {
	e = cache.Entry{Path: name, Mode: uint32(h.Mode) & 0o7777, UID: h.Uid, GID: h.Gid}
	for key, value := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && (attr == cache.CapabilityXattr || strings.HasPrefix(attr, userXattr)) {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[attr] = value
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		e.Kind = cache.Dir
	case tar.TypeSymlink:
		e.Kind, e.Link, e.Mode = cache.Symlink, h.Linkname, 0o777
	case tar.TypeLink:
		e.Kind, e.Link = cache.Hardlink, strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
	case tar.TypeFifo:
		e.Kind = cache.Fifo
	case tar.TypeChar, tar.TypeBlock:
		e.Kind, e.Link = charDevice, fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
		if h.Typeflag == tar.TypeBlock {
			e.Kind = blockDevice
		}
	case tar.TypeReg, tar.TypeGNUSparse:
		hash := sha256.New()
		e.Kind = cache.File
		e.Size, err = io.Copy(hash, r)
		hash.Sum(e.Hash[:0])
	default:
		err = fmt.Errorf("entries of type %q are not understood", h.Typeflag)
	}
	return e, err
}

// relink makes the first of a file's names the file, as layers have it, and the others hard links to that one.
func (c *Contents) relink() {
	x := cache.Index{Entries: c.Entries}
	first := map[string]string{} // by the name that links lead to
	for i := range c.Entries {
		e := &c.Entries[i]
		if e.Kind != cache.Hardlink {
			continue
		}
		file, ok := x.Lookup(e.Link)
		now, moved := first[e.Link]
		switch {
		case moved:
			e.Link = now
		case ok && file.Kind == cache.File && e.Path < file.Path:
			name, link := e.Path, file.Path
			first[link], c.inLink[name] = name, link
			*e = *file
			e.Path = name
			*file = cache.Entry{Path: link, Kind: cache.Hardlink, Link: name}
		}
	}
}

// Fetch copies the bytes of files of tars into the folder dir, so that Open finds them.
func (c *Contents) Fetch(paths []string, dir string) error {
	c.copies = map[string]string{}
	want := map[string]bool{}
	for _, p := range paths {
		want[c.inTar(p)] = true
	}
	for _, open := range c.layers {
		err := readTar(open, func(name string, h *tar.Header, r io.Reader) error {
			if !want[name] || h.Typeflag != tar.TypeReg {
				return nil
			}
			if c.copies[name] == "" {
				c.copies[name] = filepath.Join(dir, strconv.Itoa(len(c.copies)))
			}
			return copyTo(c.copies[name], r) // a higher layer's over a lower one's
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// inTar is the path under which a tar has the bytes of a file.
func (c *Contents) inTar(path string) string {
	if name, ok := c.inLink[path]; ok {
		return name
	}
	return path
}

// Open opens the bytes of a file, which the caller closes.
func (c *Contents) Open(path string) (*os.File, error) {
	if c.dir != "" {
		return os.Open(filepath.Join(c.dir, path))
	}
	if copied, ok := c.copies[c.inTar(path)]; ok {
		return os.Open(copied)
	}
	return nil, fmt.Errorf("%s was not fetched: %w", printable(path), os.ErrNotExist)
}

// imageContents finds the image's manifest, and reads what that names.
func imageContents(l layout, decompress func(io.Reader) (io.ReadCloser, error)) (*Contents, error) {
	text, err := os.ReadFile(l.path("index.json"))
	if err != nil {
		return nil, err
	}
	var m struct {
		Manifests []descriptor
		Config    descriptor
		Layers    []descriptor
	}
	var config []cache.Field
	for depth := 0; ; depth++ {
		if err := json.Unmarshal(text, &m); err != nil {
			return nil, err
		}
		if len(m.Manifests) == 0 {
			break
		}
		chosen, err := chooseManifest(m.Manifests)
		if err != nil || depth > 3 {
			return nil, errors.Join(err, errors.New("it holds no image that can be read"))
		}
		for _, k := range slices.Sorted(maps.Keys(chosen.Annotations)) {
			config = append(config, cache.Field{Name: "annotation " + k, Value: chosen.Annotations[k]})
		}
		m.Manifests = nil
		if text, err = l.read(chosen); err != nil {
			return nil, err
		}
	}
	var layers []Stream
	for _, d := range m.Layers {
		name, err := blobName(d)
		if err != nil {
			return nil, err
		}
		layers = append(layers, func() (io.ReadCloser, error) { return OpenCompressed(l.blob(name), decompress) })
	}
	c, err := stack(layers)
	if err != nil {
		return nil, err
	}
	if text, err = l.read(m.Config); err != nil {
		return nil, err
	}
	fields, err := configFields(text)
	c.Config = append(config, fields...)
	return c, err
}

// chooseManifest takes the only image, or the one for this machine.
func chooseManifest(list []descriptor) (descriptor, error) {
	if len(list) == 1 {
		return list[0], nil
	}
	for _, d := range list {
		if d.Platform != nil && d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH {
			return d, nil
		}
	}
	return descriptor{}, fmt.Errorf("it holds %d images, none of them for linux/%s", len(list), runtime.GOARCH)
}

// read returns a document of the layout.
func (l layout) read(d descriptor) ([]byte, error) {
	name, err := blobName(d)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(l.blob(name))
}

// blobName is the file name of a blob.
func blobName(d descriptor) (string, error) {
	name, ok := strings.CutPrefix(d.Digest, "sha256:")
	if !ok || !isHash(name) {
		return "", fmt.Errorf("digest %q is malformed", d.Digest)
	}
	return name, nil
}

func isHash(name string) bool {
	return len(name) == 2*sha256.Size && strings.Trim(name, "0123456789abcdef") == ""
}

// OpenCompressed opens a file that may be compressed.
func OpenCompressed(path string, decompress func(io.Reader) (io.ReadCloser, error)) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := decompress(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &both{r, f}, nil
}

// both is a reader and the file below it.
type both struct {
	io.ReadCloser
	file io.Closer
}

func (b *both) Close() error { return errors.Join(b.ReadCloser.Close(), b.file.Close()) }

// configFields lists what an image's configuration says besides its layers, which are compared file by file.
func configFields(text []byte) (list []cache.Field, err error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var inner map[string]json.RawMessage
	if top["config"] != nil {
		if err := json.Unmarshal(top["config"], &inner); err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
	}
	for _, name := range []string{"config", "history", "rootfs"} {
		delete(top, name)
	}
	for _, m := range []map[string]json.RawMessage{top, inner} {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			var value bytes.Buffer
			if err := json.Compact(&value, m[k]); err != nil {
				return nil, err
			}
			list = append(list, cache.Field{Name: k, Value: value.String()})
		}
	}
	return list, nil
}
