package adapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/engine"
	"longshore/internal/task"
)

// filesContract is a contract with one input and one output, whose program is a shell script.
type filesContract struct {
	contract.Contract
	in, out, script string
}

func (filesContract) Name() string { return "files" }

func (c filesContract) Prepare(_ *task.Task, _ task.ImageFacts, v task.Values) (*task.Execution, error) {
	return &task.Execution{
		Process: task.Process{Entrypoint: []string{"sh", "-c", c.script}, Env: []task.EnvVar{{Name: "OUT", Value: c.out}, {Name: "IN", Value: c.in}}, Dir: c.out},
		Mounts: []task.Mount{
			{Name: "in", Target: c.in, ReadOnly: true, Files: []task.File{{Path: "sub/value", Text: v.Inputs["value"].Text}}},
			{Name: "out", Target: c.out},
			{Name: "inner", Target: filepath.Join(c.out, "inner")},
		},
	}, nil
}

func (filesContract) Collect(_ *task.Task, _ *task.Execution, left task.Leftovers) (task.Collected, error) {
	c := task.Collected{Outputs: map[string]task.Value{"inner": {Path: left.Mounts["inner"]}}}
	if p := filepath.Join(left.Mounts["out"], "result"); fileThere(p) {
		c.Outputs["result"] = task.Value{Path: p}
	}
	return c, nil
}

func fileThere(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}

// filesAdapter is an adapter around a shell script whose value and result are files of the platform's.
func filesAdapter(t *testing.T, script string, server *contract.FrontServer) (a *adapter, dir string, output *bytes.Buffer) {
	t.Helper()
	dir = t.TempDir()
	for _, d := range []string{RunsFolder, "task/out", "platform"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	c := filesContract{in: filepath.Join(dir, "task/in"), out: filepath.Join(dir, "task/out"), script: script}
	place := func(name string) task.Place {
		return task.Place{Kind: task.PlaceFile, Path: filepath.Join(dir, "platform", name)}
	}
	value, result := task.Type{Kind: task.Integer}, task.Type{Kind: task.FileKind}
	plan := &Plan{
		Task: &task.Task{Contract: "files", Exchange: task.Files, Parameters: []task.Parameter{
			{Name: "value", Direction: task.Input, Type: value},
			{Name: "result", Direction: task.Output, Type: result},
			{Name: "inner", Direction: task.Output, Type: task.Type{Kind: task.Directory}},
		}},
		Front: contract.Front{
			Server: server,
			Inputs: []contract.Slot{{Name: "value", Source: "value", Type: value, Place: place("value")}},
			Outputs: []contract.Slot{
				{Name: "result", Source: "result", Type: result, Place: place("result")},
				{Name: "inner", Source: "inner", Type: task.Type{Kind: task.Directory}, Place: task.Place{Kind: task.PlaceFolder, Path: filepath.Join(dir, "platform", "inner")}},
			},
		},
		Image: task.ImageFacts{Reference: "x", Env: []string{"PATH=" + os.Getenv("PATH"), "FROM_IMAGE=yes"}},
	}
	output = &bytes.Buffer{}
	a, err := newAdapter(plan, dir, []contract.Contract{c}, output, output)
	if err != nil {
		t.Fatal(err)
	}
	return a, dir, output
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func contentOf(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// TestFiles: the program finds its own platform, and the new platform its results; what was there before is hidden.
func TestFiles(t *testing.T) {
	a, dir, output := filesAdapter(t, `echo "$(cat $IN/sub/value) $FROM_IMAGE $(ls $OUT)" > $OUT/result; echo deep > $OUT/inner/x; echo said; echo complained >&2`, nil)
	put(t, filepath.Join(dir, "task/out/old"), "of the image")
	put(t, filepath.Join(dir, "platform/value"), "41\n")
	if code := a.run(); code != 0 {
		t.Fatalf("exit code %d: %s", code, output)
	}
	for name, want := range map[string]string{"result": "41 yes inner\n", "inner/x": "deep\n"} {
		if got := contentOf(filepath.Join(dir, "platform", name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if s := output.String(); !strings.Contains(s, "said\n") || !strings.Contains(s, "complained\n") {
		t.Errorf("the program's output is lost: %q", s)
	}
	if left, err := os.ReadDir(filepath.Join(dir, RunsFolder)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestFailures: the platform learns of a failure by the exit code, and gets no outputs.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		script, value string
		code          int
		says          string
	}{
		"exit code":       {"echo no > $OUT/result; exit 7", "1", 7, "code 7"},
		"signal":          {"kill -KILL $$", "1", 137, "signal 9"},
		"missing input":   {"true", "", failed, "required"},
		"wrong input":     {"true", "x", failed, "not an integer"},
		"missing output":  {"true", "1", failed, "no output result"},
		"special file":    {"mkfifo $OUT/result", "1", failed, "named pipe"},
		"left behind":     {"echo 1 > $OUT/result; (sleep 100 &) ; exit 3", "1", 3, "code 3"},
		"reads its input": {`rm -f "$IN/sub/value" && test ! -e "$IN/sub/value"; echo 1 > $OUT/result; exit 4`, "1", 4, "code 4"},
	} {
		t.Run(name, func(t *testing.T) {
			a, dir, output := filesAdapter(t, c.script, nil)
			at := filepath.Join(dir, "platform/value")
			if c.value != "" {
				put(t, at, c.value)
			}
			if code := a.run(); code != c.code || !strings.Contains(output.String(), c.says) {
				t.Errorf("exit code %d, want %d; output, want %q:\n%s", code, c.code, c.says, output)
			}
			if fileThere(filepath.Join(dir, "platform/result")) {
				t.Error("there is an output")
			}
			if c.value != "" && contentOf(at) != c.value {
				t.Error("the platform's input has changed")
			}
		})
	}
}

// TestStopped: the platform's request to end reaches the program.
func TestStopped(t *testing.T) {
	a, dir, output := filesAdapter(t, `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done`, nil)
	put(t, filepath.Join(dir, "platform/value"), "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a.engine.stdout = writerFunc(func(data []byte) {
		output.Write(data)
		if bytes.Contains(data, []byte("up")) {
			cancel()
		}
	})
	if code := a.once(ctx); code != 128+int(syscall.SIGTERM) || !strings.Contains(output.String(), "bye") {
		t.Errorf("exit code %d, output %s", code, output)
	}
}

// writerFunc is called with everything that is written.
type writerFunc func([]byte)

func (f writerFunc) Write(data []byte) (int, error) {
	f(data)
	return len(data), nil
}

// TestServeFiles: every request is a run, also when many come at once; a refusal says whose fault it is.
func TestServeFiles(t *testing.T) {
	a, _, output := filesAdapter(t, `v=$(cat $IN/sub/value); test $v -lt 90 || exit 5; echo $((v + 1)) > $OUT/result; echo $v > $OUT/inner/v; test $v -lt 80 || head -c 2000 /dev/zero > $OUT/inner/large`,
		&contract.FrontServer{Method: "POST", Path: "/", MaxBody: 1000})
	server := httptest.NewServer(&handler{adapter: a, server: a.plan.Front.Server})
	defer server.Close()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			status, body := post(t, server.URL, fmt.Sprintf(`{"value": %d}`, i))
			if want := fmt.Sprintf(`{"inner":{"v":"%d\n"},"result":"%d\n"}`, i, i+1); status != 200 || body != want {
				t.Errorf("%d %s, want %s", status, body, want)
			}
		})
	}
	all.Wait()
	for body, want := range map[string]int{`{"value": 99}`: 500, `{"value": 89}`: 500, `{"value": "x"}`: 400, `{}`: 400, `{"other": 1}`: 400, strings.Repeat(" ", 1001): 413} {
		status, reply := post(t, server.URL, body)
		if status != want || !strings.Contains(reply, `"message"`) {
			t.Errorf("%.30s: %d %s, want %d", body, status, reply, want)
		}
	}
	if status, _ := post(t, server.URL+"/other", "{}"); status != 404 {
		t.Errorf("another path: %d", status)
	}
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %s", resp.Status)
	}
	if t.Failed() {
		t.Log(output)
	}
}

func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(data)
}

// serverContract is a contract over HTTP. Its program is this test itself, see TestMain.
type serverContract struct {
	contract.Contract
	port int
}

func (serverContract) Name() string { return "server" }

func (c serverContract) Prepare(_ *task.Task, _ task.ImageFacts, v task.Values) (*task.Execution, error) {
	x := &task.HTTPExchange{Ports: []task.Port{{Number: c.port, Why: "test"}}, ReadyMark: "listening", Method: "POST", Path: "/perform"}
	if v.Body != nil {
		x.Body = *v.Body
	}
	program, err := os.Executable()
	return &task.Execution{Process: task.Process{Entrypoint: []string{program}, Env: []task.EnvVar{{Name: serverVariable, Value: strconv.Itoa(c.port)}}}, HTTP: x}, err
}

func (serverContract) Collect(_ *task.Task, _ *task.Execution, left task.Leftovers) (task.Collected, error) {
	return task.Collected{Outputs: map[string]task.Value{"output": {Path: left.Response.BodyPath}}}, nil
}

// serverVariable makes this test's program a server that answers with its process id and the request, or ends.
const serverVariable = "ADAPTER_TEST_SERVER"

func TestMain(m *testing.M) {
	if port := os.Getenv(serverVariable); port != "" {
		serveTest(port)
		return
	}
	os.Exit(m.Run())
}

func serveTest(port string) {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening")
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // until it is ended
		body, _ := io.ReadAll(r.Body) // a caller that goes away
		switch string(body) {
		case "die":
			os.Exit(3)
		case "teapot":
			w.WriteHeader(http.StatusTeapot)
		}
		w.Header().Set("Content-Type", "text/x-test")
		fmt.Fprintf(w, "%d %s", os.Getpid(), body)
	}))
}

// TestServeServer: one server answers all requests, what it says is passed on, and one that died is started again.
func TestServeServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, RunsFolder), 0o755); err != nil {
		t.Fatal(err)
	}
	body := []contract.Slot{{Name: "body", Source: "output", Body: true, Type: task.Type{Kind: task.FileKind}, Place: task.Place{Kind: task.PlaceBody}}}
	plan := &Plan{
		Task: &task.Task{Contract: "server", Exchange: task.HTTP, Parameters: []task.Parameter{
			{Name: "output", Direction: task.Output, Type: task.Type{Kind: task.JSON}, Place: task.Place{Kind: task.PlaceBody}},
		}},
		Front: contract.Front{Server: &contract.FrontServer{Method: "POST", Path: "/", MaxBody: 1000}, Inputs: body, Outputs: body},
	}
	var output bytes.Buffer
	a, err := newAdapter(plan, dir, []contract.Contract{serverContract{port: port}}, &output, &output)
	if err != nil {
		t.Fatal(err)
	}
	defer a.engine.close()
	server := httptest.NewServer(&handler{adapter: a, server: plan.Front.Server})
	defer server.Close()
	status, first := post(t, server.URL, "not json")
	pid, said, _ := strings.Cut(first, " ")
	if status != 200 || said != "not json" {
		t.Fatalf("%d %q: %s", status, first, &output)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if status, got := post(t, server.URL, strconv.Itoa(i)); status != 200 || got != fmt.Sprintf("%s %d", pid, i) {
				t.Errorf("%d %q, want the server %s", status, got, pid)
			}
		})
	}
	all.Wait()
	if status, got := post(t, server.URL, "teapot"); status != 418 || got != pid+" teapot" {
		t.Errorf("%d %q: the status is not passed on", status, got)
	}
	if status, _ := post(t, server.URL, "die"); status != 500 {
		t.Errorf("a server that died: %d", status)
	}
	if status, got := post(t, server.URL, "again"); status != 200 || strings.HasPrefix(got, pid+" ") {
		t.Errorf("%d %q, want another server than %s", status, got, pid)
	}
}

// TestEngineStartErrors: a start that fails says what it failed for, and puts everything back.
func TestEngineStartErrors(t *testing.T) {
	dir := t.TempDir()
	e := &inPlace{own: dir, stdout: io.Discard, stderr: io.Discard}
	source, target := filepath.Join(dir, "source"), filepath.Join(dir, "target")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(source, "x"), "x")
	_, err := e.Start(t.Context(), engine.Spec{ID: "a", Process: engine.Process{Args: []string{"no-such-program"}}, Mounts: []engine.Mount{{Source: source, Target: target}}})
	if se, ok := errors.AsType[*engine.StartError](err); !ok || se.Kind != "command" || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("an unknown program: %v", err)
	}
	if contentOf(filepath.Join(source, "x")) != "x" {
		t.Error("the mount's content is not back")
	}
	_, err = e.Start(t.Context(), engine.Spec{ID: "b", Process: engine.Process{Args: []string{"true"}}, Mounts: []engine.Mount{{Source: filepath.Join(dir, "gone"), Target: target}}})
	if se, ok := errors.AsType[*engine.StartError](err); !ok || se.Kind != "mount" {
		t.Errorf("a mount that is not there: %v", err)
	}
	if _, err := e.Wait(t.Context(), engine.Handle{ID: "a"}); !errors.Is(err, engine.ErrUnknown) {
		t.Errorf("Wait: %v", err)
	}
	if err := e.Remove(t.Context(), engine.Handle{ID: "a"}); err != nil {
		t.Errorf("Remove: %v", err)
	}
}

func TestStopSignal(t *testing.T) {
	for name, want := range map[string]syscall.Signal{"": syscall.SIGTERM, "SIGINT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "9": syscall.SIGKILL, "nonsense": syscall.SIGTERM} {
		if got := stopSignal(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
