package iexec_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/iexec"
	"longshore/internal/task"
)

// publish lays out what a run left as "run -o" does, and returns its files with the result.
func publish(t *testing.T, tk *task.Task, left files, log string, change func(l *task.Leftovers)) contract.ResultFiles {
	t.Helper()
	dialect := tk.Dialect
	got := run(t, tk, nil, left, func(l *task.Leftovers) {
		l.Log = write(t, "log", log)
		l.Stdout = l.Log
		if change != nil {
			change(l)
		}
	})
	all := files{"log": log}
	for name, text := range left {
		if !slices.Contains(got.Outputs["result"].Except, name) {
			all["result/"+name] = text
		}
	}
	res := &task.Result{Contract: "iexec", State: task.Succeeded, Dialect: dialect, Variant: tk.Variant, Digest: got.Digest, DigestRule: got.DigestRule}
	for name := range got.Outputs {
		res.Outputs = append(res.Outputs, task.OutputResult{Name: name, Path: name})
	}
	if got.Outputs["stdout.txt"].Path != "" {
		all["stdout.txt"] = log
	}
	dir := all.write(t)
	if err := os.MkdirAll(filepath.Join(dir, "result"), 0o755); err != nil {
		t.Fatal(err)
	}
	return contract.ResultFiles{FS: open(t, dir), Result: res}
}

func open(t *testing.T, dir string) contract.Folder {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return contract.Folder{Root: root}
}

func digest(t *testing.T, r contract.ResultFiles) contract.ResultDigest {
	t.Helper()
	got, err := iexec.New().(contract.ResultDigester).DigestResult(r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func pack(t *testing.T, r contract.ResultFiles) ([]byte, []string) {
	t.Helper()
	var b bytes.Buffer
	notes, err := iexec.New().(contract.ResultPackager).PackResult(r, &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), notes
}

// archive is an archive as a ResultFiles.
func archive(t *testing.T, data []byte) contract.ResultFiles {
	t.Helper()
	file := write(t, "result.zip", string(data))
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	return contract.ResultFiles{FS: &z.Reader, Archive: file}
}

// The digest of a published result, of its archive and of the bare output folder is that of its run, by every rule.
func TestDigestsAgreeInEveryForm(t *testing.T) {
	callback := files{"iexec.json": `{"app":{"multiaddr":"org/app:1"},"buyConf":{"callback":"0x4CF114732732c072D49a783e80C6Fe9fe8BA420a"}}`}
	for _, tc := range []struct {
		name string
		pkg  files
		left files
		log  string
	}{
		{"file", v5(`{}`), files{"result.txt": "A result", "computed.json": computedResult}, "said"},
		{"folder", v5(`{}`), files{"d/1": "A", "d/2": "B", "d/sub/x": "", "computed.json": `{"deterministic-output-path": "/iexec_out/d"}`}, ""},
		{"everything", v5(`{}`), files{"a": "A", "computed.json": `{"deterministic-output-path": "/iexec_out"}`}, "said"},
		{"callback", callback, files{"computed.json": `{"callback-data": "0x00"}`}, ""},
		{"determinism", v5(`{}`), files{"determinism.iexec": "hello\n"}, ""},
		{"consensus", v2("", ""), files{"consensus.iexec": "3628800\n", "x/y": "z"}, "said"},
		{"archive", v2("", ""), files{"a": "1", "b/c": "2"}, "said"},
	} {
		r := publish(t, mustLoad(t, tc.pkg), tc.left, tc.log, nil)
		data, _ := pack(t, r)
		forms := map[string]contract.ResultFiles{"folder of ours": r, "archive": archive(t, data)}
		bare := maps.Clone(tc.left)
		if tc.log != "" {
			bare["stdout.txt"] = tc.log
		}
		if tc.name != "archive" {
			forms["bare folder"] = contract.ResultFiles{FS: open(t, bare.write(t))}
		}
		for form, files := range forms {
			if got := digest(t, files); r.Result.Digest == "" || got.Digest != r.Result.Digest || got.Missing != "" {
				t.Errorf("%s, %s: %+v, want %s", tc.name, form, got, r.Result.Digest)
			}
			if files.Result == nil && iexec.New().(contract.ResultDigester).RecogniseResult(files) == "" {
				t.Errorf("%s, %s is not recognised", tc.name, form)
			}
		}
	}
}

// The lenient decoder of workers, on request only (worked values of section 11.1).
func TestLenientDecoding(t *testing.T) {
	tk, findings := iexec.New().Load(v5(`{}`).source(t), contract.Options{Variant: "lenient"})
	if task.HasErrors(findings) {
		t.Fatal(findings)
	}
	for text, want := range map[string]string{
		"hello\n": "a6738a340f7866bc5bc8ac2f3b672dfd6f77cbcd5a07b8aca55beb7564f7f46b",
		"hollo\n": "45ad1a4dd5549c7682a52bf11829391e1b8640d980da9cf5bbb8e4ae89ee1d27",
		"hippo\n": "45ad1a4dd5549c7682a52bf11829391e1b8640d980da9cf5bbb8e4ae89ee1d27",
		"jumps\n": "45ad1a4dd5549c7682a52bf11829391e1b8640d980da9cf5bbb8e4ae89ee1d27",
		"0xda9a34f3846cc4434eb31ad870aaf47c8a123225732db003c0c19f3c3f6faa01": "da9a34f3846cc4434eb31ad870aaf47c8a123225732db003c0c19f3c3f6faa01",
		strings.Repeat("z", 64): strings.Repeat("ef", 32),
	} {
		r := publish(t, tk, files{"determinism.iexec": text}, "", nil)
		if r.Result.Digest != want || digest(t, r).Digest != want {
			t.Errorf("%q: %s, want %s", text, r.Result.Digest, want)
		}
	}
}

func TestCallbackData(t *testing.T) {
	manifest := files{"iexec.json": `{"app":{"multiaddr":"org/app:1"},"buyConf":{"callback":"0x4CF114732732c072D49a783e80C6Fe9fe8BA420a"}}`}
	for _, tc := range []struct {
		variant, data, warned string
		fails                 bool
	}{
		{"", "0xabc", "odd number", false},
		{"", "abcd", "", false},
		{"", "0xhello", "", true},
		{"lenient", "0xhello", "not hexadecimal", false},
	} {
		tk, _ := iexec.New().Load(manifest.source(t), contract.Options{Variant: tc.variant})
		got := run(t, tk, nil, files{"computed.json": `{"callback-data": "` + tc.data + `"}`}, nil)
		if (got.Failure != nil) != tc.fails || (got.Digest == "") != tc.fails || !strings.Contains(strings.Join(got.Warnings, "\n"), tc.warned) {
			t.Errorf("%s: %+v", tc.data, got)
		}
	}
}

// An archive depends on names and contents only; links are left out, and an app's own stdout.txt is kept.
func TestPackResult(t *testing.T) {
	tk := mustLoad(t, v5(`{}`))
	left := files{"b/deep": "2", "a": "1", "stdout.txt": "own", "computed.json": computedResult, "result.txt": "r"}
	r := publish(t, tk, left, "said", nil)
	data, notes := pack(t, r)
	again, _ := pack(t, publish(t, tk, left, "said", nil))
	if !bytes.Equal(data, again) {
		t.Error("the same outputs gave other bytes")
	}
	const want = "6523d4564d01f9cadc0ec845b0f260fc4931e98fc5e8e32aa9d1595e3245be49"
	if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != want {
		t.Errorf("sha256 %x, want %s", got, want)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
		if f.Mode() != 0o644 || f.Modified.UTC().Year() != 1980 || f.Method != zip.Store {
			t.Errorf("%+v", f.FileHeader)
		}
	}
	if d := cmp.Diff([]string{".stdout.txt", "a", "b/deep", "computed.json", "result.txt", "stdout.txt"}, names); d != "" {
		t.Error(d)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "its own stdout.txt") {
		t.Error(notes)
	}
}

// What is tolerated, and what is not, can be asked for.
func TestCompatibilityVariants(t *testing.T) {
	variant := func(pkg files, v string) *task.Task {
		tk, findings := iexec.New().Load(pkg.source(t), contract.Options{Variant: v})
		if tk == nil || task.HasErrors(findings) {
			t.Fatal(findings)
		}
		return tk
	}
	long := files{strings.Repeat("n", 32): "", "computed.json": computedResult, "result.txt": "A"}
	if got := run(t, variant(v5(`{}`), ""), nil, long, nil); got.Failure == nil {
		t.Error("a long name is accepted")
	}
	r := publish(t, variant(v5(`{}`), "long-names"), long, "", nil)
	if got := digest(t, r); r.Result.Digest == "" || got.Digest != r.Result.Digest {
		t.Errorf("%+v", got)
	}
	for _, params := range []string{`{"iexec_args":"a","iexec_developer_logger":true}`, `"{\"iexec_args\":\"a\",\"iexec_developer_logger\":true}"`} {
		if args := prepare(t, variant(v5(params), ""), bind(t, variant(v5(params), ""), nil)).Process.Args; len(args) != 1 || args[0] != "a" {
			t.Errorf("%s: %q", params, args)
		}
		exact := variant(v5(params), "exact")
		if args := prepare(t, exact, bind(t, exact, nil)).Process.Args; len(args) != 1 || !strings.Contains(args[0], "iexec_developer_logger") {
			t.Errorf("%s, exact: %q", params, args)
		}
	}
	zero := files{"iexec.json": `{"app":{"multiaddr":"org/app:1"},"dataset":{"multiaddr":"https://a.example/d","checksum":"0x` + strings.Repeat("0", 64) + `"}}`}
	file := "@" + write(t, "d", "data")
	prepare(t, variant(zero, ""), bind(t, variant(zero, ""), map[string]string{"dataset": file}))
	exact := variant(zero, "exact")
	if _, err := iexec.New().Prepare(exact, task.ImageFacts{}, bind(t, exact, map[string]string{"dataset": file})); err == nil || !strings.Contains(err.Error(), "DATASET_FILE_BAD_CHECKSUM") {
		t.Errorf("%v", err)
	}
}

// A file that a damaged archive holds and cannot give is not taken for absent: there is no digest then, of nothing else either.
func TestDamagedArchive(t *testing.T) {
	data, _ := pack(t, publish(t, mustLoad(t, v5(`{}`)), files{"result.txt": "A result", "computed.json": computedResult}, "", nil))
	for _, name := range []string{"computed.json", "result.txt"} {
		damaged := bytes.Clone(data)
		damaged[bytes.Index(damaged, []byte(name))-30] ^= 1 // the first byte of its header
		got, err := iexec.New().(contract.ResultDigester).DigestResult(archive(t, damaged))
		if got.Digest != "" || err == nil && !strings.Contains(got.Missing, "cannot be read") && !strings.Contains(got.Missing, "does not exist") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A log that computed.json names counts as workers write it: beside the app's files, and in their place when that is asked for.
func TestLogsInTheDigest(t *testing.T) {
	const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	named := files{"computed.json": `{"deterministic-output-path": "/iexec_out/stdout.txt"}`}
	own := files{"computed.json": named["computed.json"], "stdout.txt": "A result"}
	for _, tc := range []struct {
		name, variant, digest string
		left                  files
	}{
		{"a log", "", hello, named},
		{"an app's own file", "", "d885f429a59e0816822fc0927be6a6af20ade2c79db49df6c6022f79cb27ac16", own},
		{"logs over", "logs-over", hello, own},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tk, findings := iexec.New().Load(v5(`{}`).source(t), contract.Options{Variant: tc.variant})
			if tk == nil || task.HasErrors(findings) {
				t.Fatal(findings)
			}
			r := publish(t, tk, tc.left, "hello", nil)
			if r.Result.Digest != tc.digest {
				t.Errorf("digest %s, want %s", r.Result.Digest, tc.digest)
			}
			if got := digest(t, r); got.Digest != tc.digest {
				t.Errorf("computed again: %+v", got)
			}
		})
	}
	tk := mustLoad(t, v5(`{}`))
	if got := run(t, tk, nil, named, nil); got.Failure == nil {
		t.Errorf("a log without anything is digested: %+v", got)
	}
}

// Workers of v3 and v4 take the archive where there is no determinism file.
func TestArchiveDigest(t *testing.T) {
	load := func(variant string) (*task.Task, []task.Finding) {
		return iexec.New().Load(v5(`{}`).source(t), contract.Options{Variant: variant})
	}
	if _, findings := load("archive"); !task.HasErrors(findings) {
		t.Error("the variant is taken for v5")
	}
	tk, findings := load("v3,archive")
	if tk == nil || task.HasErrors(findings) {
		t.Fatal(findings)
	}
	r := publish(t, tk, files{"x": "1"}, "", nil)
	got := digest(t, r)
	if r.Result.Digest == "" || got.Digest != r.Result.Digest || !strings.Contains(got.Rule, "archive") {
		t.Errorf("%+v of %+v", got, r.Result)
	}
	if v := (iexec.Contract{}).JudgeRuns(r.Result, r.Result); v.Word != "not reproducible" || !strings.Contains(v.Detail, "determinism.iexec") {
		t.Error(v)
	}
}

// A result that was tampered with, or is none, never ends in a digest of something else.
func TestDigestResultOfStrangers(t *testing.T) {
	tk := mustLoad(t, v5(`{}`))
	r := publish(t, tk, files{"result.txt": "A", "computed.json": computedResult}, "", nil)
	root := r.FS.(contract.Folder).Root
	if err := root.Remove("result/result.txt"); err != nil {
		t.Fatal(err)
	}
	if got := digest(t, r); got.Digest != "" || !strings.Contains(got.Missing, "does not exist") {
		t.Errorf("%+v", got)
	}
	if err := root.Symlink("computed.json", "result/result.txt"); err != nil {
		t.Fatal(err)
	}
	if got := digest(t, r); got.Digest != "" || !strings.Contains(got.Missing, "is a link") {
		t.Errorf("%+v", got)
	}
	if err := root.RemoveAll("result"); err != nil {
		t.Fatal(err)
	}
	if _, err := iexec.New().(contract.ResultDigester).DigestResult(r); task.CodeOf(err) != task.ReasonInput {
		t.Errorf("%v", err)
	}
	if why := iexec.New().(contract.ResultDigester).RecogniseResult(contract.ResultFiles{FS: open(t, files{"x": ""}.write(t))}); why != "" {
		t.Errorf("any folder is a result: %s", why)
	}
}
