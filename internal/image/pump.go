package image

import (
	"errors"
	"io"
	"sync"
)

// pumpChunk and pumpDepth size the buffers between two stages of a pipeline: large enough that handing over costs
// nothing, few enough that a layer never lies in memory.
const (
	pumpChunk = 256 << 10
	pumpDepth = 8
)

var errPumpClosed = errors.New("image: pipeline closed")

// pump reads ahead in a goroutine of its own and shows every chunk to tap, so that hashing and unpacking keep two cores
// busy. What tap has seen is complete once Read has returned io.EOF. Close stops the reading and waits for it.
type pump struct {
	full chan []byte
	free chan []byte
	stop chan struct{}
	once sync.Once
	done chan struct{}

	err error // why full was closed; set before that
	cur []byte
	buf []byte
}

func newPump(r io.Reader, tap func([]byte) error) *pump {
	p := &pump{
		full: make(chan []byte, pumpDepth),
		free: make(chan []byte, pumpDepth),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	for range pumpDepth {
		p.free <- nil // made on first use: most layers are small
	}
	go p.run(r, tap)
	return p
}

func (p *pump) run(r io.Reader, tap func([]byte) error) {
	defer close(p.done)
	defer close(p.full)
	for {
		var buf []byte
		select {
		case <-p.stop:
			p.err = errPumpClosed
			return
		case buf = <-p.free:
		}
		if buf == nil {
			buf = make([]byte, pumpChunk)
		}
		n, err := fill(r, buf[:pumpChunk])
		if n > 0 {
			if terr := tap(buf[:n]); terr != nil {
				p.err = terr
				return
			}
			select {
			case <-p.stop:
				p.err = errPumpClosed
				return
			case p.full <- buf[:n]:
			}
		}
		if err != nil {
			p.err = err
			return
		}
	}
}

// fill reads until b is full. Unlike io.ReadFull it keeps the reader's own error, so that a stream cut short does not
// look like one that ended.
func fill(r io.Reader, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := r.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (p *pump) Read(b []byte) (int, error) {
	if len(p.cur) == 0 {
		if p.buf != nil {
			p.free <- p.buf[:pumpChunk]
			p.buf = nil
		}
		chunk, ok := <-p.full
		if !ok {
			return 0, p.err
		}
		p.cur, p.buf = chunk, chunk
	}
	n := copy(b, p.cur)
	p.cur = p.cur[n:]
	return n, nil
}

// Close ends the pump; it is safe to call more than once.
func (p *pump) Close() error {
	p.once.Do(func() { close(p.stop) })
	<-p.done
	return nil
}
