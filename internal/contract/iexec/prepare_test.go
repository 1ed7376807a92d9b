package iexec_test

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"longshore/internal/contract"
	"longshore/internal/contract/iexec"
	"longshore/internal/task"
)

var noDetail = cmpopts.IgnoreFields(task.Execution{}, "Detail", "Notes")

func TestPrepareSeed(t *testing.T) {
	tk, _ := iexec.New().Load(folder("../../../examples/iexec/ffmpeg"), contract.Options{})
	image := []task.EnvVar{{Name: "XWDOCKERIMAGE", Value: "jrottenberg/ffmpeg:scratch"}}
	args := []string{"-i", "/iexec/small.mp4", "/iexec/small.avi"}
	const url = "http://techslides.com/demos/sample-videos/small.mp4"

	got := prepare(t, tk, bind(t, tk, nil))
	want := &task.Execution{Process: task.Process{Args: args, Env: image}, Mounts: []task.Mount{{Name: "iexec", Target: "/iexec", Links: task.LinksKeptInside,
		Files: []task.File{{Path: "small.mp4", URL: url, UnpackZip: true, Refuse: []string{"Dockerfile"}}}}}}
	if d := cmp.Diff(want, got, noDetail); d != "" {
		t.Error(d)
	}

	// A local file stands in for the URL, under the URL's name.
	local := write(t, "other name.mp4", "video")
	got = prepare(t, tk, bind(t, tk, map[string]string{"in": "@" + local}))
	want.Mounts[0].Files = []task.File{{Path: "small.mp4", Source: local}}
	if d := cmp.Diff(want, got, noDetail); d != "" {
		t.Error(d)
	}

	// Words after -- are not split.
	got = prepare(t, tk, bind(t, tk, map[string]string{"in": "@" + local}, "-i", "/iexec/small.mp4", "/iexec/a b.avi"))
	want.Process.Args = []string{"-i", "/iexec/small.mp4", "/iexec/a b.avi"}
	if d := cmp.Diff(want, got, noDetail); d != "" {
		t.Error(d)
	}

	// The content of a folder.
	dir := files{"small.mp4": "video", "sub/x": "x"}.write(t)
	got = prepare(t, tk, bind(t, tk, map[string]string{"dirinuri": "@" + dir}))
	want.Process.Args = args
	want.Mounts[0].Files = []task.File{{Path: "small.mp4", Source: filepath.Join(dir, "small.mp4")}, {Path: "sub", Source: filepath.Join(dir, "sub")}}
	if d := cmp.Diff(want, got, noDetail); d != "" {
		t.Error(d)
	}
}

func TestPrepareLegacyWords(t *testing.T) {
	for cmdline, want := range map[string][]string{
		"":                nil,
		"  a   b\\tc ":    {"a", "b", "c"},
		"'a b' $HOME *.x": {"'a", "b'", "$HOME", "*.x"},
	} {
		tk := mustLoad(t, v2(cmdline, ""))
		if d := cmp.Diff(want, prepare(t, tk, bind(t, tk, nil)).Process.Args); d != "" {
			t.Errorf("%q: %s", cmdline, d)
		}
	}
	tk := mustLoad(t, v2("-i /host/small.mp4", ""))
	x := prepare(t, tk, bind(t, tk, nil))
	if d := cmp.Diff([]string{"/host"}, x.Mounts[0].AlsoAt); d != "" {
		t.Error(d)
	}
	tk = mustLoad(t, v2("/iexec/localhost/x /x/host/y", ""))
	if x := prepare(t, tk, bind(t, tk, nil)); x.Mounts[0].AlsoAt != nil {
		t.Errorf("%v", x.Mounts[0].AlsoAt)
	}
}

func TestPrepareLegacyEnv(t *testing.T) {
	tk := mustLoad(t, files{"iexec.json": `{"app":{"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=org/app:1, A=app ,,B="}},
"order":{"buy":{"params":{"envvars":"A=request,C=request,D=x=y"}}}}`})
	v, err := task.Bind(tk, task.Request{Env: []task.EnvVar{{Name: "A", Value: "caller"}, {Name: "C", Value: "caller"}, {Name: "E", Value: "caller"}}})
	if err != nil {
		t.Fatal(err)
	}
	x := prepare(t, tk, v)
	want := []task.EnvVar{{Name: "A", Value: "app"}, {Name: "C", Value: "caller"}, {Name: "D", Value: "x=y"}, {Name: "E", Value: "caller"},
		{Name: "XWDOCKERIMAGE", Value: "org/app:1"}, {Name: "B"}}
	if d := cmp.Diff(want, x.Process.Env); d != "" {
		t.Error(d)
	}
	if len(x.Warnings) != 1 || !strings.Contains(x.Warnings[0], "variable A keeps") {
		t.Errorf("%v", x.Warnings)
	}
}

// packed writes a zip archive; a name that ends in "@" becomes a symbolic link.
func packed(t *testing.T, names ...string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "in.bin")
	f, err := os.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for _, n := range names {
		h := &zip.FileHeader{Name: strings.TrimSuffix(n, "@"), Method: zip.Deflate}
		h.SetMode(0o644)
		if strings.HasSuffix(n, "@") {
			h.SetMode(0o777 | os.ModeSymlink)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("content of " + n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPrepareArchives(t *testing.T) {
	tk := mustLoad(t, v2("", ""))
	for _, tc := range []struct{ entry, want string }{
		{"a/b.txt", ""},
		{"a/Dockerfile", ""},
		{"../x", `refusing entry ../x of in.bin: its path holds ".."`},
		{"a/../../x", `refusing entry a/../../x of in.bin`},
		{`a\..\..\x`, `refusing entry a\..\..\x of in.bin`},
		{"/etc/x", "refusing entry /etc/x of in.bin: its path is absolute"},
		{"C:/x", "refusing entry C:/x of in.bin: its path is absolute"},
		{"link@", "refusing entry link of in.bin: it is a symbolic link"},
		{"Dockerfile", "Dockerfile is not supported in the input directory"},
	} {
		given := packed(t, "ok.txt", tc.entry)
		x, err := iexec.New().Prepare(tk, task.ImageFacts{}, bind(t, tk, map[string]string{"in": "@" + given}))
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.entry, err)
			} else if d := cmp.Diff([]task.File{{Path: "in.bin", Source: given, UnpackZip: true}}, x.Mounts[0].Files); d != "" {
				t.Error(d)
			}
			continue
		}
		if err == nil || task.CodeOf(err) != task.ReasonInput || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.entry, err)
		}
	}
	for _, given := range []string{write(t, "Dockerfile", "FROM x"), files{"Dockerfile": "FROM x"}.write(t)} {
		if _, err := iexec.New().Prepare(tk, task.ImageFacts{}, bind(t, tk, map[string]string{"in": "@" + given})); err == nil ||
			err.Error() != "Dockerfile is not supported in the input directory" {
			t.Errorf("%v", err)
		}
	}
}

func TestPrepareRefusesSchemes(t *testing.T) {
	fs := files{"iexec.json": `{"app":{"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=org/app:1"}},"order":{"buy":{"params":{"dirinuri":"file:///etc/passwd"}}}}`}
	tk := mustLoad(t, fs)
	if _, err := iexec.New().Prepare(tk, task.ImageFacts{}, bind(t, tk, nil)); task.CodeOf(err) != task.ReasonInput {
		t.Errorf("%v", err)
	}
	own, _ := iexec.New().Load(fs.source(t), contract.Options{Own: true})
	if x := prepare(t, own, bind(t, own, nil)); x.Mounts[0].Files[0].Source != "/etc/passwd" {
		t.Errorf("%+v", x.Mounts)
	}
	local := write(t, "x", "y")
	if x := prepare(t, tk, bind(t, tk, map[string]string{"in": "@" + local})); x.Mounts[0].Files[0].Path != "passwd" {
		t.Errorf("%+v", x.Mounts)
	}
}

func TestPrepareLater(t *testing.T) {
	const url = "https://example.com/data/small.mp4?x=1"
	const hash = "0x9e9dc4b209b0245bcc3ac63e57ed8666a037408b37502c98619f239a5034968f"
	tk := mustLoad(t, v5(`{"iexec_args":"1st_param 2nd_param '3rd param' \"4th param\"","iexec_input_files":["`+url+`"]}`))
	x := prepare(t, tk, bind(t, tk, nil))
	want := &task.Execution{Process: task.Process{Args: []string{"1st_param", "2nd_param", "3rd param", "4th param"}}, Mounts: []task.Mount{
		{Name: "iexec_in", Target: "/iexec_in", Links: task.LinksKeptInside, Files: []task.File{{Path: "small.mp4", URL: url}, {Path: hash, URL: url}}},
		{Name: "iexec_out", Target: "/iexec_out", Links: task.LinksKeptInside}}}
	if d := cmp.Diff(want, x, noDetail, cmpopts.IgnoreFields(task.Process{}, "Env")); d != "" {
		t.Error(d)
	}
	env := environment(x)
	for name, want := range map[string]string{
		"IEXEC_IN": "/iexec_in", "IEXEC_OUT": "/iexec_out", "IEXEC_INPUT_FILES_FOLDER": "/iexec_in",
		"IEXEC_INPUT_FILES_NUMBER": "1", "IEXEC_NB_INPUT_FILES": "1", "IEXEC_INPUT_FILE_NAME_1": "small.mp4",
		"IEXEC_BOT_SIZE": "1", "IEXEC_BOT_FIRST_INDEX": "0", "IEXEC_BOT_TASK_INDEX": "0", "IEXEC_TASK_INDEX": "0",
		"IEXEC_DATASET_ADDRESS": "0x0000000000000000000000000000000000000000", "IEXEC_DATASET_FILENAME": "", "DATASET_FILENAME": "",
	} {
		if got, ok := env[name]; !ok || got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if len(env["IEXEC_TASK_ID"]) != 66 || len(env["IEXEC_DEAL_ID"]) != 66 {
		t.Errorf("ids %q %q", env["IEXEC_TASK_ID"], env["IEXEC_DEAL_ID"])
	}
	other := environment(prepare(t, tk, bind(t, tk, map[string]string{"bot_index": "3"})))
	if other["IEXEC_TASK_INDEX"] != "3" || other["IEXEC_TASK_ID"] == env["IEXEC_TASK_ID"] || other["IEXEC_DEAL_ID"] != env["IEXEC_DEAL_ID"] {
		t.Errorf("%v", other)
	}
}

func environment(x *task.Execution) map[string]string {
	env := map[string]string{}
	for _, e := range x.Process.Env {
		env[e.Name] = e.Value
	}
	return env
}

func stagedNames(x *task.Execution) []string {
	var names []string
	for _, f := range x.Mounts[0].Files {
		names = append(names, f.Path)
	}
	return names
}

func TestPrepareLaterInputs(t *testing.T) {
	tk := mustLoad(t, v5(`{"iexec_input_files":["http://a/x.csv","http://b/y.csv"]}`))
	local, second := write(t, "mine.csv", "1"), write(t, "more.csv", "2")
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "0x" + hex.EncodeToString(sum[:])
	}

	x := prepare(t, tk, bind(t, tk, map[string]string{"in": "@" + local}))
	if f := x.Mounts[0].Files; f[0].Path != "x.csv" || f[0].Source != local || f[2].URL != "http://b/y.csv" {
		t.Errorf("%+v", f)
	}
	list := `["@` + local + `","@` + second + `","@` + local + `"]`
	x = prepare(t, tk, bind(t, tk, map[string]string{"input_files": list}))
	if d := cmp.Diff([]string{"x.csv", hash("http://a/x.csv"), "y.csv", hash("http://b/y.csv"), "mine.csv"}, stagedNames(x)); d != "" {
		t.Error(d)
	}
	x = prepare(t, tk, bind(t, tk, map[string]string{"input_files": `["@` + local + `"]`}))
	if environment(x)["IEXEC_INPUT_FILES_NUMBER"] != "1" {
		t.Errorf("%+v", x.Mounts)
	}
	if _, err := iexec.New().Prepare(tk, task.ImageFacts{}, bind(t, tk, map[string]string{"in": "@" + local, "input_files": list})); task.CodeOf(err) != task.ReasonInput {
		t.Errorf("%v", err)
	}

	// Equal base names: only the hash form is unambiguous.
	tk = mustLoad(t, v5(`{"iexec_input_files":["http://a/x","http://b/x"]}`))
	x = prepare(t, tk, bind(t, tk, nil))
	if d := cmp.Diff([]string{hash("http://a/x"), hash("http://b/x")}, stagedNames(x)); d != "" {
		t.Error(d)
	}
	if environment(x)["IEXEC_INPUT_FILE_NAME_2"] != hash("http://b/x") || len(x.Warnings) != 1 {
		t.Errorf("%v %v", x.Process.Env, x.Warnings)
	}

	// v9 names files by hash; both names exist.
	src := v5(`{"iexec_input_files":["http://a/x"]}`).source(t)
	tk, _ = iexec.New().Load(src, contract.Options{Variant: "v9"})
	x = prepare(t, tk, bind(t, tk, nil))
	if d := cmp.Diff([]string{hash("http://a/x"), "x"}, stagedNames(x)); d != "" || environment(x)["IEXEC_INPUT_FILE_NAME_1"] != hash("http://a/x") {
		t.Error(d, x.Process.Env)
	}

	// No URL in the manifest: the caller's own name.
	tk = mustLoad(t, v5(`{}`))
	x = prepare(t, tk, bind(t, tk, map[string]string{"in": "@" + local}))
	if d := cmp.Diff([]string{"mine.csv"}, stagedNames(x)); d != "" {
		t.Error(d)
	}
}

// Inputs may be given by their address, which then names them.
func TestPrepareAddresses(t *testing.T) {
	sum := sha256.Sum256([]byte("https://c.example/z.csv?v=1"))
	tk := mustLoad(t, v5(`{"iexec_input_files":["http://a.example/x.csv"]}`))
	x := prepare(t, tk, bind(t, tk, map[string]string{"in": "https://c.example/z.csv?v=1", "dataset": "https://c.example/set.bin"}))
	if d := cmp.Diff([]string{"z.csv", "0x" + hex.EncodeToString(sum[:]), "set.bin"}, stagedNames(x)); d != "" || x.Mounts[0].Files[0].URL != "https://c.example/z.csv?v=1" {
		t.Error(d)
	}
	x = prepare(t, tk, bind(t, tk, map[string]string{"input_files": `["https://c.example/one", "https://c.example/two"]`}))
	if env := environment(x); env["IEXEC_INPUT_FILE_NAME_2"] != "two" || env["IEXEC_INPUT_FILES_NUMBER"] != "2" {
		t.Errorf("%v", env)
	}
	tk = mustLoad(t, v2("", ""))
	x = prepare(t, tk, bind(t, tk, map[string]string{"in": "https://c.example/in.zip?raw=true"}))
	if f := x.Mounts[0].Files[0]; f.Path != "in.zip" || !f.UnpackZip || f.URL == "" {
		t.Errorf("%+v", f)
	}
	for _, wrong := range []string{"https://c.example/", "https://c.example/Dockerfile?x=1"} {
		if _, err := iexec.New().Prepare(tk, task.ImageFacts{}, bind(t, tk, map[string]string{"in": wrong})); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
	for _, wrong := range []string{"words", "ftp://c.example/x", "http://", "file:///etc/passwd"} {
		if _, err := task.Bind(tk, task.Request{Inputs: map[string]task.Given{"in": task.GivenText(wrong)}}); err == nil {
			t.Errorf("%q is taken for an address", wrong)
		}
	}
}

// An enclave app that is run without its enclave gets the secrets that it asks for, and none may be missing.
func TestPrepareSecrets(t *testing.T) {
	src := files{"iexec.json": `{"app":{"multiaddr":"org/app:1"},"buyConf":{"tag":["tee","scone"],
"params":{"iexec_secrets":{"1":"token","3":"args"},"iexec_result_encryption":true,"bulk_cid":"bafy"}}}`}.source(t)
	if _, findings := iexec.New().Load(src, contract.Options{}); !task.HasErrors(findings) {
		t.Error("enclaves cannot be run")
	}
	tk, findings := iexec.New().Load(src, contract.Options{Variant: "standard"})
	if task.HasErrors(findings) {
		t.Fatal(findings)
	}
	if _, err := task.Bind(tk, task.Request{}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("%v", err)
	}
	v := bind(t, tk, map[string]string{"token": "abc", "secret_3": " 7 "})
	v.Env = []task.EnvVar{{Name: "IEXEC_APP_DEVELOPER_SECRET", Value: "dev"}}
	env := environment(prepare(t, tk, v))
	for name, want := range map[string]string{"IEXEC_REQUESTER_SECRET_1": "abc", "IEXEC_REQUESTER_SECRET_3": " 7 ",
		"IEXEC_APP_DEVELOPER_SECRET": "dev", "IEXEC_APP_DEVELOPER_SECRET_1": "dev", "IEXEC_BULK_SLICE_SIZE": "0"} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
}

func TestPrepareDataset(t *testing.T) {
	file := write(t, "local.bin", "data")
	sum := sha256.Sum256([]byte("data"))
	manifest := func(checksum string) files {
		return files{"iexec.json": `{"app":{"multiaddr":"org/app:1"},"dataset":{"name":"my set","multiaddr":"https://example.com/d/set.bin","checksum":"` + checksum + `"},
"order":{"requestorder":{"dataset":"0x2Ad5773db1a705DB568fAd403cd247fee4808Fb8","category":"1"}}}`}
	}
	tk := mustLoad(t, manifest("0x"+hex.EncodeToString(sum[:])))
	x := prepare(t, tk, bind(t, tk, nil))
	if f := x.Mounts[0].Files[0]; f.URL != "https://example.com/d/set.bin" || f.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v", f)
	}
	unknown := mustLoad(t, files{"iexec.json": `{"app":{"multiaddr":"org/app:1"},"buyConf":{"dataset":"0x2Ad5773db1a705DB568fAd403cd247fee4808Fb8"}}`})
	if _, err := task.Bind(unknown, task.Request{}); err == nil {
		t.Error("a dataset whose file nobody knows may be left out")
	}
	x = prepare(t, tk, bind(t, tk, map[string]string{"dataset": "@" + file}))
	if d := cmp.Diff([]string{"set.bin", "my set", "0x2Ad5773db1a705DB568fAd403cd247fee4808Fb8"}, stagedNames(x)); d != "" {
		t.Error(d)
	}
	if env := environment(x); env["IEXEC_DATASET_FILENAME"] != "set.bin" || env["IEXEC_DATASET_ADDRESS"] != "0x2Ad5773db1a705DB568fAd403cd247fee4808Fb8" {
		t.Errorf("%v", env)
	}
	if x.Timeouts.Run != 20*time.Minute {
		t.Errorf("limit %v", x.Timeouts.Run)
	}
	tk = mustLoad(t, manifest("0x"+strings.Repeat("1", 64)))
	if _, err := iexec.New().Prepare(tk, task.ImageFacts{}, bind(t, tk, map[string]string{"dataset": "@" + file})); err == nil || !strings.Contains(err.Error(), "DATASET_FILE_BAD_CHECKSUM") {
		t.Errorf("%v", err)
	}
}

// The words of iexec_args, through the one public way to them.
func TestSplitArgs(t *testing.T) {
	tk := mustLoad(t, v5(`{}`))
	for text, want := range map[string][]string{
		"":                    nil,
		"   ":                 nil,
		" a  b ":              {"a", "b"},
		"a\tb\nc":             {"a\tb\nc"},
		`'a b' "c d"`:         {"a b", "c d"},
		`a'b c'd`:             {"ab cd"},
		`'' "" a`:             {"a"},
		`'a "b" c' "d 'e' f"`: {`a "b" c`, `d 'e' f`},
		`a\"b`:                {`a\"b`},
		`"a\"b c"`:            {`a\"b c`},
		`a\b c`:               {`a\b`, "c"},
		`a\ "b`:               {`a\`, `"b`},
		`$HOME *`:             {"$HOME", "*"},
	} {
		x := prepare(t, tk, bind(t, tk, map[string]string{"args": text}))
		if d := cmp.Diff(want, x.Process.Args); d != "" {
			t.Errorf("%q: %s", text, d)
		}
	}
	for _, text := range []string{"it's", `"`, `'a\'`} {
		if _, err := iexec.New().Prepare(tk, task.ImageFacts{}, bind(t, tk, map[string]string{"args": text})); task.CodeOf(err) != task.ReasonInput ||
			!strings.HasPrefix(err.Error(), "unbalanced quotes in ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What the worker's parser makes of params (iExec reference, section 2.6).
func TestParams(t *testing.T) {
	for params, want := range map[string]string{
		`{"wrong_field1":"a"}`: `{"wrong_field1":"a"}`,
		`plain words`:          `plain words`,
		`["a","b"]`:            `["a","b"]`,
		`"quoted"`:             `"quoted"`,
		`123`:                  `123`,
		`null`:                 "",
		``:                     "",
		`{"iexec_args":"x y","iexec_input_files":null}`: "x y",
		`{"iexec_args":"x","bulk_cid":"Qm"}`:            "x",
	} {
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(params) + `"`
		tk, _ := load(t, v5(quoted))
		got := ""
		if def := tk.Parameter(task.Input, "args").Default; def != nil {
			got = def.Text
		}
		if got != want {
			t.Errorf("%s: %q, want %q", params, got, want)
		}
	}
	// In a manifest the CLI divides a text of URLs at commas.
	tk := mustLoad(t, v5(`{"iexec_input_files":"http://a/x, http://a/y"}`))
	if x := prepare(t, tk, bind(t, tk, nil)); environment(x)["IEXEC_INPUT_FILES_NUMBER"] != "2" {
		t.Errorf("%v", x.Process.Env)
	}
}

// FuzzArguments holds that every text is divided into words that are not empty, or refused for an open quote.
func FuzzArguments(f *testing.F) {
	f.Add(`a 'b c' "d"`)
	f.Add(`a\"b 'c\'`)
	tk, _ := iexec.New().Load(contract.Source{FS: oneFile(v5(`{}`)["iexec.json"])}, contract.Options{})
	f.Fuzz(func(t *testing.T, text string) {
		x, err := iexec.New().Prepare(tk, task.ImageFacts{}, task.Values{Inputs: map[string]task.Value{"args": {Text: text}}})
		if err != nil {
			if task.CodeOf(err) != task.ReasonInput || !strings.ContainsAny(text, `'"`) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		for _, w := range x.Process.Args {
			if w == "" {
				t.Errorf("%q: an empty word in %q", text, x.Process.Args)
			}
		}
	})
}
