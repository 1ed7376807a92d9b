package cdi

import (
	"debug/elf"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Grant is what one container is given.
type Grant struct {
	Env    []string
	Nodes  []Node
	Mounts []Mount
	// LibraryFolders hold libraries that the container's loader shall find.
	LibraryFolders []string
	// Notes tell what the specs ask for and the container is not given.
	Notes []string
}

// Merge puts together what a container with these GPUs is given, each thing once.
func Merge(gpus []GPU) Grant {
	m := merger{}
	var specs []*Spec
	for _, g := range gpus {
		if !slices.Contains(specs, g.spec) {
			specs = append(specs, g.spec)
			m.add(&g.spec.Edits)
		}
		m.add(&g.device.Edits)
	}
	m.libraries()
	m.hooks()
	return m.Grant
}

type merger struct {
	Grant
	asked []Hook
}

func (m *merger) add(e *Edits) {
	for _, v := range e.Env {
		if !slices.Contains(m.Env, v) {
			m.Env = append(m.Env, v)
		}
	}
	for _, n := range e.Nodes {
		if !slices.ContainsFunc(m.Nodes, func(o Node) bool { return o.Path == n.Path }) {
			m.Nodes = append(m.Nodes, n)
		}
	}
	for _, b := range e.Mounts {
		m.mount(b)
	}
	m.asked = append(m.asked, e.Hooks...)
	for what, asked := range map[string]bool{"additionalGids": len(e.Groups) > 0, "intelRdt": given(e.IntelRDT), "netDevices": given(e.NetDevices)} {
		if asked {
			m.note("the CDI spec asks for %s, which containers here are not given", what)
		}
	}
	slices.Sort(m.Notes)
}

func given(raw []byte) bool { return len(raw) > 0 && string(raw) != "null" }

func (m *merger) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(m.Notes, n) {
		m.Notes = append(m.Notes, n)
	}
}

// mount adds a mount unless its place is taken, and tells whether it did.
func (m *merger) mount(b Mount) bool {
	if slices.ContainsFunc(m.Mounts, func(o Mount) bool { return o.ContainerPath == b.ContainerPath }) {
		return false
	}
	m.Mounts = append(m.Mounts, b)
	return true
}

// libraries shows each library also by the name that programs ask the loader for (libcuda.so.1), as ldconfig would link it.
func (m *merger) libraries() {
	for _, b := range slices.Clone(m.Mounts) {
		if !strings.Contains(path.Base(b.ContainerPath), ".so") {
			continue
		}
		if name := soname(b.HostPath); name != "" {
			m.mount(alias(b, path.Join(path.Dir(b.ContainerPath), name)))
		}
	}
}

// alias is the same file at another place.
func alias(b Mount, at string) Mount {
	b.ContainerPath = at
	return b
}

// soname is the name a library goes by, "" when it says none.
func soname(file string) string {
	f, err := elf.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	names, err := f.DynString(elf.DT_SONAME)
	if err != nil || len(names) == 0 || strings.Contains(names[0], "/") {
		return ""
	}
	return names[0]
}

// hooks does what the vendors' usual hooks do, without running anything on this machine: links between mounted files are
// more mounts, and the loader's cache is a list of folders. Every other hook is told of.
func (m *merger) hooks() {
	for _, h := range m.asked {
		verb, flags := command(h)
		switch verb {
		case "create-symlinks":
			for _, l := range flags["link"] {
				m.link(l)
			}
		case "update-ldcache":
			for _, f := range flags["folder"] {
				if clean(f) && !strings.Contains(f, ":") && !slices.Contains(m.LibraryFolders, f) {
					m.LibraryFolders = append(m.LibraryFolders, f)
				}
			}
		case "chmod": // of folders in /dev, which are open to everybody here
		default:
			m.note("the CDI spec's hook %s was not run: programs of this machine are not run for a container", strings.Join(append([]string{h.Path}, h.Args[min(1, len(h.Args)):]...), " "))
		}
	}
}

// command takes a hook's command line apart: the word that says what it does, and its flags.
func command(h Hook) (verb string, flags map[string][]string) {
	flags = map[string][]string{}
	for i := 1; i < len(h.Args); i++ {
		name, isFlag := strings.CutPrefix(h.Args[i], "--")
		if !isFlag {
			if h.Args[i] != "hook" && verb == "" {
				verb = h.Args[i]
			}
			continue
		}
		name, value, ok := strings.Cut(name, "=")
		if !ok && i+1 < len(h.Args) {
			i++
			value = h.Args[i]
		}
		flags[name] = append(flags[name], value)
	}
	return verb, flags
}

// link makes "target::link" of a mounted file.
func (m *merger) link(spec string) {
	target, at, ok := strings.Cut(spec, "::")
	if !ok || !clean(at) {
		m.note("the CDI spec's link %q is not understood", spec)
		return
	}
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(at), target)
	}
	i := slices.IndexFunc(m.Mounts, func(b Mount) bool { return b.ContainerPath == target })
	if i < 0 {
		m.note("the CDI spec's link %s was not made: it leads to no file that the container is given", at)
		return
	}
	m.mount(alias(m.Mounts[i], at))
}
