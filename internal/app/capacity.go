package app

import (
	"runtime"

	"golang.org/x/sys/unix"

	"longshore/internal/task"
)

// capacity is what this machine has, as far as this process may use it.
func capacity() task.Resources {
	r := task.Resources{CPU: task.MilliCPU(runtime.NumCPU()) * 1000}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		r.Memory = task.Bytes(uint64(info.Totalram) * uint64(info.Unit))
	}
	return r
}
