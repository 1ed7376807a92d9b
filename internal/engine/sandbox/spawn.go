package sandbox

// #cgo CFLAGS: -Wall -Wextra -O2
import "C" // launch.c

import (
	"os"
	"runtime"
	"sync"
	"syscall"
)

// launchEnv makes a fresh copy of this program a launcher; see launch.c.
const launchEnv = "LONGSHORE_SANDBOX_LAUNCH=container"

// spawner starts processes from one operating system thread. The kernel kills a container (PR_SET_PDEATHSIG) when the thread
// that started it ends, not when its process does, so that thread must live as long as any container: it is kept while users
// hold it and given back when the last one lets go.
type spawner struct {
	mu    sync.Mutex
	users int
	work  chan func()
}

// hold keeps the thread alive until a matching release.
func (s *spawner) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users++; s.users > 1 {
		return
	}
	work := make(chan func())
	s.work = work
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range work {
			f()
		}
	}()
}

func (s *spawner) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		close(s.work)
	}
}

// start executes this program as a launcher with the given descriptors (0, 1, 2 and so on), in the version 2 cgroup that cgroup
// is open on, or in the caller's if it is negative. The caller holds the spawner.
func (s *spawner) start(files []uintptr, cgroup int) (pid int, err error) {
	done := make(chan struct{})
	s.mu.Lock()
	work := s.work
	s.mu.Unlock()
	work <- func() {
		defer close(done)
		// An environment of one variable: nothing of the caller's can steer the dynamic loader or the C library.
		pid, err = syscall.ForkExec("/proc/self/exe", []string{"longshore-sandbox"}, &syscall.ProcAttr{
			Env:   []string{launchEnv},
			Files: files,
			Sys: &syscall.SysProcAttr{
				Pdeathsig:   syscall.SIGKILL,
				UseCgroupFD: cgroup >= 0,
				CgroupFD:    max(cgroup, 0),
			},
		})
	}
	<-done
	if err != nil {
		return 0, os.NewSyscallError("starting the launcher (/proc/self/exe)", err)
	}
	return pid, nil
}
