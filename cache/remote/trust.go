package remote

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"vfsb/cache"
)

// A Key is a public key, and whose it is, for people.
type Key struct {
	Public ed25519.PublicKey
	Owner  string
}

const keyPrefix = "ed25519:"

// ParseKey reads what String returns: "ed25519:BASE64 OWNER", where the owner may be left out.
func ParseKey(s string) (Key, error) {
	text, owner, _ := strings.Cut(s, " ")
	encoded, ok := strings.CutPrefix(text, keyPrefix)
	b, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(b) != ed25519.PublicKeySize {
		return Key{}, fmt.Errorf("key %q: want %s and 44 characters of base64, as vfsb cache keygen prints it", s, keyPrefix)
	}
	return Key{b, strings.TrimSpace(owner)}, nil
}

func (k Key) String() string {
	return strings.TrimSpace(keyPrefix + base64.StdEncoding.EncodeToString(k.Public) + " " + k.Owner)
}

// ID is the name of a key in an envelope.
func (k Key) ID() string {
	h := sha256.Sum256(k.Public)
	return hex.EncodeToString(h[:8])
}

// ReadSigner reads a private key, in PEM form (PKCS #8), that only its owner can read. Without a file there is none.
func ReadSigner(path string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm()&0o077 != 0 {
		return nil, errors.Join(err, fmt.Errorf("others can read the private key %s; run chmod 600 on it", path))
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is no private key in PEM form", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := key.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s is no private key of ed25519 in the form PKCS #8", path)
	}
	return signer, nil
}

// NewSigner makes a private key and writes it to the new file path.
func NewSigner(path string) (ed25519.PrivateKey, error) {
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return signer, errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Close())
}

// An envelope is a statement with signatures.
// https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

const payloadType = "application/vnd.in-toto+json"

// statement is what is signed: that the action with this key gave this. It is made again from a result that comes in, and
// must be the same byte by byte, so nothing that is signed can differ from what is used. How long it took is not in it.
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
func statement(key cache.Digest, r cache.Result) ([]byte, error) {
	type subject struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	}
	s := struct {
		Type          string            `json:"_type"`
		Subject       []subject         `json:"subject"`
		PredicateType string            `json:"predicateType"`
		Predicate     map[string]string `json:"predicate"`
	}{
		Type:          "https://in-toto.io/Statement/v1",
		Subject:       []subject{{"action", map[string]string{"sha256": key.Hex()}}},
		PredicateType: "urn:vfsb:result:1",
		Predicate:     map[string]string{"action": key.String()},
	}
	for name, d := range map[string]cache.Digest{cache.TarFile: r.Layer.Tar, cache.IndexFile: r.Layer.Index, "log": r.Log} {
		if d.Size > 0 {
			s.Predicate[name] = d.String()
		}
	}
	if r.Layer.Tar.Size > 0 {
		s.Subject = append(s.Subject, subject{cache.TarFile, map[string]string{"sha256": r.Layer.Tar.Hex()}})
	}
	return json.Marshal(s)
}

// preAuthentication is what a signature of an envelope signs.
func preAuthentication(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// seal returns the envelope of a result, signed by signer; nil without one.
func seal(signer ed25519.PrivateKey, key cache.Digest, r cache.Result) ([]byte, error) {
	if signer == nil {
		return nil, nil
	}
	payload, err := statement(key, r)
	if err != nil {
		return nil, err
	}
	public := Key{Public: signer.Public().(ed25519.PublicKey)}
	return json.Marshal(envelope{payloadType, payload, []signature{{public.ID(), ed25519.Sign(signer, preAuthentication(payload))}}})
}

// believe returns a *doubtError unless somebody who is trusted has signed the result.
func (c *Cache) believe(key cache.Digest, r cache.Result, text []byte) error {
	if len(c.Trust) == 0 {
		return nil
	}
	if text == nil {
		return doubt("is not signed")
	}
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil || e.PayloadType != payloadType {
		return doubt("has a signature that cannot be read")
	}
	foreign := ""
	for _, s := range e.Signatures {
		for _, k := range c.Trust {
			if ed25519.Verify(k.Public, preAuthentication(e.Payload), s.Sig) {
				payload, err := statement(key, r)
				if err == nil && string(payload) != string(e.Payload) {
					err = doubt("was altered: its signature is of another one")
				}
				return err
			}
			if s.KeyID == k.ID() {
				return doubt("has a wrong signature of the trusted key " + s.KeyID)
			}
		}
		foreign = s.KeyID
	}
	if len(foreign) > 64 {
		foreign = foreign[:64]
	}
	return doubt(fmt.Sprintf("is signed with the key %q, which is not among those that the workspace trusts", foreign))
}

// A doubtError says why a result is not believed, or no result: a miss.
type doubtError struct{ reason string }

func doubt(reason string) error { return &doubtError{reason} }

func (e *doubtError) Error() string { return "what the cache has " + e.reason }

// tell returns the error once for each reason; later it is a mere miss.
func (c *Cache) tell(e *doubtError) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told[e.reason] {
		return &FailedError{e}
	}
	c.told[e.reason] = true
	return fmt.Errorf("cache %s: %w; it is built here, and so is whatever else it has like that", c.name, e)
}
