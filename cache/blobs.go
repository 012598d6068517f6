package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// PutBlob stores what r gives, up to its end, and returns its digest.
func (s *Store) PutBlob(r io.Reader) (Digest, error) {
	d, err := s.putBlob(r)
	if err != nil {
		return Digest{}, fmt.Errorf("put blob: %w", err)
	}
	return d, nil
}

// PutBytes stores b. It writes nothing if the store has it: who needs it then pins it first.
func (s *Store) PutBytes(b []byte) (Digest, error) {
	if d := DigestOf(b); s.HasBlob(d) {
		return d, nil
	}
	return s.PutBlob(bytes.NewReader(b))
}

// PutFile stores a copy of the file path. It writes nothing if the store has it.
func (s *Store) PutFile(path string) (Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return Digest{}, fmt.Errorf("put blob: %w", err)
	}
	defer f.Close()
	d, err := DigestReader(f)
	if err == nil {
		err = s.Pin(nil, []Digest{d})
	}
	if err == nil && s.HasBlob(d) {
		return d, nil
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		d, err = s.putBlob(f)
	}
	if err != nil {
		return Digest{}, fmt.Errorf("put blob of %s: %w", path, err)
	}
	return d, nil
}

func (s *Store) putBlob(r io.Reader) (Digest, error) {
	tmp, err := s.temp("blob")
	if err != nil {
		return Digest{}, err
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return Digest{}, err
	}
	defer os.Remove(tmp)
	h := sha256.New()
	n, err := copyAll(io.MultiWriter(f, h), r)
	if err := errors.Join(err, f.Close()); err != nil {
		return Digest{}, err
	}
	d := Digest{sum(h), n}
	return d, s.AdoptFile(tmp, d)
}

// AdoptFile makes the file tmp, which lies on the store's file system and is known to have the digest d, a blob of the
// store by renaming it; a blob that exists already stays and tmp goes. The file becomes read-only.
func (s *Store) AdoptFile(tmp string, d Digest) error {
	fi, err := os.Lstat(tmp)
	if err != nil {
		return fmt.Errorf("adopt blob: %w", err)
	}
	if !fi.Mode().IsRegular() || fi.Size() != d.Size {
		return fmt.Errorf("adopt blob: %s is not a file of %d bytes", tmp, d.Size)
	}
	if err := errors.Join(os.Chmod(tmp, 0o444), s.Pin(nil, []Digest{d})); err != nil {
		return fmt.Errorf("adopt blob: %w", err)
	}
	path := s.BlobPath(d)
	if fi, err := os.Lstat(path); err == nil && fi.Size() != d.Size { // somebody cut it
		if err := s.discard(path); err != nil {
			return fmt.Errorf("adopt blob: %w", err)
		}
	}
	err = s.place(tmp, path, 'b', d.Hex())
	if errors.Is(err, fs.ErrExist) {
		return os.Remove(tmp)
	}
	if err != nil {
		return fmt.Errorf("adopt blob: %w", err)
	}
	return nil
}

// HasBlob reports whether the store holds the blob.
func (s *Store) HasBlob(d Digest) bool {
	got, ok := s.FindBlob(d.Hex())
	return ok && got == d
}

// BlobPath returns where the blob lies if the store holds it. Nobody may write there.
func (s *Store) BlobPath(d Digest) string { return s.blobPath(d.Hex()) }

func (s *Store) blobPath(hex string) string { return filepath.Join(s.dir, "blobs", hex[:2], hex) }

// OpenBlob opens a blob for reading. The error wraps ErrNotFound if the store does not hold it.
func (s *Store) OpenBlob(d Digest) (*os.File, error) {
	f, err := os.Open(s.BlobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", d, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || fi.Size() != d.Size {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("blob %s: %w: its file has another size", d, ErrNotFound))
	}
	return f, nil
}

// ExportBlob writes a blob to w.
func (s *Store) ExportBlob(d Digest, w io.Writer) error {
	f, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// FindBlob returns the digest of the blob whose SHA-256 is sha256hex, for those who do not know the size.
func (s *Store) FindBlob(sha256hex string) (Digest, bool) {
	hash, ok := parseHash(sha256hex)
	if !ok {
		return Digest{}, false
	}
	fi, err := os.Lstat(s.blobPath(sha256hex))
	if err != nil || !fi.Mode().IsRegular() {
		return Digest{}, false
	}
	return Digest{hash, fi.Size()}, true
}

// recoverBlob removes the blob if its content is not what its name says.
func (s *Store) recoverBlob(hash [32]byte) error {
	path := s.blobPath(hex.EncodeToString(hash[:]))
	f, err := os.Open(path)
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	d, err := DigestReader(f)
	f.Close()
	if err != nil || d.Hash != hash {
		return s.discard(path)
	}
	return nil
}
