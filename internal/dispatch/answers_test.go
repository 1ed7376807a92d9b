package dispatch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/engine/fake"
	"longshore/internal/task"
)

// raw answers every request with bytes, read when the request has come whole, and closes the connection.
func raw(answer string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // the answer is the same whatever came
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		io.WriteString(conn, answer) // the other side may hang up in between
	})
}

// zipped is text as gzip writes it.
func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// moves redirects "/" to a place and answers every other path with what was asked.
func moves(status int, to string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.Header().Set("Location", to)
			w.WriteHeader(status)
			return
		}
		body, _ := io.ReadAll(r.Body) // what broke off is told apart by its text
		io.WriteString(w, strings.Join([]string{r.Method, r.URL.RequestURI(), string(body), r.Header.Get("Content-Type")}, "|"))
	})
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler http.Handler
		want    string
	}{
		{"HTTP/1.0 without a length", raw("HTTP/1.0 200 OK\r\n\r\nold"), "old"},
		{"bare line feeds", raw("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), "ok"},
		{"100 and 103 before it", raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), "ok"},
		{"no content", raw("HTTP/1.1 204 No Content\r\n\r\n"), ""},
		{"more than its length", raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"), "ok"},
		{"chunks", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nT: v\r\n\r\n"), "abc"},
		{"gzip", raw("HTTP/1.0 200 OK\r\nContent-Encoding: GZip\r\n\r\n" + zipped(t, "text")), "text"},
		{"gzip of nothing at all", raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"), ""},
		{"another encoding is kept", raw("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n\x01\x02"), "\x01\x02"},
		{"308 keeps method and body", moves(308, "/x/?y=1"), "POST|/x/?y=1|ping|application/json"},
		{"307 with the whole address", moves(307, "http://localhost:8080/x"), "POST|/x|ping|application/json"},
		{"302 becomes a GET", moves(302, "x"), "GET|/x||"},
		{"303 to the address it listens on", moves(303, "http://0.0.0.0:8080/r"), "GET|/r||"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fake.Config{Handler: c.handler})
			job := r.http("", "serve=8080", "sleep-until-stop")
			job.Contract.(*plain).exec.HTTP.ContentType = "application/json"
			res := r.run(t.Context(), t, job)
			if res.State != task.Succeeded {
				t.Fatalf("state %s, failure %+v", res.State, res.Failure)
			}
			if got, err := os.ReadFile(filepath.Join(r.out, "output")); err != nil || string(got) != c.want {
				t.Errorf("output %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestUnusableAnswers(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler http.Handler
		reason  task.Code
		text    string
	}{
		{"endless head", raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20)), task.ReasonBadResponse, "the head of its answer is larger than 1 MiB"},
		{"endless 100s", raw(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100_000)), task.ReasonBadResponse, "the head of its answer is larger than 1 MiB"},
		{"another protocol", raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc"), task.ReasonBadResponse, "another protocol"},
		{"304", raw("HTTP/1.1 304 Not Modified\r\n\r\n"), task.ReasonBadResponse, "HTTP 304"},
		{"redirect out", moves(302, "https://example.org/x"), task.ReasonBadResponse, `"https://example.org/x", which is not followed`},
		{"redirect to another port", moves(307, "http://localhost:9/x"), task.ReasonBadResponse, "not followed"},
		{"redirect in a circle", moves(307, "/"), task.ReasonBadResponse, "redirected the request 11 times"},
		{"no gzip", raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + strings.Repeat("x", 20)), task.ReasonBadResponse, "not what its Content-Encoding says"},
		{"half a gzip", raw("HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + zipped(t, strings.Repeat("text", 99))[:20]), task.ReasonBadResponse, "breaks off"},
		{"gzip bomb", raw("HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + zipped(t, strings.Repeat("0", 2000))), task.ReasonBadResponse, "larger than"},
		{"stalls in the body", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}), task.ReasonTimeout, "no complete answer (4 bytes) on port 8080 within 500ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fake.Config{Handler: c.handler})
			r.Policy.MaxResponse = 1000
			job := r.http("", "serve=8080", "sleep-until-stop")
			job.Timeouts.Run = 500 * time.Millisecond
			res := r.run(t.Context(), t, job)
			if res.State != task.Failed || res.Failure.Reason != c.reason {
				t.Fatalf("state %s, failure %+v; want reason %s", res.State, res.Failure, c.reason)
			}
			if !strings.Contains(res.Failure.Message, c.text) {
				t.Errorf("%q not in %q", c.text, res.Failure.Message)
			}
		})
	}
}

// counting counts the connections made to containers.
type counting struct {
	*fake.Engine
	made int
}

func (c *counting) Dial(ctx context.Context, h engine.Handle, port int) (net.Conn, error) {
	conn, err := c.Engine.Dial(ctx, h, port)
	if err == nil {
		c.made++
	}
	return conn, err
}

// A server sees one connection, also when its port was looked for.
func TestOneConnection(t *testing.T) {
	r := newRig(t, fake.Config{})
	c := &counting{Engine: r.fake}
	r.Engine = c
	job := r.http("", "serve=7001", "sleep-until-stop")
	job.Contract.(*plain).exec.HTTP.Ports = []task.Port{{Number: 7004, Why: "first"}, {Number: 7001, Why: "second"}}
	res := r.run(t.Context(), t, job)
	if res.State != task.Succeeded || res.Response.Port.Number != 7001 {
		t.Fatalf("state %s, failure %+v, response %+v", res.State, res.Failure, res.Response)
	}
	if c.made != 1 {
		t.Errorf("%d connections were made, want 1", c.made)
	}
}

// Of several open ports the first in the list's order is used, and said so.
func TestSeveralPorts(t *testing.T) {
	r := newRig(t, fake.Config{})
	job := r.http("", "serve=7001", "serve=7004", "sleep-until-stop")
	job.Contract.(*plain).exec.HTTP.Ports = []task.Port{{Number: 7004, Why: "first"}, {Number: 7001, Why: "second"}}
	res := r.run(t.Context(), t, job)
	if res.State != task.Succeeded || res.Response.Port.Number != 7004 {
		t.Fatalf("state %s, failure %+v, response %+v", res.State, res.Failure, res.Response)
	}
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "7004 is used, and not port 7001") {
		t.Errorf("warnings %q", res.Warnings)
	}
}

// A server that goes to the background ends its container: it never was ready.
func TestEndsAfterMark(t *testing.T) {
	r := newRig(t, fake.Config{})
	res := r.run(t.Context(), t, r.http("ready", "stdout=ready\n", "exit=0"))
	if res.State != task.Failed || res.Failure.Reason != task.ReasonNotReady {
		t.Fatalf("state %s, failure %+v", res.State, res.Failure)
	}
}

func TestCheckOutDir(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []func() error{
		func() error { return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600) },
		func() error { return os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling")) },
		func() error { return os.MkdirAll(filepath.Join(dir, "full", "x"), 0o700) },
		func() error { return os.Mkdir(filepath.Join(dir, "empty"), 0o700) },
		func() error { return os.Symlink("empty", filepath.Join(dir, "link")) },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(dir, "empty"))
	for _, c := range []struct{ dir, want string }{
		{"../new", ""},
		{"../a/b/c", ""},
		{"", "has no name"},
		{".", "is the current folder"},
		{"../link", "is the current folder"},
		{"../file", "is not a folder"},
		{"../file/x", "not a directory"},
		{"../dangling", "leads nowhere"},
		{"../full", "not empty"},
		{"/proc", "is a mount point"},
	} {
		err := dispatch.CheckOutDir(c.dir)
		if got := task.CodeOf(err); err != nil && got != task.CodeUsage {
			t.Errorf("%q: code %s", c.dir, got)
		}
		if err == nil && c.want != "" || err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: %v, want %q", c.dir, err, c.want)
		}
	}
}

// What cannot be published is kept, and the error says where.
func TestUnpublished(t *testing.T) {
	r := newRig(t, fake.Config{})
	job, _ := r.files("write=/out/n=1")
	r.out = filepath.Join(filepath.Dir(r.out), "file", "out")
	if err := os.WriteFile(filepath.Dir(r.out), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	job.OutDir = r.out
	res, err := r.Run(t.Context(), job)
	if got := task.CodeOf(err); got != task.CodeUsage {
		t.Fatalf("code %s: %v", got, err)
	}
	kept := filepath.Join(filepath.Dir(r.Dir), "unpublished", res.ID)
	for _, name := range []string{"n", dispatch.LogFile, dispatch.ResultFile} {
		if _, err := os.Stat(filepath.Join(kept, name)); err != nil {
			t.Error(err)
		}
	}
	if e, ok := err.(*task.Error); !ok || !strings.Contains(e.Hint, kept) {
		t.Errorf("%v does not name %s", err, kept)
	}
}
