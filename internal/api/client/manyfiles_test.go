package client_test

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "longshore/internal/api/v1"
)

// TestDownloadMany fetches many small files as streams, goes on behind the last one that arrived where a stream breaks, and asks for
// what is large by itself.
func TestDownloadMany(t *testing.T) {
	t.Parallel()
	const many, large = 100, 5 << 20
	content := func(path string) string {
		if path == "d/050" {
			return strings.Repeat("x", large)
		}
		return path
	}
	files := []v1.File{{Path: "d", Mode: "dir"}}
	for i := range many {
		path := fmt.Sprintf("d/%03d", i)
		sum := sha256.Sum256([]byte(content(path)))
		files = append(files, v1.File{Path: path, Size: int64(len(content(path))), Digest: "sha256:" + hex.EncodeToString(sum[:])})
	}
	var streams, alone atomic.Int64
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch name := strings.TrimPrefix(r.URL.Path, "/v1/runs/1/"); name {
		case "outputs":
			answer(w, v1.Page[v1.File]{Items: files})
		case "archive":
			streams.Add(1)
			// Each stream breaks within its 21st file.
			from := 1 + slices.IndexFunc(files, func(f v1.File) bool { return f.Path == r.URL.Query().Get("after") })
			out := tar.NewWriter(w)
			for _, f := range files[from:min(from+21, len(files))] {
				h := &tar.Header{Name: f.Path, Size: f.Size, Mode: 0o644}
				if f.Mode == "dir" {
					h.Name, h.Typeflag = f.Path+"/", tar.TypeDir
				}
				if err := out.WriteHeader(h); err != nil {
					return
				}
				if f.Mode == "" && f.Path != files[min(from+20, len(files)-1)].Path {
					_, _ = out.Write([]byte(content(f.Path)))
				}
			}
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			alone.Add(1)
			w.Header().Set("ETag", `"x"`)
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content(strings.TrimPrefix(name, "outputs/"))))
		}
	})
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := c.Download(t.Context(), "1", dir); err != nil {
		t.Fatal(err)
	}
	for _, f := range files[1:] {
		if got, err := os.ReadFile(filepath.Join(dir, f.Path)); err != nil || string(got) != content(f.Path) {
			t.Errorf("%s: %d bytes, %v", f.Path, len(got), err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "d/*.part")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if streams.Load() > 8 || alone.Load() > 32 {
		t.Errorf("%d streams and %d files by themselves", streams.Load(), alone.Load())
	}
}
