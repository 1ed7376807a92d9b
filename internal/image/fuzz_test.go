package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"longshore/internal/image"
)

// outsideOf makes a folder with a store in it and a file beside it that must stay as it is.
func outsideOf(t *testing.T) (*image.Store, func()) {
	dir := t.TempDir()
	guard := filepath.Join(dir, "guard")
	if err := os.WriteFile(guard, []byte("guard"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := image.Open(image.Config{Dir: filepath.Join(dir, "store"), Limits: image.Limits{Bytes: 1 << 20, Entries: 200}, Transport: offline{}})
	if err != nil {
		t.Fatal(err)
	}
	return s, func() {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.Name() != "guard" && e.Name() != "store" {
				t.Fatalf("%s appeared outside the store", e.Name())
			}
		}
		if b, err := os.ReadFile(guard); err != nil || string(b) != "guard" {
			t.Fatalf("the file outside was changed: %q %v", b, err)
		}
	}
}

// offline is a network that is down.
type offline struct{}

func (offline) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("offline") }

// FuzzUnpack feeds layers: whatever they hold, nothing outside the store changes, and what is accepted can be written
// out again to the byte.
func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, entry{name: "a/b", body: "x"}, entry{name: "a/.wh.c"}, entry{name: "a/.wh..wh..opq"}))
	f.Add(tarOf(f, entry{name: "l", kind: tar.TypeSymlink, link: "../../guard"}, entry{name: "l", body: "x"}, entry{name: "l/x", body: "y"}))
	f.Add(tarOf(f, entry{name: "d", kind: tar.TypeSymlink, link: "../.."}, entry{name: "d/guard", body: "evil"}, entry{name: "h", kind: tar.TypeLink, link: "d/guard"}))
	f.Add(tarOf(f, entry{name: "x", body: "1"}, entry{name: "x/", kind: tar.TypeDir}, entry{name: "x/y", body: "2"}, entry{name: "x", body: "3"}))
	f.Fuzz(func(t *testing.T, layer []byte) {
		s, check := outsideOf(t)
		defer check()
		imgs, err := s.LoadArchive(context.Background(), stream(dockerArchive(t, "x:1", layer)), image.LoadOptions{})
		if err != nil {
			return
		}
		var buf bytes.Buffer
		if err := s.Save(context.Background(), &buf, image.SaveOptions{}, imgs...); err != nil {
			t.Fatalf("what was loaded cannot be saved: %v", err)
		}
		if _, err := imgs[0].Layers(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzArchive feeds whole archives with documents of any content.
func FuzzArchive(f *testing.F) {
	f.Add(`[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l/layer.tar"]}]`, `{"architecture":"amd64","os":"linux","rootfs":{"diff_ids":[]}}`, `{"manifests":[]}`)
	f.Add(`[{"Config":"../c.json","RepoTags":["X"],"Layers":["../../etc/passwd"]}]`, `{}`, `{"manifests":[{"digest":"sha256:../../x","mediaType":"application/vnd.oci.image.index.v1+json"}]}`)
	f.Fuzz(func(t *testing.T, manifest, config, index string) {
		s, check := outsideOf(t)
		defer check()
		es := []entry{{name: "c.json", body: config}, {name: "manifest.json", body: manifest}, {name: "l/layer.tar", body: string(tarOf(t, entry{name: "f", body: "x"}))}}
		if index != "" {
			es = append(es, entry{name: "index.json", body: index}, entry{name: "blobs/sha256/" + sum([]byte(config))[7:], body: config})
		}
		b := tarOf(t, es...)
		_, err1 := s.LoadArchive(context.Background(), stream(b), image.LoadOptions{})
		p := filepath.Join(t.TempDir(), "x.tar")
		os.WriteFile(p, b, 0o600)
		_, err2 := s.Load(context.Background(), p, image.LoadOptions{})
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("a stream and a file are not judged alike: %v, %v", err1, err2)
		}
	})
}

// FuzzDockerfile feeds Dockerfiles to a build without a shell: they must end in an image or an error, and reach nothing
// outside the context.
func FuzzDockerfile(f *testing.F) {
	for _, d := range []string{
		"FROM scratch\nCOPY a /b\n", "ARG A=scratch\nFROM $A AS x\nFROM x\nCOPY --from=x / /\n", "FROM scratch\nADD ../guard /\n", "FROM scratch\nCOPY <<EOF /x\n$A\nEOF\n",
		"FROM scratch\nCOPY --parents **/* /\n", "FROM scratch\nRUN --mount=source=../..,target=/x true\n", "FROM scratch\nENV A=${B:-${C}}\nEXPOSE 1-5/udp\nHEALTHCHECK CMD x\nONBUILD RUN x\n",
		"# escape=`\nFROM scratch\nWORKDIR ../..\nCOPY [\"a\", \"\"]\n", "FROM scratch\nCOPY link/guard /\n", "FROM scratch\nCOPY --chmod=u+s --chown=1:2 --exclude=* . /.wh.x\n",
	} {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, dockerfile string) {
		s, check := outsideOf(t)
		defer check()
		ctxDir := t.TempDir()
		os.WriteFile(filepath.Join(ctxDir, "a"), []byte("a"), 0o600)
		os.Symlink("..", filepath.Join(ctxDir, "link"))
		_, err := s.Build(context.Background(), image.BuildOptions{Context: ctxDir, DockerfileContent: []byte(dockerfile), Runner: runnerFunc(func() {})})
		_ = err // any error will do, a panic will not
	})
}

// FuzzIgnore feeds .dockerignore files: a pattern excludes something, or is refused.
func FuzzIgnore(f *testing.F) {
	for _, text := range []string{"# all\n*\n!a\n", "**/*.[a-z\n", "!..\n/a/../b\n", "\\\n\ufeff*\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, check := outsideOf(t)
		defer check()
		ctxDir := t.TempDir()
		os.WriteFile(filepath.Join(ctxDir, "a"), []byte("a"), 0o600)
		os.WriteFile(filepath.Join(ctxDir, ".dockerignore"), []byte(text), 0o600)
		_, err := s.Build(context.Background(), image.BuildOptions{Context: ctxDir, DockerfileContent: []byte("FROM scratch\nCOPY . /\n"), Runner: runnerFunc(func() {})})
		_ = err // any error will do, a panic will not
	})
}

// FuzzReference wants what is accepted to be its own normal form.
func FuzzReference(f *testing.F) {
	for _, r := range []string{"a", "a:b", "localhost:5000/a@sha256:" + strings.Repeat("0", 64), "registry.hub.docker.com/a/b", "a/b/c:d", "[::1]:80/x"} {
		f.Add(r)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := image.ParseReference(text)
		if err != nil {
			return
		}
		again, err := image.ParseReference(r.String())
		if err != nil || again != r {
			t.Fatalf("%q became %s, and that %s (%v)", text, r, again, err)
		}
		if familiar, err := image.ParseReference(r.Familiar()); err != nil || familiar != r {
			t.Fatalf("%s is not %s (%v)", r.Familiar(), r, err)
		}
	})
}
