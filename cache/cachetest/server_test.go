package cachetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

//lint:file-ignore SA1019 clients fill in what servers of API 2.0 read

func digest(b []byte) *repb.Digest {
	sum := sha256.Sum256(b)
	return &repb.Digest{Hash: hex.EncodeToString(sum[:]), SizeBytes: int64(len(b))}
}

// A badClient can do what a good one never does.
type badClient struct {
	t       *testing.T
	ctx     context.Context
	cas     repb.ContentAddressableStorageClient
	actions repb.ActionCacheClient
	bytes   bspb.ByteStreamClient
	exec    repb.ExecutionClient
}

func newBadClient(t *testing.T, s *Server) *badClient {
	s.Worker = func(context.Context, string, *repb.Command) (int, []byte, []byte) { return 0, nil, nil }
	s.Start(t, "grpc")
	conn, err := grpc.NewClient(strings.TrimSuffix(strings.TrimPrefix(s.URL, "grpc://"), "/"+s.Instance), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	meta, err := proto.Marshal(&repb.RequestMetadata{})
	if err != nil {
		t.Fatal(err)
	}
	return &badClient{
		t, metadata.AppendToOutgoingContext(context.Background(), "build.bazel.remote.execution.v2.requestmetadata-bin", string(meta), "authorization", "Bearer secret"),
		repb.NewContentAddressableStorageClient(conn), repb.NewActionCacheClient(conn), bspb.NewByteStreamClient(conn), repb.NewExecutionClient(conn),
	}
}

// put stores blobs as a good client does.
func (c *badClient) put(blobs ...[]byte) {
	c.t.Helper()
	for _, b := range blobs {
		if err := c.batch(digest(b), b); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *badClient) batch(d *repb.Digest, b []byte) error {
	answer, err := c.cas.BatchUpdateBlobs(c.ctx, &repb.BatchUpdateBlobsRequest{
		InstanceName: "team", Requests: []*repb.BatchUpdateBlobsRequest_Request{{Digest: d, Data: b}},
	})
	if err != nil {
		return err
	}
	return status.FromProto(answer.Responses[0].Status).Err()
}

// write writes a blob in messages.
func (c *badClient) write(messages ...*bspb.WriteRequest) error {
	stream, err := c.bytes.Write(c.ctx)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if err := stream.Send(m); err != nil {
			break
		}
	}
	_, err = stream.CloseAndRecv()
	return err
}

func (c *badClient) result(r *repb.ActionResult) error {
	_, err := c.actions.UpdateActionResult(c.ctx, &repb.UpdateActionResultRequest{InstanceName: "team", ActionDigest: digest([]byte("key")), ActionResult: r})
	return err
}

// marshal is the message, and its digest.
func (c *badClient) marshal(m proto.Message) ([]byte, *repb.Digest) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	return b, digest(b)
}

// execute has an action executed, after what spoils it; all blobs but those that leave names are stored.
func (c *badClient) execute(spoil func(a *repb.Action, command *repb.Command, root *repb.Directory), leave ...string) error {
	file := []byte("a file")
	command := &repb.Command{
		Arguments: []string{"vfsb"}, OutputPaths: []string{"a", "b"}, Platform: &repb.Platform{Properties: []*repb.Platform_Property{{Name: "ISA", Value: "x"}}},
	}
	root := &repb.Directory{Files: []*repb.FileNode{{Name: "a", Digest: digest(file)}, {Name: "b", Digest: digest(file)}}}
	a := &repb.Action{Platform: proto.Clone(command.Platform).(*repb.Platform)}
	spoil(a, command, root)
	blobs := map[string][]byte{"file": file}
	blobs["command"], a.CommandDigest = c.marshal(command)
	blobs["root"], a.InputRootDigest = c.marshal(root)
	var d *repb.Digest
	blobs["action"], d = c.marshal(a)
	for _, name := range leave {
		delete(blobs, name)
	}
	for _, b := range blobs {
		c.put(b)
	}
	stream, err := c.exec.Execute(c.ctx, &repb.ExecuteRequest{InstanceName: "team", ActionDigest: d})
	for err == nil {
		_, err = stream.Recv()
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// TestStrict: each thing that a client may not do is refused, and what it may do is not.
func TestStrict(t *testing.T) {
	blob := []byte("a blob")
	hash := digest(blob).Hash
	upload := func(rest string) string { return "team/uploads/2c9e6b0a-3b1c-4d5e-8f90-0123456789ab/" + rest }
	good := upload("blobs/" + hash + "/6")
	for _, c := range []struct {
		name string
		do   func(c *badClient) error
		want codes.Code
	}{
		{"no metadata", func(c *badClient) error { c.ctx = context.Background(); return c.batch(digest(blob), blob) }, codes.InvalidArgument},
		{"no authorization", func(c *badClient) error {
			md, _ := metadata.FromOutgoingContext(c.ctx)
			md.Delete("authorization")
			c.ctx = metadata.NewOutgoingContext(context.Background(), md)
			return c.batch(digest(blob), blob)
		}, codes.Unauthenticated},
		{"another instance", func(c *badClient) error {
			_, err := c.cas.FindMissingBlobs(c.ctx, &repb.FindMissingBlobsRequest{})
			return err
		}, codes.InvalidArgument},
		{"another digest function", func(c *badClient) error {
			_, err := c.cas.FindMissingBlobs(c.ctx, &repb.FindMissingBlobsRequest{InstanceName: "team", DigestFunction: repb.DigestFunction_BLAKE3})
			return err
		}, codes.InvalidArgument},
		{"no digest", func(c *badClient) error {
			_, err := c.cas.FindMissingBlobs(c.ctx, &repb.FindMissingBlobsRequest{InstanceName: "team", BlobDigests: []*repb.Digest{{Hash: strings.ToUpper(hash)}}})
			return err
		}, codes.InvalidArgument},
		{"good batch", func(c *badClient) error { return c.batch(digest(blob), blob) }, codes.OK},
		{"wrong bytes in a batch", func(c *badClient) error { return c.batch(digest(blob), []byte("a blot")) }, codes.InvalidArgument},
		{"batch too large", func(c *badClient) error { b := make([]byte, 2000); return c.batch(digest(b), b) }, codes.InvalidArgument},
		{"good write", func(c *badClient) error {
			return c.write(&bspb.WriteRequest{ResourceName: good, Data: blob[:2]}, &bspb.WriteRequest{WriteOffset: 2, Data: blob[2:], FinishWrite: true})
		}, codes.OK},
		{"wrong bytes in a write", func(c *badClient) error {
			return c.write(&bspb.WriteRequest{ResourceName: good, Data: []byte("a blot"), FinishWrite: true})
		}, codes.InvalidArgument},
		{"too few bytes", func(c *badClient) error {
			return c.write(&bspb.WriteRequest{ResourceName: good, Data: blob[:2], FinishWrite: true})
		}, codes.InvalidArgument},
		{"a gap", func(c *badClient) error {
			return c.write(&bspb.WriteRequest{ResourceName: good, Data: blob[:2]}, &bspb.WriteRequest{WriteOffset: 3, Data: blob[2:], FinishWrite: true})
		}, codes.InvalidArgument},
		{"never finished", func(c *badClient) error { return c.write(&bspb.WriteRequest{ResourceName: good, Data: blob}) }, codes.InvalidArgument},
		{"another name in the stream", func(c *badClient) error {
			return c.write(&bspb.WriteRequest{ResourceName: good, Data: blob[:2]}, &bspb.WriteRequest{ResourceName: good + "1", WriteOffset: 2, Data: blob[2:], FinishWrite: true})
		}, codes.InvalidArgument},
		{"no UUID", func(c *badClient) error {
			return c.write(&bspb.WriteRequest{ResourceName: "team/uploads/1/blobs/" + hash + "/6", Data: blob, FinishWrite: true})
		}, codes.InvalidArgument},
		{"compressed", func(c *badClient) error {
			return c.write(&bspb.WriteRequest{ResourceName: upload("compressed-blobs/zstd/" + hash + "/6"), Data: blob, FinishWrite: true})
		}, codes.InvalidArgument},
		{"read behind the end", func(c *badClient) error {
			c.put(blob)
			stream, err := c.bytes.Read(c.ctx, &bspb.ReadRequest{ResourceName: "team/blobs/" + hash + "/6", ReadOffset: 7})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}, codes.OutOfRange},
		{"good result", func(c *badClient) error {
			c.put(blob)
			return c.result(&repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "a", Digest: digest(blob)}}})
		}, codes.OK},
		{"result without its blob", func(c *badClient) error {
			return c.result(&repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "a", Digest: digest(blob)}}})
		}, codes.FailedPrecondition},
		{"result without its log", func(c *badClient) error { return c.result(&repb.ActionResult{StdoutDigest: digest(blob)}) }, codes.FailedPrecondition},
		{"absolute output path", func(c *badClient) error {
			c.put(blob)
			return c.result(&repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "/a", Digest: digest(blob)}}})
		}, codes.InvalidArgument},
		{"empty result", func(c *badClient) error { return c.result(&repb.ActionResult{}) }, codes.InvalidArgument},

		{"good action", func(c *badClient) error { return c.execute(func(*repb.Action, *repb.Command, *repb.Directory) {}) }, codes.OK},
		{"no action", func(c *badClient) error {
			return c.execute(func(*repb.Action, *repb.Command, *repb.Directory) {}, "action")
		}, codes.FailedPrecondition},
		{"no command", func(c *badClient) error {
			return c.execute(func(*repb.Action, *repb.Command, *repb.Directory) {}, "command")
		}, codes.FailedPrecondition},
		{"no input root", func(c *badClient) error {
			return c.execute(func(*repb.Action, *repb.Command, *repb.Directory) {}, "root")
		}, codes.FailedPrecondition},
		{"no input file", func(c *badClient) error {
			return c.execute(func(*repb.Action, *repb.Command, *repb.Directory) {}, "file")
		}, codes.FailedPrecondition},
		{"files not in order", func(c *badClient) error {
			return c.execute(func(_ *repb.Action, _ *repb.Command, r *repb.Directory) {
				r.Files[0], r.Files[1] = r.Files[1], r.Files[0]
			})
		}, codes.InvalidArgument},
		{"a path as a file's name", func(c *badClient) error {
			return c.execute(func(_ *repb.Action, _ *repb.Command, r *repb.Directory) { r.Files[0].Name = "../a" })
		}, codes.InvalidArgument},
		{"output paths not in order", func(c *badClient) error {
			return c.execute(func(_ *repb.Action, x *repb.Command, _ *repb.Directory) { x.OutputPaths = []string{"b", "a"} })
		}, codes.InvalidArgument},
		{"environment not in order", func(c *badClient) error {
			return c.execute(func(_ *repb.Action, x *repb.Command, _ *repb.Directory) {
				x.EnvironmentVariables = []*repb.Command_EnvironmentVariable{{Name: "B"}, {Name: "A"}}
			})
		}, codes.InvalidArgument},
		{"another platform", func(c *badClient) error {
			return c.execute(func(a *repb.Action, _ *repb.Command, _ *repb.Directory) { a.Platform = nil })
		}, codes.InvalidArgument},
		{"no arguments", func(c *badClient) error {
			return c.execute(func(_ *repb.Action, x *repb.Command, _ *repb.Directory) { x.Arguments = nil })
		}, codes.InvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBadClient(t, &Server{Instance: "team", Authorization: "Bearer secret", Batch: 1000})
			if err := c.do(b); status.Code(err) != c.want {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	t.Run("read-only", func(t *testing.T) {
		b := newBadClient(t, &Server{Instance: "team", Authorization: "Bearer secret", ReadOnly: true})
		if err := b.batch(digest(blob), blob); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%v, want that it is refused", err)
		}
	})
}

// TestStrictHTTP: the same for Bazel's HTTP protocol.
func TestStrictHTTP(t *testing.T) {
	s := &Server{Authorization: "Bearer secret"}
	s.Start(t, "http")
	blob := []byte("a blob")
	hash := digest(blob).Hash
	incomplete, err := proto.Marshal(&repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "a", Digest: digest([]byte("another"))}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, path string
		body               io.Reader
		auth               string
		want               int
	}{
		{"good", "PUT", "/cas/" + hash, bytes.NewReader(blob), "Bearer secret", 200},
		{"wrong bytes", "PUT", "/cas/" + digest(nil).Hash, bytes.NewReader(blob), "Bearer secret", 400},
		{"no authorization", "PUT", "/cas/" + hash, bytes.NewReader(blob), "", 401},
		{"no length", "PUT", "/cas/" + hash, io.MultiReader(bytes.NewReader(blob)), "Bearer secret", 411},
		{"no digest", "GET", "/cas/" + hash[1:], nil, "Bearer secret", 400},
		{"another folder", "GET", "/etc/" + hash, nil, "Bearer secret", 400},
		{"another method", "DELETE", "/cas/" + hash, nil, "Bearer secret", 405},
		{"a result without its blob", "PUT", "/ac/" + hash, bytes.NewReader(incomplete), "Bearer secret", 400},
	} {
		r, err := http.NewRequest(c.method, s.URL+c.path, c.body)
		if err != nil {
			t.Fatal(err)
		}
		if c.auth != "" {
			r.Header.Set("Authorization", c.auth)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", c.name, answer.Status, c.want)
		}
	}
	if n := fmt.Sprint(s.Blobs()); n != "1" {
		t.Errorf("there are %s blobs, want the good one", n)
	}
}
