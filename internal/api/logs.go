package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
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
		if !in.Follow {
			if _, err := a.sendLog(r.Context(), w, r, in); err != nil {
				panic(http.ErrAbortHandler)
			}
			return
		}
		ctx, taken := a.until(r, run)
		at, err := a.sendLog(ctx, w, r, in)
		if run, yes := taken(); yes {
			q := r.URL.Query()
			q.Set("offset", strconv.FormatInt(at, 10))
			r.URL.RawQuery = q.Encode()
			a.goOn(w, r, run)
		} else if err != nil {
			panic(http.ErrAbortHandler) // so that the client asks for the rest
		}
	}), nil
}

// sendLog sends a log as it comes. It answers how far it came, and an error when that is not the end.
func (a *API) sendLog(ctx context.Context, w http.ResponseWriter, r *http.Request, in *logInput) (int64, error) {
	log, err := a.svc.Log(ctx, in.ID, in.Follow)
	if err != nil {
		a.fail(w, r, err)
		return 0, nil
	}
	defer log.Close()
	h := w.Header()
	h.Set("X-Accel-Buffering", "no")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if in.Format == "ndjson" {
		h.Set("Content-Type", "application/x-ndjson")
	}
	w.WriteHeader(http.StatusOK)
	out := &logWriter{w: w, control: http.NewResponseController(w), json: in.Format == "ndjson", skip: in.Offset, flushing: in.Follow}
	if in.Follow {
		out.flush()
		defer out.beat(a.cfg.Heartbeat)()
	}
	err = out.copy(engine.NewLogReader(log), in.Stream)
	if err != nil && ctx.Err() == nil {
		a.note(r, err)
	}
	return max(in.Offset, out.at), err
}

// copy writes the frames of a stream, or of both for "".
func (l *logWriter) copy(frames *engine.LogReader, stream string) error {
	for {
		f, err := frames.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if stream != "" && stream != streamName(f.Stream) {
			continue
		}
		if err := l.frame(f); err != nil {
			return err // the client has gone, or takes nothing
		}
		if l.flushing {
			l.flush()
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
	// flushing sends each frame at once.
	flushing bool
	skip     int64 // bytes that are still to be left out
	at       int64 // of the content

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
