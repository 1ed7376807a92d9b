package client

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// Small files of a folder are sent together, up to so many of so many bytes, and again together where a connection breaks.
const (
	togetherFiles = 2000
	togetherBytes = 32 << 20
)

// folderUpload sends the files of a folder.
type folderUpload struct {
	c    *Client
	root *os.Root
	ref  v1.FileRef
	// small are the places in ref.Entries of files that are still to be sent, and bytes is how large they are.
	small []int
	bytes int64
}

// uploadFolder sends every file of a folder. Links are followed within the folder only.
func (c *Client) uploadFolder(ctx context.Context, path string) (v1.FileRef, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return v1.FileRef{}, task.Errorf(task.CodeMissing, "cannot read %s: %w", path, err)
	}
	defer root.Close()
	u := &folderUpload{c: c, root: root, ref: v1.FileRef{Entries: []v1.File{}}}
	err = filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err != nil || at == path {
			return err
		}
		rel, err := filepath.Rel(path, at)
		if err != nil {
			return err
		}
		return u.add(ctx, at, rel, d)
	})
	if err == nil {
		err = u.flush(ctx)
	}
	return u.ref, err
}

// add sends a file, or leaves it for the next flush. Of folders only the empty ones count.
func (u *folderUpload) add(ctx context.Context, at, rel string, d fs.DirEntry) error {
	e := v1.File{Path: filepath.ToSlash(rel)}
	if d.IsDir() {
		if inside, err := os.ReadDir(at); err != nil || len(inside) > 0 {
			return err
		}
		e.Mode = "dir"
		u.ref.Entries = append(u.ref.Entries, e)
		return nil
	}
	st, err := u.root.Stat(rel) // refuses links that lead out
	if err != nil || !st.Mode().IsRegular() {
		return task.Errorf(task.ReasonInput, "%s is neither a file nor a folder, nor a link to a file within the folder", at)
	}
	if st.Size() >= known {
		up, err := u.c.UploadFile(ctx, at)
		e.Digest, e.Size = up.Digest, up.Size
		u.ref.Entries = append(u.ref.Entries, e)
		return err
	}
	e.Size = st.Size()
	u.ref.Entries = append(u.ref.Entries, e)
	u.small, u.bytes = append(u.small, len(u.ref.Entries)-1), u.bytes+e.Size
	if len(u.small) == togetherFiles || u.bytes >= togetherBytes {
		return u.flush(ctx)
	}
	return nil
}

// flush sends the small files that wait.
func (u *folderUpload) flush(ctx context.Context) error {
	if len(u.small) == 0 {
		return nil
	}
	files := make([]v1.File, len(u.small))
	for i, at := range u.small {
		files[i] = u.ref.Entries[at]
	}
	body := func() (io.ReadCloser, error) { return archiveOf(u.root, files), nil }
	var kept v1.Page[v1.File]
	if err := u.c.call(ctx, request{method: http.MethodPost, path: "/v1/uploads/many", kind: "application/x-tar", body: body}, &kept); err != nil {
		return err
	}
	if len(kept.Items) != len(u.small) {
		return task.Errorf(task.ReasonEngine, "the server kept %d of %d files", len(kept.Items), len(u.small)).WithHint("is it a Longshore server, of a version that fits?")
	}
	for i, at := range u.small {
		u.ref.Entries[at].Digest = kept.Items[i].Digest
	}
	u.small, u.bytes = nil, 0
	return nil
}

// archiveOf makes a tar archive of files while it is read.
func archiveOf(root *os.Root, files []v1.File) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		for _, f := range files {
			if err := archiveFile(t, root, f); err != nil {
				w.CloseWithError(err)
				return
			}
		}
		w.CloseWithError(t.Close())
	}()
	return r
}

func archiveFile(t *tar.Writer, root *os.Root, e v1.File) error {
	f, err := root.Open(filepath.FromSlash(e.Path))
	if err != nil {
		return task.Errorf(task.CodeMissing, "cannot read %s: %w", e.Path, err)
	}
	defer f.Close()
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: e.Path, Size: e.Size, Mode: 0o644}); err != nil {
		return err
	}
	if _, err := io.CopyN(t, f, e.Size); errors.Is(err, io.EOF) {
		return task.Errorf(task.ReasonInput, "%s became shorter while it was sent", e.Path)
	} else if err != nil {
		return err
	}
	return nil
}
