package image

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
)

// outputLog cuts a command's output into lines, takes secrets out, and keeps the last lines for the error message.
type outputLog struct {
	mu      sync.Mutex
	line    func(string)
	secrets []string
	part    []byte
	last    []string
}

const (
	maxLogLine  = 64 << 10 // a longer line is cut in pieces
	keptLines   = 30
	shortSecret = 4 // anything shorter would take out half of the text
)

func newOutputLog(opts BuildOptions, line func(string)) *outputLog {
	l := &outputLog{line: line}
	for _, id := range slices.Sorted(maps.Keys(opts.Secrets)) {
		for _, s := range strings.Split(string(opts.Secrets[id]), "\n") {
			l.hide(s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(opts.Sensitive)) {
		l.hide(opts.Sensitive[name])
	}
	return l
}

func (l *outputLog) hide(s string) {
	if s = strings.TrimSpace(s); len(s) >= shortSecret {
		l.secrets = append(l.secrets, s)
	}
}

// Write never fails.
func (l *outputLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			l.part = append(l.part, b...)
			if len(l.part) > maxLogLine {
				l.emit()
			}
			return n, nil
		}
		l.part = append(l.part, b[:i]...)
		l.emit()
		b = b[i+1:]
	}
	return n, nil
}

// flush ends an unfinished last line.
func (l *outputLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.part) > 0 {
		l.emit()
	}
}

func (l *outputLog) emit() {
	text := strings.TrimSuffix(string(l.part), "\r")
	l.part = l.part[:0]
	for _, s := range l.secrets {
		text = strings.ReplaceAll(text, s, "***")
	}
	l.last = append(l.last, text)
	if len(l.last) > keptLines {
		l.last = l.last[1:]
	}
	l.line(text)
}

func (l *outputLog) tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.last...)
}
