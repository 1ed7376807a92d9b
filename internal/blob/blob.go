// Package blob declares content-addressed storage for what is large: packages, inputs, outputs and logs. Adapters are below;
// blobtest is the suite that they pass.
//
// A blob is named by the digest of its content, "sha256:" and 64 hexadecimal digits, and never changes. Writing the same
// content twice keeps one copy. Which blobs are still of use is known to the store (see its Blobs), which is asked before
// anything is removed.
package blob

import (
	"context"
	"errors"
	"io"
	"time"
)

// Store keeps blobs. All methods are safe for concurrent use, also by several processes.
type Store interface {
	// Put reads r to its end and answers the digest and size. The blob appears whole or not at all, and is durable when Put
	// returns. limit bounds the size in bytes (ErrTooLarge); zero means none.
	Put(ctx context.Context, r io.Reader, limit int64) (Info, error)
	// Take makes a file of this machine a blob, by a link to it where that is possible: the file stays, and nobody may write
	// to it any more. A symbolic link is refused. digest is what the file is known to have, or empty. It need not be durable
	// before the next Sync.
	Take(ctx context.Context, path, digest string) (Info, error)
	// Open reads a blob from its start; the reader can seek. A missing one is ErrNotFound.
	Open(ctx context.Context, digest string) (io.ReadSeekCloser, Info, error)
	// Local answers the path of a file on this machine with the content, which nobody may change, and a function that says
	// that it is needed no more. Storage elsewhere fetches it into a cache first.
	Local(ctx context.Context, digest string) (path string, release func(), err error)
	// Stat answers a blob's size and time of writing.
	Stat(ctx context.Context, digest string) (Info, error)
	// Touch marks a blob as written now, so that it is not collected before a reference to it is on record. A missing one is
	// ErrNotFound.
	Touch(ctx context.Context, digest string) error
	// Sync makes everything durable that was taken before, in one go.
	Sync(ctx context.Context) error
	// Walk calls f for every blob, in no order, until it answers an error.
	Walk(ctx context.Context, f func(Info) error) error
	// Remove removes a blob unless it was written or touched after a time, and tells whether it did; a missing one is not an
	// error. Nobody who is told that a blob is there, by Put, Take or Touch, loses it to a Remove that was under way.
	Remove(ctx context.Context, digest string, writtenBefore time.Time) (bool, error)
	// Used answers the bytes that blobs take, and how many are free; a negative number means that it is not known. It is
	// cheap, and may leave out what other processes wrote since the last Walk.
	Used(ctx context.Context) (used, free int64, err error)
}

// Info is what is known of a blob.
type Info struct {
	Digest string
	Size   int64
	// WrittenAt is when it was last put, also when it was there already: what is young is not collected.
	WrittenAt time.Time
}

// The errors that callers tell apart.
var (
	ErrNotFound = errors.New("blob: not found")
	ErrTooLarge = errors.New("blob: larger than allowed")
	// ErrFull tells that the storage has no room left.
	ErrFull = errors.New("blob: no room left")
	// ErrAway tells that a storage which is reached by a network does not answer, or not now: the same may work later.
	ErrAway = errors.New("blob: the storage does not answer")
)
