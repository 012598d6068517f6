package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"vfsb/engine"
)

func logVerb(app *app) *cobra.Command {
	return &cobra.Command{
		Use:               "log LABEL",
		Short:             "Print what a node's latest run printed",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.with(func(e *engine.Engine) error {
				g, id, err := app.one(e, args[0])
				if err != nil {
					return err
				}
				label := g.Nodes[id].Label
				if step := g.Nodes[id].Step; step == nil || step.Script == nil {
					return usageError{fmt.Errorf("%s runs no script, so it has no log: vfsb makes it itself", label)}
				}
				history, err := e.Store.History(label)
				if err != nil {
					return err
				}
				for i := len(history) - 1; i >= 0; i-- {
					if history[i].Log.Size == 0 {
						continue
					}
					f, err := e.Store.OpenBlob(history[i].Log)
					if err != nil {
						return fmt.Errorf("the log of %s: %w", label, err)
					}
					defer f.Close()
					_, err = io.Copy(os.Stdout, f)
					return err
				}
				return usageError{fmt.Errorf("%s was not run with this store; its result may come from a cache", label)}
			})
		},
	}
}
