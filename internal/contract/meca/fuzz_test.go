package meca_test

import (
	"testing"
	"testing/fstest"

	"longshore/internal/contract"
	"longshore/internal/contract/meca"
)

// memory shows files as a package without touching the disk.
func memory(files map[string]string) contract.Source {
	m := fstest.MapFS{}
	for p, s := range files {
		m[p] = &fstest.MapFile{Data: []byte(s), Mode: 0o644}
	}
	return contract.Source{Given: "pkg", FS: m, Dir: "/pkg"}
}

func FuzzConfig(f *testing.F) {
	f.Add(`{"resource": {"cpu": 1.5, "mem": 128, "use_gpu": true, "gpu_count": 1}}`)
	f.Add(`{"resource": {"resource": {"memory": 1e2, "use_sgx": true}}, "cpu": null}`)
	f.Fuzz(func(t *testing.T, data string) {
		src := memory(config(data))
		got, _ := meca.New().Load(src, contract.Options{})
		if r := got.Resources; r.CPU <= 0 || r.Memory < 6<<20 || r.GPUs < 0 {
			t.Errorf("resources %+v", r)
		}
	})
}

func FuzzDockerfile(f *testing.F) {
	f.Add("FROM a AS b\nCOPY --from=b x y\nFROM b\nCOPY src/* [a .\nADD . /\nEXPOSE 8080/tcp 1-2\n")
	f.Fuzz(func(t *testing.T, data string) {
		meca.New().Load(memory(with(map[string]string{"Dockerfile": data})), contract.Options{})
	})
}

func FuzzTexts(f *testing.F) {
	f.Add("a name\nof lines", `{"a": [1.0]}`, `{"a": [1]}`)
	f.Fuzz(func(t *testing.T, title, in, out string) {
		if title == "-" || in == "-" || out == "-" {
			t.Skip("the mark of a file that is left out")
		}
		src := memory(with(map[string]string{"name.txt": title, "description.txt": title, "example_input.bin": in, "example_output.bin": out}))
		got, _ := meca.New().Load(src, contract.Options{})
		if _, err := meca.New().Examples(src, got); err != nil {
			t.Error(err)
		}
		if v, w := meca.Compare([]byte(in), []byte(out)), meca.Compare([]byte(out), []byte(in)); v.Pass != w.Pass {
			t.Errorf("%+v one way and %+v the other", v, w)
		}
	})
}
