package enginetest

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"longshore/internal/engine"
)

// enforced skips a test of a limit that does not hold here, which a container that does nothing tells.
func (s *suite) enforced(limit string) {
	s.Helper()
	spec := s.shell("true")
	spec.Limits = engine.Limits{Memory: 64 << 20, MilliCPU: 1000, Pids: 100}
	exit, _, _ := s.run(spec)
	for _, u := range exit.Unenforced {
		if strings.HasPrefix(u, limit) {
			s.Skipf("this machine does not enforce the %s limit for this user: %s", limit, u)
		}
	}
}

func oom(s *suite) {
	spec := s.shell("tail /dev/zero")
	spec.Limits.Memory = 32 << 20
	s.enforced("memory")
	exit, _, _ := s.run(spec)
	if !exit.OOM || exit.Code != 137 {
		s.Errorf("a program that eats its memory: %+v", exit)
	}
	if exit.Usage.PeakMemory < 16<<20 || exit.Usage.PeakMemory > 33<<20 {
		s.Errorf("peak memory is %d", exit.Usage.PeakMemory)
	}
	tiny := s.shell("true")
	tiny.Limits.Memory = 4096
	s.refused(tiny, "limit")
	// A child is killed, the main process goes on.
	spec = s.shell("tail /dev/zero & wait; exit 3")
	spec.Limits.Memory = 32 << 20
	if exit, _, _ := s.run(spec); !exit.OOM || exit.Code != 3 {
		s.Errorf("a child that eats the memory: %+v", exit)
	}
}

// killed: a kill from outside is no want of memory.
func killed(s *suite) {
	spec := s.program(Program{Until: "killed"})
	spec.Limits.Memory = 64 << 20
	h := s.start(spec)
	s.ready(h)
	if err := syscall.Kill(h.PID, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	if exit := s.wait(h); exit.Code != 137 || exit.Signal != 9 || exit.OOM || exit.Stopped {
		s.Errorf("a killed program: %+v", exit)
	}
}

func pids(s *suite) {
	spec := s.shell("bomb() { bomb | bomb & }; bomb; i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; exit 0")
	spec.Limits.Pids = 20
	exit, _, _ := s.run(spec)
	if exit.Code == 0 {
		s.Errorf("a fork bomb: %+v", exit)
	}
	s.enforced("pids")
	if !exit.PidsExceeded || exit.Code == 0 {
		s.Errorf("a fork bomb: %+v", exit)
	}
	if exit, _, _ := s.run(s.shell("exit 0")); exit.PidsExceeded {
		s.Errorf("one process: %+v", exit)
	}
}

func cpu(s *suite) {
	spec := s.shell("timeout 1 sh -c 'while :; do :; done'; true")
	spec.Limits.MilliCPU = 200
	s.enforced("cpu")
	began := time.Now()
	exit, _, _ := s.run(spec)
	share := exit.Usage.CPU.Seconds() / time.Since(began).Seconds()
	if share > 0.4 || exit.Usage.CPU <= 0 {
		s.Errorf("a busy loop with a fifth of a core used %s (%.2f of a core)", exit.Usage.CPU, share)
	}
}

// diskFile: one file cannot grow beyond the limit.
func diskFile(s *suite) {
	spec := s.shell("dd if=/dev/zero of=/tmp/big bs=65536 count=1024 2>/dev/null; stat -c %s /tmp/big")
	spec.Limits.Disk = 1 << 20
	_, stdout, _ := s.run(spec)
	if got := strings.TrimSpace(stdout); got != "1048576" {
		s.Errorf("the file has %s bytes", got)
	}
}

// diskFiles: many files are noticed, in the writable layer as in writable mounts.
func diskFiles(s *suite) {
	for _, dir := range []string{"/tmp", "/out"} {
		spec := s.shell("i=0; while :; do dd if=/dev/zero of=" + dir + "/f$i bs=65536 count=8 2>/dev/null; i=$((i+1)); [ $i = 40 ] && sleep 1000; done")
		spec.Mounts = []engine.Mount{{Source: s.T.TempDir(), Target: "/out"}}
		spec.Limits.Disk = 4 << 20
		exit, _, _ := s.run(spec)
		if !exit.DiskExceeded || exit.Code != 137 || exit.Usage.Disk < 4<<20 {
			s.Errorf("many files in %s: %+v", dir, exit)
		}
	}
}

// daemon: nothing outlives the main process.
func daemon(s *suite) {
	s.unchanged(func() {
		spec := s.shell("setsid sh -c 'sleep 1000 & sleep 1000' & echo started; exit 0")
		h, err := s.Engine.Start(s.ctx, spec)
		if err != nil {
			s.Fatal(err)
		}
		s.wait(h)
		if err := s.Engine.Remove(s.ctx, h); err != nil {
			s.Error(err)
		}
	})
}

// bigLog: a gigabyte of output takes no memory, and what is not kept is counted.
func bigLog(s *suite) {
	total := int64(1 << 30)
	if testing.Short() {
		total = 256 << 20
	}
	spec := s.shell("yes 0123456789abcdef | head -c " + strconv.FormatInt(total, 10))
	spec.LogLimit = 1 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	exit, stdout, _ := s.run(spec)
	runtime.ReadMemStats(&after)
	if exit.Code != 0 || exit.LogDropped != total-1<<20 || len(stdout) != 1<<20 {
		s.Errorf("kept %d of %d bytes, dropped %d, %+v", len(stdout), total, exit.LogDropped, exit)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 32<<20 {
		s.Errorf("the heap grew by %d bytes", grown)
	}
}

func stats(s *suite) {
	stater, ok := s.Engine.(engine.Stater)
	if !ok {
		s.Skip("the engine is no Stater")
	}
	h := s.start(s.shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo ready; sleep 1000"))
	s.ready(h)
	u, err := stater.Stats(s.ctx, h)
	if err != nil {
		s.Fatal(err)
	}
	if os.Geteuid() == 0 && (u.CPU <= 0 || u.PeakMemory <= 0) {
		s.Errorf("%+v", u)
	}
}

// baseline: after many endings of all kinds, some at the same time, the machine is as before.
func baseline(s *suite) {
	s.output(s.shell("true")) // What is made once and kept.
	runs := 1000
	if testing.Short() {
		runs = 60
	}
	endings := []func(engine.Spec) engine.Spec{
		func(e engine.Spec) engine.Spec { e.Process.Args = []string{"true"}; return e },
		func(e engine.Spec) engine.Spec { e.Process.Args = []string{"sh", "-c", "echo x; exit 3"}; return e },
		func(e engine.Spec) engine.Spec { e.Process.Args = []string{"missing"}; return e },
		func(e engine.Spec) engine.Spec { e.Process.User = "missing"; return e },
		func(e engine.Spec) engine.Spec { e.Process.Args = []string{"sleep", "1000"}; return e },
		func(e engine.Spec) engine.Spec {
			e.Process.Args = []string{"sh", "-c", "setsid sleep 1000 & mkdir -p /a/b/c; touch /a/b/c/d; chmod 0 /a; exit 0"}
			return e
		},
	}
	fds := openFiles(s)
	s.unchanged(func() {
		work := make(chan int)
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for i := range work {
					h, err := s.Engine.Start(s.ctx, endings[i%len(endings)](s.shell("true")))
					if err != nil {
						continue
					}
					if i%len(endings) != 4 {
						if _, err := s.Engine.Wait(s.ctx, h); err != nil {
							s.Error(err)
						}
					}
					if err := s.Engine.Remove(s.ctx, h); err != nil {
						s.Error(err)
					}
				}
			})
		}
		for i := range runs {
			work <- i
		}
		close(work)
		workers.Wait()
	})
	if now := openFiles(s); now > fds {
		s.Errorf("%d descriptors were open before and %d after", fds, now)
	}
}
