package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/ipfs"
	"longshore/internal/task"
)

// FetchOptions of PullFolder.
type FetchOptions struct {
	// CAR is an archive to take the folder from; Node the address of an IPFS node's RPC. Without both it comes from the store
	// of this machine.
	CAR, Node string
	Limits    ipfs.Limits
}

// Fetched is a folder that was fetched.
type Fetched struct {
	FolderAddress
	Dir   string `json:"folder"`
	Bytes uint64 `json:"bytes"`
	Files int    `json:"files"`
	// Note says what is odd about the folder; may be empty.
	Note string `json:"note,omitempty"`
}

// PullFolder brings a folder back, and makes dir appear with everything in it, or not at all. what is a CID or a digest, or,
// for the one folder of a CAR archive, that file. Every block is checked against its CID.
func (a *App) PullFolder(ctx context.Context, what, dir string, opts FetchOptions) (Fetched, error) {
	id, err := ipfs.Parse(what)
	if err != nil {
		if !isPath(what) || opts.CAR != "" || opts.Node != "" {
			return Fetched{}, err
		}
		opts.CAR = what
	}
	if err := checkNewFolder(dir); err != nil {
		return Fetched{}, err
	}
	if err := os.MkdirAll(parent(dir), 0o755); err != nil {
		return Fetched{}, task.Errorf(task.CodeUsage, "cannot make the folder: %w", err)
	}
	f, err := a.openCAR(ctx, id, dir, opts)
	if err != nil {
		return Fetched{}, err
	}
	defer f.Close()
	return extract(ctx, f, id, dir, opts.Limits)
}

// isPath tells what can only be a file from a mistyped CID.
func isPath(text string) bool {
	_, err := os.Stat(text)
	return err == nil || strings.Contains(text, "/") || filepath.Ext(text) != ""
}

func checkNewFolder(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case dir == "":
		return (&task.Error{Code: task.CodeUsage, Message: "where to is not said"}).WithHint("add -o DIR")
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return task.Errorf(task.CodeUsage, "the folder %s cannot be used: %w", dir, err)
	case len(list) > 0:
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("the folder %s is not empty", dir)}).WithHint("name another one with -o")
	}
	return nil
}

// openCAR opens the archive that holds a folder, wherever it comes from. One that a node sends lies beside dir, without a name.
func (a *App) openCAR(ctx context.Context, id ipfs.CID, dir string, opts FetchOptions) (*os.File, error) {
	if opts.Node != "" {
		return download(ctx, id, parent(dir), opts)
	}
	path := opts.CAR
	if path == "" {
		path = a.storedCAR(id)
	}
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && opts.CAR == "":
		return nil, (&task.Error{Code: task.CodeMissing, Message: fmt.Sprintf("the folder %s is not on this machine", id)}).
			WithHint("name an IPFS node with --api, or an archive with --car")
	case err != nil:
		return nil, task.Errorf(task.CodeMissing, "cannot read the archive: %w", err)
	case !st.Mode().IsRegular(): // opening a pipe would wait for a writer
		return nil, task.Errorf(task.CodePackage, "%s is a %s and no archive", path, contract.KindOf(st.Mode()))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, task.Errorf(task.CodeMissing, "cannot read the archive: %w", err)
	}
	return f, nil
}

func download(ctx context.Context, id ipfs.CID, beside string, opts FetchOptions) (*os.File, error) {
	node, err := ipfs.NewKubo(opts.Node)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(beside, ".longshore-car-")
	if err != nil {
		return nil, task.Errorf(task.CodeUsage, "cannot make the folder: %w", err)
	}
	os.Remove(f.Name())
	if err := node.Export(ctx, id, f, opts.Limits.Archive()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// extract writes the folder of an archive beside dir, and moves it there when it is whole.
func extract(ctx context.Context, f *os.File, id ipfs.CID, dir string, limits ipfs.Limits) (Fetched, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return Fetched{}, err
	}
	car, err := ipfs.OpenCAR(ctx, f, size)
	if err != nil {
		return Fetched{}, unusable(err)
	}
	if id == (ipfs.CID{}) {
		if len(car.Roots) != 1 {
			return Fetched{}, (&task.Error{Code: task.CodePackage, Message: fmt.Sprintf("the archive names %d folders", len(car.Roots))}).WithHint("say which one: longshore pull ipfs CID --car %s", f.Name())
		}
		id = car.Roots[0]
	}
	half, err := os.MkdirTemp(parent(dir), "."+filepath.Base(dir)+".longshore-")
	if err != nil {
		return Fetched{}, task.Errorf(task.CodeUsage, "cannot make the folder: %w", err)
	}
	defer os.RemoveAll(half)
	root, err := os.OpenRoot(half)
	if err != nil {
		return Fetched{}, err
	}
	defer root.Close()
	tree, err := car.Extract(ctx, id, root, limits)
	if err != nil {
		return Fetched{}, unusable(err)
	}
	inner, note := publisher().Unwrap(root.FS())
	done := Fetched{FolderAddress: addressOf(id, publisher()), Dir: dir, Bytes: tree.Content, Files: tree.Files, Note: note}
	return done, settle(filepath.Join(half, inner), dir)
}

func parent(dir string) string { return filepath.Dir(filepath.Clean(dir)) }

func settle(half, dir string) error {
	err := os.Chmod(half, 0o755)
	if err == nil {
		err = os.Rename(half, filepath.Clean(dir)) // also when dir is an empty folder
	}
	if err != nil {
		return task.Errorf(task.CodeUsage, "cannot make the folder: %w", err)
	}
	return nil
}

// unusable is the error of an archive that holds no folder, or not one that may be written.
func unusable(err error) error {
	e := &task.Error{Code: task.CodePackage, Message: "the folder cannot be used", Cause: err}
	if inner, ok := errors.AsType[*task.Error](err); ok {
		e.Code, e.Hint = inner.Code, inner.Hint
	} else if p, ok := errors.AsType[*fs.PathError](err); ok {
		e.Code, e.Message, e.Cause = task.ReasonEngine, fmt.Sprintf("cannot write %q", p.Path), p.Err
	}
	return e
}
