// Package cdi reads Container Device Interface specs (https://github.com/cncf-tags/container-device-interface, SPEC.md 1.1):
// the files in which the vendors of devices say what a container needs to use them. It knows files and words, and no
// container. The interface's own Go library is left aside: it watches folders, and brings the whole runtime specification.
package cdi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// DefaultDirs are the folders of specs, the one that wins last.
func DefaultDirs() []string { return []string{"/etc/cdi", "/var/run/cdi"} }

// maxSpec bounds one file: 16 MiB.
const maxSpec = 16 << 20

// Spec is one file.
type Spec struct {
	Version string `json:"cdiVersion"`
	// Kind is "vendor/class", such as "nvidia.com/gpu".
	Kind    string   `json:"kind"`
	Devices []Device `json:"devices"`
	// Edits hold once for any number of the file's devices.
	Edits Edits `json:"containerEdits"`

	file string
}

// Device is one device that a spec offers.
type Device struct {
	Name  string `json:"name"`
	Edits Edits  `json:"containerEdits"`
}

// Edits are what a container is given for a device.
type Edits struct {
	Env    []string `json:"env"`
	Nodes  []Node   `json:"deviceNodes"`
	Mounts []Mount  `json:"mounts"`
	Hooks  []Hook   `json:"hooks"`
	// What follows is told of, and not given.
	Groups     []int64         `json:"additionalGids"`
	IntelRDT   json.RawMessage `json:"intelRdt"`
	NetDevices json.RawMessage `json:"netDevices"`
}

// Node is a device file.
type Node struct {
	// Path is where it is in the container, HostPath where it is on this machine, the same when empty.
	Path     string `json:"path"`
	HostPath string `json:"hostPath"`
	// Permissions are those of the device cgroup: of "r", "w" and "m"; empty means all.
	Permissions string `json:"permissions"`
}

// Host is the path on this machine.
func (n Node) Host() string {
	if n.HostPath != "" {
		return n.HostPath
	}
	return n.Path
}

// Mount is a file or folder of this machine.
type Mount struct {
	HostPath      string   `json:"hostPath"`
	ContainerPath string   `json:"containerPath"`
	Options       []string `json:"options"`
	Type          string   `json:"type"`
}

// Hook is a program that other runtimes run on this machine while they make the container.
type Hook struct {
	Name string   `json:"hookName"`
	Path string   `json:"path"`
	Args []string `json:"args"`
}

// A spec that cannot be used is a problem of that file; the others count.
var (
	validVersion = regexp.MustCompile(`^v?(0\.[3-9]|1)\.[0-9]+(\.[0-9]+)?$`)
	validKind    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z][A-Za-z0-9_.-]*$`)
	validName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$`)
)

// Load reads every spec in the folders. A missing folder holds none. Problems tell of files that cannot be used.
func Load(dirs []string) (specs []Spec, problems []string) {
	// The folder that comes last wins, and within a folder a device that two files name is nobody's.
	owner := map[string]string{}
	for _, dir := range slices.Backward(dirs) {
		here, wrong := loadDir(dir)
		problems = append(problems, wrong...)
		names := map[string]int{}
		for _, s := range here {
			for _, d := range s.Devices {
				names[s.Kind+"="+d.Name]++
			}
		}
		for _, s := range here {
			s.Devices = slices.DeleteFunc(s.Devices, func(d Device) bool {
				name := s.Kind + "=" + d.Name
				if names[name] > 1 {
					problems = append(problems, fmt.Sprintf("%s: another file of the folder names the device %s too; neither counts", s.file, name))
					return true
				}
				return owner[name] != ""
			})
			for _, d := range s.Devices {
				owner[s.Kind+"="+d.Name] = s.file
			}
			specs = append(specs, s)
		}
		for name := range names {
			if owner[name] == "" {
				owner[name] = dir
			}
		}
	}
	return specs, problems
}

func loadDir(dir string) (specs []Spec, problems []string) {
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, []string{err.Error()}
	}
	for _, d := range list {
		file := filepath.Join(dir, d.Name())
		if ext := filepath.Ext(file); ext != ".json" && ext != ".yaml" {
			continue
		}
		s, err := load(file)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", file, err))
			continue
		}
		specs = append(specs, s)
	}
	return specs, problems
}

func load(file string) (Spec, error) {
	st, err := os.Stat(file)
	switch {
	case err != nil:
		return Spec{}, err
	case !st.Mode().IsRegular():
		return Spec{}, errors.New("is not a regular file")
	case st.Size() > maxSpec:
		return Spec{}, fmt.Errorf("has %d bytes, more than %d", st.Size(), maxSpec)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return Spec{}, err
	}
	s, err := parse(data, strings.HasSuffix(file, ".yaml"))
	s.file = file
	return s, err
}

func parse(data []byte, isYAML bool) (s Spec, err error) {
	if isYAML {
		if data, err = yaml.YAMLToJSON(data); err != nil {
			return s, fmt.Errorf("is not YAML: %w", err)
		}
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("is not a CDI spec: %w", err)
	}
	return s, s.check()
}

func (s *Spec) check() error {
	switch {
	case !validVersion.MatchString(s.Version):
		return fmt.Errorf("cdiVersion %q is not known", s.Version)
	case !validKind.MatchString(s.Kind):
		return fmt.Errorf("kind %q is not vendor/class", s.Kind)
	case len(s.Devices) == 0:
		return errors.New("it names no device")
	}
	if err := s.Edits.check(); err != nil {
		return err
	}
	for i, d := range s.Devices {
		if !validName.MatchString(d.Name) {
			return fmt.Errorf("devices[%d]: %q is not a name", i, d.Name)
		}
		if slices.ContainsFunc(s.Devices[:i], func(o Device) bool { return o.Name == d.Name }) {
			return fmt.Errorf("devices[%d]: %s is named twice", i, d.Name)
		}
		if err := d.Edits.check(); err != nil {
			return fmt.Errorf("device %s: %w", d.Name, err)
		}
	}
	return nil
}

func (e *Edits) check() error {
	for _, v := range e.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" || strings.ContainsRune(v, 0) {
			return fmt.Errorf("env: %q is not NAME=value", v)
		}
	}
	for _, n := range e.Nodes {
		if !clean(n.Path) || !absolute(n.Host()) {
			return fmt.Errorf("deviceNodes: %q is not an absolute, clean path", n.Path)
		}
	}
	for _, m := range e.Mounts {
		if !clean(m.ContainerPath) || !absolute(m.HostPath) {
			return fmt.Errorf("mounts: %q on %q are not absolute, clean paths", m.HostPath, m.ContainerPath)
		}
		if m.Type != "" && m.Type != "bind" && m.Type != "none" {
			return fmt.Errorf("mounts: %s is a mount of type %q, which is not supported", m.ContainerPath, m.Type)
		}
	}
	return nil
}

// clean tells paths that can be a place in a container.
func clean(p string) bool { return absolute(p) && filepath.Clean(p) == p && p != "/" }

func absolute(p string) bool { return filepath.IsAbs(p) && !strings.ContainsRune(p, 0) }
