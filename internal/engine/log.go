package engine

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
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
	// Attempt tells apart what several containers wrote to one log, one after the other; zero where there was but one. It has 16
	// bits: larger ones count as the largest.
	Attempt int
	// Data is valid until the next call of Next.
	Data []byte
}

// frameHeader is the fixed part of a frame on disk: stream (1 byte), a zero byte, attempt (uint16), length (uint32), Unix time in
// nanoseconds (int64), all big endian.
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
		binary.BigEndian.PutUint16(h[2:], uint16(min(f.Attempt, math.MaxUint16)))
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
	return Frame{
		Stream: Stream(h[0]), Attempt: int(binary.BigEndian.Uint16(h[2:])), Time: time.Unix(0, int64(binary.BigEndian.Uint64(h[8:]))), Data: data,
	}, nil
}

// WholeFrames is how many bytes of a log are whole frames: a writer that died may have left the last one cut short.
func WholeFrames(r io.Reader) (n int64) {
	for frames := NewLogReader(bufio.NewReader(r)); ; {
		f, err := frames.Next()
		if err != nil {
			return n
		}
		n += frameHeader + int64(len(f.Data))
	}
}
