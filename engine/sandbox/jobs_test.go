package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vfsb/engine/sandbox/jobs"
)

// concurrency returns how many jobs a log has at most at one time, and how many ended.
func concurrency(log string) (most, ended int) {
	now := 0
	for line := range strings.Lines(log) {
		switch line {
		case "S\n":
			now++
			most = max(most, now)
		case "E\n":
			now--
			ended++
		}
	}
	return most, ended
}

// withJobs runs sandboxes that play make, each with n jobs of 20 ms, under one broker.
func withJobs(t *testing.T, l *lab, b *jobs.Broker, sandboxes, n int) (log string) {
	t.Helper()
	name := "log" + strconv.Itoa(sandboxes) + "-" + strconv.Itoa(n)
	file := l.write(name, "", 0644)
	var all sync.WaitGroup
	for i := range sandboxes {
		all.Go(func() {
			dir := name + "-run" + strconv.Itoa(i)
			s := l.spec(dir, "jobs", strconv.Itoa(n), "20")
			s.Binds = []Bind{{From: file, At: "/build/log", Writable: true}}
			c, err := b.Start(context.Background(), s.Dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Stop()
			s.Jobserver = c
			s.Timeout = time.Minute
			if r, err := Run(context.Background(), s); err != nil || r.ExitCode != 0 {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
	all.Wait()
	return l.read(name)
}

func TestJobserver(t *testing.T) {
	l := newLab(t)
	b := jobs.NewBroker(4)
	defer b.Close()
	most, ended := concurrency(withJobs(t, l, b, 2, 60))
	if most > 4 || most < 3 || ended != 120 {
		t.Errorf("%d jobs ended, %d at one time; want 120, 4", ended, most)
	}
	// One sandbox alone gets all slots; more sandboxes than slots wait for each other.
	if most, ended := concurrency(withJobs(t, l, b, 1, 60)); most != 4 || ended != 60 {
		t.Errorf("%d jobs ended, %d at one time; want 60, 4", ended, most)
	}
	if most, ended := concurrency(withJobs(t, l, b, 6, 20)); most > 4 || ended != 120 {
		t.Errorf("%d jobs ended, %d at one time; want 120, 4", ended, most)
	}
}

// TestJobserverKilled kills a sandbox while it holds every slot; the next one gets them all.
func TestJobserverKilled(t *testing.T) {
	l := newLab(t)
	b := jobs.NewBroker(4)
	defer b.Close()
	file := l.write("log", "", 0644)
	s := l.spec("run", "jobs", "4", "1", "hang")
	s.Binds = []Bind{{From: file, At: "/build/log", Writable: true}}
	c, err := b.Start(t.Context(), s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Jobserver = c
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := Run(ctx, s); done <- err }()
	for began := time.Now(); l.read("log") != "S\nS\nS\nS\n"; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("only %q", l.read("log"))
		}
	}
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if c, err := b.Start(short, l.spec("none").Dir); err == nil {
		c.Stop()
		t.Error("a fifth slot was given")
	}
	cancel()
	<-done
	c.Stop()
	if most, ended := concurrency(withJobs(t, l, b, 1, 40)); most != 4 || ended != 40 {
		t.Errorf("after the kill %d jobs ended, %d at one time; want 40, 4", ended, most)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "jobs")); err == nil {
		t.Error("the FIFO is left")
	}
}

func TestJobserverDescriptors(t *testing.T) {
	l := newLab(t)
	b := jobs.NewBroker(2)
	defer b.Close()
	s := l.spec("run", "fds")
	c, err := b.Start(t.Context(), s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	s.Jobserver = c
	if out := l.want(s); out != "0\n1\n100\n101\n2\n" && len(strings.Fields(out)) != 5 {
		t.Errorf("%q", out)
	}
	s = l.spec("run2", "facts")
	s.Jobserver = c
	if out := l.want(s); !strings.Contains(out, "env PATH=/bin "+jobs.MakeFlags+"\n") {
		t.Errorf("%s", out)
	}
}
