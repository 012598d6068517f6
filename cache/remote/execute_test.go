package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"vfsb/cache"
	"vfsb/cache/cachetest"
)

// anAction is the messages of an action whose command the test's worker understands, and the action's digest.
func anAction(t testing.TB, say string, timeout time.Duration) ([][]byte, cache.Digest) {
	t.Helper()
	marshal := func(m proto.Message) []byte {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	command := marshal(&repb.Command{Arguments: []string{"vfsb", "run-action"}, OutputPaths: []string{cache.IndexFile, cache.TarFile}})
	spec := []byte(say)
	root := marshal(&repb.Directory{Files: []*repb.FileNode{{Name: "spec", Digest: toProto(cache.DigestOf(spec))}}})
	a := &repb.Action{CommandDigest: toProto(cache.DigestOf(command)), InputRootDigest: toProto(cache.DigestOf(root))}
	if timeout > 0 {
		a.Timeout = durationpb.New(timeout)
	}
	action := marshal(a)
	return [][]byte{command, spec, root, action}, cache.DigestOf(action)
}

// worker says what the action's file spec holds, makes two outputs and ends. Each run is counted.
func worker(runs *atomic.Int32, wait <-chan struct{}) cachetest.Worker {
	return func(ctx context.Context, dir string, _ *repb.Command) (int, []byte, []byte) {
		runs.Add(1)
		if wait != nil {
			select {
			case <-wait:
			case <-ctx.Done():
				return 137, nil, nil
			}
		}
		spec, err := os.ReadFile(filepath.Join(dir, "spec"))
		if err == nil && string(spec) == "fail" {
			return 3, spec, []byte("{}")
		}
		for _, name := range []string{cache.IndexFile, cache.TarFile} {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), append([]byte(name), spec...), 0o644))
		}
		if err != nil {
			return 1, nil, []byte(err.Error())
		}
		return 0, spec, []byte("{}")
	}
}

func executor(t testing.TB, s *cachetest.Server) *Executor {
	t.Helper()
	e, err := OpenExecutor(Options{URL: s.URL, Store: newStore(t), patience: hasty})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func nothing(string) {}

// TestExecute: an action is executed once, then known; a failure is not.
func TestExecute(t *testing.T) {
	var runs atomic.Int32
	s := &cachetest.Server{Instance: "team", Worker: worker(&runs, nil)}
	s.Start(t, "grpc")
	e := executor(t, s)
	ctx := context.Background()
	long := strings.Repeat("a long log ", 1000)
	texts, action := anAction(t, long, 0)
	if _, err := e.Execute(ctx, action, false, nothing); !errors.Is(err, cache.ErrInputs) {
		t.Errorf("without its inputs: %v, want that they are missing", err)
	}
	if err := e.Upload(ctx, nil, nil, texts); err != nil {
		t.Fatal(err)
	}
	if missing, err := e.Missing(ctx, []cache.Digest{action}); err != nil || len(missing) > 0 {
		t.Errorf("missing after the upload: %v, %v", missing, err)
	}
	for i, c := range []struct{ fresh, cached bool }{{false, false}, {false, true}, {true, false}} {
		out, err := e.Execute(ctx, action, c.fresh, nothing)
		if err != nil {
			t.Fatal(err)
		}
		if out.Code != 0 || out.Cached != c.cached || out.Layer.Tar != cache.DigestOf([]byte(cache.TarFile+long)) || string(out.Stderr) != "{}" {
			t.Errorf("execution %d: %+v", i, out)
		}
		if err := e.PullBlob(ctx, out.Log); err != nil || out.Log != cache.DigestOf([]byte(long)) {
			t.Errorf("the log: %v", err)
		}
	}
	if runs.Load() != 2 {
		t.Errorf("the worker ran %d times, want 2", runs.Load())
	}
	texts, action = anAction(t, "fail", 0)
	if err := e.Upload(ctx, nil, nil, texts); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, err := e.Execute(ctx, action, false, nothing)
		if err != nil || out.Code != 3 || out.Layer != (cache.Layer{}) {
			t.Errorf("a failure: %+v, %v", out, err)
		}
		if !e.Store.HasBlob(out.Log) {
			t.Error("a log that came with the answer is not in the store")
		}
	}
	if runs.Load() != 4 {
		t.Errorf("the worker ran %d times, want 4: failures are not cached", runs.Load())
	}
}

// TestExecuteBreaks: connections break, the server forgets its operations, and is down for a while. The action is executed
// nevertheless, and no more often than the server has lost it.
func TestExecuteBreaks(t *testing.T) {
	for _, c := range []struct {
		name string
		runs int32
		hang func(s *cachetest.Server, n int32) error
	}{
		{"broken", 1, func(s *cachetest.Server, n int32) error {
			if n < 4 {
				return status.Error(codes.Unavailable, "the connection broke")
			}
			return nil
		}},
		{"reset", 1, func(s *cachetest.Server, n int32) error {
			codes := []codes.Code{codes.Internal, codes.Unknown, codes.DeadlineExceeded}
			if int(n) <= len(codes) {
				return status.Error(codes[n-1], "a proxy ends what takes long")
			}
			return nil
		}},
		{"forgotten", 2, func(s *cachetest.Server, n int32) error {
			if n == 1 {
				s.ForgetOperations()
				return status.Error(codes.Unavailable, "going down")
			}
			return nil
		}},
		{"down", 1, func(s *cachetest.Server, n int32) error {
			if n == 1 {
				s.Down.Store(true)
				time.AfterFunc(300*time.Millisecond, func() { s.Down.Store(false) })
				return status.Error(codes.Unavailable, "going down")
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var runs, hangs atomic.Int32
			wait := make(chan struct{})
			s := &cachetest.Server{Worker: worker(&runs, wait)}
			s.Hang = func() error {
				n := hangs.Add(1)
				err := c.hang(s, n)
				if err == nil {
					close(wait)
				}
				return err
			}
			s.Start(t, "grpc")
			e := executor(t, s)
			texts, action := anAction(t, c.name, 0)
			if err := e.Upload(context.Background(), nil, nil, texts); err != nil {
				t.Fatal(err)
			}
			out, err := e.Execute(context.Background(), action, true, nothing)
			if err != nil || out.Layer.Tar != cache.DigestOf([]byte(cache.TarFile+c.name)) {
				t.Fatalf("%+v, %v", out, err)
			}
			if runs.Load() != c.runs {
				t.Errorf("the worker ran %d times, want %d", runs.Load(), c.runs)
			}
		})
	}
}

// TestExecuteUnreachable: for a while nothing listens where a server was.
func TestExecuteUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := &cachetest.Server{Worker: worker(new(atomic.Int32), nil)}
	s.Start(t, "grpc")
	texts, action := anAction(t, "unreachable", 0)
	if err := executor(t, s).Upload(context.Background(), nil, nil, texts); err != nil {
		t.Fatal(err)
	}
	e := executor(t, &cachetest.Server{URL: "grpc://" + l.Addr().String()})
	e.heard.Store(true)
	listens := make(chan net.Listener)
	defer func() { (<-listens).Close() }()
	time.AfterFunc(300*time.Millisecond, func() {
		l, err := net.Listen("tcp", l.Addr().String())
		if err != nil {
			panic(err)
		}
		go func() {
			for {
				from, err := l.Accept()
				if err != nil {
					return
				}
				to, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "grpc://"))
				if err != nil {
					panic(err)
				}
				go io.Copy(to, from)
				go io.Copy(from, to)
			}
		}()
		listens <- l
	})
	if _, err := e.Execute(context.Background(), action, false, nothing); err != nil {
		t.Error(err)
	}
}

// TestExecuteLong: what breaks after it went well for longer than a server may be away is waited for, too.
func TestExecuteLong(t *testing.T) {
	s := &cachetest.Server{Worker: worker(new(atomic.Int32), nil)}
	var writes atomic.Int32
	s.Fault = func(call string) error {
		if call == "Write" && writes.Add(1) == 1 {
			time.Sleep(time.Second)
			s.Down.Store(true)
			time.AfterFunc(300*time.Millisecond, func() { s.Down.Store(false) })
			return status.Error(codes.Unavailable, "going down")
		}
		return nil
	}
	s.Start(t, "grpc")
	e := executor(t, s)
	e.patience.absence = 900 * time.Millisecond
	e.heard.Store(true)
	if err := e.Upload(context.Background(), []cache.Layer{newLayer(t, e.Store, large, 1)}, nil, nil); err != nil {
		t.Error(err)
	}
}

// TestExecutePulls: what a cluster has is pulled from it, however slow it is, and after it was down; what it has not is not
// waited for.
func TestExecutePulls(t *testing.T) {
	ctx := context.Background()
	var reads atomic.Int32
	s := &cachetest.Server{Worker: worker(new(atomic.Int32), nil)}
	s.Fault = func(call string) error {
		if call == "Read" && reads.Add(1) == 1 {
			s.Down.Store(true)
			time.AfterFunc(300*time.Millisecond, func() { s.Down.Store(false) })
			return status.Error(codes.Unavailable, "going down")
		}
		return nil
	}
	var slow atomic.Bool
	s.Chunk = func() {
		if slow.Load() {
			time.Sleep(20 * time.Millisecond)
		}
	}
	s.Start(t, "grpc")
	from := executor(t, s)
	layer := newLayer(t, from.Store, large, 1)
	if err := from.Upload(ctx, []cache.Layer{layer}, nil, nil); err != nil {
		t.Fatal(err)
	}
	e := executor(t, s)
	e.heard.Store(true)
	if err := e.PullLayer(ctx, layer, nil); err != nil {
		t.Errorf("after it was down: %v", err)
	}
	reads.Store(0)
	if err := e.PullBlob(ctx, layer.Index); err != nil {
		t.Errorf("a blob after it was down: %v", err)
	}
	hurried := hasty
	hurried.stall, hurried.rate = 200*time.Millisecond, 1<<40
	lame, err := OpenExecutor(Options{URL: s.URL, Store: newStore(t), patience: hurried})
	if err != nil {
		t.Fatal(err)
	}
	defer lame.Close()
	slow.Store(true)
	if err := lame.PullLayer(ctx, layer, nil); err != nil {
		t.Errorf("slowly: %v", err)
	}
	slow.Store(false)
	began := time.Now()
	if err := e.PullBlob(ctx, cache.DigestOf([]byte("another"))); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("a blob that is not there: %v", err)
	}
	s.Corrupt(1)
	e.Store = newStore(t)
	for range 4 {
		if err := e.PullLayer(ctx, layer, nil); !errors.Is(err, cache.ErrWrong) {
			t.Errorf("wrong bytes: %v", err)
		}
	}
	if time.Since(began) > hasty.absence/2 {
		t.Error("it waited for what does not pass")
	}
}

// TestExecuteKnown: a server that has only been asked for results so far is waited for like one that has executed.
func TestExecuteKnown(t *testing.T) {
	s := &cachetest.Server{Worker: worker(new(atomic.Int32), nil)}
	s.Start(t, "grpc")
	e := executor(t, s)
	e.patience.absence = 5 * time.Second
	if _, err := e.Result(context.Background(), cache.DigestOf([]byte("a"))); !errors.Is(err, cache.ErrNotFound) {
		t.Fatal(err)
	}
	s.Down.Store(true)
	time.AfterFunc(time.Second, func() { s.Down.Store(false) })
	if _, err := e.Missing(context.Background(), nil); err != nil {
		t.Error(err)
	}
	e = executor(t, s)
	s.Down.Store(true)
	if e.Result(context.Background(), cache.DigestOf([]byte("a"))); e.heard.Load() {
		t.Error("a server that is down was heard")
	}
}

// TestExecuteGone: a server that is gone is given up once for all who need it, and each is told why it cannot be reached.
func TestExecuteGone(t *testing.T) {
	e := executor(t, &cachetest.Server{URL: "grpc://localhost:1"})
	e.patience.absence = time.Second
	e.heard.Store(true)
	began := time.Now()
	for range 4 { // one after the other
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				_, err := e.Missing(context.Background(), []cache.Digest{cache.DigestOf([]byte("a"))})
				if err == nil || !strings.Contains(err.Error(), "refused") {
					t.Errorf("%v, want why it cannot be reached", err)
				}
			})
		}
		group.Wait()
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s, each was patient", took)
	}
}

// TestExecuteDone: the operation ended while nobody was connected, and the server has forgotten it: its result is known.
func TestExecuteDone(t *testing.T) {
	var runs, hangs atomic.Int32
	s := &cachetest.Server{Worker: worker(&runs, nil), NoLookup: true}
	var lookups atomic.Int32
	s.Fault = func(call string) error {
		if call == "GetActionResult" && lookups.Add(1) < 3 {
			return status.Error(codes.Unavailable, "starting")
		}
		return nil
	}
	s.Hang = func() error {
		if hangs.Add(1) > 1 {
			return nil
		}
		for !s.HasResults() {
			time.Sleep(time.Millisecond)
		}
		s.ForgetOperations()
		return status.Error(codes.Unavailable, "the connection broke")
	}
	s.Start(t, "grpc")
	e := executor(t, s)
	texts, action := anAction(t, "done", 0)
	if err := e.Upload(context.Background(), nil, nil, texts); err != nil {
		t.Fatal(err)
	}
	if out, err := e.Execute(context.Background(), action, false, nothing); err != nil || out.Layer.Tar.Size == 0 {
		t.Errorf("%+v, %v", out, err)
	}
	if runs.Load() != 1 {
		t.Errorf("the worker ran %d times, want once", runs.Load())
	}
}

// TestExecuteErrors: what a server says becomes what the engine can act on, and what cannot succeed is not tried again.
func TestExecuteErrors(t *testing.T) {
	for _, c := range []struct {
		code  codes.Code
		want  error
		calls int
	}{
		{codes.FailedPrecondition, errOnce, 1},
		{codes.InvalidArgument, errOnce, 1},
		{codes.PermissionDenied, errRefused, 1},
		{codes.Unauthenticated, errRefused, 1},
		{codes.Unimplemented, errRefused, 1},
		{codes.Internal, cache.ErrWorker, 1},
		{codes.DeadlineExceeded, cache.ErrDeadline, 1},
	} {
		t.Run(c.code.String(), func(t *testing.T) {
			s := &cachetest.Server{Worker: worker(new(atomic.Int32), nil)}
			s.Fault = func(call string) error {
				if call == "Execute" {
					return status.Error(c.code, "that is how it is")
				}
				return nil
			}
			s.Start(t, "grpc")
			_, err := executor(t, s).Execute(context.Background(), cache.DigestOf([]byte("a")), false, nothing)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "that is how it is") {
				t.Errorf("%v, want %v", err, c.want)
			}
			if n := s.Calls("Execute"); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
		})
	}
	t.Run("never there", func(t *testing.T) {
		e := executor(t, &cachetest.Server{URL: "grpc://localhost:1"})
		began := time.Now()
		_, err := e.Missing(context.Background(), []cache.Digest{cache.DigestOf([]byte("a"))})
		if err == nil || errors.Is(err, ErrGaveUp) || strings.Contains(err.Error(), "going on") || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v, want why it cannot be reached", err)
		}
		if time.Since(began) > hasty.absence {
			t.Error("it waited for as long as for a server that was there")
		}
	})
	t.Run("no cluster", func(t *testing.T) {
		s := &cachetest.Server{}
		s.Start(t, "grpc")
		if _, err := executor(t, s).Missing(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "executes nothing") {
			t.Errorf("%v, want that it executes nothing", err)
		}
	})
	t.Run("this machine's fault", func(t *testing.T) {
		s := &cachetest.Server{Worker: worker(new(atomic.Int32), nil)}
		s.Start(t, "grpc")
		e := executor(t, s)
		layer := newLayer(t, e.Store, 1000, 1)
		if err := os.WriteFile(filepath.Join(e.Store.LayerDir(layer), "bin/tool"), []byte("other bytes"), 0o755); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := e.Upload(context.Background(), []cache.Layer{layer}, nil, nil); err == nil || !strings.Contains(err.Error(), "tool") && !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%v, want that the layer is damaged", err)
		}
		if time.Since(began) > hasty.absence/2 {
			t.Error("it waited for the server, which is not to blame")
		}
	})
	t.Run("unknown host", func(t *testing.T) {
		e := executor(t, &cachetest.Server{URL: "grpc://nowhere.invalid:1"})
		if _, err := e.Missing(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "unknown host") {
			t.Errorf("%v, want that the host is unknown", err)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		s := &cachetest.Server{Worker: worker(new(atomic.Int32), make(chan struct{}))}
		s.Start(t, "grpc")
		e := executor(t, s)
		texts, action := anAction(t, "slow", time.Second)
		if err := e.Upload(context.Background(), nil, nil, texts); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Execute(context.Background(), action, false, nothing); !errors.Is(err, cache.ErrDeadline) {
			t.Errorf("%v, want that the deadline has passed", err)
		}
	})
}

// TestExecuteHalf: what a worker says counts, even if it left half of its outputs when its disk was full.
func TestExecuteHalf(t *testing.T) {
	s := &cachetest.Server{Worker: func(_ context.Context, dir string, _ *repb.Command) (int, []byte, []byte) {
		if err := errors.Join(
			os.WriteFile(filepath.Join(dir, cache.IndexFile), []byte("index"), 0o644),
			os.WriteFile(filepath.Join(dir, cache.TarFile), nil, 0o644),
		); err != nil {
			panic(err)
		}
		return 36, nil, []byte(`{"unfit":"no space left on device"}`)
	}}
	s.Start(t, "grpc")
	e := executor(t, s)
	texts, action := anAction(t, "half", 0)
	if err := e.Upload(context.Background(), nil, nil, texts); err != nil {
		t.Fatal(err)
	}
	out, err := e.Execute(context.Background(), action, false, nothing)
	if err != nil || out.Code != 36 || out.Layer != (cache.Layer{}) || !strings.Contains(string(out.Stderr), "no space") {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestExecuteLost: an operation that ends because its worker is gone is not begun again and again without a word.
func TestExecuteLost(t *testing.T) {
	var runs atomic.Int32
	s := &cachetest.Server{}
	s.Worker = func(ctx context.Context, _ string, _ *repb.Command) (int, []byte, []byte) {
		runs.Add(1)
		s.CancelOperations()
		return 137, nil, nil
	}
	s.Start(t, "grpc")
	e := executor(t, s)
	texts, action := anAction(t, "lost", 0)
	if err := e.Upload(context.Background(), nil, nil, texts); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Execute(context.Background(), action, false, nothing); !errors.Is(err, cache.ErrWorker) || runs.Load() != 1 {
		t.Errorf("%v after %d runs, want that it is the worker, after one", err, runs.Load())
	}
}

// TestExecuteReport: what a worker says is had even if the server is down when it has ended.
func TestExecuteReport(t *testing.T) {
	said := strings.Repeat("a warning ", 1000)
	s := &cachetest.Server{Worker: func(context.Context, string, *repb.Command) (int, []byte, []byte) {
		return 3, nil, []byte(said)
	}}
	var reads atomic.Int32
	s.Fault = func(call string) error {
		if call == "Read" && reads.Add(1) == 1 {
			s.Down.Store(true)
			time.AfterFunc(300*time.Millisecond, func() { s.Down.Store(false) })
			return status.Error(codes.Unavailable, "going down")
		}
		return nil
	}
	s.Start(t, "grpc")
	e := executor(t, s)
	texts, action := anAction(t, "report", 0)
	if err := e.Upload(context.Background(), nil, nil, texts); err != nil {
		t.Fatal(err)
	}
	out, err := e.Execute(context.Background(), action, false, nothing)
	if err != nil || string(out.Stderr) != said {
		t.Errorf("%d bytes, %v", len(out.Stderr), err)
	}
}

// TestExecuteCancel: who gives up says so to the server.
func TestExecuteCancel(t *testing.T) {
	var runs atomic.Int32
	s := &cachetest.Server{Worker: worker(&runs, make(chan struct{}))}
	s.Start(t, "grpc")
	e := executor(t, s)
	texts, action := anAction(t, "slow", 0)
	if err := e.Upload(context.Background(), nil, nil, texts); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	enough := errors.New("enough")
	_, err := e.Execute(ctx, action, false, func(string) { cancel(enough) })
	if !errors.Is(err, enough) {
		t.Errorf("%v, want the cause", err)
	}
	if s.Calls("CancelOperation") != 1 {
		t.Error("the operation was not cancelled")
	}
}

// BenchmarkExecute is what the protocol costs for an action that does nothing.
func BenchmarkExecute(b *testing.B) {
	s := &cachetest.Server{Worker: worker(new(atomic.Int32), nil)}
	s.Start(b, "grpc")
	e := executor(b, s)
	for i := 0; b.Loop(); i++ {
		texts, action := anAction(b, fmt.Sprint(i), 0)
		if err := e.Upload(context.Background(), nil, nil, texts); err != nil {
			b.Fatal(err)
		}
		if _, err := e.Execute(context.Background(), action, false, nothing); err != nil {
			b.Fatal(err)
		}
	}
}
