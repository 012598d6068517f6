package sandbox

import (
	"cmp"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter is a list of calls that are refused, or that succeed without doing anything; whatever it does not name is
// the kernel's business. It is not what keeps the sandbox closed (the namespaces and the lack of rights do): it takes
// away parts of the kernel that no build needs, and makes root's and an ordinary user's sandboxes answer alike.
//
//   - The chown family, setgroups and getgroups succeed without effect where there is one id.
//   - The setxattr family goes through, since a filter cannot read the attribute's name. user.* works; security.capability
//     works for the sandbox's root in both modes, with the same view inside (see kept).
//   - Device nodes are refused with EPERM, as the kernel does in a user namespace, instead of pretended: a later stat
//     could not be pretended. The filter refuses them too because the kernel lets device 0:0 through, which to an
//     overlay means a deleted file, and /out becomes an overlay's lower folder. The same goes for RENAME_WHITEOUT.
//   - clone3 is ENOSYS: its flags lie in memory, where a filter cannot look; libraries then use clone.
//   - i386's socketcall(SOCKET and SOCKETPAIR) likewise is EAFNOSUPPORT; 32-bit programs have socket since Linux 4.3.
//   - Pid 1's limits are not the command's business (prlimit64): with one of processor time it could be killed, which
//     would look like the machine's failure.
//   - Calls of the x32 table and of any machine without a table here are ENOSYS.

// Results of a filter.
const (
	allow   = unix.SECCOMP_RET_ALLOW
	succeed = unix.SECCOMP_RET_ERRNO // with 0
	eperm   = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	einval  = unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)
	enosys  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	enofam  = unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)
)

// A test looks at the low 32 bits of one argument.
type test struct {
	arg  int
	mask uint32
	any  []uint32 // the masked value is one of these; nil: it is not 0
	not  bool     // the other way round
}

// A rule answers one call: with result if the test holds (nil: always), else it is allowed.
type rule struct {
	nr     uint32
	result uint32
	test   *test
}

// newNamespaces are the flags of clone and unshare that make namespaces.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

var (
	deviceMode = func(arg int) *test {
		return &test{arg: arg, mask: unix.S_IFMT, any: []uint32{unix.S_IFCHR, unix.S_IFBLK}}
	}
	oddFamily   = &test{arg: 0, mask: ^uint32(0), any: []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}, not: true}
	whiteout    = &test{arg: 4, mask: unix.RENAME_WHITEOUT}
	cloneFlags  = func(arg int) *test { return &test{arg: arg, mask: newNamespaces} }
	unshareArg  = &test{arg: 0, mask: newNamespaces | unix.CLONE_NEWTIME}
	socketCalls = &test{arg: 0, mask: ^uint32(0), any: []uint32{1, 8}} // SOCKET, SOCKETPAIR
	ofPid1      = &test{arg: 0, mask: ^uint32(0), any: []uint32{1}}
)

// A table is the rules for the calls of one machine.
type table struct {
	arch  uint32 // AUDIT_ARCH_*
	x32   bool   // numbers from 1<<30 up are another table's
	rules []rule
}

// repeat makes rules without tests.
func repeat(result uint32, nrs ...uint32) []rule {
	var rs []rule
	for _, nr := range nrs {
		rs = append(rs, rule{nr, result, nil})
	}
	return rs
}

func join(lists ...[]rule) []rule {
	var rs []rule
	for _, l := range lists {
		rs = append(rs, l...)
	}
	return rs
}

// Offsets in struct seccomp_data. Every machine here is little endian.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

// program compiles tables. For a call that no rule names the kernel remembers the answer and does not run the filter
// again; it finds those calls out when the filter is installed, by trying each, which the search trees make quick.
func program(tables []table) []unix.SockFilter {
	prog := []unix.SockFilter{load(dataArch)}
	for _, t := range tables {
		body := []unix.SockFilter{load(dataNr)}
		if t.x32 {
			body = append(body, op(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, 1<<30, 0, 1), ret(enosys))
		}
		rules := slices.Clone(t.rules)
		slices.SortFunc(rules, func(a, b rule) int { return cmp.Compare(a.nr, b.nr) })
		body = append(body, search(rules)...)
		// A jump over the body, which is longer than a conditional one reaches.
		prog = append(prog, jeq(t.arch, 1, 0), op(unix.BPF_JMP|unix.BPF_JA, uint32(len(body)), 0, 0))
		prog = append(prog, body...)
	}
	return append(prog, ret(enosys))
}

// search compiles sorted rules, with the call's number loaded.
func search(rules []rule) []unix.SockFilter {
	if len(rules) > 4 {
		low, high := search(rules[:len(rules)/2]), search(rules[len(rules)/2:])
		prog := []unix.SockFilter{op(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, rules[len(rules)/2].nr, 0, 1),
			op(unix.BPF_JMP|unix.BPF_JA, uint32(len(low)), 0, 0)}
		return append(append(prog, low...), high...)
	}
	var prog []unix.SockFilter
	for _, r := range rules {
		if r.test == nil {
			prog = append(prog, jeq(r.nr, 0, 1), ret(r.result))
			continue
		}
		yes, no := r.result, uint32(allow)
		if r.test.not {
			yes, no = no, yes
		}
		check := []unix.SockFilter{load(uint32(dataArgs + 8*r.test.arg)), op(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, r.test.mask, 0, 0)}
		if r.test.any == nil {
			check = append(check, jeq(0, 1, 0), ret(yes))
		}
		for _, v := range r.test.any {
			check = append(check, jeq(v, 0, 1), ret(yes))
		}
		check = append(check, ret(no))
		prog = append(prog, jeq(r.nr, 0, uint8(len(check))))
		prog = append(prog, check...)
	}
	return append(prog, ret(allow))
}

func op(code uint16, k uint32, jt, jf uint8) unix.SockFilter {
	return unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k}
}

func load(off uint32) unix.SockFilter { return op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, off, 0, 0) }

func jeq(k uint32, jt, jf uint8) unix.SockFilter {
	return op(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, k, jt, jf)
}

func ret(k uint32) unix.SockFilter { return op(unix.BPF_RET|unix.BPF_K, k, 0, 0) }

// withIDs are the tables without the answers that are for one id.
func withIDs(tables []table) []table {
	tables = slices.Clone(tables)
	for i := range tables {
		tables[i].rules = slices.DeleteFunc(slices.Clone(tables[i].rules), func(r rule) bool { return r.result == succeed })
	}
	return tables
}

// filterSyscalls puts the filter on this thread and what it starts. Where there is one id, no_new_privs goes with it, which
// keeps setuid programs from meaning anything.
func (p *pid1) filterSyscalls() error {
	rules := tables
	if p.order.Users {
		rules = withIDs(tables)
	} else if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := program(rules)
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, no := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(prog)
	if no != 0 {
		return no
	}
	return nil
}
