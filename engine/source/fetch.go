package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"vfsb/cache"
)

// maxSize bounds a download whose size is not known beforehand. The largest sources (kernels, compilers) have 150 MB.
const maxSize = 16 << 30

// A file is what get looks for, and where.
type file struct {
	id, pos string
	what    string // for errors: "source bash/bash"
	name    string // file name, for mirrors
	sha256  string
	size    int64    // -1: unknown
	pool    string   // Debian pool path, for mirrors; may be empty
	urls    []string // http, https, file or copy
	quick   bool     // connect with little patience, because there is an alternative
	limit   int64    // what to read at most while the size is unknown; 0: maxSize
	remedy  string   // what to do when nothing has it; empty: the usual
	header  http.Header
	// connect makes the client for urls; nil: the usual one.
	connect func(context.Context, *Fetcher) (*http.Client, error)
}

// most is how many bytes the file may have.
func (w file) most() int64 {
	switch {
	case w.size >= 0:
		return w.size
	case w.limit > 0:
		return w.limit
	}
	return maxSize
}

func (w file) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", w.pos, w.what, fmt.Errorf(format, args...))
}

// noRoom is the error of a file for which the store's disk has no room: nobody else has that either.
func (w file) noRoom(err error) error {
	return w.errorf("the disk is full, make room: %w", err)
}

// A ChecksumError is content that is not what was declared.
type ChecksumError struct {
	Pos, What, URL string
	Want, Got      string // SHA-256, hex; Got is empty if the size alone gave it away
	WantSize, Size int64  // WantSize is -1 if the size was unknown
}

func (e *ChecksumError) Error() string {
	const remedy = "\n  if the authors replaced the file, check the new one and declare its digest; else use another url or --mirror"
	if e.Got == "" {
		return fmt.Sprintf("%s: %s: wrong size from %s\n  recorded %d bytes\n  received %d bytes%s", e.Pos, e.What, e.URL,
			e.WantSize, e.Size, remedy)
	}
	return fmt.Sprintf("%s: %s: wrong sha256 from %s\n  declared %s\n  received %s (%d bytes)%s", e.Pos, e.What, e.URL,
		e.Want, e.Got, e.Size, remedy)
}

// wrongSize is the error for content whose size alone gives it away.
func (w file) wrongSize(from string, size int64) error {
	return &ChecksumError{Pos: w.pos, What: w.what, URL: from, Want: w.sha256, WantSize: w.most(), Size: size}
}

// get puts a file into the store and returns its digest: from the mirrors, from the shared cache, from its URLs. Callers
// that want the same file share one download, inside this process and between processes.
func (f *Fetcher) get(ctx context.Context, w file) (cache.Digest, error) {
	if d, ok := f.find(w); ok {
		return d, nil
	}
	return f.flights.do(ctx, w.sha256+" "+strings.Join(w.urls, " "), func(ctx context.Context) (cache.Digest, error) {
		unlock, err := f.Store.Lock(ctx, "source-"+w.sha256)
		if err != nil {
			return cache.Digest{}, w.errorf("lock: %w", err)
		}
		defer unlock()
		if d, ok := f.find(w); ok { // another process was faster
			return d, nil
		}
		return f.getFrom(ctx, w)
	})
}

// find looks for the file in the store. One of another size is a broken blob, which a fetched one replaces.
func (f *Fetcher) find(w file) (cache.Digest, bool) {
	d, ok := f.Store.FindBlob(w.sha256)
	return d, ok && (w.size < 0 || d.Size == w.size)
}

// checkSize compares the size of verified content with the one that the lock file or an index told.
func (w file) checkSize(d cache.Digest) error {
	if w.size >= 0 && d.Size != w.size {
		return w.errorf("the recorded size is %d, but the file of sha256 %s has %d bytes; remove its line from the lock file", w.size, w.sha256, d.Size)
	}
	return nil
}

func (f *Fetcher) getFrom(ctx context.Context, w file) (cache.Digest, error) {
	d, ok, err := f.fromMirrors(ctx, w)
	if ok || err != nil {
		return d, err
	}
	if w.size >= 0 {
		if d, err := digest(w.sha256, w.size); err == nil && f.pull(ctx, d) {
			return d, nil
		}
	}
	remedy := w.remedy
	if remedy == "" {
		remedy = usualRemedy
	}
	var tried []string
	notFound := false
	var wrong *ChecksumError
	for _, u := range w.urls {
		if path, ok := localPath(u); ok {
			d, err := f.copyLocal(w, path)
			if err == nil {
				return d, nil
			}
			if cache.NoRoom(err) {
				return cache.Digest{}, w.noRoom(err)
			}
			errors.As(err, &wrong)
			notFound = notFound || isNotFound(err)
			tried = append(tried, fmt.Sprintf("%s: %v", u, err))
			continue
		}
		if f.Offline {
			continue
		}
		d, err := f.download(ctx, w, u)
		if err == nil {
			return d, nil
		}
		if ctx.Err() != nil {
			return cache.Digest{}, context.Cause(ctx)
		}
		if cache.NoRoom(err) {
			return cache.Digest{}, w.noRoom(err)
		}
		if errors.As(err, &wrong) {
			f.note(w.id, u, "wrong content, trying elsewhere")
			continue
		}
		notFound = notFound || isNotFound(err)
		tried = append(tried, fmt.Sprintf("%s: %v", u, err))
	}
	if wrong != nil {
		return cache.Digest{}, wrong
	}
	if f.Offline {
		return cache.Digest{}, w.errorf("%w (--offline); fetch it with the network on, or %s", ErrOffline, remedy)
	}
	if len(tried) == 0 {
		return cache.Digest{}, w.errorf("nothing has %s: %s", w.sha256, remedy)
	}
	return cache.Digest{}, w.errorf("cannot be fetched: %s\n  %w", remedy, &unavailableError{tried, notFound})
}

// pull asks the shared cache, and reports whether the store has the blob now.
func (f *Fetcher) pull(ctx context.Context, d cache.Digest) bool {
	return f.Pull != nil && f.Pull(ctx, d) && f.Store.HasBlob(d)
}

const usualRemedy = "give --mirror a folder or address that has it, or use a shared cache"

// unavailableError lists what was tried in vain.
type unavailableError struct {
	tried    []string
	notFound bool // a server answered that it has no such file
}

func (e *unavailableError) Error() string { return strings.Join(e.tried, "\n  ") }

// fromMirrors looks in the mirrors. What a mirror has under the right name with the wrong bytes is passed over.
func (f *Fetcher) fromMirrors(ctx context.Context, w file) (cache.Digest, bool, error) {
	names := []string{"sha256/" + w.sha256, w.name, w.sha256}
	if w.pool != "" {
		names = append([]string{w.pool}, names...)
	}
	for _, m := range f.Mirrors {
		folder, local := localPath(m)
		if !local && f.Offline {
			continue
		}
		for _, name := range names {
			var d cache.Digest
			var err error
			if local {
				d, err = f.copyLocal(w, filepath.Join(folder, filepath.FromSlash(name)))
			} else {
				quick := w
				quick.quick, quick.connect, quick.header, quick.pool = true, nil, nil, ""
				d, err = f.download(ctx, quick, join(m, name))
			}
			if err == nil {
				return d, true, nil
			}
			if ctx.Err() != nil {
				return cache.Digest{}, false, context.Cause(ctx)
			}
			if cache.NoRoom(err) {
				return cache.Digest{}, false, w.noRoom(err)
			}
			var wrong *ChecksumError
			if errors.As(err, &wrong) {
				f.note(w.id, wrong.URL, "the mirror has other content under this name")
				continue
			}
			if isNotFound(err) {
				continue
			}
			var dead *deadError
			if !errors.As(err, &dead) {
				f.note(w.id, m, fmt.Sprintf("mirror: %v", err))
			}
			break // the mirror itself fails
		}
	}
	return cache.Digest{}, false, nil
}

// localPath returns the path that s names, unless s is an address in the network.
func localPath(s string) (string, bool) {
	for _, scheme := range []string{"file:", "copy:"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			if p, err := url.PathUnescape(rest); err == nil {
				rest = p
			}
			if after, ok := strings.CutPrefix(rest, "//"); ok { // file://host/path: the host is this machine
				_, p, _ := strings.Cut(after, "/")
				rest = "/" + p
			}
			return rest, true
		}
	}
	return s, !strings.Contains(s, "://")
}

// join appends a relative path to a base address.
func join(base, path string) string {
	u := url.URL{Path: path}
	return strings.TrimRight(base, "/") + "/" + strings.TrimPrefix(u.EscapedPath(), "./")
}

func isNotFound(err error) bool {
	var status *statusError
	return errors.Is(err, os.ErrNotExist) || errors.As(err, &status) && (status.code == 404 || status.code == 410)
}

// copyLocal puts a local file into the store if it is the wanted one.
func (f *Fetcher) copyLocal(w file, path string) (cache.Digest, error) {
	in, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would wait for a writer
	if err != nil {
		return cache.Digest{}, err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return cache.Digest{}, fmt.Errorf("%s: not a file: %w", path, os.ErrNotExist)
	}
	if w.size >= 0 && st.Size() != w.size { // a sparse file can be longer than any disk
		return cache.Digest{}, w.wrongSize(path, st.Size())
	}
	return f.adopt(w, path, func(out io.Writer) error {
		_, err := io.Copy(out, in)
		return err
	})
}

// adopt writes a temporary file below the store and puts it there if its content is the wanted one. An empty w.sha256
// wants any content.
func (f *Fetcher) adopt(w file, from string, write func(io.Writer) error) (cache.Digest, error) {
	dir, release, err := f.Store.NewRun("fetch")
	if err != nil {
		return cache.Digest{}, err
	}
	defer release()
	tmp, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return cache.Digest{}, err
	}
	defer tmp.Close()
	h := sha256.New()
	count := &counter{w: io.MultiWriter(tmp, h), most: w.most()}
	if err := write(count); err != nil {
		if count.n > count.most {
			err = w.wrongSize(from, count.n)
		}
		return cache.Digest{}, err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if w.sha256 != "" && sum != w.sha256 {
		return cache.Digest{}, &ChecksumError{Pos: w.pos, What: w.what, URL: from, Want: w.sha256, Got: sum, WantSize: w.size, Size: count.n}
	}
	d, err := digest(sum, count.n)
	if err != nil {
		return cache.Digest{}, err
	}
	if err := tmp.Close(); err != nil {
		return cache.Digest{}, err
	}
	if err := f.Store.AdoptFile(tmp.Name(), d); err != nil {
		return cache.Digest{}, err
	}
	return d, w.checkSize(d)
}

// counter counts what is written through it, and fails when that is too much.
type counter struct {
	w       io.Writer
	n, most int64
}

func (c *counter) Write(b []byte) (int, error) {
	if c.n += int64(len(b)); c.n > c.most {
		return 0, errors.New("too long")
	}
	return c.w.Write(b)
}
