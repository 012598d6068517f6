package cachetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

//lint:file-ignore SA1019 clients fill in what servers of API 2.0 read

// A Worker runs a command in an input root, and returns its exit code and what it printed.
type Worker func(ctx context.Context, dir string, command *repb.Command) (code int, stdout, stderr []byte)

// RunHere runs the command as a process of this machine, where its program lies at path. Its environment is the command's own
// and what is given here.
func RunHere(path string, env ...string) Worker {
	return func(ctx context.Context, dir string, command *repb.Command) (int, []byte, []byte) {
		cmd := exec.CommandContext(ctx, path, command.Arguments[1:]...)
		cmd.Args[0], cmd.Dir = command.Arguments[0], dir
		for _, v := range command.EnvironmentVariables {
			cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
		}
		cmd.Env = append(cmd.Env, env...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			return 127, nil, []byte(err.Error())
		}
		return cmd.ProcessState.ExitCode(), stdout.Bytes(), stderr.Bytes()
	}
}

// execution executes actions. Operations outlive the streams of those who wait for them.
type execution struct {
	*Server
	repb.UnimplementedExecutionServer
	longrunningpb.UnimplementedOperationsServer

	ops    map[string]*operation
	opsMu  sync.Mutex
	dir    string
	serial int
}

type operation struct {
	cancel context.CancelFunc
	done   chan struct{}
	result *longrunningpb.Operation // when done
}

// registerExecution makes the server one that executes, in folders below dir.
func (s *Server) registerExecution(g *grpc.Server, dir string) {
	s.execution = &execution{Server: s, ops: map[string]*operation{}, dir: dir}
	repb.RegisterExecutionServer(g, s.execution)
	longrunningpb.RegisterOperationsServer(g, s.execution)
}

func (e *execution) Execute(r *repb.ExecuteRequest, stream repb.Execution_ExecuteServer) error {
	if err := firstError(e.instance(r.InstanceName), checkDigest(r.ActionDigest), sha256Only(r.DigestFunction)); err != nil {
		return err
	}
	e.mu.Lock()
	known := e.results[r.ActionDigest.Hash]
	e.mu.Unlock()
	if known != nil && !r.SkipCacheLookup && !e.NoLookup && (e.Forgetful.Load() || e.complete(known) == nil) {
		return stream.Send(finished("cached", &repb.ExecuteResponse{Result: known, CachedResult: true}))
	}
	action, command, root, err := e.inputs(r.ActionDigest)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	if t := action.Timeout; t != nil {
		ctx, cancel = context.WithTimeout(ctx, t.AsDuration())
	}
	op := &operation{cancel: cancel, done: make(chan struct{})}
	e.opsMu.Lock()
	e.serial++
	name := fmt.Sprintf("operations/%d", e.serial)
	e.ops[name] = op
	e.opsMu.Unlock()
	go func() {
		defer close(op.done)
		defer cancel()
		op.result = finished(name, e.execute(ctx, r.ActionDigest.Hash, command, root))
	}()
	return e.follow(name, op, stream.Context(), stream.Send)
}

func (e *execution) WaitExecution(r *repb.WaitExecutionRequest, stream repb.Execution_WaitExecutionServer) error {
	e.opsMu.Lock()
	op := e.ops[r.Name]
	e.opsMu.Unlock()
	if op == nil {
		return status.Errorf(codes.NotFound, "no operation %q", r.Name)
	}
	return e.follow(r.Name, op, stream.Context(), stream.Send)
}

// follow sends where the operation is, until it is done or Hang tells to end the stream.
func (e *execution) follow(name string, op *operation, ctx context.Context, send func(*longrunningpb.Operation) error) error {
	metadata, err := anypb.New(&repb.ExecuteOperationMetadata{Stage: repb.ExecutionStage_EXECUTING})
	if err == nil {
		err = send(&longrunningpb.Operation{Name: name, Metadata: metadata})
	}
	if err != nil {
		return err
	}
	if e.Hang != nil {
		if err := e.Hang(); err != nil {
			return err
		}
	}
	select {
	case <-op.done:
		return send(op.result)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *execution) CancelOperation(_ context.Context, r *longrunningpb.CancelOperationRequest) (*emptypb.Empty, error) {
	e.opsMu.Lock()
	op := e.ops[r.Name]
	e.opsMu.Unlock()
	if op == nil {
		return nil, status.Errorf(codes.NotFound, "no operation %q", r.Name)
	}
	op.cancel()
	return &emptypb.Empty{}, nil
}

// CancelOperations ends every operation, as a server does whose workers are gone.
func (s *Server) CancelOperations() {
	e := s.execution
	e.opsMu.Lock()
	defer e.opsMu.Unlock()
	for _, op := range e.ops {
		op.cancel()
	}
}

// ForgetOperations ends and drops every operation, as a server does that starts again.
func (s *Server) ForgetOperations() {
	s.CancelOperations()
	s.execution.opsMu.Lock()
	defer s.execution.opsMu.Unlock()
	clear(s.execution.ops)
}

func finished(name string, r *repb.ExecuteResponse) *longrunningpb.Operation {
	response, err := anypb.New(r)
	if err != nil {
		panic(err)
	}
	return &longrunningpb.Operation{Name: name, Done: true, Result: &longrunningpb.Operation_Response{Response: response}}
}

// inputs reads what an action names, all of which must be there.
func (e *execution) inputs(digest *repb.Digest) (*repb.Action, *repb.Command, *repb.Directory, error) {
	action, command, root := &repb.Action{}, &repb.Command{}, &repb.Directory{}
	var missing []*repb.Digest
	read := func(d *repb.Digest, m proto.Message) error {
		b, ok := e.get(d.GetHash())
		if !ok {
			missing = append(missing, d)
			return nil
		}
		return proto.Unmarshal(b, m)
	}
	err := read(digest, action)
	if len(missing) == 0 {
		err = firstError(err, read(action.CommandDigest, command), e.walk(action.InputRootDigest, root, &missing))
	}
	if err != nil {
		return nil, nil, nil, status.Errorf(codes.InvalidArgument, "%v", err)
	}
	if len(missing) > 0 {
		failure := &errdetails.PreconditionFailure{}
		for _, d := range missing {
			failure.Violations = append(failure.Violations, &errdetails.PreconditionFailure_Violation{
				Type: "MISSING", Subject: fmt.Sprintf("blobs/%s/%d", d.Hash, d.SizeBytes),
			})
		}
		s, err := status.New(codes.FailedPrecondition, "inputs are missing").WithDetails(failure)
		if err != nil {
			return nil, nil, nil, err
		}
		return nil, nil, nil, s.Err()
	}
	if err := canonical(command); err != nil {
		return nil, nil, nil, status.Errorf(codes.InvalidArgument, "%v", err)
	}
	if !proto.Equal(action.Platform, command.Platform) {
		return nil, nil, nil, status.Error(codes.InvalidArgument, "the action's platform is not the command's")
	}
	return action, command, root, nil
}

// canonical returns an error for what the protocol forbids in a command.
func canonical(c *repb.Command) error {
	if len(c.Arguments) == 0 || c.Arguments[0] == "" || filepath.IsAbs(c.WorkingDirectory) {
		return fmt.Errorf("the command has no arguments, or an absolute working directory")
	}
	sorted := func(what string, list []string) error {
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			return fmt.Errorf("%s are not sorted, or not unique: %q", what, list)
		}
		return nil
	}
	var env, properties []string
	for _, v := range c.EnvironmentVariables {
		env = append(env, v.Name)
	}
	for _, p := range c.GetPlatform().GetProperties() {
		properties = append(properties, p.Name)
	}
	return firstError(sorted("environment variables", env), sorted("platform properties", properties), sorted("output paths", c.OutputPaths), sorted("output files", c.OutputFiles))
}

// walk reads a directory, and checks that it is canonical and that all below it is there.
func (e *execution) walk(d *repb.Digest, dir *repb.Directory, missing *[]*repb.Digest) error {
	b, ok := e.get(d.GetHash())
	if !ok {
		*missing = append(*missing, d)
		return nil
	}
	if err := proto.Unmarshal(b, dir); err != nil {
		return err
	}
	names := ""
	seen := func(name, kind string, last *string) error {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || *last >= name {
			return fmt.Errorf("directory %s: the %s %q is no name, or not in order", d.Hash, kind, name)
		}
		*last = name
		if strings.Contains(names, "/"+name+"/") {
			return fmt.Errorf("directory %s holds %q twice", d.Hash, name)
		}
		names += "/" + name + "/"
		return nil
	}
	last := ""
	for _, f := range dir.Files {
		if err := seen(f.Name, "file", &last); err != nil {
			return err
		}
		if !e.has(f.Digest) {
			*missing = append(*missing, f.Digest)
		}
	}
	last = ""
	for _, sub := range dir.Directories {
		if err := firstError(seen(sub.Name, "folder", &last), e.walk(sub.Digest, &repb.Directory{}, missing)); err != nil {
			return err
		}
	}
	return nil
}

// checkOut writes an input root as the strictest servers do: nothing can be written, and nothing is executable.
func (e *execution) checkOut(dir string, root *repb.Directory) error {
	for _, f := range root.Files {
		b, _ := e.get(f.Digest.Hash)
		if err := os.WriteFile(filepath.Join(dir, f.Name), b, 0o444); err != nil {
			return err
		}
	}
	for _, sub := range root.Directories {
		b, _ := e.get(sub.Digest.Hash)
		d := &repb.Directory{}
		path := filepath.Join(dir, sub.Name)
		if err := firstError(proto.Unmarshal(b, d), os.Mkdir(path, 0o755), e.checkOut(path, d), os.Chmod(path, 0o555)); err != nil {
			return err
		}
	}
	return nil
}

// execute runs the action on the server's worker.
func (e *execution) execute(ctx context.Context, action string, command *repb.Command, root *repb.Directory) *repb.ExecuteResponse {
	failed := func(code codes.Code, format string, args ...any) *repb.ExecuteResponse {
		return &repb.ExecuteResponse{Result: &repb.ActionResult{ExitCode: -1}, Status: status.Newf(code, format, args...).Proto()}
	}
	dir, err := os.MkdirTemp(e.dir, "action")
	if err == nil {
		err = e.checkOut(dir, root)
	}
	if err != nil {
		return failed(codes.Internal, "check out: %v", err)
	}
	result := &repb.ActionResult{}
	var code int
	code, result.StdoutRaw, result.StderrRaw = e.Worker(ctx, dir, command)
	result.ExitCode = int32(code)
	switch ctx.Err() {
	case context.DeadlineExceeded:
		return failed(codes.DeadlineExceeded, "the action took too long")
	case context.Canceled:
		return failed(codes.Canceled, "cancelled")
	}
	store := func(b []byte) *repb.Digest {
		sum := sha256.Sum256(b)
		d := &repb.Digest{Hash: hex.EncodeToString(sum[:]), SizeBytes: int64(len(b))}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.blobs[d.Hash] = b
		return d
	}
	if len(result.StdoutRaw) > 1024 { // small ones stay inline
		result.StdoutDigest, result.StdoutRaw = store(result.StdoutRaw), nil
	}
	if len(result.StderrRaw) > 1024 {
		result.StderrDigest, result.StderrRaw = store(result.StderrRaw), nil
	}
	for _, path := range command.OutputPaths {
		if b, err := os.ReadFile(filepath.Join(dir, path)); err == nil {
			result.OutputFiles = append(result.OutputFiles, &repb.OutputFile{Path: path, Digest: store(b)})
		}
	}
	result.ExecutionMetadata = &repb.ExecutedActionMetadata{Worker: "worker 1"}
	if code == 0 {
		e.mu.Lock()
		e.results[action] = proto.Clone(result).(*repb.ActionResult)
		e.mu.Unlock()
	}
	return &repb.ExecuteResponse{Result: result}
}
