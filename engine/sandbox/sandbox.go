// Package sandbox runs one command with unpacked layers as its root folder and nothing of the host in sight.
//
// The command sees one id (0; see [Spec].Users), an overlay of the layers, /build and /out as plain folders, private /tmp, /dev, /proc
// and /sys, and no network but the loopback. It works alike for root and for an ordinary user, and what the command
// writes lies on disk owned by the caller. The package knows folders, descriptors and the kernel; it does not know
// what a layer means, where the store is, or why the command runs.
//
// The first process of a sandbox is this very program, started again: see [Init].
package sandbox

import (
	"os"
	"syscall"
	"time"

	"vfsb/engine/sandbox/jobs"
)

// Contract numbers what a command can see of its sandbox: the ids, the fixed files of /proc, the mounts, the limits,
// the system calls that are refused. It enters keys and changes whenever the others do.
const Contract = 1

// MaxRoot is the largest number of folders in [Spec].Root.
const MaxRoot = 500

// A Mount shows folders read-only at a path of the sandbox.
type Mount struct {
	At     string   // absolute, clean
	Lowers []string // unpacked layers, topmost first; 1 to 500
}

// A Bind shows one file or folder of the host at a path of the sandbox. Its mount point is made where it is missing:
// in the skeleton below the root, or in the folder that lies below it (Dir/build for a path below /build, without NoBuild).
type Bind struct {
	From     string // absolute path on the host
	At       string // absolute, clean
	Writable bool
}

// An Emulator is a program that the kernel starts for every program of another machine. It is statically linked: the
// sandbox does not see it.
type Emulator struct {
	Arch    string // of the programs that it runs: amd64, arm64, armv7, i686, riscv64
	Program string // absolute path on the host
}

// A Spec says what to run and what it sees.
type Spec struct {
	// Dir is the run's folder, on a file system that can hold an overlay's upper folder; one run at a time uses it.
	// Run makes upper, work, build, out and skel below it where they are missing. They outlive the run.
	Dir  string
	Root []string // lower folders of "/", topmost first; at most MaxRoot
	// Tree is a folder in the place of Dir's upper, on the same file system as Dir: what the command changes in the root
	// is changed in there. "" is upper.
	Tree   string
	Mounts []Mount
	Binds  []Bind

	Argv []string // Argv[0] without a slash is looked up in Env's PATH, inside
	Env  []string // the whole environment
	Cwd  string   // "" is /build

	// Stdin is descriptor 0 of the command, a regular file by way of a pipe; it can be read, but where root runs the
	// sandbox not be opened again by its name /dev/stdin. What the command writes to 1 and 2 is copied to Stdout and Stderr, in order where they are the
	// same file. nil is /dev/null.
	Stdin, Stdout, Stderr *os.File
	// Terminal gives the command a terminal of its own, joined to the one that Stdin is (nil: os.Stdin), so that job
	// control works inside. Stdout and Stderr (nil: os.Stdout, os.Stderr) are left out of that if they are no terminals.
	// Where Stdin is none it only replaces nil files by the caller's.
	Terminal bool

	// Emulator runs programs of another machine; nil: they do not run, whatever the host has registered.
	Emulator *Emulator

	// Jobserver is handed on as descriptors 100 and 101 and named in MAKEFLAGS; nil is none. The caller stops it.
	Jobserver *jobs.Client

	Timeout time.Duration // wall time of the command, 0: none
	Silence time.Duration // longest time without a byte on Stdout and Stderr, 0: none; not with a terminal
	Resume  bool          // go on with the upper folder and the build folder of an earlier run in Dir
	Linux32 bool          // the 32-bit personality: uname says i686
	Network bool          // the host's network, to work in a tree; false: none but the loopback
	// Users gives the command more ids than 0, if [HasUsers]: chown, su and setuid programs then do what they do elsewhere.
	// Owners are on disk as inside if root runs the sandbox, else those that its user namespace maps them to.
	Users   bool
	NoBuild bool // what the root has at /build and /out is seen, not folders of Dir
	// Processes is the largest process id inside, so about the number of processes; 0 is 32768, the least is 301.
	// Kernels before 6.14 cannot limit it for one sandbox and are not asked to.
	Processes int
	// Memory bounds this sandbox's memory in bytes, 0: it has no bound of its own. Together the sandboxes of a process may
	// use most of the machine's memory. Both only where the caller may make control groups, see [Check].
	Memory int64
}

// A Result is how a command ended. User and Sys count every process of the sandbox that was waited for; MaxRSS is that
// of the largest one, in bytes.
type Result struct {
	ExitCode  int            // 128+Signal if a signal ended it
	Signal    syscall.Signal // 0: it exited
	Wall      time.Duration
	User, Sys time.Duration
	MaxRSS    int64
	TimedOut  bool // killed after Spec.Timeout
	Silent    bool // killed after Spec.Silence
	// OutOfMemory is the bound, in bytes, at which the kernel killed a process of the sandbox, 0: it did not. What the
	// others made of that, if they could go on, depends on the machine.
	OutOfMemory int64
}

// A Finding is what [Check] found out about one thing that the sandbox needs or likes.
type Finding struct {
	Name   string // short, e.g. "user namespaces"
	OK     bool
	Needed bool   // false: the sandbox works without it
	Detail string // what was seen
	Remedy string // what to do about it; "" if OK
}
