package image_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"longshore/internal/image"
)

// bigArchive writes a docker save archive of about size bytes in files of many sizes, and returns its path.
func bigArchive(b *testing.B, size int) string {
	b.Helper()
	noise := make([]byte, 8<<20)
	rand.Read(noise)
	var layers [][]byte
	for l := range 2 {
		var es []entry
		for n, i := 0, 0; n < size/2; i++ {
			// Mostly small files, as installed software has, and now and then a large one.
			want := 4<<10 + i%37<<10
			if i%50 == 0 {
				want = len(noise)
			}
			es = append(es, entry{name: fmt.Sprintf("opt/l%d/d%d/f%d", l, i/100, i), body: string(noise[:want])})
			n += want
		}
		layers = append(layers, tarOf(b, es...))
	}
	p := filepath.Join(b.TempDir(), "big.tar")
	if err := os.WriteFile(p, dockerArchive(b, "big:1", layers...), 0o600); err != nil {
		b.Fatal(err)
	}
	return p
}

func BenchmarkLoad(b *testing.B) {
	needRoot(b)
	const size = 200 << 20
	p := bigArchive(b, size)
	b.SetBytes(size)
	for b.Loop() {
		s, err := image.Open(image.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Load(context.Background(), p, image.LoadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadAgain(b *testing.B) {
	needRoot(b)
	p := bigArchive(b, 20<<20)
	s := openStore(b)
	for b.Loop() {
		if _, err := s.Load(context.Background(), p, image.LoadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchContext(b *testing.B) (*image.Store, image.BuildOptions) {
	s := openStore(b)
	busybox(b, s)
	dir := b.TempDir()
	files := map[string]string{"Dockerfile": "FROM busybox\nWORKDIR /app\nCOPY req.txt .\nRUN echo install\nCOPY . .\nCMD [\"sh\"]\n", "req.txt": "x"}
	for i := range 200 {
		files[fmt.Sprintf("src/p%d/f%d.py", i%10, i)] = fmt.Sprint(i)
	}
	write(b, dir, files)
	waitSettled(b, dir)
	opts := image.BuildOptions{Context: dir, Runner: &chroot{}, Tags: []string{"bench"}}
	if _, err := s.Build(context.Background(), opts); err != nil {
		b.Fatal(err)
	}
	return s, opts
}

func BenchmarkBuildCached(b *testing.B) {
	s, opts := benchContext(b)
	for b.Loop() {
		if _, err := s.Build(context.Background(), opts); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnchanged(b *testing.B) {
	s, opts := benchContext(b)
	for b.Loop() {
		if img, err := s.Unchanged(context.Background(), opts); err != nil || img == nil {
			b.Fatal(img, err)
		}
	}
}

func BenchmarkResolveAndLayers(b *testing.B) {
	s, _ := benchContext(b)
	for b.Loop() {
		fresh, err := image.Open(image.Config{Dir: s.Dir()})
		if err != nil {
			b.Fatal(err)
		}
		img, err := fresh.Resolve("bench")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := img.Layers(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
