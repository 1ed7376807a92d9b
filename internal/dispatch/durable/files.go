package durable

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"longshore/internal/blob"
	"longshore/internal/dispatch/worker"
	"longshore/internal/store"
	"longshore/internal/task"
)

// Output opens one file of an ended run by its path.
func (s *Service) Output(ctx context.Context, id, path string) (io.ReadSeekCloser, store.File, error) {
	run, err := s.cfg.Store.Run(ctx, id)
	if err != nil {
		return nil, store.File{}, s.runError(id, err)
	}
	for _, f := range run.Files {
		if f.Path == path && f.Mode == "" && f.Path != store.LogPath && f.Path != store.EventsPath {
			r, err := s.OpenFile(ctx, f)
			return r, f, err
		}
	}
	switch {
	case !run.State.Terminal():
		return nil, store.File{}, (&task.Error{Code: task.CodeMissing, Message: "run " + id + " has not ended: there are no outputs yet"}).WithHint("wait for it first")
	case run.Pruned:
		return nil, store.File{}, &task.Error{Code: task.CodeMissing, Message: "the outputs of run " + id + " were removed because of their age"}
	}
	return nil, store.File{}, &task.Error{Code: task.CodeMissing, Message: "run " + id + " has no output file " + path}
}

// OpenFile opens the content of a kept file.
func (s *Service) OpenFile(ctx context.Context, f store.File) (io.ReadSeekCloser, error) {
	r, _, err := s.cfg.Blobs.Open(ctx, f.Digest)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, &task.Error{Code: task.CodeMissing, Message: "the content of " + f.Path + " is not kept any more"}
	}
	return r, err
}

// Outputs are the files of a run that are outputs.
func Outputs(run store.Run) []store.File {
	var list []store.File
	for _, f := range run.Files {
		if f.Path != store.LogPath && f.Path != store.EventsPath {
			list = append(list, f)
		}
	}
	return list
}

// keepYoung sees that a blob is there and is not collected before a reference to it is on record. What is young enough is left
// alone: marking costs a write.
func (s *Service) keepYoung(ctx context.Context, digest string) error {
	i, err := s.cfg.Blobs.Stat(ctx, digest)
	if err != nil || s.now().Sub(i.WrittenAt) < grace/2 {
		return err
	}
	return s.cfg.Blobs.Touch(ctx, digest)
}

// Upload keeps an account's file for the runs that are about to be submitted. limit bounds its size in bytes; zero means none.
func (s *Service) Upload(ctx context.Context, account string, r io.Reader, limit int64) (blob.Info, error) {
	i, err := s.cfg.Blobs.Put(ctx, r, limit)
	switch {
	case errors.Is(err, blob.ErrTooLarge):
		return i, (&task.Error{Code: task.CodeUsage, Message: "the file is larger than this server takes", Cause: err}).WithHint("the operator can raise the limit")
	case errors.Is(err, blob.ErrFull):
		return i, (&task.Error{Code: task.ReasonEngine, Message: "the server's disk is full", Cause: err}).WithHint("the operator must make room; nothing was kept of this upload")
	case err != nil:
		return i, err
	}
	if err := s.cfg.Store.Hold(ctx, account, []string{i.Digest}, s.now().Add(uploadLife)); err != nil {
		return i, s.dbError(err)
	}
	return i, nil
}

// Log reads a run's log as frames from its first byte. With follow, the reader waits for more until the run has ended; what
// comes before the container exists is an empty log that is waited for. The log of a run that is tried again starts anew. Closing
// the reader ends a Read that blocks.
func (s *Service) Log(ctx context.Context, id string, follow bool) (io.ReadCloser, error) {
	if _, err := s.cfg.Store.Run(ctx, id); err != nil {
		return nil, s.runError(id, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	return &logReader{s: s, id: id, follow: follow, ctx: ctx, cancel: cancel}, nil
}

// logReader reads the log of an attempt under way from the job's folder, and that of an ended run from its blob. A blob has the
// same bytes as the file before it, so a reader can change over in the middle.
type logReader struct {
	s      *Service
	id     string
	follow bool
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	attempt int
	file    io.ReadSeekCloser
	at      int64
}

func (r *logReader) Read(p []byte) (int, error) {
	for {
		attempt, size, changed := r.s.hub.log(r.id)
		if attempt > 0 {
			n, err := r.live(p, attempt, size)
			if n > 0 || err != nil {
				return n, err
			}
		} else if n, over, err := r.kept(p); n > 0 || err != nil || over {
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

// live reads what the job's file has up to size: it ends with a whole frame.
func (r *logReader) live(p []byte, attempt int, size int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if attempt != r.attempt {
		r.close()
		r.attempt, r.at = attempt, 0
	}
	if r.at >= size {
		return 0, nil
	}
	if r.file == nil {
		f, err := os.Open(filepath.Join(r.s.cfg.Worker.Folder(worker.Name(r.id, attempt)), "log"))
		if err != nil {
			return 0, nil // it became a blob in this moment
		}
		if _, err := f.Seek(r.at, io.SeekStart); err != nil {
			f.Close()
			return 0, err
		}
		r.file = f
	}
	n, err := r.file.Read(p[:min(int64(len(p)), size-r.at)])
	r.at += int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// kept reads the log of a run that is not under way here; over tells that nothing comes any more.
func (r *logReader) kept(p []byte) (n int, over bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil || r.attempt >= 0 {
		run, err := r.s.cfg.Store.Run(context.WithoutCancel(r.ctx), r.id)
		if err != nil {
			return 0, true, r.s.runError(r.id, err)
		}
		if !run.State.Terminal() {
			return 0, false, nil
		}
		if err := r.openKept(run); err != nil {
			return 0, true, err
		}
	}
	n, err = r.file.Read(p)
	r.at += int64(n)
	return n, false, err
}

// ended is the attempt of a reader that reads the blob.
const ended = -1

func (r *logReader) openKept(run store.Run) error {
	if r.attempt != run.Attempt {
		r.at = 0
	}
	r.close()
	r.attempt = ended
	for _, f := range run.Files {
		if f.Path != store.LogPath {
			continue
		}
		b, _, err := r.s.cfg.Blobs.Open(r.ctx, f.Digest)
		if err != nil {
			return &task.Error{Code: task.CodeMissing, Message: "the log of run " + run.ID + " is not kept any more", Cause: err}
		}
		if _, err := b.Seek(r.at, io.SeekStart); err != nil {
			b.Close()
			return err
		}
		r.file = b
		return nil
	}
	return io.EOF
}

func (r *logReader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// Close ends the reader.
func (r *logReader) Close() error {
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close()
	return nil
}
