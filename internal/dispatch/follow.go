package dispatch

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"longshore/internal/engine"
)

// follower reads a container's log from byte 0 while it runs: it writes the plain log files, watches for the ready mark,
// and keeps the end for messages.
type follower struct {
	mark     []byte
	observe  Observer
	dir      string
	source   io.ReadCloser
	ready    chan struct{} // closed when the mark was seen on stdout
	done     chan struct{} // closed when the log has ended
	stopOnce sync.Once

	mu     sync.Mutex
	recent []byte // the last bytes of both streams
	stdout int64  // bytes seen
	onErr  bool   // the mark was seen on stderr
	err    error  // what kept the log files from being written
}

// startFollower begins to follow; dir gets the files log, stdout and stderr.
func startFollower(ctx context.Context, e engine.Engine, h engine.Handle, dir, mark string, o Observer) (*follower, error) {
	source, err := e.Logs(context.WithoutCancel(ctx), h, true)
	if err != nil {
		return nil, err
	}
	f := &follower{mark: []byte(mark), observe: o, dir: dir, source: source, ready: make(chan struct{}), done: make(chan struct{})}
	go f.follow()
	return f, nil
}

// stop ends following and waits for it. Safe to call more than once.
func (f *follower) stop() {
	f.stopOnce.Do(func() { f.source.Close() })
	<-f.done
}

func (f *follower) follow() {
	defer close(f.done)
	files := map[engine.Stream]*bufio.Writer{}
	for s, name := range map[engine.Stream]string{0: "log", engine.Stdout: "stdout", engine.Stderr: "stderr"} {
		file, err := os.OpenFile(filepath.Join(f.dir, name), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
		if err != nil {
			f.fail(err)
			return
		}
		defer file.Close()
		w := bufio.NewWriter(file)
		defer func() { f.fail(w.Flush()) }()
		files[s] = w
	}
	marks := map[engine.Stream]*markScanner{engine.Stdout: {mark: f.mark}, engine.Stderr: {mark: f.mark}}
	frames := engine.NewLogReader(f.source)
	for {
		fr, err := frames.Next()
		if err != nil {
			return // the end of the log, or the follower was stopped
		}
		_, err = files[0].Write(fr.Data)
		f.fail(err)
		_, err = files[fr.Stream].Write(fr.Data)
		f.fail(err)
		f.remember(fr)
		if len(f.mark) > 0 && marks[fr.Stream].scan(fr.Data) {
			f.markSeen(fr.Stream)
		}
		if f.observe != nil {
			f.observe.Logged(fr.Stream, fr.Data)
		}
	}
}

func (f *follower) fail(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *follower) remember(fr engine.Frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fr.Stream == engine.Stdout {
		f.stdout += int64(len(fr.Data))
	}
	f.recent = append(f.recent, fr.Data...)
	if n := len(f.recent) - 2*tailBytes; n > 8*tailBytes {
		f.recent = append(f.recent[:0], f.recent[n:]...)
	}
}

func (f *follower) markSeen(s engine.Stream) {
	if s == engine.Stderr {
		f.mu.Lock()
		f.onErr = true
		f.mu.Unlock()
		return
	}
	close(f.ready)
}

// tail returns the last lines of the log so far.
func (f *follower) tail() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return lastLines(string(f.recent))
}

// markHint says why the mark may have been missed.
func (f *follower) markHint() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.onErr:
		return "the mark was seen on stderr; it must be printed to stdout"
	case f.stdout == 0:
		return "stdout is empty: Python buffers output, use flush=True or PYTHONUNBUFFERED=1"
	}
	return "the program must print it once it has started"
}

// markScanner finds a mark in a stream that comes in pieces. It reports the mark once.
type markScanner struct {
	mark, held []byte
	seen       bool
}

func (m *markScanner) scan(data []byte) bool {
	if m.seen {
		return false
	}
	m.held = append(m.held, data...)
	if bytes.Contains(m.held, m.mark) {
		m.seen, m.held = true, nil
		return true
	}
	if keep := len(m.mark) - 1; len(m.held) > keep {
		m.held = append(m.held[:0], m.held[len(m.held)-keep:]...)
	}
	return false
}

// firstLine shortens text to its first line, for messages.
func firstLine(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[:i] + " …"
	}
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300]) + "…"
	}
	return s
}
