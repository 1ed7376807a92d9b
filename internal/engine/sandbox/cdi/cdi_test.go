package cdi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/engine/sandbox/cdi"
)

// folder writes files and returns where.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func names(gpus []cdi.GPU) string {
	var list []string
	for _, g := range gpus {
		list = append(list, g.Name)
	}
	return strings.Join(list, " ")
}

// spec is a spec of kind nvidia.com/gpu with devices given as "name: node node".
func spec(devices ...string) string {
	var list []string
	for _, d := range devices {
		name, nodes, _ := strings.Cut(d, " ")
		var paths []string
		for _, n := range strings.Fields(nodes) {
			paths = append(paths, `{"path": "`+n+`"}`)
		}
		list = append(list, `{"name": "`+name+`", "containerEdits": {"deviceNodes": [`+strings.Join(paths, ",")+`]}}`)
	}
	return `{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [` + strings.Join(list, ",") + `]}`
}

func TestGPUs(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"by number", map[string]string{"a.json": spec("10 /dev/c", "2 /dev/b", "0 /dev/a")}, "nvidia.com/gpu=0 nvidia.com/gpu=2 nvidia.com/gpu=10"},
		{"all of two", map[string]string{"a.json": spec("0 /dev/a", "1 /dev/b", "all /dev/a /dev/b")}, "nvidia.com/gpu=0 nvidia.com/gpu=1"},
		{"all of one", map[string]string{"a.json": spec("all /dev/a", "0 /dev/a", "GPU-1 /dev/a")}, "nvidia.com/gpu=0"},
		{"only all", map[string]string{"a.json": spec("all /dev/dxg")}, "nvidia.com/gpu=all"},
		{"parts of one", map[string]string{"a.json": spec("0:0 /dev/a /dev/cap1", "0:1 /dev/a /dev/cap2")}, "nvidia.com/gpu=0:0 nvidia.com/gpu=0:1"},
		{"two files", map[string]string{"a.json": spec("0 /dev/a"), "b.json": spec("1 /dev/b")}, "nvidia.com/gpu=0 nvidia.com/gpu=1"},
		{"other kinds and files", map[string]string{"a.json": strings.Replace(spec("0 /dev/a"), "nvidia.com/gpu", "nvidia.com/nic", 1), "b.txt": spec("0 /dev/a")}, ""},
		{"YAML", map[string]string{"a.yaml": "cdiVersion: \"0.6.0\"\nkind: amd.com/gpu\ndevices:\n- name: \"0\"\n  containerEdits: {}\n"}, "amd.com/gpu=0"},
		{"YAML called JSON", map[string]string{"a.json": "cdiVersion: 0.6.0"}, ""},
		{"a version of the future", map[string]string{"a.json": strings.Replace(spec("0 /dev/a"), "0.5.0", "2.0.0", 1)}, ""},
		{"a path that is no place", map[string]string{"a.json": spec("0 /dev/../etc")}, ""},
		{"a name twice", map[string]string{"a.json": spec("0 /dev/a", "0 /dev/b")}, ""},
		{"named by two files", map[string]string{"a.json": spec("0 /dev/a"), "b.json": spec("0 /dev/b", "1 /dev/c")}, "nvidia.com/gpu=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			gpus, _, err := cdi.GPUs([]string{folder(t, c.files), "/nonexistent"})
			if got := names(gpus); got != c.want {
				t.Errorf("got %q (%v), want %q", got, err, c.want)
			}
			if (err == nil) != (c.want != "") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTheLastFolderWins(t *testing.T) {
	first, last := folder(t, map[string]string{"a.json": spec("0 /dev/old", "1 /dev/b")}), folder(t, map[string]string{"b.json": spec("0 /dev/new")})
	gpus, problems, err := cdi.GPUs([]string{first, last})
	if err != nil || names(gpus) != "nvidia.com/gpu=0 nvidia.com/gpu=1" {
		t.Fatal(names(gpus), problems, err)
	}
	if g := cdi.Merge(gpus[:1]); len(g.Nodes) != 1 || g.Nodes[0].Path != "/dev/new" {
		t.Errorf("%+v", g.Nodes)
	}
}

func TestMerge(t *testing.T) {
	dir := folder(t, map[string]string{"a.json": `{"cdiVersion": "1.0.0", "kind": "nvidia.com/gpu",
		"containerEdits": {
			"env": ["A=1"], "additionalGids": [44], "intelRdt": null,
			"mounts": [{"hostPath": "/etc/passwd", "containerPath": "/usr/lib/libcuda.so.1", "options": ["ro"]}],
			"hooks": [
				{"hookName": "createContainer", "path": "/x/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", "create-symlinks", "--link", "libcuda.so.1::/usr/lib/libcuda.so", "--link=/etc/none::/usr/lib/none"]},
				{"hookName": "createContainer", "path": "/x/nvidia-ctk", "args": ["nvidia-ctk", "hook", "update-ldcache", "--folder", "/usr/lib", "--folder=/usr/lib/vdpau"]},
				{"hookName": "createContainer", "path": "/x/nvidia-ctk", "args": ["nvidia-ctk", "hook", "chmod", "--mode", "755", "--path", "/dev/dri"]},
				{"hookName": "createRuntime", "path": "/x/other"}
			]
		},
		"devices": [
			{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/g0"}, {"path": "/dev/common"}]}},
			{"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/g1", "hostPath": "/dev/h1"}, {"path": "/dev/common"}]}}
		]}`})
	gpus, _, err := cdi.GPUs([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	want := cdi.Grant{
		Env:   []string{"A=1"},
		Nodes: []cdi.Node{{Path: "/dev/g0"}, {Path: "/dev/common"}, {Path: "/dev/g1", HostPath: "/dev/h1"}},
		Mounts: []cdi.Mount{
			{HostPath: "/etc/passwd", ContainerPath: "/usr/lib/libcuda.so.1", Options: []string{"ro"}},
			{HostPath: "/etc/passwd", ContainerPath: "/usr/lib/libcuda.so", Options: []string{"ro"}},
		},
		LibraryFolders: []string{"/usr/lib", "/usr/lib/vdpau"},
		Notes: []string{
			"the CDI spec asks for additionalGids, which containers here are not given",
			"the CDI spec's link /usr/lib/none was not made: it leads to no file that the container is given",
			"the CDI spec's hook /x/other was not run: programs of this machine are not run for a container",
		},
	}
	if diff := cmp.Diff(want, cdi.Merge(gpus)); diff != "" {
		t.Error(diff)
	}
}

func FuzzSpec(f *testing.F) {
	f.Add(spec("0 /dev/a", "all /dev/a"), false)
	f.Add("cdiVersion: 0.6.0\nkind: a.b/gpu\ndevices:\n- {name: x, containerEdits: {hooks: [{args: [a, create-symlinks, --link]}]}}\n", true)
	f.Fuzz(func(t *testing.T, text string, isYAML bool) {
		name := map[bool]string{false: "a.json", true: "a.yaml"}[isYAML]
		gpus, _, err := cdi.GPUs([]string{folder(t, map[string]string{name: text})})
		if err != nil {
			return
		}
		g := cdi.Merge(gpus)
		for _, n := range g.Nodes {
			if !filepath.IsAbs(n.Host()) || filepath.Clean(n.Path) != n.Path {
				t.Errorf("node %+v", n)
			}
		}
		for _, m := range g.Mounts {
			if !filepath.IsAbs(m.HostPath) || filepath.Clean(m.ContainerPath) != m.ContainerPath {
				t.Errorf("mount %+v", m)
			}
		}
	})
}
