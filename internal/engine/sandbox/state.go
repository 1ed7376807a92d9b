package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A container's folder in Config.Dir is named after its ID and holds:
//
//	state.json   who owns it, what else was made for it, and on a second line its main process, once there is one
//	log          what it wrote, as frames, once it did
//	upper, work  its private writable layer
const (
	stateFile = "state.json"
	logFile   = "log"
)

// state is what a sweep needs to know of a container whose owner has died.
type state struct {
	ID      string
	Labels  map[string]string `json:",omitempty"`
	Created time.Time
	// Owner is the process that started the container and cleans up after it.
	Owner process
	// Cgroups are folders made for the container.
	Cgroups []string `json:",omitempty"`
	// WorkDir is an overlay work folder outside the container's own, made beside Spec.WritableLayer.
	WorkDir string `json:",omitempty"`
	// Main is the container's main process; written later than the rest, as a second JSON value.
	Main process `json:"-"`
}

// process names a process beyond the reuse of its number.
type process struct {
	PID   int
	Start uint64 // clock ticks since boot
}

// alive tells whether the process still exists, as more than a zombie.
func (p process) alive() bool {
	status, start, err := procStat(p.PID)
	return err == nil && start == p.Start && status != 'Z' && status != 'X'
}

func procStat(pid int) (status byte, start uint64, err error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	// The name in parentheses may hold anything; the fields after it are numbers.
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 20 {
		return 0, 0, fmt.Errorf("sandbox: /proc/%d/stat has %d fields", pid, len(f))
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return f[0][0], start, err
}

// writeState makes the state appear whole: another process that sweeps may read it at any time.
func writeState(dir string, s state) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, stateFile)
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// errDamaged is the answer for a state that was cut short.
var errDamaged = errors.New("sandbox: a container's state is damaged")

// readState returns the state of a container's folder; a folder without one is fs.ErrNotExist.
func readState(dir string) (state, error) {
	var s state
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return s, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	err = d.Decode(&s)
	if err == nil {
		if err = d.Decode(&s.Main); err == io.EOF {
			err = nil // Its process was not started yet.
		}
	}
	if err != nil {
		return s, fmt.Errorf("%w: %s: %w", errDamaged, filepath.Join(dir, stateFile), err)
	}
	return s, nil
}

// writePID adds the container's main process to its state.
func writePID(dir string, pid int) error {
	_, start, err := procStat(pid)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, stateFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "\n{\"PID\":%d,\"Start\":%d}\n", pid, start)
	return err
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
