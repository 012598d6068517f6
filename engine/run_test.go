package engine

import (
	"context"
	"testing"
	"time"
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
