package sandbox

import (
	"cmp"
	"io"
	"os"
	"sync"
	"time"

	"longshore/internal/engine"
)

// logWriter keeps a container's output as frames in a file. Any number of readers may follow it.
type logWriter struct {
	mu      sync.Mutex
	grown   *sync.Cond
	path    string
	file    *os.File                              // nil until the first write
	buf     []byte                                // reused for encoding
	marks   map[engine.Stream]*engine.MarkScanner // by stream: what is kept even when nothing else is
	left    int64                                 // bytes of output that are still kept
	size    int64                                 // bytes of file
	dropped int64
	err     error // the first failed write; what follows counts as dropped
	closed  bool
}

// newLog keeps a log at path, within the bounds that the spec sets. The file is made when there is something to keep.
func newLog(path string, spec *engine.Spec) *logWriter {
	l := &logWriter{path: path, left: cmp.Or(spec.LogLimit, engine.DefaultLogLimit)}
	l.marks = map[engine.Stream]*engine.MarkScanner{engine.Stdout: {Mark: spec.LogMark}, engine.Stderr: {Mark: spec.LogMark}}
	l.grown = sync.NewCond(&l.mu)
	return l
}

// buffers are what pipes are read into; the kernel's pipes hold 64 KiB.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// copy reads a stream to its end. It goes on reading when nothing is kept any more, so that the container never stalls.
func (l *logWriter) copy(stream engine.Stream, r io.Reader) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	for {
		n, err := r.Read(*b)
		if n > 0 {
			l.append(stream, (*b)[:n])
		}
		if err != nil {
			return
		}
	}
}

func (l *logWriter) append(stream engine.Stream, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	marked := l.marks[stream].Scan(data)
	keep := min(int64(len(data)), l.left)
	l.left -= keep
	l.dropped += int64(len(data)) - keep
	if keep > 0 {
		l.write(stream, data[:keep])
	}
	if marked && keep < int64(len(data)) {
		l.write(stream, []byte(l.marks[stream].Mark))
	}
}

// write adds a frame; one that cannot be kept counts as dropped.
func (l *logWriter) write(stream engine.Stream, data []byte) {
	if l.err == nil && !l.closed && l.file == nil {
		l.file, l.err = os.OpenFile(l.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	}
	if l.err != nil || l.closed {
		l.dropped += int64(len(data))
		return
	}
	l.buf = engine.AppendFrame(l.buf[:0], engine.Frame{Stream: stream, Time: time.Now(), Data: data})
	n, err := l.file.Write(l.buf)
	if err != nil {
		l.err = err
		l.dropped += int64(len(data))
		// A frame that was cut short would make the whole log unreadable.
		if n > 0 && l.file.Truncate(l.size) != nil {
			l.size += int64(n)
		}
		return
	}
	l.size += int64(n)
	l.grown.Broadcast()
}

// close ends the log: readers that follow it reach its end.
func (l *logWriter) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		if l.file != nil {
			l.file.Close()
		}
		l.grown.Broadcast()
	}
}

func (l *logWriter) droppedBytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// logReader reads a log from its start.
type logReader struct {
	log    *logWriter
	follow bool
	file   *os.File // nil until there is something to read
	at     int64
	closed bool // guarded by log.mu
}

func (r *logReader) Read(p []byte) (int, error) {
	n, err := r.ready(len(p))
	if err != nil {
		return 0, err
	}
	n, err = r.file.Read(p[:n])
	r.at += int64(n)
	return n, err
}

// ready tells how many bytes can be read, at most max, and waits for some if the reader follows. Only whole frames count: the
// file may hold a part of one that is being written.
func (r *logReader) ready(max int) (int, error) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for r.follow && r.at >= l.size && !l.closed && !r.closed {
		l.grown.Wait()
	}
	if r.closed {
		return 0, os.ErrClosed
	}
	if r.at >= l.size {
		return 0, io.EOF
	}
	if r.file == nil {
		f, err := os.Open(l.path)
		if err != nil {
			return 0, err
		}
		r.file = f
	}
	return int(min(int64(max), l.size-r.at)), nil
}

// Close may be called while a Read waits, which it ends.
func (r *logReader) Close() error {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.closed {
		return os.ErrClosed
	}
	r.closed = true
	r.log.grown.Broadcast()
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
