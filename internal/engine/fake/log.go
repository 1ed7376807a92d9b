package fake

import (
	"cmp"
	"io"
	"os"
	"sync"
	"time"

	"longshore/internal/engine"
)

// log is a container's output as encoded frames.
type log struct {
	mu      sync.Mutex
	grown   *sync.Cond
	data    []byte
	marks   map[engine.Stream]*engine.MarkScanner
	left    int64
	dropped int64
	closed  bool
}

func newLog(spec engine.Spec) *log {
	l := &log{left: cmp.Or(spec.LogLimit, engine.DefaultLogLimit)}
	l.marks = map[engine.Stream]*engine.MarkScanner{engine.Stdout: {Mark: spec.LogMark}, engine.Stderr: {Mark: spec.LogMark}}
	l.grown = sync.NewCond(&l.mu)
	return l
}

func (l *log) append(stream engine.Stream, text string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	marked := l.marks[stream].Scan([]byte(text))
	keep := min(int64(len(text)), l.left)
	l.left -= keep
	l.dropped += int64(len(text)) - keep
	if keep > 0 {
		l.data = engine.AppendFrame(l.data, engine.Frame{Stream: stream, Time: now, Data: []byte(text[:keep])})
	}
	if marked && keep < int64(len(text)) {
		l.data = engine.AppendFrame(l.data, engine.Frame{Stream: stream, Time: now, Data: []byte(l.marks[stream].Mark)})
	}
	l.grown.Broadcast()
}

func (l *log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.grown.Broadcast()
}

func (l *log) droppedBytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

type logReader struct {
	log    *log
	follow bool
	at     int
	closed bool // guarded by log.mu
}

func (r *logReader) Read(p []byte) (int, error) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for r.follow && r.at == len(l.data) && !l.closed && !r.closed {
		l.grown.Wait()
	}
	if r.closed {
		return 0, os.ErrClosed
	}
	if r.at == len(l.data) {
		return 0, io.EOF
	}
	n := copy(p, l.data[r.at:])
	r.at += n
	return n, nil
}

func (r *logReader) Close() error {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.closed {
		return os.ErrClosed
	}
	r.closed = true
	r.log.grown.Broadcast()
	return nil
}
