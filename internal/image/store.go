// Package image is Longshore's local image store: it loads, pulls, builds, saves and pushes container images, and hands
// out their layers unpacked, ready to be the lower folders of an overlay.
//
// It needs no daemon. Any number of processes may use one store at once. Whatever becomes visible in it is complete:
// everything is made under a temporary name and renamed, and what a crashed process left is found and removed by Prune.
// Archives, registries and build contexts are taken to be hostile.
//
// It knows nothing of engines, tasks or contracts; a RUN instruction is executed by a Runner that the application brings.
package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sys/unix"

	"longshore/internal/rmtree"
)

// Config says where a store lies and how it behaves. Only Dir is required.
type Config struct {
	// Dir is the store's folder; it is made on first use. It must lie on a file system that can be an overlay's lower.
	Dir string
	// Limits bound what archives may unpack to; zero fields mean DefaultLimits.
	Limits Limits
	// Keychain finds registry credentials; nil means the Docker configuration of the user.
	Keychain authn.Keychain
	// Transport carries registry and ADD requests; nil means the default, with the environment's proxies.
	Transport http.RoundTripper
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Sync flushes the file system before an image becomes visible, so that it survives a power cut at once. Without it
	// a power cut within the kernel's write-back time may lose the newest images' contents.
	Sync bool
}

// Limits bound what comes in. A zero field means that of DefaultLimits.
type Limits struct {
	// Bytes is the most that one archive, or one pulled image, may unpack to, in bytes.
	Bytes int64
	// Entries is the most files, folders and links that one layer may have.
	Entries int64
	// Ratio is the most a compressed layer may grow by, once it has grown beyond 1 GiB.
	Ratio int64
}

// DefaultLimits returns the limits that hold unless Config says otherwise: 64 GiB, 2 million entries, ratio 500.
func DefaultLimits() Limits { return Limits{Bytes: 64 << 30, Entries: 2_000_000, Ratio: 500} }

// budget is the Bytes that are left to unpack, to be shared by layers that come together.
func (l Limits) budget() *atomic.Int64 {
	b := &atomic.Int64{}
	b.Store(l.Bytes)
	return b
}

// Store is a local image store. It is safe for concurrent use, also by several processes.
type Store struct {
	cfg    Config
	limits Limits

	// prepared guards the one-time making of the folders; opening a store does not touch the disk.
	prepareOnce sync.Once
	prepareErr  error
	// opaqueXattr is the attribute that marks opaque folders in this store, known once prepared.
	opaqueXattr string
}

// Open returns the store at cfg.Dir. It does not touch the disk; the folder is made when something is first written.
func Open(cfg Config) (*Store, error) {
	if cfg.Dir == "" {
		return nil, &Error{Kind: KindInvalid, What: "image store", Why: "no folder given"}
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, &Error{Kind: KindInvalid, What: "image store " + cfg.Dir, Err: err}
	}
	cfg.Dir = dir
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Keychain == nil {
		cfg.Keychain = authn.DefaultKeychain
	}
	s := &Store{cfg: cfg, limits: cfg.Limits}
	def := DefaultLimits()
	if s.limits.Bytes == 0 {
		s.limits.Bytes = def.Bytes
	}
	if s.limits.Entries == 0 {
		s.limits.Entries = def.Entries
	}
	if s.limits.Ratio == 0 {
		s.limits.Ratio = def.Ratio
	}
	return s, nil
}

// Dir returns the store's absolute folder.
func (s *Store) Dir() string { return s.cfg.Dir }

// The folders of a store. Layers and blobs are named by digest; refs by the digest of the reference's text, because
// references may be longer than file names.
const (
	dirBlobs      = "blobs/sha256"
	dirLayers     = "layers"
	dirDiffs      = "diffs"
	dirImages     = "images"
	dirRefs       = "refs"
	dirSteps      = "cache/steps"
	dirSlots      = "cache/slots"
	dirFiles      = "cache/files"
	dirResults    = "cache/results"
	dirBuilt      = "cache/built"
	dirCacheMount = "mounts"
	dirTmp        = "tmp"
	formFile      = "form"
)

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, elem...)...)
}

// The attributes that mark a folder as opaque: the first needs privileges in the first user namespace, the second works
// without, for overlays mounted with userxattr.
const (
	opaqueTrusted = "trusted.overlay.opaque"
	opaqueUser    = "user.overlay.opaque"
)

// prepare makes the store's folders and finds out which overlay form its layers have.
func (s *Store) prepare() error {
	s.prepareOnce.Do(func() { s.prepareErr = s.prepareDirs() })
	return s.prepareErr
}

func (s *Store) prepareDirs() error {
	if form, err := os.ReadFile(s.path(formFile)); err == nil {
		s.opaqueXattr = string(form)
		if s.opaqueXattr != opaqueTrusted && s.opaqueXattr != opaqueUser {
			return &Error{Kind: KindStore, What: "image store " + s.cfg.Dir, Why: "made by another version of this program", Hint: "remove it, or name another folder"}
		}
		return nil
	}
	for _, d := range []string{dirBlobs, dirLayers, dirDiffs, dirImages, dirRefs, dirSteps, dirSlots, dirFiles, dirResults, dirBuilt, dirCacheMount, dirTmp} {
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return s.storeError(err)
		}
	}
	spreadInodes(s.path(dirTmp))
	s.opaqueXattr = opaqueTrusted
	probe := s.path(dirTmp)
	if err := unix.Setxattr(probe, opaqueTrusted, []byte("n"), 0); err != nil {
		if err := unix.Setxattr(probe, opaqueUser, []byte("n"), 0); err != nil {
			return &Error{Kind: KindStore, What: "image store " + s.cfg.Dir, Why: "the file system keeps no extended attributes, which overlayfs needs: " + err.Error(), Hint: "put the store on ext4, xfs, btrfs or tmpfs", Err: err}
		}
		s.opaqueXattr = opaqueUser
	}
	if err := s.writeFile(s.path(formFile), []byte(s.opaqueXattr)); err != nil {
		return err
	}
	return nil
}

// spreadInodes asks ext4 to put each folder made in dir into a block group of its own, as for a top-level folder. It
// otherwise puts all files of the store near each other, and once their group is full looks for a free inode again for
// every single file: unpacking then takes ten times as long. Other file systems refuse, which does not matter.
func spreadInodes(dir string) {
	const topDir = 0x00020000 // FS_TOPDIR_FL
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|topDir)
	}
}

// UserXattr tells whether overlays over this store's layers must be mounted with the userxattr option: the store was
// made without the privileges that trusted attributes need.
func (s *Store) UserXattr() bool {
	return s.prepare() == nil && s.opaqueXattr == opaqueUser
}

func (s *Store) storeError(err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Kind: KindStore, What: "image store " + s.cfg.Dir, Hint: storeHint(err), Err: err}
}

// storeHint says what to do about a store that cannot be written; "" when that is not known.
func storeHint(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "free some space, or remove images that are not needed (`longshore image rm`, then `longshore image prune`)"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return "give this user the folder, or name another home with --home or LONGSHORE_HOME"
	}
	return ""
}

// spaceError is storeError for the errors of a full disk alone: others may be of what was read.
func (s *Store) spaceError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return s.storeError(err)
	}
	return err
}

// full tells whether the store's disk has next to nothing left: what a command cannot write then it cannot tell of either.
func (s *Store) full() bool {
	const nothing = 1 << 20
	var st unix.Statfs_t
	return unix.Statfs(s.cfg.Dir, &st) == nil && st.Bavail*uint64(st.Bsize) < nothing
}

// writeFile puts data at path as a whole or not at all.
func (s *Store) writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(s.path(dirTmp), "file-")
	if err != nil {
		return s.storeError(err)
	}
	_, err = f.Write(data)
	if err == nil && s.cfg.Sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return s.storeError(err)
	}
	return nil
}

// tempDir is a private folder under tmp. Its lock tells Sweep that its owner is alive, and dies with the owner.
type tempDir struct {
	path string
	lock *os.File
}

func (s *Store) newTemp(kind string) (*tempDir, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	for {
		dir, err := os.MkdirTemp(s.path(dirTmp), kind+"-")
		if err != nil {
			return nil, s.storeError(err)
		}
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a Sweep came between the two lines
		}
		if err != nil {
			return nil, s.storeError(err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			os.Remove(dir) // taken for a leftover, and perhaps only looked at
			continue
		}
		if _, err := os.Stat(dir); err != nil {
			f.Close()
			continue
		}
		return &tempDir{path: dir, lock: f}, nil
	}
}

func (t *tempDir) join(elem ...string) string {
	return filepath.Join(append([]string{t.path}, elem...)...)
}

// remove deletes the folder with all it holds.
func (t *tempDir) remove() {
	_ = rmtree.All(t.path)
	t.lock.Close()
}

// use takes the store's lock as a user of its contents; Prune waits until all users are done. The returned function
// gives it back.
func (s *Store) use(ctx context.Context) (func(), error) {
	return s.flock(ctx, s.path("lock"), unix.LOCK_SH)
}

// flock waits for a lock on the file at path. Locks die with their process.
func (s *Store) flock(ctx context.Context, path string, how int) (func(), error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, s.storeError(err)
	}
	if unix.Flock(int(f.Fd()), how|unix.LOCK_NB) == nil {
		return func() { f.Close() }, nil
	}
	// The kernel cannot wait for a lock and a context at once, so look again now and then.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for another process to finish with %s: %w", path, ctx.Err())
		case <-tick.C:
		}
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			f.Close()
			return nil, s.storeError(err)
		}
	}
}
