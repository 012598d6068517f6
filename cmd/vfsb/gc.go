package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/load"
	"vfsb/engine/source"
)

func gcVerb(app *app) *cobra.Command {
	var maxSize, olderThan string
	var sources, current bool
	var o cache.CollectOptions
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove from the store what nothing names, or what was not used for longest",
		Long: `Without a bound, removes what no result, no run of the history and no build
names, downloads that were broken off long ago and stale package indexes. With
--max-size and --older-than, also layers, sources and folders of failed runs:
first those that were not used for longest. What was removed is built or fetched
again when it is needed.

Kept in any case is what running builds and shells use, the logs of the last runs
of each node, and of the workspace around: the results of its nodes as they are
declared now, and its sources. Builds may run meanwhile.`,
		Example: `  vfsb gc
  vfsb gc --max-size 20G --dry-run
  vfsb gc --older-than 30d --sources`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if maxSize != "" {
				n, err := parseSize(maxSize)
				if err != nil {
					return usageError{fmt.Errorf("--max-size: %w", err)}
				}
				o.MaxSize = max(n, 1) // 0 would be no bound; a store is never that small
			}
			if olderThan != "" {
				age, err := parseAge(olderThan)
				if err != nil {
					return usageError{fmt.Errorf("--older-than: %w", err)}
				}
				o.Before = time.Now().Add(-age)
			}
			return app.collect(cmd, o, sources, current)
		},
	}
	f := cmd.Flags()
	f.StringVar(&maxSize, "max-size", "", "what the store may hold, such as 20G")
	f.StringVar(&olderThan, "older-than", "", "remove what was not used for so long, such as 30d or 12h")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would be removed")
	f.BoolVar(&sources, "sources", false, "do not keep this workspace's sources")
	f.BoolVar(&current, "current", false, "do not keep this workspace's results")
	return cmd
}

func (a *app) collect(cmd *cobra.Command, o cache.CollectOptions, sources, current bool) error {
	if _, err := load.FindRoot(a.directory); err != nil {
		store, err := a.openStore()
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "note: not in a workspace, so none has results or sources that are kept")
		return errors.Join(a.collectStore(cmd, store, o), store.Close())
	}
	return a.with(func(e *engine.Engine) error {
		if !sources || !current {
			results, files, err := e.Current()
			var diags hcl.Diagnostics
			if errors.As(err, &diags) {
				return a.diagnose(e.Workspace, diags)
			}
			if err != nil {
				return err
			}
			if !current {
				o.Keep = append(o.Keep, results)
			}
			if !sources {
				o.Keep = append(o.Keep, files)
			}
		}
		return a.collectStore(cmd, e.Store, o)
	})
}

func (a *app) collectStore(cmd *cobra.Command, store *cache.Store, o cache.CollectOptions) error {
	leftovers, size, err := source.Collect(cmd.Context(), store, o.DryRun)
	if err != nil {
		return err
	}
	c, err := store.Collect(cmd.Context(), o)
	if err != nil {
		return err
	}
	if !a.quiet {
		a.printCollection(c, o, leftovers, size)
	}
	return nil
}

func (a *app) printCollection(c *cache.Collection, o cache.CollectOptions, leftovers []string, leftoversSize int64) {
	removed, free := "removed", "freed"
	if o.DryRun {
		removed, free = "would remove", "would free"
	}
	if a.verbose > 0 {
		for _, name := range leftovers {
			fmt.Fprintf(stdout, "%s %s\n", removed, name)
		}
		for _, it := range c.Removed {
			fmt.Fprintf(stdout, "%s %s %s  %s  last used %s: %s\n", removed, it.Name, it.Label, size(it.Size), it.Used.Format(time.DateOnly), it.Reason)
		}
	}
	if len(leftovers) > 0 {
		fmt.Fprintf(stdout, "%s %s of broken downloads and stale package indexes\n", removed, size(leftoversSize))
	}
	freed := printItems(removed, c.Removed)
	held := printItems("kept", c.Kept) + c.Rest
	over := o.MaxSize > 0 && held > o.MaxSize
	if c.Rest >= 1<<20 {
		fmt.Fprintf(stdout, "kept %s: package indexes, and the store's own records\n", size(c.Rest))
	}
	if o.DryRun {
		held += freed
	}
	fmt.Fprintf(stdout, "%s %s; the store holds %s\n", free, size(freed+leftoversSize), size(held))
	if over {
		fmt.Fprintf(stdout, "More than %s stays: what is kept, and why, stands above.\n", size(o.MaxSize))
	}
}

// printItems prints how many items of each kind there are for each reason, and returns their size.
func printItems(verb string, items []cache.Item) (total int64) {
	type group struct{ reason, kind string }
	count, bytes := map[group]int{}, map[group]int64{}
	var order []group
	for _, it := range items {
		g := group{it.Reason, it.Kind}
		if count[g] == 0 {
			order = append(order, g)
		}
		count[g]++
		bytes[g] += it.Size
		total += it.Size
	}
	for _, g := range order {
		plural := "s"
		if count[g] == 1 {
			plural = ""
		}
		fmt.Fprintf(stdout, "%s %d %s%s, %s: %s\n", verb, count[g], g.kind, plural, size(bytes[g]), g.reason)
	}
	return total
}

// parseSize reads a number of bytes: 500M, 20G, 1.5TiB. Units are powers of 1024.
func parseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	for i, letter := range "KMGT" {
		for _, suffix := range []string{"", "B", "iB"} {
			if n, ok := strings.CutSuffix(strings.ToUpper(text), strings.ToUpper(string(letter)+suffix)); ok {
				number, unit = n, 1<<(10*(i+1))
			}
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v >= 0) || v*float64(unit) > 1<<60 {
		return 0, fmt.Errorf("%q is not a size; write a number and K, M, G or T, such as 20G", text)
	}
	return int64(v * float64(unit)), nil
}

// parseAge reads a duration, days and weeks too: 12h, 30d, 2w.
func parseAge(text string) (time.Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			if n, err := strconv.ParseUint(number, 10, 16); err == nil {
				return time.Duration(n) * unit, nil
			}
		}
	}
	age, err := time.ParseDuration(text)
	if err != nil || age < 0 {
		return 0, fmt.Errorf("%q is not an age; write such as 30d, 2w or 12h", text)
	}
	return age, nil
}
