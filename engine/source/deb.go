package source

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"
)

// openDeb finds the data member of a .deb, an ar archive (deb(5)): debian-binary, control.tar.*, data.tar.*. It returns
// the uncompressed tar. The caller closes it.
func openDeb(in io.ReaderAt, size int64) (io.ReadCloser, error) {
	const magic = "!<arch>\n"
	head := make([]byte, 60)
	if _, err := in.ReadAt(head[:len(magic)], 0); err != nil || string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("not a Debian package: no ar archive")
	}
	offset := int64(len(magic))
	for n := 0; offset < size; n++ {
		if _, err := in.ReadAt(head, offset); err != nil {
			return nil, fmt.Errorf("ar member %d: cut off", n)
		}
		name := strings.TrimSuffix(strings.TrimRight(string(head[:16]), " "), "/")
		length, err := strconv.ParseUint(strings.TrimRight(string(head[48:58]), " "), 10, 62)
		if err != nil || string(head[58:60]) != "`\n" {
			return nil, fmt.Errorf("ar member %d: odd header", n)
		}
		offset += 60
		if int64(length) > size-offset {
			return nil, fmt.Errorf("ar member %q: %d bytes, but %d are left", name, length, size-offset)
		}
		body := io.NewSectionReader(in, offset, int64(length))
		offset += int64(length) + int64(length)%2
		switch {
		case n == 0:
			b := make([]byte, 4)
			if _, err := io.ReadFull(body, b); name != "debian-binary" || err != nil || !bytes.HasPrefix(b, []byte("2.")) {
				return nil, fmt.Errorf("not a Debian package of format 2")
			}
		case strings.HasPrefix(name, "data.tar"):
			return Decompress(body)
		case strings.HasPrefix(name, "control.tar"), strings.HasPrefix(name, "_"):
		default:
			return nil, fmt.Errorf("unknown ar member %q", name)
		}
	}
	return nil, fmt.Errorf("no data member")
}

// maxWindow bounds the memory that a compressed stream can ask for. xz -9 wants 64 MiB, zstd --long 128 MiB.
const maxWindow = 128 << 20

// unread are the first bytes of what is often taken for a tarball of a kind that Decompress reads.
var unread = map[string]string{
	"\x04\x22\x4d\x18": "compressed with lz4",
	"LZIP":             "compressed with lzip",
	"PK\x03\x04":       "a zip archive",
	"7z\xbc\xaf":       "a 7z archive",
	"hsqs":             "a squashfs image",
}

// Decompress tells the compression from the first bytes: gzip, xz, zstd, bzip2 or none. The caller closes the reader.
func Decompress(in io.Reader) (io.ReadCloser, error) {
	r := bufio.NewReaderSize(in, 256<<10)
	head, err := r.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzip.NewReader(r)
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		x, err := xz.NewReader(r, maxWindow)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case bytes.HasPrefix(head, []byte("BZh")):
		return io.NopCloser(bzip2.NewReader(r)), nil
	}
	if what, ok := unread[string(head[:min(4, len(head))])]; ok {
		return nil, fmt.Errorf("it is %s; vfsb reads tar, as it is or compressed with gzip, xz, zstd or bzip2", what)
	}
	return io.NopCloser(r), nil
}
