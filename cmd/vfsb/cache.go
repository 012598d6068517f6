package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vfsb/cache"
	"vfsb/cache/remote"
	"vfsb/engine"
	"vfsb/engine/load"
)

func cacheVerb(app *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Share results with others: push, pull, compare, sign",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	sub := func(use, short, long string, args cobra.PositionalArgs, run func(*cobra.Command, []string) error) {
		c := &cobra.Command{Use: use, Short: short, Long: long, Args: args, RunE: run}
		if strings.HasSuffix(use, "LABEL…") {
			c.ValidArgsFunction = app.completeLabels
		}
		cmd.AddCommand(c)
	}
	sub("push LABEL…", "Push what the store knows of the labels, and of all that they need",
		"Pushes results with their layers, logs, sources and recipes to the caches whose mode is\nread-write. What a cache has already is not sent again.",
		cobra.MinimumNArgs(1), app.cachePush)
	sub("pull LABEL…", "Pull what the caches have of the labels, and of all that they need",
		"Afterwards the caches are not needed to build on it.", cobra.MinimumNArgs(1), app.cachePull)
	sub("stat [LABEL…]", "Say whether the caches answer, and what they have of the labels", "", cobra.ArbitraryArgs, app.cacheStat)
	sub("verify LABEL…", "Compare what the caches have with what this store has built",
		"Each result must be there, be believed, and have the same layer. Exit code 1: one differs.",
		cobra.MinimumNArgs(1), app.cacheVerify)
	sub("keygen", "Make the key with which results are signed that are pushed, and print its public half",
		"The private half is written to ~/.config/vfsb/cache.key, or to $VFSB_CACHE_KEY. Where that\nfile is, results are signed. The line that is printed goes into trust { keys = [...] } of\nvfsb.hcl.",
		cobra.NoArgs, cacheKeygen)
	var listen string
	serve := &cobra.Command{
		Use: "serve", Short: "Serve this store to others, read-only", Args: cobra.NoArgs,
		Long: "Serves what the store has by both protocols, gRPC and HTTP, at one port, without asking who\nasks: for colleagues at hand. A team is better served by a cache of its own.",
		RunE: func(cmd *cobra.Command, _ []string) error { return app.cacheServe(cmd.Context(), listen) },
	}
	serve.Flags().StringVar(&listen, "listen", "localhost:8980", "`HOST:PORT`; :8980 listens to everyone")
	cmd.AddCommand(serve)
	return cmd
}

func (a *app) cacheServe(ctx context.Context, address string) error {
	store, err := a.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	path, err := signerPath()
	if err != nil {
		return err
	}
	signer, err := remote.ReadSigner(path)
	if err != nil {
		return usageError{err}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintf(os.Stderr, "serving %s at grpc://%s and http://%s, read-only; interrupt to end\n", store.Dir(), l.Addr(), l.Addr())
	return (&remote.Server{Store: store, Sign: signer}).Serve(ctx, l)
}

// withCaches opens the engine, and needs a cache; labels are analyzed.
func (a *app) withCaches(labels []string, do func(*engine.Engine, *engine.Graph) error) error {
	return a.with(func(e *engine.Engine) error {
		if len(e.Remotes) == 0 {
			return usageError{errors.New("no cache is configured; name one with --cache URL, or in a cache block of vfsb.hcl")}
		}
		if len(labels) == 0 {
			return do(e, nil)
		}
		g, err := a.graph(e, labels)
		if err != nil {
			return err
		}
		return do(e, g)
	})
}

func (a *app) cachePush(cmd *cobra.Command, labels []string) error {
	return a.withCaches(labels, func(e *engine.Engine, g *engine.Graph) error {
		if len(e.PushTo) == 0 {
			return usageError{errors.New("no cache takes results; give --cache-mode=read-write, or set mode = \"read-write\" in its cache block")}
		}
		list, err := e.Push(cmd.Context(), g)
		if err != nil {
			return err
		}
		return a.shares(list, "pushed", "never built here")
	})
}

func (a *app) cachePull(cmd *cobra.Command, labels []string) error {
	return a.withCaches(labels, func(e *engine.Engine, g *engine.Graph) error {
		list, err := e.PullAll(cmd.Context(), g)
		if err != nil {
			return err
		}
		return a.shares(list, "here", "in no cache")
	})
}

func (a *app) cacheVerify(cmd *cobra.Command, labels []string) error {
	return a.withCaches(labels, func(e *engine.Engine, g *engine.Graph) error {
		var failures []error
		for _, r := range e.Remotes {
			fmt.Fprintln(stdout, r.(*remote.Cache).Name())
			list, err := e.VerifyRemote(cmd.Context(), g, r)
			if err == nil {
				err = a.shares(list, "the same", "never built here")
			}
			failures = append(failures, err)
		}
		return errors.Join(failures...)
	})
}

// shares prints what became of each node, and a sum. What a cache does not have is no failure.
func (a *app) shares(list []engine.Share, done, unknown string) error {
	count := map[string]int{}
	failed := false
	for _, s := range list {
		what, detail := done, ""
		var broken *remote.FailedError
		switch {
		case !s.Known:
			what = unknown
		case errors.Is(s.Err, remote.ErrGaveUp):
			what, failed = "not tried", true
		case errors.Is(s.Err, cache.ErrNotFound) && !errors.As(s.Err, &broken):
			what = "missing there"
		case s.Err != nil:
			what, detail, failed = "FAILED", ": "+printableLines(s.Err.Error()), true
		}
		count[what]++
		if what != done || a.verbose > 0 {
			fmt.Fprintf(stdout, "%-16s  %s%s\n", what, s.Label, detail)
		}
	}
	if !a.quiet {
		var sum []string
		for _, what := range slices.Sorted(maps.Keys(count)) {
			sum = append(sum, fmt.Sprintf("%d %s", count[what], what))
		}
		fmt.Fprintln(stdout, strings.Join(sum, ", "))
	}
	if failed {
		return exitError{exitFailed}
	}
	return nil
}

func (a *app) cacheStat(cmd *cobra.Command, labels []string) error {
	return a.withCaches(labels, func(e *engine.Engine, g *engine.Graph) error {
		failed := false
		for _, r := range e.Remotes {
			mode := load.CacheRead
			if slices.Contains(e.PushTo, r) {
				mode = load.CacheWrite
			}
			took, err := r.(*remote.Cache).Check(cmd.Context())
			if err != nil {
				failed = true
				if gaveUp := (*remote.GaveUpError)(nil); errors.As(err, &gaveUp) {
					err = gaveUp.Err
				}
				fmt.Fprintf(stdout, "FAILED  %s  %s: %s\n", r.(*remote.Cache).Name(), mode, printableLines(err.Error()))
				continue
			}
			fmt.Fprintf(stdout, "ok      %s  %s, answers in %s\n", r.(*remote.Cache).Name(), mode, took.Round(time.Microsecond))
		}
		if failed {
			return exitError{exitFailed}
		}
		if g == nil {
			return nil
		}
		list, err := e.Survey(cmd.Context(), g)
		if err != nil {
			return err
		}
		for i := range list {
			s := &list[i]
			where := "in no cache, not here"
			switch {
			case s.Pulled:
				where = "in a cache"
			case s.Known:
				where = "here"
			}
			fmt.Fprintf(stdout, "%-22s  %s\n", where, s.Label)
		}
		return nil
	})
}

func cacheKeygen(*cobra.Command, []string) error {
	path, err := signerPath()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	signer, err := remote.NewSigner(path)
	if errors.Is(err, fs.ErrExist) {
		return usageError{fmt.Errorf("there is a key at %s already; remove it first, or name another file with VFSB_CACHE_KEY", path)}
	}
	if err != nil {
		return err
	}
	owner, _ := os.Hostname()
	if u, err := user.Current(); err == nil {
		owner = u.Username + "@" + owner
	}
	fmt.Fprintf(os.Stderr, "wrote %s; this line goes into vfsb.hcl: trust { keys = [\"…\"] }\n", path)
	fmt.Fprintln(stdout, remote.Key{Public: signer.Public().(ed25519.PublicKey), Owner: owner})
	return nil
}

// openCaches opens the remote caches that the flags, the user's configuration and the workspace name.
func (a *app) openCaches(e *engine.Engine) error {
	if dir, err := os.UserConfigDir(); err == nil { // without a home there is no user's configuration
		if err := a.diagnose(e.Workspace, e.Workspace.LoadUser(dir)); err != nil {
			return err
		}
	}
	if a.offline || slices.Equal(a.caches, []string{"none"}) {
		return nil
	}
	list := e.Workspace.Caches
	if len(a.caches) > 0 {
		list = nil
		for _, address := range a.caches {
			list = append(list, e.Workspace.Cache(address))
		}
	}
	for _, c := range list {
		o, err := connection(e, c)
		if err != nil {
			return err
		}
		opened, err := remote.Open(o)
		if err != nil {
			return usageError{err}
		}
		e.Remotes = append(e.Remotes, opened)
		if a.cacheMode == load.CacheWrite || a.cacheMode == "" && c.Push {
			e.PushTo = append(e.PushTo, opened)
		}
	}
	return nil
}

// connection says how to speak to a cache or a cluster, who signs what is pushed and whose results are believed.
func connection(e *engine.Engine, c load.Cache) (remote.Options, error) {
	o := remote.Options{URL: c.URL, Store: e.Store, User: c.User, CA: c.CA, Cert: c.Cert, Key: c.Key}
	for _, s := range e.Workspace.Trust {
		k, err := remote.ParseKey(s)
		if err != nil {
			return o, usageError{fmt.Errorf("%s: trust: %w", load.Pos(e.Workspace.TrustRange), err)}
		}
		o.Trust = append(o.Trust, k)
	}
	path, err := signerPath()
	if err != nil {
		return o, err
	}
	if o.Sign, err = remote.ReadSigner(path); err != nil {
		return o, usageError{err}
	}
	for file, to := range map[string]*string{c.TokenFile: &o.Token, c.PasswordFile: &o.Password} {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return o, usageError{fmt.Errorf("%s: %w", load.Pos(c.Range), err)}
		}
		*to = strings.TrimSpace(string(text))
	}
	return o, nil
}

// signerPath is the file of the key with which results are signed.
func signerPath() (string, error) {
	if path := os.Getenv("VFSB_CACHE_KEY"); path != "" {
		return path, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usageError{fmt.Errorf("no folder for the key: %w; name a file with VFSB_CACHE_KEY", err)}
	}
	return filepath.Join(dir, "vfsb", "cache.key"), nil
}

// closeCaches ends the connections.
func closeCaches(e *engine.Engine) error {
	var failures []error
	for _, r := range e.Remotes {
		failures = append(failures, r.(io.Closer).Close())
	}
	return errors.Join(failures...)
}
