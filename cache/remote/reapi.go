package remote

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/klauspost/compress/zstd"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"vfsb/cache"
)

// reapi speaks the Remote Execution API v2.
// https://github.com/bazelbuild/remote-apis/blob/main/build/bazel/remote/execution/v2/remote_execution.proto
type reapi struct {
	conn     *grpc.ClientConn
	cas      repb.ContentAddressableStorageClient
	actions  repb.ActionCacheClient
	bytes    bspb.ByteStreamClient
	instance string

	mu  sync.Mutex // held while the server is asked for them
	can *abilities
}

// abilities is what the server says that it can do.
type abilities struct {
	batch   int // bytes of blobs in one message
	zstd    bool
	updates bool // it takes results
	// executes: it is a cluster, and not a cache alone.
	executes bool
}

const (
	maxBatch = 1 << 20   // bytes of blobs in one message: gRPC takes 4 MiB, but a slow line does not move that in time
	chunk    = 512 << 10 // bytes of a blob in one message of a stream
)

func dialREAPI(u *url.URL, o Options) (*reapi, error) {
	creds, port := insecure.NewCredentials(), "80"
	if u.Scheme == "grpcs" {
		config, err := o.tls()
		if err != nil {
			return nil, err
		}
		creds, port = credentials.NewTLS(config), "443"
	}
	host := u.Host
	if u.Port() == "" {
		host += ":" + port
	}
	// Some servers want to know who asks in every call.
	tool, err := proto.Marshal(&repb.RequestMetadata{ToolDetails: &repb.ToolDetails{ToolName: "vfsb"}})
	if err != nil {
		return nil, err
	}
	header := []string{"build.bazel.remote.execution.v2.requestmetadata-bin", string(tool)}
	if auth := o.authorization(); auth != "" {
		header = append(header, "authorization", auth)
	}
	conn, err := grpc.NewClient(host, grpc.WithTransportCredentials(creds), grpc.WithUserAgent("vfsb"),
		// Where nothing listens, gRPC looks again after up to two minutes, if not told otherwise, and fails every call until then.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: o.patience.backoff / 2, Multiplier: 2, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 20 * time.Second,
		}),
		// Who waits for an operation hears nothing for hours. Servers close connections that ask more often.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 5*time.Minute + 10*time.Second, Timeout: time.Minute}),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return explain(invoke(metadata.AppendToOutgoingContext(ctx, header...), method, req, reply, cc, opts...))
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(metadata.AppendToOutgoingContext(ctx, header...), desc, cc, method, opts...)
			return s, explain(err)
		}))
	if err != nil {
		return nil, err
	}
	return &reapi{
		conn: conn, cas: repb.NewContentAddressableStorageClient(conn), actions: repb.NewActionCacheClient(conn),
		bytes: bspb.NewByteStreamClient(conn), instance: strings.Trim(u.Path, "/"),
	}, nil
}

// authorization is the value of the header of that name.
func (o Options) authorization() string {
	switch {
	case o.Token != "":
		return "Bearer " + o.Token
	case o.User != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(o.User+":"+o.Password))
	}
	return ""
}

// explain turns a status into an error of this package, of which the status can still be had.
func explain(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	s := status.Convert(err)
	return &explainedError{statusError(s), s}
}

type explainedError struct {
	error
	status *status.Status
}

func (e *explainedError) Unwrap() error              { return e.error }
func (e *explainedError) GRPCStatus() *status.Status { return e.status }

func statusError(s *status.Status) error {
	text := s.Message()
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	switch s.Code() {
	case codes.OK:
		return nil
	case codes.NotFound:
		return errMissing
	case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		return fmt.Errorf("%w: %s: %s", errRefused, s.Code(), text)
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return fmt.Errorf("%w: %s: %s", errOnce, s.Code(), text)
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %s", context.DeadlineExceeded, text)
	}
	if strings.Contains(text, "produced zero addresses") {
		text = "unknown host"
	}
	return fmt.Errorf("%s: %s", s.Code(), text)
}

func (b *reapi) close() error { return b.conn.Close() }

func toProto(d cache.Digest) *repb.Digest { return &repb.Digest{Hash: d.Hex(), SizeBytes: d.Size} }

func fromProto(d *repb.Digest) (cache.Digest, error) {
	if d == nil {
		return cache.Digest{}, nil
	}
	return cache.ParseDigest(fmt.Sprintf("%s/%d", d.Hash, d.SizeBytes))
}

// abilities asks the server what it can do, once.
func (b *reapi) abilities(ctx context.Context) (*abilities, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.can != nil {
		return b.can, nil
	}
	answer, err := repb.NewCapabilitiesClient(b.conn).GetCapabilities(ctx, &repb.GetCapabilitiesRequest{InstanceName: b.instance})
	if err != nil {
		return nil, err
	}
	caps := answer.GetCacheCapabilities()
	if !slices.Contains(caps.GetDigestFunctions(), repb.DigestFunction_SHA256) {
		return nil, fmt.Errorf("%w: it does not know SHA-256", errRefused)
	}
	can := &abilities{batch: maxBatch, updates: caps.GetActionCacheUpdateCapabilities().GetUpdateEnabled()}
	if n := caps.GetMaxBatchTotalSizeBytes(); n > 0 && n < maxBatch {
		can.batch = int(n)
	}
	can.executes = answer.GetExecutionCapabilities().GetExecEnabled()
	can.zstd = slices.Contains(caps.GetSupportedCompressors(), repb.Compressor_ZSTD)
	b.can = can
	return can, nil
}

func (b *reapi) keeps(ctx context.Context) error {
	can, err := b.abilities(ctx)
	if err == nil && !can.updates {
		err = fmt.Errorf("%w: the server takes no results from this client", errRefused)
	}
	return err
}

func (b *reapi) result(ctx context.Context, key cache.Digest) ([]byte, error) {
	if _, err := b.abilities(ctx); err != nil {
		return nil, err
	}
	r, err := b.actions.GetActionResult(ctx, &repb.GetActionResultRequest{
		InstanceName: b.instance, ActionDigest: toProto(key), InlineOutputFiles: []string{envelopeFile}, DigestFunction: repb.DigestFunction_SHA256,
	})
	if err != nil {
		return nil, err
	}
	return proto.Marshal(r)
}

func (b *reapi) putResult(ctx context.Context, key cache.Digest, result []byte) error {
	r := &repb.ActionResult{}
	if err := proto.Unmarshal(result, r); err != nil {
		return err
	}
	_, err := b.actions.UpdateActionResult(ctx, &repb.UpdateActionResultRequest{
		InstanceName: b.instance, ActionDigest: toProto(key), ActionResult: r, DigestFunction: repb.DigestFunction_SHA256,
	})
	return err
}

func (b *reapi) missing(ctx context.Context, list []cache.Digest) ([]cache.Digest, error) {
	if _, err := b.abilities(ctx); err != nil {
		return nil, err
	}
	ask := &repb.FindMissingBlobsRequest{InstanceName: b.instance, DigestFunction: repb.DigestFunction_SHA256}
	for _, d := range list {
		ask.BlobDigests = append(ask.BlobDigests, toProto(d))
	}
	answer, err := b.cas.FindMissingBlobs(ctx, ask)
	if err != nil {
		return nil, err
	}
	var missing []cache.Digest
	for _, p := range answer.MissingBlobDigests {
		d, err := fromProto(p)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errOnce, err)
		}
		missing = append(missing, d)
	}
	return missing, nil
}

func (b *reapi) writeSmall(ctx context.Context, blobs [][]byte, moved func(int)) error {
	can, err := b.abilities(ctx)
	if err != nil {
		return err
	}
	for len(blobs) > 0 {
		if first := blobs[0]; len(first) > can.batch {
			u := &upload{digest: cache.DigestOf(first), moved: moved}
			u.source = func(w io.Writer) error { _, err := w.Write(first); return err }
			if err := b.write(ctx, u); err != nil {
				return err
			}
			blobs = blobs[1:]
			continue
		}
		ask := &repb.BatchUpdateBlobsRequest{InstanceName: b.instance, DigestFunction: repb.DigestFunction_SHA256}
		size := 0
		for len(blobs) > 0 && size+len(blobs[0]) <= can.batch {
			ask.Requests = append(ask.Requests, &repb.BatchUpdateBlobsRequest_Request{Digest: toProto(cache.DigestOf(blobs[0])), Data: blobs[0]})
			size += len(blobs[0])
			blobs = blobs[1:]
		}
		answer, err := b.cas.BatchUpdateBlobs(ctx, ask)
		if err != nil {
			return err
		}
		moved(size)
		if len(answer.Responses) != len(ask.Requests) {
			return fmt.Errorf("%w: it answers for %d of %d blobs", errOnce, len(answer.Responses), len(ask.Requests))
		}
		for _, r := range answer.Responses {
			if err := statusError(status.FromProto(r.Status)); err != nil {
				return fmt.Errorf("blob %s: %w", r.Digest.GetHash(), err)
			}
		}
	}
	return nil
}

// resource is the name of a blob for ByteStream.
func (b *reapi) resource(parts ...string) string {
	return strings.TrimPrefix(b.instance+"/"+strings.Join(parts, "/"), "/")
}

func (b *reapi) read(ctx context.Context, d cache.Digest, offset int64) (io.ReadCloser, error) {
	can, err := b.abilities(ctx)
	if err != nil {
		return nil, err
	}
	name := b.resource("blobs", d.String())
	if can.zstd {
		name = b.resource("compressed-blobs", "zstd", d.String())
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := b.bytes.Read(ctx, &bspb.ReadRequest{ResourceName: name, ReadOffset: offset})
	if err != nil {
		cancel()
		return nil, err
	}
	plain := &byteReader{stream: stream, cancel: cancel}
	if !can.zstd {
		return plain, nil
	}
	z, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		plain.Close()
		return nil, err
	}
	return &zstdReader{z, plain}, nil
}

// maxWindow bounds the memory of a decompressor in bytes.
const maxWindow = 32 << 20

type byteReader struct {
	stream grpc.ServerStreamingClient[bspb.ReadResponse]
	cancel context.CancelFunc
	rest   []byte
}

func (r *byteReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		answer, err := r.stream.Recv()
		if err != nil {
			return 0, explain(err)
		}
		r.rest = answer.Data
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *byteReader) Close() error { r.cancel(); return nil }

type zstdReader struct {
	*zstd.Decoder
	plain *byteReader
}

func (r *zstdReader) Close() error {
	r.Decoder.Close()
	return r.plain.Close()
}

func (b *reapi) write(ctx context.Context, u *upload) error {
	can, err := b.abilities(ctx)
	if err != nil {
		return err
	}
	offset := int64(0)
	if u.name != "" && !can.zstd { // a compressor need not give the same bytes again
		answer, err := b.bytes.QueryWriteStatus(ctx, &bspb.QueryWriteStatusRequest{ResourceName: u.name})
		switch {
		case err != nil:
			u.name = ""
		case answer.Complete:
			return nil
		default:
			offset = answer.CommittedSize
		}
	}
	if u.name == "" || can.zstd {
		u.name = b.resource("uploads", uuid(), "blobs", u.digest.String())
		if can.zstd {
			u.name = b.resource("uploads", uuid(), "compressed-blobs", "zstd", u.digest.String())
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := b.bytes.Write(ctx)
	if err != nil {
		return err
	}
	w := &byteWriter{stream: stream, upload: u, skip: offset, sent: offset}
	err = w.writeAll(can.zstd)
	if err != nil && err != io.EOF {
		return err
	}
	// After an EOF the server has said what it has to say, such as that it has the blob.
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return explain(err)
	}
	if n := answer.CommittedSize; n != u.digest.Size && n != w.sent && n != -1 {
		u.name = ""
		return fmt.Errorf("the server has taken %d of %d bytes", n, u.digest.Size)
	}
	return nil
}

// byteWriter sends what is written to it, without the first skip bytes.
type byteWriter struct {
	stream grpc.ClientStreamingClient[bspb.WriteRequest, bspb.WriteResponse]
	upload *upload
	skip   int64
	sent   int64
	buf    []byte
	err    error // of the stream
}

// writeAll sends the blob. An error of the source is the machine's.
func (w *byteWriter) writeAll(compress bool) error {
	var err error
	if compress {
		z, zErr := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
		if zErr != nil {
			return zErr
		}
		err = errors.Join(w.upload.source(z), z.Close())
	} else {
		err = w.upload.source(w)
	}
	if w.err == nil && err != nil {
		return &localError{err}
	}
	if w.err == nil {
		w.send(true)
	}
	return w.err
}

func (w *byteWriter) Write(b []byte) (int, error) {
	n := len(b)
	if skip := min(w.skip, int64(n)); skip > 0 {
		w.skip -= skip
		b = b[skip:]
	}
	for len(b) > 0 && w.err == nil {
		k := min(chunk-len(w.buf), len(b))
		w.buf = append(w.buf, b[:k]...)
		b = b[k:]
		if len(w.buf) == chunk {
			w.send(false)
		}
	}
	return n, w.err
}

func (w *byteWriter) send(last bool) {
	ask := &bspb.WriteRequest{ResourceName: w.upload.name, WriteOffset: w.sent, Data: w.buf, FinishWrite: last}
	w.err = explain(w.stream.Send(ask))
	w.sent += int64(len(w.buf))
	w.upload.moved(len(w.buf))
	w.buf = w.buf[:0]
}

// uuid is a random UUID, version 4.
func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
