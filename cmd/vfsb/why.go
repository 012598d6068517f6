package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vfsb/engine"
	"vfsb/engine/load"
)

func whyVerb(app *app) *cobra.Command {
	var all bool
	var most int
	cmd := &cobra.Command{
		Use:   "why A B",
		Short: "Say why A needs B: the shortest path from one to the other",
		Long: `Prints the shortest path of declarations that leads from A to B, an edge a line:
its kind, what it names, and where that is written. B may leave out stage and
platform: then the nearest node of any is meant. Exits with 1 if A does not need B.`,
		Example: `  vfsb why //alkaline:amd64 //gmp
  vfsb why --all //bash:amd64-musl //musl`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !all {
				most = 1
			}
			if most < 1 {
				return usageError{fmt.Errorf("--most is at least 1, not %d", most)}
			}
			return app.with(func(e *engine.Engine) error { return app.why(e, args[0], args[1], all, most) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "print every path, the shortest first")
	cmd.Flags().IntVar(&most, "most", 50, "with --all: the number of paths to stop at")
	return cmd
}

func (a *app) why(e *engine.Engine, from, to string, all bool, most int) error {
	target, err := load.ParseLabel(to)
	if err != nil {
		return usageError{err}
	}
	g, id, err := a.one(e, from)
	if err != nil {
		return err
	}
	found := g.Match(target)
	others := slices.DeleteFunc(slices.Clone(found), func(other int32) bool { return other == id })
	if len(others) < len(found) && len(others) == 0 {
		return usageError{fmt.Errorf("%s and %s are the same node; name two", from, to)}
	}
	paths, more := g.Paths(id, others, most)
	if len(paths) == 0 {
		return a.notNeeded(e, g.Nodes[id], target)
	}
	for i, path := range paths {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		printPath(path)
	}
	if all && more {
		fmt.Fprintf(stdout, "\nThere are more than %d paths; --most %d prints more of them.\n", most, 10*most)
	}
	return nil
}

// printPath prints a path, its columns aligned.
func printPath(path []engine.Hop) {
	fmt.Fprintln(stdout, path[0].From)
	width := [2]int{}
	rows := make([][3]string, len(path))
	for i, hop := range path {
		var kinds, places []string
		for _, e := range hop.Edges {
			kinds, places = append(kinds, e.Kind), append(places, e.At)
		}
		rows[i] = [3]string{strings.Join(kinds, ", "), hop.To, strings.Join(places, ", ")}
		for c := range width {
			width[c] = max(width[c], len(rows[i][c]))
		}
	}
	for _, r := range rows {
		fmt.Fprintf(stdout, "  %-*s  %-*s  %s\n", width[0], r[0], width[1], r[1], r[2])
	}
}

// notNeeded says that from does not need what to means, and whether the opposite is true.
func (a *app) notNeeded(e *engine.Engine, from *engine.Node, to load.Label) error {
	c, err := load.NewResolver(e.Workspace, e.Exec).Resolve(to, from.Platform.Name)
	if err != nil {
		return usageError{err}
	}
	g, diags := e.Analyze([]load.Config{c})
	if err := a.diagnose(e.Workspace, diags); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s does not need %s.\n", from.Label, c.Label())
	if g.Find(from.Label) != nil {
		fmt.Fprintf(stdout, "It is the other way round: vfsb why %s %s\n", c.Label(), from.Label)
	}
	return exitError{exitFailed}
}
