package sandbox

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// A terminal is the caller's, to be joined to one of the sandbox's own. The command never gets the caller's: it could
// push input into it, and could not have it as its controlling terminal.
type terminal struct {
	in, out *os.File

	// Where Stdout is a pipe, its reader may want the caller's terminal, as a pager does. So it is left alone until the command
	// asks for it: then asks is closed.
	asked, asks *os.File
}

// openOurs returns the caller's terminal, or nil where it has none; then the command gets the caller's files. With a
// terminal it still gets those that are none: what goes into a file or a pipe is not to have a terminal's line ends.
func openOurs(s *Spec) *terminal {
	if s.Stdin == nil {
		s.Stdin = os.Stdin
	}
	if s.Stdout == nil {
		s.Stdout = os.Stdout
	}
	if s.Stderr == nil {
		s.Stderr = os.Stderr
	}
	if !isTerminal(s.Stdin) {
		return nil
	}
	t := &terminal{in: s.Stdin, out: s.Stdin}
	if isTerminal(s.Stderr) {
		t.out, s.Stderr = s.Stderr, nil
	}
	if isTerminal(s.Stdout) {
		t.out, s.Stdout = s.Stdout, nil
	} else if st, err := s.Stdout.Stat(); err == nil && st.Mode()&os.ModeNamedPipe != 0 {
		t.asked, t.asks, _ = os.Pipe()
	}
	return t
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// size returns how large it is, or nil.
func (t *terminal) size() *unix.Winsize {
	size, err := unix.IoctlGetWinsize(int(t.in.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return nil
	}
	return size
}

// join copies both ways until either end is closed, the sandbox's by its death at the latest. Meanwhile the caller's
// terminal is raw, so that ^C and the like reach the sandbox's.
func (t *terminal) join(master int) {
	defer unix.Close(master)
	in, out := int(t.in.Fd()), int(t.out.Fd())
	input, asked := int32(-1), int32(-1) // poll leaves negative ones out
	restore := func() {}
	defer func() { restore() }()
	take := func() {
		input, asked = int32(in), -1
		old, err := unix.IoctlGetTermios(in, unix.TCGETS)
		if err != nil {
			return
		}
		raw := *old
		raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		if t.asked == nil { // else the pipe's reader writes there, too, and without a terminal's line ends
			raw.Oflag &^= unix.OPOST
		}
		raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		if unix.IoctlSetTermios(in, unix.TCSETSW, &raw) == nil {
			restore = func() { unix.IoctlSetTermios(in, unix.TCSETSW, old) }
		}
	}
	if t.asked != nil {
		defer t.asked.Close()
		asked = int32(t.asked.Fd())
	} else {
		take()
	}
	resize := func() {
		if size := t.size(); size != nil {
			unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, size)
		}
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	resize() // it may have changed since the order
	done := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-resized:
				resize()
			case <-done:
				return
			}
		}
	}()
	defer func() {
		signal.Stop(resized)
		close(done)
		<-gone
	}()

	// One loop with poll: a goroutine that reads the caller's terminal could not be stopped. What the command does not read
	// yet waits in typed: a write that blocks would keep its output back, too, on which it may wait for its part.
	unix.SetNonblock(master, true)
	buf, typed := make([]byte, 4096), []byte(nil)
	for {
		fds := []unix.PollFd{{Fd: int32(master), Events: unix.POLLIN}, {Fd: input, Events: unix.POLLIN}, {Fd: asked, Events: unix.POLLIN}}
		if len(typed) > 0 {
			fds[0].Events |= unix.POLLOUT
			fds[1].Events = 0 // but its end is told
		}
		if _, err := unix.Poll(fds, -1); err != nil {
			if err == unix.EINTR {
				continue
			}
			return
		}
		if fds[0].Revents&^unix.POLLOUT != 0 {
			n, err := unix.Read(master, buf)
			if err == unix.EINTR || err == unix.EAGAIN {
				continue
			}
			if n <= 0 || err != nil { // EIO: nobody has the other end
				return
			}
			writeAll(out, buf[:n])
		}
		if fds[2].Revents != 0 {
			take()
		}
		if fds[1].Revents&unix.POLLHUP != 0 { // it is closed: so is the command's, now
			return
		}
		if fds[1].Revents != 0 {
			n, err := unix.Read(in, buf)
			if n <= 0 && err != unix.EINTR && err != unix.EAGAIN {
				input = -1
			}
			if n > 0 {
				typed = append(typed, buf[:n]...)
			}
		}
		if len(typed) > 0 {
			if n, err := unix.Write(master, typed); err == nil {
				typed = append(typed[:0], typed[n:]...)
			} else if err != unix.EINTR && err != unix.EAGAIN {
				typed = nil
			}
		}
	}
}

func writeAll(fd int, b []byte) {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
			continue
		}
		if err != nil {
			return
		}
		b = b[n:]
	}
}
