package image_test

import (
	"archive/tar"
	"context"
	"testing"

	"longshore/internal/image"
)

// Stat and CountFiles see what a container would see: without what upper layers hide, and following links inside only.
func TestLook(t *testing.T) {
	needRoot(t)
	base := tarOf(t, entry{name: "a/f", body: "base"}, entry{name: "a/b/g", body: "x"}, entry{name: "a/l", kind: tar.TypeSymlink, link: "f"}, entry{name: "to", kind: tar.TypeSymlink, link: "/a"})
	top := tarOf(t, entry{name: "a/.wh.f"}, entry{name: "a/b/h", body: "y"})
	imgs, err := loadBytes(t, openStore(t), dockerArchive(t, "x:1", base, top))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, c := range []struct {
		path        string
		limit, want int
	}{{"/a", 100, 3}, {"/to", 100, 3}, {"/a", 2, 2}, {"/a/b", 100, 2}, {"/a/b/g", 100, 0}, {"/", 100, 4}} {
		if got, err := imgs[0].CountFiles(ctx, c.path, c.limit); err != nil || got != c.want {
			t.Errorf("%+v: %d %v", c, got, err)
		}
	}
	if m, err := imgs[0].Stat(ctx, "/to/b/h"); err != nil || !m.IsRegular() {
		t.Error(m, err)
	}
	for _, gone := range []string{"/a/f", "/a/l", "/none", "/a/b/g/x"} {
		if _, err := imgs[0].Stat(ctx, gone); image.KindOf(err) != image.KindNotFound {
			t.Errorf("%s: %v", gone, err)
		}
	}
}
