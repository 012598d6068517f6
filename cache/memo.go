package cache

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
)

// keptMemos is how many memos the store keeps: of some workspaces, each with the labels that are built in turn.
const keptMemos = 32

// Memo returns what PutMemo has stored under that name, if it is there and whole.
func (s *Store) Memo(name string) ([]byte, bool) {
	b, err := os.ReadFile(s.memoPath(name))
	n := len(b) - crc32.Size
	if err != nil || n < 0 || binary.LittleEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) {
		return nil, false
	}
	return b[:n], true
}

// PutMemo stores what only saves work, in the place of what had that name. It may be lost at any time: it is not synced,
// and the oldest ones go.
func (s *Store) PutMemo(name string, b []byte) error {
	tmp, err := s.temp("memo")
	if err == nil {
		err = os.WriteFile(tmp, binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), 0o600)
	}
	if err == nil {
		err = os.Rename(tmp, s.memoPath(name))
	}
	if err != nil {
		return fmt.Errorf("put memo: %w", err)
	}
	return s.pruneMemos()
}

func (s *Store) memoPath(name string) string {
	return filepath.Join(s.dir, "memos", DigestOf([]byte(name)).Hex())
}

func (s *Store) pruneMemos() error {
	type memo struct {
		path string
		time int64
	}
	var memos []memo
	for _, name := range s.glob("memos/*") {
		path := filepath.Join(s.dir, name)
		if fi, err := os.Lstat(path); err == nil { // else another process has removed it
			memos = append(memos, memo{path, fi.ModTime().UnixNano()})
		}
	}
	slices.SortFunc(memos, func(a, b memo) int { return cmp.Compare(b.time, a.time) })
	for _, m := range memos[min(keptMemos, len(memos)):] {
		if err := Remove(m.path); err != nil {
			return err
		}
	}
	return nil
}
