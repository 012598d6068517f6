package sandbox

import (
	"testing"

	"golang.org/x/sys/unix"
)

// filter runs a program as the kernel would.
func filter(t *testing.T, prog []unix.SockFilter, arch, nr uint32, args ...uint32) uint32 {
	t.Helper()
	data := map[uint32]uint32{dataNr: nr, dataArch: arch}
	for i, a := range args {
		data[uint32(dataArgs+8*i)] = a
	}
	var a uint32
	for pc := 0; pc < len(prog); pc++ {
		i := prog[pc]
		jump := func(yes bool) {
			if yes {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		}
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = data[i.K]
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == i.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= i.K)
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(i.K)
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		default:
			t.Fatalf("instruction %d: %+v", pc, i)
		}
	}
	t.Fatal("fell off the end")
	return 0
}

// TestFilter compares the compiled program with a plain reading of the tables, for every call.
func TestFilter(t *testing.T) {
	prog := program(tables)
	for _, tab := range tables {
		byNumber := map[uint32]rule{}
		for _, r := range tab.rules {
			if _, twice := byNumber[r.nr]; twice {
				t.Errorf("call %d of %#x has two rules", r.nr, tab.arch)
			}
			byNumber[r.nr] = r
		}
		for nr := range uint32(600) {
			for _, v := range []uint32{0, 1, 2, 4, 10, 16, 17, 38, 40, unix.S_IFCHR | 0600, unix.S_IFBLK, unix.S_IFREG | 0644,
				unix.S_IFIFO, unix.CLONE_NEWUSER | 17, unix.CLONE_FILES, unix.CLONE_VM | unix.CLONE_NEWNS, ^uint32(0)} {
				want := uint32(allow)
				if r, ok := byNumber[nr]; ok {
					hit := true
					if r.test != nil {
						hit = r.test.any == nil && v&r.test.mask != 0
						for _, x := range r.test.any {
							hit = hit || v&r.test.mask == x
						}
						hit = hit != r.test.not
					}
					if hit {
						want = r.result
					}
				}
				if got := filter(t, prog, tab.arch, nr, v, v, v, v, v, v); got != want {
					t.Errorf("call %d of %#x with %#x: %#x, want %#x", nr, tab.arch, v, got, want)
				}
			}
		}
		if tab.x32 {
			if got := filter(t, prog, tab.arch, 1<<30|39); got != enosys {
				t.Errorf("x32: %#x", got)
			}
		}
	}
	if got := filter(t, prog, 12345, 39); got != enosys {
		t.Errorf("unknown machine: %#x", got)
	}
}
