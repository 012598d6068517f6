package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vfsb/cache"
	"vfsb/engine/action"
	"vfsb/engine/artifact"
	"vfsb/engine/sandbox"
)

// run is one execution of one node's action, in a folder of its own.
type run struct {
	*execution
	node   *Node
	action *action.Action
	key    cache.Digest
	dir    string

	cpu    float64
	maxRSS int64
	log    cache.Digest
	spec   sandbox.Spec
	tree   *artifact.Tree // a rootfs
}

// do runs the action, if its layers agree.
func (r *run) do(ctx context.Context) error {
	if r.action.Builtin == "" {
		if err := r.agree(r.node, r.action); err != nil {
			return err
		}
	}
	return r.perform(ctx)
}

// perform runs the action; its output lies in dir/out.
func (r *run) perform(ctx context.Context) error {
	out := filepath.Join(r.dir, "out")
	if err := errors.Join(os.Mkdir(out, 0o755), os.Chmod(out, 0o755)); err != nil { // whatever the umask
		return err
	}
	if r.action.Builtin != "" {
		began := time.Now()
		err := r.builtin(ctx)
		r.cpu = time.Since(began).Seconds() // one goroutine works; its wall time is an upper bound
		return err
	}
	spec, err := r.sandboxSpec()
	if err != nil {
		return err
	}
	r.spec = spec
	return r.script(ctx)
}

// sandboxSpec says what the script sees, and stores the script for `vfsb explain`.
func (r *run) sandboxSpec() (sandbox.Spec, error) {
	a := r.action
	spec := sandbox.Spec{Dir: r.dir, Cwd: "/build", Argv: []string{"/bin/bash", "/build/script"}, Linux32: a.Linux32, Timeout: r.timeout(r.node), Silence: r.node.Step.Silence}
	for k, v := range a.Env {
		spec.Env = append(spec.Env, k+"="+v)
	}
	for _, m := range a.Mounts {
		var lowers []string
		for _, l := range m.Layers {
			lowers = append(lowers, r.Store.LayerDir(r.nodes[r.graph.Find(l.Label).ID].result.Layer))
		}
		if m.At == "/" {
			spec.Root = lowers
		} else {
			spec.Mounts = append(spec.Mounts, sandbox.Mount{At: m.At, Lowers: lowers})
		}
	}
	if e := a.Emulator; e != nil {
		var err error
		if spec.Emulator, err = r.emulator(r.node.Platform, r.graph.Find(e.Label).ID); err != nil {
			return spec, err
		}
	}
	script, err := r.Store.PutBytes(a.Script)
	if err != nil {
		return spec, err
	}
	spec.Binds = append(spec.Binds, sandbox.Bind{From: r.Store.BlobPath(script), At: "/build/script"})
	for _, f := range a.Files {
		spec.Binds = append(spec.Binds, sandbox.Bind{From: r.Store.BlobPath(f.Digest), At: f.At})
	}
	return spec, nil
}

func (x *execution) timeout(n *Node) time.Duration {
	if t := n.Step.Timeout; t > 0 {
		return t
	}
	return x.Timeout
}

// script runs the sandbox with its output going to the log.
func (r *run) script(ctx context.Context) error {
	client, err := r.jobs.Start(ctx, r.dir)
	if err != nil {
		return err
	}
	defer client.Stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	log, err := r.openLog(cancel)
	if err != nil {
		return err
	}
	spec := r.spec
	spec.Stdout, spec.Stderr, spec.Jobserver = log.writer, log.writer, client
	result, err := sandbox.Run(ctx, spec)
	logErr := log.close()
	r.cpu = (result.User + result.Sys).Seconds()
	r.maxRSS = result.MaxRSS
	r.log, _ = r.Store.PutFile(log.path)
	failure := &NodeError{Phase: log.phase, Tail: log.tail, Code: result.ExitCode, Seconds: result.Wall.Seconds(), Log: r.Store.BlobPath(r.log)}
	failure.Remedy = fullDisk(r.Store.Dir(), log.full)
	failure.full = failure.Remedy != ""
	switch {
	case result.Silent:
		failure.Reason = fmt.Sprintf("printed nothing for %s (silence)", r.node.Step.Silence)
	case errors.Is(context.Cause(ctx), errLog):
		failure.Reason = fmt.Sprintf("printed more than %d MiB", maxLog>>20)
	case err != nil:
		return err
	case logErr != nil && (result.ExitCode == 0 || !errors.Is(logErr, unix.ENOSPC)): // else the script failed for that, too
		return logErr
	case result.OutOfMemory > 0: // whatever the script made of it, on another machine it could come out otherwise
		failure.Reason = fmt.Sprintf("killed: out of memory, limit %d MiB for all nodes that run", result.OutOfMemory>>20)
		failure.Remedy = "run fewer at once with -j, or on a machine with more memory"
	case result.TimedOut:
		failure.Reason = fmt.Sprintf("timed out after %s", spec.Timeout)
	case result.Signal != 0:
		failure.Reason = fmt.Sprintf("killed by signal %d (%s)", int(result.Signal), result.Signal)
	case result.ExitCode != 0:
		failure.Reason = fmt.Sprintf("exit status %d", result.ExitCode)
	default:
		return nil
	}
	return failure
}

var errLog = errors.New("the log is too long")

// maxLog bounds a log in bytes; the longest of the shipped packages' has 1.3 MB. Tests lower it.
var maxLog = 1 << 30

const (
	maxLine = 64 << 10 // bytes; what is longer is more than one line

	// Where less than lowDisk is left, something has failed for want of room, and removed what it had written so far;
	// where a script was told so by the kernel, that goes for someDisk, too.
	lowDisk, someDisk = 16 << 20, 512 << 20 // bytes
	lowInodes         = 100
)

// fullDisk says that the file system of dir has no room left, which a script that fails may not have noticed itself.
func fullDisk(dir string, told bool) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return ""
	}
	blocks, low := st.Bavail, uint64(lowDisk)
	if os.Geteuid() == 0 {
		blocks = st.Bfree // root may use what is reserved
	}
	if told {
		low = someDisk
	}
	free := blocks * uint64(st.Bsize)
	switch {
	case free < low:
		return fmt.Sprintf("the disk is full (no space left on device): %d MiB are left for %s; make room, or use another --store", free>>20, dir)
	case st.Files > 0 && st.Ffree < lowInodes:
		return fmt.Sprintf("the disk is full (no space left on device): %s may hold no more files; make room, or use another --store", dir)
	}
	return ""
}

// PhaseMarker starts a line with which a script says which phase it enters.
const PhaseMarker = "@vfsb phase "

// tailLines is how many of a failed script's last lines are shown.
const tailLines = 25

// logFile copies a script's output to a file line by line, watching for phases.
type logFile struct {
	path   string
	writer *os.File
	phase  string
	tail   []string
	full   bool // a program said that there is no space left on a device

	file *os.File
	done chan error
}

func (r *run) openLog(cancel context.CancelCauseFunc) (*logFile, error) {
	l := &logFile{path: filepath.Join(r.dir, "log"), done: make(chan error, 1)}
	var err error
	if l.file, err = os.Create(l.path); err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	l.writer = writer
	go func() {
		defer reader.Close()
		out := bufio.NewWriter(l.file)
		lines := bufio.NewReaderSize(reader, maxLine)
		var err error
		var shown time.Time
		size := 0
		for {
			text, readErr := lines.ReadSlice('\n')
			if len(text) > 0 {
				line, end := strings.TrimRight(string(text), "\n"), "\n"
				if readErr == bufio.ErrBufferFull {
					end, readErr = "", nil
				}
				l.full = l.full || strings.Contains(line, "No space left on device")
				if name, ok := strings.CutPrefix(line, PhaseMarker); ok {
					l.phase = name
					line = "==> " + name
					r.emit(Event{Event: EventPhase, Label: r.node.Label, Phase: name})
				} else if lines.Buffered() == 0 || time.Since(shown) > 100*time.Millisecond { // of what comes at once, the last
					shown = time.Now()
					r.emit(Event{Event: EventOutput, Label: r.node.Label, Message: line})
				}
				l.tail = append(l.tail, line)
				if len(l.tail) > tailLines {
					l.tail = l.tail[1:]
				}
				if size += len(line) + len(end); size > maxLog {
					cancel(errLog)
				} else if _, writeErr := out.WriteString(line + end); err == nil {
					err = writeErr
				}
			}
			if readErr != nil {
				break
			}
		}
		l.done <- errors.Join(err, out.Flush(), l.file.Close())
	}()
	return l, nil
}

// close waits for the last line. The sandbox has ended: no one else holds the pipe.
func (l *logFile) close() error {
	l.writer.Close()
	return <-l.done
}

// commit captures dir/out as the node's layer.
func (r *run) commit() (cache.Layer, error) {
	out := filepath.Join(r.dir, "out")
	attrs := r.action.Attrs
	if r.tree != nil {
		attrs = r.tree.Attrs() // the layers' own declarations and the rootfs's, which are applied already
	}
	index, tar, err := cache.Capture(out, cache.CaptureOptions{Drop: r.action.Drop, Attrs: attrs})
	if err != nil {
		return cache.Layer{}, &outputError{r.node.Label, err}
	}
	if r.tree != nil {
		if err := r.tree.Check(index); err != nil {
			return cache.Layer{}, err
		}
	}
	return r.Store.CommitLayer(out, index, tar)
}

// An outputError says that what a script has left cannot be a layer.
type outputError struct {
	label string
	err   error
}

func (e *outputError) Error() string { return fmt.Sprintf("output of %s: %v", e.label, e.err) }
func (e *outputError) Unwrap() error { return e.err }

// keptFile is the file in a failed node's folder that says how to enter it again.
const keptFile = "sandbox.json"

// A Kept is the sandbox of a node whose action failed, and why it did.
type Kept struct {
	sandbox.Spec
	Why string // "exit status 2 in phase build"
}

// keep moves the folder of a failed node to where `vfsb shell --failed` finds it.
func (r *run) keep(cause error) error {
	var failed *NodeError
	if !errors.As(cause, &failed) || r.spec.Dir == "" || !r.KeepFailed {
		return cause
	}
	spec := r.spec
	spec.Stdout, spec.Stderr, spec.Jobserver = nil, nil, nil
	text, err := json.Marshal(Kept{spec, failed.Error()})
	if err != nil {
		return errors.Join(cause, err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, keptFile), text, 0o600); err != nil {
		return errors.Join(cause, err)
	}
	var layers []cache.Layer
	for _, l := range r.action.Layers() {
		layers = append(layers, cache.Layer{Tar: l.Tar})
	}
	if _, err := r.Store.KeepFailed(r.dir, r.node.Label, layers, r.inputs(r.node.ID)); err != nil {
		return errors.Join(cause, err)
	}
	failed.Kept = true
	return cause
}

// ReadKept reads how to enter the kept folder of a failed node.
func ReadKept(store *cache.Store, label string) (Kept, error) {
	var kept Kept
	if err := store.PinFailed(label); err != nil {
		return kept, err
	}
	dir := store.FailedDir(label)
	text, err := os.ReadFile(filepath.Join(dir, keptFile))
	if errors.Is(err, os.ErrNotExist) {
		return kept, fmt.Errorf("no failed run of %s is kept; build it first, without --no-keep-failed", label)
	}
	if err != nil {
		return kept, err
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		return kept, fmt.Errorf("%s: %w", filepath.Join(dir, keptFile), err)
	}
	kept.Dir, kept.Resume = dir, true
	return kept, nil
}
