package image

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
)

// Stat returns the mode of what lies at path in the image, as a container would see it; links are followed inside the image
// only. What is missing is an error of KindNotFound.
func (i *Image) Stat(ctx context.Context, path string) (fs.FileMode, error) {
	n, _, err := i.look(ctx, path)
	if err != nil {
		return 0, err
	}
	return n.info.Mode(), nil
}

// CountFiles returns how many things that are no folders lie below the folder at path, counting no further than limit. Links
// count and are not followed. A file has none below it; what is missing is an error of KindNotFound.
func (i *Image) CountFiles(ctx context.Context, path string, limit int) (int, error) {
	n, v, err := i.look(ctx, path)
	if err != nil || !n.isDir() {
		return 0, err
	}
	return v.count(n, limit)
}

func (i *Image) look(ctx context.Context, path string) (*node, *view, error) {
	layers, err := i.Layers(ctx)
	if err != nil {
		return nil, nil, err
	}
	v := i.store.view(layers)
	n, err := v.lookup(path, true)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		err = &Error{Kind: KindNotFound, What: path + " in image " + i.Name(), Why: "no such file", Err: fs.ErrNotExist}
	}
	return n, v, err
}

// count counts what is no folder below dir, up to limit.
func (v *view) count(dir *node, limit int) (int, error) {
	names, err := v.list(dir)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, name := range names {
		if total >= limit {
			return limit, nil
		}
		n, err := v.child(dir, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // hidden by a layer above
		case err != nil:
			return 0, err
		case !n.isDir():
			total++
			continue
		}
		below, err := v.count(n, limit-total)
		if err != nil {
			return 0, err
		}
		total += below
	}
	return total, nil
}
