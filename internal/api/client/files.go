package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// Outputs lists the output files of a run.
func (c *Client) Outputs(ctx context.Context, id string) ([]v1.File, error) {
	var page v1.Page[v1.File]
	err := c.get(ctx, "/v1/runs/"+id+"/outputs", nil, &page)
	return page.Items, err
}

// Output opens an output file. The reader goes on where a lost connection broke.
func (c *Client) Output(ctx context.Context, id, path string) (io.ReadCloser, error) {
	r := &download{c: c, ctx: ctx, path: "/v1/runs/" + id + "/outputs/" + path}
	return r, r.open()
}

// Archive opens all outputs as one archive, "zip" or "tar". A connection that breaks is an error.
func (c *Client) Archive(ctx context.Context, id, format string) (io.ReadCloser, error) {
	return c.archive(ctx, id, url.Values{"format": {format}})
}

func (c *Client) archive(ctx context.Context, id string, query url.Values) (io.ReadCloser, error) {
	var body io.ReadCloser
	err := c.retry(ctx, false, func() error {
		res, err := c.send(ctx, request{method: http.MethodGet, path: "/v1/runs/" + id + "/archive", query: query})
		if err == nil {
			body = res.Body
		}
		return err
	})
	return body, err
}

// download reads a file by ranges.
type download struct {
	c    *Client
	ctx  context.Context // of one download, which is what this is
	path string
	at   int64
	etag string
	body io.ReadCloser
}

func (d *download) open() error {
	return d.c.retry(d.ctx, false, func() error {
		r := request{method: http.MethodGet, path: d.path, header: http.Header{}}
		if d.at > 0 {
			r.header.Set("Range", fmt.Sprintf("bytes=%d-", d.at))
			r.header.Set("If-Match", d.etag)
		}
		res, err := d.c.send(d.ctx, r)
		if err != nil {
			return err
		}
		if d.at > 0 && res.StatusCode != http.StatusPartialContent {
			res.Body.Close()
			return task.Errorf(task.ReasonEngine, "the server cannot go on with %s", d.path).WithHint("ask for it again")
		}
		d.body, d.etag = res.Body, res.Header.Get("ETag")
		return nil
	})
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	d.at += int64(n)
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case d.ctx.Err() != nil:
		return n, d.ctx.Err()
	}
	d.body.Close()
	return n, d.open()
}

func (d *download) Close() error {
	if d.body == nil {
		return nil
	}
	return d.body.Close()
}

// Download puts a run's output files below a folder, which must be empty or missing, and checks what arrives. Nothing is written
// outside the folder, whatever the server says.
func (c *Client) Download(ctx context.Context, id, dir string) ([]v1.File, error) {
	files, err := c.Outputs(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, task.Errorf(task.CodeUsage, "the output folder cannot be made: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := c.placeAll(ctx, root, id, files); err != nil {
		return files, err
	}
	return files, checkLinks(root, files)
}

// checkLinks removes links that lead out of the folder by way of other links, and refuses the whole. What they name need not exist.
func checkLinks(root *os.Root, files []v1.File) error {
	for _, f := range files {
		if f.Mode != "link" {
			continue
		}
		name := filepath.FromSlash(f.Path)
		if _, err := root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(leadsOut(f), root.Remove(name))
		}
	}
	return nil
}

func leadsOut(f v1.File) error {
	return task.Errorf(task.ReasonOutput, "the output %q is a link that leads out of the folder, to %q", f.Path, f.Target)
}

// place makes one output, whose content, if it is a file, is what open answers.
func place(root *os.Root, f v1.File, open func() (io.ReadCloser, error)) error {
	name := filepath.FromSlash(f.Path)
	if !filepath.IsLocal(name) {
		return task.Errorf(task.ReasonOutput, "the server names an output %q, which lies outside the folder", f.Path)
	}
	if f.Mode == "dir" {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if f.Mode == "link" {
		if path.IsAbs(f.Target) || !filepath.IsLocal(filepath.Join(filepath.Dir(name), filepath.FromSlash(f.Target))) {
			return leadsOut(f)
		}
		return root.Symlink(f.Target, name)
	}
	in, err := open()
	if err != nil {
		return err
	}
	return errors.Join(fill(root, name, f, in), in.Close())
}

// fill writes one file, which appears under its name only when it is whole.
func fill(root *os.Root, name string, f v1.File, in io.Reader) (err error) {
	part := name + ".part"
	out, err := root.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return task.Errorf(task.CodeUsage, "an output cannot be written: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(part))
		}
	}()
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != strings.TrimPrefix(f.Digest, "sha256:") {
		return task.Errorf(task.ReasonOutput, "the output %s arrived damaged", f.Path).WithHint("ask for it again")
	}
	return root.Rename(part, name)
}
