package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Check tells what this machine has of what sandboxes need, with the store in storeDir, which must exist: it sets up a
// sandbox below it that runs nothing. Call it from a program that calls [Init].
func Check(storeDir string) []Finding {
	all := []Finding{checkKernel(), checkFileSystem(storeDir)}
	binfmt := ""
	err := probe(storeDir, func(r report) {
		if r.Binfmt != "" {
			binfmt = r.Binfmt
		}
	})
	var u *Unfit
	step := ""
	if errors.As(err, &u) {
		step = u.Step
	}
	finding := func(name string, failed bool) Finding {
		f := Finding{Name: name, OK: err == nil, Needed: true, Detail: "works"}
		switch {
		case failed:
			f.Detail = err.Error()
			if u != nil {
				f.Detail, f.Remedy = u.Step+": "+u.Err.Error(), u.Remedy
			}
		case err != nil:
			f.Detail = "not reached"
		}
		return f
	}
	// In the order of the set-up: what comes before the step that failed works, what comes after it was not reached.
	names := []string{"user namespaces"}
	failed := 0
	if privileged() {
		names = append(names, "idmapped mounts")
	}
	names = append(names, "overlay in a user namespace", "sandbox")
	switch {
	case err == nil:
		failed = len(names)
	case strings.HasPrefix(step, stepIDMap):
		failed = 1
	case strings.HasPrefix(step, stepOverlay):
		failed = len(names) - 2
	case step != stepStart:
		failed = len(names) - 1
	}
	for i, name := range names {
		f := finding(name, i == failed)
		if i < failed {
			f.OK, f.Detail = true, "works"
		}
		all = append(all, f)
	}
	all = append(all, checkBinfmt(binfmt), checkPidMax(), checkGroups(), checkUsers())
	if runtime.GOARCH == "amd64" {
		all = append(all, check32(storeDir))
	}
	return all
}

// probe sets up a sandbox with an empty root.
func probe(storeDir string, report func(report)) error {
	storeDir, err := filepath.Abs(storeDir)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(storeDir, "check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	_, err = runSandbox(context.Background(), Spec{Dir: dir}, report)
	return err
}

func release() (text string, major, minor int) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown", 0, 0
	}
	text = unix.ByteSliceToString(u.Release[:])
	fmt.Sscanf(text, "%d.%d", &major, &minor)
	return text, major, minor
}

// The kernel's floors.
const needMajor, needMinor = 6, 7

func checkKernel() Finding {
	text, major, minor := release()
	f := Finding{Name: "kernel", Needed: true, Detail: text + ", " + runtime.GOARCH}
	f.OK = major > needMajor || major == needMajor && minor >= needMinor
	if !f.OK {
		f.Remedy = fmt.Sprintf("run Linux %d.%d or later", needMajor, needMinor)
	}
	if len(tables) == 0 {
		f.OK = false
		f.Detail += ": no table of system calls"
		f.Remedy = "run on amd64, arm64 or riscv64"
	}
	return f
}

func checkFileSystem(dir string) Finding {
	f := Finding{Name: "store's file system", Needed: true}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		f.Detail = fmt.Sprintf("%s: %v", dir, err)
		f.Remedy = "make the folder"
		return f
	}
	bad := map[int64]string{unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs", unix.FUSE_SUPER_MAGIC: "fuse",
		unix.SMB2_SUPER_MAGIC: "smb", unix.V9FS_MAGIC: "9p", unix.ECRYPTFS_SUPER_MAGIC: "ecryptfs"}
	if name, is := bad[int64(st.Type)]; is {
		f.Detail = name + " cannot hold the upper folder of an overlay"
		f.Remedy = "put the store on ext4, xfs, btrfs or tmpfs (in a container: on a volume)"
		return f
	}
	f.OK = true
	f.Detail = fmt.Sprintf("type %#x, %d MiB free", uint32(st.Type), st.Bavail*uint64(st.Bsize)>>20)
	return f
}

func checkBinfmt(answer string) Finding {
	f := Finding{Name: "binfmt_misc in user namespaces", OK: answer == "ok", Detail: "works"}
	if !f.OK {
		f.Detail = "cannot be mounted: " + answer
		if answer == "" {
			f.Detail = "not reached"
		}
		f.Remedy = binfmtRemedy
	}
	return f
}

func checkPidMax() Finding {
	text, major, minor := release()
	f := Finding{Name: "process limit per sandbox", OK: major > 6 || major == 6 && minor >= 14, Detail: "pid_max of the pid namespace"}
	if !f.OK {
		f.Detail = "Linux " + text + " has one pid_max for all"
		f.Remedy = "run Linux 6.14 or later, or limit the processes of the user: ulimit -u"
	}
	return f
}

// exit32 is a program for i386 that ends with exit code 0: the head of an ELF file, one segment, and mov $1,%eax; xor
// %ebx,%ebx; int $0x80.
const exit32 = "\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x02\x00\x03\x00\x01\x00\x00\x00\x54\x80\x04\x08\x34\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x34\x00\x20\x00\x01\x00\x00\x00\x00\x00\x00\x00" +
	"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80\x04\x08\x00\x80\x04\x08\x5d\x00\x00\x00\x5d\x00\x00\x00\x05\x00\x00\x00\x00\x10\x00\x00" +
	"\xb8\x01\x00\x00\x00\x31\xdb\xcd\x80"

// check32 runs a program of 32 bits, which some kernels and virtual machines cannot.
func check32(dir string) Finding {
	f := Finding{Name: "programs of 32 bits", Detail: "work"}
	file, err := os.CreateTemp(dir, "check-")
	if err == nil {
		defer os.Remove(file.Name())
		_, err = file.WriteString(exit32)
		err = errors.Join(err, file.Chmod(0o700), file.Close())
	}
	if err == nil {
		err = exec.Command(file.Name()).Run()
	}
	if f.OK = err == nil; !f.OK {
		f.Detail, f.Remedy = "do not work: "+err.Error(), "build for i686 on a machine whose kernel has CONFIG_IA32_EMULATION, in no paravirtualized guest without it"
	}
	return f
}

// checkUsers looks for more ids than one.
func checkUsers() Finding {
	f := Finding{Name: "users in vfsb chroot", OK: HasUsers(), Detail: "chown and su work"}
	switch {
	case f.OK:
		return f
	case os.Geteuid() == 0:
		f.Detail = "one only: this user namespace has no others"
		return f
	}
	proc, ready, err := startWithUsers(nil, nil, nil, nil)
	if f.OK = err == nil; !f.OK {
		f.Detail, f.Remedy = "one only: "+err.Error(), "install newuidmap (package uidmap or shadow-utils), and give the user ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"
		return f
	}
	ready.Close() // and so it ends
	proc.Wait()
	return f
}

// checkGroups makes a control group as a sandbox does.
func checkGroups() Finding {
	f := Finding{Name: "memory limit", Remedy: "systemd-run --user --scope -p Delegate=yes vfsb …, or run as root"}
	g := &groups{}
	s := g.start(0, defaultProcesses)
	if s == nil {
		f.Detail = "no control groups: " + g.err.Error()
		return f
	}
	defer g.end(s)
	f.OK, f.Remedy = true, ""
	f.Detail = fmt.Sprintf("%d MiB for all sandboxes of a build, in %s", s.limit>>20, filepath.Dir(s.memory))
	return f
}
