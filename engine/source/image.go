package source

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"vfsb/cache"
)

const (
	// maxManifest bounds a manifest in bytes. Registries take no larger ones.
	maxManifest = 4 << 20
	// maxImageLayers bounds the layers of an image, which are opened and unpacked all at once. The kernel takes no more in
	// one overlay.
	maxImageLayers = 500
	// maxIndexes is how many indexes one may go through to a manifest. Real images have one.
	maxIndexes = 3
)

// manifestTypes are the kinds of manifest that FetchImage reads.
var manifestTypes = []string{string(types.OCIManifestSchema1), string(types.OCIImageIndex), string(types.DockerManifestSchema2), string(types.DockerManifestList)}

func (s ImageSeed) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: seed %s: %w", s.Pos, s.ID, fmt.Errorf(format, args...))
}

// FetchImage puts what an image consists of into the store and returns its layers, lowest first; a rootfs tarball is one
// layer. What the store has is not looked for elsewhere, so a complete image needs no network. Layers go to UnpackImage.
func (f *Fetcher) FetchImage(ctx context.Context, s ImageSeed) ([]cache.Digest, error) {
	sum, ok := strings.CutPrefix(s.Digest, "sha256:")
	if !ok || !hex64.MatchString(sum) {
		return nil, s.errorf("digest %q is not sha256: and 64 lower-case hex digits; an image is pinned by its digest, a tag may move", s.Digest)
	}
	from, err := s.origin()
	if err != nil {
		return nil, err
	}
	top, err := f.imagePart(ctx, s, from, v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: sum}, Size: -1}, true)
	if err != nil {
		return nil, err
	}
	return f.imageLayers(ctx, s, from, top, 0)
}

// imageLayers reads the manifest top, fetches its layers and returns them.
func (f *Fetcher) imageLayers(ctx context.Context, s ImageSeed, from imageOrigin, top cache.Digest, depth int) ([]cache.Digest, error) {
	manifest, ok, err := f.readManifest(top)
	if err != nil {
		return nil, s.errorf("%w", err)
	}
	if !ok {
		return []cache.Digest{top}, nil // a rootfs tarball
	}
	if len(manifest.Manifests) > 0 {
		if depth == maxIndexes {
			return nil, s.errorf("more than %d indexes within each other; name the digest of the manifest itself", maxIndexes)
		}
		chosen, err := s.choose(manifest.Manifests)
		if err != nil {
			return nil, err
		}
		d, err := f.imagePart(ctx, s, from, chosen, true)
		if err != nil {
			return nil, err
		}
		return f.imageLayers(ctx, s, from, d, depth+1)
	}
	if len(manifest.Layers) == 0 {
		return nil, s.errorf("%s is the manifest of no image", s.Digest)
	}
	if n := len(manifest.Layers); n > maxImageLayers {
		return nil, s.errorf("the image has %d layers, the limit is %d; squash it", n, maxImageLayers)
	}
	var layers []cache.Digest
	for i, l := range manifest.Layers {
		if !l.MediaType.IsLayer() {
			return nil, s.errorf("layer %d is of the media type %q, which is no layer of files; choose another image", i+1, l.MediaType)
		}
		d, err := f.imagePart(ctx, s, from, l, false)
		if err != nil {
			return nil, err
		}
		layers = append(layers, d)
	}
	return layers, nil
}

// StoredImage lists what the store has of an image: its manifests, and the layers that they name.
func (f *Fetcher) StoredImage(s ImageSeed) (list []cache.Digest) {
	rest := []string{strings.TrimPrefix(s.Digest, "sha256:")}
	seen := map[string]bool{}
	for ; len(rest) > 0; rest = rest[1:] {
		d, ok := f.Store.FindBlob(rest[0])
		if !ok || seen[rest[0]] {
			continue
		}
		seen[rest[0]] = true
		list = append(list, d)
		m, _, err := f.readManifest(d)
		if err != nil {
			continue
		}
		for _, part := range append(m.Manifests, m.Layers...) {
			rest = append(rest, part.Digest.Hex)
		}
	}
	return list
}

// manifest is what an image's manifest and an index have together.
type manifest struct {
	Manifests []v1.Descriptor `json:"manifests"`
	Layers    []v1.Descriptor `json:"layers"`
}

// readManifest parses a blob; it reports false if it is something else.
func (f *Fetcher) readManifest(d cache.Digest) (manifest, bool, error) {
	in, err := f.Store.OpenBlob(d)
	if err != nil {
		return manifest{}, false, err
	}
	defer in.Close()
	first := make([]byte, 1)
	if _, err := in.ReadAt(first, 0); err != nil || first[0] != '{' || d.Size > maxManifest {
		return manifest{}, false, nil
	}
	b, err := io.ReadAll(in)
	if err != nil {
		return manifest{}, false, err
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return manifest{}, false, fmt.Errorf("manifest %s: %w; choose another image", d.Hex(), err)
	}
	if len(m.Manifests) > 0 && len(m.Layers) > 0 { // programs differ in what they take it for
		return manifest{}, false, fmt.Errorf("manifest %s is both an index and an image; choose another image", d.Hex())
	}
	for _, part := range slices.Concat(m.Manifests, m.Layers) {
		if part.Size < 0 {
			return manifest{}, false, fmt.Errorf("manifest %s: blob %s of %d bytes; choose another image", d.Hex(), part.Digest, part.Size)
		}
	}
	return m, true, nil
}

// choose picks the seed's architecture from an index.
func (s ImageSeed) choose(all []v1.Descriptor) (v1.Descriptor, error) {
	arch := s.Arch
	if arch == "" {
		arch = debianArch()
	}
	want := map[string]string{"i386": "386", "armhf": "arm", "ppc64el": "ppc64le"}[arch]
	if want == "" {
		want = arch
	}
	var has []string
	for _, d := range all {
		if d.Platform == nil {
			continue
		}
		if d.Platform.OS == "linux" && d.Platform.Architecture == want {
			return d, nil
		}
		has = append(has, d.Platform.String())
	}
	return v1.Descriptor{}, s.errorf("the image has nothing for linux/%s, only %s", want, strings.Join(has, ", "))
}

// An imageOrigin fetches one blob of an image; w names it.
type imageOrigin interface {
	fetch(ctx context.Context, f *Fetcher, w file, isManifest bool) (cache.Digest, error)
}

// origin tells from the form of Ref where an image lies.
func (s ImageSeed) origin() (imageOrigin, error) {
	switch {
	case strings.HasPrefix(s.Ref, "http://"), strings.HasPrefix(s.Ref, "https://"):
		return tarballOrigin(s.Ref), nil
	case filepath.IsAbs(s.Ref):
		st, err := os.Stat(s.Ref)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return absentOrigin(s.Ref), nil // the store or a mirror may have it
		case err != nil:
			return nil, s.errorf("%w", err)
		case st.IsDir():
			return layoutOrigin(s.Ref), nil
		}
		return archiveOrigin(s.Ref), nil
	}
	ref, err := name.ParseReference(s.Ref)
	if err != nil {
		return nil, s.errorf("%w", err)
	}
	if pin, ok := ref.(name.Digest); ok && pin.DigestStr() != s.Digest {
		return nil, s.errorf("reference %s and digest %s disagree", s.Ref, s.Digest)
	}
	return &registryOrigin{repo: ref.Context()}, nil
}

// imagePart puts a manifest or layer into the store.
func (f *Fetcher) imagePart(ctx context.Context, s ImageSeed, from imageOrigin, d v1.Descriptor, isManifest bool) (cache.Digest, error) {
	if d.Digest.Algorithm != "sha256" || !hex64.MatchString(d.Digest.Hex) {
		return cache.Digest{}, s.errorf("digest %s is not sha256", d.Digest)
	}
	w := file{id: s.ID, pos: s.Pos, what: "seed " + s.ID, name: d.Digest.Hex, sha256: d.Digest.Hex, size: d.Size,
		remedy: "check reference and digest, give --mirror a folder that has its blobs by digest, or use a shared cache that has the seed's layer"}
	if got, ok := f.Store.FindBlob(w.sha256); ok && (d.Size < 0 || got.Size == d.Size) {
		return got, nil
	}
	return from.fetch(ctx, f, w, isManifest)
}

// tarballOrigin is the address of a rootfs tarball.
type tarballOrigin string

func (u tarballOrigin) fetch(ctx context.Context, f *Fetcher, w file, _ bool) (cache.Digest, error) {
	w.name, w.urls = path.Base(string(u)), []string{string(u)}
	return f.get(ctx, w)
}

// absentOrigin is a path at which nothing lies.
type absentOrigin string

func (p absentOrigin) fetch(ctx context.Context, f *Fetcher, w file, _ bool) (cache.Digest, error) {
	w.name, w.urls = path.Base(string(p)), []string{"file:" + string(p)}
	return f.get(ctx, w)
}

// layoutOrigin is the folder of an OCI image layout.
type layoutOrigin string

func (dir layoutOrigin) fetch(_ context.Context, f *Fetcher, w file, _ bool) (cache.Digest, error) {
	d, err := f.copyLocal(w, filepath.Join(string(dir), "blobs", "sha256", w.sha256))
	if errors.Is(err, fs.ErrNotExist) {
		err = w.errorf("the OCI layout %s has no blob %s; the digest is that of the image's manifest or index (index.json names it)", string(dir), w.sha256)
	}
	return d, err
}

// archiveOrigin is a rootfs tarball, whose digest is the file's own, or an OCI image layout in a tar.
type archiveOrigin string

func (a archiveOrigin) fetch(_ context.Context, f *Fetcher, w file, isManifest bool) (cache.Digest, error) {
	if isManifest {
		d, err := f.copyLocal(w, string(a))
		var sum *ChecksumError
		if !errors.As(err, &sum) {
			return d, err
		}
		w.remedy = "its own sha256 is " + sum.Got
		w.limit = maxManifest
	}
	in, err := os.Open(string(a))
	if err != nil {
		return cache.Digest{}, w.errorf("%w", err)
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return cache.Digest{}, w.errorf("%w", err)
	}
	r, err := Decompress(in)
	if err != nil {
		return cache.Digest{}, w.errorf("%w", err)
	}
	defer r.Close()
	for tr := tar.NewReader(&limiter{r, limits{}.orDefault().most(st.Size())}); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return cache.Digest{}, w.errorf("%s: %w", string(a), err)
		}
		if path.Clean(h.Name) == "blobs/sha256/"+w.sha256 && h.Typeflag == tar.TypeReg {
			if w.size >= 0 && h.Size != w.size {
				return cache.Digest{}, w.wrongSize(string(a), h.Size)
			}
			return f.adopt(w, string(a), func(out io.Writer) error {
				_, err := io.Copy(out, tr)
				return err
			})
		}
	}
	return cache.Digest{}, w.errorf("%s is neither the file of sha256 %s nor an OCI layout that has this blob: %s", string(a), w.sha256, w.remedy)
}

// registryOrigin is a repository of a registry. The user's own credentials are used.
type registryOrigin struct{ repo name.Repository }

func (o *registryOrigin) fetch(ctx context.Context, f *Fetcher, w file, isManifest bool) (cache.Digest, error) {
	kind := "blobs"
	if isManifest {
		kind = "manifests"
		w.header = http.Header{"Accept": slices.Clone(manifestTypes)}
		w.limit = maxManifest
	}
	w.urls = []string{fmt.Sprintf("%s://%s/v2/%s/%s/sha256:%s", o.repo.Registry.Scheme(), o.repo.RegistryStr(), o.repo.RepositoryStr(), kind, w.sha256)}
	w.connect = o.client
	return f.get(ctx, w)
}

// client returns a client that is logged in.
func (o *registryOrigin) client(ctx context.Context, f *Fetcher) (*http.Client, error) {
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, o.repo)
	if err != nil {
		return nil, err
	}
	base := f.client(clientKind{})
	t, err := transport.NewWithContext(ctx, o.repo.Registry, auth, base.Transport, []string{o.repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: t}, nil
}
