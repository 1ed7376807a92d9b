package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/image"
)

// ociBlobs collects the blobs of an OCI layout.
type ociBlobs struct {
	t       testing.TB
	entries []entry
}

func (o *ociBlobs) add(b []byte) map[string]any {
	name := "blobs/sha256/" + strings.TrimPrefix(sum(b), "sha256:")
	for _, e := range o.entries {
		if e.name == name {
			return map[string]any{"digest": sum(b), "size": len(b)}
		}
	}
	o.entries = append(o.entries, entry{name: name, body: string(b)})
	return map[string]any{"digest": sum(b), "size": len(b)}
}

func (o *ociBlobs) doc(mediaType string, v any) map[string]any {
	b, err := json.Marshal(v)
	if err != nil {
		o.t.Fatal(err)
	}
	d := o.add(b)
	d["mediaType"] = mediaType
	return d
}

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// image adds an image; layers are given uncompressed with how each is packed.
func (o *ociBlobs) image(arch string, layers [][]byte, pack func([]byte) []byte, suffix string) map[string]any {
	c := o.add(configOf(arch, layers...))
	c["mediaType"] = ociConfig
	ls := []any{}
	for _, l := range layers {
		d := o.add(pack(l))
		d["mediaType"] = ociLayer + suffix
		ls = append(ls, d)
	}
	return o.doc(ociManifest, map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "config": c, "layers": ls})
}

func (o *ociBlobs) archive(index ...map[string]any) []byte {
	b, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": index})
	es := append([]entry{{name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`}}, o.entries...)
	return tarOf(o.t, append(es, entry{name: "index.json", body: string(b)})...)
}

func identity(b []byte) []byte { return b }

func with(m map[string]any, key string, v any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	out[key] = v
	return out
}

func TestLoadOCI(t *testing.T) {
	needRoot(t)
	one, two := tarOf(t, entry{name: "one", body: "1"}), tarOf(t, entry{name: "two", body: "2"})
	for name, p := range map[string]struct {
		pack   func([]byte) []byte
		suffix string
	}{"plain": {identity, ""}, "gzip": {gz, "+gzip"}, "zstd": {zst, "+zstd"}} {
		t.Run(name, func(t *testing.T) {
			o := &ociBlobs{t: t}
			m := with(o.image("amd64", [][]byte{one, two}, p.pack, p.suffix), "annotations", map[string]string{"io.containerd.image.name": "docker.io/library/x:1"})
			both(t, o.archive(m), func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
				if err != nil {
					t.Fatal(err)
				}
				if readIn(t, imgs[0], "/one")+readIn(t, imgs[0], "/two") != "12" {
					t.Error("contents")
				}
				if string(imgs[0].Digest()) != m["digest"] {
					t.Error("the manifest did not stay as it is")
				}
				if d := cmp.Diff([]string{"docker.io/library/x:1"}, imgs[0].Names()); d != "" {
					t.Error(d)
				}
				back, err := loadBytes(t, openStore(t), saved(t, s, image.OCIArchive, imgs[0]))
				if err != nil || back[0].Digest() != imgs[0].Digest() || back[0].Name() != "x:1" {
					t.Errorf("the archive does not come back: %v", err)
				}
				classic, err := loadBytes(t, openStore(t), saved(t, s, image.DockerArchive, imgs[0]))
				if err != nil || classic[0].ID() != imgs[0].ID() || classic[0].Name() != "x:1" {
					t.Errorf("the docker archive does not come back: %v", err)
				}
			})
		})
	}
}

// Docker 29 writes an index per image with attestations, other platforms whose blobs are missing, and manifest.json too.
func TestLoadNestedIndex(t *testing.T) {
	needRoot(t)
	layer := tarOf(t, entry{name: "f", body: "amd"})
	o := &ociBlobs{t: t}
	amd := with(o.image("amd64", [][]byte{layer}, gz, "+gzip"), "platform", map[string]string{"os": "linux", "architecture": "amd64"})
	missing := map[string]any{"mediaType": ociManifest, "digest": "sha256:" + strings.Repeat("1", 64), "size": 7, "platform": map[string]string{"os": "linux", "architecture": "arm64"}}
	statement := o.add([]byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`))
	statement["mediaType"] = "application/vnd.in-toto+json"
	attest := o.doc(ociManifest, map[string]any{"schemaVersion": 2, "config": with(o.add([]byte("{}")), "mediaType", ociConfig), "layers": []any{statement}})
	attest = with(with(attest, "platform", map[string]string{"os": "unknown", "architecture": "unknown"}), "annotations", map[string]string{"vnd.docker.reference.type": "attestation-manifest"})
	nested := o.doc(ociIndex, map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []any{missing, amd, attest}})
	config := configOf("amd64", layer)
	mj, _ := json.Marshal([]map[string]any{{"Config": "blobs/sha256/" + sum(config)[7:], "RepoTags": []string{"from-docker:2"}, "Layers": []string{"blobs/sha256/" + sum(gz(layer))[7:]}}})
	o.entries = append(o.entries, entry{name: "manifest.json", body: string(mj)})
	both(t, o.archive(with(nested, "annotations", map[string]string{"io.containerd.image.name": "docker.io/library/n:1", "org.opencontainers.image.ref.name": "1"})), func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if len(imgs) != 1 || readIn(t, imgs[0], "/f") != "amd" {
			t.Fatalf("%d images", len(imgs))
		}
		if d := cmp.Diff([]string{"docker.io/library/from-docker:2", "docker.io/library/n:1"}, imgs[0].Names()); d != "" {
			t.Error(d)
		}
	})
}

func TestLoadFolder(t *testing.T) {
	needRoot(t)
	o := &ociBlobs{t: t}
	b := o.archive(o.image("amd64", [][]byte{tarOf(t, entry{name: "f", body: "x"})}, gz, "+gzip"))
	dir := t.TempDir()
	tr := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		data, _ := io.ReadAll(tr)
		write(t, dir, map[string]string{h.Name: string(data)})
	}
	s := openStore(t)
	imgs, err := s.Load(context.Background(), dir, image.LoadOptions{Name: "named:1"})
	if err != nil || readIn(t, imgs[0], "/f") != "x" || imgs[0].Name() != "named:1" {
		t.Fatal(err)
	}
}

func TestLoadDocker(t *testing.T) {
	needRoot(t)
	layer := tarOf(t, entry{name: "f", body: "x"})
	config := configOf("amd64", layer, layer)
	m, _ := json.Marshal([]map[string]any{
		{"Config": "c.json", "RepoTags": []string{"a:1", "localhost:5000/b:2"}, "Layers": []string{"l1/layer.tar", "l2/layer.tar"}},
		{"Config": "c.json", "RepoTags": nil, "Layers": []string{"l1/layer.tar", "l2/layer.tar"}},
	})
	shared := tarOf(t,
		entry{name: "manifest.json", body: string(m)}, entry{name: "c.json", body: string(config)},
		entry{name: "l2/layer.tar", kind: tar.TypeSymlink, link: "../l1/layer.tar"}, entry{name: "l1/layer.tar", body: string(gz(layer))})
	for name, pack := range map[string]func([]byte) []byte{"plain": identity, "gzip": gz, "zstd": zst} {
		t.Run(name, func(t *testing.T) {
			both(t, pack(shared), func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
				if err != nil {
					t.Fatal(err)
				}
				if len(imgs) != 2 || readIn(t, imgs[0], "/f") != "x" {
					t.Fatalf("%d images", len(imgs))
				}
				if d := cmp.Diff([]string{"docker.io/library/a:1", "localhost:5000/b:2"}, imgs[0].Names()); d != "" {
					t.Error(d)
				}
				if imgs[0].Facts().Cmd[0] != "x" || imgs[0].Facts().Env[0] != "A=b" || imgs[0].Facts().LayerCount != 2 {
					t.Errorf("%+v", imgs[0].Facts())
				}
			})
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	needRoot(t)
	layer := tarOf(t, entry{name: "f", body: "x"})
	other := tarOf(t, entry{name: "g", body: "y"})
	lying := &ociBlobs{t: t}
	m := lying.image("amd64", [][]byte{layer}, identity, "")
	for i := range lying.entries {
		if lying.entries[i].body == string(layer) {
			lying.entries[i].body = string(other)
		}
	}
	lyingManifest := &ociBlobs{t: t}
	lm := lyingManifest.image("amd64", [][]byte{layer}, identity, "")
	for i := range lyingManifest.entries {
		lyingManifest.entries[i].body = strings.Replace(lyingManifest.entries[i].body, `"schemaVersion":2`, `"schemaVersion": 2`, 1)
	}
	config := configOf("amd64", layer)
	manifest := func(v any) []byte { b, _ := json.Marshal(v); return b }
	wrongDiff := tarOf(t, entry{name: "c.json", body: string(config)}, entry{name: "l.tar", body: string(other)}, entry{name: "manifest.json", body: string(manifest([]map[string]any{{"Config": "c.json", "Layers": []string{"l.tar"}}}))})
	artifact := &ociBlobs{t: t}
	am := artifact.doc(ociManifest, map[string]any{"schemaVersion": 2, "config": map[string]any{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": sum(nil), "size": 0}})
	arm := &ociBlobs{t: t}
	armImage := arm.image("arm64", [][]byte{layer}, identity, "")
	tests := map[string]struct {
		archive []byte
		kind    image.Kind
		part    string
	}{
		"lying blob":       {lying.archive(m), image.KindCorrupt, "digest"},
		"lying manifest":   {lyingManifest.archive(lm), image.KindCorrupt, "digest"},
		"lying diffID":     {wrongDiff, image.KindCorrupt, "digest"},
		"artifact":         {artifact.archive(am), image.KindUnsupported, "helm"},
		"other machine":    {arm.archive(armImage), image.KindArchitecture, "linux/arm64, this machine runs linux/amd64"},
		"not an image":     {tarOf(t, entry{name: "x", body: "y"}), image.KindInvalid, "neither manifest.json nor index.json"},
		"no archive":       {[]byte("hello, this is no archive at all"), "", ""},
		"empty":            {nil, "", ""},
		"missing layer":    {tarOf(t, entry{name: "c.json", body: string(config)}, entry{name: "manifest.json", body: string(manifest([]map[string]any{{"Config": "c.json", "Layers": []string{"l.tar"}}}))}), image.KindCorrupt, "l.tar"},
		"missing config":   {tarOf(t, entry{name: "manifest.json", body: string(manifest([]map[string]any{{"Config": "c.json", "Layers": []string{}}}))}), image.KindCorrupt, "c.json"},
		"bad JSON":         {tarOf(t, entry{name: "manifest.json", body: "[{"}), image.KindCorrupt, "manifest.json"},
		"cut":              {dockerArchive(t, "x:1", layer)[:2000], "", ""},
		"layer count lies": {tarOf(t, entry{name: "c.json", body: string(config)}, entry{name: "manifest.json", body: string(manifest([]map[string]any{{"Config": "c.json", "Layers": []string{}}}))}), image.KindCorrupt, "numbers of layers"},
		"before 1.10":      {tarOf(t, entry{name: "repositories", body: "{}"}), image.KindInvalid, "Docker before 1.10"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			both(t, tt.archive, func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
				if err == nil || (tt.kind != "" && image.KindOf(err) != tt.kind) || !strings.Contains(err.Error(), tt.part) {
					t.Errorf("got %s %v", image.KindOf(err), err)
				}
			})
		})
	}
	t.Run("any platform", func(t *testing.T) {
		imgs, err := openStore(t).LoadArchive(context.Background(), stream(arm.archive(armImage)), image.LoadOptions{AnyPlatform: true})
		if err != nil || imgs[0].Facts().Platform.Architecture != "arm64" {
			t.Error(err)
		}
	})
	t.Run("that platform", func(t *testing.T) {
		_, err := openStore(t).LoadArchive(context.Background(), stream(arm.archive(armImage)), image.LoadOptions{Platform: image.Platform{OS: "linux", Architecture: "arm64"}})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestLoadSkipsWhatIsThere(t *testing.T) {
	needRoot(t)
	s := openStore(t)
	b := dockerArchive(t, "x:1", tarOf(t, entry{name: "f", body: strings.Repeat("x", 1<<20)}))
	p := filepath.Join(t.TempDir(), "x.tar")
	os.WriteFile(p, b, 0o644)
	var moved int64
	opts := image.LoadOptions{Progress: func(e image.Event) {
		if e.Kind == image.EventBytes {
			moved = e.Bytes
		}
	}}
	if _, err := s.Load(context.Background(), p, opts); err != nil || moved == 0 {
		t.Fatal(err, moved)
	}
	moved = 0
	if _, err := s.Load(context.Background(), p, opts); err != nil || moved != 0 {
		t.Errorf("%v, %d bytes moved again", err, moved)
	}
}

func TestLoadAtOnce(t *testing.T) {
	needRoot(t)
	layers := [][]byte{}
	for i := range 4 {
		layers = append(layers, tarOf(t, entry{name: fmt.Sprint("f", i), body: strings.Repeat("x", 200<<10)}))
	}
	b := dockerArchive(t, "x:1", layers...)
	p := filepath.Join(t.TempDir(), "x.tar")
	os.WriteFile(p, b, 0o644)
	s := openStore(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var imgs []*image.Image
			var err error
			if i%2 == 0 {
				imgs, err = s.Load(context.Background(), p, image.LoadOptions{})
			} else {
				imgs, err = s.LoadArchive(context.Background(), stream(b), image.LoadOptions{})
			}
			if err != nil {
				t.Error(err)
				return
			}
			if l, err := imgs[0].Layers(context.Background()); err != nil || len(l) != 4 {
				t.Error(l, err)
			}
		}()
	}
	wg.Wait()
	if left, _ := filepath.Glob(filepath.Join(s.Dir(), "tmp", "layer-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestLoadProcess is what the processes of TestLoadFromProcesses run.
func TestLoadProcess(t *testing.T) {
	dir, archive := os.Getenv("LONGSHORE_TEST_STORE"), os.Getenv("LONGSHORE_TEST_ARCHIVE")
	if dir == "" {
		return
	}
	s, err := image.Open(image.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(context.Background(), archive, image.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestLoadFromProcesses(t *testing.T) {
	needRoot(t)
	b := dockerArchive(t, "x:1", tarOf(t, entry{name: "f", body: strings.Repeat("x", 1<<20)}))
	p := filepath.Join(t.TempDir(), "x.tar")
	os.WriteFile(p, b, 0o644)
	s := openStore(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			cmd := exec.Command(os.Args[0], "-test.run=^TestLoadProcess$")
			cmd.Env = append(os.Environ(), "LONGSHORE_TEST_STORE="+s.Dir(), "LONGSHORE_TEST_ARCHIVE="+p)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}()
	}
	wg.Wait()
	img, err := s.Resolve("x:1")
	if err != nil || len(readIn(t, img, "/f")) != 1<<20 {
		t.Error(err)
	}
}

func TestSaveSeveral(t *testing.T) {
	needRoot(t)
	s := openStore(t)
	shared := tarOf(t, entry{name: "f", body: "x"})
	a, err := loadBytes(t, s, dockerArchive(t, "a:1", shared))
	if err != nil {
		t.Fatal(err)
	}
	b, err := loadBytes(t, s, dockerArchive(t, "b:1", shared, tarOf(t, entry{name: "g", body: "y"})))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []image.ArchiveFormat{image.DockerArchive, image.OCIArchive} {
		data := saved(t, s, f, a[0], b[0])
		if !bytes.Equal(data, saved(t, s, f, a[0], b[0])) {
			t.Error("saving twice gives different bytes")
		}
		back, err := loadBytes(t, openStore(t), data)
		if err != nil || len(back) != 2 || back[1].Name() != "b:1" || back[0].ID() != a[0].ID() {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// An OCI archive serves readers that know manifest.json only, too.
func TestOCIArchiveForOldReaders(t *testing.T) {
	needRoot(t)
	s := openStore(t)
	img, err := loadBytes(t, s, dockerArchive(t, "a:1", tarOf(t, entry{name: "f", body: "x"})))
	if err != nil {
		t.Fatal(err)
	}
	var old bytes.Buffer
	w := tar.NewWriter(&old)
	r := tar.NewReader(bytes.NewReader(saved(t, s, image.OCIArchive, img[0])))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "index.json" || h.Name == "oci-layout" {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	back, err := loadBytes(t, openStore(t), old.Bytes())
	if err != nil || len(back) != 1 || back[0].Name() != "a:1" || back[0].ID() != img[0].ID() {
		t.Errorf("got %v, %v", back, err)
	}
}
