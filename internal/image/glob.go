package image

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// hasMeta tells whether a path is a pattern.
func hasMeta(p string) bool { return strings.ContainsAny(p, `*?[\`) }

// glob lists what a pattern matches, sorted by path. Links on the way are followed inside the tree. With deep, a "**"
// stands for any number of folders.
func glob(t tree, pattern string, deep bool) ([]*item, error) {
	root, err := t.lookup(".", true)
	if err != nil {
		return nil, err
	}
	found := []*item{root}
	parts := splitPath(pattern)
	for i, part := range parts {
		last := i == len(parts)-1
		var next []*item
		for _, dir := range found {
			more, err := globStep(t, dir, part, last, deep)
			if err != nil {
				return nil, err
			}
			next = append(next, more...)
		}
		found = next
	}
	return found, nil
}

func globStep(t tree, dir *item, part string, last, deep bool) ([]*item, error) {
	if deep && part == "**" {
		return globDeep(t, dir, last)
	}
	if !hasMeta(part) || part == ".." {
		it, err := t.lookup(path.Join(dir.path, part), !last)
		if errors.Is(err, fs.ErrNotExist) || err == errExcluded {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []*item{it}, nil
	}
	if !dir.isDir() {
		return nil, nil
	}
	children, err := t.children(dir)
	if err != nil {
		return nil, err
	}
	var out []*item
	for _, it := range children {
		ok, err := path.Match(part, path.Base(it.path))
		if err != nil {
			return nil, &Error{Kind: KindInvalid, What: "pattern " + quoteText(part), Why: "is malformed", Hint: "a literal [ is written [[]", Err: err}
		}
		if !ok {
			continue
		}
		if it.isLink() && !last {
			if it, err = t.lookup(it.path, true); err != nil {
				continue
			}
		}
		out = append(out, it)
	}
	return out, nil
}

func globDeep(t tree, dir *item, last bool) ([]*item, error) {
	var out []*item
	if !last {
		out = append(out, dir)
	}
	if !dir.isDir() {
		return out, nil
	}
	children, err := t.children(dir)
	if err != nil {
		return nil, err
	}
	for _, it := range children {
		if it.isDir() {
			more, err := globDeep(t, it, last)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		if last && !it.isDir() {
			out = append(out, it)
		}
	}
	return out, nil
}

// suggest finds a path of a tree that a wrong one most likely means: the same name elsewhere, or one much like it.
func suggest(t tree, wrong string) string {
	root, err := t.lookup(".", true)
	if err != nil {
		return ""
	}
	const most = 5000
	var paths []string
	queue := []*item{root}
	for len(queue) > 0 && len(paths) < most {
		children, err := t.children(queue[0])
		queue = queue[1:]
		if err != nil {
			continue
		}
		for _, it := range children {
			if it.hidden {
				continue
			}
			paths = append(paths, it.path)
			if it.isDir() {
				queue = append(queue, it)
			}
		}
	}
	wrong = path.Clean(strings.TrimLeft(wrong, "./"))
	for _, p := range paths {
		if path.Base(p) == path.Base(wrong) || strings.EqualFold(p, wrong) {
			return p
		}
	}
	return nearest(wrong, paths)
}
