package image

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"golang.org/x/sys/unix"
)

// tree is what COPY and ADD read from: a folder of this machine, or a stage or image. Paths are relative and clean; "."
// is its root. Links never lead out of it.
type tree interface {
	// lookup finds p, following links on the way and, with follow, the last one. Nothing there is fs.ErrNotExist.
	lookup(p string, follow bool) (*item, error)
	// children lists a folder's entries, sorted by name.
	children(it *item) ([]*item, error)
	// open opens a regular file; it is an error when the file is not the one that lookup saw any more.
	open(it *item) (*os.File, error)
	// what names the tree in messages, as in "not in the build context".
	what() string
	// owned tells whether the tree's owners mean something inside an image.
	owned() bool
}

// item is one file, folder, link or special file of a tree.
type item struct {
	path string
	mode uint32 // as in stat
	size int64
	// mtime and ctime in nanoseconds, and ino, tell whether a file is still the same.
	mtime, ctime int64
	ino          uint64
	nlink        uint64 // names of the file; in a view only
	uid, gid     int
	link         string
	real         string // names the file among all that hashes are kept of
	node         *node  // in a view
	match        patternmatcher.MatchInfo
	hidden       bool // excluded, but something below may not be
}

func (it *item) isDir() bool { return it.mode&unix.S_IFMT == unix.S_IFDIR }

func (it *item) isFile() bool { return it.mode&unix.S_IFMT == unix.S_IFREG }

func (it *item) isLink() bool { return it.mode&unix.S_IFMT == unix.S_IFLNK }

func (it *item) isFIFO() bool { return it.mode&unix.S_IFMT == unix.S_IFIFO }

func (it *item) isSocket() bool { return it.mode&unix.S_IFMT == unix.S_IFSOCK }

func (it *item) modTime() time.Time { return time.Unix(0, it.mtime) }

// hostTree is a folder of this machine, less what its .dockerignore excludes.
type hostTree struct {
	root       *os.Root
	dir        string
	matcher    *patternmatcher.PatternMatcher
	ignoreName string
	ignoreText []byte
}

func openHostTree(dir string) (*hostTree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &hostTree{root: root, dir: dir}, nil
}

func (t *hostTree) what() string { return "build context" }

func (t *hostTree) owned() bool { return false }

func (t *hostTree) ignore(name string, data []byte) error {
	patterns, err := ignorefile.ReadAll(strings.NewReader(string(data)))
	if err == nil {
		t.matcher, err = patternmatcher.New(patterns)
	}
	if err != nil {
		return &BuildError{File: name, Err: err, Hint: "its patterns are those of .dockerignore files"}
	}
	t.ignoreName, t.ignoreText = name, data
	return nil
}

// readFile reads a small regular file without regard to what is ignored.
func (t *hostTree) readFile(name string, limit int64) ([]byte, error) {
	f, err := openRegular(t.root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, &Error{Kind: KindLimit, What: name, Why: "larger than " + sizeText(limit)}
	}
	return data, err
}

func (t *hostTree) item(p string, st *unix.Stat_t) *item {
	return &item{path: p, mode: st.Mode, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(), ino: st.Ino, uid: int(st.Uid), gid: int(st.Gid), real: t.dir + "/" + p}
}

// errLeavesContext is a link that leads out of a context.
var errLeavesContext = errors.New("a symbolic link that leads out of the build context, which is not followed")

// lookup takes the context's root for the root of all links, as BuildKit does: an absolute one begins there, and ".." does
// not lead above it.
func (t *hostTree) lookup(p string, follow bool) (*item, error) {
	todo, done, links := splitPath(p), []string(nil), 0
	var last *item
	outward := false
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if name == ".." {
			outward = outward || len(done) == 0
			done, last = done[:max(0, len(done)-1)], nil
			continue
		}
		it, err := t.stat(strings.Join(append(done[:len(done):len(done)], name), "/"))
		if outward && errors.Is(err, fs.ErrNotExist) {
			return nil, errLeavesContext
		}
		if err != nil {
			return nil, err
		}
		if it.isLink() && (follow || len(todo) > 0) {
			if links++; links > maxLinks {
				return nil, syscall.ELOOP
			}
			if path.IsAbs(it.link) {
				done, last, outward = nil, nil, true
			}
			todo = append(splitPath(it.link), todo...)
			continue
		}
		done, last = append(done, name), it
	}
	if last != nil {
		return last, nil
	}
	return t.stat(path.Join(".", strings.Join(done, "/")))
}

// stat looks at one path whose parents are folders, through the root, which no path leaves.
func (t *hostTree) stat(p string) (*item, error) {
	info, err := t.root.Lstat(filepath.FromSlash(p))
	if err != nil {
		if errors.Is(err, syscall.ENOTDIR) {
			return nil, fs.ErrNotExist
		}
		return nil, err
	}
	st := info.Sys().(*syscall.Stat_t)
	it := &item{path: p, mode: st.Mode, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(), ino: st.Ino, uid: int(st.Uid), gid: int(st.Gid), real: t.dir + "/" + p}
	if it.isLink() {
		if it.link, err = t.root.Readlink(filepath.FromSlash(p)); err != nil {
			return nil, err
		}
	}
	return it, t.judge(it, nil)
}

// judge finds out whether an item is excluded: fs.ErrNotExist says so.
func (t *hostTree) judge(it, parent *item) error {
	if t.matcher == nil || it.path == "." {
		return nil
	}
	var excluded bool
	var err error
	if parent != nil && parent.path != "." {
		excluded, it.match, err = t.matcher.MatchesUsingParentResults(it.path, parent.match)
	} else if !strings.Contains(it.path, "/") {
		excluded, it.match, err = t.matcher.MatchesUsingParentResults(it.path, patternmatcher.MatchInfo{})
	} else {
		// Not reached through its parent: find out about that first.
		up := &item{path: path.Dir(it.path), mode: unix.S_IFDIR}
		if uerr := t.judge(up, nil); uerr != nil && uerr != errExcluded {
			return uerr
		}
		excluded, it.match, err = t.matcher.MatchesUsingParentResults(it.path, up.match)
	}
	switch {
	case err != nil:
		return err
	case !excluded:
		return nil
	case it.isDir() && t.matcher.Exclusions():
		it.hidden = true
		return nil
	}
	return errExcluded
}

// errExcluded is something that .dockerignore excludes.
var errExcluded = errors.New("excluded")

func (t *hostTree) children(dir *item) ([]*item, error) {
	f, err := t.root.OpenFile(filepath.FromSlash(dir.path), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	out := make([]*item, 0, len(names))
	buf := make([]byte, 4096)
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			if err == unix.ENOENT {
				continue
			}
			return nil, err
		}
		it := t.item(path.Join(dir.path, name), &st)
		if it.isLink() {
			n, err := unix.Readlinkat(int(f.Fd()), name, buf)
			if err != nil {
				return nil, err
			}
			it.link = string(buf[:n])
		}
		switch err := t.judge(it, dir); {
		case err == errExcluded:
			continue
		case err != nil:
			return nil, err
		}
		out = append(out, it)
	}
	return out, nil
}

func (t *hostTree) open(it *item) (*os.File, error) {
	f, err := t.root.OpenFile(filepath.FromSlash(it.path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, err
	}
	if st.Ino != it.ino || st.Size != it.size || st.Mtim.Nano() != it.mtime || st.Ctim.Nano() != it.ctime {
		f.Close()
		return nil, &Error{Kind: KindInvalid, What: it.path, Why: "changed while it was being read", Hint: "build again when nothing writes to the context any more"}
	}
	return f, nil
}

// viewTree is a stage or an image.
type viewTree struct {
	view *view
	name string
}

func (t *viewTree) what() string { return t.name }

func (t *viewTree) owned() bool { return true }

func (t *viewTree) item(n *node) (*item, error) {
	st := n.stat()
	it := &item{path: relative(n.path), mode: st.Mode, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(), ino: st.Ino, nlink: uint64(st.Nlink), uid: int(st.Uid), gid: int(st.Gid), real: n.real, node: n}
	if it.isLink() {
		var err error
		if it.link, err = os.Readlink(n.real); err != nil {
			return nil, err
		}
	}
	return it, nil
}

func relative(p string) string {
	if p == "/" {
		return "."
	}
	return p[1:]
}

func (t *viewTree) lookup(p string, follow bool) (*item, error) {
	n, err := t.view.lookup("/"+p, follow)
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	return t.item(n)
}

func (t *viewTree) children(dir *item) ([]*item, error) {
	names, err := t.view.list(dir.node)
	if err != nil {
		return nil, err
	}
	out := make([]*item, 0, len(names))
	for _, name := range names {
		n, err := t.view.child(dir.node, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		it, err := t.item(n)
		if err != nil {
			return nil, err
		}
		out = append(out, it)
	}
	return out, nil
}

func (t *viewTree) open(it *item) (*os.File, error) {
	return os.OpenFile(it.real, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}
