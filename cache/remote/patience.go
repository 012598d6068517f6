package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"vfsb/cache"
)

// patience is how long a cache is waited for.
type patience struct {
	call     time.Duration // one call that carries little
	stall    time.Duration // a transfer in which no byte moves
	rate     int64         // bytes per second that a pull must have after that time, to be worth it
	backoff  time.Duration // before the first new attempt; it doubles, and half of it is left to chance
	attempts int           // of one call; of a transfer, without a byte of progress
	failures int           // answers of no use in a row until the cache is left alone; without an answer it is at once
	pause    time.Duration // for how long it is; doubled each time, up to sixteen times
	absence  time.Duration // for how long a server that executes may be away; if it never answered, a tenth of that
}

var usualPatience = patience{
	call: 10 * time.Second, stall: 15 * time.Second, rate: 128 << 10, backoff: 200 * time.Millisecond, attempts: 3,
	failures: 3, pause: time.Minute, absence: 5 * time.Minute,
}

var (
	// errRefused: another attempt would fail in the same way, for whatever is asked.
	errRefused = errors.New("refused")
	// errOnce: another attempt at the same thing would fail in the same way.
	errOnce = errors.New("failed")
	// errAgain: the bytes were wrong, and where they were resumed the server may be to blame.
	errAgain = errors.New("the server does not resume as it should")
	// ErrGaveUp is what the errors of all calls wrap while a cache is left alone.
	ErrGaveUp = errors.New("the cache fails, and is left alone for a while")

	errStalled = errors.New("no byte moved for too long")
	errSlow    = errors.New("it is too slow")
)

// errMissing is the answer of a cache that does not have something.
var errMissing error = missingError{}

type missingError struct{}

func (missingError) Error() string        { return "the cache does not have it" }
func (missingError) Is(target error) bool { return target == cache.ErrNotFound }

// A FailedError is a failure that a build need not hear of: to it the cache does not have what was asked for. It counts
// as cache.ErrNotFound.
type FailedError struct{ Err error }

func (e *FailedError) Error() string        { return e.Err.Error() }
func (e *FailedError) Unwrap() error        { return e.Err }
func (e *FailedError) Is(target error) bool { return target == cache.ErrNotFound }

// A breaker keeps a cache that fails from being asked again and again.
type breaker struct {
	cache, after string // whose it is, and what its opening means, for people

	mu       sync.Mutex
	failures int // in a row
	pauses   int
	until    time.Time // when it may be asked again
	refused  bool      // never
}

// open returns an error if the cache is not to be asked.
func (b *breaker) open() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused || time.Now().Before(b.until) {
		return &FailedError{ErrGaveUp}
	}
	return nil
}

func (b *breaker) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.pauses, b.until, b.refused = 0, 0, time.Time{}, false
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.pauses = 0, 0
}

// failed counts a failure, and returns what to tell of it: the one that opens the breaker says so, once.
func (b *breaker) failed(err error, p patience) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused || time.Now().Before(b.until) { // what was under way when it opened
		return &FailedError{ErrGaveUp}
	}
	b.failures++
	b.refused = errors.Is(err, errRefused)
	answered := errors.Is(err, errOnce) || errors.Is(err, cache.ErrWrong)
	if answered && b.failures < p.failures {
		return &FailedError{err}
	}
	first := b.pauses == 0
	b.until = time.Now().Add(p.pause << min(b.pauses, 4))
	b.pauses++
	b.failures = 0
	if !first {
		return &FailedError{ErrGaveUp}
	}
	return &GaveUpError{fmt.Sprintf("cache %s: %v; %s", b.cache, err, b.after), err}
}

// A GaveUpError says, once, that a cache is left alone, and why.
type GaveUpError struct {
	text string
	Err  error
}

func (e *GaveUpError) Error() string { return e.text }
func (e *GaveUpError) Unwrap() error { return e.Err }

// try makes a call that carries little.
func (c *Cache) try(ctx context.Context, b *breaker, call func(context.Context) error) error {
	return c.repeat(ctx, b, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, c.patience.call)
		defer cancel()
		return call(ctx)
	})
}

// transfer makes a call that carries much; it calls moved with the number of bytes whenever some have moved.
func (c *Cache) transfer(ctx context.Context, b *breaker, call func(ctx context.Context, moved func(int)) error) error {
	p := c.patience
	return c.repeat(ctx, b, func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		watch := time.AfterFunc(p.stall, func() { cancel(errStalled) })
		defer watch.Stop()
		began, sum := time.Now(), atomic.Int64{}
		err := call(ctx, func(n int) {
			watch.Reset(p.stall)
			took := time.Since(began)
			// Nobody waits for what is pushed.
			if sum.Add(int64(n)); b == &c.pulling && took > p.stall && float64(sum.Load()) < float64(p.rate)*took.Seconds() {
				cancel(errSlow)
			}
		})
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		return err
	})
}

// repeat makes attempts until one succeeds or there is no point in another, and lets the breaker count.
func (c *Cache) repeat(ctx context.Context, b *breaker, call func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		if err := b.open(); err != nil {
			return err
		}
		err := call(ctx)
		var doubt *doubtError
		var local *localError
		switch cause := context.Cause(ctx); {
		case err == nil || errors.Is(err, cache.ErrNotFound):
			if b != &c.pushing { // a cache that is full still answers: only a whole push counts
				b.succeeded()
			}
			return err
		case errors.As(err, &doubt):
			b.succeeded()
			return c.tell(doubt)
		case errors.As(err, &local):
			return local.err
		case cause != nil: // who asked gives up
			return cause
		}
		hopeless := errors.Is(err, errRefused) || errors.Is(err, errOnce) || errors.Is(err, cache.ErrWrong) ||
			errors.Is(err, context.DeadlineExceeded) || err == errStalled || err == errSlow
		if attempt == c.patience.attempts || hopeless {
			return b.failed(err, c.patience)
		}
		c.wait(ctx, attempt)
	}
}

// wait waits before the attempt after attempt.
func (c *Cache) wait(ctx context.Context, attempt int) {
	d := c.patience.backoff << (attempt - 1)
	t := time.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// A localError is the machine's own: the cache is not to blame.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }
