package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vfsb/engine"
)

func explainVerb(app *app) *cobra.Command {
	return &cobra.Command{
		Use:               "explain LABEL",
		Short:             "Say why a node was, or would be, built again",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.with(func(e *engine.Engine) error {
				g, id, err := app.one(e, args[0])
				if err != nil {
					return err
				}
				if n := g.Nodes[id]; n.Step == nil {
					return usageError{fmt.Errorf("%s is a group; explain one of its members", n.Label)}
				}
				x, err := e.Explain(g, id)
				if err != nil {
					return err
				}
				printExplanation(e, x)
				return nil
			})
		},
	}
}

func printExplanation(e *engine.Engine, x *engine.Explanation) {
	switch {
	case len(x.Waits) > 0:
		fmt.Fprintf(stdout, "%s may be built again: what it needs would be built first:\n  %s\n", x.Label, strings.Join(x.Waits, "\n  "))
		fmt.Fprintln(stdout, "If their outputs come out the same, it is not.")
		return
	case x.Known && x.Record != nil:
		fmt.Fprintf(stdout, "%s is up to date: built %s in %s.\n", x.Label, x.Record.Time.Format(time.DateTime), seconds(x.Record.Seconds))
	case x.Known:
		fmt.Fprintf(stdout, "%s is up to date: a node with the same key, or another machine, built it.\n", x.Label)
	default:
		fmt.Fprintf(stdout, "%s would be built.\n", x.Label)
	}
	if x.Nearest == nil {
		fmt.Fprintln(stdout, "This store knows no earlier build of it to compare with.")
		return
	}
	fmt.Fprintf(stdout, "Against the build of %s:\n", x.Nearest.Time.Format(time.DateTime))
	for _, c := range x.Changes {
		for _, line := range e.Words(c) {
			fmt.Fprintln(stdout, "  "+line)
		}
	}
	if x.Known && x.Record != nil && x.Record.Layer == x.Nearest.Layer {
		fmt.Fprintln(stdout, "Its output came out the same: what needs it was not built again.")
	}
}
