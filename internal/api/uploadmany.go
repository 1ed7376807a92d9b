package api

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

const (
	// maxManyFiles bounds the files of one archive that is uploaded.
	maxManyFiles = 10_000
	// smallFile is kept beside others: what takes time is that it is on the disk for certain. Larger ones come one after the other.
	smallFile = 256 << 10
	// smallFiles is how many at once, and so how much memory a request has.
	smallFiles = 16
)

// uploadMany keeps the files of a tar archive as they come.
func (a *API) uploadMany(ctx context.Context, _ *empty) (*answer[v1.Page[v1.File]], error) {
	c := callOf(ctx)
	var kept []*v1.File
	group, during := errgroup.WithContext(ctx)
	group.SetLimit(smallFiles)
	left := a.cfg.MaxUpload
	for t := tar.NewReader(c.r.Body); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.Join(group.Wait(), notTar(err))
		}
		f, err := fileOf(h, len(kept))
		if err == nil && f.Size > left {
			err = tooLarge("the files are larger than %s together", task.Bytes(a.cfg.MaxUpload)).WithHint("the operator can raise the limit")
		}
		if err == nil {
			left -= f.Size
			kept = append(kept, f)
			err = a.keepOne(during, group, t, f)
		}
		if err != nil {
			return nil, errors.Join(group.Wait(), err)
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	list := make([]v1.File, len(kept))
	for i, f := range kept {
		list[i] = *f
	}
	return &answer[v1.Page[v1.File]]{Status: http.StatusCreated, Body: v1.Page[v1.File]{Items: list}}, nil
}

// fileOf is an entry of an archive that has so many before it.
func fileOf(h *tar.Header, before int) (*v1.File, error) {
	refuse := func(why string) (*v1.File, error) {
		return nil, task.Errorf(task.CodeUsage, "the archive's entry %q %s", h.Name, why).WithHint("send plain files, by paths such as a/b")
	}
	switch {
	case before == maxManyFiles:
		return nil, task.Errorf(task.CodeLimit, "the archive has more than %d files", maxManyFiles).WithHint("send the rest in another one")
	case h.Typeflag != tar.TypeReg:
		return refuse("is not a plain file")
	case h.Name == "" || path.IsAbs(h.Name) || path.Clean(h.Name) != h.Name || strings.HasPrefix(h.Name, "../") || h.Name == "..":
		return refuse("has no plain path")
	}
	return &v1.File{Path: h.Name, Size: h.Size}, nil
}

// keepOne keeps what is read of one file, and tells its digest; small ones while the next ones come.
func (a *API) keepOne(ctx context.Context, group *errgroup.Group, r io.Reader, f *v1.File) error {
	keep := func(r io.Reader) error {
		up, err := a.keep(ctx, r, max(f.Size, 1))
		f.Digest = up.Digest
		return err
	}
	if f.Size > smallFile {
		return keep(r)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return cutOff(err)
	}
	group.Go(func() error { return keep(bytes.NewReader(data)) })
	return nil
}

// notTar is the error of a body in which no next entry is found.
func notTar(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return cutOff(err)
	}
	return task.Errorf(task.CodeUsage, "the body is not a tar archive: %w", err)
}
