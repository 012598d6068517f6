package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Result is what the action cache holds for the key of an action.
type Result struct {
	Layer        Layer
	Log          Digest // blob with what the command printed
	Seconds, CPU float64
	MaxRSS       int64 // bytes
	Label        string
	Time         time.Time
}

// An Outcome is what came of an action that was executed elsewhere.
type Outcome struct {
	Result        // without a layer if there were no outputs
	Code   int    // exit code of the command that the worker ran
	Stderr []byte // of that command
	Cached bool   // it was executed before
}

// What the errors of an execution elsewhere wrap.
var (
	ErrInputs   = errors.New("the server has lost an input of the action") // bring it again
	ErrWorker   = errors.New("the worker failed")                          // another one may not
	ErrDeadline = errors.New("the server's deadline has passed")
)

// keyed is a journal whose lines begin with a key, as this process has read it. Lines are parsed when they are asked for:
// a hundred thousand of them load in some 50 ms.
type keyed struct {
	mu   sync.RWMutex
	file os.FileInfo
	data []byte // complete lines
	at   map[Digest]int
}

// Result returns the result of key, whichever process put it. That its layer is in the store is another question: ask
// HasLayer. What other processes have put is read when a key is not known.
func (s *Store) Result(key Digest) (Result, bool) {
	line, ok := s.known.find(&s.results, key)
	if !ok {
		return Result{}, false
	}
	r, err := parseResult(string(line))
	return r, err == nil
}

// PutResult records the result of key, in the place of any earlier one.
func (s *Store) PutResult(key Digest, r Result) error {
	if key == (Digest{}) {
		return errors.New("put result: the key is empty")
	}
	b := key.append(nil)
	for _, d := range []Digest{r.Layer.Tar, r.Layer.Index, r.Log} {
		b = d.append(append(b, ' '))
	}
	b = appendFloat(appendFloat(b, r.Seconds), r.CPU)
	b = strconv.AppendInt(append(b, ' '), max(r.MaxRSS, 0), 10)
	b = appendTime(b, r.Time)
	b = appendEscaped(append(b, ' '), r.Label)
	if err := s.results.append(b); err != nil {
		return fmt.Errorf("put result of %s: %w", r.Label, err)
	}
	s.known.refresh(&s.results) // a key that was known has another line now, which a hit would not look for
	return nil
}

func parseResult(line string) (r Result, err error) {
	f := fields{rest: line}
	f.next()
	r.Layer = Layer{f.digest(), f.digest()}
	r.Log = f.digest()
	r.Seconds, r.CPU = f.float(), f.float()
	r.MaxRSS = f.int()
	r.Time = f.time()
	r.Label = f.text()
	return r, f.err
}

// FindKey returns the key of a result or of a check that has passed, for those who know its hash only.
func (s *Store) FindKey(hash [32]byte) (Digest, bool) {
	for k, j := range map[*keyed]*journal{&s.known: &s.results, &s.passed: &s.checks} {
		k.refresh(j)
		k.mu.RLock()
		for d := range k.at {
			if d.Hash == hash {
				k.mu.RUnlock()
				return d, true
			}
		}
		k.mu.RUnlock()
	}
	return Digest{}, false
}

// Durations returns how many seconds each label's newest result took.
func (s *Store) Durations() map[string]float64 {
	s.known.refresh(&s.results)
	s.known.mu.RLock()
	defer s.known.mu.RUnlock()
	m := make(map[string]float64, len(s.known.at))
	lines(s.known.data, func(line []byte, _ int) {
		i := bytes.LastIndexByte(line, ' ')
		label, ok := unescape(string(line[i+1:]))
		for range 4 { // key, tar, index, log
			_, line, _ = bytes.Cut(line, []byte(" "))
		}
		number, _, _ := bytes.Cut(line, []byte(" "))
		if v, err := strconv.ParseFloat(string(number), 64); ok && err == nil {
			m[label] = v
		}
	})
	return m
}

// allResults is every result, as of the last time that the journal was read.
func (s *Store) allResults() iter.Seq[Result] {
	return func(yield func(Result) bool) {
		s.known.mu.RLock()
		keys := slices.Collect(maps.Keys(s.known.at))
		s.known.mu.RUnlock()
		for _, key := range keys {
			line, ok := s.known.get(key)
			if r, err := parseResult(string(line)); ok && err == nil && !yield(r) {
				return
			}
		}
	}
}

// find returns the fields of the newest line of key. If there is none it reads what other processes have added.
func (k *keyed) find(j *journal, key Digest) ([]byte, bool) {
	line, ok := k.get(key)
	if !ok && k.refresh(j) {
		line, ok = k.get(key)
	}
	return line, ok
}

func (k *keyed) get(key Digest) ([]byte, bool) {
	k.mu.RLock()
	at, ok := k.at[key]
	var line []byte
	if ok {
		line, _, _ = bytes.Cut(k.data[at:], []byte("\n"))
	}
	k.mu.RUnlock()
	return unseal(line)
}

// refresh reads what has been added to the journal, and reports whether that is anything.
func (k *keyed) refresh(j *journal) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	fi, err := os.Lstat(j.path())
	if err != nil || k.file != nil && os.SameFile(fi, k.file) && fi.Size() == k.file.Size() {
		return false
	}
	data, fi, all, err := j.tail(k.file, int64(len(k.data)))
	if err != nil {
		return false
	}
	if all {
		k.data, k.at = nil, make(map[Digest]int, bytes.Count(data, []byte("\n")))
	}
	base := len(k.data)
	n := lines(data, func(line []byte, at int) {
		key, _, _ := bytes.Cut(line, []byte(" "))
		h, size, _ := bytes.Cut(key, []byte("/"))
		hash, ok := parseHash(h)
		num, ok2 := parseInt(size)
		if ok && ok2 {
			k.at[Digest{hash, num}] = base + at
		}
	})
	if base == 0 {
		k.data = data[:n:n]
	} else {
		k.data = append(k.data, data[:n]...)
	}
	k.file = fi
	return true
}

// Checked reports whether PutChecked has recorded the key, in whichever process.
func (s *Store) Checked(key Digest) bool {
	_, ok := s.passed.find(&s.checks, key)
	return ok
}

// PutChecked records that a check has passed. The key stands for all that decided it; label is for people.
func (s *Store) PutChecked(key Digest, label string) error {
	b := appendEscaped(append(key.append(nil), ' '), label)
	if err := s.checks.append(b); err != nil {
		return fmt.Errorf("put check of %s: %w", label, err)
	}
	return nil
}

// A Field is one thing that went into a key, in printable and short form: a digest or a text.
type Field struct{ Name, Value string }

// A Record is one line of history: how a node's key was made, and what became of it.
type Record struct {
	Label        string
	Key          Digest
	Fields       []Field
	Status       string
	Seconds, CPU float64
	Log          Digest
	Layer        Layer
	Time         time.Time
}

// boundHistory is how many records of a label are kept: enough to see what changed, and what flips to and fro.
const boundHistory = 8

// AddRecord adds to the history of a label.
func (s *Store) AddRecord(r Record) error {
	b := appendEscaped(nil, r.Label)
	b = r.Key.append(append(b, ' '))
	b = appendEscaped(append(b, ' '), r.Status)
	b = appendFloat(appendFloat(b, r.Seconds), r.CPU)
	for _, d := range []Digest{r.Log, r.Layer.Tar, r.Layer.Index} {
		b = d.append(append(b, ' '))
	}
	b = appendTime(b, r.Time)
	for _, f := range r.Fields {
		b = appendEscaped(append(b, ' '), f.Name)
		b = appendEscaped(append(b, ' '), f.Value)
	}
	if err := s.history.append(b); err != nil {
		return fmt.Errorf("add to the history of %s: %w", r.Label, err)
	}
	return nil
}

// History returns the last records of a label, newest last, at most 8.
func (s *Store) History(label string) ([]Record, error) {
	data, err := os.ReadFile(s.history.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	prefix := appendEscaped(nil, label)
	prefix = append(prefix, ' ')
	var found []Record
	lines(data, func(line []byte, _ int) {
		if !bytes.HasPrefix(line, prefix) {
			return
		}
		if r, err := parseRecord(string(line)); err == nil {
			found = append(found, r)
		}
	})
	return found[max(0, len(found)-boundHistory):], nil
}

func parseRecord(line string) (r Record, err error) {
	f := fields{rest: line}
	r.Label = f.text()
	r.Key = f.digest()
	r.Status = f.text()
	r.Seconds, r.CPU = f.float(), f.float()
	r.Log = f.digest()
	r.Layer = Layer{f.digest(), f.digest()}
	r.Time = f.time()
	if n := strings.Count(f.rest, " "); f.more() {
		r.Fields = make([]Field, 0, (n+1)/2)
	}
	for f.err == nil && f.more() {
		name := f.text()
		r.Fields = append(r.Fields, Field{name, f.text()})
	}
	return r, f.err
}
