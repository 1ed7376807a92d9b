package s3

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/minio/minio-go/v7"

	"longshore/internal/blob"
)

// maxCopy is the largest object that S3 copies in one request.
const maxCopy = 5 << 30

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, r io.Reader, limit int64) (blob.Info, error) {
	f, err := s.cache.temp()
	if err != nil {
		return blob.Info{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	digest, size, err := blob.Copy(ctx, f, r, limit)
	if err != nil {
		return blob.Info{}, err
	}
	if err := s.upload(ctx, f, digest, size); err != nil {
		return blob.Info{}, err
	}
	_, release, err := s.cache.adopt(f, digest, size)
	if err != nil {
		return blob.Info{}, err
	}
	release()
	return blob.Info{Digest: digest, Size: size, WrittenAt: time.Now()}, nil
}

// Take implements blob.Store. The file is uploaded at once.
func (s *Store) Take(ctx context.Context, path, digest string) (blob.Info, error) {
	f, digest, size, err := blob.OpenRegular(ctx, path, digest)
	if err != nil {
		return blob.Info{}, err
	}
	defer f.Close()
	if err := s.upload(ctx, f, digest, size); err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Digest: digest, Size: size, WrittenAt: time.Now()}, nil
}

// upload makes a file's content an object, unless it is one.
func (s *Store) upload(ctx context.Context, f *os.File, digest string, size int64) error {
	for {
		err := s.Touch(ctx, digest)
		if !errors.Is(err, blob.ErrNotFound) {
			return err
		}
		if err := s.send(ctx, f, digest, size); err != nil {
			return err
		}
		if there, err := s.settled(ctx, digest); err != nil || there {
			return err
		}
	}
}

func (s *Store) send(ctx context.Context, f *os.File, digest string, size int64) error {
	key, err := s.key(digest)
	if err != nil {
		return err
	}
	_, err = s.client.Client.PutObject(ctx, s.bucket, key, io.NewSectionReader(f, 0, size), size, minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: partSize, NumThreads: 2,
	})
	return s.trouble("writing", err)
}

// Touch implements blob.Store.
func (s *Store) Touch(ctx context.Context, digest string) error {
	key, err := s.key(digest)
	if err != nil {
		return err
	}
	i, err := s.Stat(ctx, digest)
	if err != nil {
		return err
	}
	// A copy onto itself, which S3 takes only when something is said to change, makes it young.
	to := minio.CopyDestOptions{Bucket: s.bucket, Object: key, ReplaceMetadata: true, ContentType: "application/octet-stream"}
	from := minio.CopySrcOptions{Bucket: s.bucket, Object: key}
	if i.Size > maxCopy {
		_, err = s.client.ComposeObject(ctx, to, from)
	} else {
		_, err = s.client.Client.CopyObject(ctx, to, from)
	}
	if err != nil {
		return s.trouble("marking as used", err)
	}
	there, err := s.settled(ctx, digest)
	if err == nil && !there {
		err = blob.ErrNotFound
	}
	return err
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, digest string) (blob.Info, error) {
	key, err := s.key(digest)
	if err != nil {
		return blob.Info{}, err
	}
	i, err := s.client.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return blob.Info{}, s.trouble("looking for a blob", err)
	}
	return blob.Info{Digest: digest, Size: i.Size, WrittenAt: i.LastModified}, nil
}

// Open implements blob.Store. What is in the cache is read from there.
func (s *Store) Open(ctx context.Context, digest string) (io.ReadSeekCloser, blob.Info, error) {
	i, err := s.Stat(ctx, digest)
	if err != nil {
		return nil, blob.Info{}, err
	}
	if path, release, ok := s.cache.get(digest); ok {
		defer release()
		if f, err := os.Open(path); err == nil {
			return f, i, nil
		}
	}
	return &object{ctx: ctx, s: s, info: i}, i, nil
}

// Local implements blob.Store.
func (s *Store) Local(ctx context.Context, digest string) (string, func(), error) {
	i, err := s.Stat(ctx, digest)
	if err != nil {
		return "", nil, err
	}
	unlock, err := s.cache.fetching(ctx, digest)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	if path, release, ok := s.cache.get(digest); ok {
		return path, release, nil
	}
	return s.fetch(ctx, i)
}

// Sync implements blob.Store: nothing is left to do.
func (s *Store) Sync(context.Context) error { return nil }

// Used implements blob.Store: a bucket does not tell.
func (s *Store) Used(context.Context) (used, free int64, err error) { return -1, -1, nil }

// staleUpload is how old an upload in parts that did not end is when it is dropped.
const staleUpload = 24 * time.Hour

// Walk implements blob.Store. It drops uploads that were cut off, too.
func (s *Store) Walk(ctx context.Context, f func(blob.Info) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listings
	for u := range s.client.Client.ListIncompleteUploads(ctx, s.bucket, s.prefix+"blobs/", true) {
		if u.Err != nil {
			return s.trouble("listing uploads", u.Err)
		}
		if time.Since(u.Initiated) > staleUpload {
			if err := s.client.AbortMultipartUpload(ctx, s.bucket, u.Key, u.UploadID); err != nil {
				return s.trouble("dropping an upload that was cut off", err)
			}
		}
	}
	for o := range s.client.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + "blobs/", Recursive: true}) {
		if o.Err != nil {
			return s.trouble("listing blobs", o.Err)
		}
		digest, ok := s.digest(o.Key)
		if !ok {
			continue
		}
		if err := f(blob.Info{Digest: digest, Size: o.Size, WrittenAt: o.LastModified}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// digest is the blob that an object is; false for what is none of ours.
func (s *Store) digest(key string) (string, bool) {
	if len(key) < 64 {
		return "", false
	}
	digest := "sha256:" + key[len(key)-64:]
	own, err := s.key(digest)
	return digest, err == nil && own == key
}
