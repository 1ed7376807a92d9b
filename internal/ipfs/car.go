package ipfs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A CAR archive (version 1) is a header with the roots, in CBOR, and then blocks, each behind its CID; header and blocks begin
// with their length. The header of an archive with one root is always this, with the binary CID at the gap.
const (
	headerFront = "\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"
	headerBack  = "\x67version\x01"
)

func header(root CID) []byte {
	text := headerFront + string(root.bytes()) + headerBack
	return append(binary.AppendUvarint(nil, uint64(len(text))), text...)
}

// CARWriter writes the blocks of one folder as a CAR archive, every block once, in the order in which they are made. Equal
// folders give equal archives.
type CARWriter struct {
	to      io.WriteSeeker
	buf     *bufio.Writer
	written map[CID]bool
	err     error
}

// NewCARWriter writes to the beginning of a file.
func NewCARWriter(to io.WriteSeeker) *CARWriter {
	w := &CARWriter{to: to, buf: bufio.NewWriterSize(to, 64<<10), written: map[CID]bool{}}
	_, w.err = w.buf.Write(header(CID{codec: codecDagPB})) // the root is known at the end
	return w
}

// WriteBlock implements BlockWriter.
func (w *CARWriter) WriteBlock(c CID, block []byte) error {
	if w.err != nil || w.written[c] {
		return w.err
	}
	w.written[c] = true
	name := c.bytes()
	head := append(binary.AppendUvarint(nil, uint64(len(name)+len(block))), name...)
	for _, b := range [][]byte{head, block} {
		if w.err == nil {
			_, w.err = w.buf.Write(b)
		}
	}
	return w.err
}

// Finish completes the archive with its root. It does not close the file.
func (w *CARWriter) Finish(root CID) error {
	if w.err == nil {
		w.err = w.buf.Flush()
	}
	if w.err == nil {
		_, w.err = w.to.Seek(0, io.SeekStart)
	}
	if w.err == nil {
		_, w.err = w.to.Write(header(root))
	}
	return w.err
}

// Limits of what a stranger's archive may hold.
const (
	// maxBlock is the size above which nodes do not exchange blocks.
	maxBlock = 2 << 20
	maxRoots = 16
	// maxBlocks bounds the index in memory.
	maxBlocks = 1 << 20
)

// CAR is an opened archive, all of whose blocks have been checked against their CIDs. It is safe for concurrent use.
type CAR struct {
	// Roots are the folders that the archive says it holds.
	Roots  []CID
	from   io.ReaderAt
	blocks map[[digestSize]byte]span
	// largest is the size of the largest block.
	largest int
}

// span is where a block lies.
type span struct {
	at   int64
	size int
}

// pragma is what an archive of version 2 begins with: a header of version 1 that says "2". Where the archive of version 1 lies
// in it is said behind: 16 bytes of flags, then offset and length.
const pragma = "\x0a\xa1\x67version\x02"

// OpenCAR reads an archive of version 1 or 2 once from the beginning to the end. It refuses blocks that are not what their CID
// says, and anything that is not well-formed. The file must stay open and unchanged while the CAR is used.
func OpenCAR(ctx context.Context, from io.ReaderAt, size int64) (*CAR, error) {
	inner, err := unwrapV2(from, size)
	if err != nil {
		return nil, err
	}
	_, base, length := inner.Outer()
	r := &counter{r: bufio.NewReaderSize(inner, 64<<10), at: base}
	c := &CAR{from: from, blocks: map[[digestSize]byte]span{}}
	if c.Roots, err = readHeader(r, length); err != nil {
		return nil, fmt.Errorf("it is no CAR archive: %w", err)
	}
	var buf []byte
	for {
		start := r.at
		if buf, err = r.section(buf, maxBlock+64); errors.Is(err, io.EOF) {
			return c, nil
		}
		if err == nil {
			err = c.add(buf, r.at)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("block %d of the archive, at byte %d: %w", len(c.blocks)+1, start, err)
		}
	}
}

func unwrapV2(from io.ReaderAt, size int64) (*io.SectionReader, error) {
	var head [len(pragma) + 40]byte
	if n, _ := from.ReadAt(head[:], 0); n < len(head) || !bytes.HasPrefix(head[:], []byte(pragma)) {
		return io.NewSectionReader(from, 0, size), nil
	}
	at, length := binary.LittleEndian.Uint64(head[len(pragma)+16:]), binary.LittleEndian.Uint64(head[len(pragma)+24:])
	if at < uint64(len(head)) || at > uint64(size) || length > uint64(size)-at {
		return nil, fmt.Errorf("its header says that the blocks lie at byte %d and are %d bytes long, and it has %d", at, length, size)
	}
	return io.NewSectionReader(from, int64(at), int64(length)), nil
}

// add checks the section that ends at a place in the archive, and notes its block.
func (c *CAR) add(section []byte, end int64) error {
	name, block, err := readCID(section)
	if err != nil {
		return err
	}
	if len(block) > maxBlock {
		return fmt.Errorf("a block of %d bytes, and %d are possible", len(block), maxBlock)
	}
	if got := sum(block); got.Digest != name.Digest {
		return fmt.Errorf("its bytes have the sha2-256 digest %x, its CID says %x", got.Digest, name.Digest)
	}
	if len(c.blocks) == maxBlocks {
		return fmt.Errorf("more than %d blocks", maxBlocks)
	}
	c.blocks[name.Digest] = span{at: end - int64(len(block)), size: len(block)}
	c.largest = max(c.largest, len(block))
	return nil
}

// node reads a block of the archive into buf, which the largest one fits into.
func (c *CAR) node(id CID, buf []byte) (*node, error) {
	s, ok := c.blocks[id.Digest]
	if !ok {
		return nil, fmt.Errorf("the block %s is missing", id)
	}
	if got, err := c.from.ReadAt(buf[:s.size], s.at); got < s.size {
		return nil, err
	}
	if got := sum(buf[:s.size]); got.Digest != id.Digest {
		return nil, fmt.Errorf("the block %s changed while it was read", id)
	}
	n, err := decode(id, buf[:s.size])
	if err != nil {
		return nil, fmt.Errorf("the block %s cannot be used: %w", id, err)
	}
	return n, nil
}

// counter reads an archive and knows where it is.
type counter struct {
	r  *bufio.Reader
	at int64
}

// section reads what comes next, behind its length, into buf. io.EOF is the end of the archive.
func (c *counter) section(buf []byte, limit uint64) ([]byte, error) {
	size, n, err := c.length()
	switch {
	case errors.Is(err, io.EOF) && n == 0:
		return nil, io.EOF
	case err != nil:
		return nil, errors.New("its length cannot be read")
	case size == 0 || size > limit:
		return nil, fmt.Errorf("its length is %d bytes, and may be 1 to %d", size, limit)
	}
	if uint64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	got, err := io.ReadFull(c.r, buf)
	c.at += int64(got)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the archive ends after %d of its %d bytes", got, size)
	}
	return buf, err
}

// length reads a varint and says how many bytes of it were there.
func (c *counter) length() (uint64, int, error) {
	var raw []byte
	for len(raw) < binary.MaxVarintLen64 {
		b, err := c.r.ReadByte()
		if err != nil {
			return 0, len(raw), err
		}
		c.at++
		if raw = append(raw, b); b < 0x80 {
			break
		}
	}
	v, _, err := uvarint(raw)
	return v, len(raw), err
}
