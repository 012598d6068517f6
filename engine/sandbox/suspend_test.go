package sandbox

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSuspend: a suspended command does nothing, goes on afterwards, and has the time in between for free.
func TestSuspend(t *testing.T) {
	l := newLab(t)
	out, err := os.Create(l.dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	size := func() int64 {
		st, err := out.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	s := l.spec("run", "tick")
	s.Stdout = out
	began := time.Now()
	done := make(chan Result)
	go func() {
		r, err := Run(t.Context(), s)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	more := func(than int64) {
		for size() <= than {
			time.Sleep(time.Millisecond)
		}
	}
	more(0)
	paused := time.Now()
	resume := Suspend()
	for before := int64(-1); before != size(); time.Sleep(50 * time.Millisecond) { // it takes a moment
		before = size()
	}
	stopped := size()
	time.Sleep(200 * time.Millisecond)
	if got := size(); got != stopped {
		t.Errorf("%d bytes were written while suspended", got-stopped)
	}
	pause := time.Since(paused)
	resume()
	more(stopped)
	l.write("run/build/end", "", 0o644)
	if r := <-done; r.ExitCode != 0 || r.Wall > time.Since(began)-pause {
		t.Errorf("%+v, of %v, %v of it suspended", r, time.Since(began), pause)
	}
}

// TestSuspendedTime: what a limit has run out of while suspended is added.
func TestSuspendedTime(t *testing.T) {
	for name, spec := range map[string]Spec{
		"timeout": {Timeout: 100 * time.Millisecond},
		"silence": {Silence: 100 * time.Millisecond},
	} {
		t.Run(name+" while suspended", func(t *testing.T) {
			sleep := exec.Command("sleep", "1000")
			if err := sleep.Start(); err != nil {
				t.Fatal(err)
			}
			defer sleep.Wait()
			b := &box{proc: sleep.Process, control: -1, copies: &copier{began: time.Now()}}
			b.register()
			defer b.unregister()
			resume := Suspend()
			began := time.Now()
			time.AfterFunc(300*time.Millisecond, resume)
			if why := b.watch(t.Context(), &spec, b.copies, nil); why == 0 || time.Since(began) < 390*time.Millisecond {
				t.Errorf("ended for reason %d after %v", why, time.Since(began))
			}
		})
	}
	sleep := exec.Command("sleep", "1000")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	b := &box{proc: sleep.Process}
	b.pause.total.Store(int64(300 * time.Millisecond))
	began := time.Now()
	if why := b.watch(t.Context(), &Spec{Timeout: 100 * time.Millisecond}, nil, nil); why != byTimeout || time.Since(began) < 400*time.Millisecond {
		t.Errorf("ended for reason %d after %v", why, time.Since(began))
	}
	if err := sleep.Wait(); err == nil || sleep.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal() != unix.SIGKILL {
		t.Error(err)
	}
}
