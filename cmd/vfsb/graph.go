package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vfsb/engine"
	"vfsb/engine/diagram"
)

func graphVerb(app *app) *cobra.Command {
	var format, file string
	cmd := &cobra.Command{
		Use:   "graph PATTERN…",
		Short: "Draw the graph of what patterns need",
		Long: `Without flags the graph is written for Graphviz. svg is a picture, and html a page
with search and details; both need nothing but a browser. They show what is in the
store, how long it took, and the longest path through it. Of what a node names,
they draw what other lines do not imply; the page lists all of it.`,
		Example: `  vfsb graph //alkaline:amd64 -o graph.html
  vfsb graph //bash:amd64 | dot -Tpdf > graph.pdf`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if format == "" {
				format = "dot"
				if ext := strings.TrimPrefix(filepath.Ext(file), "."); ext != "" {
					format = ext
				}
			}
			return app.with(func(e *engine.Engine) error {
				g, err := app.graph(e, patterns)
				if err != nil {
					return err
				}
				write := g.WriteDOT
				switch format {
				case "dot":
				case "svg", "html":
					d, err := drawing(e, g, patterns)
					if err != nil {
						return err
					}
					write = d.WriteSVG
					if format == "html" {
						write = d.WriteHTML
					}
				default:
					return usageError{fmt.Errorf("--format is dot, svg or html, not %q", format)}
				}
				return writeOutput(file, write)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "", "dot, svg or html (default: by the name of --output, else dot)")
	f.StringVarP(&file, "output", "o", "", "write `FILE` instead of standard output")
	return cmd
}

// drawing is the graph as a person sees it, with what the store knows of it.
func drawing(e *engine.Engine, g *engine.Graph, patterns []string) (*diagram.Graph, error) {
	e.Fetcher.Offline = true // looking is free
	standings, err := e.Standings(g)
	if err != nil {
		return nil, err
	}
	path, title := longestPath(g, standings)
	d := &diagram.Graph{Title: "vfsb graph " + strings.Join(patterns, " "), Path: title}
	platforms := map[string]bool{}
	for _, n := range g.Nodes {
		platforms[n.Platform.Name] = true
	}
	for id, n := range g.Nodes {
		s := standings[id]
		note := n.Stage.Name
		if len(platforms) > 1 {
			note += " " + n.Platform.Name
		}
		if s.Seconds > 0 {
			note += " " + seconds(s.Seconds)
		}
		d.Nodes = append(d.Nodes, diagram.Node{
			Label: n.Label, Name: n.Target.Label().String(), Note: note, Group: n.Stage.Name,
			State: nodeState(s), Critical: slices.Contains(path, int32(id)),
		})
		for _, need := range n.Needs() {
			d.Edges = append(d.Edges, diagram.Edge{From: id, To: int(need.ID), Kind: edgeKinds[need.Kind]})
		}
	}
	markPath(d, path)
	return d, nil
}

var edgeKinds = map[string]diagram.Kind{
	"contents": diagram.Contents, "deps": diagram.Deps, "tools": diagram.Tools, "root": diagram.Root, "emulator": diagram.Root, "runtime": diagram.Runtime,
}

func nodeState(s engine.Standing) diagram.State {
	switch {
	case s.Status == engine.Grouped:
		return diagram.NoState
	case s.Status == engine.Cached:
		return diagram.Built
	case s.Status == engine.Failed:
		return diagram.Failed
	case s.Seconds > 0:
		return diagram.Stale
	}
	return diagram.Unbuilt
}

// longestPath is the path whose nodes took longest, and what to call it. Where no duration is known there is none.
func longestPath(g *engine.Graph, standings []engine.Standing) (path []int32, title string) {
	weights := make([]float64, len(standings))
	for id, s := range standings {
		weights[id] = s.Seconds
	}
	total, unknown := 0.0, 0
	path = g.LongestPath(weights)
	for _, id := range path {
		total += weights[id]
		if weights[id] == 0 && standings[id].Status != engine.Grouped {
			unknown++
		}
	}
	if total == 0 {
		return nil, ""
	}
	title = "longest path: " + seconds(total)
	if unknown > 0 {
		title += fmt.Sprintf(" and %d of unknown duration", unknown)
	}
	return path, title
}

// markPath marks the edges of the path. A node may wait for another one that it does not name, but something that it
// needs brings along: then there is an edge for it.
func markPath(d *diagram.Graph, path []int32) {
	for i := range len(path) - 1 {
		from, to, found := int(path[i+1]), int(path[i]), false
		for j := range d.Edges {
			if e := &d.Edges[j]; e.From == from && e.To == to && e.Kind != diagram.Runtime {
				e.Critical, found = true, true
			}
		}
		if !found {
			d.Edges = append(d.Edges, diagram.Edge{From: from, To: to, Kind: diagram.Deps, Critical: true})
		}
	}
}
