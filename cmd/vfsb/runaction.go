package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/spf13/cobra"

	"vfsb/cache"
	"vfsb/engine"
)

func runActionVerb(app *app) *cobra.Command {
	return &cobra.Command{
		Use:   "run-action",
		Short: "Run the action whose input root is the current folder: what workers of a cluster do",
		Long: "A cluster runs this for vfsb build --exec. Layers are unpacked into the store once, and kept for the next\n" +
			"action: $VFSB_STORE names it, $VFSB_JOBS how many compile jobs an action may run at once (default: processors).\n" +
			"The script's output goes to standard output, a report in JSON to standard error. Exit codes: 0 it succeeded,\n" +
			"1 it failed, 36 this machine cannot run it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return app.runAction(cmd) },
	}
}

func (a *app) runAction(cmd *cobra.Command) error {
	report := a.workHere(cmd)
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s\n", text)
	switch {
	case report.Unfit != "":
		return exitError{exitUnfit}
	case report.Reason != "":
		return exitError{exitFailed}
	}
	return nil
}

func (a *app) workHere(cmd *cobra.Command) engine.Report {
	jobs := runtime.NumCPU()
	if text := os.Getenv("VFSB_JOBS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return engine.Report{Unfit: fmt.Sprintf("VFSB_JOBS is %q: want the number of compile jobs that an action may run at once", text)}
		}
		jobs = n
	}
	// Workers often have no HOME.
	if u, err := user.Current(); err == nil && os.Getenv("HOME") == "" && u.HomeDir != "" {
		os.Setenv("HOME", u.HomeDir)
	}
	dir, err := filepath.Abs(a.directory)
	if err != nil {
		return engine.Report{Unfit: err.Error()}
	}
	var report engine.Report
	err = a.withStore(func(store *cache.Store) error {
		report = (&engine.Worker{Store: store, Jobs: jobs}).Work(cmd.Context(), dir, stdout)
		return nil
	})
	if err != nil {
		return engine.Report{Unfit: err.Error()}
	}
	return report
}
