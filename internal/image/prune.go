package image

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/rmtree"
)

// PruneOptions say what Prune keeps besides named images and the layers they need.
type PruneOptions struct {
	// Untagged removes images that have no name and that nobody holds; otherwise they stay.
	Untagged bool
	// BuildCache drops the layer cache of builds, with the layers only it needs, and the folders of cache mounts.
	BuildCache bool
	// CacheUnused, when not zero, drops what the layer cache has not used for so long.
	CacheUnused time.Duration
}

// Pruned tells what Prune removed.
type Pruned struct {
	Images, Layers, Blobs, Leftovers int
	// Bytes is the disk space given back, nearly. Leftovers counts cache entries and what crashed processes left.
	Bytes int64
}

// Prune removes what nothing refers to: blobs, layers, and what crashed processes left. It waits until no load, pull or
// build is running. Images that are held, because containers use them, stay whole.
func (s *Store) Prune(ctx context.Context, opts PruneOptions) (Pruned, error) {
	var out Pruned
	unlock, err := s.flock(ctx, s.path("lock"), unix.LOCK_EX)
	if err != nil {
		return out, err
	}
	defer unlock()
	p := &pruner{store: s, out: &out}
	if opts.BuildCache {
		for _, d := range []string{dirSteps, dirSlots, dirFiles, dirResults, dirBuilt, dirCacheMount} {
			p.clear(s.path(d))
		}
	}
	if opts.CacheUnused > 0 {
		for _, d := range []string{dirSteps, dirSlots, dirFiles, dirResults, dirBuilt} {
			p.clearOld(s.path(d), s.cfg.Now().Add(-opts.CacheUnused))
		}
	}
	p.clear(s.path(dirTmp))
	live, err := p.images(opts)
	if err != nil {
		return out, err
	}
	if err := s.cachedLayers(live.layers); err != nil {
		return out, err
	}
	p.sweep(live)
	if p.err != nil {
		return out, s.storeError(p.err)
	}
	return out, nil
}

// used is what must stay.
type used struct {
	layers map[Digest]bool
	blobs  map[Digest]bool
	fixups map[string]bool
}

type pruner struct {
	store *Store
	out   *Pruned
	err   error
}

func (p *pruner) remove(path string) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				p.out.Bytes += info.Size()
			}
		}
		return nil
	})
	if err := rmtree.All(path); err != nil && p.err == nil {
		p.err = err
	}
}

// clear removes a folder's entries. Those that a living process has locked are not leftovers.
func (p *pruner) clear(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			p.remove(name)
			p.out.Leftovers++
		}
		f.Close()
	}
}

// clearOld removes the files of a folder that have not been used since.
func (p *pruner) clearOld(dir string, since time.Time) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().Before(since) {
			p.remove(filepath.Join(dir, e.Name()))
			p.out.Leftovers++
		}
	}
}

// images removes images that should go and collects what the others need.
func (p *pruner) images(opts PruneOptions) (used, error) {
	live := used{layers: map[Digest]bool{}, blobs: map[Digest]bool{}, fixups: map[string]bool{}}
	unlock, err := p.store.lockRefs()
	if err != nil {
		return live, err
	}
	defer unlock()
	all, err := p.store.List()
	if err != nil {
		return live, err
	}
	for _, img := range all {
		if opts.Untagged && len(img.names) == 0 {
			gone, err := p.store.removeImage(img.rec.Manifest)
			if err != nil {
				return live, err
			}
			if gone {
				p.out.Images++
				continue
			}
		}
		live.blobs[img.rec.Manifest], live.blobs[img.rec.Config] = true, true
		for _, l := range img.rec.Layers {
			live.layers[l.Diff] = true
			live.blobs[l.Blob] = true
		}
		for _, f := range img.rec.Fixups {
			live.fixups[f] = true
		}
	}
	return live, nil
}

// cachedLayers adds the layers that the build cache refers to.
func (s *Store) cachedLayers(layers map[Digest]bool) error {
	entries, err := os.ReadDir(s.path(dirSteps))
	if err != nil {
		return s.storeError(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(s.path(dirSteps, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return s.storeError(err)
		}
		var step stepRecord
		if json.Unmarshal(b, &step) == nil && step.Diff != "" {
			layers[step.Diff] = true
		}
	}
	return nil
}

// sweep removes layers and blobs that nothing refers to.
func (p *pruner) sweep(live used) {
	s := p.store
	entries, _ := os.ReadDir(s.path(dirLayers))
	for _, e := range entries {
		hex, suffix, _ := strings.Cut(e.Name(), ".")
		diff := Digest(digestPrefix + hex)
		switch {
		case strings.HasPrefix(hex, "fix-"):
			if live.fixups[hex] {
				continue
			}
		case live.layers[diff]:
			if meta, err := s.layerMeta(diff); err == nil {
				if meta.Blob != "" {
					live.blobs[meta.Blob] = true
				}
				continue
			}
		}
		if suffix == "" {
			p.out.Layers++
		}
		p.remove(s.path(dirLayers, e.Name()))
	}
	for _, dir := range []string{dirBlobs, dirDiffs} {
		entries, _ := os.ReadDir(s.path(dir))
		for _, e := range entries {
			if !live.blobs[Digest(digestPrefix+e.Name())] {
				p.out.Blobs++
				p.remove(s.path(dir, e.Name()))
			}
		}
	}
}
