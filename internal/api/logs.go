package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	v1 "longshore/internal/api/v1"
	"longshore/internal/engine"
)

type logInput struct {
	RunInput
	Follow bool   `query:"follow" doc:"Until the run has ended"`
	Stream string `query:"stream" enum:"stdout,stderr" doc:"Only this one"`
	Format string `query:"format" enum:"text,ndjson" doc:"text when not given"`
	Offset int64  `query:"offset" minimum:"0" doc:"Leave out so many bytes of what the container wrote (to the stream that is asked for)"`
}

func (a *API) runLog(ctx context.Context, in *logInput) (*stream, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return streamed(ctx, func(w http.ResponseWriter, r *http.Request) {
		if a.relayed(w, r, run) {
			return
		}
		log, err := a.svc.Log(r.Context(), in.ID, in.Follow)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		defer log.Close()
		a.writeLog(w, r, log, in)
	}), nil
}

// writeLog sends a log as it comes. What cannot go on is cut off, so that the client asks for the rest.
func (a *API) writeLog(w http.ResponseWriter, r *http.Request, log io.Reader, in *logInput) {
	h := w.Header()
	h.Set("X-Accel-Buffering", "no")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if in.Format == "ndjson" {
		h.Set("Content-Type", "application/x-ndjson")
	}
	w.WriteHeader(http.StatusOK)
	out := &logWriter{w: w, control: http.NewResponseController(w), json: in.Format == "ndjson", skip: in.Offset}
	if in.Follow {
		out.flush()
		defer out.beat(a.cfg.Heartbeat)()
	}
	frames := engine.NewLogReader(log)
	for {
		f, err := frames.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			a.note(r, err)
			panic(http.ErrAbortHandler)
		}
		if in.Stream != "" && in.Stream != streamName(f.Stream) {
			continue
		}
		if out.frame(f) != nil {
			return // the client has gone, or takes nothing
		}
		if in.Follow {
			out.flush()
		}
	}
}

func streamName(s engine.Stream) string {
	if s == engine.Stderr {
		return "stderr"
	}
	return "stdout"
}

// logWriter writes frames in one of the formats.
type logWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	json    bool
	skip    int64 // bytes that are still to be left out
	at      int64 // of the content

	mu  sync.Mutex // the heartbeat writes too
	err error
}

func (l *logWriter) frame(f engine.Frame) error {
	data := f.Data
	if l.skip > 0 {
		n := min(l.skip, int64(len(data)))
		data, l.skip, l.at = data[n:], l.skip-n, l.at+n
	}
	if len(data) == 0 {
		return l.err
	}
	line := data
	if l.json {
		line = jsonLine(l.at, f, data)
	}
	l.at += int64(len(data))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		_, l.err = l.w.Write(line)
	}
	return l.err
}

func jsonLine(at int64, f engine.Frame, data []byte) []byte {
	e := v1.LogLine{Offset: at, At: f.Time.UTC(), Stream: streamName(f.Stream)}
	if s := string(data); utf8.Valid(data) {
		e.Text = &s
	} else {
		e.Data = data
	}
	line, _ := json.Marshal(e) // plain data
	return append(line, '\n')
}

func (l *logWriter) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = l.control.Flush()
	}
}

// beat sends an empty line now and then, where the format has room for it, until the returned function is called.
func (l *logWriter) beat(every time.Duration) (stop func()) {
	if !l.json {
		return func() {}
	}
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				l.mu.Lock()
				if l.err == nil {
					_, l.err = l.w.Write([]byte("\n"))
				}
				l.mu.Unlock()
				l.flush()
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-over }
}
