package iexec

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/task"
)

// unchanged lists the files that are still as they were staged. Content is compared, as times can be set to anything.
func (c *collector) unchanged(entries []entry) ([]string, error) {
	files := map[string]entry{}
	for _, e := range entries {
		if e.mode.IsRegular() {
			files[e.path] = e
		}
	}
	var same []string
	check := func(name string, size int64, open func() (io.ReadCloser, error)) error {
		e, ok := files[name]
		if !ok || e.size != size {
			return nil
		}
		equal, err := c.equal(name, open)
		if equal {
			same = append(same, name)
		}
		return err
	}
	for _, m := range c.x.Mounts {
		if m.Name != mountV2 {
			continue
		}
		for _, f := range m.Files {
			if err := c.compareStaged(f, check); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(same)
	return slices.Compact(same), nil
}

// compareStaged offers what one staged file put into the folder for comparison. A source that is gone, or a download whose
// place is not known, cannot be compared: then its files count as results, so that nothing is lost.
func (c *collector) compareStaged(f task.File, check func(string, int64, func() (io.ReadCloser, error)) error) error {
	if f.Source == "" {
		if f.URL != "" {
			c.warn("the download of %s cannot be compared with what the app left: it counts as a result", shorten(f.URL))
			return nil
		}
		return check(f.Path, int64(len(f.Text)), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(f.Text)), nil })
	}
	if f.UnpackZip {
		if z, err := zip.OpenReader(f.Source); err == nil {
			defer z.Close()
			for _, e := range z.File {
				name := path.Join(path.Dir(f.Path), path.Clean("/" + strings.ReplaceAll(e.Name, `\`, "/"))[1:])
				if !e.Mode().IsRegular() || e.UncompressedSize64 > maxArchiveBytes {
					continue
				}
				if err := check(name, int64(e.UncompressedSize64), e.Open); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return filepath.WalkDir(f.Source, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			c.warn("the input %s is gone and cannot be compared with what the app left: it counts as a result", f.Path)
			return nil
		}
		if err != nil {
			return err
		}
		// A link as the source itself is followed, as it was when it was staged.
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(f.Source, name)
		if err != nil {
			return err
		}
		return check(path.Join(f.Path, filepath.ToSlash(rel)), info.Size(), func() (io.ReadCloser, error) { return os.Open(name) })
	})
}

// equal compares a file of the folder with another content of the same size.
func (c *collector) equal(name string, open func() (io.ReadCloser, error)) (bool, error) {
	a, err := c.files.Open(name)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := open()
	if err != nil {
		return false, err
	}
	defer b.Close()
	x, y := make([]byte, 128<<10), make([]byte, 128<<10)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if end := errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF); end {
			return errors.Is(errB, io.EOF) || errors.Is(errB, io.ErrUnexpectedEOF), nil
		}
		if errA != nil {
			return false, errA
		}
		if errB != nil {
			return false, errB
		}
	}
}
