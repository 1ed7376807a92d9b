package s3

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/minio/minio-go/v7"

	"longshore/internal/blob"
)

// Removing a blob and finding that it is there already must not cross: S3 has no lock, and a removal that is under way cannot be
// called back. So who removes says so first, with an object beside the blobs, and looks at the blob's age only then. Who has
// written or touched a blob looks for that object afterwards:
//
//	remover: mark, look at the age, remove (or not), unmark
//	writer:  write or touch, look for the mark: none means that any remover that comes will see a young blob;
//	         otherwise wait until it is gone, and look whether the blob is
//
// A removal ends within Config.Removal; a mark that stays for longer is that of a process that died.
//
// S3 answers every request with the latest that was written, which is all that this needs.

// settlePoll is how often a writer looks whether a removal has ended.
const settlePoll = 200 * time.Millisecond

func (s *Store) mark(digest string) string {
	digits, _ := blob.Hex(digest) // checked by those who call
	return s.prefix + "condemned/" + digits
}

// Remove implements blob.Store.
func (s *Store) Remove(ctx context.Context, digest string, writtenBefore time.Time) (removed bool, err error) {
	key, err := s.key(digest)
	if err != nil {
		return false, nil
	}
	if old, err := s.isOld(ctx, digest, writtenBefore); err != nil || !old {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.removal)
	defer cancel()
	if _, err := s.client.Client.PutObject(ctx, s.bucket, s.mark(digest), bytes.NewReader(nil), 0, minio.PutObjectOptions{}); err != nil {
		return false, s.trouble("marking a blob for removal", err)
	}
	defer func() {
		if unmarkErr := s.unmark(context.WithoutCancel(ctx), digest); err == nil {
			err = unmarkErr
		}
	}()
	if old, err := s.isOld(ctx, digest, writtenBefore); err != nil || !old {
		return false, err
	}
	if err := s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}); err != nil {
		return false, s.trouble("removing a blob", err)
	}
	return true, nil
}

func (s *Store) isOld(ctx context.Context, digest string, writtenBefore time.Time) (bool, error) {
	i, err := s.Stat(ctx, digest)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	return err == nil && !i.WrittenAt.After(writtenBefore), err
}

func (s *Store) unmark(ctx context.Context, digest string) error {
	ctx, cancel := context.WithTimeout(ctx, s.removal)
	defer cancel()
	return s.trouble("unmarking a blob", s.client.RemoveObject(ctx, s.bucket, s.mark(digest), minio.RemoveObjectOptions{}))
}

// settled waits until nobody removes a blob that was just written, and tells whether it is there.
func (s *Store) settled(ctx context.Context, digest string) (there bool, err error) {
	for waited := time.Duration(0); ; waited += settlePoll {
		_, err := s.client.StatObject(ctx, s.bucket, s.mark(digest), minio.StatObjectOptions{})
		switch err = s.trouble("looking for a removal", err); {
		case errors.Is(err, blob.ErrNotFound) && waited == 0:
			return true, nil
		case errors.Is(err, blob.ErrNotFound):
			_, err := s.Stat(ctx, digest)
			if errors.Is(err, blob.ErrNotFound) {
				return false, nil
			}
			return err == nil, err
		case err != nil:
			return false, err
		case waited > 2*s.removal:
			if err := s.unmark(ctx, digest); err != nil {
				return false, err
			}
			continue
		}
		select {
		case <-time.After(settlePoll):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
