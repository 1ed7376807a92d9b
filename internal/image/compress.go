package image

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// compression names how a stream is compressed.
type compression string

const (
	plain      compression = ""
	gzipped    compression = "gzip"
	zstandard  compression = "zstd"
	bzipped    compression = "bzip2"
	xzipped    compression = "xz"
	sniffBytes             = 512
)

// sniff tells the compression of a stream by its first bytes.
func sniff(head []byte) compression {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzipped
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard
	case len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return zstandard // a skippable frame comes first
	case bytes.HasPrefix(head, []byte("BZh")):
		return bzipped
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return xzipped
	}
	return plain
}

// peekCompression wraps r so that its head can be looked at without losing it.
func peekCompression(r io.Reader) (*bufio.Reader, compression, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(sniffBytes)
	if err != nil && err != io.EOF {
		return nil, plain, err
	}
	return br, sniff(head), nil
}

// decompress returns a reader of what r holds. The caller closes it.
func decompress(r io.Reader, c compression) (io.ReadCloser, error) {
	switch c {
	case gzipped:
		return gzip.NewReader(r)
	case zstandard:
		// The window is bounded, because a hostile frame may ask for any.
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case bzipped:
		return io.NopCloser(bzip2.NewReader(r)), nil
	case xzipped:
		return unxz(r)
	case plain:
		return io.NopCloser(r), nil
	}
	return nil, &Error{Kind: KindUnsupported, What: string(c) + " compression", Why: "cannot be read here", Hint: "recompress with gzip or zstd"}
}
