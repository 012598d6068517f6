package remote

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"vfsb/cache"
	"vfsb/cache/cachetest"
)

// hasty is a patience for tests: it gives up for good reason only, but then soon.
var hasty = patience{call: time.Minute, stall: time.Minute, rate: 1, backoff: time.Millisecond, attempts: 3, failures: 3, pause: time.Hour, absence: 20 * time.Second}

func newStore(t testing.TB) *cache.Store {
	t.Helper()
	s, err := cache.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// newLayer puts a layer with a file of size random bytes, and others, into the store.
func newLayer(t testing.TB, s *cache.Store, size int, seed uint64) cache.Layer {
	t.Helper()
	dir, release, err := s.NewRun("layer")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "bin"), 0o755),
		os.WriteFile(filepath.Join(dir, "bin", "tool"), b, 0o755),
		os.Symlink("tool", filepath.Join(dir, "bin", "link")),
		os.Chmod(filepath.Join(dir, "bin", "tool"), 0o4755),
	); err != nil {
		t.Fatal(err)
	}
	index, tar, err := cache.Capture(dir, cache.CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.CommitLayer(dir, index, tar)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newResult is a result with such a layer, and its key.
func newResult(t testing.TB, s *cache.Store, size int, seed uint64) (cache.Digest, cache.Result) {
	t.Helper()
	log, err := s.PutBytes(fmt.Appendf(nil, "log %d\n", seed))
	if err != nil {
		t.Fatal(err)
	}
	return cache.DigestOf(fmt.Appendf(nil, "action %d", seed)), cache.Result{
		Layer: newLayer(t, s, size, seed), Log: log, Seconds: 1.5, CPU: 2.25, Time: time.Unix(1e9, 0).UTC(),
	}
}

func open(t testing.TB, o Options) *Cache {
	t.Helper()
	if o.patience == (patience{}) {
		o.patience = hasty
	}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

const large = 3<<20 + 12345 // bytes: many messages

// conform is what every cache must do: what one store pushes another one gets, and nothing else.
func conform(t *testing.T, o Options) {
	ctx := context.Background()
	from, to := newStore(t), newStore(t)
	o.Store = from
	a := open(t, o)
	o.Store = to
	b := open(t, o)
	for i, size := range []int{0, 1000, large} {
		key, want := newResult(t, from, size, uint64(i))
		if _, err := b.Result(ctx, key); !errors.Is(err, cache.ErrNotFound) {
			t.Fatalf("before the push: %v, want that it is not found", err)
		}
		if err := b.PullLayer(ctx, want.Layer, nil); !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("the layer before the push: %v, want that it is not found", err)
		}
		source, err := from.PutBytes(bytes.Repeat([]byte("source"), 1+size/6))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time there is nothing to send
			if err := a.Push(ctx, key, want, [][]byte{[]byte("spec"), fmt.Appendf(nil, "script %d", size)}, []cache.Digest{source}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := b.Result(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		if got.Time = got.Time.UTC(); got != want {
			t.Errorf("pushed %+v, got %+v", want, got)
		}
		done := int64(0)
		if err := b.PullLayer(ctx, got.Layer, func(n int64) { done = n }); err != nil {
			t.Fatal(err)
		}
		if done != got.Layer.Tar.Size {
			t.Errorf("%d bytes are said to have come, of %d", done, got.Layer.Tar.Size)
		}
		if err := to.VerifyLayer(got.Layer); err != nil {
			t.Error(err)
		}
		for _, d := range []cache.Digest{got.Log, source, cache.DigestOf([]byte("spec"))} {
			if err := b.PullBlob(ctx, d); err != nil || !to.HasBlob(d) {
				t.Errorf("blob %s: %v", d, err)
			}
		}
	}
	key := cache.DigestOf([]byte("check"))
	if err := a.Push(ctx, key, cache.Result{}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Result(ctx, key); err != nil || got.Layer != (cache.Layer{}) {
		t.Errorf("a check that has passed: %+v, %v", got, err)
	}
	// Several at once.
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			key, want := newResult(t, from, 300_000, uint64(100+i))
			if err := a.Push(ctx, key, want, nil, nil); err != nil {
				t.Error(err)
			}
			if got, err := b.Result(ctx, key); err != nil || got.Layer != want.Layer {
				t.Errorf("%d: %v", i, err)
			}
			if err := b.PullLayer(ctx, want.Layer, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name    string
		scheme  string
		server  *cachetest.Server
		options Options
	}{
		{name: "grpc", scheme: "grpc", server: &cachetest.Server{}},
		{name: "zstd", scheme: "grpc", server: &cachetest.Server{Zstd: true}},
		{name: "instance", scheme: "grpc", server: &cachetest.Server{Instance: "team/main", Zstd: true}},
		{name: "small batches", scheme: "grpc", server: &cachetest.Server{Batch: 2000}},
		{name: "contents moved", scheme: "grpc", server: &cachetest.Server{Moves: true}},
		{name: "token", scheme: "grpc", server: &cachetest.Server{Authorization: "Bearer secret"}, options: Options{Token: "secret"}},
		{name: "basic", scheme: "grpc", server: &cachetest.Server{Authorization: "Basic dTpw"}, options: Options{User: "u", Password: "p"}},
		{name: "http", scheme: "http", server: &cachetest.Server{}},
		{name: "http, path", scheme: "http", server: &cachetest.Server{Instance: "team"}},
		{name: "http, basic", scheme: "http", server: &cachetest.Server{Authorization: "Basic dTpw"}, options: Options{User: "u", Password: "p"}},
		{name: "http, token", scheme: "http", server: &cachetest.Server{Authorization: "Bearer secret"}, options: Options{Token: "secret"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.server.Start(t, c.scheme)
			c.options.URL = c.server.URL
			signer := ed25519.NewKeyFromSeed(make([]byte, 32))
			c.options.Sign, c.options.Trust = signer, []Key{{Public: signer.Public().(ed25519.PublicKey)}}
			conform(t, c.options)
		})
	}
}

// TestReconnect: each attempt looks whether something listens now.
func TestReconnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var seen atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			seen.Add(1)
			c.Close()
		}
	}()
	p := hasty
	p.backoff = 50 * time.Millisecond
	c := open(t, Options{URL: "grpc://" + l.Addr().String(), Store: newStore(t), patience: p})
	if _, err := c.Check(context.Background()); err == nil {
		t.Error("no error")
	}
	if n := seen.Load(); n < 2 {
		t.Errorf("%d connections were tried in %d attempts", n, p.attempts)
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca := newCA(t, dir)
	server, client := ca.issue(t, "server"), ca.issue(t, "client")
	for _, scheme := range []string{"grpcs", "https"} {
		t.Run(scheme, func(t *testing.T) {
			pair, err := tls.LoadX509KeyPair(server+".crt", server+".key")
			if err != nil {
				t.Fatal(err)
			}
			s := cachetest.Server{TLS: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert}}
			s.Start(t, scheme)
			o := Options{URL: s.URL, CA: filepath.Join(dir, "ca.crt"), Cert: client + ".crt", Key: client + ".key"}
			conform(t, o)
			for what, o := range map[string]Options{
				"no client certificate": {URL: s.URL, CA: o.CA},
				"an unknown authority":  {URL: s.URL, Cert: o.Cert, Key: o.Key},
			} {
				o.Store = newStore(t)
				if _, err := open(t, o).Result(context.Background(), cache.DigestOf(nil)); err == nil {
					t.Errorf("%s: no error", what)
				}
			}
		})
	}
	if _, err := Open(Options{URL: "grpcs://localhost:1", CA: filepath.Join(dir, "server.key")}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("a key as the authority: %v", err)
	}
}

type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newCA(t *testing.T, dir string) *authority {
	a := &authority{dir: dir, pool: x509.NewCertPool()}
	a.issue(t, "ca")
	return a
}

// issue writes a certificate and its key, and returns their path without the endings. The first is the authority's.
func (a *authority) issue(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: a.cert == nil,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if a.cert == nil {
		a.cert, a.key = c, key
	}
	der, err := x509.CreateCertificate(crand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(a.dir, name)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.WriteFile(path+".crt", certPEM, 0o600),
		os.WriteFile(path+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)); err != nil {
		t.Fatal(err)
	}
	if c.IsCA {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		a.pool.AppendCertsFromPEM(certPEM)
	}
	return path
}

// shared is a server of each protocol with one result, and the store that has it.
func shared(t *testing.T, scheme string, s *cachetest.Server, size int) (key cache.Digest, r cache.Result, c *Cache) {
	t.Helper()
	s.Start(t, scheme)
	from := newStore(t)
	key, r = newResult(t, from, size, 7)
	if err := open(t, Options{URL: s.URL, Store: from}).Push(context.Background(), key, r, nil, nil); err != nil {
		t.Fatal(err)
	}
	return key, r, open(t, Options{URL: s.URL, Store: newStore(t)})
}

// TestResume: a connection that breaks again and again, after some bytes each time, is gone on with, whether or not the
// server honours the offset.
func TestResume(t *testing.T) {
	for _, c := range []struct {
		name, scheme string
		server       *cachetest.Server
	}{
		{"grpc", "grpc", &cachetest.Server{}},
		{"zstd", "grpc", &cachetest.Server{Zstd: true}},
		{"http", "http", &cachetest.Server{}},
		{"http, whole", "http", &cachetest.Server{IgnoresOffset: true}},
		{"grpc, whole", "grpc", &cachetest.Server{IgnoresOffset: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server
			_, r, b := shared(t, c.scheme, s, large)
			var cuts atomic.Int32
			s.Cut = func(string) int {
				switch n := cuts.Add(1); {
				case !s.IgnoresOffset:
					return 700_000
				case n == 1 || n == 2 || n == 4 || n == 6: // at every attempt's first read
					return 1_000_000
				}
				return -1
			}
			if err := b.PullLayer(context.Background(), r.Layer, nil); err != nil {
				t.Fatal(err)
			}
			if err := b.Store.VerifyLayer(r.Layer); err != nil {
				t.Error(err)
			}
			if n := cuts.Load(); n < 3 {
				t.Errorf("the blob was read in %d pieces: nothing was cut", n)
			}
		})
	}
}

// TestResumeUpload: an upload that breaks is gone on with, not begun again.
func TestResumeUpload(t *testing.T) {
	s := &cachetest.Server{}
	s.Start(t, "grpc")
	var cuts atomic.Int32
	s.Cut = func(call string) int {
		if call == "Write" && cuts.Add(1) < 3 {
			return int(cuts.Load()) * 1_200_000
		}
		return -1
	}
	from := newStore(t)
	key, r := newResult(t, from, large, 1)
	if err := open(t, Options{URL: s.URL, Store: from}).Push(context.Background(), key, r, nil, nil); err != nil {
		t.Fatal(err)
	}
	if s.Calls("QueryWriteStatus") != 2 {
		t.Errorf("asked %d times how far the upload was, want 2", s.Calls("QueryWriteStatus"))
	}
}

// TestWrongBytes: what a cache gives is verified; nothing of it stays if it is wrong.
func TestWrongBytes(t *testing.T) {
	for _, scheme := range []string{"grpc", "http"} {
		t.Run(scheme, func(t *testing.T) {
			s := &cachetest.Server{}
			_, r, b := shared(t, scheme, s, large)
			s.Corrupt(1)
			ctx := context.Background()
			if err := b.PullLayer(ctx, r.Layer, nil); !errors.Is(err, cache.ErrWrong) {
				t.Errorf("a layer with a wrong byte: %v", err)
			}
			if err := b.PullBlob(ctx, r.Log); !errors.Is(err, cache.ErrWrong) {
				t.Errorf("a blob with a wrong byte: %v", err)
			}
			if b.Store.HasLayer(r.Layer) || b.Store.HasBlob(r.Log) {
				t.Error("the store has what is wrong")
			}
			for _, kind := range []string{"layers", "blobs"} {
				if left, err := os.ReadDir(filepath.Join(b.Store.Dir(), kind)); err != nil || len(left) > 0 {
					t.Errorf("%v is left of it in %s (%v)", left, kind, err)
				}
			}
		})
	}
}

// TestForgetful: a result whose layer the server has lost is a miss.
func TestForgetful(t *testing.T) {
	for _, scheme := range []string{"grpc", "http"} {
		s := &cachetest.Server{}
		s.Forgetful.Store(true)
		key, _, b := shared(t, scheme, s, large)
		s.Forget(1 << 20)
		if _, err := b.Result(context.Background(), key); !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("%s: %v, want a miss", scheme, err)
		}
	}
}

// TestEmptyResult: no bytes at all are no word that something has passed.
func TestEmptyResult(t *testing.T) {
	for _, scheme := range []string{"grpc", "http"} {
		s := &cachetest.Server{}
		key, _, b := shared(t, scheme, s, large)
		s.Results(func(_ string, r *repb.ActionResult) { r.Reset() })
		if r, err := b.Result(context.Background(), key); err == nil || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("%s: %+v, %v", scheme, r, err)
		}
	}
}

// TestGivesUp: a cache that fails is left alone, and says so once.
func TestGivesUp(t *testing.T) {
	for name, fault := range map[string]func(call string) error{
		"unavailable": func(string) error { return status.Error(codes.Unavailable, "down for today") },
		"slow":        func(string) error { time.Sleep(300 * time.Millisecond); return nil },
		"picky": func(call string) error { // it answers, and the rest works
			if call == "BatchUpdateBlobs" {
				return status.Error(codes.InvalidArgument, "down for today")
			}
			return nil
		},
		"full": func(call string) error {
			if call == "BatchUpdateBlobs" || call == "Write" || call == "PUT" {
				return status.Error(codes.ResourceExhausted, "down for today")
			}
			return nil
		},
	} {
		for _, scheme := range []string{"grpc", "http"} {
			if name == "picky" && scheme == "http" {
				continue
			}
			t.Run(name+" "+scheme, func(t *testing.T) {
				s := &cachetest.Server{}
				s.Start(t, scheme)
				p := hasty
				if s.Fault = fault; name == "slow" {
					p.call = 50 * time.Millisecond
				}
				from := newStore(t)
				c := open(t, Options{URL: s.URL, Store: from, patience: p})
				said := 0
				for i := range 20 {
					key, r := newResult(t, from, 10, uint64(i))
					err := c.Push(context.Background(), key, r, nil, nil)
					var gaveUp *GaveUpError
					switch {
					case err == nil:
						t.Fatal("no error")
					case errors.As(err, &gaveUp):
						said++
						if name != "slow" && !strings.Contains(err.Error(), "down for today") && !strings.Contains(err.Error(), "503") {
							t.Errorf("it says %q", err)
						}
					case !errors.Is(err, cache.ErrNotFound):
						t.Errorf("%v is news", err)
					}
				}
				if said != 1 {
					t.Errorf("it said %d times that it gave up, want once", said)
				}
				sum := 0
				for _, call := range []string{"GetCapabilities", "FindMissingBlobs", "BatchUpdateBlobs", "Write", "PUT", "HEAD"} {
					sum += s.Calls(call)
				}
				if sum > 100 {
					t.Errorf("%d calls, for a cache that fails", sum)
				}
			})
		}
	}
}

// TestComesBack: after a pause a cache is asked again.
func TestComesBack(t *testing.T) {
	s := &cachetest.Server{}
	key, r, _ := shared(t, "grpc", s, 10)
	p := hasty
	p.pause = time.Nanosecond
	c := open(t, Options{URL: s.URL, Store: newStore(t), patience: p})
	var down atomic.Bool
	down.Store(true)
	s.Fault = func(string) error {
		if down.Load() {
			return status.Error(codes.Unavailable, "down")
		}
		return nil
	}
	said := 0
	for range 5 {
		_, err := c.Result(context.Background(), key)
		if err == nil {
			t.Fatal("no error")
		}
		if gaveUp := (*GaveUpError)(nil); errors.As(err, &gaveUp) {
			said++
		}
	}
	if said != 1 {
		t.Errorf("it said %d times that it gave up, want once", said)
	}
	down.Store(false)
	if got, err := c.Result(context.Background(), key); err != nil || got.Layer != r.Layer {
		t.Errorf("after it came back: %v", err)
	}
}

// TestStalls: a transfer in which nothing moves, or too little, ends.
func TestStalls(t *testing.T) {
	for name, c := range map[string]struct {
		pause time.Duration
		p     patience
		want  []error
	}{
		"no byte":    {time.Hour, patience{call: time.Minute, stall: 200 * time.Millisecond, rate: 1, attempts: 3, failures: 1, pause: time.Hour}, []error{errStalled}},
		"some bytes": {20 * time.Millisecond, patience{call: time.Minute, stall: 500 * time.Millisecond, rate: 1 << 40, attempts: 3, failures: 1, pause: time.Hour}, []error{errSlow, errStalled}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &cachetest.Server{}
			_, r, b := shared(t, "grpc", s, large)
			ended := make(chan struct{})
			defer close(ended)
			s.Chunk = func() {
				select {
				case <-time.After(c.pause):
				case <-ended:
				}
			}
			b.patience = c.p
			if err := b.PullLayer(context.Background(), r.Layer, nil); !slices.Contains(c.want, errors.Unwrap(err)) {
				t.Errorf("%v, want %v", err, c.want)
			}
			key := cache.DigestOf([]byte("x"))
			if _, err := b.Result(context.Background(), key); !errors.Is(err, ErrGaveUp) {
				t.Errorf("it still asks for results that it could not pull: %v", err)
			}
		})
	}
}

// TestCancel: who asked can give up, and that is not the cache's fault.
func TestCancel(t *testing.T) {
	s := &cachetest.Server{}
	key, _, b := shared(t, "grpc", s, 10)
	ctx, cancel := context.WithCancelCause(context.Background())
	mine := errors.New("mine")
	s.Fault = func(string) error { cancel(mine); time.Sleep(50 * time.Millisecond); return nil }
	if _, err := b.Result(ctx, key); err != mine {
		t.Errorf("%v, want the caller's own error", err)
	}
	s.Fault = nil
	if _, err := b.Result(context.Background(), key); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, scheme, want string
		server             *cachetest.Server
		options            Options
	}{
		{"read-only", "grpc", "the server takes no results from this client; pushing nothing more to it", &cachetest.Server{ReadOnly: true}, Options{}},
		{"read-only http", "http", "403 Forbidden to PUT; pushing nothing more to it", &cachetest.Server{ReadOnly: true}, Options{}},
		{"no token", "grpc", "Unauthenticated: who are you?; pushing nothing more to it", &cachetest.Server{Authorization: "Bearer x"}, Options{}},
		{"wrong token", "http", "401 Unauthorized to HEAD; pushing nothing more to it", &cachetest.Server{Authorization: "Bearer x"}, Options{Token: "y"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.server.Start(t, c.scheme)
			c.options.URL, c.options.Store = c.server.URL, newStore(t)
			b := open(t, c.options)
			key, r := newResult(t, b.Store, 10, 1)
			err := b.Push(context.Background(), key, r, nil, nil)
			if err == nil || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("it says %v, want …%s", err, c.want)
			}
			before := c.server.Calls("PUT") + c.server.Calls("HEAD") + c.server.Calls("GetCapabilities")
			if err := b.Push(context.Background(), key, r, nil, nil); !errors.Is(err, ErrGaveUp) {
				t.Errorf("the second time: %v", err)
			}
			if after := c.server.Calls("PUT") + c.server.Calls("HEAD") + c.server.Calls("GetCapabilities"); after != before {
				t.Error("it asks a server again that has refused")
			}
		})
	}
}

func TestTrust(t *testing.T) {
	mine, theirs := ed25519.NewKeyFromSeed(make([]byte, 32)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	public := func(k ed25519.PrivateKey) Key { return Key{Public: k.Public().(ed25519.PublicKey)} }
	for _, c := range []struct {
		name   string
		signer ed25519.PrivateKey
		change func(key string, r *repb.ActionResult)
		want   string // ""; it is believed
	}{
		{"trusted", mine, nil, ""},
		{"unsigned", nil, nil, "is not signed"},
		{"foreign", theirs, nil, "is signed with the key"},
		{"another layer", mine, func(_ string, r *repb.ActionResult) {
			for _, f := range r.OutputFiles {
				if f.Path == cache.TarFile {
					f.Digest.Hash = strings.Repeat("0", 64)
				}
			}
		}, "was altered"},
		{"another log", mine, func(_ string, r *repb.ActionResult) { r.StdoutDigest = nil }, "was altered"},
		{"signature of something else", mine, func(_ string, r *repb.ActionResult) {
			f := r.OutputFiles[len(r.OutputFiles)-1]
			f.Contents = bytes.Replace(f.Contents, []byte(`"sig":"`), []byte(`"sig":"AAAA`), 1)
		}, "wrong signature of the trusted key"},
		{"no JSON", mine, func(_ string, r *repb.ActionResult) {
			r.OutputFiles[len(r.OutputFiles)-1].Contents = []byte("{")
		}, "cannot be read"},
		{"failed", mine, func(_ string, r *repb.ActionResult) { r.ExitCode = 1 }, "of an action that failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &cachetest.Server{}
			s.Forgetful.Store(true)
			s.Start(t, "grpc")
			from := newStore(t)
			key, r := newResult(t, from, 10, 1)
			ctx := context.Background()
			if err := open(t, Options{URL: s.URL, Store: from, Sign: c.signer}).Push(ctx, key, r, nil, nil); err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				s.Results(c.change)
			}
			b := open(t, Options{URL: s.URL, Store: newStore(t), Trust: []Key{{Public: make([]byte, 32)}, public(mine)}})
			_, err := b.Result(ctx, key)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, cache.ErrNotFound) {
				t.Errorf("it says %v, want …%s…, as news", err, c.want)
			}
			if _, err := b.Result(ctx, key); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("the second time: %v, want a mere miss", err)
			}
		})
	}
	// A result that is signed for another action.
	s := &cachetest.Server{}
	s.Start(t, "grpc")
	from := newStore(t)
	key, r := newResult(t, from, 10, 1)
	a := open(t, Options{URL: s.URL, Store: from, Sign: mine})
	if err := a.Push(context.Background(), key, r, nil, nil); err != nil {
		t.Fatal(err)
	}
	encoded, err := a.backend.result(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	other := cache.DigestOf([]byte("other"))
	if err := a.backend.putResult(context.Background(), other, encoded); err != nil {
		t.Fatal(err)
	}
	b := open(t, Options{URL: s.URL, Store: newStore(t), Trust: []Key{public(mine)}})
	if _, err := b.Result(context.Background(), other); err == nil || !strings.Contains(err.Error(), "was altered") {
		t.Errorf("the result of another action: %v", err)
	}
}

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if k, err := ReadSigner(path); k != nil || err != nil {
		t.Errorf("without a file: %v, %v", k, err)
	}
	signer, err := NewSigner(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ReadSigner(path); err != nil || !again.Equal(signer) {
		t.Errorf("read another key than was written: %v", err)
	}
	k := Key{signer.Public().(ed25519.PublicKey), "me at home"}
	if again, err := ParseKey(k.String()); err != nil || again.String() != k.String() || again.Owner != k.Owner {
		t.Errorf("%v, %v, want %v", again, err, k)
	}
	for _, s := range []string{"", "ed25519:", "rsa:" + k.String()[8:], "ed25519:AAAA", k.String()[8:]} {
		if _, err := ParseKey(s); err == nil {
			t.Errorf("%q is a key", s)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSigner(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, u := range []string{"", "cache.example", "ftp://x", "grpc://", "grpc:///x", "://"} {
		if c, err := Open(Options{URL: u}); err == nil {
			t.Errorf("%q opens %v", u, c.Name())
		}
	}
	c, err := Open(Options{URL: "http://u:secret@localhost/x"})
	if err != nil || c.Name() != "http://localhost/x" || c.User != "u" || c.Password != "secret" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestMemory: a layer streams. Pushing and pulling one of 64 MB takes no more than half of that.
func TestMemory(t *testing.T) {
	s := &cachetest.Server{Zstd: false}
	from, to := newStore(t), newStore(t)
	key, r := newResult(t, from, 64<<20, 1)
	s.Start(t, "grpc")
	peak := func(f func()) uint64 {
		runtime.GC()
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		done := make(chan struct{})
		var most atomic.Uint64
		go func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
					runtime.GC()
					runtime.ReadMemStats(&now)
					most.Store(max(most.Load(), now.HeapAlloc))
				}
			}
		}()
		f()
		close(done)
		return most.Load() - min(most.Load(), before.HeapAlloc)
	}
	// The server is in this process, too, and holds what it is sent: only the pull can be measured.
	if err := open(t, Options{URL: s.URL, Store: from}).Push(context.Background(), key, r, nil, nil); err != nil {
		t.Fatal(err)
	}
	b := open(t, Options{URL: s.URL, Store: to})
	most := peak(func() {
		if err := b.PullLayer(context.Background(), r.Layer, nil); err != nil {
			t.Error(err)
		}
	})
	if most > 32<<20 {
		t.Errorf("pulling a layer of 64 MiB took %d MiB of memory", most>>20)
	}
}

// TestServe: what a store has others get from it, by both protocols, and nothing can be put there.
func TestServe(t *testing.T) {
	store := newStore(t)
	signer := ed25519.NewKeyFromSeed(make([]byte, 32))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- (&Server{Store: store, Sign: signer}).Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	key, want := newResult(t, store, large, 1)
	check := cache.DigestOf([]byte("check"))
	if err := errors.Join(store.PutResult(key, want), store.PutChecked(check, "//x")); err != nil {
		t.Fatal(err)
	}
	index, err := store.LoadIndex(want.Layer)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := index.TarSize(); err != nil || n != want.Layer.Tar.Size {
		t.Errorf("the tar has %d bytes (%v), want %d", n, err, want.Layer.Tar.Size)
	}
	for _, scheme := range []string{"grpc", "http"} {
		t.Run(scheme, func(t *testing.T) {
			c := open(t, Options{URL: scheme + "://" + l.Addr().String(), Store: newStore(t), Trust: []Key{{Public: signer.Public().(ed25519.PublicKey)}}})
			if _, err := c.Result(ctx, cache.DigestOf([]byte("other"))); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("another result: %v", err)
			}
			got, err := c.Result(ctx, key)
			if err != nil || got.Layer != want.Layer || got.Log != want.Log {
				t.Fatalf("%+v, %v, want %+v", got, err, want)
			}
			if got, err := c.Result(ctx, check); err != nil || got.Layer != (cache.Layer{}) {
				t.Errorf("the check: %+v, %v", got, err)
			}
			if err := c.PullLayer(ctx, got.Layer, nil); err != nil {
				t.Error(err)
			}
			if err := c.PullBlob(ctx, got.Log); err != nil {
				t.Error(err)
			}
			r := c.reader(ctx, got.Layer.Tar, func(int) {}) // from the middle on
			r.n = 1 << 20
			rest, err := io.ReadAll(r)
			if err != nil || int64(len(rest)) != got.Layer.Tar.Size-1<<20 {
				t.Errorf("%d bytes from the middle on, %v", len(rest), err)
			}
			if scheme == "grpc" {
				if err := c.PullBlob(ctx, got.Layer.Index); err != nil {
					t.Errorf("the index: %v", err)
				}
			}
			if err := c.Push(ctx, key, want, nil, nil); err == nil {
				t.Error("it takes results")
			}
		})
	}
}

// FuzzResult: whatever a server sends as a result, the client survives; and what it believes, it has read.
func FuzzResult(f *testing.F) {
	signer := ed25519.NewKeyFromSeed(make([]byte, 32))
	key := cache.DigestOf([]byte("key"))
	d := cache.DigestOf([]byte("x"))
	r := cache.Result{Layer: cache.Layer{Tar: d, Index: d}, Log: d, Seconds: 1, CPU: 1, Time: time.Unix(1e9, 0)}
	envelope, err := seal(signer, key, r)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range [][]byte{envelope, nil} {
		encoded, err := encode(r, text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	c, err := Open(Options{URL: "http://localhost:1", Trust: []Key{{Public: signer.Public().(ed25519.PublicKey)}}})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nothing is fetched
	f.Fuzz(func(t *testing.T, encoded []byte) {
		got, envelope, err := c.decode(ctx, encoded)
		if err == nil && c.believe(key, got, envelope) == nil && (got.Layer != r.Layer || got.Log != r.Log) {
			t.Errorf("%+v is believed, and was never signed", got)
		}
	})
}
