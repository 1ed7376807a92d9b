package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// link is our end of the socket to a launcher: it says one byte at a time, the launcher answers with messages of a type, a length
// and a body.
type link struct {
	*os.File
	seen []byte // read, and not yet a whole message
}

// socketPair makes a link's two ends. Deadlines work on ours.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fds[0]), "launcher"), os.NewFile(uintptr(fds[1]), "launcher"), nil
}

// receive reads one message of the launcher, which must be of the wanted type. io.EOF says that the launcher closed its end, if
// no type is wanted. What the launcher could not do is an error. A receive that fails at a deadline loses nothing: the next one
// goes on.
func (l *link) receive(want byte) ([]byte, error) {
	kind, body, err := l.message()
	switch {
	case err == io.EOF && want == 0:
		return nil, io.EOF
	case err == io.EOF || errors.Is(err, syscall.ECONNRESET):
		return nil, errors.New("sandbox: the launcher ended without a word")
	case err != nil:
		return nil, fmt.Errorf("sandbox: the launcher: %w", err)
	case kind == 'E' && len(body) > 0:
		return nil, launchError(body[0], string(body[1:]))
	case kind != want:
		return nil, fmt.Errorf("sandbox: the launcher said %q instead of %q", kind, want)
	}
	return body, nil
}

// message reads a type, a length in the machine's byte order, and as many bytes.
func (l *link) message() (kind byte, body []byte, err error) {
	const head, longest = 5, 1 << 20
	for {
		if len(l.seen) >= head {
			n := int(binary.NativeEndian.Uint32(l.seen[1:]))
			if n > longest {
				return 0, nil, fmt.Errorf("a message of %d bytes", n)
			}
			if len(l.seen) >= head+n {
				kind, body = l.seen[0], l.seen[head:head+n:head+n]
				l.seen = l.seen[head+n:]
				return kind, body, nil
			}
		}
		var b [4096]byte
		n, err := l.Read(b[:])
		l.seen = append(l.seen, b[:n]...)
		if err == io.EOF && len(l.seen) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

// launchError turns what the launcher could not do into an error.
func launchError(kind byte, text string) error {
	kinds := map[byte]string{'c': "command", 'm': "mount", 'u': "user", 'n': "unsupported"}
	if k := kinds[kind]; k != "" {
		return startError(k, "%s", text)
	}
	return fmt.Errorf("sandbox: %s", text)
}

func (l *link) send(b byte) error {
	if _, err := l.Write([]byte{b}); err != nil {
		// What the launcher said before it ended is worth more than that it ended.
		if _, said := l.receive(0); said != nil && said != io.EOF {
			return said
		}
		return fmt.Errorf("sandbox: the launcher: %w", err)
	}
	return nil
}
