package image_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"longshore/internal/image"
)

// localRegistry starts a registry and returns its host:port. wrap may put something before it.
func localRegistry(t testing.TB, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestPushAndPull(t *testing.T) {
	needRoot(t)
	ctx := context.Background()
	host := localRegistry(t, nil)
	for _, how := range []image.Compression{"", image.CompressGzip, image.CompressZstd, image.CompressNone} {
		t.Run("as "+string(how), func(t *testing.T) {
			s := openStore(t)
			imgs, err := loadBytes(t, s, dockerArchive(t, "x:1", tarOf(t, entry{name: "f", body: strings.Repeat("x", 1000)}), tarOf(t, entry{name: "g", body: "y"})))
			if err != nil {
				t.Fatal(err)
			}
			ref := host + "/a/b:" + string("t"+how)
			d, err := s.Push(ctx, imgs[0], ref, image.PushOptions{Compression: how})
			if err != nil {
				t.Fatal(err)
			}
			if again, err := s.Push(ctx, imgs[0], ref, image.PushOptions{Compression: how}); err != nil || again != d {
				t.Errorf("pushing again: %s, %v", again, err)
			}
			if how == image.CompressNone && d != imgs[0].Digest() {
				t.Error("an image that stays as it is got another digest")
			}
			other := openStore(t)
			got, err := other.Ensure(ctx, ref, image.Platform{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got.Digest() != d || got.ID() != imgs[0].ID() || readIn(t, got, "/g") != "y" {
				t.Error("the image came back changed")
			}
			byDigest, err := openStore(t).Pull(ctx, host+"/a/b@"+string(d), image.PullOptions{})
			if err != nil || byDigest.Digest() != d {
				t.Errorf("by digest: %v", err)
			}
			// What was pulled can be sent on as it is.
			if on, err := other.Push(ctx, got, host+"/c:1", image.PushOptions{}); err != nil || on != d {
				if how != image.CompressNone {
					t.Errorf("sent on: %s, %v", on, err)
				}
			}
		})
	}
}

func TestPullPlatforms(t *testing.T) {
	needRoot(t)
	ctx := context.Background()
	host := localRegistry(t, nil)
	var adds []mutate.IndexAddendum
	for _, arch := range []string{"arm64", "amd64", "unknown"} {
		img, err := random.Image(300, 1)
		if err != nil {
			t.Fatal(err)
		}
		cfg, _ := img.ConfigFile()
		cfg.Architecture, cfg.OS = arch, "linux"
		if img, err = mutate.ConfigFile(img, cfg); err != nil {
			t.Fatal(err)
		}
		os := "linux"
		if arch == "unknown" {
			os = arch
		}
		adds = append(adds, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}}})
	}
	for tag, n := range map[string]int{"both": 3, "arm": 1} {
		ref, _ := name.ParseReference(host + "/multi:" + tag)
		if err := remote.WriteIndex(ref, mutate.AppendManifests(empty.Index, adds[:n]...)); err != nil {
			t.Fatal(err)
		}
	}
	img, err := openStore(t).Pull(ctx, host+"/multi:both", image.PullOptions{})
	if err != nil || img.Facts().Platform.Architecture != "amd64" {
		t.Errorf("%v", err)
	}
	img, err = openStore(t).Pull(ctx, host+"/multi:both", image.PullOptions{Platform: image.Platform{OS: "linux", Architecture: "arm64"}})
	if err != nil || img.Facts().Platform.Architecture != "arm64" {
		t.Errorf("%v", err)
	}
	if _, err = openStore(t).Ensure(ctx, host+"/multi:arm", image.Platform{}, nil); image.KindOf(err) != image.KindArchitecture || !strings.Contains(err.Error(), "linux/arm64") {
		t.Errorf("%v", err)
	}
	// An index pulled by its digest is found by it afterwards.
	ref, _ := name.ParseReference(host + "/multi:both")
	desc, err := remote.Get(ref)
	if err != nil {
		t.Fatal(err)
	}
	s := openStore(t)
	byIndex := host + "/multi@" + desc.Digest.String()
	if img, err = s.Pull(ctx, byIndex, image.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Resolve(byIndex); err != nil || got.Digest() != img.Digest() {
		t.Errorf("%v", err)
	}
}

func TestPullErrors(t *testing.T) {
	needRoot(t)
	ctx := context.Background()
	host := localRegistry(t, nil)
	closed := httptest.NewServer(nil)
	gone := strings.TrimPrefix(closed.URL, "http://")
	closed.Close()
	locked := localRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
	})
	odd := localRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>")) })
	})
	for ref, kind := range map[string]image.Kind{host + "/none:1": image.KindNotFound, gone + "/x:1": image.KindNetwork, locked + "/x:1": image.KindUnauthorised, "Bad Ref": image.KindInvalid} {
		if _, err := openStore(t).Ensure(ctx, ref, image.Platform{}, nil); image.KindOf(err) != kind {
			t.Errorf("%s: %s %v", ref, image.KindOf(err), err)
		}
	}
	if _, err := openStore(t).Ensure(ctx, odd+"/x:1", image.Platform{}, nil); err == nil {
		t.Error("a web page was taken for an image")
	}
	_, err := openStore(t).Ensure(ctx, gone+"/x:1", image.Platform{}, nil)
	if err == nil || !strings.Contains(err.Error(), "not in the local store, and "+gone+" cannot be reached") {
		t.Error(err)
	}
	_, _, err = built(t, openStore(t), map[string]string{"Dockerfile": "FROM " + gone + "/base:1\n"}, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot be reached") || !strings.Contains(err.Error(), "Dockerfile:1") {
		t.Error(err)
	}
}

// A registry that cuts a layer short once, and one that lies about it always.
func TestPullRepairsAndRefuses(t *testing.T) {
	needRoot(t)
	ctx := context.Background()
	var cuts, lies atomic.Int32
	var cut, lie atomic.Bool
	host := localRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				body := rec.Body.Bytes()
				if len(body) > 2000 {
					if cut.Load() && cuts.Add(1) == 1 {
						w.Header().Set("Content-Length", rec.Header().Get("Content-Length"))
						w.Write(body[:1000])
						panic(http.ErrAbortHandler)
					}
					if lie.Load() {
						lies.Add(1)
						body[len(body)/2] ^= 0xff
					}
				}
				w.Write(body)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	img, err := random.Image(5000, 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg, _ := img.ConfigFile()
	cfg.Architecture, cfg.OS = "amd64", "linux"
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		t.Fatal(err)
	}
	ref, _ := name.ParseReference(host + "/r:1")
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	cut.Store(true)
	if _, err := openStore(t).Pull(ctx, host+"/r:1", image.PullOptions{}); err != nil {
		t.Errorf("a broken transfer was not begun again: %v", err)
	}
	lie.Store(true)
	if _, err := openStore(t).Pull(ctx, host+"/r:1", image.PullOptions{}); err == nil {
		t.Error("a changed layer was accepted")
	} else {
		t.Log(image.KindOf(err), err)
	}
}
