package ipfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// Layout makes the blocks of a folder and hands them to w; w may be nil, then only the CID is computed. Everything in the
// folder counts, hidden files too. Symbolic links and special files are errors: what a node would silently leave out has no
// place in an address that others rely on. It holds one chunk and one folder's list of names in memory.
func Layout(ctx context.Context, folder fs.FS, w BlockWriter) (Tree, error) {
	l := &layout{ctx: ctx, fs: folder, w: w, chunk: make([]byte, chunkSize)}
	root, err := l.folder(".")
	l.tree.CID, l.tree.Total = root.cid, root.total
	return l.tree, err
}

// layout is one use of Layout.
type layout struct {
	ctx  context.Context
	fs   fs.FS
	w    BlockWriter
	tree Tree

	chunk []byte // what was read of a file
	block []byte // the block that is being made
}

// part is a block that was made, and the size of the file content below it.
type part struct {
	link
	size uint64
}

// put makes the block of a node.
func (l *layout) put(n *node) (link, error) {
	l.block = n.encode(l.block[:0])
	made := link{cid: sum(l.block), total: uint64(len(l.block))}
	for _, child := range n.links {
		made.total += child.total
	}
	if l.w == nil {
		return made, nil
	}
	return made, l.w.WriteBlock(made.cid, l.block)
}

func (l *layout) folder(dir string) (link, error) {
	entries, err := fs.ReadDir(l.fs, dir) // in the order of their names' bytes
	if err != nil {
		return link{}, err
	}
	links := make([]link, 0, len(entries))
	size := 0
	for _, e := range entries {
		made, err := l.entry(path.Join(dir, e.Name()), e)
		if err != nil {
			return link{}, err
		}
		made.name = e.Name()
		links = append(links, made)
		size += len(made.name) + len(made.cid.bytes())
	}
	if size > shardAbove {
		return l.shard(hashed(links), 0)
	}
	return l.put(&node{kind: kindFolder, links: links})
}

func (l *layout) entry(p string, e fs.DirEntry) (link, error) {
	switch {
	case e.IsDir():
		l.tree.Folders++
		return l.folder(p)
	case !e.Type().IsRegular():
		return link{}, fmt.Errorf("%s is neither a file nor a folder (%s)", p, e.Type())
	}
	f, err := l.fs.Open(p)
	if err != nil {
		return link{}, err
	}
	defer f.Close()
	made, err := l.file(f)
	if err != nil {
		return link{}, fmt.Errorf("%s: %w", p, err)
	}
	l.tree.Files++
	l.tree.Content += made.size
	return made.link, nil
}

// file lays a file out as a balanced tree: its chunks are the leaves, all at the same depth, and every node but the last of
// its level is full.
func (l *layout) file(r io.Reader) (part, error) {
	var levels [][]part // nodes that have no parent yet, the leaves first
	for {
		if err := l.ctx.Err(); err != nil {
			return part{}, err
		}
		n, err := io.ReadFull(r, l.chunk)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return part{}, err
		}
		if n > 0 || len(levels) == 0 {
			made, err := l.put(&node{kind: kindFile, data: l.chunk[:n], size: uint64(n)})
			if err != nil {
				return part{}, err
			}
			if levels, err = l.attach(levels, 0, part{made, uint64(n)}); err != nil {
				return part{}, err
			}
		}
		if last {
			return l.top(levels)
		}
	}
}

// attach adds a node to a level. A full level becomes a node of the next one first: only then is it known that more follows,
// and that it is not the top.
func (l *layout) attach(levels [][]part, at int, p part) ([][]part, error) {
	if at == len(levels) {
		return append(levels, []part{p}), nil
	}
	if len(levels[at]) == maxLinks {
		parent, err := l.join(levels[at])
		if err != nil {
			return nil, err
		}
		levels[at] = levels[at][:0]
		if levels, err = l.attach(levels, at+1, parent); err != nil {
			return nil, err
		}
	}
	levels[at] = append(levels[at], p)
	return levels, nil
}

// top joins what is left of every level, from the leaves up, into the one node of the file.
func (l *layout) top(levels [][]part) (part, error) {
	for at := 0; ; at++ {
		if at == len(levels)-1 && len(levels[at]) == 1 {
			return levels[at][0], nil
		}
		parent, err := l.join(levels[at])
		if err != nil {
			return part{}, err
		}
		if levels, err = l.attach(levels, at+1, parent); err != nil {
			return part{}, err
		}
	}
}

func (l *layout) join(parts []part) (part, error) {
	n := &node{kind: kindFile}
	for _, p := range parts {
		n.links = append(n.links, p.link)
		n.sizes = append(n.sizes, p.size)
		n.size += p.size
	}
	made, err := l.put(n)
	return part{made, n.size}, err
}
