package sandbox

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What the engine tells pid 1 after the order.
const (
	tellStop     = 's'
	tellContinue = 'c'
)

// suspendables are the sandboxes with an order. Whoever holds the lock keeps others from coming and going.
var suspendables = struct {
	sync.Mutex
	boxes map[*box]bool
}{boxes: map[*box]bool{}}

// Suspend stops the commands of all sandboxes of this process until the function that it returns is called. That time counts
// neither for [Spec].Timeout and Silence nor for [Result].Wall.
func Suspend() (resume func()) {
	suspendables.Lock()
	began := time.Now()
	tellAll(tellStop)
	return func() {
		tellAll(tellContinue)
		for b := range suspendables.boxes {
			b.pause.total.Add(int64(time.Since(began)))
			b.copies.last.Store(int64(time.Since(b.copies.began))) // as if it had written something
		}
		suspendables.Unlock()
	}
}

// counted measures a time when no suspension is under way that does not count yet: timers run out while this process is
// stopped, and may be the first to be served when it continues.
func counted(measure func() time.Duration) time.Duration {
	suspendables.Lock()
	defer suspendables.Unlock()
	return measure()
}

func tellAll(what byte) {
	for b := range suspendables.boxes {
		unix.Sendto(b.control, []byte{what}, unix.MSG_NOSIGNAL, nil) // it may have ended
	}
}

func (b *box) register() {
	suspendables.Lock()
	defer suspendables.Unlock()
	suspendables.boxes[b] = true
}

func (b *box) unregister() {
	suspendables.Lock()
	defer suspendables.Unlock()
	delete(suspendables.boxes, b)
}

// obey does for pid 1 what the engine tells it, until that has gone.
func (p *pid1) obey() {
	var what [1]byte
	for {
		n, err := unix.Read(controlFD, what[:])
		switch {
		case err == unix.EINTR:
		case n <= 0:
			return
		case what[0] == tellStop:
			p.setStopped(true, unix.SIGSTOP)
		case what[0] == tellContinue:
			p.setStopped(false, unix.SIGCONT)
		}
	}
}

func (p *pid1) setStopped(stopped bool, signal unix.Signal) {
	p.stop.Lock()
	defer p.stop.Unlock()
	p.stopped = stopped
	unix.Kill(-1, signal)
}

// ifStopped sends a signal to pid, -1 is all, if what runs is to be stopped, or not, as want says.
func (p *pid1) ifStopped(want bool, pid int, signal unix.Signal) {
	p.stop.Lock()
	defer p.stop.Unlock()
	if p.stopped == want {
		unix.Kill(pid, signal)
	}
}

// A pause adds up how long a sandbox was suspended.
type pause struct{ total, taken atomic.Int64 }

// rest returns what has come since it was asked last.
func (p *pause) rest() time.Duration {
	now := p.total.Load()
	return time.Duration(now - p.taken.Swap(now))
}
