package script_test

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// peak MB COMMAND…: runs a command that must succeed, and checks the most memory that it, and what it started and waited for,
// had resident. The race detector, with which stories usually run, multiplies that by four or so.
func peak(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: peak MB COMMAND…")
	}
	most, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	c := exec.Command(path, args[2:]...)
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "LONGSHORE_HOME="+ts.Getenv("LONGSHORE_HOME"), "HOME="+ts.Getenv("HOME"))
	output, err := c.CombinedOutput()
	ts.Logf("%s", output)
	ts.Check(err)
	usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		ts.Fatalf("no usage of the process is known")
	}
	got := usage.Maxrss >> 10
	ts.Logf("peak memory: %d MB", got)
	if got > most {
		ts.Fatalf("%d MB were resident, want %d MB at most", got, most)
	}
}
