package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"longshore/internal/blob"
)

// cache is a folder of copies of blobs, which are read-only files named by their 64 digits. It is bounded: what was not used for
// the longest time goes first, and what is in use stays.
type cache struct {
	dir   string
	limit int64

	mu      sync.Mutex
	entries map[string]*entry // by digest
	total   int64
	busy    map[string]*turn
}

type entry struct {
	size int64
	used time.Time
	pins int
}

// turn has those who want the same blob fetch it one after the other, so that only the first has to.
type turn struct {
	token   chan struct{}
	waiting int
}

// openCache opens a folder, which it makes, with what an earlier process left in it.
func openCache(dir string, limit int64) (*cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, blob.Full(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	c := &cache{dir: dir, limit: limit, entries: map[string]*entry{}, busy: map[string]*turn{}}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(f.Name(), "tmp-") {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return nil, err
			}
			continue
		}
		if digest := "sha256:" + f.Name(); info.Mode().IsRegular() {
			if _, ok := blob.Hex(digest); ok {
				c.entries[digest] = &entry{size: info.Size(), used: info.ModTime()}
				c.total += info.Size()
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, c.shrink()
}

func (c *cache) path(digest string) string {
	digits, _ := blob.Hex(digest) // checked by those who call
	return filepath.Join(c.dir, digits)
}

// temp makes a file for something that may become a copy.
func (c *cache) temp() (*os.File, error) {
	f, err := os.CreateTemp(c.dir, "tmp-")
	return f, blob.Full(err)
}

// adopt makes a finished file the copy of a blob, which stays until it is released.
func (c *cache) adopt(f *os.File, digest string, size int64) (path string, release func(), err error) {
	if err := f.Chmod(0o444); err != nil {
		return "", nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if path, release, ok := c.pin(digest); ok {
		return path, release, nil
	}
	if err := os.Rename(f.Name(), c.path(digest)); err != nil {
		return "", nil, blob.Full(err)
	}
	c.entries[digest] = &entry{size: size}
	c.total += size
	path, release, ok := c.pin(digest)
	if !ok {
		return "", nil, fmt.Errorf("blob: somebody removed %s from the cache at once", c.path(digest))
	}
	_ = c.shrink() // what could not be removed is tried again with the next one
	return path, release, nil
}

// get answers a copy that stays until it is released.
func (c *cache) get(digest string) (path string, release func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pin(digest)
}

// pin is get for a caller that holds mu.
func (c *cache) pin(digest string) (path string, release func(), ok bool) {
	e := c.entries[digest]
	if e == nil {
		return "", nil, false
	}
	path = c.path(digest)
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil { // somebody removed it
		c.total -= e.size
		delete(c.entries, digest)
		return "", nil, false
	}
	e.used = now
	e.pins++
	return path, sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		e.pins--
		_ = c.shrink() // what could not be removed is tried again with the next one
	}), true
}

// shrink drops copies until the rest is within the limit; the caller holds mu.
func (c *cache) shrink() error {
	for c.total > c.limit {
		oldest := ""
		for digest, e := range c.entries {
			if e.pins == 0 && (oldest == "" || e.used.Before(c.entries[oldest].used)) {
				oldest = digest
			}
		}
		if oldest == "" {
			return nil // all are in use
		}
		if err := os.Remove(c.path(oldest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		c.total -= c.entries[oldest].size
		delete(c.entries, oldest)
	}
	return nil
}

// fetching waits for its turn to fetch a blob.
func (c *cache) fetching(ctx context.Context, digest string) (done func(), err error) {
	c.mu.Lock()
	t := c.busy[digest]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		c.busy[digest] = t
	}
	t.waiting++
	c.mu.Unlock()
	leave := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.waiting--; t.waiting == 0 {
			delete(c.busy, digest)
		}
	}
	select {
	case t.token <- struct{}{}:
		return func() { <-t.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
