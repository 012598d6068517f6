package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"vfsb/cache"
)

// envelopeFile is the output path of a result's signature. As an output file with its content inline it survives every
// server: those that keep results as they are, and those that put contents aside, into the blobs.
const envelopeFile = "result.dsse.json"

// maxEnvelope bounds an envelope in bytes.
const maxEnvelope = 64 << 10

// encode makes the ActionResult of a result. The blobs that it names are stored before it is.
func encode(r cache.Result, envelope []byte) ([]byte, error) {
	ar := &repb.ActionResult{ExecutionMetadata: &repb.ExecutedActionMetadata{Worker: "vfsb"}} // an empty message would be refused
	if r.Layer != (cache.Layer{}) {
		ar.OutputFiles = []*repb.OutputFile{
			{Path: cache.IndexFile, Digest: toProto(r.Layer.Index)},
			{Path: cache.TarFile, Digest: toProto(r.Layer.Tar)},
		}
		began := r.Time
		ended := began.Add(time.Duration(r.Seconds * float64(time.Second)))
		ar.ExecutionMetadata.ExecutionStartTimestamp = timestamppb.New(began)
		ar.ExecutionMetadata.ExecutionCompletedTimestamp = timestamppb.New(ended)
		ar.ExecutionMetadata.VirtualExecutionDuration = durationpb.New(time.Duration(r.CPU * float64(time.Second)))
	}
	if r.Log.Size > 0 {
		ar.StdoutDigest = toProto(r.Log)
	}
	if envelope != nil {
		ar.OutputFiles = append(ar.OutputFiles, &repb.OutputFile{
			Path: envelopeFile, Digest: toProto(cache.DigestOf(envelope)), Contents: envelope,
		})
	}
	return proto.Marshal(ar)
}

// decode reads an ActionResult, and its envelope if it has one. A result without a layer is one that says that something
// has passed.
func (c *Cache) decode(ctx context.Context, encoded []byte) (r cache.Result, envelope []byte, err error) {
	ar := &repb.ActionResult{}
	if err := proto.Unmarshal(encoded, ar); err != nil {
		return r, nil, doubt("is no result that can be read")
	}
	if ar.ExitCode != 0 {
		return r, nil, doubt("is of an action that failed")
	}
	if len(ar.OutputFiles) == 0 && ar.ExecutionMetadata.GetWorker() == "" { // no bytes at all are such a message, too
		return r, nil, doubt("is empty")
	}
	digest := func(p *repb.Digest) cache.Digest {
		d, digestErr := fromProto(p)
		if digestErr != nil {
			err = doubt("names something that is no digest")
		}
		return d
	}
	for _, f := range ar.OutputFiles {
		switch f.Path {
		case cache.IndexFile:
			r.Layer.Index = digest(f.Digest)
		case cache.TarFile:
			r.Layer.Tar = digest(f.Digest)
		case envelopeFile:
			if envelope = f.Contents; len(envelope) == 0 {
				if envelope, err = c.small(ctx, digest(f.Digest)); err != nil {
					return r, nil, err
				}
			}
		}
	}
	r.Log = digest(ar.StdoutDigest)
	if (r.Layer.Index.Size == 0) != (r.Layer.Tar.Size == 0) {
		err = doubt("lacks an output")
	}
	m := ar.ExecutionMetadata
	if began, ended := m.GetExecutionStartTimestamp(), m.GetExecutionCompletedTimestamp(); began.IsValid() && ended.IsValid() {
		r.Time = began.AsTime()
		r.Seconds = max(0, ended.AsTime().Sub(r.Time).Seconds())
	}
	if cpu := m.GetVirtualExecutionDuration(); cpu.IsValid() {
		r.CPU = max(0, cpu.AsDuration().Seconds())
	}
	return r, envelope, err
}

// small reads a small blob into memory.
func (c *Cache) small(ctx context.Context, d cache.Digest) ([]byte, error) {
	if d.Size > maxEnvelope {
		return nil, doubt("has a signature that is too long")
	}
	in, err := c.backend.read(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(in, maxEnvelope)); err != nil {
		return nil, err
	}
	if cache.DigestOf(b.Bytes()) != d {
		return nil, fmt.Errorf("blob %s: %w", d, cache.ErrWrong)
	}
	return b.Bytes(), nil
}
