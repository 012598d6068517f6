package cache

import (
	"archive/tar"
	"fmt"
	"io"
	"time"
)

// xattrRecord begins the keys of the PAX records that hold extended attributes, as GNU tar, star and bsdtar write them.
const xattrRecord = "SCHILY.xattr."

// WriteTar writes the layer's tar: one entry after the other in the order of the index, USTAR headers, PAX records only
// where USTAR cannot say it (long or non-ASCII names, large numbers, extended attributes), two zero blocks at the end.
// open returns the content of a file; WriteTar closes it, and fails if it has not the size of the entry.
func (x *Index) WriteTar(w io.Writer, open func(*Entry) (io.ReadCloser, error)) error {
	tw := tar.NewWriter(w)
	buf := make([]byte, 128<<10)
	for i := range x.Entries {
		e := &x.Entries[i]
		if err := tw.WriteHeader(header(e)); err != nil {
			return fmt.Errorf("tar %q: %w", e.Path, err)
		}
		if e.Kind != File || e.Size == 0 {
			continue
		}
		r, err := open(e)
		if err != nil {
			return err
		}
		// One byte more than the size tells a file that has grown. The struct hides ReadFrom and WriteTo.
		n, err := io.CopyBuffer(struct{ io.Writer }{tw}, struct{ io.Reader }{io.LimitReader(r, e.Size+1)}, buf)
		r.Close()
		if err == tar.ErrWriteTooLong || err == nil && n != e.Size {
			return fmt.Errorf("tar %q: content is not the %d bytes of the index", e.Path, e.Size)
		}
		if err != nil {
			return fmt.Errorf("tar %q: %w", e.Path, err)
		}
	}
	return tw.Close()
}

// TarSize returns the size of the layer's tar in bytes.
func (x *Index) TarSize() (int64, error) {
	var n counter
	err := x.WriteTar(&n, func(e *Entry) (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(zeroReader{}, e.Size)), nil })
	return int64(n), err
}

type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { return len(b), nil }

// header returns the tar header of an entry. Everything that is not set here is zero or empty in the tar.
func header(e *Entry) *tar.Header {
	h := &tar.Header{
		Name:    e.Path,
		Mode:    int64(e.Mode),
		Uid:     e.UID,
		Gid:     e.GID,
		ModTime: time.Unix(Epoch, 0),
	}
	switch e.Kind {
	case File:
		h.Typeflag = tar.TypeReg
		h.Size = e.Size
	case Dir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case Symlink:
		h.Typeflag = tar.TypeSymlink
		h.Linkname = e.Link
	case Hardlink:
		h.Typeflag = tar.TypeLink
		h.Linkname = e.Link
	case Fifo:
		h.Typeflag = tar.TypeFifo
	}
	if len(e.Xattrs) > 0 {
		h.PAXRecords = make(map[string]string, len(e.Xattrs))
		for name, value := range e.Xattrs {
			h.PAXRecords[xattrRecord+name] = value
		}
	}
	return h
}
