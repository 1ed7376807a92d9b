package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"longshore/internal/access"
	"longshore/internal/api"
	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/blob/disk"
	"longshore/internal/dispatch"
	"longshore/internal/dispatch/durable"
	"longshore/internal/dispatch/worker"
	"longshore/internal/engine"
	"longshore/internal/store"
	"longshore/internal/store/sqlstore"
	"longshore/internal/task"
)

// rig is a server over SQLite, blobs on disk, and a worker in this process that does what the inputs say instead of running
// containers. A package is a file that begins with "package". Its task has the inputs of parameters.
type rig struct {
	*api.API
	t       testing.TB
	dir     string
	svc     *durable.Service
	store   *sqlstore.DB
	pool    *worker.Pool
	keeper  *access.Keeper
	server  *httptest.Server
	admin   *client.Client
	gates   gates
	away    atomic.Bool       // the database, for the API
	secrets map[string]string // by what the token is for
}

var parameters = []task.Parameter{
	{Name: "say", Direction: task.Input, Type: task.Type{Kind: task.String}, Optional: true, Description: "written to stdout"},
	{Name: "complain", Direction: task.Input, Type: task.Type{Kind: task.String}, Optional: true, Description: "written to stderr"},
	{Name: "wait", Direction: task.Input, Type: task.Type{Kind: task.String}, Optional: true, Description: "a gate to wait at, after the first word"},
	{Name: "more", Direction: task.Input, Type: task.Type{Kind: task.String}, Optional: true, Description: "written to stdout after the gate"},
	{Name: "n", Direction: task.Input, Type: task.Type{Kind: task.Integer}, Optional: true},
	{Name: "file", Direction: task.Input, Type: task.Type{Kind: task.FileKind}, Optional: true, Description: "becomes the output of its name"},
	{Name: "folder", Direction: task.Input, Type: task.Type{Kind: task.Directory}, Optional: true, Description: "becomes the output of its name"},
	{Name: "as", Direction: task.Input, Type: task.Type{Kind: task.String}, Optional: true, Description: "what the output of file is called instead"},
}

type options struct {
	service func(*durable.Config)
	api     func(*api.Config)
	share   *rig // whose database and blobs it uses
}

func newRig(t testing.TB, o options) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), gates: gates{open: map[string]chan struct{}{}}, secrets: map[string]string{}}
	shared := r.dir
	var err error
	if o.share != nil {
		shared, r.store = o.share.dir, o.share.store
	} else if r.store, err = sqlstore.Open(t.Context(), filepath.Join(r.dir, "db")); err != nil {
		t.Fatal(err)
	} else {
		t.Cleanup(func() {
			if err := r.store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	blobs, err := disk.New(filepath.Join(shared, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	if r.pool, err = worker.NewPool(filepath.Join(r.dir, "jobs"), r.carry); err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewUnstartedServer(nil) // listens, so that its URL is known
	log := slog.New(slog.NewTextHandler(testLog{t}, nil))
	cfg := durable.Config{
		Store: r.store, Blobs: blobs, Worker: r.pool, Packages: packages{}, Dir: filepath.Join(r.dir, "server"), Name: "one", Version: "test", URL: "http://" + r.server.Listener.Addr().String(),
		Capacity: task.Resources{CPU: 8000, Memory: 8 << 30}, Slots: 32, Log: log,
	}
	if o.service != nil {
		o.service(&cfg)
	}
	if r.svc, err = durable.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := r.svc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ac := api.Config{Service: r.svc, Store: &sometimes{r.store, &r.away}, Version: "test", Rate: -1, Log: log}
	if o.api != nil {
		o.api(&ac)
	}
	r.keeper = access.NewKeeper(ac.Store, ac.Now)
	ac.Keeper = r.keeper
	r.API = api.New(ac)
	r.server.Config = api.NewServer(r.API, log)
	r.server.Start()
	r.admin = r.client("root", access.Admin)
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	r.gates.openAll()
	r.server.CloseClientConnections()
	r.server.Close()
	r.API.Close()
	if err := r.svc.Close(); err != nil {
		r.t.Error(err)
	}
	if err := r.pool.Idle(context.WithoutCancel(r.t.Context())); err != nil {
		r.t.Error(err)
	}
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// gates are where runs wait until a test opens them.
type gates struct {
	mu   sync.Mutex
	all  bool
	open map[string]chan struct{}
}

func (g *gates) gate(name string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[name] == nil {
		g.open[name] = make(chan struct{})
		if g.all {
			close(g.open[name])
		}
	}
	return g.open[name]
}

func (g *gates) release(name string) { close(g.gate(name)) }

func (g *gates) openAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = true
	for _, c := range g.open {
		select {
		case <-c:
		default:
			close(c)
		}
	}
}

type packages struct{}

func (packages) Open(_ context.Context, path, _, _ string) (durable.Opened, error) {
	name := filepath.Base(path)
	if st, err := os.Stat(path); err != nil {
		return durable.Opened{}, err
	} else if st.IsDir() {
		path, name = filepath.Join(path, "package"), "folder"
	}
	data, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(data), "package") {
		return durable.Opened{Findings: []task.Finding{
			{Rule: "P1", Severity: task.SeverityError, File: name, Line: 1, What: "it does not begin with package", Mend: "begin with package"},
			{Rule: "P2", Severity: task.SeverityWarning, What: "it is a test"},
		}}, nil
	}
	return durable.Opened{
		Task:     &task.Task{Contract: "plain", Name: name, Version: "1", Description: "says what it is told", Exchange: task.Files, Parameters: parameters},
		Findings: []task.Finding{{Rule: "P2", Severity: task.SeverityWarning, What: "it is a test"}}, Evidence: "it begins with package",
	}, nil
}

func (packages) Fetch(_ context.Context, git string, use func(dir, commit string) error) error {
	dir, err := os.MkdirTemp("", "git")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "package"), []byte("package from "+git), 0o644); err != nil {
		return err
	}
	return use(dir, "abc")
}

func (packages) ImageDigest(_ context.Context, name string) (string, error) {
	return "", task.Errorf(task.CodeMissing, "there is no image %s", name)
}

// carry does what the inputs say.
func (r *rig) carry(ctx context.Context, j worker.Job, out string, o dispatch.Observer) (*task.Result, error) {
	text := func(name string) string {
		var s string
		_ = json.Unmarshal(j.Request.Inputs[name].JSON, &s) // missing ones are empty
		return s
	}
	start := time.Now()
	res := &task.Result{ID: j.Run, Contract: "plain", Task: "t", State: task.Succeeded, Outputs: []task.OutputResult{}, StartedAt: start, Usage: task.Usage{CPUSeconds: 1}}
	for _, s := range []task.State{task.Preparing, task.Starting, task.Running} {
		o.Moved(j.Run, s)
		res.Stages = append(res.Stages, task.StageTime{Stage: s, Seconds: 0.001})
	}
	say := func(s engine.Stream, what string) {
		if what != "" {
			o.Logged(s, []byte(what))
		}
	}
	say(engine.Stdout, text("say"))
	say(engine.Stderr, text("complain"))
	if gate := text("wait"); gate != "" {
		select {
		case <-r.gates.gate(gate):
		case <-ctx.Done():
			res.State = task.Cancelled
		}
	}
	say(engine.Stdout, text("more"))
	if text("say") == "fail" {
		res.State, res.Reason = task.Failed, task.ReasonExit
		res.Failure = &task.Failure{Reason: task.ReasonExit, Message: "it ended with 3", Hint: "read its log"}
	}
	o.Moved(j.Run, task.Collecting)
	tmp := out + ".tmp"
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return nil, err
	}
	for _, name := range []string{"file", "folder"} {
		from := j.Request.Inputs[name].Path
		if from == "" {
			continue
		}
		to := name
		if as := text("as"); as != "" && name == "file" {
			to = as
		}
		if err := copyAll(filepath.Join(tmp, to), from); err != nil {
			return nil, err
		}
	}
	res.EndedAt = time.Now()
	data, err := json.Marshal(res)
	if err == nil {
		err = os.WriteFile(filepath.Join(tmp, dispatch.ResultFile), data, 0o644)
	}
	if err == nil {
		err = os.Rename(tmp, out)
	}
	return res, err
}

func copyAll(to, from string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	if st.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// secret makes a token.
func (r *rig) secret(account string, scopes ...access.Scope) string {
	r.t.Helper()
	key := fmt.Sprint(account, scopes)
	if r.secrets[key] == "" {
		_, secret, err := r.keeper.Create(r.t.Context(), access.Grant{Account: account, Scopes: scopes})
		if err != nil {
			r.t.Fatal(err)
		}
		r.secrets[key] = secret
	}
	return r.secrets[key]
}

func (r *rig) client(account string, scopes ...access.Scope) *client.Client {
	r.t.Helper()
	c, err := client.New(client.Options{URL: r.server.URL, Token: r.secret(account, scopes...), Patience: 10 * time.Second})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// task imports a package called t.
func (r *rig) task() v1.Task {
	r.t.Helper()
	up, err := r.admin.Upload(r.t.Context(), content("package"))
	if err != nil {
		r.t.Fatal(err)
	}
	got, err := r.admin.Import(r.t.Context(), v1.ImportRequest{Upload: up.Digest, FileName: "t"})
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func content(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

// inputs are values of text, as JSON.
func inputs(pairs ...string) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]], _ = json.Marshal(pairs[i+1])
	}
	return m
}

func (r *rig) submit(c *client.Client, pairs ...string) v1.Run {
	r.t.Helper()
	run, err := c.Submit(r.t.Context(), v1.RunRequest{Task: "t", Inputs: inputs(pairs...)}, client.SubmitOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return run
}

func (r *rig) wait(c *client.Client, id string) v1.Run {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	run, err := c.Wait(ctx, id)
	if err != nil {
		r.t.Fatal(err)
	}
	return run
}

// ask sends a request by hand; header has pairs, and the first value is the token, or "".
func (r *rig) ask(token, method, path string, body io.Reader, header ...string) (*http.Response, []byte) {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, r.server.URL+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			q.Host = header[i+1]
		}
		q.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, data
}

// problem is what a refused request is answered.
func (r *rig) problem(res *http.Response, data []byte, status int, code task.Code) v1.Problem {
	r.t.Helper()
	var p v1.Problem
	if err := json.Unmarshal(data, &p); err != nil || res.Header.Get("Content-Type") != v1.ProblemType {
		r.t.Fatalf("%s %s: no problem but %s %q", res.Request.Method, res.Request.URL, res.Status, data)
	}
	if res.StatusCode != status || p.Status != status || p.Code != code || p.Detail == "" || p.Title == "" || p.Type == "" {
		r.t.Errorf("%s %s: %s %s, want %d %s", res.Request.Method, res.Request.URL, res.Status, bytes.TrimSpace(data), status, code)
	}
	return p
}

// idle waits until the server answers nobody.
func (r *rig) idle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.server.Config.Shutdown(ctx) }()
	if err := <-done; err != nil {
		t.Errorf("somebody is still answered: %v", err)
	}
}

// clock is a time that a test lets pass.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// sometimes is a store whose database can go away, for what the API asks before anything else.
type sometimes struct {
	store.Store
	away *atomic.Bool
}

func (s *sometimes) gone() error {
	if s.away.Load() {
		return errors.New("sql: the connection was refused")
	}
	return nil
}

func (s *sometimes) Ping(ctx context.Context) error {
	return errors.Join(s.gone(), s.Store.Ping(ctx))
}

func (s *sometimes) TokenByHash(ctx context.Context, hash string) (store.Token, error) {
	if err := s.gone(); err != nil {
		return store.Token{}, err
	}
	return s.Store.TokenByHash(ctx, hash)
}
