package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"vfsb/cache"
)

// A reader reads a blob to its end, and goes on after a connection has broken. What it gives is yet to be verified.
type reader struct {
	cache    *Cache
	ctx      context.Context
	digest   cache.Digest
	moved    func(int)        // told of the bytes that come
	progress func(done int64) // told of how far it is; may be nil

	in      io.ReadCloser // nil: to be opened
	n       int64
	resumed bool
	vain    int // attempts without a byte
	err     error
}

func (c *Cache) reader(ctx context.Context, d cache.Digest, moved func(int)) *reader {
	return &reader{cache: c, ctx: ctx, digest: d, moved: moved}
}

func (r *reader) Read(b []byte) (int, error) {
	for r.err == nil {
		n, err := r.read(b)
		r.n += int64(n)
		r.moved(n)
		switch {
		case r.n > r.digest.Size:
			r.err = fmt.Errorf("blob %s: %w: it is longer", r.digest, cache.ErrWrong)
			return 0, r.err
		case n > 0:
			r.vain = 0
			if r.progress != nil {
				r.progress(r.n)
			}
			return n, nil
		case err == io.EOF && r.n == r.digest.Size:
			return 0, io.EOF
		case err != nil:
			r.broken(err)
		}
	}
	return 0, r.err
}

func (r *reader) read(b []byte) (n int, err error) {
	if r.in == nil {
		from := r.n
		if r.cache.restarts.Load() {
			from = 0
		}
		if r.in, err = r.cache.backend.read(r.ctx, r.digest, from); err != nil {
			return 0, err
		}
		if _, err := io.CopyN(counted(r.moved), r.in, r.n-from); err != nil {
			return 0, err
		}
	}
	return r.in.Read(b)
}

// counted is a writer that only counts.
type counted func(int)

func (c counted) Write(b []byte) (int, error) { c(len(b)); return len(b), nil }

// broken prepares to go on after a failure, or makes it the reader's error.
func (r *reader) broken(err error) {
	r.Close()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	r.vain++
	if r.ctx.Err() != nil || errors.Is(err, cache.ErrNotFound) || errors.Is(err, errRefused) || errors.Is(err, errOnce) ||
		r.n == 0 || r.vain == r.cache.patience.attempts {
		r.err = err
		return
	}
	r.resumed = true
	r.cache.wait(r.ctx, r.vain)
}

// Close ends the connection.
func (r *reader) Close() error {
	if r.in == nil {
		return nil
	}
	err := r.in.Close()
	r.in = nil
	return err
}

// judge says whose fault it is that storing what r gives has failed.
func (c *Cache) judge(r *reader, err error) error {
	switch {
	case err == nil:
		return nil
	case r.resumed && errors.Is(err, cache.ErrWrong):
		// Some servers give the whole blob whatever is asked for. Now the beginning is read again and dropped.
		r.cache.restarts.Store(true)
		return errAgain
	case r.err != nil:
		return r.err
	case errors.Is(err, cache.ErrWrong):
		return err
	}
	return &localError{err}
}
