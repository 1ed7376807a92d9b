package convert

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// contextCopy copies a build context.
type contextCopy struct {
	from, dockerfile, to string
	// leaveOut are absolute paths that are not copied.
	leaveOut []string
	matcher  *patternmatcher.PatternMatcher
}

// CopyFolder copies a folder, less the history of a git repository.
func CopyFolder(from, to string) error {
	matcher, err := patternmatcher.New(nil)
	if err != nil {
		return err
	}
	return (&contextCopy{from: from, to: to, matcher: matcher}).walk()
}

// copy copies what a build could use: not what .dockerignore excludes, and not the history of a git repository.
func (c *contextCopy) copy() error {
	if err := c.readIgnore(); err != nil {
		return err
	}
	return c.walk()
}

func (c *contextCopy) walk() error {
	if err := os.MkdirAll(c.to, 0o755); err != nil {
		return err
	}
	return filepath.WalkDir(c.from, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(c.from, p)
		if err != nil || rel == "." {
			return err
		}
		if slices.Contains(c.leaveOut, p) || rel == ".git" {
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		ignored, err := c.matcher.MatchesOrParentMatches(filepath.ToSlash(rel))
		if err != nil || ignored {
			return err // files in an ignored folder may be wanted all the same
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(c.to, rel), 0o755)
		}
		return copyEntry(p, filepath.Join(c.to, rel), e)
	})
}

func (c *contextCopy) readIgnore() error {
	var patterns []string
	for _, name := range []string{c.dockerfile + ".dockerignore", ".dockerignore"} {
		f, err := os.Open(filepath.Join(c.from, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		patterns, err = ignorefile.ReadAll(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		break
	}
	m, err := patternmatcher.New(patterns)
	c.matcher = m
	return err
}

func copyEntry(from, to string, e fs.DirEntry) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case !e.Type().IsRegular():
		return nil // no build can copy it
	}
	st, err := e.Info()
	if err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, st.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
