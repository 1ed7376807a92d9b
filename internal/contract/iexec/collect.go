package iexec

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"longshore/internal/task"
)

// collector is one Collect in progress.
type collector struct {
	task.Collected
	kept
	x    *task.Execution
	left task.Leftovers
	dir  string   // the folder on this machine that holds what the app left
	root *os.Root // the same; no link leads out of it
	// problems are the wrong outputs, which fail a run that ended well.
	problems *report
}

// Collect digests what the app left: by consensus.iexec for v1 and v2, by computed.json, determinism.iexec or
// consensus.iexec for v3 and later (iExec reference, section 5.1). The digest is of a failed container's files too.
func (Contract) Collect(t *task.Task, x *task.Execution, left task.Leftovers) (task.Collected, error) {
	c := &collector{x: x, left: left, problems: newReport("")}
	c.Outputs = map[string]task.Value{}
	if err := json.Unmarshal(x.Detail, &c.kept); err != nil {
		return task.Collected{}, task.Errorf(task.ReasonEngine, "the stored execution cannot be read back: %w", err)
	}
	mount := mountOut
	if c.Generation.legacy() {
		mount = mountV2
	}
	c.dir = left.Mounts[mount]
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return task.Collected{}, task.Errorf(task.ReasonEngine, "the folder of %s is missing: %w", mount, err)
	}
	defer root.Close()
	c.root = root
	if c.Generation.legacy() {
		err = c.legacy()
	} else {
		err = c.later()
	}
	if err != nil {
		return task.Collected{}, err
	}
	c.hints()
	if found := c.problems.Findings; len(found) > 0 && left.Exit.Code == 0 {
		c.Failure = &task.Failure{Reason: task.ReasonOutput, Message: found[0].What, Hint: found[0].Mend, Findings: found}
	}
	return c.Collected, nil
}

func (c *collector) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

func (c *collector) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// stream adds a log as an output when it holds anything.
func (c *collector) stream(name, file string) {
	if holdsAnything(file) {
		c.Outputs[name] = task.Value{Path: file}
	}
}

func holdsAnything(file string) bool {
	st, err := os.Stat(file)
	return file != "" && err == nil && st.Size() > 0
}

// deterministic makes a plain file an output of its own.
func (c *collector) deterministic(name string) {
	if st, err := c.root.Lstat(name); err == nil && st.Mode().IsRegular() {
		c.Outputs[outputDeterministic] = task.Value{Path: filepath.Join(c.dir, filepath.FromSlash(name))}
	}
}

// fileSum is the sha256 of a file of the folder.
func (c *collector) fileSum(name string) ([]byte, error) {
	f, err := c.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sum(f)
}

// maxSmall bounds the files that are read as a whole.
const maxSmall = 8 << 20

// small reads a small regular file. ok is false when it is not there.
func (c *collector) small(name string) (data []byte, ok bool, err error) {
	st, err := c.root.Stat(name)
	if err != nil || !st.Mode().IsRegular() {
		return nil, false, nil
	}
	if st.Size() > maxSmall {
		return nil, true, fmt.Errorf("%s has %s, more than %s", name, task.Bytes(st.Size()), task.Bytes(maxSmall))
	}
	f, err := c.root.Open(name)
	if err != nil {
		return nil, true, err
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, maxSmall))
	return data, true, err
}

var nameResolution = regexp.MustCompile(`(?i)could not resolve host|temporary failure in name resolution|name or service not known|getaddrinfo|eai_again|enotfound|bad address|unable to resolve host`)

// hints explains a failure that the log shows.
func (c *collector) hints() {
	if c.left.Exit.Code == 0 || c.x.Network {
		return
	}
	for _, name := range []string{c.left.Log, c.left.Stdout, c.left.Stderr} {
		if name != "" && nameResolution.Match(tail(name)) {
			c.note("this app asked for the network, which it does not have unless the operator allows it")
			return
		}
	}
}

// tail is the end of a log.
func tail(name string) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	const most = 64 << 10
	if st, err := f.Stat(); err == nil && st.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return nil
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil
	}
	return data
}
