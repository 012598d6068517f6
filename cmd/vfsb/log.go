package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vfsb/cache"
	"vfsb/engine"
)

func logVerb(app *app) *cobra.Command {
	var list, failed bool
	cmd := &cobra.Command{
		Use:   "log LABEL[~N]",
		Short: "Print what a run of a node printed, or list its runs",
		Long: `Prints what the node's latest run printed; with ~N the Nth before the latest, as
--list counts them. The store knows the last runs of each node, failed ones too.`,
		Example: `  vfsb log //zlib:amd64-seed
  vfsb log //zlib:amd64-seed~1
  vfsb log --list //zlib:amd64-seed`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, args []string) error {
			label, back, err := splitRun(args[0])
			if err == nil && back >= 0 && (list || failed) {
				err = fmt.Errorf("%s is one run already; leave out ~%d, or --list and --failed", args[0], back)
			}
			if err != nil {
				return usageError{err}
			}
			return app.with(func(e *engine.Engine) error {
				g, id, err := app.one(e, label)
				if err != nil {
					return err
				}
				n := g.Nodes[id]
				runs, err := nodeRuns(e, n.Label)
				if err != nil {
					return err
				}
				if list {
					printRuns(runs, failed)
					return nil
				}
				if n.Step == nil || n.Step.Script == nil {
					return usageError{fmt.Errorf("%s runs no script, so it has no log: vfsb makes it itself", n.Label)}
				}
				return printLog(cmd.Context(), e, runs, back, failed)
			})
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "list the runs that the store knows, the latest first")
	cmd.Flags().BoolVar(&failed, "failed", false, "the latest run that failed; with --list: only those")
	return cmd
}

// splitRun splits LABEL~N: run N of a node, counted back from the latest, which is ~0. Without ~N, back is -1.
func splitRun(arg string) (label string, back int, err error) {
	label, number, given := strings.Cut(arg, "~")
	if !given {
		return label, -1, nil
	}
	back, err = strconv.Atoi(number)
	if err != nil || back < 0 {
		return "", 0, fmt.Errorf("%q: what follows ~ is a number; ~0 is the latest run, ~1 the one before it", arg)
	}
	return label, back, nil
}

// nodeRuns is the history of a node, the latest run first: as ~N counts. There is at least one.
func nodeRuns(e *engine.Engine, label string) ([]cache.Record, error) {
	runs, err := e.Store.History(label)
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, usageError{fmt.Errorf("%s was not run with this store; its result may come from a cache", label)}
	}
	slices.Reverse(runs)
	return runs, nil
}

// nodeRun is run back of a node.
func nodeRun(runs []cache.Record, back int) (cache.Record, error) {
	if back >= len(runs) {
		return cache.Record{}, usageError{fmt.Errorf("of %s the store has runs up to ~%d only; vfsb log --list shows them", runs[0].Label, len(runs)-1)}
	}
	return runs[back], nil
}

func printRuns(runs []cache.Record, failed bool) {
	fmt.Fprintf(stdout, "%-3s  %-19s  %-8s  %8s  %-12s  %s\n", "run", "began", "status", "took", "key", "layer")
	for i, r := range runs {
		if failed && r.Status != string(engine.Failed) {
			continue
		}
		layer := "-"
		if r.Layer != (cache.Layer{}) {
			layer = shortHash(r.Layer.Tar)
		}
		fmt.Fprintf(stdout, "~%-2d  %-19s  %-8s  %8s  %-12s  %s\n", i, r.Time.Format(time.DateTime), r.Status, seconds(r.Seconds), shortHash(r.Key), layer)
	}
}

// shortHash is enough of a hash to tell it from the others of a store.
func shortHash(d cache.Digest) string { return d.Hex()[:12] }

// printLog prints the log of run back, or of the latest one, or of the latest that failed.
func printLog(ctx context.Context, e *engine.Engine, runs []cache.Record, back int, failed bool) error {
	chosen := runs
	if back >= 0 {
		run, err := nodeRun(runs, back)
		if err != nil {
			return err
		}
		chosen = []cache.Record{run}
	}
	for _, r := range chosen {
		if failed && r.Status != string(engine.Failed) || r.Log.Size == 0 {
			continue
		}
		if !e.Store.HasBlob(r.Log) { // the run was another machine's
			e.PullBlob(ctx, r.Log)
		}
		if err := e.Store.ExportBlob(r.Log, stdout); err != nil {
			return fmt.Errorf("the log of %s: %w", r.Label, err)
		}
		return nil
	}
	if failed {
		return usageError{fmt.Errorf("the store knows no failed run of %s that printed anything", runs[0].Label)}
	}
	return usageError{fmt.Errorf("that run of %s printed nothing", runs[0].Label)}
}
