package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

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
				command := args[1:]
				var spec sandbox.Spec
				if failed {
					kept, err := engine.ReadKept(e.Store, g.Nodes[id].Label)
					if err != nil {
						return usageError{err}
					}
					unlock, err := lockTree(kept.Dir, fmt.Sprintf("another vfsb shell is in the kept folder of %s; end that one first", g.Nodes[id].Label))
					if err != nil {
						return err
					}
					defer unlock()
					if len(command) == 0 && !app.quiet {
						greet(g.Nodes[id].Label, kept)
					}
					spec = kept.Spec
				} else {
					fresh, release, err := app.enter(cmd.Context(), e, g, id, progress)
					if err != nil {
						return err
					}
					defer release()
					spec = fresh
				}
				switch {
				case len(command) > 0:
					spec.Argv = command
				case spec.Cwd == "/build": // no start-up files: the seed's would set another prompt
					spec.Argv = shellCommand("bash", "--norc")
				default:
					spec.Argv = shellCommand("bash")
				}
				spec.Terminal, spec.Timeout, spec.Silence = true, 0, 0
				spec.Env = withTerm(spec.Env)
				result, err := runWhileRead(cmd.Context(), spec)
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
	chooseProgress(cmd.Flags(), &progress)
	return cmd
}

// enter builds what the node needs and returns its sandbox, which release removes.
func (a *app) enter(ctx context.Context, e *engine.Engine, g *engine.Graph, id int32, progress string) (spec sandbox.Spec, release func(), err error) {
	show := a.display(ctx, progress, g, nil)
	defer show.close()
	return e.Enter(ctx, g, id, engine.Options{Notify: show.event})
}

// greet says where things are, and how to go on.
func greet(label string, kept engine.Kept) {
	places := "/build/script"
	for _, name := range []string{"obj", "src"} {
		if _, err := os.Lstat(filepath.Join(kept.Dir, "build", name)); err == nil {
			places = "/build/" + name + ", " + places
		}
	}
	fmt.Fprintf(os.Stderr, `%s: %s
There are %s; /out has what it installed.
To run it from the start: rm -rf src obj /out/*; bash script
`, label, printableLines(kept.Why), places)
}

// shellCommand runs a shell: for the user at the terminal, or for the script on standard input.
func shellCommand(argv ...string) []string {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return append(argv, "-i")
	}
	return argv
}

// withTerm tells programs inside what the terminal is.
func withTerm(env []string) []string {
	name := os.Getenv("TERM")
	if name == "" {
		name = "dumb"
	}
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "TERM=") })
	return append(env, "TERM="+name, "PS1=[vfsb] $PWD # ")
}
