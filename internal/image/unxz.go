package image

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// nobodyID is the user and group without rights.
const nobodyID = 65534

// unxz reads an xz stream through the program xz, which Docker uses too: there is no decoder for it in the standard
// library. Archives are strangers' data, so where that can be done the program runs without rights, and its memory is
// bounded: `xz -9` needs 65 MiB to be read.
func unxz(r io.Reader) (io.ReadCloser, error) {
	program, err := exec.LookPath("xz")
	if err != nil {
		return nil, &Error{Kind: KindUnsupported, What: "xz compression", Why: "the program xz, which reads it, is not installed", Hint: "install xz-utils, or recompress with gzip or zstd", Err: err}
	}
	x := &xzReader{}
	x.cmd = exec.Command(program, "--decompress", "--stdout", "--quiet", "--memlimit-decompress=512MiB")
	x.cmd.Env, x.cmd.Dir = []string{"LC_ALL=C"}, "/"
	x.cmd.Stdin, x.cmd.Stderr = r, &x.says
	x.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		x.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobodyID, Gid: nobodyID}
	}
	if x.out, err = x.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := x.cmd.Start(); err != nil {
		return nil, &Error{Kind: KindUnsupported, What: "xz compression", Why: "the program xz cannot be run", Err: err}
	}
	return x, nil
}

// xzReader reads what a running xz writes.
type xzReader struct {
	cmd  *exec.Cmd
	out  io.Reader
	says bytes.Buffer // complaints: xz writes a line and stops
	done bool
	err  error // what Read ends with
}

// Read returns io.EOF only once xz has ended well: a damaged stream is never taken for a short one.
func (x *xzReader) Read(p []byte) (int, error) {
	if x.done {
		return 0, x.err
	}
	n, err := x.out.Read(p)
	if err == nil {
		return n, nil
	}
	x.done, x.err = true, err
	if werr := x.cmd.Wait(); werr != nil && err == io.EOF {
		x.err = werr
		if text := strings.TrimSpace(x.says.String()); text != "" {
			x.err = errors.New(text)
		}
	}
	return n, x.err
}

// Close ends xz, whether or not all was read.
func (x *xzReader) Close() error {
	if x.done {
		return nil
	}
	x.done, x.err = true, io.ErrClosedPipe
	x.cmd.Process.Kill()
	x.cmd.Wait() // killed: that it did not end well is no news
	return nil
}
