package image_test

import (
	"context"
	"testing"

	"longshore/internal/image"
)

func TestBuildSmoke(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"main.py": "print(1)", "Dockerfile": "FROM busybox\nWORKDIR /app\nCOPY main.py .\nRUN echo hello > out && ls -l /\nENV A=1\nCMD [\"cat\", \"out\"]\n"})
	var st steps
	img, err := s.Build(context.Background(), image.BuildOptions{Context: dir, Runner: &chroot{}, Progress: st.progress, Tags: []string{"x:1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(st.lines, st.out, img.Digest(), layersOf(t, img))
	t.Log(readIn(t, img, "/app/out"))
	for _, l := range layersOf(t, img)[4:] {
		t.Log(l, listing(t, l))
	}
	var st2 steps
	img2, err := s.Build(context.Background(), image.BuildOptions{Context: dir, Runner: &chroot{}, Progress: st2.progress, Tags: []string{"x:1"}})
	t.Log(err, st2.lines, img2.Digest())
}
