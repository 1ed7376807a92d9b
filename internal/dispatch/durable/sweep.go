package durable

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// halfMade is the start of the names of packages that are being unpacked.
const halfMade = ".tmp-"

// settled is when what was being made while its worker died can be told from what is being made now.
const settled = 2 * time.Minute

// sweeps removes what died before this server started, and then what its workers leave when they die, each time twice: at once,
// and when it has settled.
func (s *Service) sweeps(ctx context.Context) {
	for twice := true; ; {
		s.trouble("removing what dead workers left failed", s.sweep(ctx))
		var later <-chan time.Time
		if twice {
			later = time.After(settled)
		}
		select {
		case <-s.left:
			twice = true
		case <-later:
			twice = false
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) sweep(ctx context.Context) error {
	if s.cfg.Sweep == nil {
		return nil
	}
	return s.cfg.Sweep(ctx)
}

// sweepSoon has sweeps look.
func (s *Service) sweepSoon() {
	select {
	case s.left <- struct{}{}:
	default:
	}
}

// clearHalfMade removes packages that a process which died was unpacking. Nothing may be under way.
func (s *Service) clearHalfMade() error {
	dir := filepath.Join(s.cfg.Dir, "packages")
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), halfMade) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
