package client

import (
	"archive/tar"
	"context"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	v1 "longshore/internal/api/v1"
)

const (
	// manyFiles is how many small files in a row are worth a stream: asking for each costs more than sending it.
	manyFiles = 16
	// largeFile is asked for by itself, as it can then go on where a connection broke.
	largeFile = 4 << 20
)

// placeAll puts a run's outputs below root, in their order.
func (c *Client) placeAll(ctx context.Context, root *os.Root, id string, files []v1.File) error {
	for after := ""; len(files) > 0; {
		small := slices.IndexFunc(files, func(f v1.File) bool { return f.Size >= largeFile })
		if small < 0 {
			small = len(files)
		}
		placed := 0
		if small > manyFiles {
			var err error
			if placed, err = c.placeStreamed(ctx, root, id, after, files[:small]); err != nil {
				return err
			}
		}
		if placed == 0 {
			// Asked for alone, a file that no stream brought says why.
			f := files[0]
			if err := place(root, f, func() (io.ReadCloser, error) { return c.Output(ctx, id, f.Path) }); err != nil {
				return err
			}
			placed = 1
		}
		after, files = files[placed-1].Path, files[placed:]
	}
	return nil
}

// placeStreamed puts files, which come after another, below root from one archive, and answers how many. That are not all where the
// connection breaks, or the server sends something else.
func (c *Client) placeStreamed(ctx context.Context, root *os.Root, id, after string, files []v1.File) (placed int, err error) {
	body, err := c.archive(ctx, id, url.Values{"format": {"tar"}, "after": {after}})
	if err != nil {
		return 0, err
	}
	defer body.Close()
	in := &brokenReader{r: body}
	for t := tar.NewReader(in); placed < len(files); placed++ {
		h, err := t.Next()
		if err != nil || strings.TrimSuffix(h.Name, "/") != files[placed].Path {
			return placed, ctx.Err()
		}
		err = place(root, files[placed], func() (io.ReadCloser, error) { return io.NopCloser(t), nil })
		if in.broke {
			return placed, ctx.Err()
		}
		if err != nil {
			return placed, err
		}
	}
	return placed, nil
}

// brokenReader remembers whether reading failed.
type brokenReader struct {
	r     io.Reader
	broke bool
}

func (b *brokenReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.broke = b.broke || err != nil && err != io.EOF
	return n, err
}
