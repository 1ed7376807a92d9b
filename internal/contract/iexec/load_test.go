package iexec_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/iexec"
	"longshore/internal/task"
)

// seedFragment is the page's own snippet, as it stands there.
const seedFragment = `"app": {
  "name": "Ffmpeg",
  "price": 10,
  "params": {
    "type": "DOCKER",
    "envvars": "XWDOCKERIMAGE=jrottenberg/ffmpeg:scratch"
  }
},
"order": {
  "buy": {
    "app": "0xXXXXXXXXXXXXXXXXXXX",
    "dataset": "0x0000000000000000000000000000000000000000",
    "params": {
      "cmdline": "-i /iexec/small.mp4 /iexec/small.avi",
      "dirinuri: "http://techslides.com/demos/sample-videos/small.mp4"
    }
  }
}
`

func TestSeedFragment(t *testing.T) {
	tk, findings := load(t, files{"iexec.js": seedFragment})
	if tk != nil {
		t.Error("a task was made of a broken manifest")
	}
	want := []task.Finding{{Rule: "IEXEC001", Severity: task.SeverityError, File: "iexec.js", Line: 15, Column: 7,
		What: `not valid JSON or JavaScript: the closing quote of the name "dirinuri" is missing`,
		Why:  `the line is: "dirinuri: "http://techslides.com/demos/sample-videos/small.mp4"`,
		Mend: `write: "dirinuri": "http://techslides.com/demos/sample-videos/small.mp4"`}}
	if d := cmp.Diff(want, findings); d != "" {
		t.Error(d)
	}

	mended := strings.Replace(seedFragment, `"dirinuri: "`, `"dirinuri": "`, 1)
	tk, findings = load(t, files{"iexec.js": mended})
	if tk == nil || len(findings) != 1 || findings[0].Rule != "IEXEC003" || findings[0].What != "members are not enclosed in braces" {
		t.Errorf("mended: %v", findings)
	}
	checkFfmpeg(t, tk)
}

func checkFfmpeg(t *testing.T, tk *task.Task) {
	t.Helper()
	if tk.Name != "Ffmpeg" || tk.Image.Name != "jrottenberg/ffmpeg:scratch" || tk.Image.Kind != task.ImageReference {
		t.Errorf("name %q, image %+v", tk.Name, tk.Image)
	}
	if got := tk.Parameter(task.Input, "cmdline").Default.Text; got != "-i /iexec/small.mp4 /iexec/small.avi" {
		t.Errorf("args %q", got)
	}
	if got := tk.Parameter(task.Input, "dirinuri").Place.Path; got != "/iexec/small.mp4" {
		t.Errorf("input at %q", got)
	}
	if !strings.HasPrefix(tk.Dialect, "v2 (") {
		t.Errorf("dialect %q", tk.Dialect)
	}
}

// Every form says the same.
func TestForms(t *testing.T) {
	const body = `app: {name: 'Ffmpeg', params: {type: "DOCKER", envvars: 'XWDOCKERIMAGE=jrottenberg/ffmpeg:scratch'}},
	order: {buy: {params: {cmdline: "-i /iexec/small.mp4 /iexec/small.avi", dirinuri: "http://techslides.com/demos/sample-videos/small.mp4",},},},`
	for name, text := range map[string]string{
		"module":       "// a dapp\nmodule.exports = {" + body + "};\n",
		"no semicolon": "'use strict'\n/* a dapp */ module.exports = {" + body + "}",
		"export":       "export default {" + body + "}",
		"members set":  "exports.app = {" + strings.SplitN(body[6:], "\n", 2)[0] + "\n" + "exports.order = {" + strings.SplitN(body, "order: {", 2)[1][:len(strings.SplitN(body, "order: {", 2)[1])-1],
		"object":       "{" + body + "}",
		"fragment":     body,
		"computed": "const image = 'jrottenberg/ffmpeg', tag = `scratch`;\nconst env = (k, v) => `${k}=${v}`;\n" +
			"function vars(list) { if (list.length) { return list.join(','); } return ''; }\n" +
			"const all = {" + body + "};\nmodule.exports = { ...all, app: Object.assign({}, all.app, { params: { type: 'DOCKER', envvars: vars([env('XWDOCKERIMAGE', image + ':' + tag)]) } }) };",
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{"iexec.js", "iexec.json"} {
				tk, findings := load(t, files{file: text})
				if tk == nil || task.HasErrors(findings) {
					t.Fatalf("%s: %v", file, findings)
				}
				checkFfmpeg(t, tk)
			}
		})
	}
}

func TestTrailingCommaIsWarnedOf(t *testing.T) {
	_, findings := load(t, files{"iexec.json": "{\"app\":{\"name\":\"a\",\n\"params\":{\"type\":\"DOCKER\",\"envvars\":\"XWDOCKERIMAGE=org/app:1\",\n}}}"})
	if len(findings) != 1 || findings[0].Rule != "IEXEC002" || findings[0].Line != 3 || findings[0].Mend != "remove the comma before }" {
		t.Errorf("%v", findings)
	}
}

func TestSyntaxErrors(t *testing.T) {
	for _, tc := range []struct{ name, text, at, want, mend string }{
		{"empty", "", "1:1", "the document ends too early", "close"},
		{"not closed", "{\"app\": {", "1:10", "ends too early", "close"},
		{"missing comma", "{\"app\": {\"name\": \"a\"\n \"price\": 1}}", "2:2", `a comma is missing before the text "price"`, "comma"},
		{"opening quote", "{\"app\": {\n  name\": \"a\"}}", "2:3", "the opening quote of the name \"name\" is missing", `write: "name": "a"`},
		{"open text", "{\"app\": {\n  \"name\": \"a,\n \"price\": 1}}", "2:11", "not closed on its line", `close it: "a",`},
		{"equals", `{"app" = {}}`, "1:8", "stands a colon", `":"`},
		{"typographic", "{“app”: {}}", "1:2", "typographic", "plain"},
		{"python", `{"app": {"x": None}}`, "1:15", "None is not defined", "null"},
		{"python true", `{"app": {"x": True}}`, "1:15", "True is not defined", "true"},
		{"hash", "{\n  # the app\n  \"app\": {}}", "2:3", "# begins no comment", "//"},
		{"comment", "{ /* app", "1:3", "never closed", "*/"},
		{"require", "module.exports = require('./other');", "1:18", "without access to the machine", "node -p"},
		{"environment", "module.exports = {app: {name: process.env.NAME}};", "1:31", "process is not there", "node -p"},
		{"loop", "while (true) {}\nmodule.exports = {};", "1:1", `"while" is not evaluated`, "node -p"},
		{"recursion", "const f = () => f();\nmodule.exports = f();", "1:17", "nested too deeply", ""},
		{"nothing exported", "const a = 1;", "1:1", "exports nothing", "module.exports"},
		{"bomb of text", "let a = 'aaaaaaaaaaaaaaaa';\n" + strings.Repeat("a += a;", 40) + "module.exports = {app: a};", "2:126", "more text than", ""},
		{"bomb of lists", "let a = [1];\n" + strings.Repeat("a = [a, a];", 40) + "module.exports = {app: a};", "1:1", "too many values", ""},
		{"circle", "const a = {}; a.a = a; module.exports = a;", "1:1", "too deeply", ""},
		{"depth", "{\"app\": " + strings.Repeat("[", 5000), "1:141", "nested too deeply", ""},
		{"regular expression", "module.exports = {app: /a+/};", "1:24", "regular expressions", ""},
		{"latin 1", "{'app': '\xe9'}", "1:1", "not UTF-8", "UTF-8"},
		{"long and deep", strings.Repeat("{\"a\":", 100_000), "1:1006", "nested too deeply", ""},
		{"long and loose", "{\"a\": \"" + strings.Repeat("x", 300_000) + "\",\n}", "2:1", "beginning of object key", "remove the comma"},
		{"two values", "{\"app\": {}} {}", "1:13", "more after the end", "remove"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tk, findings := load(t, files{"iexec.json": tc.text})
			if tk != nil || len(findings) != 1 {
				t.Fatalf("task %v, findings %v", tk, findings)
			}
			f := findings[0]
			if f.Rule != "IEXEC001" || fmt.Sprintf("%d:%d", f.Line, f.Column) != tc.at || !strings.Contains(f.What, tc.want) || !strings.Contains(f.Mend, tc.mend) {
				t.Errorf("got %v, want %s: %s; %s", f, tc.at, tc.want, tc.mend)
			}
			if !strings.HasPrefix(f.What, "not valid JSON or JavaScript: ") {
				t.Errorf("text %q", f.What)
			}
		})
	}
}

func TestRecognise(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files files
		file  string
		want  contract.Certainty
		main  string
	}{
		{"v2", v2("", ""), "", contract.Certain, "iexec.json"},
		{"broken", files{"iexec.js": seedFragment}, "", contract.Likely, "iexec.js"},
		{"both", files{"iexec.js": "module.exports = {name: 'a'}", "iexec.json": "{}"}, "", contract.Likely, "iexec.json"},
		{"none", files{"package.json": `{"name": "a"}`}, "", contract.No, ""},
		{"other name", files{"dapp.json": v2("", "")["iexec.json"]}, "dapp.json", contract.Likely, "dapp.json"},
		{"other content", files{"package.json": `{"name": "a"}`}, "package.json", contract.No, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := tc.files.source(t)
			src.File = tc.file
			got := iexec.New().Recognise(src)
			if got.Certainty != tc.want || got.Manifest != tc.main || (got.Evidence == "") != (tc.want == contract.No) {
				t.Errorf("%+v", got)
			}
		})
	}
	if got := iexec.New().Recognise(contract.Source{}); got.Certainty != contract.No {
		t.Errorf("an image alone: %+v", got)
	}
}

func TestGenerations(t *testing.T) {
	const app = `"app":{"name":"a","type":"DOCKER","multiaddr":"org/app:1"`
	for text, want := range map[string]string{
		v2("", "")["iexec.json"]: "v2",
		`{"name":"F","app":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=org/image:tag"},"work":{"cmdline":"10"}}`:         "v1",
		`{"name":"F","data":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=org/image:tag"}}`:                                "v1",
		`{` + app + `},"buyConf":{"params":{"iexec_args":"a"}}}`:                                                       "v5+",
		`{` + app + `},"buyConf":{"params":"a b"}}`:                                                                    "v3/v4",
		`{` + app + `,"mrenclave":"k|t|m|e"}}`:                                                                         "v3/v4",
		`{` + app + `,"mrenclave":"{\"provider\":\"GRAMINE\",\"fingerprint\":\"` + strings.Repeat("ab", 32) + `\"}"}}`: "v5+",
		`{` + app + `,"params":{}}}`:                                                                                   "v5+",
	} {
		tk, findings := load(t, files{"iexec.json": text})
		if tk == nil || task.HasErrors(findings) || !strings.HasPrefix(tk.Dialect, want+" (") {
			t.Errorf("%s\n: %v %v", text, tk, findings)
		}
	}
}

func TestNothingToRun(t *testing.T) {
	for text, what := range map[string]string{
		`{"name":"contract"}`:                        "a contract-only project",
		`{"dataset":{"owner":"0x1","name":"d"}}`:     "a dataset",
		`{"workerpool":{"owner":"0x1"}}`:             "a workerpool",
		`{"workerPool":{"description":"a v2 pool"}}`: "a workerpool",
	} {
		tk, findings := load(t, files{"iexec.json": text})
		if tk == nil || len(findings) != 1 || findings[0].Rule != "IEXEC009" || !strings.Contains(findings[0].What, what) {
			t.Fatalf("%s: %v", text, findings)
		}
		_, err := iexec.New().Prepare(tk, task.ImageFacts{}, task.Values{})
		if task.CodeOf(err) != task.ReasonInput {
			t.Errorf("prepare: %v", err)
		}
	}
}

// Each rule, with the text that the platform's reference gives.
func TestFindings(t *testing.T) {
	later := func(app, more string) string {
		return `{"app":{"name":"a","type":"DOCKER","multiaddr":"org/app:1"` + app + `}` + more + `}`
	}
	old := func(envvars, request string) string {
		return `{"app":{"name":"a","params":{"type":"DOCKER","envvars":"` + envvars + `"}},"order":{"buy":{"params":{` + request + `}}}}`
	}
	const image = "XWDOCKERIMAGE=org/app:1"
	zero := strings.Repeat("0", 64)
	for _, tc := range []struct{ rule, text, want string }{
		{"IEXEC005", `{"app":{"name":1,"params":{"type":"DOCKER","envvars":"` + image + `"}}}`, "app.name is a number, must be a string"},
		{"IEXEC006", `{"app":{"nmae":"a","params":{"type":"DOCKER","envvars":"` + image + `"}}}`, `unknown field "nmae" in app`},
		{"IEXEC007", `{"app":{"name":"a","name":"b","params":{"type":"DOCKER","envvars":"` + image + `"}}}`, `"name" is written twice`},
		{"IEXEC008", `{"description":"d"}`, `no "app" block: this file describes nothing to run (expected app.params.envvars, app.multiaddr, or a v1 "app"/"data" block)`},
		{"IEXEC008", `{"order":{"buy":{}}}`, `no "app" block`},
		{"IEXEC010", `{"app":{"params":{"envvars":"` + image + `"}}}`, `app.params.type is missing, only "DOCKER" can run`},
		{"IEXEC010", `{"app":{"params":{"type":"VM","envvars":"` + image + `"}}}`, `app.params.type is "VM", only "DOCKER" can run`},
		{"IEXEC010", `{"app":{"type":"VM","multiaddr":"org/app:1"}}`, `"VM" is not a valid type`},
		{"IEXEC011", `{"name":"F","data":{"type":"BINARY","cpu":"AMD64","os":"LINUX"}}`, "BINARY dapps run a bare executable on the worker's host; only DOCKER dapps can run here"},
		{"IEXEC012", old("A=b", ""), "app.params.envvars must set XWDOCKERIMAGE=<image>: it names the docker image of the dapp"},
		{"IEXEC013", old(image+", A", ""), `envvars item "A" is not NAME=VALUE (items are separated by commas, so a value cannot hold a comma)`},
		{"IEXEC014", old(image+",A=b=c", ""), `envvars item "A=b=c" is kept here (split at the first "="); iExec v2 workers drop it without a word`},
		{"IEXEC014", old(image+",A=", ""), `envvars item "A=" is kept here`},
		{"IEXEC015", old("XWDOCKERIMAGE=Org/App:1", ""), `"Org/App:1" is not an image reference`},
		{"IEXEC015", `{"app":{"multiaddr":"/ipfs/Qm"}}`, `"/ipfs/Qm" is not an image reference`},
		{"IEXEC016", old("XWDOCKERIMAGE=hello-world", ""), `"hello-world" has no tag: "latest" is used here; iExec workers from v5 on cannot pull it`},
		{"IEXEC017", `{"app":{"multiaddr":"org/app@sha256:` + strings.Repeat("a", 64) + `"}}`, "iExec workers look images up by tag and would report the image as missing after pulling org/app@sha256"},
		{"IEXEC018", later(`,"checksum":"0xABC"`, ""), `"0xABC" is not a bytes32 hexstring`},
		{"IEXEC019", later(`,"checksum":"0x`+zero+`"`, ""), "checksum is zero: the image is not pinned"},
		{"IEXEC019", later("", `,"buyConf":{"dataset":"0x4CF114732732c072D49a783e80C6Fe9fe8BA420a"},"dataset":{"multiaddr":"http://a/b"}`), "dataset.checksum is missing"},
		{"IEXEC019", later("", `,"dataset":{"checksum":"0x`+zero+`"}`), "checksum is zero: the dataset is not pinned"},
		{"IEXEC021", old(image, `"cmdline":"'a b'"`), "v2 splits the command line on white space only; quotes are passed to the program as they are"},
		{"IEXEC022", later("", `,"buyConf":{"params":{"iexec_args":"it's"}}`), "unbalanced quotes in it's"},
		{"IEXEC023", old(image, `"cmdline":"iexec/x"`), `relative path "iexec/x" works only if the image's working directory is "/" (it is not known yet)`},
		{"IEXEC024", old(image, `"cmdline":"-i /host/x"`), "the platform's page says /host once and /iexec elsewhere; workers mount only /iexec (both are provided here)"},
		{"IEXEC025", old(image, `"dirinuri":"small.mp4"`), `dirinuri "small.mp4" has no scheme or host (upstream drops the whole order)`},
		{"IEXEC025", old(image, `"dirinuri":""`), `dirinuri "" has no scheme or host`},
		{"IEXEC026", old(image, `"dirinuri":"http://example.com/a/"`), `dirinuri "http://example.com/a/" has no file name`},
		{"IEXEC026", old(image, `"dirinuri":"http://example.com/%2e%2e"`), `has no file name`},
		{"IEXEC027", old(image, `"dirinuri":"xw://host/uid"`), "xw:// names a file on an XtremWeb scheduler that no longer exists; give a http(s) URL or a local file"},
		{"IEXEC027", old(image, `"dirinuri":"file:///etc/passwd"`), "file: URLs of a manifest are read on the author's own machine only"},
		{"IEXEC028", later("", `,"buyConf":{"params":{"iexec_input_files":["ftp://a/b"]}}`), `iexec_input_files[0] "ftp://a/b" is not a valid URL`},
		{"IEXEC029", later("", `,"buyConf":{"params":{"iexec_input_files":["http://a/x","http://b/x"]}}`), "http://a/x and http://b/x have the same file name; they are stored as 0x<sha256 of url>"},
		{"IEXEC031", later("", `,"buyConf":{"params":{"iexec_result_encryption":true}}`), "result encryption needs a TEE task (TASK_DESCRIPTION_INVALID)"},
		{"IEXEC033", later("", `,"buyConf":{"tag":["tee","tdx"],"trust":"2"}`), "TEE tasks accept trust 0 or 1 only"},
		{"IEXEC034", later("", `,"buyConf":{"tag":["tee","tdx"]}`), "this app needs a TDX enclave; Longshore can check signatures but cannot run enclaves"},
		{"IEXEC034", later("", `,"buyConf":{"tag":"0x`+zero[:62]+`03"}`), "this app needs a SCONE enclave"},
		{"IEXEC035", `{"description":"short","app":{"params":{"type":"DOCKER","envvars":"` + image + `"}}}`, "description must be at least 150 characters"},
		{"IEXEC036", `{"logo":"logo.png","app":{"params":{"type":"DOCKER","envvars":"` + image + `"}}}`, `missing "logo.png" logo image file`},
		{"IEXEC038", later("", `,"license":"MIT"`), "the dapp registry also demands description, author, logo, social, buyConf, app.owner, app.checksum"},
		{"IEXEC039", old(image, `"dirinuri":"http://example.com/Dockerfile"`), "Dockerfile is not supported in the input directory"},
		{"IEXEC041", later("", `,"buyConf":{"params":{"wrong":"a"}}`), `buyConf.params as a whole is taken for arguments, as workers do: Unknown key "wrong" in params`},
		{"IEXEC041", later("", `,"buyConf":{"params":{"iexec_arg":"a"}}`), `Unknown key "iexec_arg" in params; did you mean iexec_args?`},
		{"IEXEC041", later("", `,"buyConf":{"params":"{\"wrong_field1\":\"a\"}"}`), `Unknown key "wrong_field1" in params`},
		{"IEXEC041", later("", `,"buyConf":{"params":{"iexec_developer_logger":true}}`), "iexec_developer_logger is dropped here"},
		{"IEXEC042", later("", `,"buyConf":{"params":{"iexec_result_storage_provider":"box"}}`), `"box" is not a valid storage provider, use one of the supported providers (dropbox, ipfs)`},
		{"IEXEC042", later("", `,"buyConf":{"params":{"iexec_secrets":{"1":"s"}}}`), "iexec_secrets is not supported for non TEE tasks"},
		{"IEXEC042", later("", `,"buyConf":{"params":{"iexec_secrets":{"0":"s"}}}`), "iexec_secrets mapping keys must be strictly positive integers"},
		{"IEXEC042", later("", `,"buyConf":{"tag":["tee","tdx"],"params":{"iexec_secrets":{"1":5}}}`), "iexec_secrets mapping names must be strings"},
		{"IEXEC043", later("", `,"buyConf":{"tag":["fast"]}`), "Unknown tag fast"},
		{"IEXEC043", later("", `,"order":{"datasetorder":{"tag":["fast"]}}`), "Unknown tag fast"},
		{"IEXEC043", later("", `,"order":{"workerpoolorder":{"tag":["tdx"]}}`), "'tdx' tag must be used with 'tee' tag"},
		{"IEXEC006", later("", `,"order":{"workerpoolorder":{"prize":1}}`), `unknown field "prize" in order.workerpoolorder`},
		{"IEXEC067", later("", `,"buyConf":{"tag":["tee","scone"]}`), "Unsupported legacy TEE framework tag ('scone')"},
		{"IEXEC068", later("", `,"buyConf":{"callback":"nope"}`), "buyConf.callback nope is not a valid ethereum address"},
		{"IEXEC015", `{"app":{"multiaddr":" org/app:1"}}`, `" org/app:1" is not an image reference`},
		{"IEXEC043", later("", `,"buyConf":{"tag":["tdx"]}`), "'tdx' tag must be used with 'tee' tag"},
		{"IEXEC043", later("", `,"order":{"apporder":{"tag":["tee"]}}`), "'tee' tag must be used with a tee framework ('tdx')"},
		{"IEXEC044", later(`,"mrenclave":{"framework":"SCONE","fingerprint":"`+zero+`","heapSize":1}`, ""), "Empty entrypoint"},
		{"IEXEC044", later(`,"mrenclave":{"framework":"TDX","entrypoint":"e","fingerprint":"`+zero+`","heapSize":-1}`, ""), "Empty or negative heap size: -1"},
		{"IEXEC044", later(`,"mrenclave":{"framework":"GRAMINE","fingerprint":"00"}`, ""), "Fingerprint size is not 32: 00"},
		{"IEXEC045", old("A=b", `"cmdline":"--xwimage org/app:1 x"`), "the command line names the image: --xwimage org/app:1 is taken out of it"},
		{"IEXEC046", old(image, `"cmdline":"/iexec/*.txt"`), `"/iexec/*.txt" is passed on as it is`},
		{"IEXEC047", old(image+",FORTANIXENABLED=1", ""), "FORTANIXENABLED asks for SGX devices"},
		{"IEXEC048", later("", `,"buyConf":{"trust":"much"}`), `buyConf.trust "much" is not a number from 0`},
		{"IEXEC049", later("", `,"order":{"requestorder":{"category":"9"}}`), "category 9 is not known"},
		{"IEXEC055", old(image, `"cmdline":"--help"`), "--help is passed to the app"},
		{"IEXEC055", old(image, `"cmdline":"--xwimage other x"`), "--xwimage is passed to the app"},
		{"IEXEC057", later("", `,"dataset":{"name":"d"}`), "takes part in a run only when it is given"},
		{"IEXEC060", later("", `,"buyConf":{"tag":"0x`+zero[:58]+`100000"}`), "Unknown bit 20 in tag"},
		{"IEXEC061", later("", `,"buyConf":{"tag":"0x`+zero[:58]+`010000"}`), "bit 16 of the tag"},
	} {
		t.Run(tc.rule+" "+tc.want, func(t *testing.T) {
			_, findings := load(t, files{"iexec.json": tc.text})
			severities := map[string]task.Severity{}
			for _, r := range iexec.Rules() {
				severities[r.ID] = r.Severity
			}
			for _, f := range findings {
				if f.Rule == tc.rule && strings.Contains(f.What, tc.want) {
					if f.Severity != severities[f.Rule] || f.File == "" || f.Line == 0 || f.Column == 0 {
						t.Errorf("incomplete: %+v", f)
					}
					return
				}
			}
			t.Errorf("not found in %v", findings)
		})
	}
}

func TestCompanionFindings(t *testing.T) {
	good := v2("iexec/x", "")["iexec.json"]
	for _, tc := range []struct {
		rule  string
		files files
		want  string
	}{
		{"IEXEC004", files{"iexec.json": good, "iexec.js": "module.exports = {}"}, "iexec.json is read"},
		{"IEXEC056", files{"readme": ""}, "there is no iexec.json or iexec.js"},
		{"IEXEC037", files{"iexec.json": good, "deployed.json": "{}"}, `missing app field. You should run "iexec app deploy"`},
		{"IEXEC023", files{"iexec.json": good, "Dockerfile": "FROM busybox\nWORKDIR /app\n"}, `(it is /app)`},
		{"IEXEC058", files{"iexec.json": good, "Dockerfile": "FROM\n"}, "the Dockerfile cannot be parsed"},
	} {
		_, findings := load(t, tc.files)
		found := false
		for _, f := range findings {
			found = found || f.Rule == tc.rule && strings.Contains(f.What, tc.want)
		}
		if !found {
			t.Errorf("%s: %v", tc.rule, findings)
		}
	}
}

// Published manifests come in many shapes; none of these is an error.
func TestShapes(t *testing.T) {
	zero := strings.Repeat("0", 64)
	for name, text := range map[string]string{
		"no order":               `{"app":{"name":"a","price":1,"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=hello-world"}}}`,
		"empty command line":     v2("", "")["iexec.json"],
		"leading blank":          v2("   x", "")["iexec.json"],
		"long word":              v2(strings.Repeat("x", 81), "")["iexec.json"],
		"query":                  `{"app":{"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=org/app:1"}},"order":{"buy":{"params":{"dirinuri":"https://example.com/contracts.zip?raw=true"}}}}`,
		"v1 template":            "module.exports = {name: 'F', app: {type: 'DOCKER', envvars: `XWDOCKERIMAGE=org/image:tag`}, work: {cmdline: '10'}};",
		"docker.io":              `{"app":{"multiaddr":"docker.io/org/app:1"}}`,
		"hub":                    `{"app":{"multiaddr":"registry.hub.docker.com/org/app:1"}}`,
		"params list text":       `{"app":{"multiaddr":"org/app:1"},"buyConf":{"params":"[\"a\",\"b\"]"}}`,
		"empty params":           `{"app":{"multiaddr":"org/app:1"},"buyConf":{"params":""}}`,
		"trust number":           `{"app":{"multiaddr":"org/app:1"},"buyConf":{"trust":3}}`,
		"trust text":             `{"app":{"multiaddr":"org/app:1"},"buyConf":{"trust":"3"}}`,
		"first line for a shell": "#!/usr/bin/env node\n'use strict'\nmodule.exports = {name: 'F', app: {type: 'DOCKER', envvars: 'XWDOCKERIMAGE=org/image:tag'}}",
		"heap size as text":      `{"app":{"multiaddr":"org/app:1","mrenclave":{"provider":"SCONE","version":"v5","entrypoint":"e","heapSize":"1073741824","fingerprint":"` + zero + `"}}}`,
		"addresses":              `{"app":{"multiaddr":"org/app:1"},"buyConf":{"dataset":"data.iexec.eth","callback":"0x"},"order":{"datasetorder":{"tag":["tee","scone"]}},"dataset":{"multiaddr":"http://a/b"}}`,
		"empty enclave":          `{"app":{"multiaddr":"org/app:1","mrenclave":""}}`,
		"gpu":                    `{"app":{"multiaddr":"org/app:1"},"buyConf":{"tag":"0x` + zero[:60] + `0100"}}`,
		"template":               `{"app":{"owner":"0x0","name":"a","type":"DOCKER","multiaddr":"org/app:1","checksum":"0x` + zero + `"},"order":{"requestorder":{"app":"0x0","appmaxprice":"0","volume":"1","category":"0","trust":"0","tag":[],"params":{"iexec_args":"","iexec_input_files":[],"iexec_result_encryption":false},"callback":"0x0000000000000000000000000000000000000000"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			tk, findings := load(t, files{"iexec.json": text})
			if tk == nil || task.HasErrors(findings) {
				t.Errorf("%v", findings)
			}
			if name == "hub" && tk.Image.Name != "org/app:1" {
				t.Errorf("image %q", tk.Image.Name)
			}
			if name == "gpu" && tk.Resources.GPUs != 1 {
				t.Error("no GPU asked for")
			}
		})
	}
}

func TestDockerfileBesideTheManifest(t *testing.T) {
	fs := v2("x", "")
	fs["Dockerfile"] = "FROM busybox\n"
	src := fs.source(t)
	tk, _ := iexec.New().Load(src, contract.Options{})
	want := task.ImageSource{Kind: task.ImageBuild, Name: "org/app:1", Context: src.Dir, Dockerfile: "Dockerfile"}
	if d := cmp.Diff(want, tk.Image); d != "" {
		t.Error(d)
	}
}

func TestVariants(t *testing.T) {
	src := files{"iexec.json": `{"app":{"multiaddr":"org/app:1"},"buyConf":{"tag":["tee","tdx"],"params":{"iexec_input_files":["http://a/x.csv"]}}}`}.source(t)
	if _, findings := iexec.New().Load(src, contract.Options{Variant: "standard,v9"}); task.HasErrors(findings) {
		t.Errorf("%v", findings)
	}
	if _, findings := iexec.New().Load(src, contract.Options{Variant: "v12,standard"}); len(findings) != 1 || findings[0].Rule != "IEXEC050" {
		t.Errorf("%v", findings)
	}
}

type fakeImage struct{ facts task.ImageFacts }

func (fakeImage) ReadFile(string, int64) ([]byte, error) { return nil, os.ErrNotExist }
func (f fakeImage) Facts() task.ImageFacts               { return f.facts }

func TestCheckImage(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	tk := mustLoad(t, files{"iexec.json": `{"app":{"multiaddr":"org/app:1","checksum":"0x` + sum + `"}}`})
	c := iexec.Contract{}
	if _, f := c.CheckImage(tk, contract.Source{}, fakeImage{task.ImageFacts{Digest: "sha256:" + sum}}); len(f) != 0 {
		t.Errorf("%v", f)
	}
	_, f := c.CheckImage(tk, contract.Source{}, fakeImage{task.ImageFacts{Digest: "sha256:00"}})
	if len(f) != 1 || f[0].What != "image digest sha256:00 does not match app.checksum 0x"+sum || f[0].Line != 1 {
		t.Errorf("%v", f)
	}
	if _, err := c.Prepare(tk, task.ImageFacts{Digest: "sha256:00"}, task.Values{}); task.CodeOf(err) != task.ReasonImage {
		t.Errorf("prepare: %v", err)
	}
	tk = mustLoad(t, v2("iexec/x", ""))
	if _, f := c.CheckImage(tk, contract.Source{}, fakeImage{task.ImageFacts{WorkingDir: "/work"}}); len(f) != 1 || !strings.Contains(f[0].What, "(it is /work)") {
		t.Errorf("%v", f)
	}
	if _, f := c.CheckImage(tk, contract.Source{}, fakeImage{}); len(f) != 0 {
		t.Errorf("%v", f)
	}
}

func TestScaffold(t *testing.T) {
	made, err := iexec.Contract{}.Scaffold("My Dapp!", "")
	if err != nil {
		t.Fatal(err)
	}
	tk, findings := load(t, made)
	if tk == nil || len(findings) != 0 || tk.Name != "my-dapp" || tk.Image.Kind != task.ImageBuild {
		t.Errorf("%+v %v", tk, findings)
	}
	if _, err := (iexec.Contract{}).Scaffold("!!", ""); task.CodeOf(err) != task.CodeUsage {
		t.Errorf("%v", err)
	}
}

func TestExamples(t *testing.T) {
	ffmpeg := folder("../../../examples/iexec/ffmpeg")
	tk, findings := iexec.New().Load(ffmpeg, contract.Options{})
	if len(findings) != 0 {
		t.Fatalf("%v", findings)
	}
	checkFfmpeg(t, tk)
	ex, err := iexec.Contract{}.Examples(ffmpeg, tk)
	if err != nil || len(ex) != 1 || ex[0].Skip != "" || !strings.HasSuffix(ex[0].Request.Inputs["in"].Path, "ffmpeg/small.mp4") {
		t.Errorf("%+v %v", ex, err)
	}
	src := files{"iexec.js": "module.exports = {app: {params: {type: 'DOCKER', envvars: 'XWDOCKERIMAGE=org/app:1'}}, order: {buy: {params: {dirinuri: 'http://example.com/x'}}}}"}.source(t)
	tk, _ = iexec.New().Load(src, contract.Options{})
	ex, err = iexec.Contract{}.Examples(src, tk)
	if err != nil || len(ex) != 1 || !strings.Contains(ex[0].Skip, "put a file named x") {
		t.Errorf("%+v %v", ex, err)
	}
	for _, name := range []string{"word-count", "column-mean"} {
		src := folder("../../../examples/iexec/" + name)
		tk, findings := iexec.New().Load(src, contract.Options{})
		if len(findings) != 0 || tk.Image.Kind != task.ImageBuild {
			t.Errorf("%s: %v", name, findings)
		}
	}
}

func TestRulesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range iexec.Rules() {
		if seen[r.ID] || r.Summary == "" {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
	}
}

// FuzzLoad holds that no manifest makes Load panic, and that without errors there is a task that can be prepared.
func FuzzLoad(f *testing.F) {
	f.Add(seedFragment)
	f.Add(v2("-i /host/x", ",A=b=c")["iexec.json"])
	f.Add(v5(`{"iexec_args":"a 'b c'","iexec_input_files":["http://a/x"]}`)["iexec.json"])
	f.Add("const a = `${1 + 2}`; module.exports = {name: a ? 'x' : [1].map(n => n).join('')};")
	f.Add("module.exports = {app: {...{a: 1}, b: function (x) { return x; }(1)}};")
	f.Fuzz(func(t *testing.T, text string) {
		tk, findings := iexec.New().Load(contract.Source{FS: oneFile(text)}, contract.Options{})
		for _, finding := range findings {
			if finding.Line < 0 || finding.Column < 0 || finding.What == "" {
				t.Errorf("%+v", finding)
			}
		}
		if tk == nil && !task.HasErrors(findings) {
			t.Error("no task, and no reason")
		}
		if tk == nil || task.HasErrors(findings) {
			return
		}
		v, err := task.Bind(tk, task.Request{})
		if err != nil {
			return
		}
		var e *task.Error
		if _, err := iexec.New().Prepare(tk, task.ImageFacts{}, v); err != nil && !errors.As(err, &e) {
			t.Errorf("prepare: %v", err)
		}
	})
}
