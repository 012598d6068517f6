package cache

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// compactStep is the growth of a journal, in bytes, after which it is worth to look for lines that no longer count.
const compactStep = 16 << 20

// A journal is a file that grows line by line: fields separated by a space, the first of which is the line's subject,
// and at the end the CRC-32C of what comes before. A line that does not fit its checksum, such as the torn end that a
// kill leaves, does not count. Processes append under a lock and read without.
type journal struct {
	store *Store
	name  string
	grown atomic.Bool // an append of this process has crossed a multiple of compactStep
}

func (j *journal) path() string { return filepath.Join(j.store.dir, j.name) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal completes a line of fields with its checksum and newline.
func seal(line []byte) []byte {
	return fmt.Appendf(line, " %08x\n", crc32.Checksum(line, castagnoli))
}

// unseal returns the fields of a line, given without its newline.
func unseal(line []byte) ([]byte, bool) {
	n := len(line) - 9
	if n < 0 || line[n] != ' ' {
		return nil, false
	}
	var crc uint32
	for _, c := range line[n+1:] {
		v := unhex(c)
		if v > 15 {
			return nil, false
		}
		crc = crc<<4 | uint32(v)
	}
	return line[:n], crc32.Checksum(line[:n], castagnoli) == crc
}

// append adds the line of fields. If it fails the journal is as before.
func (j *journal) append(line []byte) error {
	l, err := j.store.lockInternal(j.name, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := os.OpenFile(j.path(), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	size := fi.Size()
	sealed := seal(line)
	if size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' { // a torn line: end it
			sealed = append([]byte("\n"), sealed...)
		}
	}
	if _, err := f.Write(sealed); err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	if (size+int64(len(sealed)))/compactStep != size/compactStep {
		j.grown.Store(true)
	}
	j.store.wrote()
	return nil
}

// lines calls do with the fields of every line of data that counts, and where the line begins. It returns the length
// of the complete lines.
func lines(data []byte, do func(line []byte, at int)) int {
	at := 0
	for {
		n := bytes.IndexByte(data[at:], '\n')
		if n < 0 {
			return at
		}
		if line, ok := unseal(data[at : at+n]); ok {
			do(line, at)
		}
		at += n + 1
	}
}

// compact rewrites the journal with the newest keep lines of each subject, if it has grown and that halves it.
func (j *journal) compact(keep int) error {
	if !j.grown.Swap(false) {
		return nil
	}
	return j.rewrite(keep, 2)
}

// rewrite leaves the newest keep lines of each subject, if that makes the journal smaller by more than the factor.
func (j *journal) rewrite(keep, factor int) error {
	tmp, err := j.store.temp(j.name)
	if err != nil {
		return err
	}
	l, err := j.store.lockInternal(j.name, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer l.Close()
	data, err := os.ReadFile(j.path())
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	kept := newestLines(data, keep)
	if len(kept)*factor >= len(data) {
		return nil
	}
	defer os.Remove(tmp)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(kept)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, j.path())
}

func newestLines(data []byte, keep int) []byte {
	total := map[string]int{}
	lines(data, func(line []byte, _ int) { total[subject(line)]++ })
	var kept []byte
	lines(data, func(line []byte, _ int) {
		s := subject(line)
		if total[s]--; total[s] < keep {
			kept = append(kept, seal(slices.Clip(line))...)
		}
	})
	return kept
}

func subject(line []byte) string {
	s, _, _ := bytes.Cut(line, []byte(" "))
	return string(s)
}

// tail returns what the journal holds from offset at on, and the file it read. If that is no longer the file old, at
// counts as 0 and all is true.
func (j *journal) tail(old os.FileInfo, at int64) (data []byte, now os.FileInfo, all bool, err error) {
	f, err := os.Open(j.path())
	if err != nil {
		return nil, nil, false, err
	}
	defer f.Close()
	now, err = f.Stat()
	if err != nil {
		return nil, nil, false, err
	}
	if old == nil || !os.SameFile(old, now) || now.Size() < at {
		at, all = 0, true
	}
	data = make([]byte, now.Size()-at)
	n, err := f.ReadAt(data, at)
	if err == io.EOF { // somebody cut a torn line off meanwhile
		err = nil
	}
	return data[:n], now, all, err
}

// The fields that both journals have.

func appendFloat(b []byte, v float64) []byte {
	return strconv.AppendFloat(append(b, ' '), v, 'g', -1, 64)
}

func appendTime(b []byte, t time.Time) []byte {
	var n int64
	if !t.IsZero() {
		n = max(t.UnixNano(), 0)
	}
	return strconv.AppendInt(append(b, ' '), n, 10)
}

func (f *fields) float() float64 {
	v, err := strconv.ParseFloat(f.next(), 64)
	if err != nil {
		f.fail("not a number")
	}
	return v
}

func (f *fields) time() time.Time {
	n := f.int()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func (f *fields) digest() Digest {
	s := f.next()
	if s == "-" {
		return Digest{}
	}
	d, err := ParseDigest(s)
	if err != nil || s == "" {
		f.fail("not a digest")
	}
	return d
}
