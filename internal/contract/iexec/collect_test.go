package iexec_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/iexec"
	"longshore/internal/task"
)

// run prepares the task with the inputs and collects what is said to be left in its output folder.
func run(t *testing.T, tk *task.Task, inputs map[string]string, left files, change func(*task.Leftovers)) task.Collected {
	t.Helper()
	x := prepare(t, tk, bind(t, tk, inputs))
	l := task.Leftovers{Mounts: map[string]string{}}
	for _, m := range x.Mounts {
		l.Mounts[m.Name] = files{}.write(t)
	}
	l.Mounts[x.Mounts[len(x.Mounts)-1].Name] = left.write(t)
	if change != nil {
		change(&l)
	}
	got, err := iexec.New().Collect(tk, x, l)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

const computedResult = `{"deterministic-output-path": "/iexec_out/result.txt"}`

func TestDigestsLater(t *testing.T) {
	tk := mustLoad(t, v5(`{}`))
	folder := `{"deterministic-output-path": "/iexec_out/d"}`
	for _, tc := range []struct {
		name           string
		left           files
		digest, rule   string
		output, warned string
	}{
		{"file", files{"result.txt": "A result", "computed.json": computedResult}, "d885f429a59e0816822fc0927be6a6af20ade2c79db49df6c6022f79cb27ac16", "computed.json: sha256 of /iexec_out/result.txt", "result.txt", ""},
		{"hello", files{"result.txt": "hello", "computed.json": computedResult}, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "computed.json", "result.txt", ""},
		{"empty file", files{"result.txt": "", "computed.json": computedResult}, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "computed.json", "result.txt", ""},
		{"folder", files{"d/1": "A result", "d/2": "Another result", "computed.json": folder}, "cc77508549295dd5de5876a2f4f00d4c3c27a547c6403450e43ab4de191bf1bc", "keccak256 over the sha256 of the 2 files of /iexec_out/d", "", ""},
		{"swapped", files{"d/1": "Another result", "d/2": "A result", "computed.json": folder}, "a6842a374f0ee00925d807927e1f84f44c1f37e8a60655c3148f034c99c8dfdc", "computed.json", "", ""},
		{"deep", files{"d/1": "A result", "d/2": "Another result", "d/sub/3": "x", "computed.json": folder}, "cc77508549295dd5de5876a2f4f00d4c3c27a547c6403450e43ab4de191bf1bc", "computed.json", "", "not covered"},
		{"only folders", files{"d/sub/3": "x", "computed.json": folder}, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470", "computed.json", "", "not covered"},
		{"untidy path", files{"result.txt": "hello", "computed.json": `{"deterministic-output-path": "/iexec_out/./x/..//result.txt"}`}, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "computed.json", "result.txt", ""},
		{"own digest", files{"result.txt": "hello", "computed.json": `{"deterministic-output-path": "/iexec_out/result.txt", "result-digest": "0x00"}`}, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "computed.json", "result.txt", "not trusted"},
		{"determinism digest", files{"determinism.iexec": "0xda9a34f3846cc4434eb31ad870aaf47c8a123225732db003c0c19f3c3f6faa01\n"}, "da9a34f3846cc4434eb31ad870aaf47c8a123225732db003c0c19f3c3f6faa01", "determinism.iexec: the 32 bytes", "determinism.iexec", ""},
		{"determinism text", files{"determinism.iexec": "hello\n"}, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", "determinism.iexec: sha256", "determinism.iexec", ""},
		{"both", files{"determinism.iexec": "hello\n", "result.txt": "hello", "computed.json": computedResult}, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "computed.json", "result.txt", ""},
		{"consensus", files{"consensus.iexec": "3628800\n"}, "b983c444e57992b7de8b05f37514c746b9c0ac63deb6fcc043b5bf89c2949e81", "consensus.iexec", "consensus.iexec", "file of v2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := run(t, tk, nil, tc.left, nil)
			if got.Failure != nil || got.Digest != tc.digest || !strings.Contains(got.DigestRule, tc.rule) {
				t.Errorf("%+v, failure %+v", got, got.Failure)
			}
			file := got.Outputs["deterministic"].Path
			if tc.output != "" && filepath.Base(file) != tc.output || tc.output == "" && file != "" {
				t.Errorf("deterministic: %q", file)
			}
			if tc.warned != "" && !strings.Contains(strings.Join(got.Warnings, "\n"), tc.warned) || tc.warned == "" && len(got.Warnings) > 0 {
				t.Errorf("warnings %v", got.Warnings)
			}
			if got.Outputs["result"].Path == "" {
				t.Error("no result")
			}
		})
	}
}

func TestCallback(t *testing.T) {
	tk := mustLoad(t, files{"iexec.json": `{"app":{"multiaddr":"org/app:1"},"buyConf":{"callback":"0x4CF114732732c072D49a783e80C6Fe9fe8BA420a"}}`})
	got := run(t, tk, nil, files{"computed.json": `{"callback-data": "0x` + strings.Repeat("0", 63) + `1"}`}, nil)
	if got.Digest != "b10e2d527612073b26eecdfd717e6a320cf44b4afac2b0732d9fcbe2b7fa0cf6" || got.Failure != nil {
		t.Errorf("%+v", got)
	}
	got = run(t, tk, nil, files{"result.txt": "a", "computed.json": computedResult}, nil)
	if got.Failure == nil || got.Failure.Message != `the deal has a callback but computed.json has no "callback-data"` {
		t.Errorf("%+v", got.Failure)
	}
}

func TestOutputFailures(t *testing.T) {
	tk := mustLoad(t, v5(`{}`))
	at := func(p string) string { return `{"deterministic-output-path": "` + p + `"}` }
	for _, tc := range []struct {
		rule string
		left files
		want string
	}{
		{"IEXEC051", files{"result.txt": "a"}, "computed.json is missing from IEXEC_OUT"},
		{"IEXEC052", files{"computed.json": "{"}, "computed.json is not valid JSON"},
		{"IEXEC052", files{"computed.json": "[]"}, "computed.json is a list, must be an object"},
		{"IEXEC052", files{"computed.json": `{"deterministic-output-path": 1}`}, "is a number, must be a string"},
		{"IEXEC053", files{"computed.json": "{}"}, "computed.json has no deterministic-output-path"},
		{"IEXEC053", files{"result.txt": "a", "computed.json": at("result.txt")}, `deterministic-output-path "result.txt" is not inside /iexec_out`},
		{"IEXEC053", files{"result.txt": "a", "computed.json": at("/result.txt")}, "is not inside"},
		{"IEXEC053", files{"computed.json": at("/iexec_out/../iexec_in/x")}, "is not inside"},
		{"IEXEC053", files{"computed.json": at("/iexec_outer/x")}, "is not inside"},
		{"IEXEC053", files{"computed.json": at("/iexec_out/x")}, `deterministic-output-path "/iexec_out/x" does not exist`},
		{"IEXEC030", files{"result.txt": "a", "computed.json": computedResult, "sub/" + strings.Repeat("n", 32): ""}, "has 32 characters, iExec refuses more than 31"},
	} {
		got := run(t, tk, nil, tc.left, nil)
		if got.Failure == nil || got.Failure.Reason != task.ReasonOutput || got.Failure.Findings[0].Rule != tc.rule || !strings.Contains(got.Failure.Message, tc.want) {
			t.Errorf("%s: %+v", tc.want, got.Failure)
		}
		// A container that failed by itself keeps its own reason.
		got = run(t, tk, nil, tc.left, func(l *task.Leftovers) { l.Exit.Code = 1 })
		if got.Failure != nil {
			t.Errorf("%s: %+v", tc.want, got.Failure)
		}
	}
}

func TestLinksInTheDeterministicPart(t *testing.T) {
	tk := mustLoad(t, v5(`{}`))
	for _, path := range []string{"/iexec_out/link", "/iexec_out/d", "/iexec_out/l2/x"} {
		got := run(t, tk, nil, files{"x": "a", "d/y": "b", "computed.json": `{"deterministic-output-path": "` + path + `"}`}, func(l *task.Leftovers) {
			for name, target := range map[string]string{"link": "x", "d/z": "../x", "l2": "."} {
				if err := os.Symlink(target, filepath.Join(l.Mounts["iexec_out"], name)); err != nil {
					t.Fatal(err)
				}
			}
		})
		if got.Failure == nil || got.Failure.Findings[0].Rule != "IEXEC054" {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// The file that a digest is of may be no link either, whichever generation it belongs to.
func TestDeterminismFileIsNoLink(t *testing.T) {
	for _, tc := range []struct {
		pkg         files
		mount, file string
	}{
		{v2("", ""), "iexec", "consensus.iexec"},
		{v5(`{}`), "iexec_out", "determinism.iexec"},
		{v5(`{}`), "iexec_out", "consensus.iexec"},
	} {
		got := run(t, mustLoad(t, tc.pkg), nil, files{"x": "a"}, func(l *task.Leftovers) {
			if err := os.Symlink("x", filepath.Join(l.Mounts[tc.mount], tc.file)); err != nil {
				t.Fatal(err)
			}
		})
		if got.Failure == nil || got.Failure.Findings[0].Rule != "IEXEC054" || got.Digest != "" {
			t.Errorf("%s: %+v", tc.file, got)
		}
	}
}

func TestWholeOutputFolder(t *testing.T) {
	tk := mustLoad(t, v5(`{}`))
	left := files{"computed.json": `{"deterministic-output-path": "/iexec_out"}`}
	quiet := run(t, tk, nil, left, nil)
	loud := run(t, tk, nil, left, func(l *task.Leftovers) { l.Stdout = write(t, "stdout", "a line\n") })
	if quiet.Digest == loud.Digest || quiet.Digest == "" || !strings.Contains(strings.Join(loud.Warnings, ""), "fragile") {
		t.Errorf("%+v %+v", quiet, loud)
	}
	if loud.Outputs["stdout.txt"].Path == "" || loud.Outputs["stderr.txt"].Path != "" {
		t.Errorf("%+v", loud.Outputs)
	}
}

func TestDigestOfFailedApp(t *testing.T) {
	got := run(t, mustLoad(t, v5(`{}`)), nil, files{"result.txt": "hello", "computed.json": computedResult}, func(l *task.Leftovers) { l.Exit.Code = 3 })
	if got.Digest == "" || !strings.Contains(strings.Join(got.Notes, "\n"), "deterministic failure: iExec 9.2 would contribute this") {
		t.Errorf("%+v", got)
	}
	log := write(t, "log", "wget: bad address 'example.com'\n")
	got = run(t, mustLoad(t, v2("", "")), nil, files{}, func(l *task.Leftovers) { l.Exit.Code, l.Log = 1, log })
	if !strings.Contains(strings.Join(got.Notes, "\n"), "this app asked for the network") {
		t.Errorf("%+v", got)
	}
}

func TestCollectLegacy(t *testing.T) {
	tk := mustLoad(t, v2("", ""))
	zip := packed(t, "a/in.txt", "keep.txt")
	dir := files{"keep.txt": "k", "sub/in.txt": "old"}.write(t)
	file := write(t, "in.txt", "input")
	for _, tc := range []struct {
		name   string
		input  string
		left   files
		except []string
	}{
		{"nothing given", "", files{"out": "x"}, nil},
		{"kept", file, files{"in.txt": "input", "out": "x"}, []string{"in.txt"}},
		{"changed, same size", file, files{"in.txt": "INPUT", "out": "x"}, nil},
		{"appended", file, files{"in.txt": "input more"}, nil},
		{"removed", file, files{"out": "x"}, nil},
		{"archive", zip, files{"a/in.txt": "content of a/in.txt", "keep.txt": "changed", "out": "x"}, []string{"a/in.txt"}},
		{"folder", dir, files{"keep.txt": "k", "sub/in.txt": "new", "sub/out": "x"}, []string{"keep.txt"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inputs := map[string]string{}
			if tc.input != "" {
				inputs["in"] = "@" + tc.input
			}
			got := run(t, tk, inputs, tc.left, nil)
			if d := cmp.Diff(tc.except, got.Outputs["result"].Except); d != "" {
				t.Error(d)
			}
			if got.Failure != nil || got.Digest == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestLegacyDigests(t *testing.T) {
	tk := mustLoad(t, v2("", ""))
	log := write(t, "log", "hello")
	withLog := func(l *task.Leftovers) { l.Log = log }

	got := run(t, tk, nil, files{"consensus.iexec": "3628800\n", "picture": "x"}, withLog)
	if got.Digest != "b983c444e57992b7de8b05f37514c746b9c0ac63deb6fcc043b5bf89c2949e81" || got.DigestRule != "sha256 of consensus.iexec" ||
		!strings.Contains(strings.Join(got.Notes, ""), "0x0419e0f2c5a7bdf4a910274dd3d9914110480f232959655f13f478bc42ec0f27") {
		t.Errorf("%+v", got)
	}
	if filepath.Base(got.Outputs["deterministic"].Path) != "consensus.iexec" || got.Outputs["stdout.txt"].Path != "" {
		t.Errorf("%+v", got.Outputs)
	}

	const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	if got = run(t, tk, nil, files{"only.txt": "hello"}, nil); got.Digest != hello || !strings.Contains(strings.Join(got.Notes, ""), "deterministic by result file") {
		t.Errorf("%+v", got)
	}
	if got = run(t, tk, nil, files{}, withLog); got.Digest != hello || !strings.Contains(got.DigestRule, "stdout.txt") {
		t.Errorf("%+v", got)
	}
	if got = run(t, tk, nil, files{"consensus.iexec": "", "x": "y"}, withLog); !strings.Contains(got.DigestRule, "not reproducible") {
		t.Errorf("%+v", got)
	}

	// The archive's digest depends on names and content only.
	left := files{"b": "2", "a": "1", "sub/c": "3"}
	one, two := run(t, tk, nil, left, withLog), run(t, tk, nil, left, withLog)
	if one.Digest != two.Digest || !strings.Contains(one.DigestRule, "not reproducible") || len(one.Warnings) != 1 {
		t.Errorf("%+v", one)
	}
	left["sub/c"] = "4"
	if other := run(t, tk, nil, left, withLog); other.Digest == one.Digest {
		t.Error("the digest does not depend on the content")
	}
	if got = run(t, tk, nil, files{}, nil); got.Digest != "" || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "there is no digest") {
		t.Errorf("%+v", got)
	}
}

// The digests that examples/iexec/README.md promises.
func TestExampleDigests(t *testing.T) {
	got := run(t, mustLoad(t, v2("", "")), nil, files{"consensus.iexec": "the 12\nship 4\nharbour 3\nand 2\nat 2\n"}, nil)
	if got.Digest != "87512937e787f5cd49b0aa7a14a1e50f8c7de37e60177a6432ad985d16711dc5" {
		t.Errorf("%+v", got)
	}
	got = run(t, mustLoad(t, v5(`{}`)), nil, files{"mean.txt": "mean of water level: 2.400 (4 rows)\n", "computed.json": `{"deterministic-output-path": "/iexec_out/mean.txt"}`}, nil)
	if got.Digest != "ee0d5f44e52d0d42958699927dff072f858b73fb41e046a2131078f806aae8bc" {
		t.Errorf("%+v", got)
	}
}

// FuzzComputed holds that whatever an app writes into its determinism files is answered by a digest or by a reason.
func FuzzComputed(f *testing.F) {
	f.Add(computedResult, "")
	f.Add(`{"deterministic-output-path": "/iexec_out/../../etc"}`, "0x00")
	f.Add("", strings.Repeat("ab", 32))
	f.Fuzz(func(t *testing.T, computed, determinism string) {
		left := files{"result.txt": "hello", "determinism.iexec": determinism}
		if computed != "" {
			left["computed.json"] = computed
		}
		got := run(t, mustLoad(t, v5(`{}`)), nil, left, nil)
		if (got.Failure == nil) != (got.Digest != "") {
			t.Errorf("%+v", got)
		}
		if _, err := hex.DecodeString(got.Digest); err != nil {
			t.Error(err)
		}
		// The same files without their result.json: they have no callback, unless that is all they have.
		bare := digest(t, contract.ResultFiles{FS: open(t, left.write(t))})
		if got.Digest != "" && bare.Digest != got.Digest || (bare.Digest == "") != (bare.Missing != "") {
			t.Errorf("%+v, and again %+v", got, bare)
		}
	})
}
