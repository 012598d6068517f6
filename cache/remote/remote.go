// Package remote is the client of caches that a team shares, by the Remote Execution API v2 (gRPC) and by Bazel's plain
// HTTP protocol. What it brings in is verified by digest before the store has it; whose results are believed is the
// caller's policy.
//
// A cache may be slow, full, wrong, or gone in the middle. Every call has a deadline, is tried again where that may
// help, and after some failures in a row the cache is left alone for a while. It knows nothing of labels, recipes or the
// engine; it is the only user of gRPC.
package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"vfsb/cache"
)

// Options say where a cache is, and how to speak to it. Only URL and Store are needed.
type Options struct {
	URL   string // grpc://HOST:PORT[/INSTANCE], grpcs://…, http://HOST[:PORT][/PATH], https://…
	Store *cache.Store

	Token          string // sent as a bearer token
	User, Password string // basic authentication
	CA, Cert, Key  string // PEM files: who may sign the server's certificate; the client's own

	Sign  ed25519.PrivateKey // of what is pushed; nil: it is not signed
	Trust []Key              // whose results are believed; empty: everyone's

	patience patience // zero: the usual
}

// A Cache is a cache that others share. Its methods may be called from any goroutine.
//
// Errors that wrap cache.ErrNotFound are no news: the cache does not have it, or a call before has told what is wrong.
type Cache struct {
	Options
	name                     string // the URL, without a password
	backend                  backend
	asking, pulling, pushing breaker

	restarts atomic.Bool // the server gives whole blobs only

	mu   sync.Mutex
	told map[string]bool // reasons to believe no result that were told
}

// A backend is one protocol. Where the cache does not have something, errors wrap cache.ErrNotFound.
type backend interface {
	// result returns the encoded ActionResult of a key.
	result(ctx context.Context, key cache.Digest) ([]byte, error)
	putResult(ctx context.Context, key cache.Digest, result []byte) error
	// missing returns those of the digests that the cache does not have.
	missing(ctx context.Context, list []cache.Digest) ([]cache.Digest, error)
	// read opens a blob from the byte at offset on. It may give too much, or other bytes.
	read(ctx context.Context, d cache.Digest, offset int64) (io.ReadCloser, error)
	// write makes one attempt to store a blob; after a failed one the next goes on where it can.
	write(ctx context.Context, u *upload) error
	// writeSmall stores blobs of less than smallBlob bytes, and calls moved now and then.
	writeSmall(ctx context.Context, blobs [][]byte, moved func(int)) error
	// keeps returns an error if the cache cannot take anything.
	keeps(ctx context.Context) error
	close() error
}

// smallBlob is the size in bytes below which blobs travel together.
const smallBlob = 256 << 10

// An upload is a blob on its way to a cache.
type upload struct {
	digest cache.Digest
	source func(w io.Writer) error // writes the blob from its beginning
	name   string                  // of the attempt that can be gone on with
	moved  func(int)               // to be called when bytes have gone
}

// Open returns the cache that o names. It does not speak to it yet.
func Open(o Options) (*Cache, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("cache %q: not an address; write grpc://HOST:PORT, grpcs://…, http://… or https://…", o.URL)
	}
	if u.User != nil && o.User == "" {
		o.User = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	u.User = nil
	if o.patience == (patience{}) {
		o.patience = usualPatience
	}
	c := &Cache{Options: o, name: u.String(), told: map[string]bool{}}
	c.asking = breaker{cache: c.name, after: "going on without it"}
	c.pulling = breaker{cache: c.name, after: "pulling nothing more from it"}
	c.pushing = breaker{cache: c.name, after: "pushing nothing more to it"}
	switch u.Scheme {
	case "grpc", "grpcs":
		c.backend, err = dialREAPI(u, o)
	case "http", "https":
		c.backend, err = dialHTTP(u, o)
	default:
		return nil, fmt.Errorf("cache %s: unknown protocol %q; there are grpc, grpcs, http and https", c.name, u.Scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("cache %s: %w", c.name, err)
	}
	return c, nil
}

// Name returns the cache's address.
func (c *Cache) Name() string { return c.name }

// Close ends the connections.
func (c *Cache) Close() error { return c.backend.close() }

// Result returns what the action with that key gave, if the result is believed and the cache holds the layer.
func (c *Cache) Result(ctx context.Context, key cache.Digest) (cache.Result, error) {
	var r cache.Result
	if err := c.pulling.open(); err != nil { // what could not be pulled had better be built
		return r, err
	}
	err := c.try(ctx, &c.asking, func(ctx context.Context) error {
		encoded, err := c.backend.result(ctx, key)
		if err != nil {
			return err
		}
		var envelope []byte
		if r, envelope, err = c.decode(ctx, encoded); err != nil {
			return err
		}
		if err := c.believe(key, r, envelope); err != nil {
			return err
		}
		if r.Layer == (cache.Layer{}) {
			return nil
		}
		gone, err := c.backend.missing(ctx, []cache.Digest{r.Layer.Tar})
		if err == nil && len(gone) > 0 { // some servers forget the parts of what they remember
			err = errMissing
		}
		return err
	})
	return r, err
}

// PullLayer brings a layer into the store, and calls progress with the number of bytes that have come. It streams: no
// more than a few buffers of it are in memory.
func (c *Cache) PullLayer(ctx context.Context, l cache.Layer, progress func(done int64)) error {
	return c.transfer(ctx, &c.pulling, func(ctx context.Context, moved func(int)) error {
		r := c.reader(ctx, l.Tar, moved)
		r.progress = progress
		defer r.Close()
		return c.judge(r, c.Store.ImportLayer(r, l))
	})
}

// PullBlob brings a blob into the store.
func (c *Cache) PullBlob(ctx context.Context, d cache.Digest) error {
	return c.transfer(ctx, &c.pulling, func(ctx context.Context, moved func(int)) error {
		r := c.reader(ctx, d, moved)
		defer r.Close()
		dir, release, err := c.Store.NewRun("pull")
		if err != nil {
			return err
		}
		defer release()
		path := filepath.Join(dir, "blob")
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		got, err := cache.DigestReader(io.TeeReader(r, f))
		if err = errors.Join(err, f.Close()); err == nil && got != d {
			err = fmt.Errorf("blob %s: %w", d, cache.ErrWrong)
		}
		if err = c.judge(r, err); err != nil {
			return err
		}
		return c.Store.AdoptFile(path, d)
	})
}

// Push stores the result of key in the cache, and before it all that it names: its layer and its log, the texts, and
// those of the blobs that this store has. A result without a layer says that something has passed.
func (c *Cache) Push(ctx context.Context, key cache.Digest, r cache.Result, texts [][]byte, blobs []cache.Digest) error {
	if err := c.try(ctx, &c.pushing, c.backend.keeps); err != nil {
		return err
	}
	if r.Log.Size == 0 || !c.Store.HasBlob(r.Log) {
		r.Log = cache.Digest{}
	}
	envelope, err := seal(c.Sign, key, r)
	if err != nil {
		return err
	}
	if envelope != nil {
		texts = append(texts[:len(texts):len(texts)], envelope)
	}
	var layers []cache.Layer
	if r.Layer != (cache.Layer{}) {
		layers = append(layers, r.Layer)
	}
	if err := c.Upload(ctx, layers, append([]cache.Digest{r.Log}, blobs...), texts); err != nil {
		return err
	}
	encoded, err := encode(r, envelope)
	if err != nil {
		return err
	}
	err = c.try(ctx, &c.pushing, func(ctx context.Context) error { return c.backend.putResult(ctx, key, encoded) })
	if err == nil {
		c.pushing.succeeded()
	}
	return err
}

// Upload stores what the cache does not have: layers with their indexes, those of the blobs that this store has, and texts.
func (c *Cache) Upload(ctx context.Context, layers []cache.Layer, blobs []cache.Digest, texts [][]byte) error {
	uploads := map[cache.Digest]func(io.Writer) error{}
	for _, text := range texts {
		uploads[cache.DigestOf(text)] = func(w io.Writer) error { _, err := w.Write(text); return err }
	}
	for _, l := range layers {
		uploads[l.Tar] = func(w io.Writer) error { return c.Store.ExportTar(l, w) }
		uploads[l.Index] = func(w io.Writer) error {
			index, err := c.Store.LoadIndex(l)
			if err != nil {
				return err
			}
			_, err = w.Write(index.Marshal())
			return err
		}
	}
	for _, d := range blobs {
		if d.Size > 0 && c.Store.HasBlob(d) {
			uploads[d] = func(w io.Writer) error { return c.Store.ExportBlob(d, w) }
		}
	}
	return c.upload(ctx, uploads)
}

// upload stores those of the blobs that the cache does not have: small ones together, the others one by one.
func (c *Cache) upload(ctx context.Context, uploads map[cache.Digest]func(io.Writer) error) error {
	var all, missing []cache.Digest
	for d := range uploads {
		all = append(all, d)
	}
	err := c.try(ctx, &c.pushing, func(ctx context.Context) (err error) {
		missing, err = c.backend.missing(ctx, all)
		return err
	})
	if err != nil {
		return err
	}
	var small [][]byte
	for _, d := range missing {
		source := uploads[d]
		if source == nil {
			return fmt.Errorf("cache %s: it misses %s, which it was not asked for", c.name, d)
		}
		if d.Size < smallBlob {
			var b bytes.Buffer
			if err := source(&b); err != nil {
				return err
			}
			small = append(small, b.Bytes())
			continue
		}
		u := &upload{digest: d, source: source}
		err := c.transfer(ctx, &c.pushing, func(ctx context.Context, moved func(int)) error {
			u.moved = moved
			return c.backend.write(ctx, u)
		})
		if err != nil {
			return err
		}
	}
	if len(small) == 0 {
		return nil
	}
	return c.transfer(ctx, &c.pushing, func(ctx context.Context, moved func(int)) error {
		return c.backend.writeSmall(ctx, small, moved)
	})
}

// Missing returns those of the digests that the cache does not have.
func (c *Cache) Missing(ctx context.Context, list []cache.Digest) (missing []cache.Digest, err error) {
	err = c.try(ctx, &c.asking, func(ctx context.Context) (err error) {
		missing, err = c.backend.missing(ctx, list)
		return err
	})
	return missing, err
}

// Check reports whether the cache answers.
func (c *Cache) Check(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	_, err := c.Missing(ctx, []cache.Digest{cache.DigestOf([]byte("vfsb"))})
	return time.Since(began), err
}
