package iexec

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// collector is one Collect in progress.
type collector struct {
	digester
	kept
	x       *task.Execution
	left    task.Leftovers
	dir     string // the folder on this machine that holds what the app left
	outputs map[string]task.Value
}

// Collect digests what the app left: by consensus.iexec for v1 and v2, by computed.json, determinism.iexec or
// consensus.iexec for v3 and later (iExec reference, section 5.1). The digest is of a failed container's files too.
func (Contract) Collect(t *task.Task, x *task.Execution, left task.Leftovers) (task.Collected, error) {
	c := &collector{x: x, left: left, outputs: map[string]task.Value{}}
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
	c.digester = digester{files: contract.Folder{Root: root}, logs: c.logs(), callback: c.Callback, lenient: c.Lenient, longNames: c.LongNames,
		archive: c.Archive, logsOver: c.LogsOver, problems: newReport("")}
	entries, err := c.walk()
	if err != nil {
		return task.Collected{}, task.Errorf(task.ReasonEngine, "the result cannot be read: %w", err)
	}
	if c.Generation.legacy() {
		err = c.collectLegacy(entries)
	} else {
		err = c.collectLater(entries)
	}
	if err != nil {
		return task.Collected{}, err
	}
	c.deterministicOutput()
	c.hints()
	got := task.Collected{Outputs: c.outputs, Digest: c.digest, DigestRule: c.rule, Notes: c.notes, Warnings: c.warnings}
	if found := c.problems.Findings; len(found) > 0 && (left.Exit.Code == 0 || x.AnyEnd) {
		got.Failure = &task.Failure{Reason: task.ReasonOutput, Message: found[0].What, Hint: found[0].Mend, Findings: found}
	}
	return got, nil
}

// logs are the streams as workers of the generation add them to the files: v1 and v2 whatever became of the app, later ones
// when it ended well.
func (c *collector) logs() map[string]opener {
	streams := map[string]string{outputStdout: c.left.Stdout, outputStderr: c.left.Stderr}
	switch {
	case c.Generation.legacy():
		streams = map[string]string{outputStdout: c.left.Log}
	case c.left.Exit.Code != 0:
		return nil
	}
	logs := map[string]opener{}
	for name, file := range streams {
		if holdsAnything(file) {
			logs[name] = func() (io.ReadCloser, error) { return os.Open(file) }
		}
	}
	return logs
}

// collectLegacy collects /iexec: the files that the app created or changed. The merged log, which v2 stores as stdout.txt, is
// the run's own log and takes part in the digest only.
func (c *collector) collectLegacy(entries []entry) error {
	same, err := c.unchanged(entries)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "the inputs cannot be compared: %w", err)
	}
	// What workers agree on is part of the result, also when it came with the input.
	same = slices.DeleteFunc(same, func(name string) bool { return name == consensusFile })
	var changed []entry
	for _, e := range entries {
		if _, input := slices.BinarySearch(same, e.path); !e.mode.IsDir() && !input {
			changed = append(changed, e)
		}
	}
	c.outputs[outputResult] = task.Value{Path: c.dir, Except: same}
	if len(changed) == 0 && c.left.Exit.Code == 0 && len(c.digester.logs) > 0 {
		c.warn("the app created or changed no file under %s: the result is its log", folderV2)
	}
	if err := c.legacy(changed, len(entries) == len(changed)); err != nil {
		return err
	}
	if c.left.Exit.Code != 0 && c.digest != "" && !c.x.AnyEnd {
		said := "iExec v2 ignores the exit code and would contribute this digest"
		if c.rule != ruleTextArchive {
			said = wordDeterministicFailure + ": " + said
		}
		c.note("%s", said)
	}
	return nil
}

// collectLater collects /iexec_out and the two streams.
func (c *collector) collectLater(entries []entry) error {
	result := task.Value{Path: c.dir}
	for name, file := range map[string]string{outputStdout: c.left.Stdout, outputStderr: c.left.Stderr} {
		if holdsAnything(file) {
			c.outputs[name] = task.Value{Path: file}
		}
	}
	c.checkNames(entries)
	for name := range c.digester.logs {
		switch _, own := c.regular(name); {
		case own && c.LogsOver:
			result.Except = append(result.Except, name)
			c.warn("the app left its own %s: the log takes its place, as asked for", name)
		case own:
			c.warn("the app left its own %s: it is kept here, and workers write the log over it", name)
		}
	}
	slices.Sort(result.Except)
	c.outputs[outputResult] = result
	if err := c.later(); err != nil {
		return err
	}
	if c.left.Exit.Code != 0 && c.digest != "" {
		c.note(wordDeterministicFailure + ": iExec 9.2 would contribute this digest, although the app failed, and bill it; earlier versions would not")
	}
	return nil
}

// deterministicOutput makes the one file that the app declared deterministic an output of its own.
func (c *collector) deterministicOutput() {
	if c.deterministic == "" {
		return
	}
	file := filepath.Join(c.dir, filepath.FromSlash(c.deterministic))
	if log := c.outputs[c.deterministic].Path; log != "" { // named like a log: it is the app's own file only where that is kept
		if _, own := c.regular(c.deterministic); !own || c.LogsOver {
			file = log
		}
	}
	c.outputs[outputDeterministic] = task.Value{Path: file}
}

func holdsAnything(file string) bool {
	st, err := os.Stat(file)
	return file != "" && err == nil && st.Size() > 0
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
