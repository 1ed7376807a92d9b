// Package disk keeps blobs as files in a folder:
//
//	<dir>/blobs/ab/<the 64 digits>   one file per blob, read-only
//	<dir>/tmp/                       what is being written
package disk

import (
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
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/blob"
)

// Store keeps blobs below a folder. It is safe for concurrent use, also by several processes.
type Store struct {
	dir string

	syncing sync.Mutex // held by the Sync that is under way
	first   sync.Mutex // held by the Used that counts for the first time

	mu sync.Mutex
	// loose are the blobs that were taken since the last Sync.
	loose []string
	// used is what blobs take, by folder, as the last Walk counted it and this process changed it since; counted tells that
	// there was a whole Walk.
	used    map[string]int64
	counted bool
}

var _ blob.Store = (*Store)(nil)

// New opens a folder, which it makes. Blobs have modes that containers can read, so nobody else on the machine may reach them,
// whatever the folder's own mode is.
func New(dir string) (*Store, error) {
	for _, d := range []string{"blobs", "tmp"} {
		own := filepath.Join(dir, d)
		if err := os.MkdirAll(own, 0o700); err != nil {
			return nil, err
		}
		if err := os.Chmod(own, 0o700); err != nil {
			return nil, err
		}
	}
	return &Store{dir: dir, used: map[string]int64{}}, nil
}

// path is where a blob lies; a digest that is none is not found.
func (s *Store) path(digest string) (string, error) {
	digits, ok := blob.Hex(digest)
	if !ok {
		return "", blob.ErrNotFound
	}
	return filepath.Join(s.dir, "blobs", digits[:2], digits), nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, r io.Reader, limit int64) (blob.Info, error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), "put-")
	if err != nil {
		return blob.Info{}, blob.Full(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	digest, n, err := blob.Copy(ctx, f, r, limit)
	if err != nil {
		return blob.Info{}, err
	}
	if err := errors.Join(f.Chmod(0o444), f.Sync()); err != nil {
		return blob.Info{}, blob.Full(err)
	}
	i := blob.Info{Digest: digest, Size: n, WrittenAt: time.Now()}
	to, made, err := s.place(f, i.Digest)
	if err != nil {
		return blob.Info{}, err
	}
	if !made {
		if err := syncPath(to); err != nil { // somebody may have taken it, and not yet synced
			return blob.Info{}, blob.Full(err)
		}
	}
	if err := syncPath(filepath.Dir(to)); err != nil {
		return blob.Info{}, blob.Full(err)
	}
	return i, nil
}

// locked calls f with the lock of a blob's folder, which holds between processes too: those who place blobs share it, those who
// remove one have it alone. The folder is made for those who place.
func (s *Store) locked(path string, how int, f func() error) error {
	dir := filepath.Dir(path)
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) && how == unix.LOCK_SH {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return blob.Full(err)
		}
		if err := syncPath(filepath.Dir(dir)); err != nil {
			return blob.Full(err)
		}
		d, err = os.Open(dir)
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		if err = unix.Flock(int(d.Fd()), how); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return os.NewSyscallError("flock", err)
	}
	return f()
}

// place links a finished file to a blob's name. A blob that is there already is marked as young: who put it is about to refer to
// it.
func (s *Store) place(f *os.File, digest string) (path string, made bool, err error) {
	path, err = s.path(digest)
	if err != nil {
		return "", false, err
	}
	err = s.locked(path, unix.LOCK_SH, func() error {
		// By its descriptor: what was read is what is linked, whatever happens to its name.
		err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return blob.Full(&os.LinkError{Op: "link", Old: f.Name(), New: path, Err: err})
		}
		if made = err == nil; made {
			if st, err := f.Stat(); err == nil {
				s.count(path, st.Size())
			}
		}
		return touch(path)
	})
	return path, made, err
}

func touch(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// Touch implements blob.Store.
func (s *Store) Touch(_ context.Context, digest string) error {
	path, err := s.path(digest)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return missing(err)
	}
	return missing(s.locked(path, unix.LOCK_SH, func() error { return touch(path) }))
}

// Take implements blob.Store.
func (s *Store) Take(ctx context.Context, path, digest string) (blob.Info, error) {
	f, digest, size, err := blob.OpenRegular(ctx, path, digest)
	if err != nil {
		return blob.Info{}, err
	}
	defer f.Close()
	to, made, err := s.place(f, digest)
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EMLINK) {
		return s.Put(ctx, f, 0)
	}
	if err != nil {
		return blob.Info{}, err
	}
	if made {
		if err := f.Chmod(0o444); err != nil {
			return blob.Info{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loose = append(s.loose, to)
	return blob.Info{Digest: digest, Size: size, WrittenAt: time.Now()}, nil
}

// manyFiles is from how many files on the whole file system is synced instead of each.
const manyFiles = 64

// Sync implements blob.Store. Who comes while another syncs waits for it: its files may be among the other's.
func (s *Store) Sync(context.Context) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	loose := s.loose
	s.loose = nil
	s.mu.Unlock()
	if err := s.sync(loose); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.loose = append(s.loose, loose...)
		return blob.Full(err)
	}
	return nil
}

func (s *Store) sync(files []string) error {
	if len(files) >= manyFiles {
		d, err := os.Open(s.dir)
		if err != nil {
			return err
		}
		defer d.Close()
		return os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd())))
	}
	var folders []string
	for _, f := range files {
		folders = append(folders, filepath.Dir(f))
	}
	slices.Sort(folders)
	for _, path := range slices.Concat(files, slices.Compact(folders)) {
		if err := syncPath(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncPath makes a folder's entries, or a file's content, durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
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
	folders, err := os.ReadDir(filepath.Join(s.dir, "blobs"))
	if err != nil {
		return err
	}
	for _, d := range folders {
		list, err := s.list(filepath.Join(s.dir, "blobs", d.Name()))
		if err != nil {
			return err
		}
		for _, i := range list {
			if err := cmp.Or(ctx.Err(), f(i)); err != nil {
				return err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted = true
	return nil
}

// list reads one folder, and counts what is in it. Nobody places anything there meanwhile, so the count is exact.
func (s *Store) list(dir string) (list []blob.Info, err error) {
	err = s.locked(filepath.Join(dir, "any"), unix.LOCK_EX, func() error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		used := int64(0)
		for _, e := range entries {
			digest := "sha256:" + e.Name()
			_, isBlob := blob.Hex(digest)
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) || !isBlob {
				continue
			}
			if err != nil {
				return err
			}
			used += info.Size()
			list = append(list, blob.Info{Digest: digest, Size: info.Size(), WrittenAt: info.ModTime()})
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.used[filepath.Base(dir)] = used
		return nil
	})
	return list, err
}

// count notes that a folder's blobs take more or less; the caller has the folder's lock.
func (s *Store) count(path string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[filepath.Base(filepath.Dir(path))] += n
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
func (s *Store) Remove(_ context.Context, digest string, writtenBefore time.Time) (bool, error) {
	path, err := s.path(digest)
	if err != nil {
		return false, nil
	}
	removed := false
	err = s.locked(path, unix.LOCK_EX, func() error {
		st, err := os.Lstat(path)
		if err != nil || st.ModTime().After(writtenBefore) {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		removed = true
		s.count(path, -st.Size())
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return removed, err
}

// Used implements blob.Store. Only the first call has to look at every blob, if no Walk came before it.
func (s *Store) Used(ctx context.Context) (used, free int64, err error) {
	if used, err = s.sum(ctx); err != nil {
		return 0, 0, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, 0, os.NewSyscallError("statfs", err)
	}
	return used, int64(st.Bavail) * st.Bsize, nil
}

func (s *Store) sum(ctx context.Context) (n int64, err error) {
	s.first.Lock()
	defer s.first.Unlock()
	s.mu.Lock()
	counted := s.counted
	s.mu.Unlock()
	if !counted {
		if err := s.Walk(ctx, func(blob.Info) error { return nil }); err != nil {
			return 0, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, bytes := range s.used {
		n += bytes
	}
	return n, nil
}
