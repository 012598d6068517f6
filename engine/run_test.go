package engine

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLastLineIsShown: of lines that come at once the last one is told, since it may be the last for a long time.
func TestLastLineIsShown(t *testing.T) {
	shown := make(chan string, 100)
	x := &execution{Options: Options{Notify: func(ev Event) { shown <- ev.Message }}}
	r := &run{execution: x, node: &Node{Label: "//a", Step: &Step{}}, dir: t.TempDir()}
	_, cancel := context.WithCancelCause(t.Context())
	log, err := r.openLog(cancel)
	if err != nil {
		t.Fatal(err)
	}
	defer log.close()
	if _, err := log.writer.WriteString("one\ntwo\nthree\n"); err != nil {
		t.Fatal(err)
	}
	for limit := time.After(20 * time.Second); ; {
		select {
		case line := <-shown:
			if line == "three" {
				return
			}
		case <-limit:
			t.Fatal("the last line was not told")
		}
	}
}

// openTestLog opens the log of a node that has nothing else.
func openTestLog(t *testing.T) (*logFile, context.Context) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &run{execution: &execution{}, node: &Node{Step: &Step{}}, dir: t.TempDir()}
	l, err := r.openLog(cancel)
	if err != nil {
		t.Fatal(err)
	}
	return l, ctx
}

// TestLog: what a script prints is in its log as it was, with a line's end at the end.
func TestLog(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "",
		"one\ntwo":                              "one\ntwo\n",
		"\n\n":                                  "\n\n",
		PhaseMarker + "x\ny":                    "==> x\ny\n",
		strings.Repeat("long", maxLine) + "\nx": strings.Repeat("long", maxLine) + "\nx\n",
		strings.Repeat("x", maxLine) + "\n":     strings.Repeat("x", maxLine) + "\n",
	} {
		l, ctx := openTestLog(t)
		l.writer.WriteString(in)
		if err := l.close(); err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
		if got, err := os.ReadFile(l.path); err != nil || string(got) != want {
			t.Errorf("%.80q came out as %.80q (%d bytes, want %d), %v", in, got, len(got), len(want), err)
		}
		for _, line := range l.tail {
			if len(line) > maxLine {
				t.Errorf("a line of %d bytes is kept", len(line))
			}
		}
	}
}

// TestLogIsBounded: a script that prints without end fails for that, and does not fill the disk before.
func TestLogIsBounded(t *testing.T) {
	defer func(old int) { maxLog = old }(maxLog)
	maxLog = 1 << 20
	l, ctx := openTestLog(t)
	for range 3 << 10 {
		l.writer.WriteString(strings.Repeat("x", 1023) + "\n")
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if context.Cause(ctx) != errLog {
		t.Errorf("the run ends for %v", context.Cause(ctx))
	}
	if st, err := os.Stat(l.path); err != nil || st.Size() != int64(maxLog) {
		t.Errorf("the log has %v, %v", st, err)
	}
}

// TestFullDisk says so only where the disk is full.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if free := st.Bavail * uint64(st.Bsize); free > someDisk {
		if got := fullDisk(dir, true); got != "" {
			t.Errorf("%d MiB are free, and: %s", free>>20, got)
		}
	}
	if got := fullDisk("/proc", false); !strings.Contains(got, "0 MiB are left for /proc; make room") {
		t.Errorf("a file system without any room: %q", got)
	}
}
