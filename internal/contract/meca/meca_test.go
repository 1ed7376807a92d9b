package meca_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"longshore/internal/contract"
	"longshore/internal/contract/meca"
	"longshore/internal/task"
)

// good is a package without findings.
func good() map[string]string {
	return map[string]string{
		"Dockerfile":         "FROM python:3.9-slim\nCOPY /src .\nEXPOSE 8080\nCMD [\"python\", \"app.py\"]\n",
		"src/app.py":         "print('meca-init-done', flush=True)\n",
		"description.txt":    "what it does\n",
		"name.txt":           "name of the task\n",
		"example_input.bin":  `{"a": 1}`,
		"example_output.bin": `{"a": 1}`,
		"config.json":        `{"resource": {"cpu": 1, "mem": 128, "use_gpu": false, "gpu_count": 0}}`,
	}
}

// with returns the good package with changed files; a file with the content "-" is left out.
func with(changes map[string]string) map[string]string {
	files := good()
	for p, s := range changes {
		if files[p] = s; s == "-" {
			delete(files, p)
		}
	}
	return files
}

// folder writes files into a fresh folder; paths ending in a slash are folders.
func folder(t *testing.T, files map[string]string) contract.Source {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pkg")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for p, s := range files {
		at := filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(p, "/") {
			if err := os.MkdirAll(at, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(at, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return source(t, dir)
}

func source(t *testing.T, dir string) contract.Source {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return contract.Source{Given: "pkg", FS: root.FS(), Dir: dir}
}

// said returns findings as one line each, without Why and Mend.
func said(fs []task.Finding) []string {
	var lines []string
	for _, f := range fs {
		line := string(f.Severity) + " " + f.Rule + " " + f.What
		if p := f.Position(); p != "" {
			line = p + ": " + line
		}
		lines = append(lines, line)
	}
	return lines
}

func config(s string) map[string]string { return with(map[string]string{"config.json": s}) }

func docker(s string) map[string]string {
	return with(map[string]string{"Dockerfile": "FROM busybox AS Base\n" + s + "\nEXPOSE 8080\n"})
}

func TestLoadFindings(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"good", good(), nil},
		{"extra file", with(map[string]string{"README.md": "x"}), nil},
		{"nothing", map[string]string{}, []string{
			"Dockerfile: error MECA001 Missing pkg/Dockerfile", "src: error MECA001 Missing pkg/src",
			"description.txt: error MECA001 Missing pkg/description.txt", "name.txt: error MECA001 Missing pkg/name.txt",
			"example_input.bin: error MECA001 Missing pkg/example_input.bin", "example_output.bin: error MECA001 Missing pkg/example_output.bin",
			"config.json: error MECA001 Missing pkg/config.json",
		}},
		{"without src", with(map[string]string{"src/app.py": "-", "Dockerfile": "FROM a\nEXPOSE 8080\n#meca-init-done"}),
			[]string{"src: error MECA001 Missing pkg/src"}},
		{"empty src", with(map[string]string{"src/app.py": "-", "src/": ""}), []string{
			"src: error MECA002 Empty pkg/src"}},
		{"one fault, one finding: src and what is in it", with(map[string]string{"src/app.py": "-", "Dockerfile": "FROM a\nCOPY src/app.py /\nCOPY src /\nEXPOSE 8080\n"}), []string{
			"src: error MECA001 Missing pkg/src"}},
		{"one fault, one finding: src is a file", with(map[string]string{"src/app.py": "-", "src": "x", "Dockerfile": "FROM a\nCOPY src/app.py /\nEXPOSE 8080\n"}), []string{
			"src: error MECA003 src must be a directory"}},
		{"one fault, one finding: UTF-16", with(map[string]string{"name.txt": "\xff\xfea\x00b\x00"}), []string{
			"name.txt:1:1: warning MECA011 name.txt is not UTF-8"}},
		{"one fault, one finding: use_gpu", config(`{"resource": {"use_gpu": 1, "gpu_count": 1}}`), []string{
			"config.json:1:26: error MECA005 config.json: resource.use_gpu must be boolean, found number"}},
		{"script with CR LF", with(map[string]string{"Dockerfile": "FROM a\nCOPY src /app\nEXPOSE 8080\nCMD [\"sh\", \"/app/run.sh\"]\n", "src/run.sh": "python app.py\r\n"}), []string{
			"Dockerfile:4:1: warning MECA027 src/run.sh ends its lines with CR LF; it cannot be started in the container"}},
		{"lines end with CR", with(map[string]string{"name.txt": "a\rb\r", "description.txt": "a\rb\r"}), []string{
			"name.txt:2: warning MECA011 name.txt has 2 lines; only the first is shown"}},
		{"src is a file", with(map[string]string{"src/app.py": "-", "src": "meca-init-done"}), []string{"src: error MECA003 src must be a directory"}},
		{"entry is an empty directory", with(map[string]string{"name.txt": "-", "name.txt/": ""}), []string{
			"name.txt: error MECA002 Empty pkg/name.txt", "name.txt: error MECA003 name.txt must be a file, found a directory"}},

		{"config broken", config("{"), []string{"config.json:1:2: error MECA004 config.json: invalid JSON at line 1, column 2: the document ends too early"}},
		{"config not UTF-8", config("{\n\"\xff\": 1}"), []string{"config.json:2:2: error MECA004 config.json: invalid JSON at line 2, column 2: the file is not UTF-8"}},
		{"config a list", config(" []"), []string{"config.json:1:2: error MECA004 config.json: invalid JSON at line 1, column 2: must be an object, found array"}},
		{"config empty", config(""), []string{"config.json:1:1: error MECA004 config.json: invalid JSON at line 1, column 1: the file is empty"}},
		{"config null", config("null"), []string{"config.json:1:1: note MECA018 config.json has no resource object; using 1 CPU, 128 MB, no GPU"}},
		{"config {}", config("{}"), []string{"config.json:1:1: note MECA018 config.json has no resource object; using 1 CPU, 128 MB, no GPU"}},
		{"resource {}", config(`{"resource": {}}`), []string{"config.json:1:14: note MECA018 config.json has no resource object; using 1 CPU, 128 MB, no GPU"}},
		{"resource null", config(`{"resource": null}`), []string{"config.json:1:1: note MECA018 config.json has no resource object; using 1 CPU, 128 MB, no GPU"}},
		{"resource a list", config(`{"resource": [1]}`), []string{"config.json:1:14: error MECA005 config.json: resource must be object, found array"}},
		{"wrong types", config("{\"resource\": {\n\"cpu\": \"2\",\n\"mem\": true,\n\"use_gpu\": 1,\n\"gpu_count\": null,\n\"use_sgx\": \"no\"}}"), []string{
			"config.json:2:8: error MECA005 config.json: resource.cpu must be number, found string",
			"config.json:3:8: error MECA005 config.json: resource.mem must be number, found boolean",
			"config.json:4:12: error MECA005 config.json: resource.use_gpu must be boolean, found number",
			"config.json:5:14: error MECA005 config.json: resource.gpu_count must be number, found null",
			"config.json:6:12: error MECA005 config.json: resource.use_sgx must be boolean, found string",
		}},
		{"out of range", config(`{"resource": {"cpu": 0.25, "mem": 5, "gpu_count": -1}}`), []string{
			"config.json:1:22: error MECA006 config.json: resource.cpu = 0.25 is out of range (more than 0, at most one decimal)",
			"config.json:1:35: error MECA006 config.json: resource.mem = 5 is out of range (an integer of at least 6)",
			"config.json:1:51: error MECA006 config.json: resource.gpu_count = -1 is out of range (an integer of at least 0)",
		}},
		{"far out of range", config(`{"resource": {"cpu": 1e99, "mem": 9223372036854775807, "gpu_count": 1e9}}`), []string{
			"config.json:1:22: error MECA006 config.json: resource.cpu = 1e99 is out of range (more than 0, at most one decimal)",
			"config.json:1:35: error MECA006 config.json: resource.mem = 9223372036854775807 is out of range (an integer of at least 6)",
			"config.json:1:69: error MECA006 config.json: resource.gpu_count = 1e9 is out of range (an integer of at least 0)",
		}},
		{"negative cpu, fractional mem", config(`{"resource": {"cpu": -1, "mem": 6.5}}`), []string{
			"config.json:1:22: error MECA006 config.json: resource.cpu = -1 is out of range (more than 0, at most one decimal)",
			"config.json:1:33: error MECA006 config.json: resource.mem = 6.5 is out of range (an integer of at least 6)",
		}},
		{"use_gpu without count", config(`{"resource": {"use_gpu": true}}`), []string{
			"config.json:1:26: error MECA007 config.json: use_gpu is true but gpu_count is 0; set gpu_count to 1 or more"}},
		{"SGX sample", config(`{"resource":{"cpu":1,"memory":128,"use_sgx":true}}`), []string{
			"config.json:1:31: warning MECA008 config.json: resource.memory is not in the MECA format; used as mem = 128 MB",
			"config.json:1:45: note MECA025 config.json: use_sgx is true; the task needs an SGX enclave",
		}},
		{"mem and memory", config(`{"resource":{"mem":64,"memory":128}}`), []string{
			"config.json:1:23: warning MECA009 config.json: key resource.memory is unknown and ignored"}},
		{"top level", config(`{"cpu": 2, "colour": "red"}`), []string{
			`config.json:1:2: warning MECA009 config.json: resource fields found at top level; put them under "resource"`,
			"config.json:1:12: warning MECA009 config.json: key colour is unknown and ignored",
		}},
		{"unknown keys", config(`{"resources": {}, "resource": {"cpus": 2, "\u001b[31m": 1, "mem": 64, "mem": 32}, "cpu": 3}`), []string{
			"config.json:1:2: warning MECA009 config.json: key resources is unknown and ignored",
			"config.json:1:32: warning MECA009 config.json: key resource.cpus is unknown and ignored",
			`config.json:1:43: warning MECA009 config.json: key "resource.\x1b[31m" is unknown and ignored`,
			"config.json:1:71: warning MECA009 config.json: key mem is given twice; the last one counts",
			"config.json:1:83: warning MECA009 config.json: key cpu is unknown and ignored",
		}},
		{"nested too deeply", config(`{"resource": {"cpu": 1, "resource": {"cpu": 2, "resource": {}}}}`), []string{
			"config.json:1:15: warning MECA009 config.json: key resource.cpu is unknown and ignored",
			"config.json:1:48: warning MECA009 config.json: key resource.resource.resource is unknown and ignored",
		}},
		{"nested list", config(`{"resource": {"resource": []}}`), []string{
			"config.json:1:27: error MECA005 config.json: resource.resource must be object, found array"}},
		{"resource null beside fields", config(`{"resource": null, "cpu": 2}`), []string{
			`config.json:1:20: warning MECA009 config.json: resource fields found at top level; put them under "resource"`}},
		{"gpus without use_gpu", config(`{"resource": {"gpu_count": 2}}`), []string{
			"config.json:1:28: warning MECA010 config.json: gpu_count is ignored because use_gpu is false"}},

		{"blank texts", with(map[string]string{"name.txt": "\ufeff \n", "description.txt": ""}), []string{
			"description.txt: warning MECA011 description.txt is empty", "name.txt: warning MECA011 name.txt is empty"}},
		{"texts that are none", with(map[string]string{"name.txt": "a\xff", "description.txt": "red \x1b[31m"}), []string{
			"description.txt: warning MECA011 description.txt holds control characters; they are left out",
			"name.txt:1:2: warning MECA011 name.txt is not UTF-8",
		}},
		{"three lines", with(map[string]string{"name.txt": "one\r\ntwo\n\nfour\n"}), []string{
			"name.txt:2: warning MECA011 name.txt has 4 lines; only the first is shown"}},
		{"input of a shell", with(map[string]string{"example_input.bin": `'{\"prompt\": \"cat\"}'`}), []string{
			`example_input.bin:1:1: warning MECA012 example_input.bin is not valid JSON (invalid character '\'' looking for beginning of value); it will be sent as it is`}},
		{"input not UTF-8", with(map[string]string{"example_input.bin": "\"\xff\""}), []string{
			"example_input.bin:1:2: warning MECA012 example_input.bin is not valid JSON (not UTF-8); it will be sent as it is"}},
		{"no input", with(map[string]string{"example_input.bin": ""}), []string{
			"example_input.bin:1:1: warning MECA012 example_input.bin is not valid JSON (the file is empty); it will be sent as it is"}},
		{"binary output", with(map[string]string{"example_output.bin": "\x89PNG\r\n\x1a\nrest"}), []string{
			"example_output.bin:1:1: warning MECA013 example_output.bin is binary; MECA clients receive results as text, so the example cannot match"}},
		{"damaged output", with(map[string]string{"example_output.bin": "\x89PNG\n\x1a\nrest"}), []string{
			"example_output.bin:1:1: warning MECA013 example_output.bin is binary; MECA clients receive results as text, so the example cannot match",
			"example_output.bin: warning MECA020 example_output.bin: PNG signature damaged (CR LF turned into LF); the file is corrupt",
		}},

		{"copy of what is not there", docker("COPY app.py other.py src/nope* $FILE ./\nADD https://example.org/x ../../src/app.py y"), []string{
			"Dockerfile:2: error MECA014 Dockerfile line 2: COPY app.py: not in the folder",
			"Dockerfile:2: error MECA014 Dockerfile line 2: COPY other.py: not in the folder",
			"Dockerfile:2: error MECA014 Dockerfile line 2: COPY src/nope*: not in the folder",
		}},
		{"copy from outside src", docker("COPY . /app\nADD *.txt /app/\nCOPY s*c Dockerfile /app/\nCOPY --from=base /nope /\nCOPY <<EOF /x\ntext\nEOF"), []string{
			"Dockerfile:2: warning MECA015 Dockerfile line 2: . is outside src/; MECAnywhere Desktop builds only from Dockerfile and src/",
			"Dockerfile:3: warning MECA015 Dockerfile line 3: *.txt is outside src/; MECAnywhere Desktop builds only from Dockerfile and src/",
		}},
		{"copy of what .dockerignore leaves out", with(map[string]string{
			"Dockerfile":    "FROM a\nCOPY src/app.py src/*.pyc src src/data /app/\nCOPY . /all\nCOPY src/*.* /app/\nEXPOSE 8080\n",
			".dockerignore": "# nothing but\n*\n!src\nsrc/*.pyc\n", "src/old.pyc": "x", "src/data/x.pyc": "x",
		}), []string{
			"Dockerfile:2: error MECA014 Dockerfile line 2: COPY src/*.pyc: left out of the build context by .dockerignore",
			"Dockerfile:3: warning MECA015 Dockerfile line 3: . is outside src/; MECAnywhere Desktop builds only from Dockerfile and src/",
		}},
		{"copy of a folder that .dockerignore leaves out", with(map[string]string{
			"Dockerfile": "FROM a\nCOPY src/data /app/\nEXPOSE 8080\n", "Dockerfile.dockerignore": "**/data\n", ".dockerignore": "*", "src/data/x": "x",
		}), []string{
			"Dockerfile:2: error MECA014 Dockerfile line 2: COPY src/data: left out of the build context by .dockerignore",
		}},
		{"a .dockerignore that is none", with(map[string]string{".dockerignore": "src/[\n"}), nil},
		{"CMD that is no JSON", with(map[string]string{
			"Dockerfile": "FROM a\nEXPOSE 8080\nCMD [\"sh\"]\nCMD ['python', 'app.py']\nENTRYPOINT [\"python\", app.py]\n",
		}), []string{
			"Dockerfile:4: warning MECA026 Dockerfile line 4: CMD is in brackets but no JSON; it is taken for words of a shell",
			"Dockerfile:5: warning MECA026 Dockerfile line 5: ENTRYPOINT is in brackets but no JSON; it is taken for words of a shell",
		}},
		{"CMD of a shell", with(map[string]string{"Dockerfile": "FROM a\nEXPOSE 8080\nENTRYPOINT [\"[\"]\nCMD [ -f x ] && python app.py\n"}), nil},
		{"no EXPOSE", with(map[string]string{"Dockerfile": "FROM a AS b\nFROM b\nEXPOSE 80 8080/udp x-y\nRUN echo meca-init-done\n"}), []string{
			"Dockerfile:2: warning MECA016 Dockerfile does not EXPOSE 8080; MECA tasks must listen on port 8080"}},
		{"EXPOSE of an earlier stage", with(map[string]string{"Dockerfile": "FROM a as One\nEXPOSE 8000-9000\nFROM x as y\nFROM one\nEXPOSE 1\n"}), nil},
		{"EXPOSE by a variable", with(map[string]string{"Dockerfile": "FROM a\nENV PORT 8080\nEXPOSE $PORT/tcp\n"}), nil},
		{"broken Dockerfile", with(map[string]string{"Dockerfile": "FROM a\nCOPPY b c\n"}), []string{
			"Dockerfile:2: error MECA022 Dockerfile line 2: unknown instruction: COPPY (did you mean COPY?)"}},
		{"empty Dockerfile", with(map[string]string{"Dockerfile": ""}), []string{
			"Dockerfile:1: error MECA022 Dockerfile line 1: file with no instructions"}},
		{"Dockerfile without FROM", with(map[string]string{"Dockerfile": "ARG a=1\n"}), []string{"Dockerfile: error MECA022 Dockerfile has no FROM"}},
		{"no ready mark", with(map[string]string{"src/app.py": "print('ready')", "description.txt": "meca-init-done"}), []string{
			"warning MECA024 no file of the folder mentions meca-init-done"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			loaded, found := meca.New().Load(folder(t, c.files), contract.Options{})
			if d := cmp.Diff(c.want, said(found)); d != "" {
				t.Error(d)
			}
			if loaded == nil {
				t.Error("no task to show")
			}
			for _, f := range found {
				if f.Severity != task.SeverityNote && f.Mend == "" {
					t.Errorf("nothing to mend %s with", f.Rule)
				}
			}
		})
	}
}

func TestLoadMends(t *testing.T) {
	for _, c := range []struct {
		files     map[string]string
		rule, say string
	}{
		{with(map[string]string{"Dockerfile": "-", "dockerfile": "FROM a"}), "MECA001", "rename dockerfile to Dockerfile"},
		{with(map[string]string{"example_input.bin": "-", "example_input.json": "{}"}), "MECA001", "rename example_input.json to example_input.bin"},
		{with(map[string]string{"name.txt": "-", "nam.txt": "x"}), "MECA001", "rename nam.txt to name.txt"},
		{config("{\n \"a\": 1,\n}"), "MECA004", "remove the comma before }"},
		{config(`{"resource": {"cpus": 2}}`), "MECA009", "did you mean cpu?"},
		{config(`{"resource": {"useGpu": true}}`), "MECA009", "did you mean use_gpu?"},
		{config(`{"resources": {"cpu": 2}}`), "MECA009", "did you mean resource?"},
		{config(`{"resource": {"cpu": 2}, "mem": 64}`), "MECA009", "move it into resource"},
		{docker("COPY app.py app.py"), "MECA014", "did you mean src/app.py?"},
		{config(`{"resource": {"mem ": 64}}`), "MECA009", "did you mean mem?"},
		{config(`{"CPU": 2, "resource": {}}`), "MECA009", "did you mean cpu, within resource?"},
		{config("\x1b[0m"), "MECA004", "remove the control character, or save the file as UTF-8 text"},
		{config("cpu = 1"), "MECA004", `write a JSON object, such as {"resource": {"cpu": 1, "mem": 128}}`},
		{with(map[string]string{"Dockerfile": ""}), "MECA022", "begin with FROM and the image to build on, such as FROM debian:bookworm-slim"},
		{with(map[string]string{"name.txt": "-", "name.txt/": ""}), "MECA002", "put a file of this name in its place"},
	} {
		_, found := meca.New().Load(folder(t, c.files), contract.Options{})
		var mends []string
		for _, f := range found {
			if f.Rule == c.rule {
				mends = append(mends, f.Mend)
			}
		}
		if len(mends) == 0 || mends[0] != c.say {
			t.Errorf("%s: mends %q, want %q first", c.rule, mends, c.say)
		}
	}
}

// A hostile package neither floods its reader nor keeps the machine busy.
func TestLoadBounds(t *testing.T) {
	var keys, copies strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&keys, `"k%d": 1, `, i)
	}
	_, found := meca.New().Load(folder(t, config(`{`+keys.String()+`"resource": {"cpu": 1}}`)), contract.Options{})
	if n := len(found); n != 101 || !strings.Contains(found[100].What, "4900 more findings") {
		t.Errorf("%d findings, the last %q", n, found[n-1].What)
	}

	for range 900 {
		copies.WriteString("COPY src/*/* /a/\n")
	}
	files := docker(copies.String())
	for i := range 2000 {
		files[fmt.Sprintf("src/d/f%d", i)] = ""
	}
	src := memory(files)
	reads := &counted{FS: src.FS}
	src.FS = reads
	_, found = meca.New().Load(src, contract.Options{})
	if len(found) > 0 || reads.entries > 1_100_000 {
		t.Errorf("%d entries looked at, findings %v", reads.entries, said(found))
	}
}

// counted counts the entries of the folders that are read.
type counted struct {
	fs.FS
	entries int
}

func (c *counted) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(c.FS, name)
	c.entries += len(list)
	return list, err
}

// What the schema accepts is what Load has no error for.
func TestSchemaAgrees(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(meca.New().Schemas()[0].JSON))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("config")
	if err != nil {
		t.Fatal(err)
	}
	values := []string{"0", "1", "-1", "0.5", "6", "128", "128.0", "1e2", "null", `""`, `"1"`, "true", "false", "[]", "{}", "1e400", "8796093022208"}
	for _, form := range []string{`{"resource":{"%s":%s}}`, `{"%s":%s}`, `{"resource":{"resource":{"%s":%s}}}`, `{"resource":{"use_gpu":true,"gpu_count":1,"%s":%s}}`} {
		for _, field := range []string{"cpu", "mem", "use_gpu", "gpu_count", "use_sgx", "memory", "resource", "CPU", "x"} {
			for _, v := range values {
				text := fmt.Sprintf(form, field, v)
				n, err := contract.ParseJSON([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				given, err := jsonschema.UnmarshalJSON(bytes.NewReader(n.JSON()))
				if err != nil {
					t.Fatal(err)
				}
				fits := schema.Validate(given) == nil
				_, found := meca.New().Load(memory(config(text)), contract.Options{})
				if wrong := slices.ContainsFunc(found, func(f task.Finding) bool { return f.Severity == task.SeverityError }); fits == wrong {
					t.Errorf("%s: the schema accepts it: %v; findings %q", text, fits, said(found))
				}
			}
		}
	}
}

func TestLoadTree(t *testing.T) {
	src := folder(t, good())
	link := func(target, at string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(src.Dir, at)); err != nil {
			t.Fatal(err)
		}
	}
	link("/etc/passwd", "src/absolute")
	link("../../secret", "src/above")
	link("app.py", "src/inside")
	link("loop", "src/loop")
	link("nowhere", "src/broken")
	link(".", "src/here")
	link("src/here/../../..", "roundabout")
	link("src/here/..", "back")
	if err := syscall.Mkfifo(filepath.Join(src.Dir, "src", "z"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(src.Dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	link("/etc", ".git/x")
	_, found := meca.New().Load(src, contract.Options{})
	const dropped = ": symbolic link; MECA's IPFS client silently drops it – replace it with a file"
	want := []string{
		"back: warning MECA021 back" + dropped,
		"roundabout: error MECA017 roundabout: symbolic link leaves the folder",
		"src/above: error MECA017 src/above: symbolic link leaves the folder",
		"src/absolute: error MECA017 src/absolute: symbolic link leaves the folder",
		"src/broken: warning MECA021 src/broken" + dropped,
		"src/here: warning MECA021 src/here" + dropped,
		"src/inside: warning MECA021 src/inside" + dropped,
		"src/loop: warning MECA021 src/loop" + dropped,
		"src/z: error MECA017 src/z: not a regular file",
	}
	if d := cmp.Diff(want, said(found)); d != "" {
		t.Error(d)
	}
}

// An entry that is a named pipe is not opened: that would wait for a writer.
func TestLoadPipes(t *testing.T) {
	names := []string{"Dockerfile", "description.txt", "name.txt", "example_input.bin", "example_output.bin", "config.json"}
	src := folder(t, map[string]string{"src/app.py": "meca-init-done"})
	var want []string
	for _, n := range names {
		if err := syscall.Mkfifo(filepath.Join(src.Dir, n), 0o644); err != nil {
			t.Fatal(err)
		}
		want = append(want, n+": error MECA017 "+n+": not a regular file")
	}
	slices.Sort(want)
	got, found := meca.New().Load(src, contract.Options{})
	if d := cmp.Diff(want, said(found)); d != "" {
		t.Error(d)
	}
	if _, err := meca.New().Examples(src, got); task.CodeOf(err) != task.CodePackage {
		t.Errorf("examples: %v", err)
	}
}

// A pattern that meets a circle of links ends.
func TestLoadCircle(t *testing.T) {
	src := folder(t, docker("COPY "+strings.Repeat("*/", 60)+"x src/app.?y src/[ab]*.py /"))
	for _, link := range []string{"src/a", "src/b", "c", "d"} {
		if err := os.Symlink(".", filepath.Join(src.Dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	_, found := meca.New().Load(src, contract.Options{})
	if !task.HasErrors(found) || found[0].Rule != "MECA014" || found[1].Rule != "MECA021" {
		t.Error(said(found))
	}
}

// An entry that is a link out of the folder is never read, and is reported once.
func TestLoadEntryLeaves(t *testing.T) {
	src := folder(t, with(map[string]string{"name.txt": "-", "description.txt": "-"}))
	if err := os.Symlink("/etc/hostname", filepath.Join(src.Dir, "name.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("config.json", filepath.Join(src.Dir, "description.txt")); err != nil {
		t.Fatal(err)
	}
	loaded, found := meca.New().Load(src, contract.Options{})
	want := []string{
		"description.txt: warning MECA021 description.txt: symbolic link; MECA's IPFS client silently drops it – replace it with a file",
		"name.txt: error MECA017 name.txt: symbolic link leaves the folder",
	}
	if d := cmp.Diff(want, said(found)); d != "" {
		t.Error(d)
	}
	if loaded.Name != "pkg" || !strings.Contains(loaded.Description, "resource") {
		t.Errorf("name %q, description %q", loaded.Name, loaded.Description)
	}
}

func TestLoadTask(t *testing.T) {
	src := folder(t, with(map[string]string{
		"name.txt":    " K-Nearest Néighbours! \n",
		"config.json": `{"resource": {"cpu": 1.5, "mem": 1024, "use_gpu": true, "gpu_count": 2}}`,
	}))
	got, found := meca.New().Load(src, contract.Options{})
	if len(found) > 0 {
		t.Errorf("findings: %v", said(found))
	}
	want := &task.Task{
		Contract: "meca", Dialect: "MECA task folder", Name: "K-Nearest Néighbours!", Description: "what it does",
		Image:    task.ImageSource{Kind: task.ImageBuild, Name: "meca/k-nearest-n-ighbours:latest", Context: src.Dir, Dockerfile: "Dockerfile"},
		Exchange: task.HTTP,
		Parameters: []task.Parameter{
			{Name: "input", Direction: task.Input, Title: "request body", Description: "sent unchanged as the body of POST /",
				Type: task.Type{Kind: task.JSON}, Optional: true, Place: task.Place{Kind: task.PlaceBody}},
			{Name: "output", Direction: task.Output, Title: "reply body", Description: "the body of the reply",
				Type: task.Type{Kind: task.String}, Place: task.Place{Kind: task.PlaceBody}},
		},
		Resources: task.Resources{CPU: 1500, Memory: 1 << 30, GPUs: 2},
		Notes:     []string{"network: closed unless the run opens it; MECA's own hosts leave it open"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestLoadResources(t *testing.T) {
	for _, c := range []struct {
		config string
		want   task.Resources
	}{
		{`{}`, task.Resources{CPU: 1000, Memory: 128 << 20}},
		{`null`, task.Resources{CPU: 1000, Memory: 128 << 20}},
		{`{"resource": {"cpu": 2}}`, task.Resources{CPU: 2000, Memory: 128 << 20}},
		{`{"resource": {"mem": 64}}`, task.Resources{CPU: 1000, Memory: 64 << 20}},
		{`{"resource": {"memory": 256}}`, task.Resources{CPU: 1000, Memory: 256 << 20}},
		{`{"resource": {"resource": {"cpu": 0.5, "mem": 6}}}`, task.Resources{CPU: 500, Memory: 6 << 20}},
		{`{"cpu": 3, "mem": 512.0}`, task.Resources{CPU: 3000, Memory: 512 << 20}},
		{`{"resource": null, "cpu": 3}`, task.Resources{CPU: 3000, Memory: 128 << 20}},
		{`{"resource": {"cpu": 2.0, "mem": 1e3, "use_gpu": false, "gpu_count": 4}}`, task.Resources{CPU: 2000, Memory: 1000 << 20}},
		{`{"resource": {"cpu": "x", "mem": 64}}`, task.Resources{CPU: 1000, Memory: 64 << 20}},
		{`{`, task.Resources{CPU: 1000, Memory: 128 << 20}},
	} {
		got, _ := meca.New().Load(folder(t, config(c.config)), contract.Options{})
		if d := cmp.Diff(c.want, got.Resources); d != "" {
			t.Errorf("%s: %s", c.config, d)
		}
	}
}

func TestImageNames(t *testing.T) {
	for name, want := range map[string]string{
		"name of the task":         "meca/name-of-the-task:latest",
		"stable_diffusion_example": "meca/stable-diffusion-example:latest",
		"../../etc/passwd":         "meca/etc-passwd:latest",
		"图像":                       "meca/pkg:latest",
		"":                         "meca/pkg:latest",
		strings.Repeat("a-", 500):  "meca/" + strings.TrimSuffix(strings.Repeat("a-", 32), "-") + ":latest",
	} {
		got, _ := meca.New().Load(folder(t, with(map[string]string{"name.txt": name})), contract.Options{})
		if got.Image.Name != want {
			t.Errorf("%q gives %q, want %q", name, got.Image.Name, want)
		}
		if _, err := reference.ParseNormalizedNamed(got.Image.Name); err != nil {
			t.Error(err)
		}
	}
}

func TestLoadOtherSources(t *testing.T) {
	c := meca.New()
	if got, found := c.Load(contract.Source{}, contract.Options{}); got != nil || !task.HasErrors(found) {
		t.Errorf("nothing at all: %v %v", got, found)
	}
	src := folder(t, good())
	_, found := c.Load(contract.Source{Given: "x.zip", FS: src.FS, Archive: "/tmp/x.zip"}, contract.Options{})
	if d := cmp.Diff([]string{"error MECA023 a MECA package is a folder, found the archive x.zip"}, said(found)); d != "" {
		t.Error(d)
	}
	if _, found := c.Load(src, contract.Options{Variant: "fast"}); !task.HasErrors(found) {
		t.Error("an unknown variant was accepted")
	}
	got, found := c.Load(contract.Source{Given: "a/b:v1", Image: image{}}, contract.Options{})
	if len(found) > 0 || got.Image.Kind != task.ImageReference || got.Image.Name != "a/b:v1" || got.Resources.Memory != 128<<20 {
		t.Errorf("image: %+v %v", got, found)
	}
	below := source(t, filepath.Dir(src.Dir))
	below.Given, below.File = "here/pkg/config.json", "pkg/config.json"
	got, found = c.Load(below, contract.Options{})
	if len(found) > 0 || got.Image.Context != src.Dir {
		t.Errorf("named by its manifest: %+v %v", got.Image, found)
	}
}

type image struct{}

func (image) ReadFile(string, int64) ([]byte, error) { return nil, fs.ErrNotExist }
func (image) Facts() task.ImageFacts                 { return task.ImageFacts{} }

func TestRecognise(t *testing.T) {
	pick := func(names ...string) map[string]string {
		files := map[string]string{}
		for _, n := range names {
			files[n] = good()[n]
		}
		return files
	}
	for _, c := range []struct {
		files map[string]string
		want  contract.Certainty
	}{
		{good(), contract.Certain},
		{with(map[string]string{"Dockerfile": "-"}), contract.Likely},
		{with(map[string]string{"src/app.py": "-"}), contract.Likely},
		{pick("Dockerfile", "name.txt", "config.json"), contract.Likely},
		{pick("name.txt", "description.txt", "config.json"), contract.Likely},
		{pick("Dockerfile", "example_input.bin"), contract.Possible},
		{pick("Dockerfile", "config.json"), contract.No},
		{pick("Dockerfile", "src/app.py"), contract.No},
		{pick("name.txt", "description.txt"), contract.No},
		{nil, contract.No},
	} {
		got := meca.New().Recognise(folder(t, c.files))
		if got.Certainty != c.want || (got.Evidence == "") != (c.want == contract.No) {
			t.Errorf("%v: %+v, want %v", c.files, got, c.want)
		}
	}
	src := folder(t, good())
	src.File = "descriptor.yml"
	if got := meca.New().Recognise(src); got.Certainty != contract.No {
		t.Errorf("another manifest: %+v", got)
	}
	if got := meca.New().Recognise(contract.Source{Image: image{}}); got.Certainty != contract.No {
		t.Errorf("an image: %+v", got)
	}
}

func load(t *testing.T, files map[string]string, variant string) *task.Task {
	t.Helper()
	got, found := meca.New().Load(folder(t, files), contract.Options{Variant: variant})
	if task.HasErrors(found) {
		t.Fatal(said(found))
	}
	return got
}

func TestPrepare(t *testing.T) {
	tk := load(t, good(), "")
	text := "{'dataset': 1}"
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, []byte(`{"a": 1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		req      task.Request
		body     task.Body
		warnings []string
		memory   task.Bytes
	}{
		{"empty", task.Request{}, task.Body{}, nil, 128 << 20},
		{"input", task.Request{Inputs: map[string]task.Given{"input": task.GivenText(" {}\n")}}, task.Body{Text: " {}\n"}, nil, 128 << 20},
		{"file", task.Request{Inputs: map[string]task.Given{"input": {Path: file}}}, task.Body{Path: file}, nil, 128 << 20},
		{"not JSON", task.Request{Body: &task.Body{Text: text}}, task.Body{Text: text},
			[]string{`the input is not valid JSON (invalid character '\'' looking for beginning of object key string); it is sent as it is`}, 128 << 20},
		{"more memory", task.Request{Resources: task.Resources{Memory: 1 << 30}}, task.Body{}, nil, 1 << 30},
	} {
		v, err := task.Bind(tk, c.req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := meca.New().Prepare(tk, task.ImageFacts{}, v)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		want := &task.Execution{
			Resources: task.Resources{CPU: 1000, Memory: c.memory},
			HTTP: &task.HTTPExchange{
				Ports: []task.Port{{Number: 8080, Why: "a MECA task listens on 8080"}}, ReadyMark: "meca-init-done", Outside: true,
				Method: "POST", Path: "/", ContentType: "application/json", Body: c.body, MaxResponse: 64 << 20,
			},
			Timeouts: task.Timeouts{Ready: time.Minute, Connect: 10 * time.Second, Run: 10 * time.Minute},
			Warnings: c.warnings,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(64<<20 + 1); err != nil {
		t.Fatal(err)
	}
	f.Close()
	plain, sgx := load(t, good(), ""), load(t, config(`{"resource": {"use_sgx": true}}`), "")
	for _, c := range []struct {
		task *task.Task
		v    task.Values
		code task.Code
	}{
		{plain, task.Values{Words: []string{"ls"}}, task.ReasonInput},
		{plain, task.Values{Env: []task.EnvVar{{Name: "A"}}}, task.ReasonInput},
		{plain, task.Values{Body: &task.Body{Path: "/nonexistent/body"}}, task.ReasonInput},
		{plain, task.Values{Body: &task.Body{Path: t.TempDir()}}, task.ReasonInput},
		{plain, task.Values{Body: &task.Body{Path: big}}, task.ReasonInput},
		{sgx, task.Values{}, task.ReasonPolicy},
		{&task.Task{Detail: json.RawMessage(`[]`)}, task.Values{}, task.ReasonEngine},
	} {
		if _, err := meca.New().Prepare(c.task, task.ImageFacts{}, c.v); err == nil || task.CodeOf(err) != c.code {
			t.Errorf("%+v: %v, want code %s", c.v, err, c.code)
		}
	}
}

func TestSGXVariants(t *testing.T) {
	files := config(`{"resource": {"use_sgx": true}}`)
	if got := load(t, files, ""); got.Variant != "sgx" || len(got.Variants) != 2 {
		t.Errorf("variant %q of %v", got.Variant, got.Variants)
	}
	plain := load(t, files, "plain")
	if _, err := meca.New().Prepare(plain, task.ImageFacts{}, task.Values{}); err != nil || plain.Variant != "plain" {
		t.Errorf("variant %q: %v", plain.Variant, err)
	}
}

// reply writes an answer of a task.
func reply(t *testing.T, status int, body []byte) task.Leftovers {
	t.Helper()
	p := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(p, body, 0o644); err != nil {
		t.Fatal(err)
	}
	return task.Leftovers{Response: &task.Response{Status: status, BodyPath: p, Size: int64(len(body))}}
}

func TestCollect(t *testing.T) {
	mib := bytes.Repeat([]byte("é"), 1<<19)
	for _, c := range []struct {
		name    string
		status  int
		body    []byte
		text    string
		failure string
		warns   bool
	}{
		{"text", 200, []byte("[0, 1]"), "[0, 1]", "", false},
		{"empty", 204, nil, "", "", false},
		{"one MiB", 200, mib, string(mib), "", false},
		{"more", 200, append([]byte("x"), mib...), "", "", false},
		{"binary", 200, []byte("a\xff\xfeb"), "", "", true},
		{"failed", 500, []byte("<h1>\x1b[31mNo</h1>\n\tcause"), "<h1>\x1b[31mNo</h1>\n\tcause", "task answered HTTP 500: <h1>[31mNo</h1> cause", false},
		{"failed without a word", 400, nil, "", "task answered HTTP 400: (empty reply)", false},
		{"too large", 200, make([]byte, 64<<20+1), "", "task reply larger than 64 MiB", false},
	} {
		left := reply(t, c.status, c.body)
		got, err := meca.New().Collect(nil, nil, left)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		out := got.Outputs["output"]
		if out.Path != left.Response.BodyPath || out.Text != c.text {
			t.Errorf("%s: output at %q with %d bytes of text", c.name, out.Path, len(out.Text))
		}
		if failed := got.Failure; c.failure == "" != (failed == nil) || failed != nil && (failed.Message != c.failure || failed.Reason != task.ReasonBadResponse) {
			t.Errorf("%s: failure %+v, want %q", c.name, failed, c.failure)
		}
		if (len(got.Warnings) > 0) != c.warns {
			t.Errorf("%s: warnings %q", c.name, got.Warnings)
		}
	}
	ignore := &task.Execution{HTTP: &task.HTTPExchange{AcceptStatus: true}}
	if got, err := meca.New().Collect(nil, ignore, reply(t, 500, nil)); err != nil || got.Failure != nil {
		t.Errorf("any status: %+v, %v", got.Failure, err)
	}
	got, err := meca.New().Collect(nil, nil, task.Leftovers{Exit: task.Exit{Code: 1}})
	if err != nil || got.Failure != nil || len(got.Outputs) > 0 {
		t.Errorf("no reply: %+v, %v", got, err)
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		want, got string
		verdict   contract.Verdict
	}{
		{"", "", contract.Verdict{Pass: true, Word: "match"}},
		{"\x89PNG\r\n\x1a\n", "\x89PNG\r\n\x1a\n", contract.Verdict{Pass: true, Word: "match"}},
		{"[0, 1]\n", "[0, 1]", contract.Verdict{Pass: true, Word: "match-trim"}},
		{"\ufeffa\n\n", "\u00a0\u2028a\t", contract.Verdict{Pass: true, Word: "match-trim"}},
		{`{"a": [1.0, "x"], "b": null}` + "\n", `{"b":null,"a":[1e0,"x"]}`, contract.Verdict{Pass: true, Word: "match-json", Detail: "equal as JSON, but not as text, which is what MECA's desktop compares; store the reply as it is in example_output.bin"}},
		{"\x00\xff", "AP8=\n", contract.Verdict{Word: "match-base64", Detail: "the reply is the base64 text of example_output.bin; store that text in it"}},
		{"a\nbéd", "a\nbècx", contract.Verdict{Word: "mismatch", Detail: `line 2, column 2 (byte 3): promised "éd", got "ècx"`}},
		{"ab", "a", contract.Verdict{Word: "mismatch", Detail: `line 1, column 2 (byte 1): promised "b", got the end`}},
		{"a\ufffd\ufffdb\n", "a\xff\xfeb", contract.Verdict{Pass: true, Word: "match-trim"}},
		{"a\u0085", "a", contract.Verdict{Word: "mismatch", Detail: `line 1, column 2 (byte 1): promised "\u0085", got the end`}},
		{`{"a": 1}`, `{"a": 1, "b": 2}`, contract.Verdict{Word: "mismatch", Detail: `line 1, column 8 (byte 7): promised "}", got ", \"b\": 2}"`}},
		{`[1, 2]`, `[2, 1]`, contract.Verdict{Word: "mismatch", Detail: `line 1, column 2 (byte 1): promised "1, 2]", got "2, 1]"`}},
		{"x", strings.Repeat("y", 50), contract.Verdict{Word: "mismatch", Detail: `line 1, column 1 (byte 0): promised "x", got "` + strings.Repeat("y", 40) + `"…`}},
	} {
		if d := cmp.Diff(c.verdict, meca.Compare([]byte(c.want), []byte(c.got))); d != "" {
			t.Errorf("%q, %q: %s", c.want, c.got, d)
		}
	}
}

func examples(t *testing.T, src contract.Source) []contract.Example {
	t.Helper()
	tk, _ := meca.New().Load(src, contract.Options{})
	list, err := meca.New().Examples(src, tk)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestExamples(t *testing.T) {
	src := folder(t, with(map[string]string{"example_output.bin": "[0, 1]\n"}))
	list := examples(t, src)
	if len(list) != 1 || list[0].Skip != "" || list[0].Request.Body.Path != filepath.Join(src.Dir, "example_input.bin") {
		t.Fatalf("%+v", list)
	}
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "output"), []byte("[0, 1]"), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(path string) string {
		return list[0].Check(&task.Result{Outputs: []task.OutputResult{{Name: "output", Path: path}}}, out).Word
	}
	if got := []string{check("output"), check("nope"), check("."), list[0].Check(&task.Result{}, out).Word}; !cmp.Equal(got, []string{"match-trim", "error", "error", "error"}) {
		t.Error(got)
	}
	for _, c := range []struct{ file, content, skip string }{
		{"example_output.bin", "\x89PNG\n\x1a\n", "not-replayable: example_output.bin is a damaged PNG image"},
		{"example_input.bin", "\x89PNG\n\x1a\n", "not-replayable: example_input.bin is a damaged PNG image"},
		{"config.json", `{"resource": {"use_sgx": true}}`, "not-replayable: the example of an SGX task is bound to the key of one enclave"},
		{"example_input.bin", "", ""},
	} {
		if got := examples(t, folder(t, with(map[string]string{c.file: c.content}))); got[0].Skip != c.skip {
			t.Errorf("%s: %q, want %q", c.file, got[0].Skip, c.skip)
		}
	}
	if _, err := meca.New().Examples(folder(t, with(map[string]string{"example_input.bin": "-"})), &task.Task{}); task.CodeOf(err) != task.CodePackage {
		t.Errorf("no example: %v", err)
	}
	if list, err := meca.New().Examples(contract.Source{}, &task.Task{}); list != nil || err != nil {
		t.Errorf("an image: %v %v", list, err)
	}
}

func TestScaffold(t *testing.T) {
	files, err := meca.New().Scaffold("My task", "")
	if err != nil {
		t.Fatal(err)
	}
	src := folder(t, files)
	got, found := meca.New().Load(src, contract.Options{})
	if len(found) > 0 || got.Name != "My task" {
		t.Errorf("%q: %v", got.Name, said(found))
	}
	if r := meca.New().Recognise(src); r.Certainty != contract.Certain {
		t.Errorf("%+v", r)
	}
	if _, err := meca.New().Scaffold(" \n", ""); task.CodeOf(err) != task.CodeUsage {
		t.Errorf("no name: %v", err)
	}
}

// The packages in the examples folder have nothing to be found.
func TestExamplePackages(t *testing.T) {
	dirs, err := filepath.Glob("../../../examples/meca/*/Dockerfile")
	if err != nil || len(dirs) < 3 {
		t.Fatal(dirs, err)
	}
	for _, d := range dirs {
		abs, err := filepath.Abs(filepath.Dir(d))
		if err != nil {
			t.Fatal(err)
		}
		src := source(t, abs)
		if _, found := meca.New().Load(src, contract.Options{}); len(found) > 0 {
			t.Errorf("%s: %v", d, said(found))
		}
		if list := examples(t, src); len(list) != 1 || list[0].Skip != "" {
			t.Errorf("%s: %+v", d, list)
		}
	}
}

// Every rule of the table is met by a test above, and has its own id and words.
func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range meca.Rules() {
		if seen[r.ID] || seen[r.Summary] || r.Summary == "" || r.Severity == "" {
			t.Errorf("rule %+v", r)
		}
		seen[r.ID], seen[r.Summary] = true, true
	}
}

func TestStructure(t *testing.T) {
	const all = "Checking Dockerfile, Checking src, Checking description.txt, Checking name.txt, Checking example_input.bin, Checking example_output.bin, Checking config.json"
	for _, c := range []struct {
		files        map[string]string
		lines, wrong string
	}{
		{good(), all + ", Folder structure is correct.", ""},
		{with(map[string]string{"src/app.py": "-"}), "Checking Dockerfile, Checking src", "Missing pkg/src"},
		{with(map[string]string{"src/app.py": "-", "src/": ""}), "Checking Dockerfile, Checking src", "Empty pkg/src"},
		{with(map[string]string{"config.json": "-"}), all, "Missing pkg/config.json"},
	} {
		lines, wrong := meca.New().TestStructure(folder(t, c.files))
		if got := strings.Join(lines, ", "); got != c.lines || wrong != c.wrong {
			t.Errorf("got %q and %q, want %q and %q", got, wrong, c.lines, c.wrong)
		}
	}
}

func TestCompat(t *testing.T) {
	src := folder(t, config(`{"resource": {"cpu": 2, "mem": 256, "use_gpu": true}}`))
	for mode, want := range map[string]task.Resources{
		"":         {CPU: 2000, Memory: 256 << 20},
		"executor": {CPU: 2000, Memory: 256 << 20, GPUs: 1},
		"host":     {CPU: 1000, Memory: 128 << 20},
	} {
		got, findings := meca.New().Load(src, contract.Options{Compat: mode})
		if got.Resources != want || task.HasErrors(findings) != (mode == "") {
			t.Errorf("%q: %+v, %v", mode, got.Resources, findings)
		}
		x, err := meca.New().Prepare(got, task.ImageFacts{}, task.Values{})
		if err != nil || x.HTTP.AcceptStatus != (mode != "") {
			t.Errorf("%q: %+v, %v", mode, x, err)
		}
	}
}
