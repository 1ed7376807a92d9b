package image

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// A layer that arrives uncompressed is not kept twice. Beside its unpacked folder lies a "split": everything of the tar
// archive but the contents of the files, which are read back from the folder. From both, the archive is put together
// again to the byte, which its digest proves.
//
// A split is a zstd stream of records: a tag byte; then for splitRaw a length and that many bytes, for splitFile the
// length of a path, the path, and the number of bytes. Lengths are unsigned varints.
const (
	splitRaw  = 1
	splitFile = 2
)

type splitWriter struct {
	f       *os.File
	z       *zstd.Encoder
	w       *bufio.Writer
	raw     []byte
	records int64
	err     error
}

func newSplitWriter(path string) (*splitWriter, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Close()
		return nil, err
	}
	return &splitWriter{f: f, z: z, w: bufio.NewWriterSize(z, 64<<10)}, nil
}

// Write records bytes as they are.
func (s *splitWriter) Write(b []byte) (int, error) {
	s.raw = append(s.raw, b...)
	if len(s.raw) >= 64<<10 {
		s.flushRaw()
	}
	return len(b), s.err
}

func (s *splitWriter) flushRaw() {
	if len(s.raw) == 0 || s.err != nil {
		return
	}
	head := binary.AppendUvarint([]byte{splitRaw}, uint64(len(s.raw)))
	_, s.err = s.w.Write(head)
	if s.err == nil {
		_, s.err = s.w.Write(s.raw)
	}
	s.raw = s.raw[:0]
	s.records++
}

// file records that size bytes of the file at path come next.
func (s *splitWriter) file(path string, size int64) {
	s.flushRaw()
	if s.err != nil {
		return
	}
	rec := binary.AppendUvarint([]byte{splitFile}, uint64(len(path)))
	rec = append(rec, path...)
	rec = binary.AppendUvarint(rec, uint64(size))
	_, s.err = s.w.Write(rec)
	s.records++
}

func (s *splitWriter) close() error {
	s.flushRaw()
	err := s.err
	if err == nil {
		err = s.w.Flush()
	}
	if zerr := s.z.Close(); err == nil {
		err = zerr
	}
	if ferr := s.f.Close(); err == nil {
		err = ferr
	}
	return err
}

// splitMove tells that a file or folder of the layer was replaced by a later entry of the same archive, and where the
// old one lies. At counts the records written before.
type splitMove struct {
	At  int64  `json:"at"`
	Old string `json:"old"`
	New string `json:"new"`
}

// maxMoves bounds how often entries of one layer may replace each other.
const maxMoves = 4096

// readSplit writes the archive again that a split and its folder describe.
func readSplit(ctx context.Context, w io.Writer, split string, dir, movedDir string, moves []splitMove) error {
	f, err := os.Open(split)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	moved := -1
	if len(moves) > 0 {
		if moved, err = unix.Open(movedDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		defer unix.Close(moved)
	}
	r := bufio.NewReaderSize(z, 64<<10)
	buf := make([]byte, 128<<10)
	for n := int64(0); ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		tag, err := r.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		size, err := binary.ReadUvarint(r)
		if err != nil {
			return err
		}
		switch tag {
		case splitRaw:
			if _, err := io.CopyN(w, r, int64(size)); err != nil {
				return err
			}
		case splitFile:
			if size > 64<<10 {
				return errors.New("damaged split: path too long")
			}
			name := make([]byte, size)
			if _, err := io.ReadFull(r, name); err != nil {
				return err
			}
			length, err := binary.ReadUvarint(r)
			if err != nil {
				return err
			}
			where, at := string(name), root
			for _, m := range moves {
				if m.At <= n || at == moved {
					continue
				}
				if where == m.Old || strings.HasPrefix(where, m.Old+"/") {
					where, at = m.New+where[len(m.Old):], moved
				}
			}
			if err := copyFileAt(w, at, where, int64(length), buf); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		default:
			return fmt.Errorf("damaged split: tag %d", tag)
		}
	}
}

func copyFileAt(w io.Writer, root int, name string, size int64, buf []byte) error {
	fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(f, size), buf)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// splitTap passes a tar archive through and writes its split on the way. In raw mode all bytes are recorded; while a
// file's content passes, the caller turns that off.
type splitTap struct {
	r       io.Reader
	split   *splitWriter // nil: record nothing
	content bool
}

func (t *splitTap) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	if t.split != nil && !t.content && n > 0 {
		if _, werr := t.split.Write(b[:n]); werr != nil {
			return n, werr
		}
	}
	return n, err
}
