package source

import (
	"context"
	"sync"

	"vfsb/cache"
)

// flights makes callers that want the same file wait for one download. Unlike singleflight's, a download goes on as
// long as one caller wants it, whoever began it, and ends before the last caller returns.
type flights struct {
	mu  sync.Mutex
	all map[string]*flight
}

type flight struct {
	waiters int // guarded by flights.mu
	cancel  context.CancelFunc
	done    chan struct{} // closed when digest and err are set
	digest  cache.Digest
	err     error
}

// do runs fetch, or waits for the run that has the same key.
func (g *flights) do(ctx context.Context, key string, fetch func(context.Context) (cache.Digest, error)) (cache.Digest, error) {
	g.mu.Lock()
	c := g.all[key]
	if c == nil {
		run, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c = &flight{cancel: cancel, done: make(chan struct{})}
		if g.all == nil {
			g.all = map[string]*flight{}
		}
		g.all[key] = c
		go func() {
			defer cancel()
			c.digest, c.err = fetch(run)
			g.mu.Lock()
			g.forget(key, c)
			g.mu.Unlock()
			close(c.done)
		}()
	}
	c.waiters++
	g.mu.Unlock()

	select {
	case <-c.done:
		return c.digest, c.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	c.waiters--
	last := c.waiters == 0
	if last {
		c.cancel()
		g.forget(key, c) // a later caller starts anew
	}
	g.mu.Unlock()
	if last {
		<-c.done
	}
	return cache.Digest{}, context.Cause(ctx)
}

func (g *flights) forget(key string, c *flight) {
	if g.all[key] == c {
		delete(g.all, key)
	}
}
