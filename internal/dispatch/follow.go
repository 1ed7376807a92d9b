package dispatch

import (
	"bufio"
	"context"
	"errors"
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
	mark     string
	dir      string
	source   io.ReadCloser
	ready    chan struct{} // closed when the mark was seen on stdout
	done     chan struct{} // closed when the log has ended
	stopOnce sync.Once

	mu      sync.Mutex
	observe Observer
	files   [3]*logFile // log, stdout, stderr
	recent  []byte      // the last bytes of both streams
	stdout  int64       // bytes seen
	onErr   bool        // the mark was seen on stderr
	err     error       // what kept the log files from being written
}

// logFile is one of the plain log files.
type logFile struct {
	*bufio.Writer
	file *os.File
	size int64 // bytes
}

// logNames are the names of the plain log files.
var logNames = [3]string{"log", "stdout", "stderr"}

// startFollower begins to follow; dir gets the files log, stdout and stderr.
func startFollower(ctx context.Context, e engine.Engine, h engine.Handle, dir, mark string, o Observer) (*follower, error) {
	source, err := e.Logs(context.WithoutCancel(ctx), h, true)
	if err != nil {
		return nil, err
	}
	f := &follower{mark: mark, observe: o, dir: dir, source: source, ready: make(chan struct{}), done: make(chan struct{})}
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
	defer f.closeFiles()
	if err := f.openFiles(); err != nil {
		f.fail(err)
		return
	}
	marks := map[engine.Stream]*engine.MarkScanner{engine.Stdout: {Mark: f.mark}, engine.Stderr: {Mark: f.mark}}
	frames := engine.NewLogReader(f.source)
	for {
		fr, err := frames.Next()
		if err != nil {
			return // the end of the log, or the follower was stopped
		}
		f.fail(f.write(fr))
		f.remember(fr)
		if marks[fr.Stream].Scan(fr.Data) {
			f.markSeen(fr.Stream)
		}
		if o := f.observer(); o != nil {
			o.Logged(fr.Stream, fr.Data)
		}
	}
}

func (f *follower) openFiles() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, name := range logNames {
		file, err := os.OpenFile(filepath.Join(f.dir, name), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		f.files[i] = &logFile{Writer: bufio.NewWriter(file), file: file}
	}
	return nil
}

func (f *follower) closeFiles() {
	f.fail(f.flush())
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.files {
		if l != nil {
			l.file.Close()
		}
	}
}

func (f *follower) flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.files {
		if l == nil {
			continue
		}
		if err := l.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) write(fr engine.Frame) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range []*logFile{f.files[0], f.files[fr.Stream]} {
		n, err := l.Write(fr.Data)
		l.size += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// sizes are how much the plain log files hold so far.
func (f *follower) sizes() (sizes [3]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, l := range f.files {
		if l != nil {
			sizes[i] = l.size
		}
	}
	return sizes
}

// copySince writes what the log files got since they had the given sizes to files of the same names in dir.
func (f *follower) copySince(from [3]int64, dir string) error {
	if err := f.flush(); err != nil {
		return err
	}
	to := f.sizes()
	for i, name := range logNames {
		in, err := os.Open(filepath.Join(f.dir, name))
		if err != nil {
			return err
		}
		err = writeSection(filepath.Join(dir, name), io.NewSectionReader(in, from[i], to[i]-from[i]))
		in.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func writeSection(name string, in io.Reader) error {
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// observer is who is told of what is written; watch changes it.
func (f *follower) observer() Observer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.observe
}

func (f *follower) watch(o Observer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observe = o
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

// oneLine puts text on one line and shortens it, for messages.
func oneLine(s string) string {
	return firstLine(strings.Join(strings.Fields(s), " "))
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
