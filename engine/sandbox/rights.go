package sandbox

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// kept are the capabilities, over the sandbox's one id, that the command has: what a root shell needs of them to
// unpack, build and install. SETFCAP is among them so that setcap works, for root and for an ordinary user alike; what
// it leaves on disk names the caller's id, and is not part of a layer (recipes declare capabilities).
var kept = []uintptr{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETUID,
	unix.CAP_SETGID, unix.CAP_SYS_CHROOT, unix.CAP_KILL, unix.CAP_SETFCAP}

// dropCapabilities takes all others from this thread, from the bounding set too.
func dropCapabilities() error {
	var set [2]unix.CapUserData
	for _, c := range kept {
		set[c/32].Permitted |= 1 << (c % 32)
		set[c/32].Effective |= 1 << (c % 32)
	}
	for c := uintptr(0); ; c++ {
		if set[min(c/32, 1)].Permitted&(1<<(c%32)) != 0 && c < 64 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err == unix.EINVAL {
			break // past the last that this kernel knows
		}
		if err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &set[0])
}

// maxFiles is how many descriptors a process may have: what every kernel allows an ordinary user unasked.
const maxFiles = 4096

// limits are those that a script can see and that are the same everywhere, soft and hard. 8 MiB of stack is everybody's
// default, and gcc raises it to 64. One byte for a core dump, not none: where /proc/sys/kernel/core_pattern names a
// program, the kernel starts that on the host, as its root, for any limit but one.
var limits = map[int][2]uint64{
	unix.RLIMIT_CORE:   {1, 1},
	unix.RLIMIT_RTPRIO: {0, 0},
	unix.RLIMIT_NICE:   {0, 0},
	unix.RLIMIT_NOFILE: {maxFiles, maxFiles},
	unix.RLIMIT_STACK:  {8 << 20, 64 << 20},
}

// setLimits fixes these. The soft ones of the others, which whoever started the engine may have lowered, become the hard ones.
func setLimits() error {
	for resource := range unix.RLIMIT_RTTIME + 1 {
		var old syscall.Rlimit
		if err := syscall.Getrlimit(resource, &old); err != nil {
			return err
		}
		limit, fixed := limits[resource]
		if !fixed {
			limit = [2]uint64{old.Max, old.Max}
		}
		if resource == unix.RLIMIT_NOFILE && old.Max < maxFiles {
			return at(stepFiles, fmt.Errorf("the limit is %d, the sandbox has %d", old.Max, maxFiles))
		}
		hard := min(limit[1], old.Max)
		// syscall's, not unix's: it makes the runtime forget the descriptor limit that it would give back to children.
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: min(limit[0], hard), Max: hard}); err != nil {
			return err
		}
	}
	return nil
}

// setPidMax limits the processes of the pid namespace that proc shows.
func setPidMax(proc, limit int) error {
	fd, err := unix.Openat(proc, "sys/kernel/pid_max", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT) {
		return nil // before 6.14 the file is the host's
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(strconv.Itoa(limit)))
	return err
}

const (
	perLinux32       = 0x0008
	addrNoRandomize  = 0x0040000
	defaultProcesses = 32768 // the kernel's own default
)

// setPersonality switches address space randomisation off, as outputs that depend on addresses should at least be the
// same each time, and the machine's name to the 32-bit one where asked for.
func setPersonality(linux32 bool) error {
	p := uintptr(addrNoRandomize)
	if linux32 {
		p |= perLinux32
	}
	if _, _, no := unix.RawSyscall(unix.SYS_PERSONALITY, p, 0, 0); no != 0 {
		return no
	}
	return nil
}
