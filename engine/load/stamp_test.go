package load

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestStampOfNews: what was changed just now has no stamp, for it may be changed again without another time.
func TestStampOfNews(t *testing.T) {
	folders := []Folder{{Dir: t.TempDir()}}
	file := filepath.Join(folders[0].Dir, FileName)
	for range 1000 { // a busy machine may take its time between the two
		if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if Stamp(folders) == "" {
			time.Sleep(2 * clockTick)
			if a, b := Stamp(folders), Stamp(folders); a == "" || a != b {
				t.Errorf("later its stamp is %q, then %q", a, b)
			}
			return
		}
	}
	t.Error("a new file has a stamp at once")
}
