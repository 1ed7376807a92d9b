// Package script_test runs the user stories: one txtar file each, through the real command with the real sandbox.
package script_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"longshore/internal/app"
	"longshore/internal/cli"
	"longshore/internal/image"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"longshore": func() {
			os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// TestScript runs every story. All share one store with the image "busybox", made from the machine's static busybox.
func TestScript(t *testing.T) {
	home := t.TempDir()
	importBusybox(t, home)
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: ".",
		Setup: func(env *testscript.Env) error {
			env.Setenv("LONGSHORE_HOME", home)
			env.Setenv("EXAMPLES", filepath.Join(repo, "examples"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("NO_COLOR", "1")
			env.Values[serverKey{}] = &served{}
			return nil
		},
		Cmds: commands,
	})
}

func importBusybox(t *testing.T, home string) {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("the stories need a static busybox: %v (Debian: busybox-static)", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h *tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "etc", "tmp"} {
		add(&tar.Header{Name: d + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(&tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	for _, a := range applets {
		add(&tar.Header{Name: "bin/" + a, Typeflag: tar.TypeLink, Linkname: "bin/busybox", Mode: 0o755}, nil)
	}
	add(&tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	add(&tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nnogroup:x:65534:\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "busybox.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := app.New(app.Config{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	store, err := a.Images()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Import(context.Background(), file, image.ImportOptions{Names: []string{"busybox:latest"}, Cmd: []string{"sh"}}); err != nil {
		t.Fatal(fmt.Errorf("import busybox: %w", err))
	}
}

var applets = []string{
	"sh", "ash", "awk", "base64", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "dirname", "echo", "env", "expr", "false", "find",
	"grep", "head", "hostname", "httpd", "id", "kill", "ln", "ls", "mkdir", "mkfifo", "mknod", "mount", "mv", "nc", "od", "printf", "ps",
	"pwd", "readlink", "rm", "sed", "seq", "sha256sum", "sleep", "sort", "stat", "tail", "tar", "tee", "test", "touch", "tr", "true",
	"truncate", "umount", "uname", "uniq", "wc", "wget", "which", "xargs", "yes", "[",
}
