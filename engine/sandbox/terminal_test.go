package sandbox

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hostTerminal makes a pseudo terminal that stands for the caller's.
func hostTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	s, _, no := unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if no != 0 {
		t.Fatal(no)
	}
	unix.SetNonblock(m, true)
	master, slave = os.NewFile(uintptr(m), "master"), os.NewFile(s, "slave")
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

func TestTerminal(t *testing.T) {
	l := newLab(t)
	master, slave := hostTerminal(t)
	size := func(rows, cols uint16) {
		if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
			t.Fatal(err)
		}
	}
	size(33, 77)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	s := l.spec("run", "tty")
	s.Terminal, s.Stdin, s.Stdout = true, slave, slave
	s.Timeout = 30 * time.Second
	done := make(chan Result, 1)
	go func() {
		r, err := Run(t.Context(), s)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	var seen strings.Builder
	until := func(text string) {
		t.Helper()
		buf := make([]byte, 1000)
		for !strings.Contains(seen.String(), text) {
			master.SetReadDeadline(time.Now().Add(20 * time.Second))
			n, err := master.Read(buf)
			if err != nil {
				t.Fatalf("%v before %q in %q", err, text, seen.String())
			}
			seen.Write(buf[:n])
		}
	}
	until("size 33 77\r\n")
	for _, want := range []string{"name /dev/pts/0\r\n", "controlling true\r\n", "foreground true\r\n"} {
		if !strings.Contains(seen.String(), want) {
			t.Errorf("no %q in %q", want, seen.String())
		}
	}
	master.WriteString("word\r")
	until("read word\r\n")
	until("waiting\r\n")
	size(44, 88)
	syscall.Kill(os.Getpid(), syscall.SIGWINCH)
	until("signal window changed\r\n")
	until("size 44 88\r\n")
	master.WriteString("\x03")
	until("signal interrupt\r\n")
	if r := <-done; r.ExitCode != 0 {
		t.Errorf("%+v", r)
	}
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is left as %+v, was %+v, %v", after, before, err)
	}
}

// TestTerminalPaste: what the command writes is seen while more is typed than it reads.
func TestTerminalPaste(t *testing.T) {
	l := newLab(t)
	master, slave := hostTerminal(t)
	s := l.spec("run", "chatter", "100") // for two seconds, and reads nothing
	s.Terminal, s.Stdin, s.Stdout = true, slave, slave
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := Run(ctx, s)
		done <- err
	}()
	go func() {
		line := strings.Repeat("x", 60) + "\n"
		for range 5000 {
			if _, err := master.WriteString(line); err != nil {
				return
			}
		}
	}()
	seen, buf := 0, make([]byte, 1000)
	for text := ""; seen < 100; {
		master.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := master.Read(buf)
		if err != nil {
			t.Errorf("%v after %d lines", err, seen)
			break
		}
		text += string(buf[:n])
		seen = strings.Count(text, "still here")
	}
	cancel()
	if err := <-done; err != context.Canceled {
		t.Error(err)
	}
	master.SetWriteDeadline(time.Now())
}

// TestTerminalGone: when the caller's terminal is closed, the command's is, too.
func TestTerminalGone(t *testing.T) {
	l := newLab(t)
	master, slave := hostTerminal(t)
	s := l.spec("run", "chatter", "1") // and sleeps for a minute
	s.Terminal, s.Stdin, s.Stdout = true, slave, slave
	s.Timeout = 20 * time.Second
	go func() {
		master.Read(make([]byte, 1)) // it runs
		master.Close()
	}()
	if r, err := Run(t.Context(), s); err != nil || r.Signal != syscall.SIGHUP {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestTerminalRedirected: what goes into a file has no terminal's line ends, while the rest is on the terminal.
func TestTerminalRedirected(t *testing.T) {
	l := newLab(t)
	master, slave := hostTerminal(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := l.spec("run", "hello")
	s.Terminal, s.Stdin, s.Stdout, s.Stderr = true, slave, file, slave
	s.Timeout = 30 * time.Second
	if r, err := Run(t.Context(), s); err != nil || r.ExitCode != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if out, err := os.ReadFile(file.Name()); string(out) != "hello\n" || err != nil {
		t.Errorf("the file has %q, %v", out, err)
	}
	buf := make([]byte, 100)
	master.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := master.Read(buf); string(buf[:n]) != "hello, too\r\n" {
		t.Errorf("the terminal has %q, %v", buf[:n], err)
	}
}

// TestTerminalLater: where the output goes into a pipe, its reader may have the caller's terminal: it is taken when the
// command asks for it.
func TestTerminalLater(t *testing.T) {
	l := newLab(t)
	master, slave := hostTerminal(t)
	state := func() unix.Termios {
		t.Helper()
		s, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return *s
	}
	before := state()
	for _, c := range []struct {
		command string
		asks    bool
	}{{"hello", false}, {"tty", true}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		s := l.spec(c.command, c.command)
		s.Terminal, s.Stdin, s.Stdout, s.Stderr = true, slave, w, slave
		s.Timeout = 30 * time.Second
		done := make(chan Result, 1)
		go func() {
			defer w.Close()
			r, err := Run(t.Context(), s)
			if err != nil {
				t.Error(err)
			}
			done <- r
		}()
		seen, buf := "", make([]byte, 1000)
		until := func(text string) {
			t.Helper()
			for !strings.Contains(seen, text) {
				r.SetReadDeadline(time.Now().Add(20 * time.Second))
				n, err := r.Read(buf)
				if err != nil {
					t.Fatalf("%v before %q in %q", err, text, seen)
				}
				seen += string(buf[:n])
			}
		}
		if !c.asks {
			until("hello\n")
			if state() != before {
				t.Error("the terminal was taken from the pipe's reader")
			}
		} else {
			until("foreground false\n")
			master.WriteString("word\r")
			until("read word\n")
			if state() == before {
				t.Error("the terminal is not raw")
			}
			until("waiting\n")
			master.WriteString("\x1a") // stops nothing for which nobody would go on
			master.WriteString("\x03")
			until("signal interrupt\n")
			master.WriteString("\x03") // it waits for two
		}
		if r := <-done; r.ExitCode != 0 {
			t.Errorf("%s: %+v", c.command, r)
		}
		if state() != before {
			t.Errorf("%s: the terminal is left as it was not", c.command)
		}
	}
}

// TestTerminalWithoutOne runs with Terminal set and none to be had.
func TestTerminalWithoutOne(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "hello")
	s.Stdin, _ = os.Open(os.DevNull)
	defer s.Stdin.Close()
	s.Terminal = true
	if out := l.want(s); out != "hello\nhello, too\n" {
		t.Errorf("%q", out)
	}
}

// TestTerminalInput types on the command's terminal from inside: nothing of it may reach the caller's, where it would be
// read by the caller's shell.
func TestTerminalInput(t *testing.T) {
	l := newLab(t)
	master, slave := hostTerminal(t)
	go io.Copy(io.Discard, master)
	s := l.spec("run", "push")
	s.Terminal, s.Stdin, s.Stdout = true, slave, slave
	s.Timeout = time.Minute
	if r, err := Run(t.Context(), s); err != nil || r.ExitCode != 0 {
		t.Errorf("%+v %v", r, err)
	}
	waiting := func() int {
		n, err := unix.IoctlGetInt(int(slave.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := waiting(); n != 0 {
		t.Errorf("%d bytes were typed on the caller's terminal", n)
	}
	master.WriteString("x\n") // what it would look like
	for range 1000 {
		if waiting() == 2 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the test cannot see what is typed")
}
