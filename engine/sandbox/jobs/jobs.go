// Package jobs shares the cores of one machine between the sandboxes of one build.
//
// A [Broker] owns n slots. Each running sandbox holds one (its own process, which make counts as the implicit job) and
// takes more through GNU make's jobserver protocol: a byte read is a job that may start, a byte written is one that
// ended. Every sandbox has a private FIFO, and the broker alone moves bytes between them: so a sandbox that is killed
// loses nothing (the broker knows what it was given), and none can take from another.
//
// Bytes are moved when the kernel tells (inotify) of one that was taken or returned. Whether a sandbox with an empty
// FIFO wants more cannot be seen, so while bytes lie unread in one FIFO and another is empty, one changes places every
// few milliseconds. The package does not know what the jobs are.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ReadFD and WriteFD are the descriptors of the two ends inside a sandbox. They are out of the way of what shell
	// scripts number by hand (3 to 9, and bash's own from 10 up).
	ReadFD  = 100
	WriteFD = 101

	// MakeFlags names them, in the form that make 4.2 and later, gcc's -flto=jobserver and cargo know.
	MakeFlags = "MAKEFLAGS= -j --jobserver-auth=100,101"

	// tick is how long an unread byte stays with one client while another has none. A compile job takes 20 ms and up.
	tick = 5 * time.Millisecond
)

// ErrClosed is what Start returns after Close.
var ErrClosed = errors.New("job broker is closed")

// A Broker hands out slots. Its methods may be called by many goroutines at once.
type Broker struct {
	mu      sync.Mutex
	free    int // slots that nobody has; free + sum(1+given) = n always
	clients []*Client
	waiting []*Client // in the order of their Start calls
	next    int       // rotates who is served first
	closed  bool

	watch   *os.File // inotify, or a pipe that stays silent where there is none
	fd      int      // its descriptor, -1: no inotify
	mute    *os.File // the silent pipe's other end
	running bool     // run goes on
	done    sync.WaitGroup
}

// A Client is one sandbox's share. It is valid from Start to Stop.
type Client struct {
	broker  *Broker
	path    string
	fd      int // of the FIFO, read and write, without blocking
	wd      int // inotify watch
	given   int // bytes entrusted: unread in the FIFO or held by a job
	r, w    *os.File
	granted chan struct{} // closed when it is a client, or will never be one
	stopped bool
}

// NewBroker returns a broker of n slots, at least one. The caller closes it.
func NewBroker(n int) *Broker {
	b := &Broker{free: max(n, 1), fd: -1}
	if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
		b.fd, b.watch = fd, os.NewFile(uintptr(fd), "inotify")
	} else if r, w, err := os.Pipe(); err == nil {
		b.watch, b.mute = r, w
	}
	return b
}

// Start makes a FIFO in dir and takes a slot for a new client. While none is free it waits, and the broker pulls back
// what lies unread with the others; the error is ctx's if that ends first, or ErrClosed. The caller stops the client.
func (b *Broker) Start(ctx context.Context, dir string) (*Client, error) {
	c := &Client{broker: b, path: filepath.Join(dir, "jobs"), fd: -1, wd: -1, granted: make(chan struct{})}
	if err := c.open(); err != nil {
		c.close()
		return nil, fmt.Errorf("jobserver in %s: %w", dir, err)
	}
	b.mu.Lock()
	if b.closed || b.watch == nil {
		b.mu.Unlock()
		c.close()
		return nil, ErrClosed
	}
	if b.fd >= 0 {
		c.wd, _ = unix.InotifyAddWatch(b.fd, c.path, unix.IN_ACCESS|unix.IN_MODIFY)
	}
	b.waiting = append(b.waiting, c)
	b.balance(false)
	if !b.running {
		b.running = true
		b.done.Add(1)
		go b.run()
	}
	b.mu.Unlock()

	select {
	case <-c.granted:
		b.mu.Lock()
		defer b.mu.Unlock()
		if c.stopped {
			return nil, ErrClosed
		}
		return c, nil
	case <-ctx.Done():
		c.Stop()
		return nil, ctx.Err()
	}
}

// Files returns the two ends for the sandbox, open file descriptions of their own, so that what one sandbox does to
// their flags stays with it. They stay the client's.
func (c *Client) Files() (r, w *os.File) { return c.r, c.w }

// Stop gives back the client's slot and every byte that it was given, whoever holds them: call it when no process of
// the sandbox is left. Stop may be called again.
func (c *Client) Stop() {
	b := c.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(c)
}

// Close stops what clients are left and returns when the broker's goroutine has ended.
func (b *Broker) Close() {
	b.mu.Lock()
	b.closed = true
	for len(b.waiting) > 0 {
		c := b.waiting[0]
		b.drop(c)
		close(c.granted)
	}
	for len(b.clients) > 0 {
		b.drop(b.clients[0])
	}
	b.mu.Unlock()
	b.done.Wait()
	if b.watch != nil {
		b.watch.Close()
	}
	if b.mute != nil {
		b.mute.Close()
	}
}

// drop takes c out, whether it waits or runs, with b.mu held.
func (b *Broker) drop(c *Client) {
	if c.stopped {
		return
	}
	c.stopped = true
	if i := index(b.clients, c); i >= 0 {
		b.clients = append(b.clients[:i], b.clients[i+1:]...)
		b.free += 1 + c.given
	}
	if i := index(b.waiting, c); i >= 0 {
		b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
	}
	if c.wd >= 0 {
		unix.InotifyRmWatch(b.fd, uint32(c.wd))
	}
	c.close()
	b.balance(false)
	b.watch.SetReadDeadline(time.Unix(1, 0)) // wakes run, which looks whether it is still needed
}

func index(cs []*Client, c *Client) int {
	for i := range cs {
		if cs[i] == c {
			return i
		}
	}
	return -1
}

// run balances whenever something happens, as long as there are clients.
func (b *Broker) run() {
	defer b.done.Done()
	buf := make([]byte, 4096)
	for {
		b.mu.Lock()
		if len(b.clients)+len(b.waiting) == 0 {
			b.running = false
			b.mu.Unlock()
			return
		}
		if b.ticking() {
			b.watch.SetReadDeadline(time.Now().Add(tick))
		} else {
			b.watch.SetReadDeadline(time.Time{})
		}
		b.mu.Unlock()
		_, err := b.watch.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			time.Sleep(tick)
		}
		b.mu.Lock()
		b.balance(err != nil)
		b.mu.Unlock()
	}
}

// ticking reports whether there is something that only time can settle.
func (b *Broker) ticking() bool {
	if b.fd < 0 {
		return true
	}
	hungry, parked := len(b.waiting) > 0, false
	for _, c := range b.clients {
		if c.unread() == 0 {
			hungry = true
		} else {
			parked = true
		}
	}
	return hungry && parked
}

// balance moves slots: first to clients that wait to start, then to empty FIFOs, one byte each, taking what is free and
// what lies unread beyond one byte elsewhere. At a tick a single unread byte changes places, too.
func (b *Broker) balance(tick bool) {
	for _, c := range b.clients { // bytes that the sandbox made up are thrown away
		for n := c.unread() - c.given; n > 0 && c.read(); n-- {
		}
	}
	for len(b.waiting) > 0 && (b.free > 0 || b.pull(1)) {
		c := b.waiting[0]
		b.waiting = b.waiting[1:]
		b.clients = append(b.clients, c)
		b.free--
		close(c.granted)
	}
	if len(b.waiting) > 0 {
		return // what comes free is theirs
	}
	b.next++
	for i := range b.clients {
		c := b.clients[(b.next+i)%len(b.clients)]
		if c.unread() > 0 {
			continue
		}
		if b.free == 0 && !b.pull(2) {
			if !tick || !b.pull(1) {
				return
			}
			tick = false
		}
		if c.write() {
			c.given++
			b.free--
		}
	}
}

// pull takes back one byte from the client with the most unread ones, if that has at least least.
func (b *Broker) pull(least int) bool {
	var from *Client
	most := least - 1
	for _, c := range b.clients {
		if n := c.unread(); n > most {
			from, most = c, n
		}
	}
	if from == nil || from.given == 0 || !from.read() {
		return false
	}
	from.given--
	b.free++
	return true
}

func (c *Client) open() error {
	if err := os.Remove(c.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := unix.Mkfifo(c.path, 0600); err != nil {
		return err
	}
	var err error
	if c.fd, err = unix.Open(c.path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	open := func(flag int) (*os.File, error) { // blocking, as make expects it; os.OpenFile's would not be
		fd, err := unix.Open(c.path, flag|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), c.path), nil
	}
	if c.r, err = open(unix.O_RDONLY); err != nil {
		return err
	}
	c.w, err = open(unix.O_WRONLY)
	return err
}

func (c *Client) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
	for _, f := range []*os.File{c.r, c.w} {
		if f != nil {
			f.Close()
		}
	}
	os.Remove(c.path)
}

// unread returns the number of bytes that lie in the FIFO.
func (c *Client) unread() int {
	n, err := unix.IoctlGetInt(c.fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

func (c *Client) read() bool {
	var p [1]byte
	n, _ := unix.Read(c.fd, p[:])
	return n == 1
}

func (c *Client) write() bool {
	n, _ := unix.Write(c.fd, []byte{'+'})
	return n == 1
}
