package durable

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"longshore/internal/dispatch/worker"
	"longshore/internal/store"
	"longshore/internal/task"
)

// Log reads a run's log as frames from its first byte: what its attempts wrote, one after the other, each frame with its attempt.
// What was read once stays where it is, so that who has so many bytes can go on after them at any time. With follow, the reader
// waits for more until the run has ended; what comes before the container exists is an empty log that is waited for. Closing the
// reader ends a Read that blocks.
//
// What an attempt wrote on a server that did not come back before its lease ran out is lost with that server.
func (s *Service) Log(ctx context.Context, id string, follow bool) (io.ReadCloser, error) {
	if _, err := s.cfg.Store.Run(ctx, id); err != nil {
		return nil, s.runError(id, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	return &logReader{s: s, id: id, follow: follow, ctx: ctx, cancel: cancel}, nil
}

// logOf are the parts of a run's log that are blobs, in order.
func logOf(files []store.File) (parts []store.File) {
	for _, f := range files {
		if f.Path == store.LogPath {
			parts = append(parts, f)
		}
	}
	return parts
}

// logged is how long they are together.
func logged(files []store.File) (n int64) {
	for _, f := range logOf(files) {
		n += f.Size
	}
	return n
}

// logReader reads the parts of a log: those of earlier attempts, and of an ended run all of them, from their blobs, that of an
// attempt under way from the job's folder. A blob has the same bytes as the file before it, so a reader can change over in the
// middle.
type logReader struct {
	s      *Service
	id     string
	follow bool
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	at   int64  // of the whole log
	part string // what file is open of: a digest, or a job's name
	file io.ReadSeekCloser
	left int64 // what is known to be there in file
}

func (r *logReader) Read(p []byte) (int, error) {
	for {
		n, changed, err := r.some(p)
		if n > 0 || err != nil {
			return n, err
		}
		if !r.follow {
			return 0, io.EOF
		}
		if err := r.pause(changed); err != nil {
			return 0, err
		}
	}
}

// pause waits for a change.
func (r *logReader) pause(changed <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(r.ctx, following)
	defer cancel()
	select {
	case <-changed:
	case <-ctx.Done():
		return r.ctx.Err()
	}
	return nil
}

// some reads what is there; where that is nothing, changed tells when there may be more.
func (r *logReader) some(p []byte) (n int, changed <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == 0 {
		if changed, err = r.next(); err != nil || r.left == 0 {
			return 0, changed, err
		}
	}
	n, err = r.file.Read(p[:min(int64(len(p)), r.left)])
	r.at += int64(n)
	r.left -= int64(n)
	switch {
	case !errors.Is(err, io.EOF):
		return n, nil, err
	case n == 0:
		return 0, nil, io.ErrUnexpectedEOF
	}
	return n, nil, nil
}

// next finds what follows, if it is there. io.EOF tells that nothing comes any more.
func (r *logReader) next() (<-chan struct{}, error) {
	for {
		live, size, changed := r.s.hub.log(r.id)
		run := live
		if run == nil {
			kept, err := r.s.cfg.Store.Run(context.WithoutCancel(r.ctx), r.id)
			if err != nil {
				return nil, r.s.runError(r.id, err)
			}
			run = &kept
		}
		at := r.at
		for _, f := range logOf(run.Files) {
			if at < f.Size {
				return changed, r.open(f.Digest, at, f.Size-at, r.blob)
			}
			at -= f.Size
		}
		switch {
		case live == nil && run.State.Terminal():
			return nil, io.EOF
		case live == nil || at >= size:
			return changed, nil
		}
		err := r.open(worker.Name(run.ID, run.Attempt), at, size-at, r.job)
		if !errors.Is(err, fs.ErrNotExist) || r.ctx.Err() != nil {
			return changed, err
		}
		// It became a blob in this moment: the run is not under way here any more.
		select {
		case <-changed:
		case <-r.ctx.Done():
		}
	}
}

// open goes to a place in a part of which so much is there.
func (r *logReader) open(part string, at, there int64, open func(part string) (io.ReadSeekCloser, error)) error {
	if r.part != part {
		r.close()
		file, err := open(part)
		if err != nil {
			return err
		}
		r.part, r.file = part, file
	}
	if _, err := r.file.Seek(at, io.SeekStart); err != nil {
		return err
	}
	r.left = there
	return nil
}

func (r *logReader) blob(digest string) (io.ReadSeekCloser, error) {
	b, _, err := r.s.cfg.Blobs.Open(r.ctx, digest)
	if err != nil {
		return nil, &task.Error{Code: task.CodeMissing, Message: "the log of run " + r.id + " is not kept any more", Cause: err}
	}
	return b, nil
}

func (r *logReader) job(name string) (io.ReadSeekCloser, error) {
	return os.Open(r.s.cfg.Worker.Log(name))
}

func (r *logReader) close() {
	if r.file != nil {
		r.file.Close()
	}
	r.part, r.file, r.left = "", nil, 0
}

// Close ends the reader.
func (r *logReader) Close() error {
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close()
	return nil
}
