package iexec_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/contract/iexec"
	"longshore/internal/task"
)

// TestReferenceVerdicts holds the iExec reference, section 11.7: what two runs of one app show, in the reference's words.
func TestReferenceVerdicts(t *testing.T) {
	const hello = `{"deterministic-output-path": "/iexec_out/a"}`
	word := func(pkg files, one, two files, change func(*task.Leftovers)) string {
		tk := mustLoad(t, pkg)
		var results []*task.Result
		for _, left := range []files{one, two} {
			got := run(t, tk, nil, left, change)
			results = append(results, &task.Result{Digest: got.Digest, DigestRule: got.DigestRule, Warnings: got.Warnings, Notes: got.Notes})
		}
		return iexec.New().(contract.DeterminismJudge).JudgeRuns(results[0], results[1]).Word
	}
	said := func(l *task.Leftovers) { l.Stdout = write(t, "stdout", "a line\n") }
	for _, c := range []struct {
		row, want string
		pkg       files
		one, two  files
		change    func(*task.Leftovers)
	}{
		{"computed.json, same", "deterministic", v5(`{}`), files{"a": "1", "computed.json": hello}, files{"a": "1", "b": "other", "computed.json": hello}, nil},
		{"determinism.iexec, same", "deterministic", v5(`{}`), files{"determinism.iexec": "x\n"}, files{"determinism.iexec": "x\n", "b": "other"}, nil},
		{"consensus.iexec, same", "deterministic", v2("", ""), files{"consensus.iexec": "3628800\n"}, files{"consensus.iexec": "3628800\n", "picture": "other"}, nil},
		{"v2, one file", "deterministic by result file", v2("", ""), files{"a": "1"}, files{"a": "1"}, nil},
		{"v2, several files", "not reproducible", v2("", ""), files{"a": "1", "b": "2"}, files{"a": "1", "b": "2"}, nil},
		{"different digests", "not deterministic", v5(`{}`), files{"a": "1", "computed.json": hello}, files{"a": "2", "computed.json": hello}, nil},
		{"no computed.json", "no digest", v5(`{}`), files{"a": "1", "computed.json": hello}, files{"a": "1"}, nil},
		{"path missing", "no digest", v5(`{}`), files{"a": "1", "computed.json": hello}, files{"computed.json": hello}, nil},
		{"the whole folder, with the log", "fragile", v5(`{}`), files{"computed.json": `{"deterministic-output-path": "/iexec_out"}`}, files{"computed.json": `{"deterministic-output-path": "/iexec_out"}`}, said},
	} {
		if got := word(c.pkg, c.one, c.two, c.change); got != c.want {
			t.Errorf("%s: %q, want %q", c.row, got, c.want)
		}
	}

	// A run that failed is judged alone.
	alone := func(pkg files, left files, reason task.Code, change func(*task.Leftovers)) string {
		got := run(t, mustLoad(t, pkg), nil, left, change)
		res := &task.Result{Digest: got.Digest, DigestRule: got.DigestRule, Notes: got.Notes, Failure: got.Failure}
		if res.Failure == nil {
			res.Failure = &task.Failure{Reason: reason}
		}
		return iexec.New().(contract.DeterminismJudge).JudgeRuns(res, res).Word
	}
	failing := func(l *task.Leftovers) { l.Exit.Code = 3 }
	link := func(l *task.Leftovers) {
		if err := os.Symlink("b", filepath.Join(l.Mounts["iexec_out"], "a")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		row, want string
		pkg, left files
		reason    task.Code
		change    func(*task.Leftovers)
	}{
		{"exit code 3 with a digest", "deterministic failure", v5(`{}`), files{"a": "1", "computed.json": hello}, task.ReasonExit, failing},
		{"exit code 3 with a digest, v2", "deterministic failure", v2("", ""), files{"consensus.iexec": "1"}, task.ReasonExit, failing},
		{"exit code 3 without one", "no digest", v5(`{}`), files{"a": "1"}, task.ReasonExit, failing},
		{"no computed.json", "no digest", v5(`{}`), files{"a": "1"}, "", nil},
		{"a link in the deterministic part", "broken on upload", v5(`{}`), files{"b": "1", "computed.json": hello}, "", link},
		{"a fault of the machine", "", v5(`{}`), files{"a": "1"}, task.ReasonEngine, failing},
	} {
		if got := alone(c.pkg, c.left, c.reason, c.change); got != c.want {
			t.Errorf("%s: %q, want %q", c.row, got, c.want)
		}
	}
	failure := task.Failure{Reason: task.ReasonImage, Stage: task.Preparing}
	notes := iexec.New().(contract.FailureExplainer).ExplainFailure(mustLoad(t, v5(`{}`)), failure)
	res := &task.Result{Notes: notes, Failure: &failure}
	if got := iexec.New().(contract.DeterminismJudge).JudgeRuns(res, res).Word; got != "input failure" {
		t.Errorf("an error result: %q of %q", got, notes)
	}
}

// TestReferenceShapes holds the iExec reference, section 11.8: each shape loads, and means what it should.
func TestReferenceShapes(t *testing.T) {
	zero := strings.Repeat("0", 64)
	legacy := func(request string) string {
		return `{"app":{"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=org/app:1"}},"order":{"buy":{"params":{` + request + `}}}}`
	}
	app := func(app, more string) string {
		return `{"app":{"name":"a","type":"DOCKER","multiaddr":"org/app:1"` + app + `}` + more + `}`
	}
	args := func(want ...string) func(*testing.T, *task.Task) {
		return func(t *testing.T, tk *task.Task) {
			if got := prepare(t, tk, bind(t, tk, nil)).Process.Args; !slices.Equal(got, want) {
				t.Errorf("arguments %q, want %q", got, want)
			}
		}
	}
	image := func(want string) func(*testing.T, *task.Task) {
		return func(t *testing.T, tk *task.Task) {
			if tk.Image.Name != want {
				t.Errorf("image %q, want %q", tk.Image.Name, want)
			}
		}
	}
	for _, c := range []struct {
		row, name, text string
		rule            string // of the warning or error that is expected
		valid           bool
		check           func(*testing.T, *task.Task)
	}{
		{"image with no tag", "iexec.json", `{"app":{"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=hello-world"}}}`, "IEXEC016", true, image("hello-world:latest")},
		{"cmdline absent", "iexec.json", legacy(""), "", true, args()},
		{"cmdline empty", "iexec.json", legacy(`"cmdline":""`), "", true, args()},
		{"cmdline with a leading blank", "iexec.json", legacy(`"cmdline":" a b"`), "", true, args("a", "b")},
		{"cmdline with a word of 81 characters", "iexec.json", legacy(`"cmdline":"` + strings.Repeat("x", 81) + `"`), "", true, args(strings.Repeat("x", 81))},
		{"cmdline relative", "iexec.json", legacy(`"cmdline":"iexec/x"`), "IEXEC023", true, args("iexec/x")},
		{"cmdline absolute", "iexec.json", legacy(`"cmdline":"/iexec/x"`), "", true, args("/iexec/x")},
		{"order absent", "iexec.json", `{"app":{"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=org/app:1"}}}`, "", true, args()},
		{"order.buy without app and dataset", "iexec.json", legacy(`"cmdline":"x"`), "", true, args("x")},
		{"trailing comma", "iexec.json", strings.Replace(legacy(`"cmdline":"x"`), "}}}}", "}}},}", 1), "IEXEC002", true, args("x")},
		{"v1 with data", "iexec.js", "module.exports = {name: 'F', data: {type: 'DOCKER', envvars: 'XWDOCKERIMAGE=org/app:1'}, work: {cmdline: '10'}}", "", true, args("10")},
		{"v1 with app", "iexec.js", "module.exports = {name: 'F', app: {type: 'DOCKER', envvars: 'XWDOCKERIMAGE=org/app:1'}, work: {cmdline: '10'}}", "", true, args("10")},
		{"v1 with only name", "iexec.js", "module.exports = {name: 'F'}", "IEXEC009", true, nil},
		{"v1 with a template literal", "iexec.js", "module.exports = {name: 'F', app: {type: 'DOCKER', envvars: `XWDOCKERIMAGE=org/app:1`}}", "", true, image("org/app:1")},
		{"v1 with a trailing ;", "iexec.js", "module.exports = {name: 'F', app: {type: 'DOCKER', envvars: 'XWDOCKERIMAGE=org/app:1'}};", "", true, image("org/app:1")},
		{"params as text", "iexec.json", app("", `,"buyConf":{"params":"a 'b c'"}`), "", true, args("a", "b c")},
		{"params as an object", "iexec.json", app("", `,"buyConf":{"params":{"iexec_args":"a b"}}`), "", true, args("a", "b")},
		{"params as text of a JSON array", "iexec.json", app("", `,"buyConf":{"params":"[\"a\",\"b\"]"}`), "", true, args("[a,b]")},
		{"params empty", "iexec.json", app("", `,"buyConf":{"params":""}`), "", true, args()},
		{"mrenclave empty", "iexec.json", app(`,"mrenclave":""`, ""), "", true, nil},
		{"mrenclave absent", "iexec.json", app("", ""), "", true, nil},
		{"mrenclave of v3", "iexec.json", app(`,"mrenclave":"aa|bb|`+zero+`|python /app.py"`, ""), "", true, nil},
		{"mrenclave as text", "iexec.json", app(`,"mrenclave":"{\"provider\":\"SCONE\",\"version\":\"v5\",\"entrypoint\":\"python /app.py\",\"heapSize\":1073741824,\"fingerprint\":\"`+zero+`\"}"`, ""), "", true, nil},
		{"mrenclave as an object", "iexec.json", app(`,"mrenclave":{"framework":"SCONE","version":"v5","entrypoint":"python /app.py","heapSize":1073741824,"fingerprint":"`+zero+`"}`, ""), "", true, nil},
		{"trust as a number", "iexec.json", app("", `,"buyConf":{"trust":3}`), "", true, nil},
		{"trust as text", "iexec.json", app("", `,"buyConf":{"trust":"3"}`), "", true, nil},
		{"multiaddr of docker.io", "iexec.json", `{"app":{"name":"a","type":"DOCKER","multiaddr":"docker.io/org/app:1"}}`, "", true, image("org/app:1")},
		{"multiaddr of the hub", "iexec.json", `{"app":{"name":"a","type":"DOCKER","multiaddr":"registry.hub.docker.com/org/app:1"}}`, "", true, image("org/app:1")},
		{"checksum zero", "iexec.json", app(`,"checksum":"0x`+zero+`"`, ""), "IEXEC019", true, nil},
		{"GPU bit 16", "iexec.json", app("", `,"buyConf":{"tag":"0x`+zero[:59]+`10000"}`), "IEXEC061", true, nil},
		{"a TEE tag with a callback", "iexec.json", app("", `,"buyConf":{"tag":["tee","tdx"],"callback":"0x4CF114732732c072D49a783e80C6Fe9fe8BA420a"}`), "IEXEC034", false, nil},
	} {
		t.Run(c.row, func(t *testing.T) {
			tk, found := load(t, files{c.name: c.text})
			if task.HasErrors(found) == c.valid || c.valid && tk == nil {
				t.Fatalf("%v", found)
			}
			if c.rule != "" && !slices.ContainsFunc(found, func(f task.Finding) bool { return f.Rule == c.rule }) {
				t.Errorf("no %s: %v", c.rule, found)
			}
			if c.check != nil {
				c.check(t, tk)
			}
		})
	}

	mixed := files{
		"old/iexec.js":   "module.exports = {name: 'F', app: {type: 'DOCKER', envvars: 'XWDOCKERIMAGE=org/old:1'}};",
		"v2/iexec.json":  legacy(`"cmdline":"x"`),
		"new/iexec.json": app("", ""),
	}.write(t)
	for dir, want := range map[string]string{"old": "org/old:1", "v2": "org/app:1", "new": "org/app:1"} {
		tk, found := iexec.New().Load(folder(filepath.Join(mixed, dir)), contract.Options{})
		if tk == nil || task.HasErrors(found) || tk.Image.Name != want {
			t.Errorf("a tree that mixes generations, %s: %+v %v", dir, tk, found)
		}
	}
}
