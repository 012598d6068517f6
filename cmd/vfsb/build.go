package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"vfsb/cache"
	"vfsb/cache/remote"
	"vfsb/engine"
	"vfsb/engine/load"
)

func buildVerb(app *app) *cobra.Command {
	b := buildCommand{app: app}
	var noKeep bool
	var pull string
	cmd := &cobra.Command{
		Use:   "build LABEL…",
		Short: "Build what the labels name, and everything that it needs",
		Example: `  vfsb build //alkaline:amd64
  vfsb build -j 8 -k //...:amd64-seed`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, labels []string) error {
			b.Pull = engine.PullPolicy(pull)
			b.KeepFailed = !noKeep
			return app.withStore(func(store *cache.Store) error { return b.run(cmd.Context(), store, labels) })
		},
	}
	f := cmd.Flags()
	f.IntVarP(&b.Jobs, "jobs", "j", 0, "nodes and compile jobs at once (default: processors)")
	f.BoolVarP(&b.KeepGoing, "keep-going", "k", false, "go on with what does not need a failed node")
	f.BoolVarP(&b.DryRun, "dry-run", "n", false, "say what would be built")
	f.BoolVar(&b.Force, "force", false, "build the named nodes even if their results are known")
	f.BoolVar(&noKeep, "no-keep-failed", false, "do not keep a failed node's folder for vfsb shell --failed")
	f.DurationVar(&b.Timeout, "timeout", 0, "wall time for a node that declares none, such as 2h")
	choose(f, &pull, "pull", string(engine.PullNeeded), "layers from remote caches: all, needed (what runs needs, and what is asked for) or none (what runs needs)", string(engine.PullAll), string(engine.PullNeeded), string(engine.PullNone))
	f.StringVar(&b.exec, "exec", "", "`URL` of a cluster that executes nodes, instead of the configured one; none: this machine does")
	f.IntVar(&b.execJobs, "exec-jobs", 0, "nodes at once on the cluster (default 16)")
	f.BoolVar(&b.execMixed, "exec-mixed", false, "run nodes on this machine, too, while the cluster has no place for them")
	f.StringVar(&b.Out, "out", "", "`DIR` for artifacts (default: out in the workspace)")
	f.StringVar(&b.trace, "trace", "", "write what ran when to `FILE`, for ui.perfetto.dev or about:tracing")
	f.BoolVar(&b.asJSON, "json", false, "print an event a line on standard output")
	chooseProgress(f, &b.progress)
	return cmd
}

// buildCommand is one command line of the verb.
type buildCommand struct {
	engine.Options
	app             *app
	asJSON          bool
	progress, trace string

	exec      string
	execJobs  int
	execMixed bool
}

func (b *buildCommand) run(ctx context.Context, store *cache.Store, labels []string) error {
	if !b.DryRun && !b.Force && b.trace == "" && b.exec == "" && b.Pull != engine.PullAll {
		b.Past = b.app.past(store, labels)
		if done, err := b.recall(ctx); done || err != nil {
			return err
		}
	}
	e, err := b.app.open(store)
	if err != nil {
		return err
	}
	err = b.elsewhere(e)
	if err == nil {
		err = b.with(ctx, e, labels)
	}
	return errors.Join(err, closeCaches(e))
}

// elsewhere opens the cluster that flags or the configuration name. Its cache is asked after all others.
func (b *buildCommand) elsewhere(e *engine.Engine) error {
	c := e.Workspace.Cluster
	switch b.exec {
	case "":
	case "none":
		c = nil
	default:
		if c == nil || c.URL != b.exec {
			c = &load.Cluster{Cache: e.Workspace.Cache(b.exec)}
		}
	}
	if c == nil || b.app.offline {
		return nil
	}
	o, err := connection(e, c.Cache)
	if err != nil {
		return err
	}
	x, err := remote.OpenExecutor(o)
	if err != nil {
		return usageError{err}
	}
	e.Remotes = append(e.Remotes, x)
	b.Elsewhere = engine.Elsewhere{
		Executor: x, Jobs: cmp.Or(b.execJobs, c.Jobs, defaultExecJobs), Mixed: b.execMixed || c.Mixed, Distrust: len(e.Workspace.Trust) > 0,
	}
	return nil
}

// defaultExecJobs is how many nodes run on a cluster at once: a large graph has about as many branches.
const defaultExecJobs = 16

// with is the whole build.
func (b *buildCommand) with(ctx context.Context, e *engine.Engine, labels []string) error {
	g, err := b.app.graph(e, labels)
	if err != nil {
		return err
	}
	record, save := func(engine.Event) {}, func() error { return nil }
	if b.trace != "" {
		t, err := newTrace(b.trace, g, labels)
		if err != nil {
			return err
		}
		record, save = t.event, t.save
	}
	forecast := newForecast(g, e.Store.Durations(), max(b.Jobs, b.Elsewhere.Jobs))
	show := b.app.show(ctx, b.asJSON, b.progress, g, forecast)
	b.Notify = func(ev engine.Event) { show.event(ev); record(ev) }
	summary, err := e.Build(ctx, g, b.Options)
	show.close()
	if saveErr := save(); err == nil {
		err = saveErr
	}
	if summary != nil && !b.asJSON {
		printSummary(b.app, b.Options, summary, forecast, err)
	}
	var failed *engine.BuildError
	if errors.As(err, &failed) {
		code, _ := classify(err)
		return exitError{code} // the failures are on the screen
	}
	return err
}

// recall is all of it, if an earlier build tells that there is nothing to do.
func (b *buildCommand) recall(ctx context.Context) (done bool, err error) {
	show := b.app.show(ctx, b.asJSON, b.progress, &engine.Graph{}, nil)
	b.Notify = show.event
	summary, err := b.Past.Recall(b.Options)
	show.close()
	if summary == nil {
		return false, err
	}
	if !b.asJSON {
		printSummary(b.app, b.Options, summary, nil, nil)
	}
	return true, nil
}

// printSummary prints what a person wants to know at the end.
func printSummary(app *app, o engine.Options, s *engine.Summary, f *forecast, err error) {
	if !app.quiet {
		printFailures(o, err)
		planned := ""
		if o.DryRun {
			if left := f.left(time.Now()); left != "" {
				planned = "; " + left
			}
		}
		fmt.Fprintf(os.Stderr, "%s in %s%s%s\n", verdict(o, err), s.Wall.Round(10*time.Millisecond), counts(s), planned)
	}
	if err != nil || o.DryRun {
		return
	}
	for _, path := range s.Delivered {
		info, statErr := os.Stat(path)
		if statErr == nil {
			fmt.Fprintf(stdout, "%s  %s\n", path, size(info.Size()))
		}
	}
	if len(s.Delivered) == 0 {
		for _, r := range s.Roots {
			fmt.Fprintf(stdout, "%s  %s\n", r.Label, r.Dir)
		}
	}
}

// printFailures ends a build that went on after failures with the list of them.
func printFailures(o engine.Options, err error) {
	var build *engine.BuildError
	if !o.KeepGoing || !errors.As(err, &build) {
		return
	}
	for _, f := range build.Failures {
		fmt.Fprintf(os.Stderr, "failed:  %s: %s\n", f.Label, printableLines(f.Err.Error()))
	}
	for _, f := range build.Skipped {
		fmt.Fprintf(os.Stderr, "skipped: %s: %s\n", f.Label, printableLines(f.Err.Error()))
	}
}

func verdict(o engine.Options, err error) string {
	switch {
	case errors.Is(err, errInterrupted):
		return "interrupted"
	case err != nil:
		return "failed"
	case o.DryRun:
		return "planned"
	}
	return "done"
}

func counts(s *engine.Summary) string {
	text := ""
	for _, status := range []engine.Status{engine.Executed, engine.Pulled, engine.Cached, engine.Planned, engine.Failed, engine.Skipped} {
		if n := s.Count[status]; n > 0 {
			sep := ", "
			if text == "" {
				sep = ": "
			}
			text += fmt.Sprintf("%s%d %s", sep, n, status)
		}
	}
	if s.CPU > 0 {
		text += fmt.Sprintf(" (%.0f CPU s)", s.CPU)
	}
	return text
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
