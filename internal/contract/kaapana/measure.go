package kaapana

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// maxLooks bounds how many directory entries one scale rule may look at: more than any data set, less than forever.
const maxLooks = 20_000_000

// size is what a scale rule measured.
type size struct {
	Bytes int64
	// Files counts the selected ones, for sum and max_item_sum over all items.
	Files int
	// NoItems tells that max_item_sum met no item folder.
	NoItems bool
	// Outside are links that lead out of the channel; they do not count.
	Outside []string
}

// measure applies a rule to the folder bound to a channel, or to the single file that will lie in the channel's root. Only
// sizes are read. Errors are unreadable folders and patterns that take too long.
func measure(base string, s *scaleRule) (size, error) {
	m, err := newMeasurer(base, s)
	if err != nil {
		return size{}, err
	}
	if m.single != nil {
		return m.file()
	}
	if s.Mode != modeMaxItem {
		sum, biggest, err := m.tree(path.Clean(s.Dir))
		m.size.Bytes = sum
		if s.Mode == modeMaxFile {
			m.size.Bytes = biggest
		}
		return m.size, err
	}
	return m.items()
}

// measurer is one rule at work on one channel.
type measurer struct {
	rule *scaleRule
	glob glob
	re   *regexp.Regexp
	// base is the channel's folder and real the same without links.
	base, real string
	single     fs.FileInfo // set when base is a file
	looks      int
	size       size
}

func newMeasurer(base string, s *scaleRule) (*measurer, error) {
	m := &measurer{rule: s, base: base}
	var err error
	if m.glob, err = parseGlob(s.Glob); err != nil {
		return nil, fmt.Errorf("target_glob: %w", err)
	}
	if m.re, err = compileRegex(s.Regex); err != nil {
		return nil, fmt.Errorf("target_regex: %w", err)
	}
	if path.IsAbs(s.Dir) || hasDotDot(s.Dir) {
		return nil, errors.New("target_dir leaves the channel")
	}
	if m.real, err = filepath.EvalSymlinks(base); err != nil {
		return nil, err
	}
	st, err := os.Stat(m.real)
	if err != nil {
		return nil, err
	}
	if st.Mode().IsRegular() {
		m.single = st
	}
	return m, nil
}

// file measures a channel that holds one file in its root.
func (m *measurer) file() (size, error) {
	if m.rule.Mode == modeMaxItem {
		m.size.NoItems = true
		return m.size, nil
	}
	name := filepath.Base(m.base)
	if path.Clean(m.rule.Dir) == "." && !m.glob.foldersOnly() && m.fileMatches(name) && m.re.MatchString(name) {
		m.size.Bytes, m.size.Files = m.single.Size(), 1
	}
	return m.size, nil
}

// fileMatches tells whether the glob selects a file directly in the root of the walk.
func (m *measurer) fileMatches(name string) bool {
	parts := m.glob.parts
	if len(parts) > 1 && parts[0].any {
		parts = parts[1:]
	}
	return len(parts) == 1 && parts[0].match(name)
}

// items measures every folder directly in the channel, links to folders included, and takes the largest.
func (m *measurer) items() (size, error) {
	entries, err := m.list(".")
	if err != nil {
		return m.size, err
	}
	m.size.NoItems = true
	for _, e := range entries {
		if ok, err := m.isFolder(e.Name(), e); err != nil || !ok {
			if err != nil {
				return m.size, err
			}
			continue
		}
		m.size.NoItems = false
		sum, _, err := m.tree(path.Join(e.Name(), m.rule.Dir))
		if err != nil {
			return m.size, err
		}
		m.size.Bytes = max(m.size.Bytes, sum)
	}
	return m.size, nil
}

// tree sums the selected files below the folder top, a clean path in the channel. A missing folder, or a file, has none.
func (m *measurer) tree(top string) (sum, biggest int64, err error) {
	ok, err := m.entered(top)
	if err != nil || !ok || m.glob.foldersOnly() {
		return 0, 0, err
	}
	w := &globWalk{m: m, top: top, parts: append([]globPart{{any: true}}, m.glob.parts...), been: map[spot]bool{}, found: map[string]bool{}, sizes: map[string]int64{}}
	if m.glob.parts[0].any {
		w.parts = m.glob.parts
	}
	if err := w.at(top, 0); err != nil {
		return 0, 0, err
	}
	for _, n := range w.sizes {
		if sum > math.MaxInt64-n {
			return 0, 0, errors.New("the files are larger together than any machine can hold")
		}
		sum += n
		biggest = max(biggest, n)
	}
	m.size.Files += len(w.sizes)
	return sum, biggest, nil
}

// entered tells whether a path in the channel is a folder that may be walked.
func (m *measurer) entered(rel string) (bool, error) {
	st, err := os.Stat(m.host(rel))
	switch {
	case missing(err):
		return false, nil
	case err != nil:
		return false, err
	case !st.IsDir():
		return false, nil
	}
	return m.staysInside(rel)
}

func (m *measurer) host(rel string) string { return filepath.Join(m.base, filepath.FromSlash(rel)) }

// missing tells an error that means "nothing there": also a link that leads nowhere or in circles, and a way through a file.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENAMETOOLONG)
}

// staysInside tells whether a path, with its links followed, is still in the channel, and remembers those that are not.
func (m *measurer) staysInside(rel string) (bool, error) {
	real, err := filepath.EvalSymlinks(m.host(rel))
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if real == m.real || strings.HasPrefix(real, strings.TrimSuffix(m.real, "/")+"/") {
		return true, nil
	}
	if len(m.size.Outside) < 20 {
		m.size.Outside = append(m.size.Outside, rel)
	}
	return false, nil
}

// list reads a folder of the channel.
func (m *measurer) list(rel string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(m.host(rel))
	if err != nil {
		return nil, err
	}
	if m.looks += len(entries) + 1; m.looks > maxLooks {
		return nil, fmt.Errorf("the pattern %q looks at more than %d entries", m.rule.Glob, maxLooks)
	}
	return entries, nil
}

// isFolder tells whether an entry is a folder or a link to one inside the channel.
func (m *measurer) isFolder(rel string, e fs.DirEntry) (bool, error) {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir(), nil
	}
	return m.entered(rel)
}

// fileSize returns the size of a regular file, or of the one a link inside the channel leads to.
func (m *measurer) fileSize(rel string, e fs.DirEntry) (n int64, ok bool, err error) {
	if e != nil && !e.Type().IsRegular() && e.Type()&fs.ModeSymlink == 0 {
		return 0, false, nil
	}
	st, err := os.Stat(m.host(rel))
	if missing(err) {
		return 0, false, nil
	}
	if err != nil || !st.Mode().IsRegular() {
		return 0, false, err
	}
	if e == nil || e.Type()&fs.ModeSymlink != 0 {
		if ok, err := m.staysInside(rel); err != nil || !ok {
			return 0, false, err
		}
	}
	return st.Size(), true, nil
}

// globWalk follows one pattern through the folders below top, as pathlib's rglob does.
type globWalk struct {
	m     *measurer
	top   string
	parts []globPart
	been  map[spot]bool
	found map[string]bool
	sizes map[string]int64
}

// spot is a folder where a part of the pattern was tried: trying it twice finds nothing new.
type spot struct {
	dir  string
	part int
}

// at tries the pattern from part on in the folder dir.
func (w *globWalk) at(dir string, part int) error {
	if w.been[spot{dir, part}] {
		return nil
	}
	w.been[spot{dir, part}] = true
	p, last := w.parts[part], part == len(w.parts)-1
	if p.literal {
		return w.literal(dir, p.text, part, last)
	}
	entries, err := w.m.list(dir)
	if err != nil {
		return err
	}
	if p.any {
		return w.anyDepth(dir, entries, part)
	}
	for _, e := range entries {
		if !p.match(e.Name()) {
			continue
		}
		if err := w.step(path.Join(dir, e.Name()), e, part, last); err != nil {
			return err
		}
	}
	return nil
}

// anyDepth tries the next part here and in every real folder below; links to folders are not followed.
func (w *globWalk) anyDepth(dir string, entries []fs.DirEntry, part int) error {
	if err := w.at(dir, part+1); err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := w.at(path.Join(dir, e.Name()), part); err != nil {
				return err
			}
		}
	}
	return nil
}

// literal goes to one name without reading the folder; links to folders are entered.
func (w *globWalk) literal(dir, name string, part int, last bool) error {
	rel := path.Join(dir, name)
	if last {
		return w.take(rel, nil)
	}
	ok, err := w.m.entered(rel)
	if err != nil || !ok {
		return err
	}
	return w.at(rel, part+1)
}

// step takes a matching file, or enters a matching folder.
func (w *globWalk) step(rel string, e fs.DirEntry, part int, last bool) error {
	if last {
		return w.take(rel, e)
	}
	ok, err := w.m.isFolder(rel, e)
	if err != nil || !ok {
		return err
	}
	return w.at(rel, part+1)
}

// take counts a file once, if the regular expression takes its path relative to top.
func (w *globWalk) take(rel string, e fs.DirEntry) error {
	if w.found[rel] {
		return nil
	}
	w.found[rel] = true
	below := rel
	if w.top != "." {
		below = strings.TrimPrefix(rel, w.top+"/")
	}
	if !w.m.re.MatchString(below) {
		return nil
	}
	n, ok, err := w.m.fileSize(rel, e)
	if err != nil || !ok {
		return err
	}
	w.sizes[rel] = n
	return nil
}
