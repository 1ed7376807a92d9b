package meca_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/meca"
	"longshore/internal/task"
)

func publishable() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }
	return fstest.MapFS{
		"Dockerfile": file("FROM busybox\nEXPOSE 8080\nCOPY src /\n"), "src/run.sh": file("echo meca-init-done\n"), "name.txt": file("n\n"),
		"description.txt": file("d\n"), "config.json": file(`{"resource": {"cpu": 1}}`), "example_input.bin": file("{}"), "example_output.bin": file("{}"),
	}
}

func TestCheckPublish(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(fstest.MapFS)
		want   []string
	}{
		{"clean", func(fstest.MapFS) {}, nil},
		{"a repository", func(f fstest.MapFS) { f[".git/config"] = &fstest.MapFile{} }, []string{"warning MECA030 .git"}},
		{"a work tree", func(f fstest.MapFS) { f[".git"] = &fstest.MapFile{Data: []byte("gitdir: /x\n")} }, []string{"warning MECA030 .git"}},
		{"an executable", func(f fstest.MapFS) { f["src/run.sh"].Mode = 0o755 }, []string{"warning MECA031 src/run.sh"}},
		{"an executable whose mode is set", func(f fstest.MapFS) {
			f["src/run.sh"].Mode = 0o755
			f["Dockerfile"].Data = []byte("FROM busybox\nEXPOSE 8080\nCOPY --chmod=755 src /\n")
		}, nil},
		{"a link", func(f fstest.MapFS) {
			f["src/link"] = &fstest.MapFile{Data: []byte("run.sh"), Mode: fs.ModeSymlink | 0o777}
		}, []string{"error MECA021 src/link"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := publishable()
			c.change(folder)
			dir := t.TempDir()
			if err := os.CopyFS(dir, folder); err != nil {
				t.Fatal(err)
			}
			src := contract.Source{Given: "p", Dir: dir, FS: os.DirFS(dir)}
			_, found := meca.New().Load(src, contract.Options{})
			var got []string
			for _, f := range meca.New().CheckPublish(src, found) {
				if f.Severity == task.SeverityNote {
					continue
				}
				file, _, _ := strings.Cut(f.What, ":")
				if f.File != "" {
					file = f.File
				}
				got = append(got, string(f.Severity)+" "+f.Rule+" "+file)
				if f.Mend == "" {
					t.Errorf("%s does not say what to do", f.Rule)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImageAlias(t *testing.T) {
	if got := meca.New().ImageAlias("bafybeiht5xubmrzhsqgd5mq4aopzjohzf42upmpczmqbs2qlucwo2cehwm"); got != "ucwo2cehwm:latest" {
		t.Error(got)
	}
}

func TestUnwrap(t *testing.T) {
	in := func(dir string) fstest.MapFS {
		wrapped := fstest.MapFS{}
		for name, file := range publishable() {
			wrapped[dir+"/"+name] = file
		}
		return wrapped
	}
	two := in("a")
	two["b"] = &fstest.MapFile{}
	lacking := in("a")
	delete(lacking, "a/name.txt")
	empty := in("a")
	delete(empty, "a/src/run.sh")
	empty["a/src"] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
	for name, c := range map[string]struct {
		folder fs.FS
		want   string
	}{
		"the package": {publishable(), "."}, "wrapped": {in("a"), "a"}, "wrapped twice": {in("a/b"), "."}, "beside something": {two, "."},
		"an entry lacks": {lacking, "."}, "src is empty": {empty, "."}, "nothing": {fstest.MapFS{}, "."},
	} {
		if got, note := meca.New().Unwrap(c.folder); got != c.want || (note == "") != (got == ".") {
			t.Errorf("%s: %q, %q", name, got, note)
		}
	}
}
