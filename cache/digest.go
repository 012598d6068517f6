// Package cache keeps what builds produce: blobs and layers by the digest of their content, results by the digest of the
// action that made them, and the history of each node. It turns a folder into a layer (Capture), a layer into a
// deterministic tar and back, and survives SIGKILL, a full disk and several processes at once.
//
// It knows nothing of labels, recipes, networks or sandboxes: keys and labels are opaque to it.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// A Digest names a blob by the SHA-256 and the size in bytes of its content. It is comparable; the zero value names
// nothing.
type Digest struct {
	Hash [32]byte
	Size int64
}

// String returns "<64 hex digits>/<size>", or "" for the zero value.
func (d Digest) String() string {
	if d == (Digest{}) {
		return ""
	}
	return string(d.append(nil))
}

// append appends the digest's text, "-" for the zero value, to b.
func (d Digest) append(b []byte) []byte {
	if d == (Digest{}) {
		return append(b, '-')
	}
	b = hex.AppendEncode(b, d.Hash[:])
	b = append(b, '/')
	return strconv.AppendInt(b, d.Size, 10)
}

// Hex returns the hash as 64 hex digits.
func (d Digest) Hex() string { return hex.EncodeToString(d.Hash[:]) }

// MarshalText returns the same as String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(b []byte) error {
	v, err := ParseDigest(string(b))
	if err == nil {
		*d = v
	}
	return err
}

// ParseDigest reads what String returns. It accepts nothing else: lower-case digits, no sign, no leading zero.
func ParseDigest(s string) (Digest, error) {
	if s == "" {
		return Digest{}, nil
	}
	h, n, _ := strings.Cut(s, "/")
	hash, ok := parseHash(h)
	size, ok2 := parseInt(n)
	d := Digest{hash, size}
	if !ok || !ok2 || d == (Digest{}) {
		return Digest{}, fmt.Errorf("digest %q: want 64 hex digits, a slash and a size", s)
	}
	return d, nil
}

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest { return Digest{sha256.Sum256(b), int64(len(b))} }

// DigestReader reads r to its end and returns the digest of what it read.
func DigestReader(r io.Reader) (Digest, error) {
	h := sha256.New()
	n, err := copyAll(h, r)
	if err != nil {
		return Digest{}, err
	}
	return Digest{sum(h), n}, nil
}

// A buffer is what files are read with. Most files are small, and a new buffer for each would be most of the garbage.
type buffer [128 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// copyAll is io.Copy with one of the buffers.
func copyAll(w io.Writer, r io.Reader) (int64, error) {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	return io.CopyBuffer(w, struct{ io.Reader }{r}, b[:])
}

// sum returns the state of a SHA-256 hash as an array.
func sum(h interface{ Sum([]byte) []byte }) (a [32]byte) {
	h.Sum(a[:0])
	return a
}

// parseHash reads exactly 64 lower-case hex digits.
func parseHash[S ~string | ~[]byte](s S) (h [32]byte, ok bool) {
	if len(s) != 64 {
		return h, false
	}
	for i := range h {
		a, b := unhex(s[2*i]), unhex(s[2*i+1])
		if a|b > 15 {
			return h, false
		}
		h[i] = a<<4 | b
	}
	return h, true
}

// unhex returns the value of a lower-case hex digit, 255 for any other byte.
func unhex(c byte) byte { return hexValues[c] }

var hexValues = func() (t [256]byte) {
	for c := range t {
		t[c] = 255
	}
	for v, c := range []byte("0123456789abcdef") {
		t[c] = byte(v)
	}
	return t
}()

// parseInt reads a number from 0 to 2^63-1 in its shortest decimal form.
func parseInt[S ~string | ~[]byte](s S) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 19 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return n, n >= 0
}
