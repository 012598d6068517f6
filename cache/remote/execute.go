package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"vfsb/cache"
)

// An Executor is a cluster that executes actions. Its cache holds what they need and what comes of them.
type Executor struct {
	*Cache
	execution  repb.ExecutionClient
	operations longrunningpb.OperationsClient

	heard atomic.Bool // it has answered
	quiet silence
}

// A silence is that of a server to all who wait for it: one that is gone is given up once, and not by each in its turn.
type silence struct {
	mu    sync.Mutex
	since time.Time // zero: it answers
	why   error
}

func (s *silence) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.why = time.Time{}, nil
}

// lasts notes a failure, and returns for how long there is nothing else, and why, which a breaker tells one only.
func (s *silence) lasts(err error) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		s.since = time.Now()
	}
	if s.why == nil || !errors.Is(err, ErrGaveUp) {
		s.why = err
	}
	return time.Since(s.since), s.why
}

// OpenExecutor returns the cluster that o names, at the same address as its cache. It does not speak to it yet.
func OpenExecutor(o Options) (*Executor, error) {
	if u, err := url.Parse(o.URL); err == nil && u.Host != "" && u.Scheme != "grpc" && u.Scheme != "grpcs" {
		return nil, fmt.Errorf("%s: only grpc:// and grpcs:// can execute", o.URL)
	}
	c, err := Open(o)
	if err != nil {
		return nil, err
	}
	c.patience.rate = 0 // what was executed there is nowhere else, so slow is better than not at all
	conn := c.backend.(*reapi).conn
	return &Executor{Cache: c, execution: repb.NewExecutionClient(conn), operations: longrunningpb.NewOperationsClient(conn)}, nil
}

// Result is the cache's. A server that answers is known.
func (e *Executor) Result(ctx context.Context, key cache.Digest) (cache.Result, error) {
	r, err := e.Cache.Result(ctx, key)
	var failed *FailedError
	if err == nil || errors.Is(err, cache.ErrNotFound) && !errors.As(err, &failed) {
		e.heard.Store(true)
	}
	return r, err
}

// Missing is the cache's, and patient: a build that executes elsewhere cannot go on without the cluster.
func (e *Executor) Missing(ctx context.Context, list []cache.Digest) (missing []cache.Digest, err error) {
	err = e.patiently(ctx, func() (err error) {
		if missing, err = e.Cache.Missing(ctx, list); err != nil {
			return err
		}
		can, err := e.backend.(*reapi).abilities(ctx) // which are known by now
		if err == nil && !can.executes {
			err = fmt.Errorf("%w: this server is a cache and executes nothing; --cache is for it", errRefused)
		}
		return err
	})
	return missing, err
}

// Upload is the cache's, and patient.
func (e *Executor) Upload(ctx context.Context, layers []cache.Layer, blobs []cache.Digest, texts [][]byte) error {
	return e.patiently(ctx, func() error { return e.Cache.Upload(ctx, layers, blobs, texts) })
}

// PullLayer is the cache's, and patient.
func (e *Executor) PullLayer(ctx context.Context, l cache.Layer, progress func(done int64)) error {
	return e.patiently(ctx, func() error { return e.Cache.PullLayer(ctx, l, progress) })
}

// PullBlob is the cache's, and patient.
func (e *Executor) PullBlob(ctx context.Context, d cache.Digest) error {
	return e.patiently(ctx, func() error { return e.Cache.PullBlob(ctx, d) })
}

// patiently calls do until it succeeds, until it fails in a way that lasts, or until the server was away for too long. A
// server that starts again takes its time, and so does a network. What is wrong with this machine is not waited for.
func (e *Executor) patiently(ctx context.Context, do func() error) error {
	var began time.Time // of the failures: what breaks may have gone well for hours
	for n := 1; ; n++ {
		err := do()
		if err == nil {
			e.heard.Store(true)
			e.quiet.end()
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		away := e.patience.absence
		if !e.heard.Load() { // it may not exist
			away /= 10
		}
		if err = serverError(err); !passing(err) {
			e.quiet.end()
			return err
		}
		if began.IsZero() {
			began = time.Now()
		}
		if quiet, why := e.quiet.lasts(err); max(quiet, time.Since(began)) > away {
			return why
		}
		e.asking.reset()
		e.pulling.reset()
		e.pushing.reset()
		e.wait(ctx, min(n, 6))
	}
}

// serverError is what the server, or the way to it, is to blame for, without what a breaker makes of it.
func serverError(err error) error {
	var gaveUp *GaveUpError
	var failed *FailedError
	switch {
	case errors.As(err, &gaveUp):
		err = gaveUp.Err
	case errors.As(err, &failed):
		err = failed.Err
	default:
		return err
	}
	if errors.Is(err, errRefused) || errors.Is(err, errOnce) || errors.Is(err, cache.ErrWrong) {
		return err
	}
	return &passingError{err}
}

// A passingError is one after which it is worth trying again, later.
type passingError struct{ error }

func (e *passingError) Unwrap() error { return e.error }

func passing(err error) bool {
	var p *passingError
	return errors.As(err, &p)
}

// Execute has the action executed whose message the cache holds, and waits for its end, whatever becomes of connections
// and of the server in the meantime. With fresh set it is executed even if the server knows a result. stage is told how
// far it is. If ctx ends, the operation is cancelled.
//
// Errors wrap cache.ErrInputs, cache.ErrWorker or cache.ErrDeadline where it was one of these.
func (e *Executor) Execute(ctx context.Context, action cache.Digest, fresh bool, stage func(string)) (cache.Outcome, error) {
	w := &wait{executor: e, action: action, fresh: fresh, stage: stage}
	for short := 0; ; {
		var r *repb.ExecuteResponse
		var end error
		began := time.Now()
		err := e.patiently(ctx, func() error {
			w.answered = false
			if r, end = w.attempt(ctx); w.answered {
				return nil
			}
			return end
		})
		if time.Since(began) > time.Second {
			short = 0
		}
		switch short++; {
		case ctx.Err() != nil:
			w.cancel()
			return cache.Outcome{}, context.Cause(ctx)
		case r != nil:
			return e.outcome(ctx, r)
		case err != nil:
			return cache.Outcome{}, err
		case !passing(end) || short == 20:
			return cache.Outcome{}, end
		case w.losses == 5:
			return cache.Outcome{}, fmt.Errorf("%w: the server has forgotten the operation %d times", cache.ErrWorker, w.losses)
		}
		e.wait(ctx, min(short, 6)) // the connection broke
	}
}

// A wait is what is known of an operation that is waited for.
type wait struct {
	executor *Executor
	action   cache.Digest
	fresh    bool
	stage    func(string)

	name     string // of the operation; "": there is none yet, or none any more
	told     string // the stage
	lost     bool   // an operation was forgotten: the server may have started again, or be done
	losses   int
	answered bool // by the server, in this attempt
}

// attempt starts the operation, or goes on waiting for it, until the connection breaks or there is a response.
func (w *wait) attempt(ctx context.Context) (*repb.ExecuteResponse, error) {
	e := w.executor
	b := e.backend.(*reapi)
	ctx, end := context.WithCancel(ctx)
	defer end()
	if w.lost && !w.fresh {
		r, err := b.actions.GetActionResult(ctx, &repb.GetActionResultRequest{
			InstanceName: b.instance, ActionDigest: toProto(w.action), DigestFunction: repb.DigestFunction_SHA256,
		})
		if err == nil {
			return &repb.ExecuteResponse{Result: r}, nil
		}
		if status.Code(err) == codes.Unavailable {
			return nil, &passingError{err}
		}
		w.lost = false
	}
	var stream repb.Execution_ExecuteClient
	var err error
	waiting := w.name != ""
	if waiting {
		stream, err = e.execution.WaitExecution(ctx, &repb.WaitExecutionRequest{Name: w.name})
	} else {
		stream, err = e.execution.Execute(ctx, &repb.ExecuteRequest{
			InstanceName: b.instance, ActionDigest: toProto(w.action), SkipCacheLookup: w.fresh, DigestFunction: repb.DigestFunction_SHA256,
		})
	}
	for err == nil {
		var op *longrunningpb.Operation
		if op, err = stream.Recv(); err != nil {
			break
		}
		w.name, w.answered = op.Name, true
		w.tell(op)
		if op.Done {
			w.name = ""
			r, err := response(op)
			if passing(err) && w.told == "execute" { // it was begun: the action may be what ends its workers
				err = fmt.Errorf("%w: %v", cache.ErrWorker, err)
			}
			w.told = ""
			return r, err
		}
	}
	if err == io.EOF {
		return nil, &passingError{errors.New("the server ended its answer before the operation")}
	}
	if s, ok := status.FromError(err); ok {
		if waiting && s.Code() == codes.NotFound {
			w.name, w.lost, w.answered = "", true, true
			w.losses++
			return nil, &passingError{errors.New("the server has forgotten the operation")}
		}
		// What becomes of an operation its response says. This is the way to the server, such as a proxy that ends long streams.
		if w.answered && slices.Contains([]codes.Code{codes.Internal, codes.Unknown, codes.DeadlineExceeded}, s.Code()) {
			return nil, &passingError{fmt.Errorf("%s: %.300s", s.Code(), s.Message())}
		}
		return nil, executionError(s)
	}
	return nil, err
}

// tell tells the stage, if it is another one.
func (w *wait) tell(op *longrunningpb.Operation) {
	m := &repb.ExecuteOperationMetadata{}
	if op.Metadata == nil || op.Metadata.UnmarshalTo(m) != nil {
		return
	}
	name := map[repb.ExecutionStage_Value]string{
		repb.ExecutionStage_CACHE_CHECK: "look up", repb.ExecutionStage_QUEUED: "queue", repb.ExecutionStage_EXECUTING: "execute",
	}[m.Stage]
	if name != "" && name != w.told {
		w.told = name
		w.stage(name)
	}
}

// cancel tells the server that nobody waits any more. Some servers know that from the connection, some not at all.
func (w *wait) cancel() {
	if w.name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	w.executor.operations.CancelOperation(ctx, &longrunningpb.CancelOperationRequest{Name: w.name})
}

// response is what a finished operation holds, or its error.
func response(op *longrunningpb.Operation) (*repb.ExecuteResponse, error) {
	if s := op.GetError(); s != nil {
		return nil, executionError(status.FromProto(s))
	}
	r := &repb.ExecuteResponse{}
	if op.GetResponse() == nil || op.GetResponse().UnmarshalTo(r) != nil {
		return nil, fmt.Errorf("%w: the operation has no response that can be read", errOnce)
	}
	if s := status.FromProto(r.Status); s.Code() != codes.OK {
		return nil, executionError(s)
	}
	if r.Result == nil {
		return nil, fmt.Errorf("%w: the operation has no result", errOnce)
	}
	return r, nil
}

// executionError is the error of an execution. What the codes mean is said at Execute in remote_execution.proto.
func executionError(s *status.Status) error {
	text := fmt.Sprintf("%s: %.300s", s.Code(), s.Message())
	switch s.Code() {
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %s", cache.ErrDeadline, text)
	case codes.NotFound:
		return fmt.Errorf("%w: %s", cache.ErrInputs, text)
	case codes.FailedPrecondition:
		if slices.ContainsFunc(s.Details(), isMissing) {
			return fmt.Errorf("%w: %s", cache.ErrInputs, text)
		}
	case codes.Internal, codes.Unknown, codes.DataLoss, codes.Aborted:
		return fmt.Errorf("%w: %s", cache.ErrWorker, text)
	case codes.Unavailable, codes.ResourceExhausted, codes.Canceled:
		return &passingError{errors.New(text)}
	}
	return statusError(s)
}

// isMissing reports whether an error's detail says that a blob is missing.
func isMissing(detail any) bool {
	failure, ok := detail.(*errdetails.PreconditionFailure)
	return ok && slices.ContainsFunc(failure.Violations, func(v *errdetails.PreconditionFailure_Violation) bool { return v.Type == "MISSING" })
}

// outcome reads an execution's response.
func (e *Executor) outcome(ctx context.Context, response *repb.ExecuteResponse) (out cache.Outcome, err error) {
	r := response.Result
	out.Code, out.Cached, out.Stderr = int(r.ExitCode), response.CachedResult, r.StderrRaw
	if r.ExitCode != 0 { // a worker whose disk is full leaves half of its outputs
		r.ExitCode, r.OutputFiles = 0, nil
	}
	encoded, err := proto.Marshal(r)
	if err != nil {
		return out, err
	}
	if out.Result, _, err = e.decode(ctx, encoded); err != nil {
		return out, fmt.Errorf("%w: %w", errOnce, err)
	}
	if d, err := fromProto(r.StderrDigest); err == nil && d.Size > 0 && len(out.Stderr) == 0 {
		// Without it there is no report, which the caller sees.
		e.patiently(ctx, func() error {
			return e.try(ctx, &e.asking, func(ctx context.Context) (err error) { out.Stderr, err = e.small(ctx, d); return err })
		})
	}
	if out.Log.Size == 0 && len(r.StdoutRaw) > 0 {
		out.Log, err = e.Store.PutBytes(r.StdoutRaw)
	}
	return out, err
}
