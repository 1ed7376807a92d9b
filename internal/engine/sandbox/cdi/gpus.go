package cdi

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// GPU is one whole GPU: a device of a kind whose class is "gpu".
type GPU struct {
	// Name is the qualified name, such as "nvidia.com/gpu=0".
	Name string

	device Device
	spec   *Spec
}

// Kind is what the name begins with.
func (g GPU) Kind() string { return g.spec.Kind }

// GPUs finds the GPUs that the folders' specs offer, those of one kind together, in their order. The error says why there are
// none; problems tell of files that cannot be used.
func GPUs(dirs []string) (gpus []GPU, problems []string, err error) {
	specs, problems := Load(dirs)
	kinds := map[string][]GPU{}
	for i := range specs {
		s := &specs[i]
		if _, class, _ := strings.Cut(s.Kind, "/"); class != "gpu" {
			continue
		}
		for _, d := range s.Devices {
			kinds[s.Kind] = append(kinds[s.Kind], GPU{s.Kind + "=" + d.Name, d, s})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		gpus = append(gpus, single(kinds[k])...)
	}
	if len(gpus) > 0 {
		return gpus, problems, nil
	}
	err = fmt.Errorf("no CDI spec in %s names a device of a kind such as nvidia.com/gpu", strings.Join(dirs, ", "))
	if len(problems) > 0 {
		err = fmt.Errorf("%w (%s)", err, strings.Join(problems, "; "))
	}
	return nil, problems, err
}

// single leaves out devices that are another one by a second name (an index and a UUID), and those that are several together
// ("all"), as their device files tell.
func single(list []GPU) []GPU {
	slices.SortFunc(list, byName)
	var out []GPU
	for i, g := range list {
		mine := hostNodes(g)
		if len(mine) > 0 && slices.ContainsFunc(list[:i], func(o GPU) bool { return slices.Equal(hostNodes(o), mine) }) {
			continue
		}
		if slices.ContainsFunc(list, func(o GPU) bool { return partOf(hostNodes(o), mine) }) {
			continue
		}
		out = append(out, g)
	}
	return out
}

// byName puts numbers first, in their order.
func byName(a, b GPU) int {
	x, errX := strconv.Atoi(a.device.Name)
	y, errY := strconv.Atoi(b.device.Name)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	if (errX == nil) != (errY == nil) {
		if errX == nil {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.device.Name, b.device.Name)
}

func hostNodes(g GPU) []string {
	var list []string
	for _, n := range g.device.Edits.Nodes {
		list = append(list, n.Host())
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// partOf tells whether a holds something, and less than b, and nothing else.
func partOf(a, b []string) bool {
	if len(a) == 0 || len(a) >= len(b) {
		return false
	}
	return !slices.ContainsFunc(a, func(x string) bool { return !slices.Contains(b, x) })
}
