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
type link struct{ *os.File }

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
// no type is wanted. What the launcher could not do is an error.
func (l link) receive(want byte) ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(l, head[:]); err != nil {
		if err == io.EOF && want == 0 {
			return nil, io.EOF
		}
		if err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
			err = errors.New("it ended without a word")
		}
		return nil, fmt.Errorf("sandbox: the launcher: %w", err)
	}
	n := binary.NativeEndian.Uint32(head[1:])
	if n > 1<<20 {
		return nil, fmt.Errorf("sandbox: the launcher sent a message of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(l, body); err != nil {
		return nil, fmt.Errorf("sandbox: the launcher: %w", err)
	}
	if head[0] == 'E' && n > 0 {
		return nil, launchError(body[0], string(body[1:]))
	}
	if head[0] != want {
		return nil, fmt.Errorf("sandbox: the launcher said %q instead of %q", head[0], want)
	}
	return body, nil
}

// launchError turns what the launcher could not do into an error.
func launchError(kind byte, text string) error {
	kinds := map[byte]string{'c': "command", 'm': "mount", 'u': "user", 'n': "unsupported"}
	if k := kinds[kind]; k != "" {
		return startError(k, "%s", text)
	}
	return fmt.Errorf("sandbox: %s", text)
}

func (l link) send(b byte) error {
	if _, err := l.Write([]byte{b}); err != nil {
		// What the launcher said before it ended is worth more than that it ended.
		if _, said := l.receive(0); said != nil && said != io.EOF {
			return said
		}
		return fmt.Errorf("sandbox: the launcher: %w", err)
	}
	return nil
}
