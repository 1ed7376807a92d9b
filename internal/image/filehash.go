package image

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// fileHashes remembers the digests of files that look the same as when they were hashed: same size, times and inode.
type fileHashes struct {
	store *Store
	path  string
	mu    sync.Mutex
	known map[string]fileHash
	used  map[string]fileHash
	fresh bool // something is new
}

type fileHash struct {
	Size   int64  `json:"s"`
	Mtime  int64  `json:"m"`
	Ctime  int64  `json:"c"`
	Ino    uint64 `json:"i"`
	Digest Digest `json:"d"`
}

func (s *Store) openFileHashes(id string) *fileHashes {
	h := &fileHashes{store: s, path: s.path(dirFiles, id), known: map[string]fileHash{}, used: map[string]fileHash{}}
	if data, err := os.ReadFile(h.path); err == nil {
		if json.Unmarshal(data, &h.known) != nil {
			h.known = map[string]fileHash{}
		}
	}
	return h
}

// settled is how old a change must be for the clock of the file system to tell it from the next one.
const settled = 50 * time.Millisecond

// digest returns the digest of a regular file's content.
func (h *fileHashes) digest(t tree, it *item) (Digest, error) {
	now := fileHash{Size: it.size, Mtime: it.mtime, Ctime: it.ctime, Ino: it.ino}
	h.mu.Lock()
	old, ok := h.known[it.real]
	h.mu.Unlock()
	if ok {
		now.Digest = old.Digest
		if now == old {
			h.mu.Lock()
			h.used[it.real] = old
			h.mu.Unlock()
			return old.Digest, nil
		}
	}
	started := time.Now()
	f, err := t.open(it)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return "", err
	}
	if n != it.size {
		return "", fmt.Errorf("%s changed while it was being read", it.path)
	}
	now.Digest = sumDigest(sum)
	if started.Sub(time.Unix(0, it.ctime)) > settled {
		h.mu.Lock()
		h.used[it.real], h.fresh = now, true
		h.mu.Unlock()
	}
	return now.Digest, nil
}

// save keeps what this build has used. Failing to costs time only.
func (h *fileHashes) save() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.fresh && len(h.used) == len(h.known) {
		return
	}
	if data, err := json.Marshal(h.used); err == nil {
		_ = h.store.writeFile(h.path, data)
	}
}
