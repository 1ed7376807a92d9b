package cli

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// writeLayer appends one layer of about size bytes to a docker save archive, through a file in dir.
func writeLayer(w *tar.Writer, dir string, n, size int, seed uint64) (path, diff string, err error) {
	tmp := filepath.Join(dir, "layer.tar")
	source := newRandom(seed)
	if err := writeTar(tmp, func(l *tar.Writer) error {
		sizes := []int{16 << 10, 256 << 10, 1 << 20, 4 << 20}
		for i := 0; size > 0; i++ {
			s := min(sizes[i%len(sizes)], size)
			size -= s
			if err := l.WriteHeader(&tar.Header{Name: fmt.Sprintf("layer%d/dir%d/file%d", n, i%20, i), Mode: 0o644, Size: int64(s)}); err != nil {
				return err
			}
			if _, err := io.CopyN(l, source, int64(s)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return "", "", err
	}
	defer os.Remove(tmp)
	f, err := os.Open(tmp)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	path = fmt.Sprintf("%d/layer.tar", n)
	if err := w.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: st.Size()}); err != nil {
		return "", "", err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, h), f); err != nil {
		return "", "", err
	}
	return path, "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}
