package dispatch

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"

	"longshore/internal/engine"
	"longshore/internal/task"
)

// exitFailure says why a container that ended did not end well, or nil when it did.
func (r *run) exitFailure(e engine.Exit) *task.Failure {
	mem := r.exec.Resources.Memory
	switch {
	case e.OOM:
		return &task.Failure{
			Reason: task.ReasonOOM, Message: fmt.Sprintf("the container ran out of memory: its limit is %s", mem),
			Hint:    fmt.Sprintf("raise the limit in the package, or for this run with --memory (for example --memory %dMi)", max(2*int64(mem)>>20, 16)),
			LogTail: r.logTail(),
		}
	case e.DiskExceeded || e.Code != 0 && diskFull(e, r.exec.Resources.Disk):
		return &task.Failure{
			Reason: task.ReasonOutput, Message: fmt.Sprintf("the container wrote more than %s and was stopped", r.exec.Resources.Disk),
			Hint: "raise the limit with --disk if it needs that much", LogTail: r.logTail(),
		}
	case e.Code == 0, r.exec.AnyEnd:
		return nil
	}
	f := &task.Failure{Reason: task.ReasonExit, Message: fmt.Sprintf("the container exited with code %d", e.Code), LogTail: r.logTail()}
	switch {
	case e.PidsExceeded:
		f.Message += fmt.Sprintf(" after reaching its limit of %d processes", engine.DefaultPids)
		f.Hint = "it starts too many processes or threads"
	case e.Signal != 0:
		sig := syscall.Signal(e.Signal)
		f.Message = fmt.Sprintf("the container was ended by signal %d (%s)", e.Signal, sig)
		if sig == syscall.SIGSYS {
			f.Hint = "it made a system call that is not allowed"
		}
	case f.LogTail == "":
		f.Hint = "it wrote nothing to its log"
	default:
		f.Hint = "see the last lines of its log"
	}
	return f
}

// noNetwork are the words of programs that wanted to reach other machines.
var noNetwork = regexp.MustCompile(`(?i)could not resolve host|temporary failure in name resolution|name or service not known|getaddrinfo|eai_again|enotfound|bad address|network is unreachable|no route to host|no such host`)

// pointOutNetwork tells that a program may have failed because the network is closed to it. Before it starts, nothing did.
func (r *run) pointOutNetwork(f *task.Failure) {
	if r.exec == nil || r.exec.Network || f.Stage == task.Preparing || strings.Contains(f.Hint, "--network") || !noNetwork.MatchString(f.LogTail+f.Message) {
		return
	}
	if f.Hint != "" {
		f.Hint += "; "
	}
	f.Hint += "it wanted to reach another machine, and the network is closed: --network host opens it"
}

// diskFull tells whether a program ended because a single file reached the limit: the kernel then ends it by SIGXFSZ, which a
// shell around it passes on as an exit code, or fails its writes.
func diskFull(e engine.Exit, limit task.Bytes) bool {
	if limit <= 0 {
		return false
	}
	xfsz := int(syscall.SIGXFSZ)
	return e.Signal == xfsz || e.Code == 128+xfsz || e.Usage.Disk >= int64(limit)-int64(limit)/100
}

// tailLines and tailBytes bound the end of the log that is shown with a failure.
const (
	tailLines = 20
	tailBytes = 4 << 10
)

func (r *run) logTail() string {
	if r.follow == nil {
		return ""
	}
	return r.follow.tail()
}

// lastLines shortens text to its last lines.
func lastLines(s string) string {
	s = strings.TrimRight(s, "\n")
	if len(s) > tailBytes {
		s = s[len(s)-tailBytes:]
		if i := strings.IndexByte(s, '\n'); i >= 0 {
			s = s[i+1:]
		}
	}
	lines := strings.Split(s, "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return strings.ToValidUTF8(strings.Join(lines, "\n"), "\uFFFD")
}
