package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// stdout is standard output. What could not be written is an error of the whole run.
var stdout = &stickyWriter{w: os.Stdout}

// A stickyWriter remembers its first error, so that not every line must be looked after.
type stickyWriter struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

func (s *stickyWriter) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err != nil {
		s.mu.Lock()
		s.err = cmp.Or(s.err, err)
		s.mu.Unlock()
	}
	return n, err
}

// writeOutput writes to standard output, or, if file names one, a file that appears when it is complete.
func writeOutput(file string, write func(io.Writer) error) (err error) {
	if file == "" {
		return write(stdout)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", file, err)
		}
	}()
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() { // a pipe, or /dev/null
		out, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(out), out.Close())
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(write(tmp), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
