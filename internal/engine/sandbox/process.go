package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// exitCode turns a process's end into an exit code, 128+n for signal n.
func exitCode(st *os.ProcessState) (code, signal int) {
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), int(ws.Signal())
	}
	return st.ExitCode(), 0
}

// handles tells whether a process catches a signal, or blocks it to receive it some other way. When in doubt, it does.
func handles(pid int, s unix.Signal) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return true
	}
	var set uint64
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if name == "SigCgt" || name == "SigBlk" {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				return true
			}
			set |= n
		}
	}
	return set>>(uint(s)-1)&1 == 1
}
