package storetest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/store/storetest"
)

// childTest tells a process of this test that it is the one that is killed.
const childTest = "LONGSHORE_TEST_KILLED"

// TestKilled has a test's process be killed: its PostgreSQL ends too, and its folder is removed.
func TestKilled(t *testing.T) {
	if os.Getenv(childTest) != "" {
		fmt.Println(storetest.StartPostgres(t, false).Database(t))
		select {}
	}
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	child.Env = append(os.Environ(), childTest+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	dir := u.Query().Get("host")
	keeper, err := unix.PidfdOpen(parent(t, server(t, dir)), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(keeper)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it tells of the signal
	ended := 0
	err = unix.EINTR
	for errors.Is(err, unix.EINTR) {
		ended, err = unix.Poll([]unix.PollFd{{Fd: int32(keeper), Events: unix.POLLIN}}, int(time.Minute.Milliseconds()))
	}
	if err != nil || ended != 1 {
		t.Fatalf("the server still runs: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left over: %v", dir, err)
	}
}

// server is the process of the server in a folder.
func server(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(data), "\n")
	return pid
}

func parent(t *testing.T, pid string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "PPid:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
