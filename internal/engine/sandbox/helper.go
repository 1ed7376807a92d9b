package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// The launcher's other roles do, in a user namespace, what an ordinary user may not do outside one. Real root needs none.
const (
	removeRole = "LONGSHORE_SANDBOX_LAUNCH=remove"
	socketRole = "LONGSHORE_SANDBOX_LAUNCH=socket"
)

// helper starts a role with descriptors from 3 on, the first being its end of the returned socket.
func helper(role string, files ...*os.File) (*exec.Cmd, *os.File, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{role}
	cmd.ExtraFiles = append([]*os.File{theirs}, files...)
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, nil, fmt.Errorf("sandbox: starting a helper: %w", err)
	}
	return cmd, ours, nil
}

// removeAs removes a folder that holds files of a container's users, as the root of a user namespace that has them all.
func removeAs(i *ids, dir string) error {
	desc, err := memoryFile()
	if err != nil {
		return err
	}
	defer desc.Close()
	var d description
	d.str(dir)
	if _, err := desc.Write(d); err != nil {
		return err
	}
	cmd, control, err := helper(removeRole, desc)
	if err != nil {
		return err
	}
	defer control.Close()
	l := link{File: control}
	_, err = l.receive('P')
	if err == nil {
		err = i.apply(cmd.Process.Pid)
	}
	if err == nil {
		err = l.send('M')
	}
	if err == nil {
		_, err = l.receive('R')
	}
	if err != nil {
		cmd.Process.Kill()
	}
	cmd.Wait()
	return err
}

// socketsIn makes a TCP socket for each address family in the network of a container.
func socketsIn(pid int) ([]*os.File, error) {
	var spaces []*os.File
	defer func() {
		for _, f := range spaces {
			f.Close()
		}
	}()
	for _, n := range []string{"user", "net"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, n))
		if err != nil {
			return nil, err
		}
		spaces = append(spaces, f)
	}
	cmd, control, err := helper(socketRole, spaces...)
	if err != nil {
		return nil, err
	}
	defer cmd.Wait()
	defer control.Close()
	conn, err := net.FileConn(control)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("sandbox: the helper's socket is none")
	}
	var text [512]byte
	var control2 [64]byte
	n, m, _, _, err := unixConn.ReadMsgUnix(text[:], control2[:])
	if err != nil {
		return nil, fmt.Errorf("sandbox: a helper: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control2[:m])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("sandbox: entering the container's network: %s", strings.TrimLeft(string(text[:n]), "E\x00"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	var sockets []*os.File
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		unix.SetNonblock(fd, true)
		sockets = append(sockets, os.NewFile(uintptr(fd), "socket"))
	}
	return sockets, nil
}
