package iexec

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/sha3"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// digester computes the digest of what an app left (iExec reference, section 5.1), wherever the files lie: in the folder of a
// run, in a published result, or in an archive.
type digester struct {
	// files is the output folder of the app. Nothing in it but regular files and folders is ever opened.
	files fs.FS
	// within is the output folder's path within all files of a published result.
	within string
	// logs are the streams that hold anything, by the name that workers give them. v1 and v2 have "stdout.txt" only, the log
	// of both streams; workers of later ones add theirs to the files of an app that ended well.
	logs map[string]opener
	// callback tells that the deal has one, so that the digest is of callback-data.
	callback bool
	// lenient decodes hexadecimal text as workers do, who take any character for a digit.
	lenient bool
	// longNames accepts names for which iExec drops the whole result.
	longNames bool
	// archive digests the result archive where there is no determinism file, as workers of v3 and v4 do.
	archive bool
	// logsOver lets the logs take the place of the app's own files of their names, as workers write them.
	logsOver bool

	digest, rule string
	// covered are the files that the digest is of; deterministic is the one that the app declared so, when it is one.
	covered         []string
	deterministic   string
	notes, warnings []string
	// problems are wrong outputs, by which there is no digest.
	problems *report
}

// opener opens one content, as often as it is called.
type opener func() (io.ReadCloser, error)

func (d *digester) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

func (d *digester) warn(format string, args ...any) {
	d.warnings = append(d.warnings, fmt.Sprintf(format, args...))
}

// foundFile is the outcome when one file was declared deterministic.
func (d *digester) foundFile(name string, digest []byte, rule string, args ...any) {
	d.deterministic = name
	d.found(digest, []string{name}, rule, args...)
}

// found is the outcome: the digest, by which rule, and what it covers.
func (d *digester) found(digest []byte, covered []string, rule string, args ...any) {
	d.digest, d.covered, d.rule = hex.EncodeToString(digest), covered, fmt.Sprintf(rule, args...)
}

// entry is one thing in a folder that a container left, by slash path.
type entry struct {
	path string
	mode fs.FileMode
	size int64
}

// walk lists everything in the output folder in path order, but files in whose place a log is.
func (d *digester) walk() ([]entry, error) {
	entries, err := walk(d.files)
	return slices.DeleteFunc(entries, func(e entry) bool { return d.logsOver && d.logs[e.path] != nil }), err
}

// walk lists everything in the folder in path order.
func walk(files fs.FS) ([]entry, error) {
	var entries []entry
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
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

// sumOf is the sha256 of a content.
func sumOf(open opener) ([]byte, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// file opens a file of the folder.
func (d *digester) file(name string) opener {
	return func() (io.ReadCloser, error) { return d.files.Open(name) }
}

// fileSum is the sha256 of a file of the folder.
func (d *digester) fileSum(name string) ([]byte, error) {
	sum, err := sumOf(d.file(name))
	if err != nil {
		return nil, task.Errorf(task.ReasonEngine, "%s cannot be read: %w", name, err)
	}
	return sum, nil
}

// regular tells whether name is a plain file, and its size. What is there and cannot be looked at, as in a damaged archive,
// counts as one: who opens it is told why, and it is not taken for absent.
func (d *digester) regular(name string) (size int64, ok bool) {
	st, err := fs.Stat(d.files, name)
	if err != nil {
		return 0, !errors.Is(err, fs.ErrNotExist)
	}
	return st.Size(), st.Mode().IsRegular()
}

// maxSmall bounds the files that are read as a whole.
const maxSmall = 8 << 20

// small reads a small regular file. ok is false when it is not there.
func (d *digester) small(name string) (data []byte, ok bool, err error) {
	size, ok := d.regular(name)
	if !ok {
		return nil, false, nil
	}
	if size > maxSmall {
		return nil, true, fmt.Errorf("%s has %s, more than %s", name, task.Bytes(size), task.Bytes(maxSmall))
	}
	f, err := d.files.Open(name)
	if err != nil {
		return nil, true, err
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, maxSmall))
	return data, true, err
}

// linkInside tells whether the path or a folder on the way to it is a link.
func (d *digester) linkInside(rel string) bool {
	for p := rel; p != "."; p = path.Dir(p) {
		if st, err := fs.Lstat(d.files, p); err == nil && st.Mode()&fs.ModeSymlink != 0 {
			return true
		}
	}
	return false
}

// refuseLink reports a link in the part that the digest covers (iExec reference, section 5.2).
func (d *digester) refuseLink(name string) {
	d.problems.add(ruleLink, contract.At{}, "copy the file", "%s is a link, which is broken on upload: the digest would cover another file", name)
}

// inPathOrder sorts names as workers do, by their UTF-16 code units.
func inPathOrder(names []string) {
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b))), strings.Compare(a, b))
	})
}

// keccak256 is the legacy Keccak-256 of the joined parts, which is not SHA3-256.
func keccak256(parts ...[]byte) []byte {
	h := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
