package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vfsb/engine"
	"vfsb/engine/load"
)

func verifyVerb(app *app) *cobra.Command {
	o := engine.Options{KeepGoing: true}
	var asJSON, stop bool
	var progress, share, other string
	s := engine.Sample{Seed: uint64(rand.Uint32())}
	cmd := &cobra.Command{
		Use:   "verify LABEL…",
		Short: "Build again what the labels name and need, and compare with what the store has",
		Long: `Every node is built again from what the store has of its inputs, so each is judged by
itself, and what comes out is compared bit by bit. What the store does not have comes from
the caches: a new store and --sample 5% check what they hold. What differs is named with the
first file that does. Nothing that is known changes; the other output stays in the store, for
vfsb diff, until vfsb gc. Seeds are not unpacked again.

With --other-seed, what the labels need is built from that seed instead, from its first
compiler on, and compared. Tools that run here are made by the seed's compiler and may
differ; whatever they make must not.

Exits with 0 if all came out the same, 3 if something differs, 1 if something failed.`,
		Example: `  vfsb verify //zlib:amd64-seed
  vfsb verify --sample 10% //alkaline:arm64
  vfsb verify --other-seed //seed/trixie //stage1:amd64`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, labels []string) error {
			var err error
			if s.Share, err = parseShare(share); err != nil {
				return err
			}
			if o.Jobs == 0 {
				o.Jobs = runtime.NumCPU() + 1
			}
			o.KeepGoing = !stop
			return app.with(func(e *engine.Engine) error {
				g, err := app.graph(e, labels)
				if err != nil {
					return err
				}
				if other != "" {
					return app.verifySeed(cmd.Context(), e, g, other, o, asJSON, progress)
				}
				show := app.show(cmd.Context(), asJSON, progress, g, newForecast(engine.Apart(g), e.Store.Durations(), o.Jobs))
				o.Notify = show.event
				summary, err := e.Verify(cmd.Context(), g, s, o)
				show.close()
				if summary != nil && !asJSON && !app.quiet {
					printVerified(summary)
				}
				if summary != nil && s.Share < 1 {
					fmt.Fprintf(os.Stderr, "the same sample again: --sample %s --seed %d\n", share, s.Seed)
				}
				return verifyError(err)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&share, "sample", "100%", "verify a random share of the nodes")
	f.Uint64Var(&s.Seed, "seed", s.Seed, "of the sample: the same one chooses the same nodes")
	f.Lookup("seed").DefValue = "another each time"
	f.StringVar(&other, "other-seed", "", "build from the seed of this `LABEL`, and compare what comes of the two")
	cmd.MarkFlagsMutuallyExclusive("other-seed", "sample")
	f.IntVarP(&o.Jobs, "jobs", "j", 0, "nodes and compile jobs at once (default: one more than there are processors)")
	f.BoolVar(&stop, "fail-fast", false, "stop at the first node that differs or fails")
	f.DurationVar(&o.Timeout, "timeout", 0, "wall time for a node that declares none, such as 2h")
	f.BoolVar(&asJSON, "json", false, "print an event a line on standard output")
	chooseProgress(f, &progress)
	return cmd
}

// verifyError leaves out of err what is on the screen already.
func verifyError(err error) error {
	var build *engine.BuildError
	switch {
	case errors.As(err, &build):
		code, _ := classify(err)
		return exitError{code}
	case errors.Is(err, engine.ErrNotBuilt) || errors.Is(err, engine.ErrNothing):
		return usageError{err}
	}
	return err
}

// verifySeed builds what g is of from another seed, and compares.
func (a *app) verifySeed(ctx context.Context, e *engine.Engine, g *engine.Graph, seed string, o engine.Options, asJSON bool, progress string) error {
	configs, err := e.Expand([]string{seed})
	if err != nil {
		return usageError{err}
	}
	if len(configs) != 1 || configs[0].Target.Kind != engine.SeedKind {
		return usageError{fmt.Errorf("--other-seed: %s is no seed; vfsb seed list shows what is", seed)}
	}
	var roots []load.Config
	for _, id := range g.Roots {
		roots = append(roots, g.Nodes[id].Config)
	}
	other, diags := e.Reseed(roots, configs[0].Target)
	if err := a.diagnose(e.Workspace, diags); err != nil {
		return err
	}
	show := a.show(ctx, asJSON, progress, other, newForecast(other, e.Store.Durations(), o.Jobs))
	o.Notify = show.event
	summary, list, err := e.VerifySeed(ctx, g, other, o)
	show.close()
	if err != nil {
		return verifyError(err)
	}
	n := tellCompared(list, asJSON, show)
	if !asJSON && !a.quiet {
		fmt.Fprintf(os.Stderr, "verified in %s: %d the same from %s, %d different; of %d tools that run here, which may differ, %d do\n",
			summary.Wall.Round(10*time.Millisecond), n.same, configs[0].Target.Label(), n.different, n.host, n.hostDiffers)
	}
	if n.different > 0 {
		return exitError{exitDiffers}
	}
	return nil
}

// A comparison counts nodes that came of two seeds.
type comparison struct{ same, different, host, hostDiffers int }

// tellCompared tells of the nodes that should not differ and do, or as JSON of all, and counts them.
func tellCompared(list []engine.Compared, asJSON bool, show *display) (n comparison) {
	for _, c := range list {
		ev := engine.Event{Event: engine.EventFinished, Label: c.Label, Status: engine.Same, Layer: c.Layer.Tar.String()}
		if c.Differ != nil {
			ev.Status, ev.Message = engine.Differs, c.Differ.Error()
		}
		switch {
		case c.Host:
			n.host++
			if c.Differ != nil {
				n.hostDiffers++
			}
		case c.Differ == nil:
			n.same++
		default:
			n.different++
			if c.Cause != "" {
				ev.Message += "; so did its input " + c.Cause
			}
			if !asJSON {
				fmt.Fprintf(os.Stderr, "differs: %s: %s\n", c.Label, ev.Message)
			}
		}
		if asJSON {
			show.event(ev)
		}
	}
	return n
}

// parseShare reads a percentage.
func parseShare(s string) (float64, error) {
	number, ok := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(v > 0 && v <= 100) {
		return 0, usageError{fmt.Errorf("--sample is a percentage above 0 and up to 100, such as 10%%, not %q", s)}
	}
	return v / 100, nil
}

func printVerified(s *engine.Summary) {
	fmt.Fprintf(os.Stderr, "verified in %s: %d the same, %d different", s.Wall.Round(10*time.Millisecond), s.Count[engine.Same], s.Different)
	if failed := s.Count[engine.Failed] - s.Different; failed > 0 {
		fmt.Fprintf(os.Stderr, ", %d failed", failed)
	}
	fmt.Fprintln(os.Stderr)
}

// differences counts the nodes that came out different, and those that failed.
func differences(err error) (differ, failed int) {
	var build *engine.BuildError
	if !errors.As(err, &build) {
		return 0, 0
	}
	for _, f := range build.Failures {
		var d *engine.DifferError
		if errors.As(f.Err, &d) {
			differ++
		} else {
			failed++
		}
	}
	return differ, failed
}
