package api_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"longshore/internal/access"
	"longshore/internal/api"
	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// TestUploadMany sends a folder of many files there and back: small, empty and large ones, and empty folders.
func TestUploadMany(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	ada := r.client("ada", access.Caller)
	from, to := filepath.Join(t.TempDir(), "in"), t.TempDir()
	content := map[string]string{"folder/large": strings.Repeat("0123456789", 200_000), "folder/empty": ""}
	for i := range 300 {
		content[fmt.Sprintf("folder/%d/%s%d", i%7, strings.Repeat("long-", i%30), i)] = strings.Repeat("x", i*i%5000)
	}
	for name, text := range content {
		at := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(from, "folder/none"), 0o755); err != nil {
		t.Fatal(err)
	}
	folder, err := ada.UploadPath(t.Context(), filepath.Join(from, "folder"))
	if err != nil {
		t.Fatal(err)
	}
	run, err := ada.Submit(t.Context(), v1.RunRequest{Task: "t", Inputs: inputs("folder", "@d"), Files: map[string]v1.FileRef{"d": folder}}, client.SubmitOptions{Wait: 20 * time.Second})
	if err != nil || run.State != task.Succeeded {
		t.Fatalf("%+v, %v", run, err)
	}
	if _, err := ada.Download(t.Context(), run.ID, to); err != nil {
		t.Fatal(err)
	}
	for name, want := range content {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if st, err := os.Stat(filepath.Join(to, "folder/none")); err != nil || !st.IsDir() {
		t.Error(err)
	}
}

// TestUploadManyRefuses: what is no archive of plain files is told so.
func TestUploadManyRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.MaxUpload = 1 << 20 }})
	token := r.secret("ada", access.Caller)
	archive := func(list ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range list {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(make([]byte, h.Size)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	file := func(name string, size int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size}
	}
	whole := archive(file("a", 5000), file("b/c", 300<<10))
	for name, c := range map[string]struct {
		body   []byte
		status int
		code   task.Code
		says   string
	}{
		"text":      {[]byte(strings.Repeat("no archive ", 100)), http.StatusBadRequest, task.CodeUsage, "not a tar archive"},
		"cut small": {whole[:3000], http.StatusBadRequest, task.CodeUsage, "did not arrive whole"},
		"cut large": {whole[:100<<10], http.StatusBadRequest, task.CodeUsage, "did not arrive whole"},
		"link":      {archive(tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "/etc/passwd"}), http.StatusBadRequest, task.CodeUsage, "not a plain file"},
		"folder":    {archive(tar.Header{Typeflag: tar.TypeDir, Name: "d/"}), http.StatusBadRequest, task.CodeUsage, "not a plain file"},
		"up":        {archive(file("../x", 1)), http.StatusBadRequest, task.CodeUsage, "no plain path"},
		"absolute":  {archive(file("/x", 1)), http.StatusBadRequest, task.CodeUsage, "no plain path"},
		"too large": {archive(file("a", 600<<10), file("b", 600<<10)), http.StatusRequestEntityTooLarge, task.CodeLimit, "larger than"},
	} {
		res, data := r.ask(token, "POST", "/v1/uploads/many", bytes.NewReader(c.body), "Content-Type", "application/x-tar")
		r.problem(res, data, c.status, c.code)
		if !strings.Contains(string(data), c.says) {
			t.Errorf("%s: %s", name, data)
		}
	}
	res, data := r.ask(token, "POST", "/v1/uploads/many", bytes.NewReader(whole), "Content-Type", "application/x-tar")
	if res.StatusCode != http.StatusCreated || strings.Count(string(data), "sha256:") != 2 {
		t.Errorf("%s %s", res.Status, data)
	}
}
