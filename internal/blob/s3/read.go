package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/minio/minio-go/v7"

	"longshore/internal/blob"
)

// object reads a blob from the bucket. When the connection is cut it goes on where it was.
type object struct {
	ctx  context.Context
	s    *Store
	info blob.Info
	at   int64
	body io.ReadCloser // nil when none is open
	cuts int           // since something came
}

func (o *object) Read(p []byte) (int, error) {
	for len(p) > 0 && o.at < o.info.Size {
		if err := o.open(); err != nil {
			return 0, err
		}
		n, err := o.body.Read(p[:min(int64(len(p)), o.info.Size-o.at)])
		o.at += int64(n)
		if err != nil && o.at < o.info.Size {
			o.close()
		}
		if n > 0 {
			o.cuts = 0
			return n, nil
		}
		if err == nil {
			continue
		}
		if o.cuts++; o.cuts > retries || o.ctx.Err() != nil {
			return 0, o.s.trouble("reading", errors.Join(o.ctx.Err(), err))
		}
		select {
		case <-time.After(time.Duration(o.cuts) * settlePoll):
		case <-o.ctx.Done():
			return 0, o.ctx.Err()
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	return 0, io.EOF
}

func (o *object) open() error {
	if o.body != nil {
		return nil
	}
	key, err := o.s.key(o.info.Digest)
	if err != nil {
		return err
	}
	var opts minio.GetObjectOptions
	if o.at > 0 {
		if err := opts.SetRange(o.at, o.info.Size-1); err != nil {
			return err
		}
	}
	o.body, _, _, err = o.s.client.GetObject(o.ctx, o.s.bucket, key, opts)
	if err != nil {
		o.body = nil
	}
	return o.s.trouble("reading", err)
}

// Seek implements io.Seeker. It reads nothing.
func (o *object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.at
	case io.SeekEnd:
		offset += o.info.Size
	}
	if offset < 0 {
		return 0, errors.New("blob: seek before the start")
	}
	if offset != o.at {
		o.close()
		o.at = offset
	}
	return offset, nil
}

func (o *object) close() {
	if o.body != nil {
		o.body.Close()
		o.body = nil
	}
}

// Close implements io.Closer.
func (o *object) Close() error {
	o.close()
	return nil
}

// fetch puts a blob into the cache, and sees that it is what it is called.
func (s *Store) fetch(ctx context.Context, i blob.Info) (string, func(), error) {
	f, err := s.cache.temp()
	if err != nil {
		return "", nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	o := &object{ctx: ctx, s: s, info: i}
	defer o.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), o); err != nil {
		return "", nil, blob.Full(err)
	}
	if digest := "sha256:" + hex.EncodeToString(h.Sum(nil)); digest != i.Digest {
		return "", nil, fmt.Errorf("blob: %s: the object of %s has another content (%s): somebody changed it", s.where, i.Digest, digest)
	}
	return s.cache.adopt(f, i.Digest, i.Size)
}
