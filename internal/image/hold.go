package image

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Hold keeps the image in the store while something uses its layers outside of it, as a container does: Remove then takes
// only its names, and Prune leaves it alone. It costs one lock, which dies with the process. The returned function, which
// may be called more than once, gives the image free. An image that was removed meanwhile is an error of KindNotFound.
func (i *Image) Hold() (release func(), err error) {
	f, err := i.store.lockImage(i.rec.Manifest, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(i.store.imagePath(i.rec.Manifest)); err != nil {
		f.Close()
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &Error{Kind: KindNotFound, What: "image " + i.Name(), Why: "was removed a moment ago", Hint: "build, load or pull it again", Err: err}
		}
		return nil, i.store.storeError(err)
	}
	return func() { f.Close() }, nil
}

// lockRefs keeps names from changing, so that an image's last name does not go while it gets another.
func (s *Store) lockRefs() (func(), error) {
	f, err := os.Open(s.path(dirRefs))
	if err == nil {
		err = lockFile(f, unix.LOCK_EX)
	}
	if err != nil {
		return nil, s.storeError(err)
	}
	return func() { f.Close() }, nil
}

// removeImage removes an image's record unless somebody holds the image, and tells whether it did. What the image alone
// needed goes with the next Prune. The caller has locked the names, and the image has none.
func (s *Store) removeImage(d Digest) (bool, error) {
	f, err := s.lockImage(d, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := os.Remove(s.imagePath(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, s.storeError(err)
	}
	return true, s.storeError(os.Remove(f.Name()))
}

// lockImage takes the lock of an image. Its file exists from the first use of the image to its removal.
func (s *Store) lockImage(d Digest, how int) (*os.File, error) {
	name := s.imagePath(d) + ".lock"
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, s.storeError(err)
		}
		if err := lockFile(f, how); err != nil {
			f.Close()
			return nil, err
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err == nil && st.Nlink > 0 {
			return f, nil
		}
		f.Close() // removed with its image between the two calls
	}
}

func lockFile(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}
