package api

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	v1 "longshore/internal/api/v1"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

func (a *API) listOutputs(ctx context.Context, in *RunInput) (*answer[v1.Page[v1.File]], error) {
	run, err := a.run(ctx, in.ID)
	return filePage(durable.Outputs(run)), err
}

func (a *API) listInputs(ctx context.Context, in *RunInput) (*answer[v1.Page[v1.File]], error) {
	run, err := a.run(ctx, in.ID)
	return filePage(run.Inputs), err
}

func filePage(list []store.File) *answer[v1.Page[v1.File]] {
	page := v1.Page[v1.File]{Items: filesOf(list)}
	if page.Items == nil {
		page.Items = []v1.File{}
	}
	return &answer[v1.Page[v1.File]]{Body: page}
}

type fileInput struct {
	RunInput
	Path     string `path:"path" doc:"As lists have it, with slashes"`
	Download bool   `query:"download" doc:"Have browsers save it, whatever it is"`
}

func (a *API) getOutput(ctx context.Context, in *fileInput) (*stream, error) {
	if _, err := a.run(ctx, in.ID); err != nil {
		return nil, err
	}
	r, f, err := a.svc.Output(ctx, in.ID, in.Path)
	if err != nil {
		return nil, err
	}
	return a.serveFile(ctx, r, f, in.Download), nil
}

func (a *API) getInput(ctx context.Context, in *fileInput) (*stream, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	for _, f := range run.Inputs {
		if f.Path == in.Path && f.Mode == "" {
			r, err := a.svc.OpenFile(ctx, f)
			if err != nil {
				return nil, err
			}
			return a.serveFile(ctx, r, f, in.Download), nil
		}
	}
	return nil, task.Errorf(task.CodeMissing, "run %s has no input file %s", in.ID, in.Path)
}

// serveFile sends a stranger's file. Whatever it is, no browser may take it for a page of ours: only kinds that execute nothing are
// shown, everything else is a download, and all of it in a sandbox.
func (a *API) serveFile(ctx context.Context, content io.ReadSeekCloser, f store.File, download bool) *stream {
	return streamed(ctx, func(w http.ResponseWriter, r *http.Request) {
		defer content.Close()
		kind, shown, err := kindOf(f.Path, content)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		disposition := "attachment"
		if shown && !download {
			disposition = "inline"
		}
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": path.Base(f.Path)}))
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "private, max-age=3600, immutable")
		h.Set("ETag", `"`+f.Digest+`"`)
		http.ServeContent(&conditional{ResponseWriter: w, refuse: func(err error) { a.fail(w, r, err) }}, r, "", time.Time{}, &admitted{content, r.Context()})
	})
}

// admitted is content for as long as a request lasts, which may end before what is sent for it: a token can be revoked meanwhile.
type admitted struct {
	io.ReadSeeker
	ctx context.Context // of the one answer that it is read for
}

func (a *admitted) Read(p []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	return a.ReadSeeker.Read(p)
}

// conditional says as a problem why a range or a condition cannot be met; http.ServeContent says it in plain text, or not at all.
type conditional struct {
	http.ResponseWriter
	refuse  func(error)
	refused bool
}

// WriteHeader implements http.ResponseWriter.
func (c *conditional) WriteHeader(status int) {
	var err *task.Error
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		err = task.Errorf(task.CodeUsage, "the file has no such range").WithHint("the header Content-Range of this answer tells how long it is")
	case http.StatusPreconditionFailed:
		err = task.Errorf(task.CodeConflict, "the file is not the one that was meant: its ETag is another").WithHint("ask for it again without the condition")
	default:
		c.ResponseWriter.WriteHeader(status)
		return
	}
	c.refused = true
	c.Header().Del("Content-Disposition")
	c.Header().Set("Cache-Control", "no-store")
	c.refuse(&refusal{status: status, err: err})
}

// Write implements io.Writer.
func (c *conditional) Write(p []byte) (int, error) {
	if c.refused {
		return len(p), nil
	}
	return c.ResponseWriter.Write(p)
}

// shownKinds are what browsers may show: they execute nothing.
var shownKinds = map[string]string{
	".txt": plain, ".log": plain, ".md": plain, ".csv": "text/csv; charset=utf-8", ".tsv": "text/tab-separated-values; charset=utf-8", ".yml": plain, ".yaml": plain,
	".json": "application/json", ".geojson": "application/geo+json", ".ndjson": plain,
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp", ".bmp": "image/bmp", ".avif": "image/avif",
	".mp3": "audio/mpeg", ".wav": "audio/wav", ".ogg": "audio/ogg", ".flac": "audio/flac", ".mp4": "video/mp4", ".webm": "video/webm",
}

const (
	// sniffed is how much of a file its kind is told by.
	sniffed = 512
	plain   = "text/plain; charset=utf-8"
	octets  = "application/octet-stream"
)

// kindOf is a file's media type, by its name or its beginning, and whether browsers may show it.
func kindOf(name string, content io.ReadSeeker) (kind string, shown bool, err error) {
	if kind := shownKinds[strings.ToLower(path.Ext(name))]; kind != "" {
		return kind, true, nil
	}
	head := make([]byte, sniffed)
	n, err := io.ReadFull(content, head)
	if err != nil && n == 0 && err != io.EOF {
		return "", false, err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return "", false, err
	}
	head = head[:n]
	kind = http.DetectContentType(head)
	switch {
	case path.Ext(name) == "" && isText(head):
		return plain, true, nil // outputs are often called as their parameter, without an ending
	case strings.HasPrefix(kind, "image/") && kind != "image/svg+xml", strings.HasPrefix(kind, "audio/"), strings.HasPrefix(kind, "video/"):
		return kind, true, nil
	}
	return octets, false, nil
}

// isText tells whether the beginning of a file is text; of a longer file the last character may be cut.
func isText(head []byte) bool {
	for cut := 0; len(head) == sniffed-cut && cut < utf8.UTFMax && !utf8.Valid(head); cut++ {
		head = head[:len(head)-1]
	}
	return utf8.Valid(head) && !bytes.ContainsRune(head, 0)
}
