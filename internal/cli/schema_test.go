package cli

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"longshore/internal/app"
	"longshore/internal/contract"
	"longshore/internal/task"
)

// compiled returns a contract's schema, ready to validate with, formats asserted.
func compiled(t *testing.T, name, document string) *jsonschema.Schema {
	t.Helper()
	s, err := schemaOf(name, []string{document})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(s.JSON))
	if err != nil {
		t.Fatalf("%s %s: %v", name, document, err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%s %s is no schema: %v", name, document, err)
	}
	return compiled
}

// value reads a document of any of the formats as JSON data.
func value(t *testing.T, file string, data []byte) any {
	t.Helper()
	var n *contract.Node
	var err error
	switch path.Ext(file) {
	case ".yml", ".yaml":
		n, err = contract.ParseYAML(data)
	case ".js":
		data = bytes.TrimSuffix(bytes.TrimSpace(bytes.TrimPrefix(data, []byte("module.exports ="))), []byte(";"))
		fallthrough
	default:
		n, err = contract.ParseJSON(data)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(n.JSON()))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

// documentOf names the document that a file of a package is, "" for other files.
func documentOf(t *testing.T, name, file string) string {
	t.Helper()
	list, err := schemas(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		for _, pattern := range s.Files {
			whole, err1 := path.Match(pattern, file)
			base, err2 := path.Match(pattern, path.Base(file))
			if err1 != nil || err2 != nil {
				t.Fatalf("%s: bad pattern %q", name, pattern)
			}
			if whole || base {
				return s.Document
			}
		}
	}
	if name == "iexec" && path.Base(file) == "iexec.js" {
		return "manifest"
	}
	return ""
}

// scaffold is the package to start from of a contract.
func scaffold(t *testing.T, name string) map[string]string {
	t.Helper()
	c, err := app.Contract(name)
	if err != nil {
		t.Fatal(err)
	}
	files, err := c.(contract.Scaffolder).Scaffold("a-package", "")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestSchemasOfPackages validates the documents of every example and of every package to start from.
func TestSchemasOfPackages(t *testing.T) {
	for _, name := range app.ContractNames() {
		seen := 0
		check := func(where, file string, data []byte) {
			document := documentOf(t, name, file)
			if document == "" {
				return
			}
			seen++
			if err := compiled(t, name, document).Validate(value(t, file, data)); err != nil {
				t.Errorf("%s %s: %v", where, file, err)
			}
		}
		for file, text := range scaffold(t, name) {
			check("the scaffold of "+name, file, []byte(text))
		}
		if seen == 0 {
			t.Errorf("%s: no document of the scaffold has a schema", name)
		}
		packages, err := filepath.Glob("../../examples/" + name + "/*/")
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range packages {
			before := seen
			fsys := os.DirFS(dir)
			err := fs.WalkDir(fsys, ".", func(file string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				data, err := fs.ReadFile(fsys, file)
				check(dir, file, data)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(dir); err == nil && info.IsDir() && seen == before {
				t.Errorf("%s: no document has a schema", dir)
			}
		}
	}
}

// schemaCases are documents of every dialect, and broken ones.
var schemaCases = []struct{ contract, file, text, broken string }{
	{contract: "meca", file: "config.json", text: `{}`},
	{contract: "meca", file: "config.json", text: `null`},
	{contract: "meca", file: "config.json", text: `{"resource": {"resource": {"cpu": 1.5, "mem": 64}}}`},
	{contract: "meca", file: "config.json", text: `{"cpu": 2, "memory": 64}`},
	{contract: "meca", file: "config.json", text: `{"resource": {"memory": 64, "extra": [1]}}`},
	{contract: "meca", file: "config.json", text: `{"resource": {"mem": 64, "memory": "x"}}`},
	{contract: "meca", file: "config.json", text: `{"resource": {"gpu_count": 1}}`},
	{contract: "meca", file: "config.json", broken: `[]`},
	{contract: "meca", file: "config.json", broken: `{"resource": {"cpu": "1"}}`},
	{contract: "meca", file: "config.json", broken: `{"resource": {"mem": 5}}`},
	{contract: "meca", file: "config.json", broken: `{"resource": {"memory": "x"}}`},
	{contract: "meca", file: "config.json", broken: `{"resource": {"resource": {"mem": 1.5}}}`},
	{contract: "meca", file: "config.json", broken: `{"resource": {"use_gpu": true}}`},
	{contract: "meca", file: "config.json", broken: `{"cpu": 0}`},

	{contract: "cytomine", file: "descriptor.yml", text: cytomineHead + "inputs: {}\noutputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", text: cytomineHead + `
inputs:
  a: {description: d, type: {id: array, subtype: {id: array, subtype: {id: integer, leq: 300.0}}, min_size: 1, max_size: 3}, dependencies: {matching: [inputs/b]}}
  b: {description: d, type: {id: array, subtype: string}}
  c: {description: d, type: {id: enumeration, values: [x, y]}, default: x}
  d: {description: d, type: {id: datetime, before: "2030-01-01T00:00:00Z"}, default: "2024-02-23T18:00:00Z"}
  e: {description: d, type: {id: file, max_file_size: 16 kbit, formats: [text]}}
  f: {description: d, type: {id: number, gt: 0.5, nan_allowed: true}, default: 1}
  g: {description: d, type: geometry, default: [any]}
outputs:
  o: {description: d, type: {id: image, formats: [wsidicom], max_width: 4}, default: 3, dependencies: {derived_from: inputs/e}}
`},
	{contract: "cytomine", file: "descriptor.yml", broken: strings.Replace(cytomineHead, `"1.0.0"`, "1.0", 1) + "inputs: {}\noutputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: strings.Replace(cytomineHead, "ada@example.com", "ada", 1) + "inputs: {}\noutputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: cytomineHead + "inputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: cytomineHead + "inputs: {a-b: {description: d, type: string}}\noutputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: cytomineHead + "inputs: {a: {description: d, type: array}}\noutputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: cytomineHead + "inputs: {a: {description: d, type: wsi}}\noutputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: cytomineHead + "inputs: {a: {description: d, type: integer, default: 1.5}}\noutputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: cytomineHead + "inputs: {a: {description: d, type: {id: enumeration, values: []}}}\noutputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: cytomineHead + "inputs: {a: {description: d, type: {id: array, subtype: {id: image, formats: [gif]}}}}\noutputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: cytomineHead + "inputs: {}\noutputs: {o: {description: d, type: string, dependencies: {derived_from: outputs/o}}}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: strings.Replace(cytomineHead, "{}", "{resources: {ram: 1Gxyz}}", 1) + "inputs: {}\noutputs: {}\n"},
	{contract: "cytomine", file: "descriptor.yml", broken: strings.Replace(cytomineHead, "{}", "{input_folder: /dev/x}", 1) + "inputs: {}\noutputs: {}\n"},

	{contract: "kaapana", file: "processing-container.json", text: `{"name": "n", "description": "d", "api_version": "1", "inputs": [], "outputs": [], "env": [], "command": null}`},
	{contract: "kaapana", file: "processing-container.json", text: kaapanaUse(`"inputs": [{"name": "in", "mounted_path": "/in", "scale_rule": {"complexity": "2n", "type": "limit", "mode": "sum", "target_dir": null}}]`)},
	{contract: "kaapana", file: "processing-container.json", text: kaapanaUse(`"inputs": [{"name": "in", "mounted_path": "in", "scale_rule": {"scale_factor": "2.0", "type": "request", "mode": "max_file_size"}}]`)},
	{contract: "kaapana", file: "processing-container.json", text: kaapanaUse(`"inputs": [], "resources": {"limits": {"memory": "1.Mi", "cpu": 2, "example.com/gpu": "1", "other": []}, "requests": null}`)},
	{contract: "kaapana", file: "processing-container.json", text: kaapanaUse(`"inputs": [], "env": [{"name": "A", "value": "1", "type": "odd", "choices": null, "adjustable": "yes"}], "more": 1`)},
	{contract: "kaapana", file: "processing-container.json", broken: `{"name": "n", "description": "d"}`},
	{contract: "kaapana", file: "processing-container.json", broken: `{"name": "n", "description": "d", "api_version": 2, "templates": []}`},
	{contract: "kaapana", file: "processing-container.json", broken: `{"name": "n", "description": "d", "inputs": [], "outputs": []}`},
	{contract: "kaapana", file: "processing-container.json", broken: kaapanaUse(`"inputs": [], "command": "sh"`)},
	{contract: "kaapana", file: "processing-container.json", broken: kaapanaUse(`"inputs": [], "env": [{"name": "A", "value": 5}]`)},
	{contract: "kaapana", file: "processing-container.json", broken: kaapanaUse(`"inputs": [{"name": "in", "mounted_path": "/proc/x"}]`)},
	{contract: "kaapana", file: "processing-container.json", broken: kaapanaUse(`"inputs": [{"name": "../in", "mounted_path": "/x"}]`)},
	{contract: "kaapana", file: "processing-container.json", broken: kaapanaUse(`"inputs": [{"name": "in", "mounted_path": "/x", "scale_rule": {"type": "limit", "mode": "sum"}}]`)},
	{contract: "kaapana", file: "processing-container.json", broken: kaapanaUse(`"inputs": [{"name": "in", "mounted_path": "/x", "scale_rule": {"scale_factor": 2.5, "type": "limit", "mode": "sum"}}]`)},
	{contract: "kaapana", file: "processing-container.json", broken: kaapanaUse(`"inputs": [], "resources": {"limits": {"memory": "5 Mi"}}`)},
	{contract: "kaapana", file: "task.json", text: `{"name": "t", "image": "i:1", "taskTemplate": "x", "env": null, "config": {"type": "docker"}}`},
	{contract: "kaapana", file: "task.json", text: `{"name": "t", "image": "i:1", "taskTemplate": "x", "inputs": [{"name": "a", "input": {"host_path": "data"}}], "outputs": [{"name": "b", "input": {"local_path": "o"}}]}`},
	{contract: "kaapana", file: "task.json", text: `{"name": "t", "image": "i:1", "taskTemplate": {"identifier": "x", "description": "d", "inputs": [], "outputs": [], "env": []}}`},
	{contract: "kaapana", file: "task.json", broken: `{"name": "t", "taskTemplate": "x"}`},
	{contract: "kaapana", file: "task.json", broken: `{"name": "t", "image": "i:1", "taskTemplate": 5}`},
	{contract: "kaapana", file: "task.json", broken: `{"name": "t", "image": "i:1", "taskTemplate": "x", "inputs": [{"name": "a", "volume_source": {}}]}`},
	{contract: "kaapana", file: "task.json", broken: `{"name": "t", "image": "i:1", "taskTemplate": "x", "env": [{"name": "A", "value": null}]}`},
	{contract: "kaapana", file: "task.json", broken: `{"name": "t", "image": "i:1", "taskTemplate": "x", "inputs": null}`},

	{contract: "iexec", file: "iexec.json", text: `{"name": "only a name"}`},
	{contract: "iexec", file: "iexec.json", text: `{"name": "v1", "app": {"type": "DOCKER", "envvars": "XWDOCKERIMAGE=org/image:tag"}, "work": {"cmdline": "10"}}`},
	{contract: "iexec", file: "iexec.json", text: `{"name": "v1", "data": {"type": "DOCKER", "envvars": "XWDOCKERIMAGE=org/image:tag"}}`},
	{contract: "iexec", file: "iexec.json", text: `{"dataset": {"owner": "0x0", "name": "d", "multiaddr": "/ipfs/x", "checksum": ""}}`},
	{contract: "iexec", file: "iexec.json", text: iexecLater(`"type": null`, `"params": "[\"a\", \"b\"]", "trust": "1", "tag": "gpu"`)},
	{contract: "iexec", file: "iexec.json", text: iexecLater(`"mrenclave": "a|b|c|d"`, `"params": {"iexec_args": "x", "iexec_input_files": ["https://example.com/a"]}, "tag": ["gpu"]`)},
	{contract: "iexec", file: "iexec.json", text: iexecLater(`"mrenclave": {"provider": "gramine", "fingerprint": "`+strings.Repeat("ab", 32)+`"}`, `"trust": 3`)},
	{contract: "iexec", file: "iexec.json", broken: `{"buyConf": {}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"app": []}`},
	{contract: "iexec", file: "iexec.json", broken: `{"app": {"owner": "0x0", "name": "no image", "type": "DOCKER"}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"name": "v1", "app": {"type": "BINARY"}, "work": {}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"app": {"name": "v2", "params": {"type": "JAR", "envvars": "XWDOCKERIMAGE=a:1"}}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"app": {"name": "v2", "params": {"type": "DOCKER", "envvars": "XWDOCKERIMAGE"}}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"app": {"params": {"type": "DOCKER", "envvars": "XWDOCKERIMAGE=a:1"}}, "order": {"buy": {"params": {"dirinuri": "small.mp4"}}}}`},
	{contract: "iexec", file: "iexec.json", broken: iexecLater(`"checksum": "0xAB"`, ``)},
	{contract: "iexec", file: "iexec.json", broken: iexecLater(`"mrenclave": "a|b"`, ``)},
	{contract: "iexec", file: "iexec.json", broken: iexecLater(`"mrenclave": {"framework": "SCONE", "fingerprint": "`+strings.Repeat("ab", 32)+`"}`, ``)},
	{contract: "iexec", file: "iexec.json", broken: iexecLater(`"type": "DOCKER"`, `"trust": -1`)},
	{contract: "iexec", file: "iexec.json", broken: iexecLater(`"type": "DOCKER"`, `"tag": ["sgx"]`)},
	{contract: "iexec", file: "iexec.json", text: iexecLater(`"type": "DOCKER"`, `"params": {"iexec_input_files": "https://a.example/x, HTTP://b.example/y", "iexec_result_storage_provider": "", "bulk_cid": 7}`)},
	{contract: "iexec", file: "iexec.json", text: `{"app": {"type": "DOCKER", "envvars": "XWDOCKERIMAGE=org/image:tag"}, "work": {"dirinuri": "file:///data/small.mp4"}}`},
	{contract: "iexec", file: "iexec.json", broken: iexecLater(`"type": "DOCKER"`, `"params": {"iexec_input_files": "https://a.example/x, y"}`)},
	{contract: "iexec", file: "iexec.json", broken: iexecLater(`"type": "DOCKER"`, `"trust": "1e3"`)},
	{contract: "iexec", file: "iexec.json", broken: `{"name": "v1", "app": null, "work": {}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"name": "v1", "data": {}, "work": {}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"data": {"type": "DOCKER"}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"dataset": {"checksum": "0xAB"}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"dataset": {}, "order": {"datasetorder": {"salt": 5}}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"name": "v1", "app": {"type": "DOCKER", "envvars": "XWDOCKERIMAGE=a:1"}, "work": {"dirinuri": "http://a.example/"}}`},
	{contract: "iexec", file: "iexec.json", broken: `{"name": "v1", "app": {"type": "DOCKER", "envvars": "XWDOCKERIMAGE=a:1"}, "work": {"dirinuri": ""}}`},

	{contract: "racetrack", file: "job.yaml", text: racetrackHead + "lang: docker-proxy\nwrapper_properties: {user_module_port: \"7004\", more: 1}\n"},
	{contract: "racetrack", file: "job.yaml", text: racetrackHead + "jobtype: docker-proxy:latest\nreplicas: 2\nresources: {memory_max: 64Mi, cpu_max: 2}\nruntime_env: {PORT: 8080, DEBUG: true}\nlabels: {a: [1]}\nversion: 1.0.0-rc.1+b\n"},
	{contract: "racetrack", file: "job.yaml", text: racetrackHead + "jobtype: docker-proxy:latest\nversion: null\ndocker: {dockerfile_path: null}\nlang: null\njobtype_extra: {proxy_mode: forward}\npython: null\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "lang: docker-proxy\njobtype: docker-proxy:latest\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "jobtype: docker-proxy:latest\nreplica: 1\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "jobtype: docker-proxy:latest\nreplicas: 51\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "jobtype: docker-proxy:latest\nversion: v1\n"},
	{contract: "racetrack", file: "job.yaml", broken: strings.Replace(racetrackHead, "git:", "git: {remote: \"https://h/r\", branch: a..b}\nlabels:", 1) + "jobtype: docker-proxy:latest\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "jobtype: docker-proxy:latest\njobtype_extra: {user_module_port: \"65536\"}\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "jobtype: docker-proxy:latest\nreplicas: \"65536\"\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "jobtype: docker-proxy:latest\nruntime_env: {\"A\\nB\": x}\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "jobtype: docker-proxy:latest\nresources: {memory_max: 64KB}\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "jobtype: docker-proxy:latest\njobtype_extra: {}\npython: {}\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "jobtype: docker-proxy:latest\njobtype_extra: {user_module_port: 70000}\n"},
	{contract: "racetrack", file: "job.yaml", broken: racetrackHead + "jobtype: docker-proxy:latest\nruntime_env: {A: [1]}\n"},
	{contract: "racetrack", file: "job.yaml", broken: strings.Replace(racetrackHead, "https:", "http:", 1) + "jobtype: docker-proxy:latest\n"},
}

const cytomineHead = `$schema: https://cytomine.com/schema-store/tasks/task.v0.json
name: A task
namespace: com.example.task
version: "1.0.0"
authors: [{first_name: Ada, last_name: Example, organization: Example, email: ada@example.com}]
configuration: {}
`

const racetrackHead = `name: job
owner_email: nobody@example.com
git: {remote: https://github.com/example/job}
`

// kaapanaUse is a document with one template; the members given come first, so that lists that they lack are empty.
func kaapanaUse(members string) string {
	for _, list := range []string{"inputs", "outputs", "env"} {
		if !strings.Contains(members, `"`+list+`":`) {
			members += `, "` + list + `": []`
		}
	}
	return `{"name": "n", "description": "d", "templates": [{"identifier": "x", "description": "d", ` + members + `}]}`
}

func iexecLater(app, conf string) string {
	return `{"app": {"owner": "0x0", "name": "later", "multiaddr": "docker.io/org/later:1.0.0", ` + app + `}, "buyConf": {` + conf + `}}`
}

// TestSchemasAgreeWithLoad holds the schemas to the code: every dialect passes both, every broken document fails both.
func TestSchemasAgreeWithLoad(t *testing.T) {
	a, err := app.New(app.Config{Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range schemaCases {
		text := c.text + c.broken
		schema := compiled(t, c.contract, documentOf(t, c.contract, c.file))
		if err := schema.Validate(value(t, c.file, []byte(text))); (err == nil) == (c.broken != "") {
			t.Errorf("%s: schema: %v\n%s", c.contract, err, text)
		}
		dir := t.TempDir()
		t.Chdir(dir) // where the paths of a task.json are looked up
		given := packageWith(t, dir, c.contract, c.file, text)
		p, err := a.Open(context.Background(), given, app.OpenOptions{Contract: c.contract})
		if err != nil {
			t.Fatal(err)
		}
		if task.HasErrors(p.Findings) != (c.broken != "") {
			t.Errorf("%s: Load: %v\n%s", c.contract, p.Findings, text)
		}
		p.Close()
	}
}

// packageWith writes the package to start from with one file replaced, and returns what to open.
func packageWith(t *testing.T, dir, name, file, text string) string {
	t.Helper()
	files := scaffold(t, name)
	for n := range files {
		if path.Base(n) == file || name == "iexec" && strings.HasPrefix(n, "iexec.") {
			file = strings.TrimSuffix(n, path.Ext(n)) + path.Ext(file)
			delete(files, n)
		}
	}
	files[file] = text
	for n, content := range files {
		to := filepath.Join(dir, filepath.FromSlash(n))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if file == "task.json" {
		return filepath.Join(dir, file)
	}
	return dir
}
