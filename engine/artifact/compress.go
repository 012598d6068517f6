package artifact

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"vfsb/cache"
)

// WriteTarZst writes the tar of x, compressed with zstd. The bytes depend on x and the files' bytes alone: one encoder
// goroutine, a level and a window that are fixed here rather than by the library's defaults, and blocks that do not
// depend on how the reader splits the bytes. A file that was begun and then failed has no end mark, and does not unpack.
func WriteTarZst(w io.Writer, x *cache.Index, open func(*cache.Entry) (io.ReadCloser, error)) error {
	z, err := zstd.NewWriter(w,
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithWindowSize(8<<20), // what every decoder must accept (RFC 8878, section 3.1.1.1.2)
		zstd.WithEncoderCRC(true),
		zstd.WithSingleSegment(false),
	)
	if err != nil {
		return fmt.Errorf("write tar.zst: %w", err)
	}
	c := &chunker{w: z}
	if err := x.WriteTar(c, open); err != nil {
		return fmt.Errorf("write tar.zst: %w", err)
	}
	if err := c.flush(); err != nil {
		return fmt.Errorf("write tar.zst: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write tar.zst: %w", err)
	}
	return nil
}

// chunkSize is the largest block of a zstd frame.
const chunkSize = 128 << 10

// A chunker hands its input on in pieces of chunkSize bytes, so that a compressor sees the same calls however the input
// was cut: no library promises that its output does not depend on them.
type chunker struct {
	w   io.Writer
	n   int
	buf [chunkSize]byte
}

func (c *chunker) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := copy(c.buf[c.n:], p)
		c.n += n
		p = p[n:]
		if c.n == chunkSize {
			if err := c.flush(); err != nil {
				return total - len(p), err
			}
		}
	}
	return total, nil
}

// flush writes what is left. It is the last call.
func (c *chunker) flush() error {
	_, err := c.w.Write(c.buf[:c.n])
	c.n = 0
	return err
}
