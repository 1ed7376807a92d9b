package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// prefix begins every digest.
const prefix = "sha256:"

// Hex answers the 64 digits of a digest; false means that it is none. They are safe as a part of a path.
func Hex(digest string) (string, bool) {
	digits, ok := strings.CutPrefix(digest, prefix)
	if !ok || len(digits) != 2*sha256.Size || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", false
	}
	return digits, true
}

// Copy reads r to its end, or ctx's, writes it to w, and answers the digest and size. More than limit bytes are ErrTooLarge;
// zero means no limit. Of a full disk the error is ErrFull.
func Copy(ctx context.Context, w io.Writer, r io.Reader, limit int64) (digest string, size int64, err error) {
	h := sha256.New()
	if limit > 0 {
		r = io.LimitReader(r, limit+1)
	}
	size, err = io.Copy(io.MultiWriter(w, h), reader{ctx, r})
	switch {
	case err != nil:
		return "", 0, Full(err)
	case limit > 0 && size > limit:
		return "", 0, ErrTooLarge
	}
	return prefix + hex.EncodeToString(h.Sum(nil)), size, nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// OpenRegular opens a file that is to become a blob. Links, folders, pipes and devices are refused. known is the digest that it
// has, or empty: then it is read.
func OpenRegular(ctx context.Context, path, known string) (f *os.File, digest string, size int64, err error) {
	if _, ok := Hex(known); known != "" && !ok {
		return nil, "", 0, fmt.Errorf("blob: %q is no digest", known)
	}
	f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil && known == "" {
		known, _, err = Copy(ctx, io.Discard, f, 0)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, "", 0, err
	}
	return f, known, st.Size(), nil
}

// Full names the error of a disk without room.
func Full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
