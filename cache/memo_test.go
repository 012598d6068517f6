package cache

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestMemo(t *testing.T) {
	s := openStore(t, t.TempDir())
	if _, ok := s.Memo("a"); ok {
		t.Error("there is a memo that nobody has put")
	}
	for _, text := range []string{"first", "", "a\nb\n"} {
		check(t, s.PutMemo("a", []byte(text)))
		if b, ok := s.Memo("a"); !ok || string(b) != text {
			t.Errorf("%q became %q, %t", text, b, ok)
		}
	}
	whole, err := os.ReadFile(s.memoPath("a"))
	check(t, err)
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1
		for _, b := range [][]byte{damaged, whole[:i]} {
			check(t, os.WriteFile(s.memoPath("a"), b, 0o600))
			if got, ok := s.Memo("a"); ok {
				t.Errorf("of a damaged memo %q remains", got)
			}
		}
	}
}

// TestMemosAreFew: the oldest go.
func TestMemosAreFew(t *testing.T) {
	s := openStore(t, t.TempDir())
	for i := range keptMemos + 3 {
		check(t, s.PutMemo(fmt.Sprint(i), nil))
		day := time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC)
		check(t, os.Chtimes(s.memoPath(fmt.Sprint(i)), day, day))
	}
	for i := range keptMemos + 3 {
		if _, ok := s.Memo(fmt.Sprint(i)); ok != (i >= 3) {
			t.Errorf("memo %d: %t", i, ok)
		}
	}
}
