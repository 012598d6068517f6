// Package sandbox runs one command with unpacked layers as its root folder and nothing of the host in sight.
//
// The command sees one id (0), an overlay of the layers, /build and /out as plain folders, private /tmp, /dev, /proc
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

// MaxRoot is the largest number of folders in [Spec].Root: what two overlays hold, one upon the other. From 500 on the
// store must not lie on an overlay itself.
const MaxRoot = 998

// A Mount shows folders read-only at a path of the sandbox.
type Mount struct {
	At     string   // absolute, clean
	Lowers []string // unpacked layers, topmost first; 1 to 500
}

// A Bind shows one file or folder of the host at a path of the sandbox. Its mount point is made where it is missing:
// in the skeleton below the root, or in the folder that lies below it (Dir/build for a path below /build).
type Bind struct {
	From     string // absolute path on the host
	At       string // absolute, clean
	Writable bool
}

// A Spec says what to run and what it sees.
type Spec struct {
	// Dir is the run's folder, on a file system that can hold an overlay's upper folder; one run at a time uses it.
	// Run makes upper, work, build, out and skel below it where they are missing. They outlive the run.
	Dir    string
	Root   []string // lower folders of "/", topmost first; at most MaxRoot
	Mounts []Mount
	Binds  []Bind

	Argv []string // Argv[0] without a slash is looked up in Env's PATH, inside
	Env  []string // the whole environment
	Cwd  string   // "" is /build

	// Stdin is descriptor 0 of the command; it can be read, but where root runs the sandbox not be opened again by its
	// name /dev/stdin. What the command writes to 1 and 2 is copied to Stdout and Stderr, in order where they are the
	// same file. nil is /dev/null.
	Stdin, Stdout, Stderr *os.File
	// Terminal gives the command a terminal of its own, joined to Stdin and Stdout (nil: os.Stdin, os.Stdout), so that
	// job control works inside. Where Stdin is no terminal it only replaces nil files by the caller's.
	Terminal bool

	// Jobserver is handed on as descriptors 100 and 101 and named in MAKEFLAGS; nil is none. The caller stops it.
	Jobserver *jobs.Client

	Timeout time.Duration // wall time of the command, 0: none
	Silence time.Duration // longest time without a byte on Stdout and Stderr, 0: none; not with a terminal
	Resume  bool          // go on with the upper folder and the build folder of an earlier run in Dir
	Linux32 bool          // the 32-bit personality: uname says i686
	// Processes is the largest process id inside, so about the number of processes; 0 is 32768, the least is 301.
	// Kernels before 6.14 cannot limit it for one sandbox and are not asked to.
	Processes int
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
}

// A Finding is what [Check] found out about one thing that the sandbox needs or likes.
type Finding struct {
	Name   string // short, e.g. "user namespaces"
	OK     bool
	Needed bool   // false: the sandbox works without it
	Detail string // what was seen
	Remedy string // what to do about it; "" if OK
}
