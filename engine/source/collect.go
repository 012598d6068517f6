package source

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// staleDownload is the age at which a download that was broken off is not worth resuming.
const staleDownload = 7 * 24 * time.Hour

// Collect removes what fetching left in the store's folder and would not use again: downloads that were broken off a
// week ago, and package indexes that would be fetched anew. It returns their names below the store, and their bytes on
// disk. What another process uses is left alone. With dryRun nothing is removed.
func Collect(ctx context.Context, store Blobs, dryRun bool) (names []string, size int64, err error) {
	c := &leftovers{ctx: ctx, store: store, dryRun: dryRun}
	for _, path := range c.glob("partial/*") {
		sum := strings.TrimSuffix(filepath.Base(path), ".from")
		c.remove("source-"+sum, path, staleDownload, []string{path})
	}
	for _, root := range c.glob("apt/*") {
		// The folders stay: apt, started at this moment, expects them.
		stamp := filepath.Join(root, "updated")
		files := append(c.glob(root+"/state/lists/*"), c.glob(root+"/cache/*")...)
		c.remove("apt-"+filepath.Base(root), stamp, fresh, append([]string{stamp}, files...))
	}
	return c.names, c.size, c.err
}

type leftovers struct {
	ctx    context.Context
	store  Blobs
	dryRun bool
	names  []string
	size   int64
	err    error
}

func (c *leftovers) glob(pattern string) []string {
	list, _ := fs.Glob(os.DirFS(c.store.Dir()), pattern) // an error is a malformed pattern
	return list
}

// remove removes files if what is older than age and nobody has the lock.
func (c *leftovers) remove(lock, what string, age time.Duration, files []string) {
	old := func() bool {
		st, err := os.Stat(filepath.Join(c.store.Dir(), what))
		return err == nil && time.Since(st.ModTime()) > age
	}
	if !old() || c.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Millisecond)
	defer cancel()
	unlock, err := c.store.Lock(ctx, lock)
	if errors.Is(err, context.DeadlineExceeded) {
		return // in use
	}
	if err != nil {
		c.err = errors.Join(c.err, err)
		return
	}
	defer unlock()
	if !old() {
		return
	}
	c.names = append(c.names, what)
	for _, name := range files {
		path := filepath.Join(c.store.Dir(), name)
		st, err := os.Lstat(path)
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		c.size += st.Size()
		if !c.dryRun {
			c.err = errors.Join(c.err, os.Remove(path))
		}
	}
}
