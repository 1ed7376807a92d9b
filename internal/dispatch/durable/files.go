package durable

import (
	"context"
	"errors"
	"io"

	"longshore/internal/blob"
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
