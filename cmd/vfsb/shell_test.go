package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A session is a command with a terminal of its own, at which the test sits.
type session struct {
	t        *testing.T
	cmd      *exec.Cmd
	keyboard *os.File // and screen
	terminal *os.File
	seen     strings.Builder
	from     int // what was looked at ends here
}

func startSession(t *testing.T, env []string, args ...string) *session {
	t.Helper()
	return startProgram(t, env, "vfsb", args...)
}

func startProgram(t *testing.T, env []string, name string, args ...string) *session {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, cmd: exec.Command(name, args...), keyboard: master, terminal: slave}
	s.resize(33, 77)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		master.Close()
		slave.Close()
	})
	return s
}

func (s *session) resize(rows, columns uint16) {
	s.t.Helper()
	if err := unix.IoctlSetWinsize(int(s.terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) termios() unix.Termios {
	s.t.Helper()
	state, err := unix.IoctlGetTermios(int(s.terminal.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return *state
}

func (s *session) enter(text string) { s.keyboard.WriteString(text + "\r") }

// wait waits for text, after what was waited for before.
func (s *session) wait(text string) {
	s.t.Helper()
	buf := make([]byte, 4096)
	for !strings.Contains(s.seen.String()[s.from:], text) {
		s.keyboard.SetReadDeadline(time.Now().Add(60 * time.Second))
		n, err := s.keyboard.Read(buf)
		if err != nil {
			s.t.Fatalf("%v before %q in %q", err, text, s.seen.String()[s.from:])
		}
		s.seen.Write(buf[:n])
	}
	s.from += strings.Index(s.seen.String()[s.from:], text) + len(text)
}

func (s *session) exitCode() int {
	s.t.Helper()
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode()
}

// failedNode builds a node that fails, in a workspace and a store of its own.
func failedNode(t *testing.T) (flags []string) {
	t.Helper()
	ws := workspace(t, 0)
	writePackage(t, ws, "bad", "  script {\n    script = <<-SH\n      phase compile\n      echo half > /build/src/half-done\n      exit 7\n    SH\n  }\n")
	flags = []string{"--store", filepath.Join(t.TempDir(), "store"), "-C", ws}
	var exit *exec.ExitError
	if err := exec.Command("vfsb", append(flags, "build", "//bad:amd64")...).Run(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Fatalf("ended with %v", err)
	}
	return flags
}

// TestFailedShell works at a terminal in the sandbox of a node that failed.
func TestFailedShell(t *testing.T) {
	flags := failedNode(t)
	s := startSession(t, []string{"TERM=vt100"}, append(flags, "shell", "--failed", "//bad:amd64")...)
	before := s.termios()
	s.wait("//bad@build:amd64: exit status 7 in phase compile\r\n")
	s.wait("There are /build/src, /build/script; /out has what it installed.\r\n")
	s.wait("To run it from the start: rm -rf src obj /out/*; bash script\r\n")
	s.wait("[vfsb] /build # ")
	s.enter("stty size; echo $TERM; cat src/half-done")
	s.wait("33 77\r\nvt100\r\nhalf\r\n")

	s.resize(44, 88)
	s.enter(`until [ "$(stty size)" = "44 88" ]; do sleep 0.1; done; echo re""sized`) // the news may take a moment
	s.wait("resized\r\n")

	const forever = `sh -c "echo be""gun; exec sleep 1000"` // says so itself: then it is in the foreground
	s.enter(forever)
	s.wait("begun\r\n")
	s.keyboard.WriteString("\x03")
	s.wait("[vfsb] /build # ")
	s.enter("echo code $?")
	s.wait("code 130\r\n")

	s.enter(forever)
	s.wait("begun\r\n")
	s.keyboard.WriteString("\x1a")
	s.wait("Stopped")
	s.enter("kill %1; fg")
	s.wait("Terminated")

	s.enter("rm -rf src obj /out/*; bash script; echo code $?")
	s.wait("@vfsb phase compile\r\n")
	s.wait("code 7\r\n")

	s.enter("exit 9")
	if code := s.exitCode(); code != 9 {
		t.Errorf("exit code %d, want 9", code)
	}
	if after := s.termios(); after != before {
		t.Errorf("the terminal is left as %+v, was %+v", after, before)
	}
}

// TestKilledShell: a shell that is ended from outside leaves the terminal as it was.
func TestKilledShell(t *testing.T) {
	s := startSession(t, []string{"TERM=vt100"}, append(failedNode(t), "shell", "--failed", "//bad:amd64")...)
	before := s.termios()
	s.wait("[vfsb] /build # ")
	if s.termios() == before {
		t.Error("the terminal is not raw while the shell has it")
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if code := s.exitCode(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	if after := s.termios(); after != before {
		t.Errorf("the terminal is left as %+v, was %+v", after, before)
	}
}

// TestUnreadShell: a command that has the terminal leaves it as it was, too, when who reads its output goes.
func TestUnreadShell(t *testing.T) {
	flags := failedNode(t)
	seed, _, err := busyboxSeed()
	if err != nil {
		t.Fatal(err)
	}
	for name, verb := range map[string][]string{"shell": {"shell", "--failed", "//bad:amd64", "--"}, "chroot": {"chroot", seed}} {
		t.Run(name, func(t *testing.T) {
			args := slices.Concat([]string{"-c", `(vfsb "$@"; echo code $? >&2) | head -1`, "sh"}, flags, verb, []string{"sh", "-c", "head -n 1 </dev/tty >/dev/null; while :; do echo line; done"})
			s := startProgram(t, nil, "sh", args...)
			before := s.termios()
			for end := time.Now().Add(60 * time.Second); s.termios() == before; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the command does not get the terminal")
				}
			}
			s.enter("go")
			s.wait("code 141")
			if after := s.termios(); after != before {
				t.Errorf("the terminal is left as %+v, was %+v", after, before)
			}
			if code := s.exitCode(); code != 0 || !strings.Contains(s.seen.String(), "line") {
				t.Errorf("exit code %d, %q", code, s.seen.String())
			}
		})
	}
}

// TestQuietShell: with a command, or -q, nothing is said but what the command says.
func TestQuietShell(t *testing.T) {
	flags := failedNode(t)
	s := startSession(t, []string{"TERM=vt100"}, append(flags, "shell", "--failed", "//bad:amd64", "--", "env")...)
	s.wait("TERM=vt100\r\n")
	if code := s.exitCode(); code != 0 || strings.Count(s.seen.String(), "TERM=") != 1 || strings.Contains(s.seen.String(), "phase compile") {
		t.Errorf("exit code %d, %q", code, s.seen.String())
	}
	s = startSession(t, []string{"TERM=vt100"}, append(flags, "-q", "shell", "--failed", "//bad:amd64")...)
	s.wait("# ")
	if strings.Contains(s.seen.String(), "phase compile") {
		t.Errorf("%q", s.seen.String())
	}
	s.enter("exit")
	s.exitCode()
}

// TestBuildAtTerminal: a terminal gets a region and colors, as far as it and the user want them.
func TestBuildAtTerminal(t *testing.T) {
	ws := workspace(t, 0)
	writePackage(t, ws, "slow", "  script {\n    script = \"echo first; sleep 0.5\"\n  }\n")
	for _, c := range []struct {
		env           []string
		flags         []string
		region, color bool
	}{
		{[]string{"TERM=vt100", "NO_COLOR="}, nil, true, true},
		{[]string{"TERM=vt100", "NO_COLOR=1"}, nil, true, false},
		{[]string{"TERM=vt100", "NO_COLOR="}, []string{"--color", "never"}, true, false},
		{[]string{"TERM=dumb", "NO_COLOR="}, nil, false, false},
		{[]string{"TERM=vt100", "NO_COLOR="}, []string{"--progress", "plain"}, false, true},
	} {
		flags := append([]string{"--store", filepath.Join(t.TempDir(), "store"), "-C", ws, "build", "//slow:amd64"}, c.flags...)
		s := startSession(t, c.env, flags...)
		s.wait("done in ")
		s.exitCode()
		seen := s.seen.String()
		if got := strings.Contains(seen, "1 running"); got != c.region {
			t.Errorf("%q %q: region %v, want %v: %q", c.env, c.flags, got, c.region, seen)
		}
		if got := strings.Contains(seen, "\x1b[32mbuilt"); got != c.color {
			t.Errorf("%q %q: color %v, want %v: %q", c.env, c.flags, got, c.color, seen)
		}
		if !c.region && !c.color && strings.Contains(seen, "\x1b") {
			t.Errorf("%q %q: %q", c.env, c.flags, seen)
		}
	}
}
