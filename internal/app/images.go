package app

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/dispatch"
	"longshore/internal/image"
	"longshore/internal/outbound"
	"longshore/internal/task"
)

// images gets images ready for dispatch: it builds, loads, pulls or finds them.
type images struct{ app *App }

var _ dispatch.Images = (*images)(nil)

// Ensure implements dispatch.Images.
func (i *images) Ensure(ctx context.Context, src task.ImageSource) (dispatch.Image, error) {
	if src.Name == "" {
		return nil, (&task.Error{Code: task.ReasonImage, Message: "the package names no image, so there is nothing to run"}).WithHint("`longshore validate` says what is missing")
	}
	store, err := i.app.Images()
	if err != nil {
		return nil, imageError(err)
	}
	var img *image.Image
	fresh := true
	switch src.Kind {
	case task.ImageBuild:
		img, fresh, err = i.app.build(ctx, store, src)
	case task.ImageArchive:
		img, err = i.load(ctx, store, src)
	default:
		img, err = store.Ensure(ctx, src.Name, image.Platform{}, i.app.cfg.Progress)
	}
	if err != nil {
		return nil, i.app.noImage(err)
	}
	if src.Digest != "" && string(img.Digest()) != src.Digest {
		return nil, (&task.Error{Code: task.ReasonImage, Message: fmt.Sprintf("image %s has the digest %s, the package names %s", src.Name, img.Digest(), src.Digest)}).
			WithHint("pull the image again, or mend the digest in the package")
	}
	ready := readyImage{img: img}
	if src.Kind != task.ImageReference {
		ready.name, err = i.app.claim(store, src, img)
		if fresh {
			i.app.tell(image.Event{Kind: image.EventImage, Text: ready.name})
		}
	}
	return ready, imageErrorOrNil(err)
}

// Build gets a task's image ready and returns it with the name to call it by.
func (a *App) Build(ctx context.Context, src task.ImageSource) (*image.Image, string, error) {
	ready, err := (&images{app: a}).Ensure(ctx, src)
	if err != nil {
		return nil, "", err
	}
	return ready.(readyImage).img, ready.Facts().Reference, nil
}

// build builds a package's image, unless nothing has changed since the last time; fresh tells that something was done.
func (a *App) build(ctx context.Context, store *image.Store, src task.ImageSource) (img *image.Image, fresh bool, err error) {
	opts := image.BuildOptions{
		Context: src.Context, Dockerfile: src.Dockerfile, Tags: []string{ownName(src)},
		Args: src.Args, LocalBases: src.LocalBases, Labels: src.Labels, Sensitive: src.Secrets.Values, Progress: a.untitled(),
	}
	if src.Recipe != "" {
		opts.DockerfileContent = []byte(src.Recipe)
	}
	for id, content := range src.Secrets.Files {
		if opts.Secrets == nil {
			opts.Secrets = map[string][]byte{}
		}
		opts.Secrets[id] = []byte(content)
	}
	return a.buildUnlessUnchanged(ctx, store, opts)
}

// BuildDockerfile builds what belongs to no package. Its tags are the caller's own choice, so they move to the new image
// whatever had them: as with Docker.
func (a *App) BuildDockerfile(ctx context.Context, opts image.BuildOptions) (*image.Image, error) {
	store, err := a.Images()
	if err != nil {
		return nil, imageError(err)
	}
	opts.Progress = a.cfg.Progress
	img, _, err := a.buildUnlessUnchanged(ctx, store, opts)
	return img, imageErrorOrNil(err)
}

func (a *App) buildUnlessUnchanged(ctx context.Context, store *image.Store, opts image.BuildOptions) (img *image.Image, fresh bool, err error) {
	opts.Network, opts.NoCache, opts.Runner = true, a.cfg.NoCache, &buildRunner{engine: a.engine}
	if img, err = store.Unchanged(ctx, opts); img != nil || err != nil {
		return img, false, err
	}
	img, err = store.Build(ctx, opts)
	return img, true, err
}

func (i *images) load(ctx context.Context, store *image.Store, src task.ImageSource) (*image.Image, error) {
	open := func() (io.ReadCloser, error) { return os.Open(src.Archive) }
	what := src.Archive
	if src.Entry != "" {
		what += ": " + src.Entry
		open = func() (io.ReadCloser, error) { return openEntry(src.Archive, src.Entry) }
	}
	loaded, err := store.LoadArchive(ctx, open, image.LoadOptions{Name: src.Name, As: ownName(src), What: what, Progress: i.app.untitled()})
	if err != nil {
		return nil, err
	}
	return loaded[0], nil
}

// openEntry streams one entry of a zip file.
func openEntry(archive, entry string) (io.ReadCloser, error) {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return nil, err
	}
	for _, f := range z.File {
		if f.Name == entry {
			r, err := f.Open()
			if err != nil {
				z.Close()
				return nil, err
			}
			return entryReader{r, z}, nil
		}
	}
	z.Close()
	return nil, fmt.Errorf("%s has no entry %s", archive, entry)
}

type entryReader struct {
	io.ReadCloser
	archive io.Closer
}

func (e entryReader) Close() error { return errors.Join(e.ReadCloser.Close(), e.archive.Close()) }

// CheckImage lets the package's contract look into the image that was made of it.
func (p *Package) CheckImage(img *image.Image) []task.Finding {
	checker, ok := p.Contract.(contract.ImageChecker)
	if !ok {
		return nil
	}
	_, findings := checker.CheckImage(p.Task, p.Source, readyImage{img: img})
	return findings
}

// readyImage shows an image of the store to contracts and dispatch.
type readyImage struct {
	img *image.Image
	// name is the one to show; empty means the image's own.
	name string
}

// Facts implements contract.ImageFiles.
func (r readyImage) Facts() task.ImageFacts {
	f := r.img.Facts()
	out := task.ImageFacts{
		Reference: cmp.Or(r.name, r.img.Name()), Digest: string(r.img.Digest()), Entrypoint: f.Entrypoint, Cmd: f.Cmd, Env: f.Env, WorkingDir: f.WorkingDir,
		User: f.User, Volumes: f.Volumes, Labels: f.Labels, StopSignal: f.StopSignal, Arch: f.Platform.String(),
	}
	for _, p := range f.ExposedPorts {
		number, proto, _ := strings.Cut(p, "/")
		if n, err := strconv.Atoi(number); err == nil && proto != "udp" {
			out.Ports = append(out.Ports, n)
		}
	}
	slices.Sort(out.Ports)
	return out
}

// ReadFile implements contract.ImageFiles.
func (r readyImage) ReadFile(path string, limit int64) ([]byte, error) {
	data, err := r.img.ReadFile(context.Background(), path, limit)
	if image.KindOf(err) == image.KindNotFound && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return data, err
}

// Stat implements contract.ImageTree.
func (r readyImage) Stat(path string) (fs.FileMode, error) {
	return r.img.Stat(context.Background(), path)
}

// CountFiles implements contract.ImageTree.
func (r readyImage) CountFiles(path string, limit int) (int, error) {
	return r.img.CountFiles(context.Background(), path, limit)
}

var _ dispatch.Holder = readyImage{}

// Hold implements dispatch.Holder.
func (r readyImage) Hold() (func(), error) { return r.img.Hold() }

// Layers implements dispatch.Image.
func (r readyImage) Layers(ctx context.Context) ([]string, error) { return r.img.Layers(ctx) }

// ImageError translates the image store's errors for people; nil stays nil.
func ImageError(err error) error { return imageErrorOrNil(err) }

func imageErrorOrNil(err error) error {
	if err == nil {
		return nil
	}
	return imageError(err)
}

// noImage translates the image store's errors. Where logins are not used, it tells what can be done about an image that needs one.
func (a *App) noImage(err error) error {
	if refused := outbound.Explain(err); refused != err {
		return refused
	}
	out := imageError(err)
	if e, ok := errors.AsType[*task.Error](out); ok && a.cfg.Anonymous && image.KindOf(err) == image.KindUnauthorised {
		return e.WithHint("a server does not use the operator's registry logins for what others import; the operator can bring the image here: longshore image pull")
	}
	return out
}

// imageError translates the image store's errors for people.
func imageError(err error) error {
	if _, ok := errors.AsType[*task.Error](err); ok {
		return err
	}
	if e, ok := errors.AsType[*image.BuildError](err); ok {
		out := &task.Error{Code: task.ReasonImage, Message: e.Place(), Cause: e.Err, Hint: e.Hint}
		if inner, ok := errors.AsType[*image.Error](e.Err); ok && e.Hint == "" {
			out.Cause, out.Hint = plainImageError(inner), inner.Hint
		}
		if out.Hint == "" && len(e.Log) > 0 {
			out.Hint = "its last output was: " + e.Log[len(e.Log)-1]
		}
		return out
	}
	e, ok := errors.AsType[*image.Error](err)
	if !ok && errors.Is(err, context.Canceled) {
		return err
	}
	if !ok {
		return task.Errorf(task.ReasonImage, "the image cannot be used: %w", err)
	}
	code := task.ReasonImage
	if e.Kind == image.KindNotFound {
		code = task.CodeMissing
	}
	if e.Kind == image.KindStore {
		code = task.ReasonEngine
	}
	return &task.Error{Code: code, Message: plainImageError(e).Error(), Hint: e.Hint}
}

// plainImageError is the error's text without its hint.
func plainImageError(e *image.Error) error {
	plain := *e
	plain.Hint = ""
	return errors.New(plain.Error())
}
