package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vfsb/cache"
)

// content is a file of a megabyte that no accident makes, and its digest.
func content(seed int64) ([]byte, cache.Digest) {
	b := make([]byte, 1<<20)
	rand.New(rand.NewSource(seed)).Read(b)
	return b, cache.DigestOf(b)
}

// serve starts a server on loopback and returns the address of a file on it.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL + "/f-1.0.tar.gz"
}

func urlSpec(d cache.Digest, urls ...string) Spec {
	return Spec{ID: "f/f", Pos: "packages/f/package.hcl:4", URLs: urls, SHA256: d.Hex()}
}

// storeHas checks that the store has the blob with the right bytes and that nothing else lies around.
func storeHas(t *testing.T, f *Fetcher, b []byte) {
	t.Helper()
	in, err := f.Store.OpenBlob(cache.DigestOf(b))
	if err != nil {
		t.Error(err)
		return
	}
	defer in.Close()
	if d, err := cache.DigestReader(in); err != nil || d != cache.DigestOf(b) {
		t.Errorf("stored %v %v, want %v", d, err, cache.DigestOf(b))
	}
	noPartials(t, f)
}

func noPartials(t *testing.T, f *Fetcher) {
	t.Helper()
	for _, pattern := range []string{"partial/*", "run/*/*-fetch", "run/*/*-git"} {
		if left, _ := filepath.Glob(filepath.Join(f.Store.Dir(), pattern)); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

func TestDownload(t *testing.T) {
	b, d := content(1)
	var calls atomic.Int32
	modified := time.Unix(1e9, 0)
	whole := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "f", modified, bytes.NewReader(b))
	}
	half := func(w http.ResponseWriter) { // cut the connection in the middle
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		w.Header().Set("ETag", `"one"`)
		w.Write(b[:len(b)/2])
		panic(http.ErrAbortHandler)
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		calls   int32
		want    string // of the error
	}{
		"plain": {whole, 1, ""},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/other" {
				whole(w, r)
				return
			}
			http.Redirect(w, r, "/other", http.StatusFound)
		}, 2, ""},
		"redirect loop": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, 30, "10 redirects"},
		"resume": {func(w http.ResponseWriter, r *http.Request) {
			if calls.Load() == 1 {
				half(w)
			}
			if got, want := r.Header.Get("Range"), fmt.Sprintf("bytes=%d-", len(b)/2); got != want {
				t.Errorf("Range %q, want %q", got, want)
			}
			if got := r.Header.Get("If-Range"); got != `"one"` {
				t.Errorf("If-Range %q", got)
			}
			w.Header().Set("ETag", `"one"`)
			whole(w, r)
			if w.Header().Get("Content-Range") == "" {
				t.Error("the server did not answer with a range")
			}
		}, 2, ""},
		"changed since": {func(w http.ResponseWriter, r *http.Request) {
			if calls.Load() == 1 {
				w.Header().Set("Content-Length", fmt.Sprint(len(b)))
				w.Header().Set("ETag", `"old"`)
				w.Write(make([]byte, len(b)/2))
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("ETag", `"new"`)
			whole(w, r)
		}, 2, ""},
		"short ranges": {func(w http.ResponseWriter, r *http.Request) {
			first := 0
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first)
			if calls.Load() == 1 {
				half(w)
			}
			last := min(first+1<<18, len(b)) - 1
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(b)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(b[first : last+1])
		}, 3, ""},
		"server without ranges": {func(w http.ResponseWriter, r *http.Request) {
			if calls.Load() == 1 {
				half(w)
			}
			w.Write(b)
		}, 2, ""},
		"wrong start of a resumed file": {func(w http.ResponseWriter, r *http.Request) {
			if calls.Load() == 1 {
				w.Header().Set("Content-Length", fmt.Sprint(len(b)))
				w.Write(make([]byte, len(b)/2))
				panic(http.ErrAbortHandler)
			}
			whole(w, r)
		}, 3, ""},
		"wrong range": {func(w http.ResponseWriter, r *http.Request) {
			switch calls.Load() {
			case 1:
				half(w)
			case 2:
				w.Header().Set("Content-Range", "bytes 7-9/10")
				w.WriteHeader(http.StatusPartialContent)
			default:
				whole(w, r)
			}
		}, 3, ""},
		"stall": {func(w http.ResponseWriter, r *http.Request) {
			if calls.Load() == 1 {
				w.Write(b[:100])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
			whole(w, r)
		}, 2, ""},
		"silent server": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 3, "too little data for too long"},
		"trickling server": {func(w http.ResponseWriter, r *http.Request) {
			start := 0
			w.Header().Set("ETag", `"one"`)
			if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start); n == 1 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(b)-1, len(b)))
				w.WriteHeader(http.StatusPartialContent)
			}
			for _, c := range b[start:] {
				w.Write([]byte{c})
				w.(http.Flusher).Flush()
				select {
				case <-time.After(10 * time.Millisecond):
				case <-r.Context().Done():
					return
				}
			}
		}, 3, "too little data for too long"},
		"busy": {func(w http.ResponseWriter, r *http.Request) {
			if calls.Load() < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			whole(w, r)
		}, 3, ""},
		"busy for ever": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, 3, "500"},
		"asked to wait long": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		}, 1, "429"},
		"not found":           {http.NotFound, 1, "404 Not Found"},
		"forbidden":           {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }, 1, "403"},
		"wrong bytes":         {func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>")) }, 1, "wrong sha256"},
		"wrong content range": {func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Range", "?"); w.WriteHeader(206) }, 3, "Content-Range"},
	} {
		t.Run(name, func(t *testing.T) {
			calls.Store(0)
			u := serve(t, func(w http.ResponseWriter, r *http.Request) { calls.Add(1); c.handler(w, r) })
			f := newFetcher(t)
			e, got, err := f.Resolve(t.Context(), urlSpec(d, u))
			if n := calls.Load(); n != c.calls {
				t.Errorf("%d requests, want %d", n, c.calls)
			}
			if c.want != "" {
				if err == nil || !strings.HasPrefix(err.Error(), "packages/f/package.hcl:4: source f/f: ") || !strings.Contains(err.Error(), c.want) ||
					!strings.Contains(err.Error(), "--mirror") || !strings.Contains(err.Error(), u) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				if len(f.Lock.Changed()) > 0 {
					t.Error("a failure went into the lock file")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := (Entry{Origin: Upstream, Filename: "f-1.0.tar.gz", SHA256: d.Hex(), Size: d.Size}); e != want || got != d {
				t.Errorf("entry %+v digest %v, want %+v", e, got, want)
			}
			storeHas(t, f, b)
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Duration{"": 0, "x": 0, "-1": 0, "3": 3 * time.Second, "99999999999": 0,
		"Thu, 01 Jan 2026 00:00:05 GMT": 5 * time.Second, "Thu, 01 Jan 2015 00:00:05 GMT": 0} {
		if got := retryAfter(s, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", s, got, want)
		}
	}
	b, d := content(1)
	var first atomic.Int64
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(0, time.Now().UnixNano()) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		if waited := time.Duration(time.Now().UnixNano() - first.Load()); waited < time.Second {
			t.Errorf("came back after %v", waited)
		}
		w.Write(b)
	})
	f := newFetcher(t)
	if _, _, err := f.Resolve(t.Context(), urlSpec(d, u)); err != nil {
		t.Fatal(err)
	}
}

func TestChecksumError(t *testing.T) {
	_, d := content(1)
	bad := []byte("evil bytes")
	u := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(bad) })
	f := newFetcher(t)
	_, _, err := f.Resolve(t.Context(), urlSpec(d, u))
	var sum *ChecksumError
	if !errors.As(err, &sum) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{d.Hex(), cache.DigestOf(bad).Hex(), u, "packages/f/package.hcl:4: ", "declare its digest"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %q:\n%v", want, err)
		}
	}
	noPartials(t, f)
	if f.Store.HasBlob(cache.DigestOf(bad)) {
		t.Error("the bad file is in the store")
	}
	// A wrong digest of one address does not keep the next from being tried.
	b, _ := content(1)
	good := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(b) })
	if _, _, err := f.Resolve(t.Context(), urlSpec(d, u, good)); err != nil {
		t.Error(err)
	}
	storeHas(t, f, b)
}

func TestLockedSize(t *testing.T) {
	b, d := content(1)
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "f", time.Time{}, bytes.NewReader(b))
	})
	f := newFetcher(t)
	e := Entry{Origin: Upstream, Filename: "f", SHA256: d.Hex(), Size: 17}
	err := f.Fetch(t.Context(), urlSpec(d, u), e)
	if err == nil || !strings.Contains(err.Error(), "recorded 17 bytes") {
		t.Errorf("error %v", err)
	}
	noPartials(t, f)
}

// TestShortAnswer: an answer without a length that ends early is no wrong file, unless that is all there is.
func TestShortAnswer(t *testing.T) {
	b, d := content(1)
	e := Entry{Origin: Upstream, Filename: "f", SHA256: d.Hex(), Size: d.Size}
	var calls atomic.Int32
	for name, c := range map[string]struct {
		later []byte // what the second answer holds
		want  string
	}{
		"broken off": {b, ""},
		"all":        {b[:1000], "wrong sha256"},
	} {
		calls.Store(0)
		u := serve(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			answer := c.later
			if calls.Add(1) == 1 {
				answer = b[:1000]
			}
			fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\n\r\n%s", answer)
		})
		f := newFetcher(t)
		err := f.Fetch(t.Context(), urlSpec(d, u), e)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
		if n := calls.Load(); n != 2 {
			t.Errorf("%s: %d requests", name, n)
		}
		noPartials(t, f)
	}
}

// TestPartialOfEarlierRun continues what a killed run left.
func TestPartialOfEarlierRun(t *testing.T) {
	b, d := content(1)
	var asked []string
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		http.ServeContent(w, r, "f", time.Time{}, bytes.NewReader(b))
	})
	for have, want := range map[int][]string{100: {"bytes=100-"}, len(b): {"bytes=1048576-"}, len(b) + 1: {"bytes=1048577-", ""}} {
		f := newFetcher(t)
		dir := filepath.Join(f.Store.Dir(), "partial")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, d.Hex()), append(b, 0)[:have], 0o600); err != nil {
			t.Fatal(err)
		}
		asked = nil
		if _, _, err := f.Resolve(t.Context(), urlSpec(d, u)); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(asked) != fmt.Sprint(want) {
			t.Errorf("%d bytes there: asked %q, want %q", have, asked, want)
		}
		storeHas(t, f, b)
	}
	// With the size known from the lock file, a complete partial file needs no request.
	f := newFetcher(t)
	dir := filepath.Join(f.Store.Dir(), "partial")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, d.Hex()), b, 0o600); err != nil {
		t.Fatal(err)
	}
	asked = nil
	if err := f.Fetch(t.Context(), urlSpec(d, u), Entry{Origin: Upstream, Filename: "f", SHA256: d.Hex(), Size: d.Size}); err != nil || asked != nil {
		t.Errorf("%v, asked %q", err, asked)
	}
	storeHas(t, f, b)
}

func TestMirrors(t *testing.T) {
	b, d := content(1)
	refuse := serve(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("upstream was asked for %s", r.URL)
		http.NotFound(w, r)
	})
	put := func(name string, b []byte) string {
		dir := t.TempDir()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	addr := func(path string) string {
		u := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path {
				http.NotFound(w, r)
				return
			}
			w.Write(b)
		})
		return strings.TrimSuffix(u, "/f-1.0.tar.gz")
	}
	broken := strings.TrimSuffix(serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }), "/f-1.0.tar.gz")
	for name, c := range map[string]struct {
		mirrors []string
		offline bool
	}{
		"folder, by name":            {[]string{put("f-1.0.tar.gz", b)}, true},
		"folder, by digest":          {[]string{put("sha256/"+d.Hex(), b)}, true},
		"folder, by bare digest":     {[]string{put(d.Hex(), b)}, true},
		"file address":               {[]string{"file://" + put(d.Hex(), b)}, true},
		"wrong bytes, then right":    {[]string{put("f-1.0.tar.gz", []byte("x")), put(d.Hex(), b)}, true},
		"missing folder, then right": {[]string{"/nonexistent", put(d.Hex(), b)}, true},
		"address, by name":           {[]string{addr("/f-1.0.tar.gz")}, false},
		"address, by digest":         {[]string{addr("/sha256/" + d.Hex())}, false},
		"broken server, then right":  {[]string{broken, addr("/" + d.Hex())}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFetcher(t)
			f.Mirrors, f.Offline = c.mirrors, c.offline
			if _, _, err := f.Resolve(t.Context(), urlSpec(d, refuse)); err != nil {
				t.Fatal(err)
			}
			storeHas(t, f, b)
		})
	}
}

func TestOffline(t *testing.T) {
	b, d := content(1)
	u := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("asked the network") })
	f := newFetcher(t)
	f.Offline = true
	_, _, err := f.Resolve(t.Context(), urlSpec(d, u))
	if !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), "--mirror") {
		t.Errorf("error %v", err)
	}
	// The shared cache is no part of what --offline means here: who sets Pull decides.
	f.Pull = func(_ context.Context, want cache.Digest) bool {
		tmp := filepath.Join(f.Store.Dir(), "pulled")
		if err := os.WriteFile(tmp, b, 0o600); err != nil || want != d {
			t.Errorf("%v, asked for %v", err, want)
		}
		return f.Store.AdoptFile(tmp, d) == nil
	}
	e := Entry{Origin: Upstream, Filename: "f", SHA256: d.Hex(), Size: d.Size}
	if err := f.Fetch(t.Context(), urlSpec(d, u), e); err != nil {
		t.Error(err)
	}
	storeHas(t, f, b)
}

// TestSharedDownload: one request serves all, and the first caller's cancellation is its own.
func TestSharedDownload(t *testing.T) {
	b, d := content(1)
	var calls atomic.Int32
	started, release := make(chan struct{}), make(chan struct{})
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			close(started)
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		w.Write(b)
	})
	f := newFetcher(t)
	f.timing.stall = 10 * time.Second
	spec, e := urlSpec(d, u), Entry{Origin: Upstream, Filename: "f", SHA256: d.Hex(), Size: d.Size}
	first, cancel := context.WithCancel(t.Context())
	firstErr := make(chan error)
	go func() { firstErr <- f.Fetch(first, spec, e) }()
	<-started
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			if err := f.Fetch(t.Context(), spec, e); err != nil {
				t.Error(err)
			}
		})
	}
	for { // until all wait
		f.flights.mu.Lock()
		waiters := 0
		for _, c := range f.flights.all {
			waiters = c.waiters
		}
		f.flights.mu.Unlock()
		if waiters == 5 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-firstErr; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled caller got %v", err)
	}
	close(release)
	others.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
	storeHas(t, f, b)
}

// TestCancel: the last caller's cancellation ends the download before Fetch returns, and keeps what has come.
func TestCancel(t *testing.T) {
	b, d := content(1)
	started := make(chan struct{})
	ended := make(chan struct{})
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Write(b[:1000])
		w.(http.Flusher).Flush()
		close(started)
		<-r.Context().Done()
	})
	f := newFetcher(t)
	f.timing.stall = 10 * time.Second
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	if _, _, err := f.Resolve(ctx, urlSpec(d, u)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	<-ended
	if len(f.flights.all) != 0 {
		t.Error("a download goes on")
	}
}

// TestDeadHost: a host that cannot be reached is tried once a run.
func TestDeadHost(t *testing.T) {
	_, d := content(1)
	_, other := content(2)
	closed := httptest.NewServer(nil)
	closed.Close()
	f := newFetcher(t)
	_, _, err := f.Resolve(t.Context(), urlSpec(d, closed.URL+"/f"))
	if err == nil || strings.Contains(err.Error(), "not tried again") {
		t.Errorf("first: %v", err)
	}
	_, _, err = f.Resolve(t.Context(), urlSpec(other, closed.URL+"/g"))
	if err == nil || !strings.Contains(err.Error(), "not tried again") {
		t.Errorf("second: %v", err)
	}
}

// TestDeadRedirect: nor is it where a redirect leads to it.
func TestDeadRedirect(t *testing.T) {
	_, d := content(1)
	_, other := content(2)
	closed := httptest.NewServer(nil)
	closed.Close()
	var calls atomic.Int32
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		http.Redirect(w, r, closed.URL+r.URL.Path, http.StatusFound)
	})
	f := newFetcher(t)
	for i, d := range []cache.Digest{d, other} {
		before := calls.Load()
		_, _, err := f.Resolve(t.Context(), urlSpec(d, u))
		if err == nil || strings.Contains(err.Error(), "not tried again") != (i == 1) {
			t.Errorf("%d: %v", i, err)
		}
		if n := calls.Load() - before; i == 1 && n != 1 {
			t.Errorf("%d requests for a file of a dead host", n)
		}
	}
	if f.isDead(strings.TrimPrefix(strings.TrimSuffix(u, "/f-1.0.tar.gz"), "http://")) != nil {
		t.Error("the host that redirects counts as dead")
	}
}

// fullStore is a store on a full disk.
type fullStore struct{ Blobs }

func (fullStore) AdoptFile(tmp string, _ cache.Digest) error {
	return fmt.Errorf("adopt blob: %w", &os.PathError{Op: "write", Path: tmp, Err: unix.ENOSPC})
}

// TestFullDisk: no other address or origin is better, and no remedy speaks of mirrors.
func TestFullDisk(t *testing.T) {
	b, d := content(1)
	mirror := t.TempDir()
	if err := os.WriteFile(filepath.Join(mirror, d.Hex()), b, 0o600); err != nil {
		t.Fatal(err)
	}
	u := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(b) })
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("another address was asked") })
	for name, c := range map[string]struct {
		urls, mirrors []string
	}{
		"address":        {[]string{u, other}, nil},
		"mirror":         {[]string{other}, []string{strings.TrimSuffix(u, "/f-1.0.tar.gz")}},
		"mirror, folder": {[]string{other}, []string{mirror}},
	} {
		f := newFetcher(t)
		f.Store, f.Mirrors = fullStore{f.Store}, c.mirrors
		spec := urlSpec(d, c.urls...)
		spec.Debian = &Debian{Suite: "trixie", Source: "f"}
		f.Notify = func(p Progress) {
			if p.ID == "apt" {
				t.Errorf("%s: Debian was asked", name)
			}
		}
		_, _, err := f.Resolve(t.Context(), spec)
		if !cache.NoRoom(err) || strings.Contains(err.Error(), "--mirror") || !strings.HasPrefix(err.Error(), "packages/f/package.hcl:4: source f/f: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLockDecides: an entry of the lock file stays, whatever a build would decide today; a new declaration replaces it.
func TestLockDecides(t *testing.T) {
	b, d := content(1)
	u := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(b) })
	f := newFetcher(t)
	spec := urlSpec(d, u)
	spec.Debian = &Debian{Suite: "trixie", Source: "f"}
	debian := Entry{Origin: DebianOrigin, Filename: "f_1.orig.tar.gz", SHA256: d.Hex(), Size: d.Size, Path: "pool/f_1.orig.tar.gz"}
	f.Lock.SetSource("f/f", debian)
	for _, origin := range []string{"", Auto, Upstream, DebianOrigin} {
		f.Origin = origin
		if e, _, err := f.Resolve(t.Context(), spec); err != nil || e != debian {
			t.Errorf("origin %q: %+v %v", origin, e, err)
		}
	}
	f.Origin, f.Update = Upstream, true
	if e, _, err := f.Resolve(t.Context(), spec); err != nil || e.Origin != Upstream {
		t.Errorf("update: %+v %v", e, err)
	}
	f.Update = false
	spec.SHA256 = sumA
	if _, _, err := f.Resolve(t.Context(), spec); err == nil {
		t.Error("the entry of another declaration was used")
	}
}
