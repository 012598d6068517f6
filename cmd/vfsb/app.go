package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

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
	caches    []string
	cacheMode string
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
	f.StringArrayVar(&a.caches, "cache", nil, "`URL` of a remote cache, instead of the configured ones; may be repeated; none: no cache")
	choose(f, &a.cacheMode, "cache-mode", "", "read-only or read-write, whatever the configuration says (default read-only)", load.CacheRead, load.CacheWrite)
	choose(f, &a.origin, "origin", source.Auto, "where sources that are not locked yet come from: auto, upstream or debian", source.Auto, source.Upstream, source.DebianOrigin)
	choose(f, &a.color, "color", "auto", "colors: auto, always or never (NO_COLOR is honoured)", "auto", "always", "never")
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

// load loads the workspace. What vfsb carries is unpacked into the store, if the
// workspace imports it.
func (a *app) load(store *cache.Store) (*load.Workspace, hcl.Diagnostics, error) {
	root, err := load.FindRoot(a.directory)
	if err != nil {
		return nil, nil, usageError{err}
	}
	var unpackErr error // is the machine's, not the workspace's
	ws, diags := load.Load(root, rules.Names(), unpacked(store, &unpackErr))
	return ws, diags, unpackErr
}

// unpacked is what vfsb carries, unpacked into the store where it is imported. What goes wrong there is put into err.
func unpacked(store *cache.Store, err *error) load.Carried {
	return load.Carried{Digest: carriedDigest(), Unpack: func() (dir string, _ error) {
		dir, *err = store.Shipped(carriedDigest(), carried())
		return dir, *err
	}}
}

// past is what an earlier build of the labels came to; nil if nothing can be known. Errors are left to open, and flags that
// may be wrong.
func (a *app) past(store *cache.Store, labels []string) *engine.Past {
	if a.origin != source.Auto || len(a.caches) > 0 || a.cacheMode != "" {
		return nil
	}
	root, err := load.FindRoot(a.directory)
	if err != nil {
		return nil
	}
	folders := load.Folders(root, unpacked(store, &err))
	if len(folders) == 0 {
		return nil
	}
	return engine.NewPast(store, engine.HostExec(), root, folders, labels)
}

// workspace loads the workspace; declarations that are wrong are printed.
func (a *app) workspace(store *cache.Store) (*load.Workspace, error) {
	ws, diags, err := a.load(store)
	if err != nil {
		return nil, err
	}
	return ws, a.diagnose(ws, diags)
}

// diagnose prints diagnostics; they are an error if one of them is.
func (a *app) diagnose(ws *load.Workspace, diags hcl.Diagnostics) error {
	return a.diagnoseIn(diags, ws.PrintDiagnostics)
}

// diagnoseIn prints diagnostics with print, which knows the files that they are about.
func (a *app) diagnoseIn(diags hcl.Diagnostics, print func(io.Writer, hcl.Diagnostics, uint, bool) error) error {
	if len(diags) == 0 {
		return nil
	}
	// What is wrong with a stage or a platform is found once for each node.
	seen := map[string]bool{}
	diags = slices.DeleteFunc(slices.Clone(diags), func(d *hcl.Diagnostic) bool {
		text := fmt.Sprint(d.Subject, d.Error())
		known := seen[text]
		seen[text] = true
		return known
	})
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil {
		width = 0
	}
	if err := print(os.Stderr, diags, uint(width), a.colors(os.Stderr)); err != nil {
		return err
	}
	if diags.HasErrors() {
		return exitError{exitUsage}
	}
	return nil
}

// within is the path of name, which may be relative to dir.
func within(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
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

// openStore opens the store.
func (a *app) openStore() (*cache.Store, error) {
	dir, err := a.storeDir()
	if err != nil {
		return nil, err
	}
	store, err := cache.Open(dir)
	return store, unwritable(err)
}

// unwritable adds a remedy to the error of a folder that cannot be written to.
func unwritable(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w; name a folder that can be written to with --store or VFSB_STORE", err)
	}
	return err
}

// open loads the workspace.
func (a *app) open(store *cache.Store) (*engine.Engine, error) {
	ws, err := a.workspace(store)
	if err != nil {
		return nil, err
	}
	var locks []string
	for _, f := range ws.Folders {
		locks = append(locks, filepath.Join(f.Dir, load.LockFile))
	}
	lock, err := source.OpenLock(locks[0], locks[1:]...)
	if err != nil {
		return nil, usageError{err}
	}
	e := &engine.Engine{
		Workspace: ws, Rules: rules.All(), Store: store, Exec: engine.HostExec(),
		Fetcher: &source.Fetcher{Store: store, Lock: lock, Mirrors: a.mirrors, Offline: a.offline, Origin: a.origin},
	}
	return e, a.openCaches(e)
}

// with opens the store and the engine, lets f use it, and closes the store.
func (a *app) with(f func(*engine.Engine) error) error {
	return a.withStore(func(store *cache.Store) error {
		e, err := a.open(store)
		if err != nil {
			return err
		}
		return errors.Join(f(e), closeCaches(e))
	})
}

// withStore opens the store, lets f use it, and closes it.
func (a *app) withStore(f func(*cache.Store) error) error {
	store, err := a.openStore()
	if err != nil {
		return err
	}
	return errors.Join(f(store), store.Close())
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

// one analyzes what a single label needs; its node is the graph's first root. Where the analysis finds mistakes, there are
// a graph and an error.
func (a *app) one(e *engine.Engine, label string) (*engine.Graph, int32, error) {
	if _, err := load.ParseLabel(label); err != nil {
		return nil, 0, usageError{err}
	}
	g, err := a.graph(e, []string{label})
	if g == nil {
		return nil, 0, err
	}
	return g, g.Roots[0], err
}

// completeLabels completes labels of the workspace's targets, and after a colon their platforms.
func (a *app) completeLabels(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	store, err := a.openStore()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer store.Close()
	ws, _, err := a.load(store)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	label, _, colon := strings.Cut(prefix, ":")
	name, _, _ := strings.Cut(label, "@")
	var list []string
	for _, p := range ws.Packages {
		for _, t := range p.Targets {
			switch l := t.Label().String(); {
			case !colon:
				list = append(list, l)
			case l == name:
				for _, platform := range ws.PlatformsOf(p) {
					list = append(list, label+":"+platform)
				}
			}
		}
	}
	if colon {
		return list, cobra.ShellCompDirectiveNoFileComp
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace // a colon may follow
}
