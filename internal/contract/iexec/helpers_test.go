package iexec_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"longshore/internal/contract"
	"longshore/internal/contract/iexec"
	"longshore/internal/task"
)

// files is a package by slash path.
type files map[string]string

func (fs files) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range fs {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (fs files) source(t *testing.T) contract.Source {
	return folder(fs.write(t))
}

func folder(dir string) contract.Source {
	return contract.Source{Given: dir, Dir: dir, FS: os.DirFS(dir)}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func load(t *testing.T, fs files) (*task.Task, []task.Finding) {
	t.Helper()
	return iexec.New().Load(fs.source(t), contract.Options{})
}

// mustLoad loads a package that has no errors.
func mustLoad(t *testing.T, fs files) *task.Task {
	t.Helper()
	tk, findings := load(t, fs)
	if task.HasErrors(findings) || tk == nil {
		t.Fatalf("findings: %v", findings)
	}
	return tk
}

// bind binds inputs given as texts, or as paths when they start with "@".
func bind(t *testing.T, tk *task.Task, inputs map[string]string, words ...string) task.Values {
	t.Helper()
	r := task.Request{Inputs: map[string]task.Given{}, Words: words}
	for k, v := range inputs {
		if v != "" && v[0] == '@' {
			r.Inputs[k] = task.Given{Path: v[1:]}
		} else {
			r.Inputs[k] = task.GivenText(v)
		}
	}
	v, err := task.Bind(tk, r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func prepare(t *testing.T, tk *task.Task, v task.Values) *task.Execution {
	t.Helper()
	x, err := iexec.New().Prepare(tk, task.ImageFacts{WorkingDir: "/"}, v)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func v2(cmdline string, more string) files {
	return files{"iexec.json": `{"app":{"name":"a","price":1,"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=org/app:1` + more + `"}},
"order":{"buy":{"params":{"cmdline":"` + cmdline + `"}}}}`}
}

func v5(params string) files {
	return files{"iexec.json": `{"app":{"name":"a","type":"DOCKER","multiaddr":"org/app:1"},"buyConf":{"params":` + params + `}}`}
}

// oneFile is a package that holds iexec.js only.
func oneFile(text string) fs.FS {
	return fstest.MapFS{"iexec.js": {Data: []byte(text), Mode: 0o644}}
}
