package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"sort"

	"github.com/spf13/cobra"

	"vfsb/engine"
	"vfsb/engine/sandbox"
)

func versionVerb(app *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			version := "devel"
			if info, ok := debug.ReadBuildInfo(); ok {
				if info.Main.Version != "" {
					version = info.Main.Version
				}
				fmt.Fprintf(stdout, "vfsb %s (%s, sandbox contract %d, packages %s)\n", version, info.GoVersion, sandbox.Contract, carriedDigest())
				return nil
			}
			fmt.Fprintf(stdout, "vfsb %s\n", version)
			return nil
		},
	}
}

func doctorVerb(app *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check what this machine can do, and say what to change",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := app.storeDir()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return unwritable(err)
			}
			tried, err := os.MkdirTemp(dir, "doctor-")
			if err != nil {
				return unwritable(err)
			}
			defer os.Remove(tried)
			paint := painter(app.colors(os.Stdout))
			unfit := false
			for _, f := range sandbox.Check(dir) {
				mark := paint.green("ok  ")
				switch {
				case !f.OK && f.Needed:
					mark, unfit = paint.red("FAIL"), true
				case !f.OK:
					mark = "no  "
				}
				fmt.Fprintf(stdout, "%s  %-32s %s\n", mark, f.Name, f.Detail)
				if f.Remedy != "" {
					fmt.Fprintf(stdout, "      remedy: %s\n", f.Remedy)
				}
			}
			if unfit {
				return exitError{exitUnfit}
			}
			return nil
		},
	}
}

func seedVerb(app *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "seed list|update|export DIR",
		Short: "Show, renew or save the packages of the first toolchain",
		Long: `list prints the locked packages of every seed. update resolves them again with
this machine's apt configuration and writes the lock file. export copies the
packages into a folder that serves as --mirror when a mirror has dropped them.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: cobra.FixedCompletions([]string{"list", "update", "export"}, cobra.ShellCompDirectiveDefault),
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.with(func(e *engine.Engine) error {
				switch {
				case args[0] == "list" && len(args) == 1:
					return listSeeds(e)
				case args[0] == "update" && len(args) == 1:
					e.Fetcher.Update = true
					changed, err := e.UpdateSeeds(cmd.Context())
					for _, line := range changed {
						fmt.Fprintln(stdout, line)
					}
					return err
				case args[0] == "export" && len(args) == 2:
					n, err := e.ExportSeeds(cmd.Context(), args[1])
					if err == nil {
						fmt.Fprintf(stdout, "%d packages are in %s; use it with --mirror %s\n", n, args[1], args[1])
					}
					return err
				}
				return usageError{fmt.Errorf("seed wants list, update, or export DIR")}
			})
		},
	}
	return cmd
}

func listSeeds(e *engine.Engine) error {
	seeds := e.LockedSeeds()
	var names []string
	for name := range seeds {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		total := int64(0)
		for _, d := range seeds[name] {
			fmt.Fprintf(stdout, "%s  %s %s  %s\n", name, d.Package, d.Version, d.SHA256)
			total += d.Size
		}
		fmt.Fprintf(stdout, "%s: %d packages, %s\n", name, len(seeds[name]), size(total))
	}
	return nil
}
