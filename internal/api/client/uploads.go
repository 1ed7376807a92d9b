package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"

	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// Upload sends what open opens, which it does again when the connection is lost.
func (c *Client) Upload(ctx context.Context, open func() (io.ReadCloser, error)) (up v1.Upload, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: "/v1/uploads", kind: "application/octet-stream", body: open}, &up)
	return up, err
}

// known is the size from which on it is asked first whether the server has the file already.
const known = 1 << 20

// UploadFile sends a file, unless the account has uploaded it before.
func (c *Client) UploadFile(ctx context.Context, path string) (v1.Upload, error) {
	open := func() (io.ReadCloser, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, task.Errorf(task.CodeMissing, "cannot read %s: %w", path, err)
		}
		return f, nil
	}
	f, err := open()
	if err != nil {
		return v1.Upload{}, err
	}
	defer f.Close()
	if st, err := os.Stat(path); err != nil || st.Size() < known {
		return c.Upload(ctx, open)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return v1.Upload{}, task.Errorf(task.CodeMissing, "cannot read %s: %w", path, err)
	}
	var up v1.Upload
	err = c.get(ctx, "/v1/uploads/sha256:"+hex.EncodeToString(sum.Sum(nil)), nil, &up)
	if task.CodeOf(err) == task.CodeMissing {
		return c.Upload(ctx, open)
	}
	return up, err
}

// UploadPath sends a file, or every file of a folder. Links are followed within the folder only.
func (c *Client) UploadPath(ctx context.Context, path string) (v1.FileRef, error) {
	st, err := os.Stat(path)
	if err != nil {
		return v1.FileRef{}, task.Errorf(task.CodeMissing, "cannot read %s: %w", path, err)
	}
	if !st.IsDir() {
		up, err := c.UploadFile(ctx, path)
		return v1.FileRef{Digest: up.Digest, Name: filepath.Base(path)}, err
	}
	return c.uploadFolder(ctx, path)
}
