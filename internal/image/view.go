package image

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// view looks at a stack of layers as one file system, without mounting it. Paths inside are absolute and clean. Links
// never lead out of it. It relies on nobody changing the layers meanwhile: they are the store's own.
type view struct {
	layers []string // lowest first
	opaque string   // the attribute that marks opaque folders
}

func (s *Store) view(layers []string) *view {
	_ = s.prepare() // an unprepared store has no layers either
	return &view{layers: layers, opaque: s.opaqueXattr}
}

// node is one name in a view. For a folder, dirs are the real folders that are merged in it, topmost first.
type node struct {
	path string // inside, with all links on the way resolved
	real string // the file, or the topmost folder, on this machine
	info fs.FileInfo
	dirs []string
}

func (n *node) isDir() bool { return n.info.IsDir() }

func (n *node) stat() *syscall.Stat_t { return n.info.Sys().(*syscall.Stat_t) }

// maxLinks bounds how many symbolic links one path may go through, as in Linux.
const maxLinks = 40

// isWhiteout tells whether a file hides a name of the layers below.
func isWhiteout(info fs.FileInfo) bool {
	if info.Mode()&fs.ModeCharDevice == 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Rdev == 0
}

func isOpaque(dir, attr string) bool {
	var b [1]byte
	n, err := unix.Lgetxattr(dir, attr, b[:])
	return err == nil && n == 1 && b[0] == 'y'
}

func (s *Store) rootOpaque(layer string) bool { return isOpaque(layer, s.opaqueXattr) }

func (v *view) root() (*node, error) {
	n := &node{path: "/"}
	for i := len(v.layers) - 1; i >= 0; i-- {
		n.dirs = append(n.dirs, v.layers[i])
		if isOpaque(v.layers[i], v.opaque) {
			break
		}
	}
	if len(n.dirs) == 0 {
		return nil, fs.ErrNotExist
	}
	info, err := os.Lstat(n.dirs[0])
	n.real, n.info = n.dirs[0], info
	return n, err
}

// child looks up one name in a folder; links are not followed.
func (v *view) child(dir *node, name string) (*node, error) {
	var found *node
	for _, d := range dir.dirs {
		real := d + "/" + name
		info, err := os.Lstat(real)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.EINVAL) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if isWhiteout(info) {
			break
		}
		if !info.IsDir() {
			if found == nil {
				found = &node{path: path.Join(dir.path, name), real: real, info: info}
			}
			break
		}
		if found == nil {
			found = &node{path: path.Join(dir.path, name), real: real, info: info}
		}
		found.dirs = append(found.dirs, real)
		if isOpaque(real, v.opaque) {
			break
		}
	}
	if found == nil {
		return nil, fs.ErrNotExist
	}
	return found, nil
}

// lookup finds p. Links on the way are followed, the last one only if follow says so. It returns fs.ErrNotExist when
// there is nothing, and syscall.ENOTDIR when the way leads through a file.
func (v *view) lookup(p string, follow bool) (*node, error) {
	n, _, err := v.walk(p, follow)
	return n, err
}

// walk is lookup that also tells, when something is missing, where the path leads: the resolved path with the missing
// names still on it.
func (v *view) walk(p string, follow bool) (*node, string, error) {
	links := 0
	todo := splitPath(p)
	root, err := v.root()
	if err != nil {
		return nil, path.Clean("/" + p), err
	}
	stack := []*node{root}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		cur := stack[len(stack)-1]
		if name == ".." {
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
			continue
		}
		if !cur.isDir() {
			return nil, "", syscall.ENOTDIR
		}
		next, err := v.child(cur, name)
		if err != nil {
			return nil, path.Join(append([]string{cur.path, name}, todo...)...), err
		}
		if next.info.Mode()&fs.ModeSymlink != 0 && (follow || len(todo) > 0) {
			if links++; links > maxLinks {
				return nil, "", syscall.ELOOP
			}
			target, err := os.Readlink(next.real)
			if err != nil {
				return nil, "", err
			}
			if strings.HasPrefix(target, "/") {
				stack = stack[:1]
			}
			todo = append(splitPath(target), todo...)
			continue
		}
		stack = append(stack, next)
	}
	n := stack[len(stack)-1]
	return n, n.path, nil
}

// splitPath cuts a path into names; ".." stays, because it means something else behind a link.
func splitPath(p string) []string {
	var out []string
	for _, name := range strings.Split(p, "/") {
		if name != "" && name != "." {
			out = append(out, name)
		}
	}
	return out
}

// list returns the names in a folder, sorted.
func (v *view) list(dir *node) ([]string, error) {
	seen := map[string]bool{}
	var names []string
	for _, d := range dir.dirs {
		entries, err := os.ReadDir(d)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if seen[e.Name()] {
				continue
			}
			seen[e.Name()] = true
			if e.Type()&fs.ModeCharDevice != 0 {
				if info, err := e.Info(); err != nil || isWhiteout(info) {
					continue
				}
			}
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}

// readFile reads a regular file, following links.
func (v *view) readFile(p string, limit int64) ([]byte, error) {
	n, err := v.lookup(p, true)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, &Error{Kind: KindNotFound, What: p, Why: "no such file", Err: fs.ErrNotExist}
	case errors.Is(err, syscall.ELOOP):
		return nil, &Error{Kind: KindInvalid, What: p, Why: "goes through too many symbolic links", Err: err}
	case err != nil:
		return nil, err
	case !n.info.Mode().IsRegular():
		return nil, &Error{Kind: KindInvalid, What: p, Why: "not a regular file but a " + typeName(n.info.Mode())}
	case n.info.Size() > limit:
		return nil, &Error{Kind: KindLimit, What: p, Why: "larger than the limit: " + sizeText(n.info.Size()) + ", allowed are " + sizeText(limit)}
	}
	f, err := os.OpenFile(n.real, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// typeName names a file's type for messages.
func typeName(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "FIFO"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "regular file"
}
