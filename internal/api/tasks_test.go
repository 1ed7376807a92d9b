package api_test

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"longshore/internal/access"
	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// TestImport: every way to hand a package over.
func TestImport(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	amy, token := r.client("amy", access.Author), r.secret("amy", access.Author)
	var folder bytes.Buffer
	z := zip.NewWriter(&folder)
	for _, name := range []string{"top/package", "top/other"} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte("package")) // a buffer
	}
	z.Close()

	res, data := r.ask(token, "POST", "/v1/tasks?filename=raw&dryRun=true", strings.NewReader("package"), "Content-Type", "application/octet-stream")
	var got v1.Task
	mustJSON(t, data, &got)
	if res.StatusCode != 200 || got.ID != "" || got.Name != "raw" || len(got.Findings) != 1 || got.Evidence == "" || len(got.Parameters) != len(parameters) {
		t.Errorf("dry run: %s %s", res.Status, data)
	}
	for _, c := range []struct{ name, path, kind, body, want string }{
		{"raw", "/v1/tasks?filename=raw&version=7", "application/octet-stream", "package", "raw:7"},
		{"archive", "/v1/tasks?filename=x.zip&name=zipped", "application/zip", folder.String(), "zipped:1"},
		{"git", "/v1/tasks", "application/json", `{"git":"git+https://example.org/x","name":"cloned"}`, "cloned:1"},
	} {
		res, data := r.ask(token, "POST", c.path, strings.NewReader(c.body), "Content-Type", c.kind)
		mustJSON(t, data, &got)
		if res.StatusCode != 201 || got.Name+":"+got.Version != c.want || got.ID == "" || got.Account != "amy" {
			t.Errorf("%s: %s %s", c.name, res.Status, data)
		}
	}
	body, kind := form(t, "file", "package", "name", "posted", "dryRun", "false")
	res, data = r.ask(token, "POST", "/v1/tasks", body, "Content-Type", kind)
	mustJSON(t, data, &got)
	if res.StatusCode != 201 || got.Name != "posted" {
		t.Errorf("form: %s %s", res.Status, data)
	}
	body, kind = form(t, "fiel", "package")
	res, data = r.ask(token, "POST", "/v1/tasks", body, "Content-Type", kind)
	r.problem(res, data, 400, task.CodeUsage)

	page, err := amy.Tasks(t.Context(), client.TaskQuery{})
	if err != nil || len(page.Items) != 4 {
		t.Errorf("%+v, %v", page, err)
	}
	if page, err = amy.Tasks(t.Context(), client.TaskQuery{Search: "LONE"}); err != nil || len(page.Items) != 1 || page.Items[0].Name != "cloned" {
		t.Errorf("%+v, %v", page, err)
	}
	// Hidden tasks run no more; others' can be hidden by operators alone.
	wantErr(t, r.client("ann", access.Author).HideTask(t.Context(), "raw"), task.CodeAccess, "amy")
	if err := amy.HideTask(t.Context(), "raw:7"); err != nil {
		t.Error(err)
	}
	if _, err := amy.Task(t.Context(), "raw", ""); task.CodeOf(err) != task.CodeMissing {
		t.Error(err)
	}
	all, err := amy.Tasks(t.Context(), client.TaskQuery{All: true, Name: "raw"})
	if err != nil || len(all.Items) != 1 || !all.Items[0].Hidden {
		t.Fatalf("%+v, %v", all, err)
	}
	_, err = r.client("ada", access.Caller).Submit(t.Context(), v1.RunRequest{Task: all.Items[0].ID}, client.SubmitOptions{})
	wantErr(t, err, task.CodeMissing, "hidden")
	if err := r.client("olga", access.Operator).HideTask(t.Context(), "posted"); err != nil {
		t.Error(err)
	}
}

// TestNames: an author cannot put a version under another's name, only hand in again what is there. An administrator can, and takes
// the name over from nobody.
func TestNames(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	amy, bob, root := r.secret("amy", access.Author), r.secret("bob", access.Author, access.Operator), r.secret("root", access.Admin)
	give := func(token, content, query string) (int, v1.Task, []byte) {
		t.Helper()
		res, data := r.ask(token, "POST", "/v1/tasks?filename=sum"+query, strings.NewReader(content), "Content-Type", "application/octet-stream")
		if res.StatusCode == 403 {
			r.problem(res, data, 403, task.CodeAccess)
			return 403, v1.Task{}, data
		}
		var got v1.Task
		mustJSON(t, data, &got)
		return res.StatusCode, got, data
	}
	_, first, _ := give(amy, "package", "")
	for _, query := range []string{"", "&version=2", "&dryRun=true"} {
		if status, _, data := give(bob, "package of bob", query); status != 403 || !strings.Contains(string(data), "amy") {
			t.Errorf("%s: %d %s", query, status, data)
		}
	}
	if status, got, data := give(bob, "package", ""); status >= 300 || got.ID != first.ID {
		t.Errorf("the same again: %d %s", status, data)
	}
	if status, got, data := give(bob, "package of bob", "&name=bobs"); status != 201 || got.Name != "bobs" {
		t.Errorf("another name: %d %s", status, data)
	}
	for who, token := range map[string]string{"an administrator": root, "its owner": amy} {
		if status, _, data := give(token, "package of "+who, "&version=3"); status != 201 {
			t.Errorf("%s: %d %s", who, status, data)
		}
	}
}
