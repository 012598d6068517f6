package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"vfsb/engine"
)

func buildVerb(app *app) *cobra.Command {
	var o engine.Options
	var asJSON, noKeep bool
	var progress, traceFile, pull string
	cmd := &cobra.Command{
		Use:   "build LABEL…",
		Short: "Build what the labels name, and everything that it needs",
		Example: `  vfsb build //alkaline:amd64
  vfsb build -j 8 -k //...:amd64-seed`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, labels []string) error {
			var err error
			if o.Pull, err = parsePull(pull); err != nil {
				return err
			}
			return app.with(func(e *engine.Engine) error {
				g, err := app.graph(e, labels)
				if err != nil {
					return err
				}
				record, save := func(engine.Event) {}, func() error { return nil }
				if traceFile != "" {
					t, err := newTrace(traceFile, g, labels)
					if err != nil {
						return err
					}
					record, save = t.event, t.save
				}
				forecast := newForecast(g, e.Store.Durations(), o.Jobs)
				var show *display
				if asJSON {
					show = jsonDisplay(cmd.Context())
				} else if show, err = app.display(cmd.Context(), progress, g, forecast); err != nil {
					return err
				}
				o.KeepFailed = !noKeep
				o.Notify = func(ev engine.Event) { show.event(ev); record(ev) }
				summary, err := e.Build(cmd.Context(), g, o)
				show.close()
				if saveErr := save(); err == nil {
					err = saveErr
				}
				if summary != nil && !asJSON {
					printSummary(app, o, summary, forecast, err)
				}
				var failed *engine.BuildError
				if errors.As(err, &failed) {
					code, _ := classify(err)
					return exitError{code} // the failures are on the screen
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.Jobs, "jobs", "j", 0, "nodes and compile jobs at once (default: processors)")
	f.BoolVarP(&o.KeepGoing, "keep-going", "k", false, "go on with what does not need a failed node")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would be built")
	f.BoolVar(&o.Force, "force", false, "build the named nodes even if their results are known")
	f.BoolVar(&noKeep, "no-keep-failed", false, "do not keep a failed node's folder for vfsb shell --failed")
	f.DurationVar(&o.Timeout, "timeout", 0, "wall time for a node that declares none, such as 2h")
	f.StringVar(&pull, "pull", string(engine.PullNeeded), "layers from remote caches: all, needed (what runs needs, and what is asked for) or none (what runs needs)")
	f.StringVar(&o.Out, "out", "", "`DIR` for artifacts (default: out in the workspace)")
	f.StringVar(&traceFile, "trace", "", "write what ran when to `FILE`, for ui.perfetto.dev or about:tracing")
	f.BoolVar(&asJSON, "json", false, "print an event a line on standard output")
	f.StringVar(&progress, "progress", "auto", progressUsage)
	return cmd
}

// printSummary prints what a person wants to know at the end.
func printSummary(app *app, o engine.Options, s *engine.Summary, f *forecast, err error) {
	if !app.quiet {
		printFailures(o, err)
		planned := ""
		if left := f.left(time.Now()); o.DryRun && left != "" {
			planned = "; " + left
		}
		fmt.Fprintf(os.Stderr, "%s in %s: %s%s\n", verdict(o, err), s.Wall.Round(10*time.Millisecond), counts(s), planned)
	}
	if err != nil || o.DryRun {
		return
	}
	for _, path := range s.Delivered {
		info, statErr := os.Stat(path)
		if statErr == nil {
			fmt.Printf("%s  %s\n", path, size(info.Size()))
		}
	}
	if len(s.Delivered) == 0 {
		for _, r := range s.Roots {
			fmt.Printf("%s  %s\n", r.Label, r.Dir)
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
		fmt.Fprintf(os.Stderr, "failed:  %s: %v\n", f.Label, f.Err)
	}
	for _, f := range build.Skipped {
		fmt.Fprintf(os.Stderr, "skipped: %s: %v\n", f.Label, f.Err)
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
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%d %s", n, status)
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
