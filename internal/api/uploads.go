package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"

	"longshore/internal/access"
	v1 "longshore/internal/api/v1"
	"longshore/internal/blob"
	"longshore/internal/store"
	"longshore/internal/task"
)

// keep makes a blob of what is read, which the account then may name.
func (a *API) keep(ctx context.Context, r io.Reader, limit int64) (v1.Upload, error) {
	if limit <= 0 {
		return v1.Upload{}, tooLarge("the files are larger than %s together", task.Bytes(a.cfg.MaxUpload)).WithHint("the operator can raise the limit")
	}
	i, err := a.svc.Upload(ctx, who(ctx).Account, r, limit)
	if err != nil {
		return v1.Upload{}, cutOff(err)
	}
	return v1.Upload{Digest: i.Digest, Size: i.Size}, nil
}

// cutOff is the error of a body that did not arrive whole, as what it is.
func cutOff(err error) error {
	if e, ok := errors.AsType[*task.Error](err); ok {
		if e.Code == task.ReasonEngine && !errors.Is(err, blob.ErrFull) && errors.Is(err, io.ErrUnexpectedEOF) {
			return task.Errorf(task.CodeUsage, "the request's body did not arrive whole").WithHint("send it again")
		}
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return task.Errorf(task.CodeUsage, "the request's body did not arrive whole").WithHint("send it again")
	}
	return err
}

func (a *API) upload(ctx context.Context, _ *empty) (*answer[v1.Upload], error) {
	c := callOf(ctx)
	if c.r.ContentLength > a.cfg.MaxUpload {
		return nil, tooLarge("the file has %s, and this server takes %s", task.Bytes(c.r.ContentLength), task.Bytes(a.cfg.MaxUpload)).WithHint("the operator can raise the limit")
	}
	up, err := a.keep(ctx, c.r.Body, a.cfg.MaxUpload)
	c.subject = up.Digest
	return &answer[v1.Upload]{Status: http.StatusCreated, Body: up}, err
}

type digestInput struct {
	Digest string `path:"digest" pattern:"^sha256:[0-9a-f]{64}$"`
}

func (a *API) getUpload(ctx context.Context, in *digestInput) (*answer[v1.Upload], error) {
	if err := a.mayName(ctx, []string{in.Digest}); err != nil {
		return nil, err
	}
	f, err := a.svc.OpenFile(ctx, store.File{Path: in.Digest, Digest: in.Digest})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	return &answer[v1.Upload]{Body: v1.Upload{Digest: in.Digest, Size: size}}, nil
}

// mayName refuses digests that the account has not uploaded and that none of its runs has: to know a digest is not to have the
// content. Whether others have it is not told.
func (a *API) mayName(ctx context.Context, digests []string) error {
	const batch = 500
	for chunk := range slices.Chunk(digests, batch) {
		held, err := a.cfg.Store.Held(ctx, who(ctx).Account, chunk, a.cfg.Now())
		if err != nil {
			return access.DatabaseError(err)
		}
		for _, d := range chunk {
			if !slices.Contains(held, d) {
				return task.Errorf(task.CodeMissing, "there is no upload %s of this account", d).WithHint("upload it: POST /v1/uploads")
			}
		}
	}
	return nil
}

// The bounds of forms.
const (
	maxParts = 10_000
	maxText  = 64 << 10
)

// form reads a multipart body part by part; nothing of it is kept in memory.
type form struct {
	r     *multipart.Reader
	body  io.Reader
	parts int
	left  int64 // bytes that files may have
}

// part is one part of a form.
type part struct{ *multipart.Part }

func (a *API) form(r *http.Request) (*form, error) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return nil, noMediaType(r.Header.Get("Content-Type"), "multipart/form-data with a boundary")
	}
	return &form{body: r.Body, r: multipart.NewReader(r.Body, params["boundary"]), left: a.cfg.MaxUpload}, nil
}

// next answers nil at the end.
func (f *form) next() (*part, error) {
	p, err := f.r.NextRawPart()
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		_, err = io.Copy(io.Discard, io.LimitReader(f.body, maxText)) // what follows the last boundary
		return nil, err
	}
	if err != nil {
		if _, ok := errors.AsType[*task.Error](err); ok {
			return nil, err
		}
		return nil, task.Errorf(task.CodeUsage, "the form cannot be read: %w", err).WithHint("send multipart/form-data, as curl -F does")
	}
	if f.parts++; f.parts > maxParts {
		return nil, task.Errorf(task.CodeLimit, "the form has more than %d parts", maxParts).WithHint("send a folder with many files as an archive")
	}
	if enc := p.Header.Get("Content-Transfer-Encoding"); p.FormName() == "" || enc != "" && !strings.EqualFold(enc, "binary") {
		return nil, task.Errorf(task.CodeUsage, "part %d of the form has no name, or is encoded", f.parts).WithHint("name each part, and send it as it is")
	}
	return &part{p}, nil
}

// text reads a part that is no file.
func (p *part) text(into *string) error {
	data, err := io.ReadAll(io.LimitReader(p, maxText+1))
	if err != nil {
		return cutOff(err)
	}
	if len(data) > maxText {
		return tooLarge("the part %q is larger than %s", p.FormName(), task.Bytes(maxText))
	}
	*into = string(data)
	return nil
}
