package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"vfsb/cache"
)

// plainHTTP speaks Bazel's protocol for HTTP servers: GET, PUT and HEAD of ac/SHA256 and cas/SHA256.
// https://bazel.build/remote/caching#http-caching
type plainHTTP struct {
	client *http.Client
	base   string // ends in a slash
	auth   string
}

// maxResult bounds an encoded result in bytes.
const maxResult = 4 << 20

func dialHTTP(u *url.URL, o Options) (*plainHTTP, error) {
	config, err := o.tls()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	transport.MaxIdleConnsPerHost = 16
	transport.DisableCompression = true // the digest is of the bytes as they are
	return &plainHTTP{client: &http.Client{Transport: transport}, base: strings.TrimSuffix(u.String(), "/") + "/", auth: o.authorization()}, nil
}

// tls is the configuration of TLS, with the files that o names.
func (o Options) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		text, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", o.CA)
		}
	}
	if o.Cert != "" || o.Key != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (b *plainHTTP) close() error {
	b.client.CloseIdleConnections()
	return nil
}

func (b *plainHTTP) keeps(context.Context) error { return nil }

// do makes a request; the caller closes the answer's body.
func (b *plainHTTP) do(ctx context.Context, method, name string, body io.Reader, size, offset int64) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, b.base+name, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "vfsb")
	if body != nil {
		r.ContentLength = size
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	if offset > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	if b.auth != "" {
		r.Header.Set("Authorization", b.auth)
	}
	answer, err := b.client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address, which the caller names
		}
		return nil, err
	}
	if code := answer.StatusCode; code < 200 || code > 299 {
		answer.Body.Close()
		err := fmt.Errorf("it answers %s to %s", answer.Status, method)
		switch {
		case code == http.StatusNotFound || code == http.StatusGone:
			return nil, errMissing
		case code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusMethodNotAllowed:
			return nil, fmt.Errorf("%w: %w", errRefused, err)
		case code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout:
			return nil, fmt.Errorf("%w: %w", errOnce, err)
		}
		return nil, err
	}
	return answer, nil
}

func (b *plainHTTP) result(ctx context.Context, key cache.Digest) ([]byte, error) {
	answer, err := b.do(ctx, http.MethodGet, "ac/"+key.Hex(), nil, 0, 0)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxResult))
	if err == nil && len(text) == maxResult {
		err = fmt.Errorf("%w: the result has more than %d bytes", errOnce, maxResult)
	}
	return text, err
}

func (b *plainHTTP) put(ctx context.Context, name string, body io.Reader, size int64) error {
	answer, err := b.do(ctx, http.MethodPut, name, body, size, 0)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func (b *plainHTTP) putResult(ctx context.Context, key cache.Digest, result []byte) error {
	return b.put(ctx, "ac/"+key.Hex(), bytes.NewReader(result), int64(len(result)))
}

// casName is the path of a blob.
func casName(d cache.Digest) string { return "cas/" + d.Hex() }

func (b *plainHTTP) missing(ctx context.Context, list []cache.Digest) ([]cache.Digest, error) {
	var group errgroup.Group
	group.SetLimit(8)
	var mu sync.Mutex
	var missing []cache.Digest
	for _, d := range list {
		group.Go(func() error {
			answer, err := b.do(ctx, http.MethodHead, casName(d), nil, 0, 0)
			if errors.Is(err, cache.ErrNotFound) {
				mu.Lock()
				defer mu.Unlock()
				missing = append(missing, d)
				return nil
			}
			if err != nil {
				return err
			}
			return answer.Body.Close()
		})
	}
	return missing, group.Wait()
}

func (b *plainHTTP) read(ctx context.Context, d cache.Digest, offset int64) (io.ReadCloser, error) {
	answer, err := b.do(ctx, http.MethodGet, casName(d), nil, 0, offset)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

func (b *plainHTTP) write(ctx context.Context, u *upload) error {
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := u.source(&movingWriter{out, u.moved})
		out.CloseWithError(err)
		done <- err
	}()
	err := b.put(ctx, casName(u.digest), in, u.digest.Size)
	in.CloseWithError(io.ErrClosedPipe)
	if local := <-done; local != nil && !errors.Is(local, io.ErrClosedPipe) {
		return &localError{local}
	}
	return err
}

type movingWriter struct {
	io.Writer
	moved func(int)
}

func (w *movingWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.moved(n)
	return n, err
}

func (b *plainHTTP) writeSmall(ctx context.Context, blobs [][]byte, moved func(int)) error {
	for _, text := range blobs {
		if err := b.put(ctx, casName(cache.DigestOf(text)), bytes.NewReader(text), int64(len(text))); err != nil {
			return err
		}
		moved(len(text))
	}
	return nil
}
