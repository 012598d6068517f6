package artifact

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"

	"vfsb/cache"
)

// An ImageConfig says what an OCI image is made for and how its container starts. OS and Architecture are required, in
// the words of GOOS and GOARCH; Variant is "v7" and the like. Env holds NAME=VALUE. Ref becomes the annotation
// org.opencontainers.image.ref.name, by which tools pick an image of a layout; empty: none.
type ImageConfig struct {
	OS, Architecture, Variant string
	Entrypoint, Cmd           []string
	Env                       []string
	WorkingDir, User          string
	Labels                    map[string]string
	Ref                       string
}

// Media types of the OCI image specification, version 1.
const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// gzipLevel is fixed, since the library's default may change.
const gzipLevel = 6

// refName is the grammar of org.opencontainers.image.ref.name (image-spec, annotations.md).
var refName = regexp.MustCompile(`^[A-Za-z0-9]+([-._:@/+][A-Za-z0-9]+|--[A-Za-z0-9]+)*$`)

// The documents of an image. Fields stand in the order of their JSON names: with that encoding/json writes canonical
// JSON (keys sorted, no white space).
type (
	descriptor struct {
		Annotations map[string]string `json:"annotations,omitempty"`
		Digest      string            `json:"digest"`
		MediaType   string            `json:"mediaType"`
		Platform    *platform         `json:"platform,omitempty"`
		Size        int64             `json:"size"`
	}
	platform struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
		Variant      string `json:"variant,omitempty"`
	}
	imageIndex struct {
		Manifests     []descriptor `json:"manifests"`
		MediaType     string       `json:"mediaType"`
		SchemaVersion int          `json:"schemaVersion"`
	}
	manifest struct {
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
		MediaType     string       `json:"mediaType"`
		SchemaVersion int          `json:"schemaVersion"`
	}
	image struct {
		Architecture string    `json:"architecture"`
		Config       execution `json:"config"`
		Created      string    `json:"created"`
		History      []history `json:"history"`
		OS           string    `json:"os"`
		RootFS       rootFS    `json:"rootfs"`
		Variant      string    `json:"variant,omitempty"`
	}
	execution struct {
		Cmd        []string          `json:"Cmd,omitempty"`
		Entrypoint []string          `json:"Entrypoint,omitempty"`
		Env        []string          `json:"Env,omitempty"`
		Labels     map[string]string `json:"Labels,omitempty"`
		User       string            `json:"User,omitempty"`
		WorkingDir string            `json:"WorkingDir,omitempty"`
	}
	history struct {
		Created   string `json:"created"`
		CreatedBy string `json:"created_by"`
	}
	rootFS struct {
		DiffIDs []string `json:"diff_ids"`
		Type    string   `json:"type"`
	}
)

// WriteOCILayout writes an image of one layer, the tar of x, as an OCI image layout into dir, which is made or must be
// empty. index.json comes last: without it dir is no layout. The bytes depend on x, the files' bytes and c alone.
func WriteOCILayout(dir string, x *cache.Index, open func(*cache.Entry) (io.ReadCloser, error), c ImageConfig) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := makeEmpty(dir); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := writeLayout(layout(dir), x, open, c); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return nil
}

func (c ImageConfig) check() error {
	if c.OS == "" || c.Architecture == "" {
		return errors.New("the operating system and the architecture are required")
	}
	if c.Ref != "" && !refName.MatchString(c.Ref) {
		return fmt.Errorf("reference %q is malformed: letters and digits, separated by one of - . _ : @ / +", c.Ref)
	}
	for _, e := range c.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return fmt.Errorf("environment %q: write NAME=VALUE", e)
		}
	}
	texts := []string{c.OS, c.Architecture, c.Variant, c.WorkingDir, c.User}
	texts = append(texts, c.Env...)
	texts = append(texts, c.Entrypoint...)
	texts = append(texts, c.Cmd...)
	for k, v := range c.Labels {
		texts = append(texts, k, v)
	}
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%q is not UTF-8, which JSON cannot carry", s)
		}
	}
	return nil
}

func writeLayout(l layout, x *cache.Index, open func(*cache.Entry) (io.ReadCloser, error), c ImageConfig) error {
	if err := os.MkdirAll(l.blob(""), 0o755); err != nil {
		return err
	}
	layer, diffID, err := l.putLayer(x, open)
	if err != nil {
		return err
	}
	created := time.Unix(cache.Epoch, 0).UTC().Format(time.RFC3339)
	config, err := l.putJSON(mediaConfig, image{
		Architecture: c.Architecture,
		Config:       execution{Cmd: c.Cmd, Entrypoint: c.Entrypoint, Env: c.Env, Labels: c.Labels, User: c.User, WorkingDir: c.WorkingDir},
		Created:      created,
		History:      []history{{Created: created, CreatedBy: "vfsb"}},
		OS:           c.OS,
		RootFS:       rootFS{DiffIDs: []string{diffID}, Type: "layers"},
		Variant:      c.Variant,
	})
	if err != nil {
		return err
	}
	top, err := l.putJSON(mediaManifest, manifest{Config: config, Layers: []descriptor{layer}, MediaType: mediaManifest, SchemaVersion: 2})
	if err != nil {
		return err
	}
	top.Platform = &platform{Architecture: c.Architecture, OS: c.OS, Variant: c.Variant}
	if c.Ref != "" {
		top.Annotations = map[string]string{"org.opencontainers.image.ref.name": c.Ref}
	}
	if err := os.WriteFile(l.path("oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		return err
	}
	index, err := canonical(imageIndex{Manifests: []descriptor{top}, MediaType: mediaIndex, SchemaVersion: 2})
	if err != nil {
		return err
	}
	return os.WriteFile(l.path("index.json"), index, 0o644)
}

// A layout is the folder of an OCI image layout.
type layout string

func (l layout) path(name string) string { return filepath.Join(string(l), name) }

func (l layout) blob(hex string) string { return filepath.Join(string(l), "blobs", "sha256", hex) }

// putLayer writes the layer, and returns its descriptor and the digest of the tar inside.
func (l layout) putLayer(x *cache.Index, open func(*cache.Entry) (io.ReadCloser, error)) (d descriptor, diffID string, err error) {
	f, err := os.Create(l.path("layer.tmp"))
	if err != nil {
		return d, "", err
	}
	defer os.Remove(f.Name())
	defer f.Close()

	packed := &counter{w: f, hash: sha256.New()}
	// The header's zero value names no file, no time and the operating system 255, "unknown".
	z, err := gzip.NewWriterLevel(packed, gzipLevel)
	if err != nil {
		return d, "", err
	}
	plain := &counter{w: z, hash: sha256.New()}
	c := &chunker{w: plain}
	if err := x.WriteTar(c, open); err != nil {
		return d, "", err
	}
	if err := c.flush(); err != nil {
		return d, "", err
	}
	if err := z.Close(); err != nil {
		return d, "", err
	}
	if err := f.Close(); err != nil {
		return d, "", err
	}
	if err := os.Rename(f.Name(), l.blob(packed.hex())); err != nil {
		return d, "", err
	}
	return descriptor{Digest: "sha256:" + packed.hex(), MediaType: mediaLayer, Size: packed.n}, "sha256:" + plain.hex(), nil
}

// putJSON writes a document as a blob.
func (l layout) putJSON(mediaType string, v any) (descriptor, error) {
	b, err := canonical(v)
	if err != nil {
		return descriptor{}, err
	}
	sum := sha256.Sum256(b)
	name := hex.EncodeToString(sum[:])
	if err := os.WriteFile(l.blob(name), b, 0o644); err != nil {
		return descriptor{}, err
	}
	return descriptor{Digest: "sha256:" + name, MediaType: mediaType, Size: int64(len(b))}, nil
}

func canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// A counter counts and hashes what passes.
type counter struct {
	w    io.Writer
	hash hash.Hash
	n    int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.hash.Write(p[:n])
	c.n += int64(n)
	return n, err
}

func (c *counter) hex() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// LayoutDigest returns the digest of the manifest of the one image in the layout dir, "sha256:" and 64 hex digits: the
// digest by which registries know the image. The manifest is verified, the blobs that it names are not.
func LayoutDigest(dir string) (string, error) {
	b, err := os.ReadFile(layout(dir).path("index.json"))
	if err != nil {
		return "", fmt.Errorf("read image: %w", err)
	}
	var x imageIndex
	if err := json.Unmarshal(b, &x); err != nil {
		return "", fmt.Errorf("read image: %s: %w", layout(dir).path("index.json"), err)
	}
	if len(x.Manifests) != 1 {
		return "", fmt.Errorf("read image: %s holds %d images, not one", dir, len(x.Manifests))
	}
	digest := x.Manifests[0].Digest
	name, ok := strings.CutPrefix(digest, "sha256:")
	if raw, err := hex.DecodeString(name); !ok || err != nil || len(raw) != sha256.Size {
		return "", fmt.Errorf("read image: %s: digest %q is malformed", dir, digest)
	}
	b, err = os.ReadFile(layout(dir).blob(name))
	if err != nil {
		return "", fmt.Errorf("read image: %w", err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != name {
		return "", fmt.Errorf("read image: %s: the manifest does not have the digest %s", dir, digest)
	}
	return digest, nil
}

// WriteOCIArchive writes the layout in layoutDir as a tar, as "oci-archive:" of skopeo and podman reads it: names in
// fixed order, modes 0755 and 0644, owner 0, times cache.Epoch, whatever the folder has. A file that is no part of a
// layout is an error.
func WriteOCIArchive(w io.Writer, layoutDir string) error {
	if err := writeArchive(w, layoutDir); err != nil {
		return fmt.Errorf("write image archive: %w", err)
	}
	return nil
}

func writeArchive(w io.Writer, dir string) error {
	if _, err := LayoutDigest(dir); err != nil {
		return err
	}
	names := []string{"oci-layout", "index.json", "blobs/", "blobs/sha256/"} // what a stream's reader needs first
	known := map[string]bool{"oci-layout": true, "index.json": true, "blobs": true, "blobs/sha256": true}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case filepath.Dir(name) == "blobs/sha256" && d.Type().IsRegular():
			names = append(names, name) // WalkDir goes in lexical order
		case !known[name]:
			return fmt.Errorf("%s is no part of an image layout", path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, name := range names {
		if err := archiveFile(t, dir, name); err != nil {
			return err
		}
	}
	return t.Close()
}

func archiveFile(t *tar.Writer, dir, name string) error {
	h := &tar.Header{Name: name, ModTime: time.Unix(cache.Epoch, 0)}
	if strings.HasSuffix(name, "/") {
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
		return t.WriteHeader(h)
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h.Typeflag, h.Mode, h.Size = tar.TypeReg, 0o644, st.Size()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	packed := &counter{w: t, hash: sha256.New()}
	if _, err = io.Copy(packed, f); err == nil && isHash(filepath.Base(name)) && packed.hex() != filepath.Base(name) {
		err = fmt.Errorf("%s does not have the digest that is its name; the store is damaged: remove %s", f.Name(), filepath.Dir(dir))
	}
	return err
}
