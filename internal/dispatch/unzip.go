package dispatch

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/task"
)

// Limits of an input archive that is unpacked.
const (
	maxZipEntries = 100_000
	maxZipBytes   = 8 << 30
	// maxZipRatio is how much larger an entry may get than it is stored, once it is larger than ratioFrom.
	maxZipRatio = 1000
	ratioFrom   = 16 << 20
)

func isZip(name string) (bool, error) {
	z, err := zip.OpenReader(name)
	if errors.Is(err, zip.ErrFormat) {
		return false, nil
	}
	if err != nil {
		// What starts like a zip file and cannot be read is left to the task as it is.
		if _, serr := os.Stat(name); serr != nil {
			return false, serr
		}
		return false, nil
	}
	return true, z.Close()
}

// unpackZip unpacks every entry of an archive below dir of root. An entry that would leave it, a link, a special file, or an archive that
// grows beyond the limits is an input error and nothing of it is used.
func (r *run) unpackZip(ctx context.Context, archive task.File, root *os.Root, dir string, dirMode, fileMode os.FileMode) error {
	z, err := zip.OpenReader(archive.Source)
	if err != nil {
		return task.Errorf(task.ReasonInput, "cannot read the input %s: %w", archive.Source, err)
	}
	defer z.Close()
	refuse := func(entry, why string, args ...any) error {
		return (&task.Error{Code: task.ReasonInput, Message: fmt.Sprintf("refusing entry %q of %s: %s", entry, cmp.Or(archive.URL, filepath.Base(archive.Source)), fmt.Sprintf(why, args...))}).
			WithHint("make the archive anew from plain files and folders")
	}
	if len(z.File) > maxZipEntries {
		return refuse(z.File[maxZipEntries].Name, "the archive has more than %d entries", maxZipEntries)
	}
	var total int64
	for _, f := range z.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		clean := strings.TrimSuffix(f.Name, "/")
		mode := f.Mode()
		switch {
		case strings.Contains(f.Name, `\`):
			return refuse(f.Name, "its name holds a backslash")
		case strings.HasPrefix(f.Name, "/"):
			return refuse(f.Name, "its path is absolute")
		case !filepath.IsLocal(clean):
			return refuse(f.Name, "its path leaves the folder")
		case mode&fs.ModeSymlink != 0:
			return refuse(f.Name, "it is a symbolic link")
		case !mode.IsRegular() && !mode.IsDir():
			return refuse(f.Name, "it is neither a file nor a folder")
		case mode.IsRegular() && slices.Contains(archive.Refuse, clean):
			return refuse(f.Name, "%s is not supported in the input directory", clean)
		}
		if archive.Flat {
			if mode.IsDir() {
				continue
			}
			clean = filepath.Base(clean)
		}
		to := filepath.Join(dir, clean)
		if strings.HasSuffix(f.Name, "/") {
			if err := makeDirs(root, to, dirMode); err != nil {
				return refuse(f.Name, "it cannot be unpacked: %v", err)
			}
			continue
		}
		if err := makeDirs(root, filepath.Dir(to), dirMode); err != nil {
			return refuse(f.Name, "it cannot be unpacked: %v", err)
		}
		n, err := unpackEntry(f, root, to, fileMode|mode&0o111, maxZipBytes-total)
		switch {
		case errors.Is(err, errTooLarge):
			return refuse(f.Name, "the archive unpacks to more than %s, or grows more than %d times", task.Bytes(maxZipBytes), maxZipRatio)
		case errors.Is(err, fs.ErrExist):
			return refuse(f.Name, "another entry or input has the same path")
		case err != nil:
			return refuse(f.Name, "it cannot be unpacked: %v", err)
		}
		total += n
	}
	return nil
}

var errTooLarge = errors.New("too large")

func unpackEntry(f *zip.File, root *os.Root, to string, mode os.FileMode, most int64) (int64, error) {
	// The header's sizes may lie: what counts is what comes out.
	if stored := int64(f.CompressedSize64); stored < most/maxZipRatio {
		most = min(most, max(ratioFrom, stored*maxZipRatio))
	}
	in, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	count := &counted{r: io.LimitReader(in, most+1)}
	if err := writeFile(root, to, count, mode); err != nil {
		return count.n, err
	}
	if count.n > most {
		return count.n, errTooLarge
	}
	return count.n, nil
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
