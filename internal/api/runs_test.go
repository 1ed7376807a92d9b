package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"longshore/internal/access"
	"longshore/internal/api"
	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/dispatch/durable"
	"longshore/internal/task"
)

// TestRun submits a run with a file and a folder, waits, and reads what came of it.
func TestRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	ada := r.client("ada", access.Caller)
	dir := t.TempDir()
	for name, text := range map[string]string{"in.txt": "content", "folder/a": "A", "folder/deep/b": "B"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	file, err := ada.UploadPath(t.Context(), filepath.Join(dir, "in.txt"))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := ada.UploadPath(t.Context(), filepath.Join(dir, "folder"))
	if err != nil {
		t.Fatal(err)
	}
	run, err := ada.Submit(t.Context(), v1.RunRequest{
		Task: "t:1", Inputs: inputs("say", "hello", "complain", "@@oh", "file", "@file", "folder", "@folder"), Files: map[string]v1.FileRef{"file": file, "folder": folder},
		Labels: map[string]string{"study": "x"}, Limits: v1.Limits{CPU: "500m", Memory: "64Mi"}, Timeouts: v1.Timeouts{Run: "1m"},
	}, client.SubmitOptions{Wait: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if run.State != task.Succeeded || run.Account != "ada" || run.Result == nil || run.Needs.CPU != 500 || run.Needs.Memory != 64<<20 || run.Labels["study"] != "x" {
		t.Fatalf("%+v", run)
	}
	to := t.TempDir()
	if _, err := ada.Download(t.Context(), run.ID, to); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"file": "content", "folder/a": "A", "folder/deep/b": "B"} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	var out, errOut strings.Builder
	if err := ada.CopyLog(t.Context(), run.ID, client.LogQuery{}, &out, &errOut); err != nil || out.String() != "hello" || errOut.String() != "@oh" {
		t.Errorf("log %q %q, %v", &out, &errOut, err)
	}
	usage, err := ada.Usage(t.Context(), client.UsageQuery{})
	if err != nil || len(usage) != 1 || usage[0].Runs != 1 || usage[0].CPUSeconds != 1 {
		t.Errorf("%+v, %v", usage, err)
	}
}

// form makes a multipart body: pairs of names and contents.
func form(t *testing.T, pairs ...string) (io.Reader, string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		p, err := w.CreateFormFile(pairs[i], "whatever")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.Write([]byte(pairs[i+1])) // a buffer
	}
	w.Close()
	return &b, w.FormDataContentType()
}

// TestForm submits a run with its files in one request.
func TestForm(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.MaxUpload = 1000 }})
	r.task()
	token := r.secret("ada", access.Caller)
	send := func(pairs ...string) (*http.Response, []byte) {
		body, kind := form(t, pairs...)
		return r.ask(token, "POST", "/v1/runs?wait=20s", body, "Content-Type", kind)
	}
	// Files before the request, by name and without being named; a folder of several parts.
	res, data := send("folder/a", "A", "folder/b/c", "C", "request", `{"task":"t","inputs":{"say":"hi"}}`, "file", "content")
	var run v1.Run
	mustJSON(t, data, &run)
	if res.StatusCode != http.StatusCreated || run.State != task.Succeeded {
		t.Fatalf("%s %s", res.Status, data)
	}
	var names []string
	for _, f := range run.Files {
		names = append(names, f.Path)
	}
	if want := []string{"file", "folder/a", "folder/b/c"}; !slices.Equal(names, want) {
		t.Errorf("files %v", names)
	}
	for _, c := range []struct {
		name   string
		pairs  []string
		status int
		code   task.Code
		detail string
	}{
		{"no request", []string{"file", "x"}, 400, task.CodeUsage, `no part "request"`},
		{"no such task", []string{"request", `{"task":"none"}`, "file", "x"}, 404, task.CodeMissing, "none"},
		{"no such input", []string{"request", `{"task":"t"}`, "fiel", "x"}, 422, task.ReasonInput, "fiel"},
		{"twice", []string{"request", `{"task":"t"}`, "file", "x", "file", "y"}, 400, task.CodeUsage, "two parts"},
		{"file and folder", []string{"request", `{"task":"t"}`, "file", "x", "file/a", "y"}, 400, task.CodeUsage, "two parts"},
		{"a path twice", []string{"request", `{"task":"t"}`, "folder/a", "x", "folder/a", "y"}, 400, task.CodeUsage, "twice"},
		{"a path below a file", []string{"request", `{"task":"t"}`, "folder/a", "x", "folder/a/b", "y"}, 400, task.CodeUsage, "a file and a folder"},
		{"a name outside", []string{"request", `{"task":"t","files":{"file":{"digest":"sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73","name":"../a"}}}`}, 400, task.CodeUsage, "none that a file can have"},
		{"a path outside", []string{"request", `{"task":"t"}`, "folder/../../a", "x"}, 400, task.CodeUsage, ".."},
		{"too large", []string{"request", `{"task":"t"}`, "file", strings.Repeat("x", 1001)}, 413, task.CodeLimit, "larger"},
		{"too large together", []string{"request", `{"task":"t"}`, "folder/a", strings.Repeat("x", 600), "folder/b", strings.Repeat("x", 600)}, 413, task.CodeLimit, "larger"},
	} {
		res, data := send(c.pairs...)
		p := r.problem(res, data, c.status, c.code)
		if !strings.Contains(p.Detail, c.detail) {
			t.Errorf("%s: %s", c.name, p.Detail)
		}
	}
	// A form that ends in its middle, and one that is none.
	body, kind := form(t, "request", `{"task":"t"}`, "file", "content")
	whole, _ := io.ReadAll(body)
	res, data = r.ask(token, "POST", "/v1/runs", bytes.NewReader(whole[:len(whole)-20]), "Content-Type", kind)
	r.problem(res, data, 400, task.CodeUsage)
	res, data = r.ask(token, "POST", "/v1/runs", strings.NewReader("x"), "Content-Type", "multipart/form-data")
	r.problem(res, data, 415, task.CodeUsage)
}

// TestStreaming: a file that is larger than all memory that a request may use goes through.
func TestStreaming(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	const size = 64 << 20
	read, write := io.Pipe()
	w := multipart.NewWriter(write)
	go func() {
		_ = w.WriteField("request", `{"task":"t"}`)
		p, _ := w.CreateFormFile("file", "big")
		_, _ = io.CopyN(p, zeros{}, size)
		_ = w.Close()
		write.Close()
	}()
	res, data := r.ask(r.secret("ada", access.Caller), "POST", "/v1/runs?wait=60s", read, "Content-Type", w.FormDataContentType())
	var run v1.Run
	mustJSON(t, data, &run)
	if res.StatusCode != http.StatusCreated || len(run.Files) != 1 || run.Files[0].Size != size {
		t.Errorf("%s %s", res.Status, data)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestIdempotency: the same key and request are the same run, also when they come at once.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	token := r.secret("ada", access.Caller)
	send := func(token, body string) (int, v1.Run, []byte, *http.Response) {
		res, data := r.ask(token, "POST", "/v1/runs", strings.NewReader(body), "Idempotency-Key", "k", "Content-Type", "application/json")
		var run v1.Run
		_ = json.Unmarshal(data, &run)
		return res.StatusCode, run, data, res
	}
	ids := make(chan string, 20)
	made := make(chan int, 20)
	for range 20 {
		go func() {
			status, run, _, _ := send(token, `{"task": "t", "inputs": {"say": "hi"}}`)
			ids <- run.ID
			made <- status
		}()
	}
	first, created := <-ids, 0
	for range 19 {
		if id := <-ids; id != first || id == "" {
			t.Errorf("runs %q and %q", first, id)
		}
	}
	for range 20 {
		if status := <-made; status == http.StatusCreated {
			created++
		} else if status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	if created != 1 {
		t.Errorf("%d answers say that they made it", created)
	}
	_, _, data, res := send(token, `{"task": "t", "inputs": {"say": "ho"}}`)
	r.problem(res, data, http.StatusConflict, task.CodeConflict)
	if status, run, _, _ := send(r.secret("bob", access.Caller), `{"task":"t"}`); status != http.StatusCreated || run.ID == first {
		t.Errorf("another account's key: %d %s", status, run.ID)
	}
}

// TestOthers: of what belongs to another account, a caller sees and can do nothing, not even by digest.
func TestOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	ada, bob := r.client("ada", access.Caller), r.secret("bob", access.Caller)
	up, err := ada.Upload(t.Context(), content("secret of ada's"))
	if err != nil {
		t.Fatal(err)
	}
	run, err := ada.Submit(t.Context(), v1.RunRequest{Task: "t", Files: map[string]v1.FileRef{"file": {Digest: up.Digest}}, Inputs: inputs("file", "@file", "say", "x")}, client.SubmitOptions{Wait: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "?wait=1s", "/request", "/why", "/events", "/logs", "/logs?follow=true", "/outputs", "/outputs/file", "/inputs", "/inputs/file", "/archive"} {
		res, data := r.ask(bob, "GET", "/v1/runs/"+run.ID+path, nil)
		p := r.problem(res, data, 404, task.CodeMissing)
		none, _ := r.ask(bob, "GET", "/v1/runs/00000000000000000000"+path, nil)
		if none.StatusCode != res.StatusCode || strings.Contains(p.Detail, "ada") {
			t.Errorf("%s tells that the run is there: %+v", path, p)
		}
	}
	for _, path := range []string{"/cancel", "/retry"} {
		res, data := r.ask(bob, "POST", "/v1/runs/"+run.ID+path, nil)
		r.problem(res, data, 404, task.CodeMissing)
	}
	for _, body := range []string{
		fmt.Sprintf(`{"task":"t","files":{"file":{"digest":%q}}, "inputs":{"file":"@file"}}`, up.Digest),
		fmt.Sprintf(`{"task":"t","files":{"folder":{"entries":[{"path":"a","digest":%q,"size":1}]}}, "inputs":{"folder":"@folder"}}`, up.Digest),
	} {
		res, data := r.ask(bob, "POST", "/v1/runs", strings.NewReader(body))
		r.problem(res, data, 404, task.CodeMissing)
	}
	res, data := r.ask(bob, "GET", "/v1/uploads/"+up.Digest, nil)
	r.problem(res, data, 404, task.CodeMissing)
	res, data = r.ask(r.secret("eve", access.Author), "POST", "/v1/tasks", strings.NewReader(fmt.Sprintf(`{"upload":%q}`, up.Digest)), "Content-Type", "application/json")
	r.problem(res, data, 404, task.CodeMissing)
	for _, path := range []string{"/v1/runs?account=ada", "/v1/runs/count?account=ada", "/v1/usage?account=ada", "/v1/tokens?account=ada"} {
		res, data := r.ask(bob, "GET", path, nil)
		r.problem(res, data, 403, task.CodeAccess)
	}
	bobs, err := r.client("bob", access.Caller).Runs(t.Context(), client.RunQuery{})
	if err != nil || len(bobs.Items) != 0 {
		t.Errorf("bob sees %+v, %v", bobs, err)
	}
	// The outputs of one's own runs may be named, and an operator sees and can do all.
	if _, err := ada.Submit(t.Context(), v1.RunRequest{Task: "t", Files: map[string]v1.FileRef{"file": {Digest: run.Files[0].Digest}}, Inputs: inputs("file", "@file")}, client.SubmitOptions{}); err != nil {
		t.Error(err)
	}
	op := r.client("olga", access.Operator)
	if got, err := op.Run(t.Context(), run.ID); err != nil || got.Account != "ada" {
		t.Errorf("%+v, %v", got, err)
	}
	if again, err := op.Retry(t.Context(), run.ID, client.SubmitOptions{Wait: 20 * time.Second}); err != nil || again.Account != "olga" || again.State != task.Succeeded || len(again.Files) != 1 {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestList pages through runs that come meanwhile, and filters them.
func TestList(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	ada := r.client("ada", access.Caller)
	var ids []string
	for i := range 7 {
		run, err := ada.Submit(t.Context(), v1.RunRequest{Task: "t", Labels: map[string]string{"odd": fmt.Sprint(i%2 == 1), "50.x": "a,b=c"}}, client.SubmitOptions{Wait: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, run.ID)
	}
	slices.Reverse(ids)
	var got []string
	for q := (client.RunQuery{Limit: 3}); ; {
		page, err := ada.Runs(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range page.Items {
			got = append(got, run.ID)
		}
		r.submit(ada)
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("pages hold %v, want %v", got, ids)
	}
	for _, c := range []struct {
		query client.RunQuery
		want  int
	}{
		{client.RunQuery{Labels: map[string]string{"odd": "true"}}, 3},
		{client.RunQuery{Labels: map[string]string{"odd": "false", "50.x": "a,b=c"}}, 4},
		{client.RunQuery{Labels: map[string]string{"odd": "tru"}}, 0},
		{client.RunQuery{Search: ids[0]}, 1},
		{client.RunQuery{Task: "t:1", Labels: map[string]string{"odd": "true"}}, 3},
		{client.RunQuery{Task: "none"}, 0},
		{client.RunQuery{States: []task.State{task.Failed, task.Cancelled}}, 0},
		{client.RunQuery{Since: time.Now().Add(time.Hour)}, 0},
		{client.RunQuery{Until: time.Now().Add(-time.Hour)}, 0},
	} {
		page, err := ada.Runs(t.Context(), c.query)
		if err != nil || len(page.Items) != c.want {
			t.Errorf("%+v: %d runs, want %d, %v", c.query, len(page.Items), c.want, err)
		}
		if n, err := ada.Count(t.Context(), c.query); err != nil || n.Total != int64(c.want) {
			t.Errorf("%+v: counted %+v, %v", c.query, n, err)
		}
	}
}

// TestRequest: what a run was asked for can be had, changed and submitted.
func TestRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	ada := r.client("ada", access.Caller)
	up, err := ada.Upload(t.Context(), content("x"))
	if err != nil {
		t.Fatal(err)
	}
	asked := v1.RunRequest{
		Task: "t", Inputs: map[string]json.RawMessage{"n": json.RawMessage("12345678901234567890"), "file": json.RawMessage(`"@in"`)}, Files: map[string]v1.FileRef{"in": {Digest: up.Digest}},
		Limits: v1.Limits{CPU: "1.5", Memory: "1Gi"}, Timeouts: v1.Timeouts{Run: "1m30s"}, Labels: map[string]string{"a": "b"}, Priority: -3, Retry: v1.Retry{Max: 1, On: []task.Code{"exit"}},
	}
	run, err := ada.Submit(t.Context(), asked, client.SubmitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ada.Request(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := asked
	want.Task, want.Limits.Memory = run.Task, "1073741824"
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	if again, err := ada.Submit(t.Context(), got, client.SubmitOptions{}); err != nil || again.ID == run.ID {
		t.Errorf("%+v, %v", again, err)
	}
	asked.Priority = 1
	if _, err := ada.Submit(t.Context(), asked, client.SubmitOptions{}); task.CodeOf(err) != task.CodeAccess {
		t.Errorf("a caller raises priorities: %v", err)
	}
}

// TestWhy explains waiting, failing, and results that were taken.
func TestWhy(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{service: func(c *durable.Config) { c.Slots = 1 }})
	r.task()
	ada := r.client("ada", access.Caller)
	why := func(id, want string) {
		t.Helper()
		w, err := ada.Why(t.Context(), id)
		if err != nil || !strings.Contains(w.Because, want) {
			t.Errorf("%+v, %v; want %q", w, err, want)
		}
	}
	failed := r.submit(ada, "say", "fail")
	if got := r.wait(ada, failed.ID); got.State != task.Failed || got.Reason != task.ReasonExit {
		t.Errorf("%+v", got)
	}
	why(failed.ID, "ended with 3")
	first := r.submit(ada, "wait", "gate")
	second := r.submit(ada)
	why(second.ID, "it waits for")
	if got, err := ada.Cancel(t.Context(), second.ID); err != nil || got.State != task.Cancelled {
		t.Errorf("%+v, %v", got, err)
	}
	why(second.ID, "cancelled by ada")
	r.gates.release("gate")
	r.wait(ada, first.ID)
	cached := func() v1.Run {
		run, err := ada.Submit(t.Context(), v1.RunRequest{Task: "t", Cache: true, Inputs: inputs("say", "once")}, client.SubmitOptions{Wait: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	one, two := cached(), cached()
	if two.CachedFrom != one.ID || two.State != task.Succeeded {
		t.Errorf("%+v", two)
	}
	why(two.ID, one.ID)
}
