package cli

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"longshore/internal/task"
)

// packFolder writes a folder as a tar: the same content gives the same bytes. Git's own folder is left out.
func packFolder(w io.Writer, dir string) error {
	tw := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		return packOne(tw, p, filepath.ToSlash(rel))
	})
	if err == nil {
		err = tw.Close()
	}
	if _, told := errors.AsType[*task.Error](err); err != nil && !told {
		// Whoever sends this must not take it for a lost connection.
		err = task.Errorf(task.CodePackage, "the folder %s cannot be sent: %w", dir, err)
	}
	return err
}

func packOne(tw *tar.Writer, p, name string) error {
	st, err := os.Lstat(p)
	if err != nil {
		return err
	}
	target := ""
	switch {
	case st.Mode()&fs.ModeSymlink != 0:
		if target, err = os.Readlink(p); err != nil {
			return err
		}
	case !st.Mode().IsRegular() && !st.IsDir():
		return task.Errorf(task.CodePackage, "%s is neither a file nor a folder", p).WithHint("remove it: a package has files, folders and links")
	}
	h, err := tar.FileInfoHeader(st, target)
	if err != nil {
		return err
	}
	mode := int64(0o644)
	if st.Mode()&0o111 != 0 || st.IsDir() {
		mode = 0o755
	}
	*h = tar.Header{Typeflag: h.Typeflag, Name: name, Linkname: target, Size: h.Size, Mode: mode, ModTime: time.Unix(0, 0)}
	if st.IsDir() {
		h.Name += "/"
	}
	if err := tw.WriteHeader(h); err != nil || !st.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = io.CopyN(tw, f, st.Size()); errors.Is(err, io.EOF) { // what was added since is not the package's
		return task.Errorf(task.CodePackage, "%s became shorter while it was sent", p).WithHint("import it when nobody writes to it")
	}
	return err
}

// archiveNames are the ends of the names of files that are sent as they are; any other file is a document in its folder.
func isArchive(name string) bool {
	for _, end := range []string{".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"} {
		if strings.HasSuffix(strings.ToLower(name), end) {
			return true
		}
	}
	return false
}
