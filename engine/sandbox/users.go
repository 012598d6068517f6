package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// usersPrefix begins argv[0] of this program when WithUsers has started it; a user sees it in ps. The rest is its own name,
// by which a program that is several knows which to be.
const usersPrefix = "vfsb-users/"

// IsWithUsers reports whether [WithUsers] has started this process. It hands on signals, so those of a terminal, which come to
// both, count once if this one heeds SIGTERM only.
func IsWithUsers() bool { return strings.HasPrefix(os.Args[0], usersPrefix) }

// awaitUsers waits until this process has its ids.
func awaitUsers() {
	if !IsWithUsers() {
		return
	}
	ready := os.NewFile(controlFD, "ready")
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		os.Exit(1) // who started it has gone
	}
	ready.Close()
}

// WithUsers runs this program again with the arguments that it has, as root of a user namespace whose other ids are those
// that /etc/subuid and /etc/subgid give the caller, so that [HasUsers] holds there, and returns its exit code. When ctx ends,
// it is sent SIGTERM. An error says why the caller has no such ids; then nothing was run. Root needs none.
func WithUsers(ctx context.Context) (code int, err error) {
	runtime.LockOSThread() // with which the process dies that it has started
	defer runtime.UnlockOSThread()
	proc, ready, err := startWithUsers(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err != nil {
		return 0, err
	}
	ready.Write([]byte{1}) // else it ends
	ready.Close()
	defer context.AfterFunc(ctx, func() { proc.Signal(syscall.SIGTERM) })()
	state, err := proc.Wait()
	if err != nil {
		return 0, err
	}
	if ws := state.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return state.ExitCode(), nil
}

// startWithUsers starts this program in such a namespace. It waits for a byte in ready.
func startWithUsers(args []string, files ...*os.File) (proc *os.Process, ready *os.File, err error) {
	uids, err := subordinate("/etc/subuid", os.Getuid(), "newuidmap")
	if err != nil {
		return nil, nil, err
	}
	gids, err := subordinate("/etc/subgid", os.Getgid(), "newgidmap")
	if err != nil {
		return nil, nil, err
	}
	theirs, ready, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL}
	for c := range uintptr(64) { // without an id yet, it would lose its rights to the namespace on exec
		if unix.Prctl(unix.PR_CAPBSET_READ, c, 0, 0, 0) == nil {
			attr.AmbientCaps = append(attr.AmbientCaps, c)
		}
	}
	proc, err = os.StartProcess("/proc/self/exe", append([]string{usersPrefix + filepath.Base(os.Args[0])}, args...), &os.ProcAttr{Files: append(files, theirs), Sys: attr})
	if err == nil {
		for _, ids := range [][]string{uids, gids} {
			cmd := exec.Command(ids[0], append([]string{strconv.Itoa(proc.Pid)}, ids[1:]...)...)
			if out, failed := cmd.CombinedOutput(); failed != nil {
				err = fmt.Errorf("%s: %w: %s", ids[0], failed, strings.TrimSpace(string(out)))
				proc.Kill()
				proc.Wait()
				break
			}
		}
	}
	if err != nil {
		ready.Close()
		return nil, nil, err
	}
	return proc, ready, nil
}

// subordinate returns the command that maps 0 to the caller's id and the ids after it to those that file gives the caller,
// but for the process that it is for, which comes after the command's name.
func subordinate(file string, id int, command string) ([]string, error) {
	program, err := exec.LookPath(command)
	if err != nil {
		return nil, errors.New(command + " is not installed")
	}
	name := strconv.Itoa(os.Getuid())
	names := []string{name}
	if u, err := user.Current(); err == nil {
		name = u.Username
		names = append(names, name)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	args, next := []string{program, "0", strconv.Itoa(id), "1"}, 1
	for line := range strings.Lines(string(b)) {
		owner, of, _ := strings.Cut(strings.TrimSpace(line), ":")
		var first, count int
		if n, _ := fmt.Sscanf(of, "%d:%d", &first, &count); n != 2 || count < 1 || !slices.Contains(names, owner) {
			continue
		}
		args = append(args, strconv.Itoa(next), strconv.Itoa(first), strconv.Itoa(count))
		next += count
	}
	if next == 1 {
		return nil, fmt.Errorf("%s gives user %s no ids", file, name)
	}
	return args, nil
}
