// Package cachetest is a cache server for tests: the Remote Execution API v2 and Bazel's HTTP protocol over one map of
// blobs. It is as strict as the strictest of the servers that people run, and does on demand what servers do on bad
// days. It shares no code with the client that it tests.
package cachetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/bazelbuild/remote-apis/build/bazel/semver"
	"github.com/klauspost/compress/zstd"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// A Server is the cache. Its fields are set before Start; the map can be changed through Corrupt and Forget.
type Server struct {
	Instance      string
	Zstd          bool // speaks compressed-blobs
	ReadOnly      bool // takes nothing
	IgnoresOffset bool // gives whole blobs, whatever the offset, as Bazel's RemoteWorker does
	Moves         bool // takes contents out of results, and does not put them back
	Batch         int64
	Authorization string // what the header of that name must be; "": nothing
	TLS           *tls.Config

	// Fault is asked before each call, with its name ("GetActionResult", "Read", "PUT"), and may take its time. An
	// error is the answer.
	Fault func(call string) error
	// Cut, if it returns a number that is not negative, ends the connection after so many bytes of a blob.
	Cut func(call string) int
	// Down: it answers nothing but that it is down. Forgetful: it gives results whose blobs are gone. They may be set while
	// the server runs, as nothing else may.
	Down, Forgetful atomic.Bool
	// Chunk is called before each piece of a blob that is read.
	Chunk func()

	// Worker runs the commands of actions; nil: the server is a cache alone.
	Worker   Worker
	NoLookup bool // it executes what it knows the result of, as Bazel's RemoteWorker does
	// Hang is called when a client begins to wait for an operation. An error ends its stream.
	Hang func() error

	URL string // set by Start

	mu      sync.Mutex
	blobs   map[string][]byte
	results map[string]*repb.ActionResult
	partial map[string][]byte // unfinished uploads
	calls   map[string]int

	execution *execution
}

// Start serves gRPC, or HTTP, on a free port of the loopback until the test ends.
func (s *Server) Start(t testing.TB, scheme string) {
	t.Helper()
	s.blobs, s.results, s.partial, s.calls = map[string][]byte{}, map[string]*repb.ActionResult{}, map[string][]byte{}, map[string]int{}
	if s.Batch == 0 {
		s.Batch = 4 << 20
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.URL = scheme + "://" + strings.Replace(l.Addr().String(), "127.0.0.1", "localhost", 1)
	if s.Instance != "" {
		s.URL += "/" + s.Instance
	}
	if strings.HasPrefix(scheme, "http") {
		h := &http.Server{Handler: http.HandlerFunc(s.serveHTTP)}
		if s.TLS != nil {
			l = tls.NewListener(l, s.TLS)
		}
		go h.Serve(l)
		t.Cleanup(func() { h.Close() })
		return
	}
	options := []grpc.ServerOption{
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := s.enter(ctx, info.FullMethod); err != nil {
				return nil, err
			}
			return handle(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := s.enter(stream.Context(), info.FullMethod); err != nil {
				return err
			}
			return handle(srv, stream)
		}),
	}
	if s.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.TLS)))
	}
	g := grpc.NewServer(options...)
	repb.RegisterCapabilitiesServer(g, &capabilities{Server: s})
	repb.RegisterActionCacheServer(g, &actionCache{Server: s})
	repb.RegisterContentAddressableStorageServer(g, &blobStore{Server: s})
	bspb.RegisterByteStreamServer(g, &byteStream{Server: s})
	if s.Worker != nil {
		dir := t.TempDir()
		t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", dir).Run() }) // input roots are read-only
		s.registerExecution(g, dir)
	}
	go g.Serve(l)
	t.Cleanup(g.Stop)
}

// Calls returns how often a call was made.
func (s *Server) Calls(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[name]
}

// Blobs returns how many blobs there are.
func (s *Server) Blobs() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.blobs)
}

// HasResults reports whether there is a result.
func (s *Server) HasResults() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.results) > 0
}

// Corrupt changes a byte of every blob of at least size bytes.
func (s *Server) Corrupt(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, b := range s.blobs {
		if len(b) >= size {
			b = bytes.Clone(b)
			b[len(b)/2] ^= 1
			s.blobs[hash] = b
		}
	}
}

// Forget drops every blob of at least size bytes.
func (s *Server) Forget(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, b := range s.blobs {
		if len(b) >= size {
			delete(s.blobs, hash)
		}
	}
}

// Results calls change with every result.
func (s *Server) Results(change func(key string, r *repb.ActionResult)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, r := range s.results {
		change(key, r)
	}
}

// enter is what every call must pass.
func (s *Server) enter(ctx context.Context, method string) error {
	name := method[strings.LastIndexByte(method, '/')+1:]
	s.mu.Lock()
	s.calls[name]++
	s.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	meta := md.Get("build.bazel.remote.execution.v2.requestmetadata-bin")
	if len(meta) != 1 || proto.Unmarshal([]byte(meta[0]), &repb.RequestMetadata{}) != nil {
		return status.Error(codes.InvalidArgument, "no request metadata")
	}
	if got := strings.Join(md.Get("authorization"), ","); s.Authorization != "" && got != s.Authorization {
		return status.Error(codes.Unauthenticated, "who are you?")
	}
	if s.Down.Load() {
		return status.Error(codes.Unavailable, "down for today")
	}
	if s.Fault != nil {
		return s.Fault(name)
	}
	return nil
}

func (s *Server) instance(name string) error {
	if name != s.Instance {
		return status.Errorf(codes.InvalidArgument, "unknown instance %q", name)
	}
	return nil
}

func (s *Server) has(d *repb.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[d.GetHash()]
	return ok && int64(len(b)) == d.GetSizeBytes()
}

func (s *Server) get(hash string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[hash]
	return b, ok
}

// put stores a blob if it is what its digest says.
func (s *Server) put(hash string, size int64, b []byte) error {
	sum := sha256.Sum256(b)
	if hex.EncodeToString(sum[:]) != hash || int64(len(b)) != size {
		return status.Errorf(codes.InvalidArgument, "the blob is not %s/%d", hash, size)
	}
	if s.ReadOnly {
		return status.Error(codes.PermissionDenied, "this cache is read-only")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[hash] = bytes.Clone(b)
	return nil
}

var hashForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

func checkDigest(d *repb.Digest) error {
	if !hashForm.MatchString(d.GetHash()) || d.GetSizeBytes() < 0 {
		return status.Errorf(codes.InvalidArgument, "%v is no digest", d)
	}
	return nil
}

func sha256Only(f repb.DigestFunction_Value) error {
	if f != repb.DigestFunction_SHA256 && f != repb.DigestFunction_UNKNOWN {
		return status.Errorf(codes.InvalidArgument, "digest function %v", f)
	}
	return nil
}

type capabilities struct {
	*Server
	repb.UnimplementedCapabilitiesServer
}

func (s *capabilities) GetCapabilities(_ context.Context, r *repb.GetCapabilitiesRequest) (*repb.ServerCapabilities, error) {
	if err := s.instance(r.InstanceName); err != nil {
		return nil, err
	}
	c := &repb.CacheCapabilities{
		DigestFunctions:               []repb.DigestFunction_Value{repb.DigestFunction_SHA256},
		ActionCacheUpdateCapabilities: &repb.ActionCacheUpdateCapabilities{UpdateEnabled: !s.ReadOnly},
		MaxBatchTotalSizeBytes:        s.Batch,
	}
	if s.Zstd {
		c.SupportedCompressors = []repb.Compressor_Value{repb.Compressor_ZSTD}
	}
	e := &repb.ExecutionCapabilities{DigestFunction: repb.DigestFunction_SHA256, ExecEnabled: s.Worker != nil}
	return &repb.ServerCapabilities{CacheCapabilities: c, ExecutionCapabilities: e, LowApiVersion: &semver.SemVer{Major: 2}, HighApiVersion: &semver.SemVer{Major: 2, Minor: 3}}, nil
}

type actionCache struct {
	*Server
	repb.UnimplementedActionCacheServer
}

func (s *actionCache) GetActionResult(_ context.Context, r *repb.GetActionResultRequest) (*repb.ActionResult, error) {
	if err := firstError(s.instance(r.InstanceName), checkDigest(r.ActionDigest), sha256Only(r.DigestFunction)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	result := s.results[r.ActionDigest.Hash]
	s.mu.Unlock()
	if result == nil || !s.Forgetful.Load() && s.complete(result) != nil {
		return nil, status.Error(codes.NotFound, "no such result")
	}
	return result, nil
}

// complete returns an error if something that the result names is not there.
func (s *Server) complete(r *repb.ActionResult) error {
	for _, f := range r.OutputFiles {
		if !s.has(f.Digest) {
			return status.Errorf(codes.FailedPrecondition, "blob %v of %s is not there", f.Digest, f.Path)
		}
	}
	if d := r.StdoutDigest; d != nil && !s.has(d) {
		return status.Errorf(codes.FailedPrecondition, "stdout %v is not there", d)
	}
	return nil
}

func (s *Server) putResult(hash string, r *repb.ActionResult) error {
	if proto.Size(r) == 0 {
		return status.Error(codes.InvalidArgument, "an empty result")
	}
	for _, f := range r.OutputFiles {
		if f.Path == "" || strings.HasPrefix(f.Path, "/") {
			return status.Errorf(codes.InvalidArgument, "output path %q", f.Path)
		}
		if err := checkDigest(f.Digest); err != nil {
			return err
		}
	}
	if err := s.complete(r); err != nil {
		return err
	}
	if s.ReadOnly {
		return status.Error(codes.PermissionDenied, "this cache is read-only")
	}
	if s.Moves {
		for _, f := range r.OutputFiles {
			f.Contents = nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[hash] = r
	return nil
}

func (s *actionCache) UpdateActionResult(_ context.Context, r *repb.UpdateActionResultRequest) (*repb.ActionResult, error) {
	err := firstError(s.instance(r.InstanceName), checkDigest(r.ActionDigest), sha256Only(r.DigestFunction))
	if err == nil {
		err = s.putResult(r.ActionDigest.Hash, proto.Clone(r.ActionResult).(*repb.ActionResult))
	}
	return r.ActionResult, err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

type blobStore struct {
	*Server
	repb.UnimplementedContentAddressableStorageServer
}

func (s *blobStore) FindMissingBlobs(_ context.Context, r *repb.FindMissingBlobsRequest) (*repb.FindMissingBlobsResponse, error) {
	if err := firstError(s.instance(r.InstanceName), sha256Only(r.DigestFunction)); err != nil {
		return nil, err
	}
	answer := &repb.FindMissingBlobsResponse{}
	for _, d := range r.BlobDigests {
		if err := checkDigest(d); err != nil {
			return nil, err
		}
		if !s.has(d) {
			answer.MissingBlobDigests = append(answer.MissingBlobDigests, d)
		}
	}
	return answer, nil
}

func (s *blobStore) BatchUpdateBlobs(_ context.Context, r *repb.BatchUpdateBlobsRequest) (*repb.BatchUpdateBlobsResponse, error) {
	if err := firstError(s.instance(r.InstanceName), sha256Only(r.DigestFunction)); err != nil {
		return nil, err
	}
	answer := &repb.BatchUpdateBlobsResponse{}
	sum := int64(0)
	for _, b := range r.Requests {
		if sum += int64(len(b.Data)); sum > s.Batch {
			return nil, status.Errorf(codes.InvalidArgument, "more than %d bytes in a batch", s.Batch)
		}
		err := s.put(b.Digest.GetHash(), b.Digest.GetSizeBytes(), b.Data)
		answer.Responses = append(answer.Responses, &repb.BatchUpdateBlobsResponse_Response{Digest: b.Digest, Status: status.Convert(err).Proto()})
	}
	return answer, nil
}

type byteStream struct {
	*Server
	bspb.UnimplementedByteStreamServer
}

var (
	readName  = regexp.MustCompile(`^(?:(.+)/)?(?:blobs|compressed-blobs/(zstd))/([0-9a-f]{64})/([0-9]+)$`)
	writeName = regexp.MustCompile(`^(?:(.+)/)?uploads/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/(?:blobs|compressed-blobs/(zstd))/([0-9a-f]{64})/([0-9]+)$`)
)

// resource takes a name apart.
func (s *byteStream) resource(form *regexp.Regexp, name string) (hash string, size int64, compressed bool, err error) {
	m := form.FindStringSubmatch(name)
	if m == nil {
		return "", 0, false, status.Errorf(codes.InvalidArgument, "resource name %q", name)
	}
	if m[2] != "" && !s.Zstd {
		return "", 0, false, status.Error(codes.InvalidArgument, "compressed blobs are not supported")
	}
	size, _ = strconv.ParseInt(m[4], 10, 64)
	return m[3], size, m[2] != "", s.instance(m[1])
}

func (s *byteStream) Read(r *bspb.ReadRequest, stream bspb.ByteStream_ReadServer) error {
	hash, size, compressed, err := s.resource(readName, r.ResourceName)
	if err != nil {
		return err
	}
	b, ok := s.get(hash)
	if !ok || int64(len(b)) != size {
		return status.Errorf(codes.NotFound, "no blob %s/%d", hash, size)
	}
	if r.ReadOffset < 0 || r.ReadOffset > size {
		return status.Errorf(codes.OutOfRange, "offset %d of %d", r.ReadOffset, size)
	}
	if !s.IgnoresOffset {
		b = b[r.ReadOffset:]
	}
	if compressed {
		z, err := zstd.NewWriter(nil)
		if err != nil {
			return err
		}
		b = z.EncodeAll(b, nil)
	}
	cut := -1
	if s.Cut != nil {
		cut = s.Cut("Read")
	}
	for sent := 0; len(b) > 0; {
		n := min(len(b), 64<<10)
		if cut >= 0 && sent+n > cut {
			if n = cut - sent; n == 0 {
				return status.Error(codes.Unavailable, "the connection broke")
			}
		}
		if s.Chunk != nil {
			s.Chunk()
		}
		if err := stream.Send(&bspb.ReadResponse{Data: b[:n]}); err != nil {
			return err
		}
		b, sent = b[n:], sent+n
	}
	return nil
}

func (s *byteStream) Write(stream bspb.ByteStream_WriteServer) error {
	var name, hash string
	var size int64
	var compressed bool
	var data []byte
	cut := -1
	if s.Cut != nil {
		cut = s.Cut("Write")
	}
	for {
		r, err := stream.Recv()
		if err == io.EOF {
			return status.Error(codes.InvalidArgument, "the stream ended without finish_write")
		}
		if err != nil {
			return err
		}
		switch {
		case name == "":
			name = r.ResourceName
			if hash, size, compressed, err = s.resource(writeName, name); err != nil {
				return err
			}
			if s.has(&repb.Digest{Hash: hash, SizeBytes: size}) {
				if compressed {
					size = -1
				}
				return stream.SendAndClose(&bspb.WriteResponse{CommittedSize: size})
			}
			s.mu.Lock()
			data = s.partial[name]
			s.mu.Unlock()
		case r.ResourceName != "" && r.ResourceName != name:
			return status.Error(codes.InvalidArgument, "another resource name in the same stream")
		}
		if r.WriteOffset != int64(len(data)) {
			return status.Errorf(codes.InvalidArgument, "offset %d, want %d", r.WriteOffset, len(data))
		}
		data = append(data, r.Data...)
		if cut >= 0 && len(data) > cut {
			s.mu.Lock()
			s.partial[name] = bytes.Clone(data[:cut])
			s.mu.Unlock()
			return status.Error(codes.Unavailable, "the connection broke")
		}
		if r.FinishWrite {
			break
		}
	}
	committed := int64(len(data))
	if compressed {
		z, err := zstd.NewReader(nil)
		if err != nil {
			return err
		}
		defer z.Close()
		if data, err = z.DecodeAll(data, nil); err != nil {
			return status.Errorf(codes.InvalidArgument, "zstd: %v", err)
		}
	}
	if err := s.put(hash, size, data); err != nil {
		return err
	}
	return stream.SendAndClose(&bspb.WriteResponse{CommittedSize: committed})
}

func (s *byteStream) QueryWriteStatus(_ context.Context, r *bspb.QueryWriteStatusRequest) (*bspb.QueryWriteStatusResponse, error) {
	hash, size, compressed, err := s.resource(writeName, r.ResourceName)
	if err != nil {
		return nil, err
	}
	if compressed {
		return nil, status.Error(codes.Unimplemented, "compressed uploads are not resumed")
	}
	if s.has(&repb.Digest{Hash: hash, SizeBytes: size}) {
		return &bspb.QueryWriteStatusResponse{CommittedSize: size, Complete: true}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.partial[r.ResourceName]
	if !ok {
		return nil, status.Error(codes.NotFound, "no such upload")
	}
	return &bspb.QueryWriteStatusResponse{CommittedSize: int64(len(data))}, nil
}

// serveHTTP is Bazel's protocol for HTTP.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls[r.Method]++
	s.mu.Unlock()
	if got := r.Header.Get("Authorization"); s.Authorization != "" && got != s.Authorization {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	if s.Fault != nil {
		if err := s.Fault(r.Method); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if s.Instance != "" && path[0] == s.Instance {
		path = path[1:]
	} else if s.Instance != "" {
		path = nil
	}
	if len(path) != 2 || path[0] != "ac" && path[0] != "cas" || !hashForm.MatchString(path[1]) {
		http.Error(w, "no such path", http.StatusBadRequest)
		return
	}
	switch r.Method {
	case http.MethodPut:
		s.putHTTP(w, r, path[0], path[1])
	case http.MethodGet, http.MethodHead:
		s.getHTTP(w, r, path[0], path[1])
	default:
		http.Error(w, "no such method", http.StatusMethodNotAllowed)
	}
}

func (s *Server) putHTTP(w http.ResponseWriter, r *http.Request, kind, hash string) {
	if r.ContentLength < 0 {
		http.Error(w, "how long is it?", http.StatusLengthRequired)
		return
	}
	b, err := io.ReadAll(r.Body)
	if err == nil && kind == "cas" {
		err = s.put(hash, r.ContentLength, b)
	} else if err == nil {
		result := &repb.ActionResult{}
		if err = proto.Unmarshal(b, result); err == nil {
			err = s.putResult(hash, result)
		}
	}
	switch status.Code(err) {
	case codes.OK:
	case codes.PermissionDenied:
		http.Error(w, err.Error(), http.StatusForbidden)
	default:
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (s *Server) getHTTP(w http.ResponseWriter, r *http.Request, kind, hash string) {
	b, ok := s.get(hash)
	if kind == "ac" {
		s.mu.Lock()
		result := s.results[hash]
		s.mu.Unlock()
		if ok = result != nil && (s.Forgetful.Load() || s.complete(result) == nil); ok {
			b, _ = proto.Marshal(result)
		}
	}
	if !ok {
		http.Error(w, "not here", http.StatusNotFound)
		return
	}
	if s.Cut != nil && r.Method == http.MethodGet && kind == "cas" {
		rest, offset := b, 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &offset); err == nil && !s.IgnoresOffset && offset < len(b) {
			rest = b[offset:]
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, len(b)-1, len(b)))
		}
		if cut := s.Cut("GET"); cut >= 0 && cut < len(rest) {
			w.Header().Set("Content-Length", fmt.Sprint(len(rest)))
			if len(rest) < len(b) {
				w.WriteHeader(http.StatusPartialContent)
			}
			w.Write(rest[:cut])
			panic(http.ErrAbortHandler)
		}
		w.Header().Del("Content-Range")
	}
	if s.IgnoresOffset {
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		w.Write(b)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}
