package durable

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"longshore/internal/blob"
	"longshore/internal/store"
	"longshore/internal/task"
)

// Retention says what is removed when. Zero fields keep for ever.
type Retention struct {
	// Files is how long the files of ended runs are kept, Runs the runs themselves, Audit the audit log.
	Files, Runs, Audit time.Duration
	// Disk is how much the blobs may take before the files of the oldest runs go, whatever Files says.
	Disk task.Bytes
}

// Pruned is what a clean-up removed.
type Pruned struct {
	Runs  int   `json:"runs"`  // whose files, or which themselves, were removed
	Blobs int   `json:"blobs"` // removed
	Bytes int64 `json:"bytes"` // freed
}

// grace keeps blobs that are younger from being collected: what refers to them may be on its way.
const grace = time.Hour

// pruneBatch is how many runs are pruned in one transaction.
const pruneBatch = 1000

// Prune removes what is past its time, and blobs that nothing refers to.
func (s *Service) Prune(ctx context.Context, r Retention) (Pruned, error) {
	var p Pruned
	now := s.now()
	for _, step := range []struct {
		age   time.Duration
		whole bool
	}{{r.Files, false}, {r.Runs, true}} {
		if step.age <= 0 {
			continue
		}
		for {
			n, err := s.cfg.Store.Prune(ctx, now.Add(-step.age), pruneBatch, step.whole)
			p.Runs += n
			if err != nil {
				return p, s.dbError(err)
			}
			if n < pruneBatch {
				break
			}
		}
	}
	if r.Audit > 0 {
		if err := s.cfg.Store.PruneAudit(ctx, now.Add(-r.Audit)); err != nil {
			return p, s.dbError(err)
		}
	}
	if err := s.collect(ctx, &p); err != nil {
		return p, err
	}
	return p, s.makeRoom(ctx, r.Disk, &p)
}

// makeRoom removes the files of the runs that ended first until the blobs take less than limit. Storage that does not know what
// its blobs take has no limit.
func (s *Service) makeRoom(ctx context.Context, limit task.Bytes, p *Pruned) error {
	for limit > 0 {
		used, _, err := s.cfg.Blobs.Used(ctx)
		if err != nil || used <= int64(limit) {
			return err
		}
		kept, err := s.keptRuns(ctx)
		if err != nil {
			return err
		}
		if kept == 0 {
			s.cfg.Log.Warn("the blobs take more than their limit, and no ended run is left whose files could be removed", "bytes", used, "limit", int64(limit))
			return nil
		}
		// As many as should be enough, if all were of the same size.
		enough := 1 + (used-int64(limit))*kept/used
		n, err := s.cfg.Store.Prune(ctx, s.now(), int(min(enough, pruneBatch)), false)
		p.Runs += n
		if err != nil {
			return s.dbError(err)
		}
		before := p.Bytes
		if err := s.collect(ctx, p); err != nil {
			return err
		}
		if n == 0 || p.Bytes == before {
			return nil // what is left is young, and goes the next time
		}
	}
	return nil
}

// keptRuns counts ended runs whose files are kept.
func (s *Service) keptRuns(ctx context.Context) (n int64, err error) {
	counts, err := s.cfg.Store.Count(ctx, store.RunFilter{States: []task.State{task.Succeeded, task.Failed, task.Cancelled}, Kept: true})
	if err != nil {
		return 0, s.dbError(err)
	}
	for _, c := range counts {
		n += c
	}
	return n, nil
}

// collect removes blobs that nothing refers to.
func (s *Service) collect(ctx context.Context, p *Pruned) error {
	old := s.now().Add(-grace)
	var batch []blob.Info
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		digests := make([]string, len(batch))
		size := map[string]int64{}
		for i, b := range batch {
			digests[i] = b.Digest
			size[b.Digest] = b.Size
		}
		batch = batch[:0]
		unused, err := s.cfg.Store.Unreferenced(ctx, digests, s.now())
		if err != nil {
			return s.dbError(err)
		}
		for _, d := range unused {
			removed, err := s.cfg.Blobs.Remove(ctx, d, old)
			if err != nil {
				return err
			}
			if removed {
				p.Blobs++
				p.Bytes += size[d]
			}
		}
		return nil
	}
	err := s.cfg.Blobs.Walk(ctx, func(i blob.Info) error {
		if i.WrittenAt.After(old) {
			return nil
		}
		if batch = append(batch, i); len(batch) == cap(batch) || len(batch) >= 500 {
			return flush()
		}
		return nil
	})
	return errors.Join(err, flush(), s.forgetPackages(ctx))
}

// forgetPackages removes unpacked packages that no version has any more; they are unpacked again when needed.
func (s *Service) forgetPackages(ctx context.Context) error {
	dir := filepath.Join(s.cfg.Dir, "packages")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), halfMade) || !s.isStale(filepath.Join(dir, e.Name())) {
			continue
		}
		unused, err := s.cfg.Store.Unreferenced(ctx, []string{"sha256:" + trimForm(e.Name())}, s.now())
		if err != nil {
			return s.dbError(err)
		}
		if len(unused) == 0 {
			continue
		}
		if err := s.forgetPackage(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) isStale(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && s.now().Sub(info.ModTime()) >= uploadLife
}

// forgetPackage removes an unpacked package unless somebody has come to use it. It goes in one step: what is left of it when this
// process dies meanwhile is no package.
func (s *Service) forgetPackage(dir string) error {
	gone, err := os.MkdirTemp(filepath.Dir(dir), halfMade)
	if err != nil {
		return err
	}
	s.tasks.mu.Lock()
	if s.isStale(dir) {
		err = os.Rename(dir, filepath.Join(gone, "package"))
	}
	s.tasks.mu.Unlock()
	return errors.Join(err, os.RemoveAll(gone))
}

// trimForm is the digest in the name of an unpacked package (see packagePath).
func trimForm(name string) string {
	digest, _, _ := strings.Cut(name, ".")
	return digest
}

// Keep prunes once an hour, and when the server starts, until ctx ends.
func (s *Service) Keep(ctx context.Context, r Retention) {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		s.sweepSoon()
		p, err := s.Prune(ctx, r)
		s.trouble("cleaning up failed", err)
		if p.Runs+p.Blobs > 0 {
			s.cfg.Log.Info("cleaned up", "runs", p.Runs, "blobs", p.Blobs, "bytes", p.Bytes)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// System is how the server is doing.
type System struct {
	Name     string               `json:"name"`
	Version  string               `json:"version"`
	Capacity task.Resources       `json:"capacity"`
	Free     task.Resources       `json:"free"`
	Slots    int                  `json:"slots"`
	Busy     int                  `json:"busy"`
	Draining bool                 `json:"draining"`
	Runs     map[task.State]int64 `json:"runs"`
	Servers  []store.Server       `json:"servers"`
	// BlobBytes is what blobs take, FreeBytes what is left for them; negative means not known.
	BlobBytes int64 `json:"blobBytes"`
	FreeBytes int64 `json:"freeBytes"`
}

// System tells how the server is doing.
func (s *Service) System(ctx context.Context) (System, error) {
	s.mu.Lock()
	y := System{Name: s.cfg.Name, Version: s.cfg.Version, Capacity: s.cfg.Capacity, Free: s.free, Slots: s.slots + len(s.carried), Busy: len(s.carried), Draining: s.draining}
	s.mu.Unlock()
	var err error
	if y.Runs, err = s.cfg.Store.Count(ctx, store.RunFilter{}); err != nil {
		return y, s.dbError(err)
	}
	if y.Servers, err = s.cfg.Store.Servers(ctx); err != nil {
		return y, s.dbError(err)
	}
	y.BlobBytes, y.FreeBytes, err = s.cfg.Blobs.Used(ctx)
	return y, err
}

// Usage sums ended runs by account and task.
func (s *Service) Usage(ctx context.Context, f store.UsageFilter) ([]store.Usage, error) {
	u, err := s.cfg.Store.Usage(ctx, f)
	if err != nil {
		return nil, s.dbError(err)
	}
	return u, nil
}
