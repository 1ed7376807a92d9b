package iexec_test

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"longshore/internal/contract"
	"longshore/internal/contract/iexec"
	"longshore/internal/task"
)

// FuzzTree holds that nothing that lies beside a manifest makes Load panic: what was deployed, the chains, the logo.
func FuzzTree(f *testing.F) {
	const described = `{"app":{"name":"a","multiaddr":"org/app:1"},"description":"d","logo":"logo.png","social":{}}`
	f.Add(described, `{"app":{"421614":"0x76fE91568d50C5fF9411223df5A0c50Ec5fa326A"}}`, "FROM busybox\nWORKDIR /iexec\n", []byte("\x89PNG\r\n\x1a\n"))
	f.Add(`module.exports = {logo: './logo.png', description: 1}`, "[]", "", []byte("\xff\xd8\xff\xe0"))
	f.Fuzz(func(t *testing.T, manifest, deployed, dockerfile string, logo []byte) {
		tree := fstest.MapFS{}
		for name, data := range map[string][]byte{"iexec.json": []byte(manifest), "deployed.json": []byte(deployed), "chain.json": []byte(deployed), "Dockerfile": []byte(dockerfile), "logo.png": logo} {
			tree[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		}
		src := contract.Source{Given: "pkg", FS: tree}
		iexec.New().Recognise(src)
		if tk, findings := iexec.New().Load(src, contract.Options{}); tk == nil && !task.HasErrors(findings) {
			t.Error("no task, and no reason")
		}
	})
}

// FuzzResult holds that an archive that is said to be a result has a digest or a reason for having none.
func FuzzResult(f *testing.F) {
	for _, left := range []map[string]string{
		{"iexec_out/computed.json": computedResult, "iexec_out/result.txt": "A result"}, {"computed.json": `{"callback-data": "0x01"}`},
		{"consensus.iexec": "3628800\n"}, {"determinism.iexec": "hello\n", "stdout.txt": ""}, {"../computed.json": "{}"},
	} {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for name, text := range left {
			entry, err := w.Create(name)
			if err != nil {
				f.Fatal(err)
			}
			if _, err := entry.Write([]byte(text)); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		name := filepath.Join(t.TempDir(), "result.zip")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := contract.ResultFiles{FS: z, Archive: name}
		judge := iexec.New().(contract.ResultDigester)
		judge.RecogniseResult(r)
		got, err := judge.DigestResult(r)
		if err == nil && got.Digest == "" && got.Missing == "" {
			t.Errorf("no digest, and no reason: %+v", got)
		}
	})
}
