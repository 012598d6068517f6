package sandbox

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestAttacks tries what a sandbox must not allow, and what it must.
func TestAttacks(t *testing.T) {
	l := newLab(t)
	s := l.spec("run", "attack")
	l.write("sysroot/file", "sysroot", 0644)
	l.write("boundir/file", "bound", 0644)
	bound := l.write("bound", "bound", 0666)
	s.Mounts = []Mount{{At: "/sysroot", Lowers: []string{l.dir + "/sysroot"}}}
	s.Binds = []Bind{{From: bound, At: "/bound"}, {From: bound, At: "/build/sources/bound"}, {From: l.dir + "/boundir", At: "/boundir"},
		{From: l.write("writable", "", 0644), At: "/writable", Writable: true}}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	before := listing(t, l.dir+"/sysroot") + listing(t, l.dir+"/boundir") + listing(t, l.dir+"/probe")
	r, out := l.output(s)
	if r.ExitCode != 0 {
		t.Fatalf("%+v\n%s", r, out)
	}
	got := pairs(out)
	no32 := got["i386 getpid"] == "none" // the machine has no table of 32-bit calls
	for k, v := range attacks(t) {
		if no32 && strings.HasPrefix(k, "i386 ") {
			v = "none"
		}
		if got[k] == "" || !slices.Contains(strings.Split(v, "|"), got[k]) {
			t.Errorf("%s: got %q, want %q", k, got[k], v)
		}
		delete(got, k)
	}
	for k, v := range got {
		t.Errorf("%s: got %q, and nothing is expected", k, v)
	}
	if after := listing(t, l.dir+"/sysroot") + listing(t, l.dir+"/boundir") + listing(t, l.dir+"/probe"); after != before {
		t.Errorf("layers have changed:\n%s\n%s", before, after)
	}
	if now, _ := os.ReadFile("/proc/self/mountinfo"); !bytes.Equal(now, mounts) {
		t.Errorf("mounts of the host have changed:\n%s\n%s", mounts, now)
	}
}

// attacks are the expected results. They are the same for root and for an ordinary user.
func attacks(t *testing.T) map[string]string {
	m := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(attackTable), "\n") {
		result, names, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			t.Fatalf("bad line %q", line)
		}
		for _, n := range strings.Split(names, ", ") {
			m[n] = result
		}
	}
	for _, dir := range []string{"/build", "/out", "/tmp", "/"} {
		for _, kind := range []string{"char", "block", "whiteout"} {
			m["mknod "+kind+" in "+dir] = "EPERM"
		}
		m["mknod fifo in "+dir] = "ok"
		for _, call := range []string{"chown", "lchown", "fchownat"} {
			m[call+" in "+dir] = "ok"
		}
	}
	return m
}

const attackTable = `
	EPERM: mount, remount, umount, pivot_root, setns, unshare user, unshare mount, clone user, clone pid
	ENOSYS: fsopen, open_tree, move_mount, mount_setattr, clone3
	ok: unshare semaphores, clone
	ENOSYS: keyctl, add_key, request_key, bpf, perf_event_open, io_uring, userfaultfd
	EPERM: open_by_handle_at, settimeofday, clock_settime, reboot, swapon, acct, quotactl, syslog, init_module, kexec_load, sethostname, iopl
	EAFNOSUPPORT: socket vsock, socket packet, socket alg, socket tipc
	EPERM: socket raw, socket raw6
	ok: socket unix, socket inet, socket netlink
	ENETUNREACH: connect out
	ECONNREFUSED: connect loopback
	EINVAL: rename whiteout
	ok: rename exchange
	ok: setgroups, getgroups, setuid 0, setxattr user, setxattr capability
	EPERM: setxattr trusted
	EINVAL: setuid, setgid, setresuid
	EROFS: open /proc/sys/kernel/pid_max 1
	EACCES: open /proc/sys/kernel/core_pattern 1, open /proc/sys/vm/overcommit_memory 1, open /proc/sys/kernel/hostname 1
	EACCES|EROFS: open /proc/sys/net/ipv4/ip_forward 1, open /proc/sys/user/max_user_namespaces 1
	EACCES|ENOENT: open /proc/sys/kernel/modprobe 1
	EROFS|ENOENT: open /proc/sysrq-trigger 1, open /proc/kcore 1
	EACCES: open /proc/1/root 0, open /proc/1/cwd 0, open /proc/1/exe 0, open /proc/1/fd/3 0, open /proc/1/mem 0, open /proc/1/environ 0, open /proc/1/maps 0, open /proc/1/ns/user 0, open /proc/1/root/etc 0
	ok: open /proc/1/oom_score_adj 1
	ENOENT: open /dev/mem 0, open /dev/kmsg 0
	ok: open /dev/null 2, open /build/sources/bound 0, open /writable 1
	EROFS: open /sysroot/file 1, open /bound 1, open /build/sources/bound 1
	EROFS: create in /sysroot, create in /sys, create in /boundir, create in /proc/bus
	ENOENT: create in /proc
	ok: create in /build, create in /dev/shm
	EROFS: chmod sysroot, remove sysroot
	EPERM: ptrace 1, process_vm_readv 1, pidfd_getfd 1, raise limit, prlimit 1
	ok: i386 getpid, i386 chown, i386 setgroups, i386 socket unix
	EPERM: i386 mount, i386 unshare user, i386 clone user, i386 mknod device, i386 mknodat block, i386 open_by_handle_at
	ENOSYS: i386 keyctl, i386 add_key, i386 bpf, i386 io_uring_setup, i386 clone3
	EAFNOSUPPORT: i386 socket vsock, i386 socketcall socket
	ENOSYS: x32 getpid, x32 add_key
	EPERM: mknod device
`
