package source

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"vfsb/cache"
)

// testImage is an image of two layers for an architecture.
func testImage(t *testing.T, arch string) v1.Image {
	t.Helper()
	lower := static.NewLayer(compressed(t, tarball(t, entry{name: "bin/sh", text: arch}, entry{name: "gone", text: "x"}), "gz"), types.OCILayer)
	upper := static.NewLayer(compressed(t, tarball(t, entry{name: ".wh.gone"}), "zst"), types.OCILayerZStd)
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), lower, upper)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// unpackImage fetches and unpacks an image and lists its tree.
func unpackImage(t *testing.T, f *Fetcher, s ImageSeed) []string {
	t.Helper()
	layers, err := f.FetchImage(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	for _, d := range layers {
		in, err := f.Store.OpenBlob(d)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		files = append(files, in)
	}
	dir := t.TempDir()
	if err := UnpackImage(dir, files, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	return list(t, dir)
}

func digestOf(t *testing.T, x interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	d, err := x.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestFetchImage(t *testing.T) {
	img := testImage(t, "amd64")
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: testImage(t, "arm64"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	want := []string{"bin drwxr-xr-x", "bin/sh -rwxr-xr-x amd64"}

	var requests atomic.Int32
	reg := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		reg.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	repo := strings.TrimPrefix(server.URL, "http://") + "/some/image"
	ref, err := name.ParseReference(repo + ":tag")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	l, err := layout.Write(folder, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.AddFS(os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rootfs := compressed(t, tarball(t, entry{name: "bin/sh", text: "amd64"}), "xz")
	tarballAddress := strings.TrimSuffix(serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(rootfs) }), "f-1.0.tar.gz") + "rootfs.tar.xz"
	rootfsDigest := "sha256:" + cache.DigestOf(rootfs).Hex()
	keep := func(b []byte) string { return tempFile(t, b).Name() }

	for name, c := range map[string]ImageSeed{
		"registry, index":    {Ref: repo + ":tag", Digest: digestOf(t, index)},
		"registry, manifest": {Ref: repo, Digest: digestOf(t, img)},
		"registry, pinned":   {Ref: repo + "@" + digestOf(t, img), Digest: digestOf(t, img)},
		"layout":             {Ref: folder, Digest: digestOf(t, index)},
		"layout, manifest":   {Ref: folder, Digest: digestOf(t, img)},
		"archive":            {Ref: keep(archive.Bytes()), Digest: digestOf(t, index)},
		"packed archive":     {Ref: keep(compressed(t, archive.Bytes(), "gz")), Digest: digestOf(t, index)},
		"tarball":            {Ref: keep(rootfs), Digest: rootfsDigest},
		"tarball's address":  {Ref: tarballAddress, Digest: rootfsDigest},
	} {
		t.Run(name, func(t *testing.T) {
			c.ID, c.Pos, c.Arch = "base", "seed.hcl:3", "amd64"
			f := newFetcher(t)
			equalLists(t, unpackImage(t, f, c), want)
			noPartials(t, f)
			// Now it is in the store.
			requests.Store(0)
			f.Offline = true
			if filepath.IsAbs(c.Ref) {
				c.Ref = "/nonexistent"
			}
			equalLists(t, unpackImage(t, f, c), want)
			if n := requests.Load(); n > 0 {
				t.Errorf("%d requests for what the store has", n)
			}
		})
	}

	t.Run("mirror", func(t *testing.T) {
		f := newFetcher(t)
		f.Offline = true
		f.Mirrors = []string{filepath.Join(folder, "blobs")}
		equalLists(t, unpackImage(t, f, ImageSeed{ID: "base", Pos: "p", Ref: "registry.example.test/x", Digest: digestOf(t, img)}), want)
	})
	for name, c := range map[string]struct {
		seed ImageSeed
		want string
	}{
		"no digest":            {ImageSeed{Ref: repo}, "pinned by its digest"},
		"sha512":               {ImageSeed{Ref: repo, Digest: "sha512:00"}, "pinned by its digest"},
		"two digests":          {ImageSeed{Ref: repo + "@sha256:" + sumA, Digest: "sha256:" + sumB}, "disagree"},
		"unknown digest":       {ImageSeed{Ref: repo, Digest: "sha256:" + sumA}, "404"},
		"odd reference":        {ImageSeed{Ref: "Not A Reference", Digest: "sha256:" + sumA}, "reference"},
		"unknown architecture": {ImageSeed{Ref: repo, Digest: digestOf(t, index), Arch: "riscv64"}, "nothing for linux/riscv64, only linux/arm64, linux/amd64"},
		"not in the layout":    {ImageSeed{Ref: folder, Digest: "sha256:" + sumA}, "no blob"},
		"other tarball":        {ImageSeed{Ref: keep(rootfs), Digest: "sha256:" + sumA}, cache.DigestOf(rootfs).Hex()},
		"missing file":         {ImageSeed{Ref: "/nonexistent/x.tar", Digest: "sha256:" + sumA}, "no such file"},
		"other address":        {ImageSeed{Ref: tarballAddress, Digest: "sha256:" + sumA}, "wrong sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			c.seed.ID, c.seed.Pos = "base", "seed.hcl:3"
			f := newFetcher(t)
			_, err := f.FetchImage(t.Context(), c.seed)
			if err == nil || !strings.HasPrefix(err.Error(), "seed.hcl:3: seed base: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			noPartials(t, f)
		})
	}
	t.Run("layer with other bytes", func(t *testing.T) {
		manifest, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		bad := t.TempDir()
		if err := os.CopyFS(bad, os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
		blob := filepath.Join(bad, "blobs", "sha256", manifest.Layers[1].Digest.Hex)
		if err := errors.Join(os.Remove(blob), os.WriteFile(blob, []byte("x"), 0o600)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		_, err = newFetcher(t).FetchImage(t.Context(), ImageSeed{ID: "base", Pos: "p", Ref: bad, Digest: digestOf(t, img)})
		var sum *ChecksumError
		if !errors.As(err, &sum) || sum.Want != manifest.Layers[1].Digest.Hex {
			t.Errorf("error %v", err)
		}
	})
}
