package durable

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// halfMade is the start of the names of packages that are being unpacked.
const halfMade = ".tmp-"

// sweeps removes what died before this server started, and then what its workers leave when they die.
func (s *Service) sweeps(ctx context.Context) {
	for {
		s.trouble("removing what dead workers left failed", s.sweep(ctx))
		select {
		case <-s.left:
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
