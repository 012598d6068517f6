package main

import (
	"os"

	"github.com/spf13/cobra"

	"vfsb/engine"
	"vfsb/engine/sandbox"
)

func shellVerb(app *app) *cobra.Command {
	var failed bool
	var progress string
	cmd := &cobra.Command{
		Use:   "shell LABEL [-- COMMAND…]",
		Short: "Open a node's sandbox, that of its failed run, or a built root file system",
		Long: `Builds what the node needs and opens a shell where its script would run
(/build/script). For a rootfs or an image the root is the built system itself.
With a command after --, runs that and hands its exit code on. What is changed
inside is thrown away, except with --failed.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.with(func(e *engine.Engine) error {
				g, id, err := app.one(e, args[0])
				if err != nil {
					return err
				}
				var spec sandbox.Spec
				if failed {
					spec, err = engine.KeptSpec(e.Store, g.Nodes[id].Label)
					if err != nil {
						return usageError{err}
					}
				} else {
					show, err := app.display(cmd.Context(), progress, g, nil)
					if err != nil {
						return err
					}
					var release func()
					spec, release, err = e.Enter(cmd.Context(), g, id, engine.Options{Notify: show.event})
					show.close()
					if err != nil {
						return err
					}
					defer release()
				}
				spec.Argv = []string{"bash", "-i"}
				if command := args[1:]; len(command) > 0 {
					spec.Argv = command
				}
				spec.Terminal, spec.Timeout, spec.Silence = true, 0, 0
				spec.Env = withTerm(spec.Env)
				result, err := sandbox.Run(cmd.Context(), spec)
				if err != nil {
					return err
				}
				if result.ExitCode != 0 {
					return exitError{result.ExitCode}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&failed, "failed", false, "enter the kept folder of the node's failed run")
	cmd.Flags().StringVar(&progress, "progress", "auto", progressUsage)
	return cmd
}

// withTerm tells programs inside what the terminal is.
func withTerm(env []string) []string {
	name := os.Getenv("TERM")
	if name == "" {
		name = "dumb"
	}
	return append(env, "TERM="+name, "PS1=[vfsb] \\w # ")
}
