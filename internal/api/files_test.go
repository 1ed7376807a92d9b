package api_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"
	"time"

	"longshore/internal/access"
	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// file runs a task that gives back a file under a name.
func (r *rig) file(c *client.Client, name, text string) v1.Run {
	r.t.Helper()
	up, err := c.Upload(r.t.Context(), content(text))
	if err != nil {
		r.t.Fatal(err)
	}
	run, err := c.Submit(r.t.Context(), v1.RunRequest{
		Task: "t", Inputs: inputs("file", "@f", "folder", "@d", "as", name),
		Files: map[string]v1.FileRef{"f": {Digest: up.Digest}, "d": {Entries: []v1.File{{Path: "a/b", Digest: up.Digest, Size: up.Size}, {Path: "empty", Mode: "dir"}}}},
	}, client.SubmitOptions{Wait: 20 * time.Second})
	if err != nil || run.State != task.Succeeded {
		r.t.Fatalf("%+v, %v", run, err)
	}
	return run
}

// TestHostileOutputs: nothing that a container wrote is taken for a page of ours.
func TestHostileOutputs(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	ada, token := r.client("ada", access.Caller), r.secret("ada", access.Caller)
	const page = "<html><script>alert(1)</script>"
	for _, c := range []struct {
		name, text, kind string
		shown            bool
	}{
		{"x.html", page, "application/octet-stream", false},
		{"x.HTM", page, "application/octet-stream", false},
		{"x.svg", `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`, "application/octet-stream", false},
		{"x.xml", `<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></html>`, "application/octet-stream", false},
		{"x.js", "alert(1)", "application/octet-stream", false},
		{"x.pdf", "%PDF-1.4", "application/octet-stream", false},
		{"x", page, "text/plain; charset=utf-8", true},
		{"y", "\xff\x00", "application/octet-stream", false},
		{"x.txt", page, "text/plain; charset=utf-8", true},
		{"x.json", "{}", "application/json", true},
		{"x.png", page, "image/png", true}, // it is told to be an image, and no browser may look
		{"x.bin", "\x89PNG\r\n\x1a\n", "image/png", true},
		{"a\"b;\u00e9\u2028.txt", "x", "text/plain; charset=utf-8", true},
	} {
		run := r.file(ada, c.name, c.text)
		res, data := r.ask(token, "GET", "/v1/runs/"+run.ID+"/outputs/"+escape(c.name), nil)
		h := res.Header
		disposition, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
		if string(data) != c.text || h.Get("Content-Type") != c.kind || (disposition == "inline") != c.shown || err != nil || params["filename"] != c.name {
			t.Errorf("%q: %s %q %q, %v", c.name, h.Get("Content-Type"), h.Get("Content-Disposition"), data, err)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox;") {
			t.Errorf("%q: %v", c.name, h)
		}
		res, _ = r.ask(token, "GET", "/v1/runs/"+run.ID+"/outputs/"+escape(c.name)+"?download=true", nil)
		if !strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%q: %s", c.name, res.Header.Get("Content-Disposition"))
		}
	}
}

func escape(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String()
}

// TestRanges: parts of outputs, and only what has changed.
func TestRanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	ada, token := r.client("ada", access.Caller), r.secret("ada", access.Caller)
	run := r.file(ada, "file", "0123456789")
	at := "/v1/runs/" + run.ID + "/outputs/file"
	res, data := r.ask(token, "GET", at, nil, "Range", "bytes=3-5")
	if res.StatusCode != http.StatusPartialContent || string(data) != "345" {
		t.Errorf("%s %q", res.Status, data)
	}
	etag := res.Header.Get("ETag")
	if etag != `"`+run.Files[0].Digest+`"` {
		t.Errorf("ETag %s", etag)
	}
	if res, _ := r.ask(token, "GET", at, nil, "If-None-Match", etag); res.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged: %s", res.Status)
	}
	res, data = r.ask(token, "GET", at, nil, "Range", "bytes=30-")
	if p := r.problem(res, data, http.StatusRequestedRangeNotSatisfiable, task.CodeUsage); p.Hint == "" || res.Header.Get("Content-Range") != "bytes */10" {
		t.Errorf("past the end: %+v, Content-Range %q", p, res.Header.Get("Content-Range"))
	}
	res, data = r.ask(token, "GET", at, nil, "If-Match", `"another"`)
	r.problem(res, data, http.StatusPreconditionFailed, task.CodeConflict)
	if res, data := r.ask(token, "HEAD", at, nil); res.StatusCode != http.StatusOK || res.ContentLength != 10 || len(data) > 0 {
		t.Errorf("HEAD: %s, %d bytes", res.Status, res.ContentLength)
	}
	for _, path := range []string{"none", "folder", "folder/a", ":log", ":events", "../file", "folder/../file"} {
		res, data := r.ask(token, "GET", "/v1/runs/"+run.ID+"/outputs/"+escape(path), nil)
		r.problem(res, data, 404, task.CodeMissing)
	}
	if _, data := r.ask(token, "GET", "/v1/runs/"+run.ID+"/inputs/d/a/b", nil); string(data) != "0123456789" {
		t.Errorf("an input: %q", data)
	}
}

// TestArchive: all outputs, as zip and tar.
func TestArchive(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	ada, token := r.client("ada", access.Caller), r.secret("ada", access.Caller)
	run := r.file(ada, "file", "text")
	_, data := r.ask(token, "GET", "/v1/runs/"+run.ID+"/archive", nil)
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(in) // checked below
		got[f.Name] = string(text)
	}
	if len(got) != 3 || got["file"] != "text" || got["folder/a/b"] != "text" || got["folder/empty/"] != "" {
		t.Errorf("zip: %v", got)
	}
	_, data = r.ask(token, "GET", "/v1/runs/"+run.ID+"/archive?format=tar&path=folder", nil)
	clear(got)
	for in := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(in) // checked below
		got[h.Name] = string(text)
	}
	if _, empty := got["folder/empty/"]; len(got) != 2 || got["folder/a/b"] != "text" || !empty {
		t.Errorf("tar: %v", got)
	}
	res, data := r.ask(token, "GET", "/v1/runs/"+run.ID+"/archive?path=fold", nil)
	r.problem(res, data, 404, task.CodeMissing)
}
