package sandbox

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// makeFiles makes the command's standard files and sends the other ends to the engine. They are made here because then
// the command owns them, and may open them again as /dev/stdout, whoever runs the engine; and a pipe cannot be
// truncated as a log file could.
func (p *pid1) makeFiles() error {
	var theirs []int
	if p.order.Pty {
		ours, slave, err := openTerminal()
		if err != nil {
			return err
		}
		if p.order.Size != nil {
			if err := unix.IoctlSetWinsize(slave, unix.TIOCSWINSZ, p.order.Size); err != nil {
				return err
			}
		}
		theirs = []int{ours}
		p.stdio = [3]int{slave, slave, slave}
	} else {
		null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		p.stdio = [3]int{null, null, null}
		if p.order.Stdin {
			p.stdio[0] = 0
		}
	}
	for i, want := range []bool{p.order.Stdout, p.order.Stderr} {
		if !want {
			continue
		}
		if i == 1 && p.order.Merged {
			p.stdio[2] = p.stdio[1]
			continue
		}
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		theirs = append(theirs, ends[0])
		p.stdio[1+i] = ends[1]
	}
	if len(theirs) == 0 {
		return nil
	}
	err := send(controlFD, report{Files: true}, theirs...)
	for _, fd := range theirs {
		unix.Close(fd)
	}
	return err
}

// openTerminal makes a pseudo terminal in the sandbox's own devpts.
func openTerminal() (master, slave int, err error) {
	master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, err
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, -1, err
	}
	n, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	if err != nil {
		return -1, -1, err
	}
	slave, err = unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	return master, slave, err
}

// run starts the command, reaps whatever ends in the sandbox, and ends with the command.
func (p *pid1) run() {
	if p.order.Probe {
		send(controlFD, report{Exit: &exit{}})
		os.Exit(0)
	}
	ignoreSignals()
	if err := unix.Chdir(p.order.Cwd); err != nil {
		p.fail(at("change to "+p.order.Cwd, err))
	}
	send(controlFD, report{Runs: true})
	pid, err := p.start()
	if err != nil {
		p.fail(&stepError{step: p.order.Argv[0], err: err, exec: true})
	}
	p.ifStopped(true, -1, unix.SIGSTOP) // told before there was a command
	keepNice(pid)
	options, tty := 0, -1
	if p.order.Later {
		options = unix.WUNTRACED
		tty, _ = unix.FcntlInt(uintptr(p.stdio[0]), unix.F_DUPFD_CLOEXEC, 3)
	}
	for i := range 3 {
		unix.Close(p.stdio[i])
		unix.Close(i)
	}
	if p.order.Jobs {
		unix.Close(jobsFD)
		unix.Close(jobsFD + 1)
	}
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, options, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			p.fail(at("wait", err))
		}
		if got != pid {
			continue
		}
		if ws.Stopped() {
			if signal := ws.StopSignal(); signal == unix.SIGTTIN || signal == unix.SIGTTOU {
				send(controlFD, report{Asks: true})
				unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, pid)
			}
			p.ifStopped(false, -pid, unix.SIGCONT) // nobody else would
			continue
		}
		var e exit
		if ws.Signaled() {
			e = exit{128 + int(ws.Signal()), int(ws.Signal())}
		} else {
			e = exit{Code: ws.ExitStatus()}
		}
		send(controlFD, report{Exit: &e})
		os.Exit(e.Code)
	}
}

// ignoreSignals keeps signals from inside from ending pid 1. That it has no handlers for them is not enough: while its
// first thread blocks a signal, as the runtime does when it starts a process, and another thread does not, the kernel ends
// them all. What is ignored is inherited, but where the runtime had a handler, what it starts gets the default. (To be
// notified of all signals costs hundreds of switches between threads.)
func ignoreSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) { // since the engine's start; then the runtime has no handler until asked for one
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	for s := syscall.Signal(1); s <= 64; s++ { // SIGKILL and SIGSTOP have no action
		var was, action [4]uint64 // struct sigaction, which begins with the handler
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&was)), 8, 0, 0)
		if was[0] > sigIgnore && s != syscall.SIGCHLD { // which pid 1 waits for
			action[0] = sigIgnore
		}
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
}

const sigIgnore = 1 // SIG_IGN

func (p *pid1) start() (pid int, err error) {
	o := p.order
	file, err := lookPath(o.Argv[0], o.Env)
	if err != nil {
		return 0, err
	}
	// In the child before its exec, /proc/self/exe is this program, which lies on the host: no layer may name it as bash.
	fd, err := unix.Openat2(unix.AT_FDCWD, file, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return 0, err
	}
	unix.Close(fd)
	files := []uintptr{uintptr(p.stdio[0]), uintptr(p.stdio[1]), uintptr(p.stdio[2])}
	if o.Jobs {
		for len(files) < jobsInside {
			files = append(files, ^uintptr(0))
		}
		files = append(files, jobsFD, jobsFD+1)
	}
	attr := &syscall.ProcAttr{Env: o.Env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}}
	switch {
	case o.Later: // in the background of pid 1's terminal: the kernel stops it when it asks
		attr.Sys = &syscall.SysProcAttr{Setpgid: true}
		if _, err := unix.Setsid(); err != nil {
			return 0, err
		}
		if err := unix.IoctlSetInt(p.stdio[0], unix.TIOCSCTTY, 0); err != nil {
			return 0, err
		}
	case o.Pty:
		attr.Sys.Setctty = true // descriptor 0
	}
	// When the machine's memory runs out, the kernel ends the command rather than pid 1, the engine, or what else runs.
	const adjustment = "/proc/self/oom_score_adj"
	if own, err := os.ReadFile(adjustment); err == nil {
		os.WriteFile(adjustment, []byte("1000"), 0)
		defer os.WriteFile(adjustment, own, 0)
	}
	// Whoever started the engine may have blocked signals, which is inherited.
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil); err != nil {
		return 0, err
	}
	return syscall.ForkExec(file, o.Argv, attr)
}

// keepNice makes `nice vfsb build` nice: the command's session is a group of its own to the kernel's autogrouping, which
// starts at 0 whatever the nice value of its processes. (It does for the command's first moment.) Where there is no autogrouping there is no file, and no need.
func keepNice(pid int) {
	priority, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less the nice value
	if err != nil || priority >= 20 {
		return
	}
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/autogroup", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	go func() {
		defer unix.Close(fd)
		for {
			// The kernel takes one in 100 ms from all who are not root. After the command's end it is ESRCH.
			if _, err := unix.Write(fd, []byte(strconv.Itoa(20-priority))); err != unix.EAGAIN && err != unix.EINTR {
				return
			}
			time.Sleep(100*time.Millisecond + rand.N(100*time.Millisecond))
		}
	}()
}

// lookPath finds a command as a shell would.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	search := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	err := error(unix.ENOENT)
	for _, dir := range strings.Split(search, ":") {
		file := path.Join("/", dir, name)
		var st unix.Stat_t
		if e := unix.Stat(file, &st); e != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if st.Mode&0111 == 0 {
			err = unix.EACCES
			continue
		}
		return file, nil
	}
	return "", err
}
