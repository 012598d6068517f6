package jobs

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func start(t *testing.T, b *Broker) *Client {
	t.Helper()
	c, err := b.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// try takes a token, waiting for up to d.
func try(c *Client, d time.Duration) bool {
	r, _ := c.Files()
	fds := []unix.PollFd{{Fd: int32(r.Fd()), Events: unix.POLLIN}}
	for end := time.Now().Add(d); ; {
		n, err := unix.Poll(fds, max(0, int(time.Until(end).Milliseconds())))
		if err == unix.EINTR {
			continue
		}
		if n == 0 {
			return false
		}
		var p [1]byte
		unix.SetNonblock(int(r.Fd()), true)
		if n, _ := unix.Read(int(r.Fd()), p[:]); n == 1 {
			return true
		}
	}
}

func give(c *Client) {
	_, w := c.Files()
	w.Write([]byte{'+'})
}

// total adds up all slots; it is constant.
func (b *Broker) total() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.free
	for _, c := range b.clients {
		n += 1 + c.given
	}
	return n
}

const long, short = 5 * time.Second, 60 * time.Millisecond

func TestOneClientGetsAllButItsOwn(t *testing.T) {
	for _, n := range []int{1, 2, 8} {
		b := NewBroker(n)
		c := start(t, b)
		got := 0
		for got < n-1 && try(c, long) {
			got++
		}
		if got != n-1 || try(c, short) {
			t.Errorf("%d slots: got %d tokens and more", n, got)
		}
		c.Stop()
		if b.total() != n || b.free != n {
			t.Errorf("%d slots: total %d, free %d", n, b.total(), b.free)
		}
		b.Close()
	}
}

func TestStartPullsBack(t *testing.T) {
	b := NewBroker(3)
	defer b.Close()
	first := start(t, b)
	for range 2 {
		if !try(first, long) {
			t.Fatal("no tokens")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	if _, err := b.Start(ctx, t.TempDir()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a fourth slot: %v", err)
	}
	time.AfterFunc(short, func() { give(first) })
	second := start(t, b) // comes as soon as first gives one back
	if try(second, short) {
		t.Error("second got a token while first holds the last")
	}
	give(first)
	if !try(second, long) {
		t.Error("second does not get what first gave back")
	}
	// A client that waits for tokens gets those that lie unread with one that does not.
	give(second)
	if !try(first, long) {
		t.Error("an unread token does not come back")
	}
	first.Stop()
	if !try(second, long) {
		t.Error("what a stopped client held is lost")
	}
	second.Stop()
	if b.total() != 3 {
		t.Errorf("total %d", b.total())
	}
}

func TestMadeUpTokensAreThrownAway(t *testing.T) {
	b := NewBroker(2)
	defer b.Close()
	c := start(t, b)
	for range 50 {
		give(c)
	}
	other, dir := make(chan *Client), t.TempDir()
	go func() {
		o, err := b.Start(context.Background(), dir)
		if err != nil {
			t.Error(err)
		}
		other <- o
	}()
	o := <-other
	if n := b.total(); n != 2 {
		t.Errorf("total %d", n)
	}
	o.Stop()
	c.Stop()
	if b.free != 2 {
		t.Errorf("free %d", b.free)
	}
}

func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	b := NewBroker(2)
	start(t, b)
	start(t, b)
	blocked := make(chan error)
	go func() {
		_, err := b.Start(t.Context(), t.TempDir())
		blocked <- err
	}()
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		waits = len(b.waiting) > 0
		b.mu.Unlock()
	}
	b.Close()
	if err := <-blocked; !errors.Is(err, ErrClosed) {
		t.Errorf("a Start that waits: %v", err)
	}
	if _, err := b.Start(t.Context(), t.TempDir()); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, were %d", runtime.NumGoroutine(), before)
}

// TestNeverMoreThanN has clients come and go, some killed while they hold tokens.
func TestNeverMoreThanN(t *testing.T) {
	const n = 5
	b := NewBroker(n)
	defer b.Close()
	var now, most, ran atomic.Int32
	job := func() {
		v := now.Add(1)
		for m := most.Load(); v > m && !most.CompareAndSwap(m, v); m = most.Load() {
		}
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		now.Add(-1)
		ran.Add(1)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				dir := t.TempDir()
				c, err := b.Start(context.Background(), dir)
				if err != nil {
					t.Error(err)
					return
				}
				held := 0
				var jobs sync.WaitGroup
				for range 6 {
					if held < 2 && try(c, 3*time.Millisecond) {
						held++
						jobs.Go(job)
					}
					job() // the implicit slot
				}
				jobs.Wait()
				for rand.IntN(2) == 0 && held > 0 { // the rest is not given back: killed
					give(c)
					held--
				}
				c.Stop()
			}
		})
	}
	all.Wait()
	if most.Load() > n || ran.Load() < 480 {
		t.Errorf("%d at one time, %d in all", most.Load(), ran.Load())
	}
	if b.free != n {
		t.Errorf("%d free of %d", b.free, n)
	}
}
