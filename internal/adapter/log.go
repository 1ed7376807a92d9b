package adapter

import (
	"io"
	"sync"
	"time"

	"longshore/internal/engine"
)

// frameLog keeps what a program writes, for those who read it from the beginning, and passes it on.
type frameLog struct {
	limit int64

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	data    []byte
	size    int64 // of the output itself
	dropped int64
	closed  bool
}

func newFrameLog(limit int64) *frameLog {
	if limit <= 0 {
		limit = adapterLog
	}
	return &frameLog{limit: limit, changed: make(chan struct{})}
}

// adapterLog bounds the log of one run, which is kept in memory: 8 MiB. All of it goes to the platform as it comes.
const adapterLog = 8 << 20

// writer returns where one stream of the program is written to; pass receives it too.
func (l *frameLog) writer(s engine.Stream, pass io.Writer) io.Writer { return streamWriter{l, s, pass} }

type streamWriter struct {
	log    *frameLog
	stream engine.Stream
	pass   io.Writer
}

func (w streamWriter) Write(data []byte) (int, error) {
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = w.pass.Write(data) // a platform that reads no output does not stop the task
	kept := data[:min(int64(len(data)), max(0, l.limit-l.size))]
	l.dropped += int64(len(data) - len(kept))
	if len(kept) > 0 {
		l.size += int64(len(kept))
		l.data = engine.AppendFrame(l.data, engine.Frame{Stream: w.stream, Time: time.Now(), Data: kept})
	}
	l.notify()
	return len(data), nil
}

func (l *frameLog) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// close ends the log and tells how many bytes were not kept.
func (l *frameLog) close() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.notify()
	}
	return l.dropped
}

// reader reads from the beginning; with follow it waits for more until the log ends or over is closed.
func (l *frameLog) reader(follow bool, over <-chan struct{}) io.ReadCloser {
	return &logReader{log: l, follow: follow, over: over, gone: make(chan struct{})}
}

type logReader struct {
	log    *frameLog
	follow bool
	over   <-chan struct{}
	at     int
	gone   chan struct{}
	once   sync.Once
}

func (r *logReader) Read(p []byte) (int, error) {
	for {
		r.log.mu.Lock()
		n, closed, changed := copy(p, r.log.data[r.at:]), r.log.closed, r.log.changed
		r.log.mu.Unlock()
		r.at += n
		if n > 0 {
			return n, nil
		}
		if closed || !r.follow {
			return 0, io.EOF
		}
		select {
		case <-changed:
		case <-r.over:
			return 0, io.EOF
		case <-r.gone:
			return 0, io.EOF
		}
	}
}

func (r *logReader) Close() error {
	r.once.Do(func() { close(r.gone) })
	return nil
}
