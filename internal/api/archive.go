package api

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

type archiveInput struct {
	RunInput
	Format string `query:"format" enum:"zip,tar" doc:"zip when not given"`
	Path   string `query:"path" maxLength:"4096" doc:"Only this output"`
	After  string `query:"after" maxLength:"4096" doc:"Only what comes after this file in the list of outputs: to go on where a connection broke"`
}

func (a *API) getArchive(ctx context.Context, in *archiveInput) (*stream, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	files := within(durable.Outputs(run), in.Path)
	after := slices.IndexFunc(files, func(f store.File) bool { return f.Path == in.After })
	switch {
	case !run.State.Terminal():
		return nil, task.Errorf(task.CodeMissing, "run %s has not ended: there are no outputs yet", run.ID).WithHint("wait for it first")
	case run.Pruned:
		return nil, task.Errorf(task.CodeMissing, "the outputs of run %s were removed because of their age", run.ID)
	case in.Path != "" && len(files) == 0:
		return nil, task.Errorf(task.CodeMissing, "run %s has no output %s", run.ID, in.Path)
	case in.After != "" && after < 0:
		return nil, task.Errorf(task.CodeMissing, "run %s has no output %s that others come after", run.ID, in.After)
	}
	files = files[after+1:]
	return streamed(ctx, func(w http.ResponseWriter, r *http.Request) {
		kind, pack := "application/zip", a.zip
		if in.Format == "tar" {
			kind, pack = "application/x-tar", a.tar
		}
		ending := kind[strings.LastIndexAny(kind, "/-")+1:]
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": run.TaskName + "-" + run.ID + "." + ending}))
		w.WriteHeader(http.StatusOK)
		if err := pack(r.Context(), w, files, run.EndedAt); err != nil {
			a.note(w, r, err)
			panic(http.ErrAbortHandler) // half an archive must not look whole
		}
	}), nil
}

// within are the files at or below a path.
func within(files []store.File, path string) []store.File {
	if path == "" {
		return files
	}
	var list []store.File
	for _, f := range files {
		if f.Path == path || strings.HasPrefix(f.Path, path+"/") {
			list = append(list, f)
		}
	}
	return list
}

func (a *API) zip(ctx context.Context, w io.Writer, files []store.File, at time.Time) error {
	z := zip.NewWriter(w)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.Path, Method: zip.Deflate, Modified: at}
		h.SetMode(0o644)
		switch f.Mode {
		case "dir":
			h.Name, h.Method = f.Path+"/", zip.Store
			h.SetMode(fs.ModeDir | 0o755)
		case "link":
			h.SetMode(fs.ModeSymlink | 0o777)
		}
		out, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if f.Mode == "link" {
			_, err = io.WriteString(out, f.Target)
		} else {
			err = a.copy(ctx, out, f)
		}
		if err != nil {
			return err
		}
	}
	return z.Close()
}

func (a *API) tar(ctx context.Context, w io.Writer, files []store.File, at time.Time) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: 0o644, Size: f.Size, ModTime: at}
		switch f.Mode {
		case "dir":
			h.Typeflag, h.Name, h.Mode, h.Size = tar.TypeDir, f.Path+"/", 0o755, 0
		case "link":
			h.Typeflag, h.Linkname, h.Mode, h.Size = tar.TypeSymlink, f.Target, 0o777, 0
		}
		if err := errors.Join(t.WriteHeader(h), a.copy(ctx, t, f)); err != nil {
			return err
		}
	}
	return t.Close()
}

// copy writes a file's content; what is no file has none.
func (a *API) copy(ctx context.Context, w io.Writer, f store.File) error {
	if f.Mode != "" {
		return nil
	}
	r, err := a.svc.OpenFile(ctx, f)
	if err != nil {
		return err
	}
	defer r.Close()
	if n, err := io.Copy(w, r); err != nil || n != f.Size {
		return fmt.Errorf("%s: %d of %d bytes: %w", f.Path, n, f.Size, err)
	}
	return nil
}
