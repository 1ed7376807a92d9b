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
	Offset int64  `query:"offset" minimum:"0" doc:"Leave out so many bytes of what the containers wrote (to the stream that is asked for)"`
	// Attempt guards against the one case in which bytes that were read are gone.
	Attempt int `query:"attempt" minimum:"0" doc:"The attempt whose bytes were read last: nothing of a later one is left out"`
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
		rest, err := a.sendLog(ctx, w, r, in)
		if run, yes := taken(); yes {
			q := r.URL.Query()
			q.Set("offset", strconv.FormatInt(rest.offset, 10))
			q.Set("attempt", strconv.Itoa(rest.attempt))
			r.URL.RawQuery = q.Encode()
			a.goOn(w, r, run)
		} else if err != nil {
			panic(http.ErrAbortHandler) // so that the client asks for the rest
		}
	}), nil
}

// place is one in a log: after so many bytes, the last of which are of an attempt.
type place struct {
	offset  int64
	attempt int
}

// sendLog sends a log as it comes. It answers how far it came, and an error when that is not the end.
func (a *API) sendLog(ctx context.Context, w http.ResponseWriter, r *http.Request, in *logInput) (place, error) {
	log, err := a.svc.Log(ctx, in.ID, in.Follow)
	if err != nil {
		a.fail(w, r, err)
		return place{}, nil
	}
	defer log.Close()
	h := w.Header()
	h.Set("X-Accel-Buffering", "no")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if in.Format == "ndjson" {
		h.Set("Content-Type", "application/x-ndjson")
	}
	w.WriteHeader(http.StatusOK)
	out := &logWriter{w: w, control: http.NewResponseController(w), json: in.Format == "ndjson", from: place{in.Offset, in.Attempt}, flushing: in.Follow}
	if in.Follow {
		out.flush()
		defer out.beat(a.cfg.Heartbeat)()
	}
	err = out.copy(engine.NewLogReader(log), in.Stream)
	if err != nil && ctx.Err() == nil {
		a.note(w, r, err)
	}
	return out.next(), err
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
	from     place // what comes before it is left out
	at       place // how far the log was read

	mu  sync.Mutex // the heartbeat writes too
	err error
}

func (l *logWriter) frame(f engine.Frame) error {
	data := f.Data
	if l.from.attempt > 0 && f.Attempt > l.from.attempt {
		l.from = place{} // what was read of the attempts before went with its server: nothing of this one was
	}
	if skip := min(l.from.offset-l.at.offset, int64(len(data))); skip > 0 {
		data = data[skip:]
		l.at.offset += skip
	}
	if len(data) == 0 {
		return l.err
	}
	line := data
	if l.json {
		line = jsonLine(l.at.offset, f, data)
	}
	l.at = place{l.at.offset + int64(len(data)), f.Attempt}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		_, l.err = l.w.Write(line)
	}
	return l.err
}

// next is where to go on.
func (l *logWriter) next() place {
	if l.at.offset <= l.from.offset {
		return l.from
	}
	return l.at
}

func jsonLine(at int64, f engine.Frame, data []byte) []byte {
	e := v1.LogLine{Offset: at, At: f.Time.UTC(), Stream: streamName(f.Stream), Attempt: f.Attempt}
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
