// Package disk keeps blobs as files in a folder:
//
//	<dir>/blobs/ab/<the 64 digits>   one file per blob, read-only
//	<dir>/tmp/                       what is being written
package disk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/blob"
)

// Store keeps blobs below a folder. It is safe for concurrent use, also by several processes.
type Store struct {
	dir string

	mu sync.Mutex
	// loose are folders with files that were taken since the last Sync, and the files themselves.
	loose map[string][]string
}

var _ blob.Store = (*Store)(nil)

// New opens a folder, which it makes.
func New(dir string) (*Store, error) {
	for _, d := range []string{"blobs", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o711); err != nil {
			return nil, err
		}
	}
	return &Store{dir: dir, loose: map[string][]string{}}, nil
}

var validDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// path is where a blob lies; a digest that is none is not found.
func (s *Store) path(digest string) (string, error) {
	if !validDigest.MatchString(digest) {
		return "", blob.ErrNotFound
	}
	hex := digest[len("sha256:"):]
	return filepath.Join(s.dir, "blobs", hex[:2], hex), nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, r io.Reader, limit int64) (blob.Info, error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), "put-")
	if err != nil {
		return blob.Info{}, full(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	h := sha256.New()
	if limit > 0 {
		r = io.LimitReader(r, limit+1)
	}
	n, err := io.Copy(io.MultiWriter(f, h), reader{ctx, r})
	if err != nil {
		return blob.Info{}, full(err)
	}
	if limit > 0 && n > limit {
		return blob.Info{}, blob.ErrTooLarge
	}
	if err := errors.Join(f.Chmod(0o444), f.Sync()); err != nil {
		return blob.Info{}, full(err)
	}
	i := blob.Info{Digest: "sha256:" + hex.EncodeToString(h.Sum(nil)), Size: n, WrittenAt: time.Now()}
	to, made, err := s.place(f.Name(), i.Digest)
	if err != nil || !made {
		return i, err
	}
	return i, syncFolder(filepath.Dir(to))
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

// place links a finished file to a blob's name. A blob that is there already is marked as young: who put it is about to refer to
// it.
func (s *Store) place(file, digest string) (path string, made bool, err error) {
	path, err = s.path(digest)
	if err != nil {
		return "", false, err
	}
	for again := true; ; again = false {
		err = os.Link(file, path)
		switch {
		case err == nil:
			now := time.Now()
			return path, true, os.Chtimes(path, now, now)
		case errors.Is(err, fs.ErrExist):
			now := time.Now()
			if err = os.Chtimes(path, now, now); !errors.Is(err, fs.ErrNotExist) || !again {
				return path, false, err
			}
			// It was collected in this moment.
		case errors.Is(err, fs.ErrNotExist) && again:
			if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
				return "", false, full(err)
			}
			if err := syncFolder(filepath.Dir(filepath.Dir(path))); err != nil {
				return "", false, err
			}
		default:
			return "", false, full(err)
		}
	}
}

// Take implements blob.Store.
func (s *Store) Take(ctx context.Context, path, digest string) (blob.Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return blob.Info{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return blob.Info{}, err
	}
	if !st.Mode().IsRegular() {
		return blob.Info{}, fmt.Errorf("%s is not a regular file", path)
	}
	if digest == "" {
		h := sha256.New()
		if _, err := io.Copy(h, reader{ctx, f}); err != nil {
			return blob.Info{}, err
		}
		digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	}
	i := blob.Info{Digest: digest, Size: st.Size(), WrittenAt: time.Now()}
	to, made, err := s.place(path, digest)
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EMLINK) {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return i, err
		}
		return s.Put(ctx, f, 0)
	}
	if err != nil || !made {
		return i, err
	}
	if err := f.Chmod(0o444); err != nil {
		return i, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loose[filepath.Dir(to)] = append(s.loose[filepath.Dir(to)], to)
	return i, nil
}

// manyFiles is from how many files on the whole file system is synced instead of each.
const manyFiles = 64

// Sync implements blob.Store.
func (s *Store) Sync(context.Context) error {
	s.mu.Lock()
	loose := s.loose
	s.loose = map[string][]string{}
	s.mu.Unlock()
	n := 0
	for _, files := range loose {
		n += len(files)
	}
	if n == 0 {
		return nil
	}
	if n >= manyFiles {
		d, err := os.Open(s.dir)
		if err != nil {
			return err
		}
		defer d.Close()
		return os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd())))
	}
	for dir, files := range loose {
		for _, f := range files {
			if err := syncFolder(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return full(err)
			}
		}
		if err := syncFolder(dir); err != nil {
			return full(err)
		}
	}
	return nil
}

// syncFolder makes a folder's entries, or a file's content, durable.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// full names the error of a disk without room.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", blob.ErrFull, err)
	}
	return err
}

// Open implements blob.Store.
func (s *Store) Open(_ context.Context, digest string) (io.ReadSeekCloser, blob.Info, error) {
	path, err := s.path(digest)
	if err != nil {
		return nil, blob.Info{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, blob.Info{}, missing(err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, blob.Info{}, err
	}
	return f, blob.Info{Digest: digest, Size: st.Size(), WrittenAt: st.ModTime()}, nil
}

func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return blob.ErrNotFound
	}
	return err
}

// Local implements blob.Store.
func (s *Store) Local(_ context.Context, digest string) (string, func(), error) {
	path, err := s.path(digest)
	if err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return "", nil, missing(err)
	}
	return path, func() {}, nil
}

// Stat implements blob.Store.
func (s *Store) Stat(_ context.Context, digest string) (blob.Info, error) {
	path, err := s.path(digest)
	if err != nil {
		return blob.Info{}, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return blob.Info{}, missing(err)
	}
	return blob.Info{Digest: digest, Size: st.Size(), WrittenAt: st.ModTime()}, nil
}

// staleTemp is how old a file of an upload that was cut off is when it is removed.
const staleTemp = 24 * time.Hour

// Walk implements blob.Store. It removes what uploads that were cut off have left, too.
func (s *Store) Walk(ctx context.Context, f func(blob.Info) error) error {
	if err := s.tidy(); err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join(s.dir, "blobs"), func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || d.IsDir() {
			return err
		}
		digest := "sha256:" + d.Name()
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) || !validDigest.MatchString(digest) {
			return nil
		}
		if err != nil {
			return err
		}
		return f(blob.Info{Digest: digest, Size: info.Size(), WrittenAt: info.ModTime()})
	})
}

func (s *Store) tidy() error {
	dir := filepath.Join(s.dir, "tmp")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), "put-") && time.Since(info.ModTime()) > staleTemp {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// Remove implements blob.Store.
func (s *Store) Remove(_ context.Context, digest string) error {
	path, err := s.path(digest)
	if err != nil {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Used implements blob.Store.
func (s *Store) Used(ctx context.Context) (used, free int64, err error) {
	err = s.Walk(ctx, func(i blob.Info) error { used += i.Size; return nil })
	if err != nil {
		return 0, 0, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, 0, os.NewSyscallError("statfs", err)
	}
	return used, int64(st.Bavail) * st.Bsize, nil
}
