package main

import (
	"fmt"
	"slices"
	"sort"

	"github.com/spf13/cobra"

	"vfsb/engine"
)

func queryVerb(app *app) *cobra.Command {
	var deps, rdeps bool
	cmd := &cobra.Command{
		Use:   "query PATTERN…",
		Short: "List the nodes that patterns mean, what they need, or what needs them",
		Example: `  vfsb query //...:amd64-musl
  vfsb query --deps //bash:amd64-musl
  vfsb query --rdeps //zlib:amd64-musl //...:amd64-musl`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			return app.with(func(e *engine.Engine) error {
				g, err := app.graph(e, patterns)
				if err != nil {
					return err
				}
				ids := g.Roots
				switch {
				case deps:
					ids = nil
					for id := range g.Nodes {
						ids = append(ids, int32(id))
					}
				case rdeps:
					// The first pattern is asked about; all of them are the universe.
					asked, err := e.Expand(patterns[:1])
					if err != nil {
						return usageError{err}
					}
					ids = nil
					for _, c := range asked {
						ids = append(ids, g.Dependents(g.Find(c.Label().String()).ID)...)
					}
				}
				var labels []string
				for _, id := range ids {
					labels = append(labels, g.Nodes[id].Label)
				}
				sort.Strings(labels)
				for _, l := range slices.Compact(labels) {
					fmt.Fprintln(stdout, l)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&deps, "deps", false, "list everything that is needed, too")
	cmd.Flags().BoolVar(&rdeps, "rdeps", false, "list what needs the first label, among all the patterns")
	cmd.MarkFlagsMutuallyExclusive("deps", "rdeps")
	return cmd
}

func renderVerb(app *app) *cobra.Command {
	var fields bool
	cmd := &cobra.Command{
		Use:               "render LABEL",
		Short:             "Print the script that a node runs",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.with(func(e *engine.Engine) error {
				g, id, err := app.one(e, args[0])
				if g == nil {
					return err
				}
				n := g.Nodes[id]
				if n.Step == nil || n.Step.Script == nil {
					if err != nil {
						return err
					}
					return usageError{fmt.Errorf("%s runs no script: vfsb makes it itself", n.Label)}
				}
				if fields {
					for _, k := range sortedKeys(n.Step.Env) {
						fmt.Fprintf(stdout, "# %s=%s\n", k, n.Step.Env[k])
					}
				}
				stdout.Write(n.Step.Script)
				return err // such as that of a script that is not bash, which is shown for it to be found
			})
		},
	}
	cmd.Flags().BoolVar(&fields, "env", false, "print the environment, too, as comments")
	return cmd
}

func sortedKeys(m map[string]string) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}
