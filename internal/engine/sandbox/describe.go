package sandbox

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// description is the sequence of NUL-terminated strings that tells the launcher what to do; launch.c reads it in the order it
// is written in here.
type description []byte

func (d *description) str(s string) { *d = append(append(*d, s...), 0) }

func (d *description) num(n int64) { d.str(strconv.FormatInt(n, 10)) }

func (d *description) bits(n uint64) { d.str(strconv.FormatUint(n, 10)) }

func (d *description) flag(b bool) {
	if b {
		d.num(1)
	} else {
		d.num(0)
	}
}

func (d *description) list(l []string) {
	d.num(int64(len(l)))
	for _, s := range l {
		d.str(s)
	}
}

// early is what both stages of the launcher need before the container's root file system stands.
type early struct {
	privileged bool
	namespaces uint64 // CLONE_NEW*
	base       uint64 // the machine's id of the container's root
	oomScore   int
	cgroups    []uint64 // descriptors of tasks files
	hostname   string
	scratch    string // a folder of the container's own, to mount over while composing
	root       rootfs
	mounts     []mount
}

func (e *early) encode() []byte {
	var d description
	d.str("longshore sandbox 1")
	d.flag(e.privileged)
	d.bits(e.namespaces)
	d.bits(e.base)
	d.num(idCount)
	d.num(int64(e.oomScore))
	d.num(int64(len(e.cgroups)))
	for _, fd := range e.cgroups {
		d.bits(fd)
	}
	d.str(e.hostname)
	d.str(e.scratch)
	d.str(e.root.layerRoot)
	d.list(e.root.layers)
	d.str(e.root.skeleton)
	d.str(e.root.upperRoot)
	d.str(e.root.upper)
	d.str(e.root.work)
	d.str(e.root.options)
	d.num(int64(len(e.mounts)))
	for _, m := range e.mounts {
		d.str(m.kind)
		d.str(m.source)
		d.str(m.target)
		d.str(m.options)
		d.bits(m.attr)
		d.num(int64(m.flags))
	}
	return d
}

// late is what the launcher needs to become the container's process.
type late struct {
	who       identity
	setGroups bool
	caps      uint64
	dir       string
	rlimits   map[int]uint64
	path      string
	args, env []string
	filter    []byte
}

func (l *late) encode() []byte {
	var d description
	d.num(int64(l.who.uid))
	d.num(int64(l.who.gid))
	d.num(int64(len(l.who.groups)))
	for _, g := range l.who.groups {
		d.num(int64(g))
	}
	d.flag(l.setGroups)
	d.bits(l.caps)
	d.str(l.dir)
	d.num(int64(len(l.rlimits)))
	for which, limit := range l.rlimits {
		d.num(int64(which))
		d.bits(limit)
	}
	d.str(l.path)
	d.list(l.args)
	d.list(l.env)
	return append(d, l.filter...)
}

// memoryFile returns an anonymous file for the description.
func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("longshore-sandbox", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("sandbox: memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), "description"), nil
}
