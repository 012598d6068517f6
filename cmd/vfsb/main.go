// Command vfsb builds whole Linux systems from source.
//
// Each verb has a file of its own; build.go is the place to start reading.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/sandbox"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // a node failed, or what a verb was asked to check does not hold
	exitUsage       = 2   // wrong flags or labels, or errors in the workspace's declarations
	exitDiffers     = 3   // vfsb verify: a node came out different
	exitSource      = 5   // a source cannot be had, or is not what its digest says
	exitInterrupted = 8   // interrupted; nothing is lost
	exitUnfit       = 36  // this machine cannot run sandboxes
	exitInternal    = 37  // everything else: the disk, the store
	exitNotRun      = 126 // shell, chroot: the command is there, and no program; as shells have it
	exitNoProgram   = 127 // shell, chroot: the command is not there
)

func main() {
	sandbox.Init() // this program is pid 1 of its sandboxes too
	os.Exit(run())
}

func run() int {
	// Loading a workspace makes megabytes of garbage in a short time, and not much is alive: collecting less often
	// saves a quarter of the time.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	ctx, stop := interruptible()
	defer stop()
	suspendable()
	err := newRoot().ExecuteContext(ctx)
	if err == nil {
		err = stdout.err
	}
	if err == nil {
		return exitOK
	}
	code, message := classify(err)
	if message != "" {
		fmt.Fprintln(os.Stderr, "vfsb: "+printableLines(message)) // servers and scripts have a say in it
	}
	return code
}

var errInterrupted = errors.New("interrupted; what was finished is kept")

// interruptible is a context that the first interrupt cancels, which a display tells;
// the second one ends the process at once, and the kernel ends its sandboxes with it.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM)
	terminals := signals
	if sandbox.IsWithUsers() { // they come to who has started this process, too, and so once more
		terminals = make(chan os.Signal, 1)
	}
	signal.Notify(terminals, os.Interrupt)
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		signal.Notify(terminals, syscall.SIGHUP)
	}
	go func() {
		for s := range signals {
			if ctx.Err() != nil && s != syscall.SIGHUP { // which a terminal's end sends more than once
				os.Exit(exitInterrupted)
			}
			cancel(errInterrupted)
		}
	}()
	return ctx, func() { signal.Stop(signals) }
}

// suspendable stops sandboxes, too, when ^Z stops this process: what runs in them has sessions of its own.
func suspendable() {
	if signal.Ignored(syscall.SIGTSTP) { // by a shell without job control
		return
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTSTP)
	go func() {
		runtime.LockOSThread()
		for range signals {
			resume := sandbox.Suspend()
			unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP) // of this thread: it goes on here when it is continued, not before
			resume()
		}
	}()
}

// An exitError carries the exit code of a verb that has said all there is to say.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// A usageError is a mistake in what the user wrote.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// classify finds the exit code of an error, and what is still to be printed of it.
func classify(err error) (code int, message string) {
	var exit exitError
	var usage usageError
	var build *engine.BuildError
	var unfit *sandbox.Unfit
	var noProgram *sandbox.ExecError
	var missing *engine.SourceError
	switch {
	case errors.As(err, &exit):
		return exit.code, ""
	case errors.As(err, &usage):
		return exitUsage, err.Error()
	case errors.Is(err, errInterrupted):
		return exitInterrupted, err.Error()
	case errors.As(err, &unfit):
		return exitUnfit, err.Error()
	case errors.As(err, &missing) && !cache.NoRoom(err):
		return exitSource, err.Error()
	case errors.As(err, &build):
		if differ, failed := differences(err); differ > 0 && failed == 0 {
			return exitDiffers, err.Error()
		}
		return exitFailed, err.Error()
	case errors.As(err, &noProgram):
		if !errors.Is(err, syscall.ENOENT) {
			return exitNotRun, err.Error()
		}
		return exitNoProgram, err.Error()
	}
	return exitInternal, err.Error()
}

func newRoot() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:           "vfsb",
		Short:         "Build whole Linux systems from source, as a graph of cached, isolated steps",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, args []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if info, err := os.Stat(a.directory); err != nil || !info.IsDir() {
				return usageError{fmt.Errorf("--directory: there is no folder %s", a.directory)}
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.SetOut(stdout)
	a.flags(root.PersistentFlags())
	for _, verb := range []func(*app) *cobra.Command{
		buildVerb, cacheVerb, chrootVerb, diffVerb, doctorVerb, explainVerb, fetchVerb, fmtVerb, gcVerb, graphVerb, initVerb, logVerb, overrideVerb,
		patchVerb, queryVerb, renderVerb, runActionVerb, sbomVerb, seedVerb, shellVerb, verifyVerb, versionVerb, whyVerb,
	} {
		root.AddCommand(verb(a))
	}
	checkUsage(root)
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	show := help.Run
	help.Run = nil
	help.RunE = func(cmd *cobra.Command, args []string) error {
		if c, rest, err := root.Find(args); err == nil && c.HasSubCommands() && len(rest) > 0 {
			return noCommand(c, rest[0])
		}
		show(cmd, args)
		return nil
	}
	return root
}
