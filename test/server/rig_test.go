// Package server_test runs whole servers: with real databases, real worker processes and real containers, and kills them.
package server_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"longshore/internal/app"
	"longshore/internal/cli"
	"longshore/internal/dispatch/durable"
	"longshore/internal/engine"
	"longshore/internal/image"
	"longshore/internal/store"
	"longshore/internal/task"
)

// TestMain is also the worker process of the servers under test, and a server that is to be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "worker":
			os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		case "victim":
			os.Exit(victim(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// home makes a folder for a server, with the image "busybox".
func home(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	a, err := app.New(app.Config{Home: dir})
	if err != nil {
		t.Fatal(err)
	}
	images, err := a.Images()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("these tests need a static busybox: %v (Debian: busybox-static)", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	add(tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	for _, a := range []string{"sh", "cat", "dd", "echo", "head", "httpd", "kill", "ls", "mkdir", "sed", "sleep", "tr", "true", "yes", "nc", "wc", "cp", "mv", "find", "tail", "printf"} {
		add(tar.Header{Name: "bin/" + a, Typeflag: tar.TypeLink, Linkname: "bin/busybox", Mode: 0o755}, nil)
	}
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "busybox.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := images.Import(t.Context(), file, image.ImportOptions{Names: []string{"busybox:latest"}, Cmd: []string{"sh"}}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// config is a server's, as the tests have it.
func config(dir string) app.ServerConfig {
	return app.ServerConfig{Version: cli.Version, WorkerArgs: []string{"worker", "--home", dir}, Lease: 2 * time.Second, Backoff: time.Millisecond, MaxAttempts: 1000, Capacity: task.Resources{CPU: 64000, Memory: 64 << 30}}
}

// open makes a server and starts it.
func open(ctx context.Context, dir string, cfg app.ServerConfig) (*app.Server, error) {
	a, err := app.New(app.Config{Home: dir})
	if err != nil {
		return nil, err
	}
	s, err := a.NewServer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// start is open for one test.
func start(t testing.TB, dir string, change func(*app.ServerConfig)) *app.Server {
	t.Helper()
	cfg := config(dir)
	cfg.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if change != nil {
		change(&cfg)
	}
	s, err := open(t.Context(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			runs, _, _ := s.Runs(context.WithoutCancel(t.Context()), store.RunFilter{})
			for _, r := range runs {
				t.Logf("run %s: %s %s, attempt %d", r.ID, r.State, r.Reason, r.Attempt)
			}
			for _, f := range []string{"events", "failed.json", "out/result.json"} {
				found, _ := filepath.Glob(filepath.Join(dir, "server", "jobs", "*", f))
				for _, name := range found {
					data, _ := os.ReadFile(name)
					t.Logf("%s: %s", name, data)
				}
			}
			log, _ := os.ReadFile(filepath.Join(dir, "server", "worker.log"))
			t.Logf("the worker's log:\n%s", log)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// importFolder hands over a folder as a tar, with changes to its files, and answers the version.
func importFolder(t testing.TB, s *app.Server, folder string, changed map[string]string) store.Version {
	t.Helper()
	v, err := importInto(t.Context(), s, folder, changed)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func importInto(ctx context.Context, s *app.Server, folder string, changed map[string]string) (store.Version, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, data []byte) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	}
	if folder != "" {
		err := filepath.WalkDir(folder, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, _ := filepath.Rel(folder, p) // p lies below it
			if _, ok := changed[rel]; ok {
				return nil
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			return add(rel, data)
		})
		if err != nil {
			return store.Version{}, err
		}
	}
	for name, text := range changed {
		if err := add(name, []byte(text)); err != nil {
			return store.Version{}, err
		}
	}
	if err := w.Close(); err != nil {
		return store.Version{}, err
	}
	i, err := s.Upload(ctx, "ada", &b, 0)
	if err != nil {
		return store.Version{}, err
	}
	in, err := s.Import(ctx, "ada", durable.Import{Upload: i.Digest, FileName: "package.tar"})
	return in.Version, err
}

// script is a package whose container runs a shell script with the inputs n and text, and the output data.
func script(name, body string) map[string]string {
	return map[string]string{
		"Dockerfile": "FROM busybox\nCOPY run.sh /run.sh\nENTRYPOINT [\"sh\", \"/run.sh\"]\n",
		"run.sh":     "n=$(cat /inputs/n)\n" + body + "\n",
		"descriptor.yml": `$schema: https://cytomine.com/schema-store/tasks/task.v0.json
name: ` + name + `
name_short: ` + name + `
namespace: com.example.` + strings.ReplaceAll(name, "-", "_") + `
version: "1.0.0"
description: A script.
authors:
  - {first_name: Ada, last_name: Example, organization: Example, email: ada@example.com, is_contact: true}
configuration:
  input_folder: /inputs
  output_folder: /outputs
  image: {file: /` + name + `.tar}
  resources: {ram: 64Mi, cpus: 1}
inputs:
  n: {display_name: N, description: A number, type: integer}
outputs:
  data: {display_name: Data, description: What was made, type: file}
`,
	}
}

// submission asks for a run of a script.
func submission(v store.Version, n int) durable.Submission {
	return durable.Submission{Task: v.ID, Inputs: map[string]json.RawMessage{"n": json.RawMessage(fmt.Sprint(n))}}
}

func submit(t testing.TB, s *app.Server, sub durable.Submission) store.Run {
	t.Helper()
	run, _, err := s.Submit(t.Context(), "ada", sub)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// wait waits for a run's end, and tells whether it is the one that is wanted.
func wait(t testing.TB, s *app.Server, id string, want task.State, reason task.Code) store.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	run, err := s.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if run.State != want || run.Reason != reason {
		t.Fatalf("the run is %s %s, want %s %s\n%s", run.State, run.Reason, want, reason, run.Result)
	}
	return run
}

// output reads one output.
func output(t testing.TB, s *app.Server, id, path string) string {
	t.Helper()
	r, _, err := s.Output(t.Context(), id, path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// logText is what a log holds.
func logText(t testing.TB, r io.Reader) string {
	t.Helper()
	return strings.Join(attempts(t, r), "")
}

// attempts are what each attempt wrote to a log, of those that wrote anything.
func attempts(t testing.TB, r io.Reader) (texts []string) {
	t.Helper()
	for frames, last := engine.NewLogReader(r), -1; ; {
		f, err := frames.Next()
		if err == io.EOF {
			return texts
		}
		if err != nil {
			t.Error(err)
			return texts
		}
		if f.Attempt < last {
			t.Errorf("attempt %d comes after attempt %d in the log", f.Attempt, last)
		}
		if f.Attempt != last {
			texts = append(texts, "")
		}
		last = f.Attempt
		texts[len(texts)-1] += string(f.Data)
	}
}
