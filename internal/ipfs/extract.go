package ipfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path"
	"path/filepath"
	"strings"

	"longshore/internal/task"
)

// Limits bound what an archive may become on disk. Zero means 4 GiB, 200,000 entries and 64 folders deep.
type Limits struct {
	Bytes   int64
	Entries int
	Depth   int
}

func (l Limits) orDefault() Limits {
	return Limits{cmp.Or(l.Bytes, 4<<30), cmp.Or(l.Entries, 200_000), cmp.Or(l.Depth, 64)}
}

// Archive bounds the size in bytes of an archive that may hold a folder within the limits.
func (l Limits) Archive() int64 {
	bytes := l.orDefault().Bytes
	return bytes + min(bytes/8, 1<<30) + 64<<20
}

// visits bounds how many blocks are looked at, every use counting: one that is used many times costs little in an archive.
func (l Limits) visits() int64 { return 1<<16 + 4*int64(l.Entries) + l.Bytes>>14 }

const (
	// maxFileDepth is more levels of a file, or of a sharded folder, than any real one has.
	maxFileDepth = 16
	maxName      = 255
	maxTarget    = 4096
)

// Extract writes the folder with that root into an empty one. It refuses what is missing or malformed, what is more than the
// limits, names that are no names, and links that leave the folder; what was written until then stays. Files get the mode
// 0644: nodes keep none.
func (c *CAR) Extract(ctx context.Context, root CID, into *os.Root, limits Limits) (Tree, error) {
	x := &extraction{ctx: ctx, car: c, into: into, limits: limits.orDefault(), tree: Tree{CID: root}, block: make([]byte, c.largest)}
	n, err := x.node(root)
	if err == nil {
		err = x.root(n)
	}
	if err == nil {
		err = x.checkLinks()
	}
	return x.tree, err
}

// extraction is one use of Extract.
type extraction struct {
	ctx    context.Context
	car    *CAR
	into   *os.Root
	limits Limits

	tree    Tree
	block   []byte // the bytes of the node that was read last
	entries int
	visits  int64
	links   []string
}

// node reads a block; the data of the one before is gone then.
func (x *extraction) node(id CID) (*node, error) {
	if err := x.ctx.Err(); err != nil {
		return nil, err
	}
	if x.visits++; x.visits > x.limits.visits() {
		return nil, tooMuch("--max-size", "it uses more than %d blocks, counting every use", x.limits.visits())
	}
	return x.car.node(id, x.block)
}

func (x *extraction) root(n *node) error {
	if n.kind != kindFolder && n.kind != kindShard {
		return fmt.Errorf("it is a %s, and a package is a folder", n.kind)
	}
	return x.folder(n, ".", 0)
}

// folder writes the entries of a folder that is there already.
func (x *extraction) folder(n *node, dir string, depth int) error {
	if depth > x.limits.Depth {
		return tooMuch("--max-depth", "%s: folders are more than %d deep", show(dir), x.limits.Depth)
	}
	seen := map[string]bool{}
	each := func(name string, l link) error {
		if err := checkName(name); err != nil {
			return fmt.Errorf("%s: %w", show(dir), err)
		}
		if seen[name] {
			return fmt.Errorf("%s has two entries of the name %q", show(dir), name)
		}
		seen[name] = true
		return x.entry(l.cid, path.Join(dir, name), depth+1)
	}
	if n.kind == kindShard {
		return x.shard(n, 0, each)
	}
	for _, l := range n.links {
		if err := each(l.name, l); err != nil {
			return err
		}
	}
	return nil
}

// shard calls each for the entries of a sharded folder. A link's name is its slot as hexadecimal digits, as many as the
// highest slot needs, and then the entry's name; nothing behind the digits makes it a further shard.
func (x *extraction) shard(n *node, level int, each func(string, link) error) error {
	if n.kind != kindShard || n.hash != hashMurmur3 || n.fanout < 8 || n.fanout > 1024 || bits.OnesCount64(n.fanout) != 1 {
		return fmt.Errorf("a sharded folder has a part that cannot be used (%s, hash 0x%x, %d ways)", n.kind, n.hash, n.fanout)
	}
	if level > maxFileDepth {
		return errors.New("a sharded folder has too many levels")
	}
	digits := len(fmt.Sprintf("%X", n.fanout-1))
	for _, l := range n.links {
		if len(l.name) < digits {
			return fmt.Errorf("a sharded folder has an entry without its slot: %q", l.name)
		}
		if name := l.name[digits:]; name != "" {
			if err := each(name, l); err != nil {
				return err
			}
			continue
		}
		next, err := x.node(l.cid)
		if err == nil {
			err = x.shard(next, level+1, each)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("an entry has the name %q", name)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("an entry has the name %q, with a character that names cannot have", name)
	case len(name) > maxName:
		return fmt.Errorf("an entry has a name of %d bytes, and %d are possible", len(name), maxName)
	}
	return nil
}

func (x *extraction) entry(id CID, p string, depth int) error {
	if x.entries++; x.entries > x.limits.Entries {
		return tooMuch("--max-entries", "it has more than %d entries", x.limits.Entries)
	}
	n, err := x.node(id)
	if err != nil {
		return fmt.Errorf("%s: %w", show(p), err)
	}
	switch n.kind {
	case kindFolder, kindShard:
		if err := x.into.Mkdir(p, 0o755); err != nil {
			return err
		}
		x.tree.Folders++
		return x.folder(n, p, depth)
	case kindFile, kindRaw:
		return x.file(n, p)
	case kindSymlink:
		return x.symlink(string(n.data), p)
	}
	return fmt.Errorf("%s is a %s, which packages do not have", show(p), n.kind)
}

func (x *extraction) file(n *node, p string) error {
	f, err := x.into.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = x.content(n, f, 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", show(p), err)
	}
	x.tree.Files++
	return nil
}

// content writes what lies below one node of a file.
func (x *extraction) content(n *node, f *os.File, level int) error {
	if n.kind != kindFile && n.kind != kindRaw {
		return fmt.Errorf("a part of the file is a %s", n.kind)
	}
	if level > maxFileDepth {
		return errors.New("the file has too many levels")
	}
	if x.tree.Content += uint64(len(n.data)); x.tree.Content > uint64(x.limits.Bytes) {
		return tooMuch("--max-size", "the files are more than %d bytes together", x.limits.Bytes)
	}
	if _, err := f.Write(n.data); err != nil {
		return err
	}
	size := uint64(len(n.data))
	for i, l := range n.links {
		before := x.tree.Content
		child, err := x.node(l.cid)
		if err == nil {
			err = x.content(child, f, level+1)
		}
		if err != nil {
			return err
		}
		got := x.tree.Content - before
		if i < len(n.sizes) && got != n.sizes[i] {
			return fmt.Errorf("a part of the file is %d bytes long, and %d are announced", got, n.sizes[i])
		}
		size += got
	}
	if n.kind == kindFile && size != n.size {
		return fmt.Errorf("the file is %d bytes long, and %d are announced", size, n.size)
	}
	return nil
}

// symlink makes a link whose target, as it is written, stays in the folder.
func (x *extraction) symlink(target, p string) error {
	if len(target) == 0 || len(target) > maxTarget || strings.ContainsRune(target, 0) {
		return fmt.Errorf("%s: a symbolic link of %d bytes to nothing that can be named", show(p), len(target))
	}
	if path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(p), target)) {
		return fmt.Errorf("%s: symbolic link leaves the folder (%q)", show(p), target)
	}
	x.links = append(x.links, p)
	return x.into.Symlink(target, p)
}

// tooMuch is the error of a limit, and of the flag that raises it.
func tooMuch(flag, format string, args ...any) error {
	return task.Errorf(task.ReasonPolicy, format, args...).WithHint("allow more with %s", flag)
}

// checkLinks follows every link in the finished folder: one may lead out by way of another.
func (x *extraction) checkLinks() error {
	for _, p := range x.links {
		if _, err := x.into.Stat(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: symbolic link leaves the folder, or leads nowhere: %w", show(p), errors.Unwrap(err))
		}
	}
	return nil
}

// show makes a path safe to print; the root is "the folder".
func show(p string) string {
	if p == "." {
		return "the folder"
	}
	if quoted := fmt.Sprintf("%q", p); strings.ContainsAny(quoted, `\`) || len(p) > 300 {
		return quoted[:min(len(quoted), 300)]
	}
	return p
}
