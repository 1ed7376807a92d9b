package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"longshore/internal/contract"
	"longshore/internal/front"
	"longshore/internal/task"
)

// serve answers requests until the platform ends the container.
func (a *adapter) serve(ctx context.Context) int {
	s := a.plan.Front.Server
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(s.Port))
	if err != nil {
		return a.fail(err)
	}
	h := &handler{adapter: a, server: s}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	if s.ReadyMark != "" {
		// The kernel takes connections from here on, so the mark is true.
		fmt.Fprintln(a.stdout, s.ReadyMark)
	}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return a.fail(err)
	}
	return 0
}

// handler makes a run of every request.
type handler struct {
	*adapter
	server *contract.FrontServer
	// turn lets one run of a task that works on files happen at a time: its folders are fixed.
	turn sync.Mutex
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != h.server.Path:
		h.refuse(w, http.StatusNotFound, &task.Failure{Reason: task.ReasonInput, Message: "there is nothing at " + r.URL.Path, Hint: h.server.Method + " " + h.server.Path})
		return
	case r.Method != h.server.Method:
		w.Header().Set("Allow", h.server.Method)
		h.refuse(w, http.StatusMethodNotAllowed, &task.Failure{Reason: task.ReasonInput, Message: r.Method + " is not what this task takes", Hint: h.server.Method + " " + h.server.Path})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.server.MaxBody))
	if err != nil {
		h.refuse(w, http.StatusRequestEntityTooLarge, &task.Failure{Reason: task.ReasonInput, Message: err.Error()})
		return
	}
	if h.plan.Task.Exchange == task.Files {
		h.turn.Lock()
		defer h.turn.Unlock()
	}
	if err := h.answer(r.Context(), w, r.Header.Get("Content-Type"), body); err != nil {
		f := &task.Failure{Reason: task.CodeOf(err), Message: err.Error()}
		if e, ok := errors.AsType[*task.Error](err); ok {
			f.Hint = e.Hint
		} else {
			f.Reason = task.ReasonInput
		}
		h.refuse(w, statusOf(f.Reason), f)
	}
}

// answer makes the run and writes its outputs. An error means that nothing was written.
func (h *handler) answer(ctx context.Context, w http.ResponseWriter, contentType string, body []byte) error {
	tmp, err := os.MkdirTemp(h.dir, "request-")
	if err != nil {
		return task.Errorf(task.ReasonEngine, "%w", err)
	}
	defer os.RemoveAll(tmp)
	req, err := front.ReadBody(h.plan.Front, contentType, body, tmp)
	if err != nil {
		return err
	}
	job := h.job(req)
	job.AnyAnswer = true
	job.Use = func(res *task.Result, dir string) error {
		if err := h.small(res); err != nil {
			return err
		}
		kind, reply, err := front.OutputBody(h.plan.Front, res, dir)
		if err != nil {
			return err
		}
		status := http.StatusOK
		if res.Response != nil { // a server's own answer, whatever it is
			status, kind = res.Response.Status, res.Response.ContentType
		}
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
		w.WriteHeader(status)
		_, _ = w.Write(reply) // a caller that went away
		return nil
	}
	res, err := h.dispatch.Run(ctx, job)
	if err == nil && res.State != task.Succeeded {
		h.tell(res)
		f := res.Failure
		if f == nil {
			f = &task.Failure{Reason: task.ReasonEngine, Message: "cancelled"}
		}
		h.refuse(w, statusOf(f.Reason), f)
	}
	return err
}

// small refuses results that are larger than what the platform takes for a reply: they would have to fit into memory.
func (h *handler) small(res *task.Result) error {
	var size int64
	for _, o := range res.Outputs {
		size += o.Size
	}
	if size <= h.server.MaxBody {
		return nil
	}
	return task.Errorf(task.ReasonOutput, "the outputs have %s, more than the %s a reply may have", task.Bytes(size), task.Bytes(h.server.MaxBody))
}

// statusOf says whose fault a failure is: the caller's, or the task's.
func statusOf(reason task.Code) int {
	switch reason {
	case task.ReasonInput:
		return http.StatusBadRequest
	case task.ReasonTimeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// refuse answers with the failure as JSON.
func (h *handler) refuse(w http.ResponseWriter, status int, f *task.Failure) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]*task.Failure{"error": f}) // a caller that went away
}
