package source

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vfsb/cache"
)

// clientKind is a way to reach the network.
type clientKind struct {
	quick bool
	apt   bool // through apt's proxy, where its configuration names one
}

// client returns the shared client of a kind: proxies from the environment, logins of netrc, up to ten redirects, no compression (the
// digest is of the file as published).
func (f *Fetcher) client(kind clientKind) *http.Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.clients[kind]; c != nil {
		return c
	}
	t := f.timing.orDefault()
	connect := t.connect
	if kind.quick {
		connect = t.quick
	}
	proxy := http.ProxyFromEnvironment
	if kind.apt {
		proxy = f.apt.proxy
	}
	c := &http.Client{Transport: withLogins{&http.Transport{
		Proxy:               proxy,
		DialContext:         (&net.Dialer{Timeout: connect}).DialContext,
		TLSHandshakeTimeout: connect,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     30 * time.Second,
	}, f.logins(kind.apt)}, CheckRedirect: f.redirect}
	if f.clients == nil {
		f.clients = map[clientKind]*http.Client{}
	}
	f.clients[kind] = c
	return c
}

// redirect follows up to ten redirects, as net/http does by itself, but not to a host that is not tried again.
func (f *Fetcher) redirect(r *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	if err := f.isDead(r.URL.Host); err != nil {
		return &deadError{err}
	}
	return nil
}

// statusError is an answer other than success.
type statusError struct {
	code       int
	status     string
	retryAfter time.Duration // 0: not said
}

func (e *statusError) Error() string {
	if e.code == http.StatusUnauthorized {
		return e.status + "; give ~/.netrc the line: machine HOST login NAME password PASSWORD"
	}
	return e.status
}

func (e *statusError) transient() bool {
	switch e.code {
	case 408, 425, 429, 500, 502, 503, 504:
		return true
	}
	return false
}

// deadError is why a host is not tried again in this run.
type deadError struct{ err error }

func (e *deadError) Error() string { return "not tried again: " + e.err.Error() }
func (e *deadError) Unwrap() error { return e.err }

var errStalled = errors.New("too little data for too long")

// trickle is the least that a server must send, in bytes, in the time after which it has stalled.
const trickle = 16 << 10

// download gets one URL into the store, resuming and retrying. The partial file is kept when it gives up, except when
// its content is wrong.
func (f *Fetcher) download(ctx context.Context, w file, from string) (cache.Digest, error) {
	u, err := url.Parse(from)
	if err != nil {
		return cache.Digest{}, err
	}
	if err := f.isDead(u.Host); err != nil {
		return cache.Digest{}, &deadError{err}
	}
	t := f.timing.orDefault()
	attempts := t.attempts
	if w.quick {
		attempts = min(attempts, 2)
	}
	connect := func(ctx context.Context) (*http.Client, error) {
		if w.connect != nil {
			return w.connect(ctx, f)
		}
		return f.client(clientKind{quick: w.quick, apt: w.pool != ""}), nil
	}
	p := &partial{path: filepath.Join(f.Store.Dir(), "partial", w.sha256)}
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return cache.Digest{}, err
	}
	fresh := false // whether a wrong digest has already led to a new start
	for failures := 1; ; failures++ {
		before := p.size()
		d, err := f.attempt(ctx, w, from, p, connect, t.stall)
		var sum *ChecksumError
		switch {
		case err == nil:
			return d, nil
		case ctx.Err() != nil:
			return cache.Digest{}, context.Cause(ctx)
		case errors.As(err, &sum):
			p.remove()
			if p.resumed && !fresh { // what was there may have come from another address
				fresh = true
				continue
			}
			return cache.Digest{}, err
		}
		if p.size() >= before+trickle {
			failures = 1
		}
		wait, ok := f.retry(err, w.quick, failures, attempts, t)
		if !ok {
			if p.size() == 0 {
				p.remove()
			}
			var dead *deadError
			if unreachable(err) && !errors.As(err, &dead) {
				f.markDead(err, u.Host)
			}
			return cache.Digest{}, err
		}
		f.note(w.id, from, fmt.Sprintf("retry in %s: %v", wait.Round(100*time.Millisecond), err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return cache.Digest{}, context.Cause(ctx)
		}
	}
}

// retry tells whether and after what wait to try again.
func (f *Fetcher) retry(err error, quick bool, failures, attempts int, t timing) (time.Duration, bool) {
	var status *statusError
	var cert *tls.CertificateVerificationError
	var dns *net.DNSError
	var dead *deadError
	switch {
	case failures >= attempts, errors.As(err, &dead):
		return 0, false
	case errors.As(err, &status) && !status.transient(), errors.As(err, &cert):
		return 0, false
	case errors.As(err, &dns) && dns.IsNotFound, unreachable(err) && quick:
		return 0, false
	case localFailure(err):
		return 0, false
	}
	wait := min(t.backoff<<(failures-1), t.backoffMax)
	wait = wait/2 + rand.N(wait/2+1)
	if status != nil && status.retryAfter > wait {
		wait = status.retryAfter
	}
	return wait, wait <= 2*t.backoffMax
}

// unreachable reports whether no connection came about.
func unreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &dns) || errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

// localFailure reports whether this machine's disk is to blame.
func localFailure(err error) bool {
	var p *os.PathError
	return errors.As(err, &p)
}

func (f *Fetcher) isDead(host string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead[host]
}

func (f *Fetcher) markDead(err error, host string) {
	var at *url.Error
	if errors.As(err, &at) {
		if u, parseErr := url.Parse(at.URL); parseErr == nil { // where a redirect led
			host = u.Host
		}
		err = at.Err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead == nil {
		f.dead = map[string]error{}
	}
	f.dead[host] = err
}

// A partial is a download that is under way, kept below the store between attempts and runs. Beside it lies a note of
// where it comes from and of the validator (ETag or date) that the server gave.
type partial struct {
	path    string
	resumed bool // the last attempt began with what was there
}

func (p *partial) size() int64 {
	st, err := os.Stat(p.path)
	if err != nil {
		return 0
	}
	return st.Size()
}

func (p *partial) remove() {
	os.Remove(p.path)
	os.Remove(p.path + ".from")
}

// validator returns what If-Range wants if the file comes from this address, else "".
func (p *partial) validator(from string) string {
	b, err := os.ReadFile(p.path + ".from")
	if err != nil {
		return ""
	}
	at, v, _ := strings.Cut(string(b), "\n")
	if at != from {
		return ""
	}
	return v
}

func (p *partial) setOrigin(from string, h http.Header) error {
	v := h.Get("ETag")
	if v == "" || strings.HasPrefix(v, "W/") { // If-Range wants a strong one
		v = h.Get("Last-Modified")
	}
	return os.WriteFile(p.path+".from", []byte(from+"\n"+v), 0o600)
}

// attempt makes one request, for the part of the file that is missing.
func (f *Fetcher) attempt(ctx context.Context, w file, from string, p *partial, connect func(context.Context) (*http.Client, error), stall time.Duration) (cache.Digest, error) {
	out, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return cache.Digest{}, err
	}
	defer out.Close()
	h := sha256.New()
	have, err := io.Copy(h, out)
	if err != nil {
		return cache.Digest{}, err
	}
	p.resumed = have > 0
	if p.resumed && have == w.size { // killed between the last byte and the renaming
		return f.finish(w, from, p, h, have)
	}
	if w.size >= 0 && have > w.size {
		p.resumed, have = false, 0
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watchdog.Stop()
	client, err := connect(ctx)
	if err != nil {
		return cache.Digest{}, stalled(ctx, err)
	}
	resp, err := w.request(ctx, client, from, have, p.validator(from))
	if err != nil {
		return cache.Digest{}, stalled(ctx, err)
	}
	defer resp.Body.Close()
	began, total := have, int64(-1)
	switch resp.StatusCode {
	case http.StatusOK:
		have, p.resumed, total = 0, false, resp.ContentLength
	case http.StatusPartialContent:
		start, end, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || start != have {
			p.remove()
			return cache.Digest{}, fmt.Errorf("the answer to a request for bytes from %d has Content-Range %q", have, resp.Header.Get("Content-Range"))
		}
		total = end
	case http.StatusRequestedRangeNotSatisfiable:
		if _, end, ok := contentRange(resp.Header.Get("Content-Range")); ok && end == have && w.size < 0 {
			return f.finish(w, from, p, h, have)
		}
		p.remove()
		return cache.Digest{}, errors.New("the partial file is longer than the server's")
	default:
		return cache.Digest{}, &statusError{resp.StatusCode, resp.Status, retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	if w.size >= 0 && total >= 0 && total != w.size {
		return cache.Digest{}, w.wrongSize(from, total)
	}
	if !p.resumed {
		h.Reset()
		if err := out.Truncate(0); err != nil {
			return cache.Digest{}, err
		}
		if err := p.setOrigin(from, resp.Header); err != nil {
			return cache.Digest{}, err
		}
	}
	if _, err := out.Seek(have, io.SeekStart); err != nil {
		return cache.Digest{}, err
	}
	report, fed := time.Now(), have
	buf := make([]byte, 256<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			have += int64(n)
			if have >= fed+trickle {
				watchdog.Reset(stall)
				fed = have
			}
			if have > w.most() {
				return cache.Digest{}, w.wrongSize(from, have)
			}
			h.Write(buf[:n])
			if _, err := out.Write(buf[:n]); err != nil {
				return cache.Digest{}, err
			}
			if now := time.Now(); now.Sub(report) > 100*time.Millisecond {
				report = now
				f.notify(Progress{ID: w.id, URL: from, Done: have, Total: total})
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return cache.Digest{}, stalled(ctx, err)
		}
	}
	if err := out.Close(); err != nil {
		return cache.Digest{}, err
	}
	// An answer without a length ends with the connection, and a range may be shorter than what was asked for. Twice the
	// same short answer is another file.
	if whole := max(total, w.size); have < whole && have != began {
		return cache.Digest{}, fmt.Errorf("broken off after %d of %d bytes", have, whole)
	}
	return f.finish(w, from, p, h, have)
}

// finish puts the complete partial file into the store if its digest is right.
func (f *Fetcher) finish(w file, from string, p *partial, h hash.Hash, size int64) (cache.Digest, error) {
	sum := hex.EncodeToString(h.Sum(nil))
	if sum != w.sha256 {
		return cache.Digest{}, &ChecksumError{Pos: w.pos, What: w.what, URL: from, Want: w.sha256, Got: sum, WantSize: w.size, Size: size}
	}
	d, err := digest(sum, size)
	if err != nil {
		return cache.Digest{}, err
	}
	if err := w.checkSize(d); err != nil {
		return cache.Digest{}, err
	}
	if err := f.Store.AdoptFile(p.path, d); err != nil {
		return cache.Digest{}, err
	}
	p.remove()
	f.notify(Progress{ID: w.id, URL: from, Done: size, Total: size, Final: true})
	return d, nil
}

// request asks for the bytes from have on.
func (w file) request(ctx context.Context, client *http.Client, from string, have int64, validator string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "vfsb")
	req.Header.Set("Accept-Encoding", "identity")
	for k, v := range w.header {
		req.Header[k] = v
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		if validator != "" {
			req.Header.Set("If-Range", validator)
		}
	}
	return client.Do(req)
}

// stalled replaces the error of a request that the watchdog ended.
func stalled(ctx context.Context, err error) error {
	if context.Cause(ctx) == errStalled {
		return errStalled
	}
	return err
}

// contentRange parses "bytes 5-9/10" and "bytes */10" into first position and complete size (-1: not said).
func contentRange(s string) (start, size int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, all, ok := strings.Cut(s, "/")
	if !ok {
		return 0, 0, false
	}
	size = -1
	var err error
	if all != "*" {
		if size, err = strconv.ParseInt(all, 10, 64); err != nil {
			return 0, 0, false
		}
	}
	if span == "*" {
		return 0, size, true
	}
	first, _, _ := strings.Cut(span, "-")
	start, err = strconv.ParseInt(first, 10, 64)
	return start, size, err == nil
}

// retryAfter parses the header of that name: seconds or a date.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 1e6 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
