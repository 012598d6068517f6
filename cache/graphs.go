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

// keptGraphs is how many graphs the store remembers: some workspaces, each with the labels that are built in turn.
const keptGraphs = 32

// Graph returns what PutGraph has stored under that name, if it is there and whole.
func (s *Store) Graph(name string) ([]byte, bool) {
	b, err := os.ReadFile(s.graphPath(name))
	n := len(b) - crc32.Size
	if err != nil || n < 0 || binary.LittleEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) {
		return nil, false
	}
	return b[:n], true
}

// PutGraph stores what the engine remembers of an analyzed graph, in the place of what had that name. It may be lost
// at any time: it is not synced, and only the newest ones are kept.
func (s *Store) PutGraph(name string, b []byte) error {
	tmp, err := s.temp("graph")
	if err != nil {
		return fmt.Errorf("put graph: %w", err)
	}
	defer os.Remove(tmp)
	sealed := binary.LittleEndian.AppendUint32(slices.Clip(b), crc32.Checksum(b, castagnoli))
	if err := os.WriteFile(tmp, sealed, 0o600); err != nil {
		return fmt.Errorf("put graph: %w", err)
	}
	if err := os.Rename(tmp, s.graphPath(name)); err != nil {
		return fmt.Errorf("put graph: %w", err)
	}
	s.pruneGraphs()
	return nil
}

func (s *Store) graphPath(name string) string { return filepath.Join(s.dir, "graphs", fileName(name)) }

// pruneGraphs removes the oldest graphs. What cannot be removed now will be the next time.
func (s *Store) pruneGraphs() {
	dir := filepath.Join(s.dir, "graphs")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= keptGraphs {
		return
	}
	age := map[string]int64{}
	for _, e := range entries {
		if fi, err := e.Info(); err == nil {
			age[e.Name()] = fi.ModTime().UnixNano()
		}
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(age[a.Name()], age[b.Name()]) })
	for _, e := range entries[:len(entries)-keptGraphs] {
		os.Remove(filepath.Join(dir, e.Name()))
	}
}
