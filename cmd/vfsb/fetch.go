package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"vfsb/engine"
)

func fetchVerb(app *app) *cobra.Command {
	var update bool
	var progress string
	cmd := &cobra.Command{
		Use:               "fetch LABEL…",
		Short:             "Fetch every source that the labels need; afterwards build --offline works",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, labels []string) error {
			return app.with(func(e *engine.Engine) error {
				g, err := app.graph(e, labels)
				if err != nil {
					return err
				}
				show := app.display(cmd.Context(), progress, g, nil)
				e.Fetcher.Update = update
				n, err := e.Fetch(cmd.Context(), g, show.event)
				show.close()
				if err == nil && !app.quiet {
					fmt.Fprintf(os.Stderr, "sources in the store: %d\n", n)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&update, "update", false, "decide again where each source comes from, and lock that")
	chooseProgress(cmd.Flags(), &progress)
	return cmd
}
