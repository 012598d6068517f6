package packages

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// farAway is what the test of execution has executed: real packages for two machines, and a script of a native stage whose
// programs run under QEMU.
var farAway = []string{"//zlib:amd64-seed", "//bzip2:amd64-seed", "//zlib:arm64-seed", "//said:arm64-own"}

// execWorkspace is what is shipped, and a native stage for arm64.
func execWorkspace(t *testing.T) string {
	t.Helper()
	ws := copyWorkspace(t)
	write(t, filepath.Join(ws, "profiles/own/own.hcl"), `profile "own" {
  home            = "native"
  exec_properties = { Pool = "large" }
  stage "native" {
    native = true
    root   = ["//seed:amd64-seed", "//says:arm64-seed"]
    vars   = { host = platform.triplet }
  }
}
platform "arm64-own" {
  profile  = "own"
  arch     = "arm64"
  triplet  = "aarch64-own-linux"
  emulator = { package = "//qemu:amd64-seed", program = "usr/bin/qemu-aarch64-static" }
}
`)
	write(t, filepath.Join(ws, "packages/says/package.hcl"), `package "says" {
  script {
    script = <<-SH
      cat > says.c <<'END'
      #include <stdio.h>
      #include <sys/utsname.h>
      int main(void) { struct utsname u; uname(&u); return puts(u.machine) < 0; }
      END
      mkdir -p /out/usr/bin
      $CC -O2 -s -static -o /out/usr/bin/says says.c
    SH
  }
}
`)
	write(t, filepath.Join(ws, "packages/said/package.hcl"), `package "said" {
  script {
    script = "mkdir /out/usr; says > /out/usr/said; [[ $(< /out/usr/said) = aarch64 ]]"
  }
}
`)
	return ws
}

// TestRealExecution has a real server execute real packages, in a network namespace in which there is nothing else.
func TestRealExecution(t *testing.T) {
	for _, file := range []string{remoteWorkerSource, remoteWorkerJar} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("%v: install bazel-bootstrap and bazel-bootstrap-source", err)
		}
	}
	if os.Getenv(lonely) == "" {
		build(t, store, execWorkspace(t), farAway...)
		alone(t)
		return
	}
	loopbackUp(t)
	// The server's worker finds vfsb in its PATH, and has a store of its own.
	bin, classes := t.TempDir(), t.TempDir()
	write(t, filepath.Join(bin, "vfsb"), fmt.Sprintf("#!/bin/sh\nVFSB_STORE=%s VFSB_JOBS=2 exec %s \"$@\"\n", filepath.Join(t.TempDir(), "store"), vfsb))
	if err := os.Chmod(filepath.Join(bin, "vfsb"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s := startRemoteWorker(t, classes)

	newcomer := func(t *testing.T) *machine {
		b := newMachine(t).withSources(t)
		b.ws = b.give(t, execWorkspace(t))
		b.exec = true
		return b
	}
	t.Run("executed", func(t *testing.T) {
		b := newcomer(t)
		list := b.build(t, s, farAway...)
		b.same(t, list)
		if got := executed(list); !strings.Contains(got, "//zlib@seed:arm64-seed") || !strings.Contains(got, "//said@native:arm64-own") {
			t.Errorf("executed %s", got)
		}
		for _, ev := range list {
			if there := ev.Where != ""; ev.Status == "executed" && there != !strings.HasPrefix(ev.Label, "//seed") && !strings.HasPrefix(ev.Label, "//qemu") {
				t.Errorf("%s was executed at %q", ev.Label, ev.Where)
			}
		}
	})
	t.Run("known there", func(t *testing.T) {
		b := newcomer(t)
		list := b.build(t, s, "//zlib:amd64-seed")
		b.same(t, list)
		if got := executed(list); got != "//seed@seed:amd64-seed" {
			t.Errorf("executed %s, want the seed alone, which vfsb makes itself", got)
		}
	})
	t.Run("killed in the middle", func(t *testing.T) {
		b := newcomer(t)
		u, err := url.Parse(s.url)
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(u.Port())
		if err != nil {
			t.Fatal(err)
		}
		again := make(chan bool)
		go func() {
			for !s.working() {
				time.Sleep(5 * time.Millisecond)
			}
			s.signal(unix.SIGKILL)
			time.Sleep(2 * time.Second)
			close(again)
		}()
		done := make(chan []event, 1)
		go func() {
			defer close(done) // without a list: the build has failed
			done <- b.build(t, s, "--force", "//zlib:amd64-seed")
		}()
		select {
		case <-again:
		case <-done:
			t.Fatal("the build ended before the worker was killed")
		}
		s.runRemoteWorker(t, classes, port)
		list := <-done
		b.same(t, list)
		if got := executed(list); !strings.Contains(got, "//zlib@seed:amd64-seed") {
			t.Errorf("executed %s, want zlib", got)
		}
	})
}

// working reports whether a compiler runs on the server's machine, which is in the namespace of this test.
func (s *server) working() bool {
	mine, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return false
	}
	commands, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range commands {
		text, _ := os.ReadFile(name)
		theirs, err := os.Readlink(filepath.Join(filepath.Dir(name), "ns/mnt"))
		if err == nil && strings.TrimSpace(string(text)) == "cc1" && theirs != mine && s.above(filepath.Base(filepath.Dir(name))) {
			return true
		}
	}
	return false
}

// above reports whether the process is one that the server started, or one of these did.
func (s *server) above(pid string) bool {
	for pid != "0" && pid != "1" {
		if pid == strconv.Itoa(s.cmd.Process.Pid) {
			return true
		}
		text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		if err != nil {
			return false
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		pid = fields[1]
	}
	return false
}
