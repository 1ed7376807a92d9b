package gitsource

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
)

// Bounds of a pointer to Git LFS (its specification: below 1024 bytes), and how many are named.
const (
	leastPointer = 100
	mostPointer  = 1024
	mostNamed    = 100
)

// pointers lists files that hold a pointer to Git LFS instead of their content.
func pointers(dir string) []string {
	var list []string
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || len(list) >= mostNamed {
			return nil // what cannot be read is reported by whoever needs it
		}
		st, err := d.Info()
		if err != nil || st.Size() < leastPointer || st.Size() >= mostPointer {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil || !bytes.HasPrefix(data, []byte("version https://git-lfs.github.com/spec/")) {
			return nil
		}
		if rel, err := filepath.Rel(dir, name); err == nil {
			list = append(list, filepath.ToSlash(rel))
		}
		return nil
	})
	return list
}
