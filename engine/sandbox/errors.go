package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// ErrUnfit is what every [*Unfit] is, for errors.Is.
var ErrUnfit = errors.New("this machine cannot run the sandbox")

// An Unfit says that a sandbox could not be set up: the command did not start, and its declaration is not to blame.
type Unfit struct {
	Step   string // what was being done, e.g. "mount overlay"
	Err    error  // usually holds a syscall.Errno
	Remedy string // what to do about it; "" where nothing is known
}

func (u *Unfit) Error() string {
	s := fmt.Sprintf("sandbox: %s: %v", u.Step, u.Err)
	if u.Remedy != "" {
		s += ": " + u.Remedy
	}
	return s
}

func (u *Unfit) Unwrap() error        { return u.Err }
func (u *Unfit) Is(target error) bool { return target == ErrUnfit }

// An ExecError says that the sandbox stands but the command is not in it, or not a program.
type ExecError struct {
	Path string // Argv[0]
	Err  error  // holds a syscall.Errno: ENOENT, EACCES, ENOEXEC
}

func (e *ExecError) Error() string {
	if errors.Is(e.Err, syscall.ENOENT) {
		return fmt.Sprintf("sandbox: %s: command not found in the root (nor its interpreter)", e.Path)
	}
	return fmt.Sprintf("sandbox: %s: %v", e.Path, e.Err)
}

func (e *ExecError) Unwrap() error { return e.Err }

// unfit makes an Unfit with what is known against it on this machine.
func unfit(step string, err error) *Unfit {
	return &Unfit{Step: step, Err: err, Remedy: remedy(step, err)}
}

const (
	stepStart   = "start in new namespaces"
	stepIDMap   = "idmapped view of"
	stepOverlay = "mount overlay"
	stepProc    = "mount proc"
	stepBinfmt  = "register emulator"
	stepFiles   = "limit open files"
)

// remedy tells what an administrator can do where step failed with err.
func remedy(step string, err error) string {
	switch {
	case strings.HasPrefix(step, stepStart):
		return startRemedy(err)
	case strings.HasPrefix(step, stepIDMap):
		if errors.Is(err, syscall.EINVAL) {
			return "the file system has no idmapped mounts: move the store to ext4, xfs, btrfs or tmpfs, or run as an ordinary user"
		}
		return "root here lacks rights over the file system (a container?): run as an ordinary user"
	case strings.HasPrefix(step, stepOverlay):
		switch {
		case errors.Is(err, syscall.ENODEV):
			return "load the kernel module: modprobe overlay"
		case errors.Is(err, syscall.EPERM):
			return "the kernel must be 5.11 or later and allow overlay mounts in user namespaces"
		case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS):
			return "the kernel must be 6.7 or later, and the store may not lie on an overlay or network file system: move it (in a container: to a volume)"
		}
	case strings.HasPrefix(step, stepBinfmt):
		return binfmtRemedy
	case step == stepFiles:
		return "raise the hard limit of the shell or service that this is started from: ulimit -n, LimitNOFILE="
	case strings.HasPrefix(step, stepProc) && errors.Is(err, syscall.EPERM):
		return "the container that this runs in hides parts of /proc: start it with --security-opt systempaths=unconfined (docker, podman) or with a full /proc"
	}
	return ""
}

const binfmtRemedy = "Linux 6.7 with CONFIG_BINFMT_MISC (modprobe binfmt_misc) runs programs of other machines without touching the host's handlers"

func startRemedy(err error) string {
	read := func(name string) string {
		b, _ := os.ReadFile("/proc/sys/" + name)
		return strings.TrimSpace(string(b))
	}
	switch {
	case read("kernel/unprivileged_userns_clone") == "0":
		return "user namespaces are switched off: sysctl -w kernel.unprivileged_userns_clone=1"
	case read("user/max_user_namespaces") == "0":
		return "user namespaces are switched off: sysctl -w user.max_user_namespaces=15000"
	case read("kernel/apparmor_restrict_unprivileged_userns") == "1" && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES)):
		return "AppArmor restricts user namespaces: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give this program a profile with the rule `userns,`"
	case errors.Is(err, syscall.ENOSPC):
		return "too many namespaces: raise the limits below /proc/sys/user, or user namespaces are nested too deeply"
	case errors.Is(err, syscall.EACCES):
		return "the program must be readable and executable for every user: chmod 755"
	case errors.Is(err, syscall.EPERM):
		return "a container's seccomp policy may forbid user namespaces: start it with --security-opt seccomp=unconfined, or outside a container"
	case errors.Is(err, syscall.EINVAL):
		return "the kernel lacks one of the namespaces user, mount, pid, ipc, uts, net, cgroup"
	}
	return ""
}
