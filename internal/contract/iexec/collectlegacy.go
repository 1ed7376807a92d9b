package iexec

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"longshore/internal/task"
)

// entry is one thing in a folder that a container left, by slash path.
type entry struct {
	path string
	mode fs.FileMode
	size int64
}

// walk lists everything below the root in path order.
func walk(root *os.Root) ([]entry, error) {
	var entries []entry
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		entries = append(entries, entry{name, info.Mode(), info.Size()})
		return nil
	})
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return entries, err
}

// sum is the sha256 of what r gives.
func sum(r io.Reader) ([]byte, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

func sumOf(open func() (io.ReadCloser, error)) ([]byte, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sum(f)
}

// legacy collects /iexec: the files that the app created or changed. The merged log, which v2 stores as stdout.txt, is the
// run's own log and takes part in the digest only.
func (c *collector) legacy() error {
	entries, err := walk(c.root)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "the result cannot be read: %w", err)
	}
	same, err := c.unchanged(entries)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "the inputs cannot be compared: %w", err)
	}
	var changed []entry
	for _, e := range entries {
		if !e.mode.IsDir() && !slices.Contains(same, e.path) {
			changed = append(changed, e)
		}
	}
	c.Outputs[outputResult] = task.Value{Path: c.dir, Except: same}
	if len(changed) == 0 && c.left.Exit.Code == 0 && holdsAnything(c.left.Log) {
		c.warn("the app created or changed no file under %s: the result is its log", folderV2)
	}
	d, err := c.legacyDigest(entries, changed)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "the result cannot be digested: %w", err)
	}
	if d == nil {
		return nil
	}
	c.Digest = hex.EncodeToString(d)
	c.note("resultHash, as a v2 worker sends it: 0x%s (keccak256 of the digest)", hex.EncodeToString(keccak256(d)))
	if c.left.Exit.Code != 0 {
		c.note("iExec v2 ignores the exit code and would contribute this digest")
	}
	return nil
}

// singleResult is the size below which the only file of a v2 result is the result itself.
const singleResult = 256_000

// legacyDigest is of consensus.iexec, else of the result file: the only file there is, or an archive of all changed ones.
// It is nil when there is nothing to digest.
func (c *collector) legacyDigest(entries, changed []entry) ([]byte, error) {
	const consensus = "consensus.iexec"
	if c.linkInside(consensus) {
		c.refuseLink(path.Join(folderV2, consensus))
		return nil, nil
	}
	if st, err := c.root.Stat(consensus); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
		c.deterministic(consensus)
		c.DigestRule = "sha256 of consensus.iexec"
		return c.fileSum(consensus)
	}
	log := c.left.Log
	if !holdsAnything(log) {
		log = ""
	}
	switch {
	case len(entries) == 1 && log == "" && entries[0].mode.IsRegular() && entries[0].size < singleResult:
		c.DigestRule = fmt.Sprintf("sha256 of the only result file, %s", entries[0].path)
		c.note("deterministic by result file: it works, but one more output file would break it; write consensus.iexec")
		return c.fileSum(entries[0].path)
	case len(entries) == 0 && log != "":
		if st, err := os.Stat(log); err == nil && st.Size() < singleResult {
			c.DigestRule = "sha256 of the only result file, stdout.txt"
			c.note("deterministic by result file: it works, but one more output file would break it; write consensus.iexec")
			return sumOf(func() (io.ReadCloser, error) { return os.Open(log) })
		}
	case len(changed) == 0 && log == "":
		c.warn("there is no digest: the app left no file and wrote nothing; write a deterministic %s", path.Join(folderV2, consensus))
		return nil, nil
	}
	c.DigestRule = "sha256 of the result archive (not reproducible on iExec)"
	c.warn("there is no consensus.iexec: iExec v2 would compare archives, which differ between workers; write a deterministic %s", path.Join(folderV2, consensus))
	return c.archiveSum(changed, log)
}

// archiveSum is the sha256 of a zip archive of the changed files and the log that depends on their names and content only.
func (c *collector) archiveSum(changed []entry, log string) ([]byte, error) {
	h := sha256.New()
	z := zip.NewWriter(h)
	add := func(name string, open func() (io.ReadCloser, error)) error {
		f, err := open()
		if err != nil {
			return err
		}
		defer f.Close()
		header := &zip.FileHeader{Name: name, Method: zip.Store, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
		header.SetMode(0o644)
		w, err := z.CreateHeader(header)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return err
	}
	for _, e := range changed {
		if !e.mode.IsRegular() {
			c.warn("%s is a link and not part of the result archive", path.Join(folderV2, e.path))
			continue
		}
		if err := add(e.path, func() (io.ReadCloser, error) { return c.root.Open(e.path) }); err != nil {
			return nil, err
		}
	}
	if log != "" {
		name := "stdout.txt"
		if slices.ContainsFunc(changed, func(e entry) bool { return e.path == name }) {
			name = ".stdout.txt"
			c.warn("the app left its own stdout.txt: it is kept, and the log is named %s", name)
		}
		if err := add(name, func() (io.ReadCloser, error) { return os.Open(log) }); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}
