package engine

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Stream tells which of its two outputs a container wrote to.
type Stream byte

// The streams.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// Frame is one piece of a log: what one read from one stream gave.
type Frame struct {
	Stream Stream
	Time   time.Time
	// Data is valid until the next call of Next.
	Data []byte
}

// frameHeader is the fixed part of a frame on disk: stream (1 byte), three zero bytes, length (uint32), Unix time in
// nanoseconds (int64), both big endian.
const frameHeader = 16

// maxFrame bounds the data of one frame, so that a damaged log cannot ask for unbounded memory.
const maxFrame = 1 << 20

// AppendFrame appends the encoded form of a frame to buf. Data longer than 1 MiB is split into several frames.
func AppendFrame(buf []byte, f Frame) []byte {
	data := f.Data
	for first := true; first || len(data) > 0; first = false {
		n := min(len(data), maxFrame)
		var h [frameHeader]byte
		h[0] = byte(f.Stream)
		binary.BigEndian.PutUint32(h[4:], uint32(n))
		binary.BigEndian.PutUint64(h[8:], uint64(f.Time.UnixNano()))
		buf = append(append(buf, h[:]...), data[:n]...)
		data = data[n:]
	}
	return buf
}

// LogReader decodes the frames of a log. It is not safe for concurrent use.
type LogReader struct {
	r   io.Reader
	buf []byte
}

// NewLogReader reads frames from r.
func NewLogReader(r io.Reader) *LogReader { return &LogReader{r: r} }

// Next returns the next frame, or io.EOF at the end of the log. A log that ends inside a frame is io.ErrUnexpectedEOF.
func (l *LogReader) Next() (Frame, error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(l.r, h[:]); err != nil {
		return Frame{}, err
	}
	n := binary.BigEndian.Uint32(h[4:])
	if n > maxFrame || (h[0] != byte(Stdout) && h[0] != byte(Stderr)) {
		return Frame{}, fmt.Errorf("engine: damaged log frame (stream %d, length %d)", h[0], n)
	}
	if cap(l.buf) < int(n) {
		l.buf = make([]byte, n)
	}
	data := l.buf[:n]
	if _, err := io.ReadFull(l.r, data); err != nil {
		return Frame{}, io.ErrUnexpectedEOF
	}
	return Frame{Stream: Stream(h[0]), Time: time.Unix(0, int64(binary.BigEndian.Uint64(h[8:]))), Data: data}, nil
}
