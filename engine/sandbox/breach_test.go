package sandbox

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestBreaches runs the attacks of testdata/probe/breach.go, each of which says what its success would be: inside, where
// none may succeed, and those that can in a process of an ordinary user outside, where they must, or they show nothing.
func TestBreaches(t *testing.T) {
	args, first := hostWorld(t)
	l := newLab(t)
	s := l.spec("run", append([]string{"breaches", "first=1"}, args...)...)
	s.Timeout = time.Minute // an attack that stops pid 1 stops all
	r, out := l.output(s)
	if r.ExitCode != 0 {
		t.Fatalf("%+v\n%s", r, out)
	}
	inside := verdicts(t, out)
	if len(inside) < 40 {
		t.Errorf("only %d attacks were tried", len(inside))
	}
	for name, got := range inside {
		t.Run(name, func(t *testing.T) {
			if got != "" {
				t.Error(got)
			}
		})
	}

	t.Run("attributes of the overlay, on disk", func(t *testing.T) {
		names := make([]byte, 4096)
		n, err := unix.Llistxattr(filepath.Join(s.Dir, "upper", "folder"), names)
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.SplitSeq(strings.Trim(string(names[:n]), "\x00"), "\x00") {
			if strings.Contains(name, "overlay.") && !strings.HasPrefix(name, "user.overlay.overlay.") && name != "user.overlay.origin" {
				t.Errorf("an attribute that the kernel follows: %s", name)
			}
		}
	})

	cmd := exec.Command(probeFile, append([]string{"breaches", "outside", "first=" + strconv.Itoa(first)}, args...)...)
	cmd.SysProcAttr = ordinaryUser()
	cmd.Dir = "/"
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	outside := verdicts(t, string(b))
	if len(outside) < 12 {
		t.Errorf("only %d attacks were tried outside", len(outside))
	}
	for name, got := range outside {
		t.Run(name+", outside", func(t *testing.T) {
			if got == "" {
				t.Error("the attack fails outside of a sandbox, too: it shows nothing")
			}
		})
	}
}

func verdicts(t *testing.T, out string) map[string]string {
	t.Helper()
	all := pairs(out)
	for name, quoted := range all {
		got, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %q", name, quoted)
		}
		all[name] = got
	}
	return all
}

// ordinaryUser is what makes a process of root's that of an ordinary user.
func ordinaryUser() *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}}
}

// hostWorld makes what an attack could find of the host, each open to every user, and returns the probe's arguments that
// tell of it, and a process whose /proc folder an ordinary user may read.
func hostWorld(t *testing.T) (args []string, first int) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	unique := fmt.Sprintf("vfsb-test-%d", os.Getpid())
	add := func(name string, value any) { args = append(args, fmt.Sprintf("%s=%v", name, value)) }

	var was unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_RTPRIO, &was))
	if unix.Setrlimit(unix.RLIMIT_RTPRIO, &unix.Rlimit{Cur: 5, Max: 5}) == nil { // where allowed: something to inherit
		t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_RTPRIO, &was) })
	}
	sleeper := exec.Command(probeFile, "sleep", "3600002", "marker-"+unique)
	sleeper.SysProcAttr = ordinaryUser()
	check(sleeper.Start())
	t.Cleanup(func() { sleeper.Process.Kill(); sleeper.Wait() })
	add("pid", sleeper.Process.Pid)
	add("marker", "marker-"+unique)

	listener, err := net.Listen("unix", "@"+unique)
	check(err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("the host"))
			c.Close()
		}
	}()
	add("socket", unique)

	dir, err := os.MkdirTemp("", "host")
	check(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "file")
	check(os.WriteFile(file, []byte("of the host"), 0o644))
	check(os.Chmod(dir, 0o755))
	add("file", file)

	call := func(nr uintptr, args ...uintptr) uintptr {
		t.Helper()
		var a [4]uintptr
		copy(a[:], args)
		r, _, no := unix.Syscall6(nr, a[0], a[1], a[2], a[3], 0, 0)
		if no != 0 {
			t.Fatalf("call %d: %v", nr, no)
		}
		return r
	}
	key := uintptr(0x76660000 | os.Getpid()&0xffff)
	const create = 0o1000 | 0o666 // IPC_CREAT
	shm, msg, sem := call(unix.SYS_SHMGET, key, 4096, create), call(unix.SYS_MSGGET, key, create), call(unix.SYS_SEMGET, key, 1, create)
	t.Cleanup(func() {
		call(unix.SYS_SHMCTL, shm, unix.IPC_RMID)
		call(unix.SYS_MSGCTL, msg, unix.IPC_RMID)
		call(unix.SYS_SEMCTL, sem, 0, unix.IPC_RMID)
	})
	add("key", key)

	queue, err := unix.BytePtrFromString(unique)
	check(err)
	fd := call(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(queue)), unix.O_CREAT|unix.O_RDWR, 0o666)
	t.Cleanup(func() {
		unix.Close(int(fd))
		call(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(queue)))
	})
	add("queue", unique)

	host, err := os.Hostname()
	check(err)
	add("host", host)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	check(err)
	add("boot", strings.TrimSpace(string(boot)))
	var info unix.Sysinfo_t
	check(unix.Sysinfo(&info))
	add("uptime", info.Uptime)
	ifs, err := net.Interfaces()
	check(err)
	macs := ""
	for _, i := range ifs {
		macs += i.HardwareAddr.String() + " "
	}
	add("macs", macs)
	return args, sleeper.Process.Pid
}
