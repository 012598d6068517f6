package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/load"
	"vfsb/engine/source"
	"vfsb/rules"
)

// app is the flags that all verbs share, and what they open.
type app struct {
	directory string
	store     string
	mirrors   []string
	origin    string
	color     string
	offline   bool
	verbose   int
	quiet     bool
}

func (a *app) flags(f *pflag.FlagSet) {
	f.StringVarP(&a.directory, "directory", "C", ".", "change to `DIR` first")
	f.StringVar(&a.store, "store", "", "the store's `DIR` (default $VFSB_STORE, else ~/.cache/vfsb)")
	f.StringArrayVar(&a.mirrors, "mirror", nil, "`DIR|URL` that is asked for sources first; may be repeated")
	f.StringVar(&a.origin, "origin", source.Auto, "where sources that are not locked yet come from: auto, upstream or debian")
	f.StringVar(&a.color, "color", "auto", "colors: auto, always or never (NO_COLOR is honoured)")
	f.BoolVar(&a.offline, "offline", false, "use no network")
	f.CountVarP(&a.verbose, "verbose", "v", "say more")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing but errors and results")
}

// colors reports whether what is written to f may be colored.
func (a *app) colors(f *os.File) bool {
	switch a.color {
	case "always":
		return true
	case "never":
		return false
	}
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// workspace loads the workspace; declarations that are wrong are printed.
func (a *app) workspace() (*load.Workspace, error) {
	root, err := load.FindRoot(a.directory)
	if err != nil {
		return nil, usageError{err}
	}
	ws, diags := load.Load(root, rules.Names())
	return ws, a.diagnose(ws, diags)
}

// diagnose prints diagnostics; they are an error if one of them is.
func (a *app) diagnose(ws *load.Workspace, diags hcl.Diagnostics) error {
	if len(diags) == 0 {
		return nil
	}
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil {
		width = 0
	}
	if err := ws.PrintDiagnostics(os.Stderr, diags, uint(width), a.colors(os.Stderr)); err != nil {
		return err
	}
	if diags.HasErrors() {
		return exitError{exitUsage}
	}
	return nil
}

// storeDir is the folder of the store.
func (a *app) storeDir() (string, error) {
	dir := a.store
	if dir == "" {
		dir = os.Getenv("VFSB_STORE")
	}
	if dir == "" {
		cacheDir, err := os.UserCacheDir()
		if err != nil {
			return "", usageError{fmt.Errorf("no folder for the store: %w; name one with --store or VFSB_STORE", err)}
		}
		dir = filepath.Join(cacheDir, "vfsb")
	}
	return filepath.Abs(dir)
}

// open loads the workspace and opens the store.
func (a *app) open() (*engine.Engine, error) {
	ws, err := a.workspace()
	if err != nil {
		return nil, err
	}
	e, err := a.engine(ws.Root)
	if err != nil {
		return nil, err
	}
	e.Workspace = ws
	return e, nil
}

// engine opens the store for the workspace at root, which it does not load.
func (a *app) engine(root string) (*engine.Engine, error) {
	switch a.origin {
	case source.Auto, source.Upstream, source.DebianOrigin:
	default:
		return nil, usageError{fmt.Errorf("--origin is auto, upstream or debian, not %q", a.origin)}
	}
	lock, err := source.OpenLock(filepath.Join(root, ".vfsb", "lock.json"))
	if err != nil {
		return nil, usageError{err}
	}
	dir, err := a.storeDir()
	if err != nil {
		return nil, err
	}
	store, err := cache.Open(dir)
	if err != nil {
		return nil, err
	}
	return &engine.Engine{
		Rules: rules.All(), Store: store, Exec: engine.HostExec(),
		Fetcher: &source.Fetcher{Store: store, Lock: lock, Mirrors: a.mirrors, Offline: a.offline, Origin: a.origin},
	}, nil
}

// with opens the engine, lets f use it, and closes the store.
func (a *app) with(f func(*engine.Engine) error) error {
	e, err := a.open()
	if err != nil {
		return err
	}
	err = f(e)
	return errors.Join(err, e.Store.Close())
}

// withRecalled is with, and the graph of the patterns. If that can be recalled, the workspace is not loaded.
func (a *app) withRecalled(patterns []string, f func(*engine.Engine, *engine.Graph) error) error {
	root, err := load.FindRoot(a.directory)
	if err != nil {
		return usageError{err}
	}
	if e, err := a.engine(root); err == nil { // else the workspace's errors come first
		if g := e.Recall(root, patterns); g != nil {
			err = f(e, g)
			return errors.Join(err, e.Store.Close())
		}
		if err := e.Store.Close(); err != nil {
			return err
		}
	}
	return a.withLoaded(patterns, f)
}

// withLoaded is with, and the graph of the patterns.
func (a *app) withLoaded(patterns []string, f func(*engine.Engine, *engine.Graph) error) error {
	return a.with(func(e *engine.Engine) error {
		g, err := a.graph(e, patterns)
		if err != nil {
			return err
		}
		return f(e, g)
	})
}

// graph analyzes what the patterns need.
func (a *app) graph(e *engine.Engine, patterns []string) (*engine.Graph, error) {
	roots, err := e.Expand(patterns)
	var diags hcl.Diagnostics
	if errors.As(err, &diags) {
		return nil, a.diagnose(e.Workspace, diags)
	}
	if err != nil {
		return nil, usageError{err}
	}
	g, diags := e.Analyze(roots)
	return g, a.diagnose(e.Workspace, diags)
}

// one analyzes what a single label needs; its node is the graph's first root.
func (a *app) one(e *engine.Engine, label string) (*engine.Graph, int32, error) {
	if _, err := load.ParseLabel(label); err != nil {
		return nil, 0, usageError{err}
	}
	g, err := a.graph(e, []string{label})
	if err != nil {
		return nil, 0, err
	}
	return g, g.Roots[0], nil
}

// completeLabels completes labels of the workspace's targets.
func (a *app) completeLabels(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	root, err := load.FindRoot(a.directory)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ws, _ := load.Load(root, rules.Names())
	var list []string
	for _, p := range ws.Packages {
		for _, t := range p.Targets {
			list = append(list, t.Label().String())
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}
