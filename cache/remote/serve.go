package remote

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/bazelbuild/remote-apis/build/bazel/semver"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"vfsb/cache"
)

// A Server gives others what a store has, read-only, by both protocols at one port. It asks nobody who they are.
type Server struct {
	Store *cache.Store
	Sign  ed25519.PrivateKey // of what is given; nil: it is not signed

	mu sync.Mutex
	// What results have named, but is no blob of the store. Who asks for it has asked for the result before.
	envelopes map[cache.Digest][]byte
	indexes   map[cache.Digest]cache.Layer
}

// Serve serves at l until ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{Handler: s.handler(), Protocols: new(http.Protocols)}
	h.Protocols.SetHTTP1(true)
	h.Protocols.SetUnencryptedHTTP2(true)
	defer context.AfterFunc(ctx, func() { h.Close() })()
	if err := h.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func (s *Server) handler() http.Handler {
	s.envelopes, s.indexes = map[cache.Digest][]byte{}, map[cache.Digest]cache.Layer{}
	g := grpc.NewServer()
	repb.RegisterCapabilitiesServer(g, &serveCapabilities{})
	repb.RegisterActionCacheServer(g, &serveActions{Server: s})
	repb.RegisterContentAddressableStorageServer(g, &serveBlobs{Server: s})
	bspb.RegisterByteStreamServer(g, &serveBytes{Server: s})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			g.ServeHTTP(w, r)
			return
		}
		s.plain(w, r)
	})
}

// result is the encoded result of a key.
func (s *Server) result(key cache.Digest) ([]byte, error) {
	r, ok := s.Store.Result(key)
	switch {
	case ok && s.Store.HasLayer(r.Layer):
	case !ok && s.Store.Checked(key):
		r = cache.Result{}
	default:
		return nil, errMissing
	}
	if r.Log.Size == 0 || !s.Store.HasBlob(r.Log) {
		r.Log = cache.Digest{}
	}
	envelope, err := seal(s.Sign, key, r)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexes[r.Layer.Index] = r.Layer
	s.envelopes[cache.DigestOf(envelope)] = envelope
	return encode(r, envelope)
}

// open returns what writes the blob; nil: it is not there.
func (s *Server) open(d cache.Digest) func(w io.Writer) error {
	s.mu.Lock()
	envelope := s.envelopes[d]
	indexed, isIndex := s.indexes[d]
	s.mu.Unlock()
	switch {
	case envelope != nil:
		return func(w io.Writer) error { _, err := w.Write(envelope); return err }
	case isIndex && s.Store.HasLayer(indexed):
		return func(w io.Writer) error {
			index, err := s.Store.LoadIndex(indexed)
			if err != nil {
				return err
			}
			_, err = w.Write(index.Marshal())
			return err
		}
	case s.Store.HasBlob(d):
		return func(w io.Writer) error { return s.Store.ExportBlob(d, w) }
	}
	l, err := s.Store.FindLayer(d.Hex())
	if err != nil {
		return nil
	}
	l.Tar = d
	return func(w io.Writer) error { return s.Store.ExportTar(l, w) }
}

type serveCapabilities struct {
	repb.UnimplementedCapabilitiesServer
}

func (*serveCapabilities) GetCapabilities(context.Context, *repb.GetCapabilitiesRequest) (*repb.ServerCapabilities, error) {
	return &repb.ServerCapabilities{
		CacheCapabilities: &repb.CacheCapabilities{
			DigestFunctions:               []repb.DigestFunction_Value{repb.DigestFunction_SHA256},
			ActionCacheUpdateCapabilities: &repb.ActionCacheUpdateCapabilities{},
		},
		LowApiVersion: &semver.SemVer{Major: 2}, HighApiVersion: &semver.SemVer{Major: 2, Minor: 3},
	}, nil
}

type serveActions struct {
	*Server
	repb.UnimplementedActionCacheServer
}

func (s *serveActions) GetActionResult(_ context.Context, r *repb.GetActionResultRequest) (*repb.ActionResult, error) {
	key, err := fromProto(r.ActionDigest)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	encoded, err := s.result(key)
	if errors.Is(err, cache.ErrNotFound) {
		return nil, status.Error(codes.NotFound, "no such result")
	}
	result := &repb.ActionResult{}
	if err == nil {
		err = proto.Unmarshal(encoded, result)
	}
	return result, err
}

type serveBlobs struct {
	*Server
	repb.UnimplementedContentAddressableStorageServer
}

func (s *serveBlobs) FindMissingBlobs(_ context.Context, r *repb.FindMissingBlobsRequest) (*repb.FindMissingBlobsResponse, error) {
	answer := &repb.FindMissingBlobsResponse{}
	for _, p := range r.BlobDigests {
		d, err := fromProto(p)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		if s.open(d) == nil {
			answer.MissingBlobDigests = append(answer.MissingBlobDigests, p)
		}
	}
	return answer, nil
}

type serveBytes struct {
	*Server
	bspb.UnimplementedByteStreamServer
}

var blobName = regexp.MustCompile(`(?:^|/)blobs/([0-9a-f]{64}/[0-9]+)$`)

func (s *serveBytes) Read(r *bspb.ReadRequest, stream bspb.ByteStream_ReadServer) error {
	m := blobName.FindStringSubmatch(r.ResourceName)
	if m == nil {
		return status.Errorf(codes.InvalidArgument, "resource name %q", r.ResourceName)
	}
	d, err := cache.ParseDigest(m[1])
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	write := s.open(d)
	if write == nil {
		return status.Error(codes.NotFound, "no such blob")
	}
	return write(&skipWriter{skip: r.ReadOffset, write: func(b []byte) error { return stream.Send(&bspb.ReadResponse{Data: b}) }})
}

// skipWriter drops the first skip bytes.
type skipWriter struct {
	skip  int64
	write func([]byte) error
}

func (w *skipWriter) Write(b []byte) (int, error) {
	n := len(b)
	drop := min(w.skip, int64(n))
	w.skip -= drop
	if b = b[drop:]; len(b) == 0 {
		return n, nil
	}
	return n, w.write(b)
}

// plain speaks Bazel's protocol for HTTP, which names a blob by its hash alone.
func (s *Server) plain(w http.ResponseWriter, r *http.Request) {
	kind, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "this cache is read-only", http.StatusMethodNotAllowed)
		return
	}
	var d cache.Digest
	var write func(io.Writer) error
	hash, err := hex.DecodeString(name)
	switch {
	case err != nil || len(hash) != 32:
	case kind == "ac":
		if key, ok := s.Store.FindKey([32]byte(hash)); ok {
			var encoded []byte
			if encoded, err = s.result(key); err == nil {
				d.Size, write = int64(len(encoded)), func(w io.Writer) error { _, err := w.Write(encoded); return err }
			}
		}
	case kind == "cas":
		if d, err = s.find([32]byte(hash)); err == nil {
			write = s.open(d)
		}
	}
	if write == nil {
		http.Error(w, "not here", http.StatusNotFound)
		return
	}
	offset := int64(0)
	if text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		if n, err := strconv.ParseInt(strings.TrimSuffix(text, "-"), 10, 64); err == nil && n > 0 && n < d.Size {
			offset = n
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", n, d.Size-1, d.Size))
		}
	}
	w.Header().Set("Content-Length", strconv.FormatInt(d.Size-offset, 10))
	w.Header().Set("Content-Type", "application/octet-stream")
	if offset > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	if r.Method == http.MethodHead {
		return
	}
	if err := write(&skipWriter{skip: offset, write: func(b []byte) error { _, err := w.Write(b); return err }}); err != nil {
		panic(http.ErrAbortHandler) // so that nobody takes it for whole
	}
}

// find completes the digest of a blob or a layer.
func (s *Server) find(hash [32]byte) (cache.Digest, error) {
	name := hex.EncodeToString(hash[:])
	if d, ok := s.Store.FindBlob(name); ok {
		return d, nil
	}
	l, err := s.Store.FindLayer(name)
	if err != nil {
		return cache.Digest{}, err
	}
	index, err := s.Store.LoadIndex(l)
	if err != nil {
		return cache.Digest{}, err
	}
	size, err := index.TarSize()
	return cache.Digest{Hash: hash, Size: size}, err
}
