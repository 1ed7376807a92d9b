package cli

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
)

func TestFirstByte(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for _, c := range []struct {
		name, a, b string
		offset     int64
		want       string
	}{
		{"the same", long, long, 200_000, "the end of the file, the end of the file"},
		{"empty", "", "", 0, "the end of the file, the end of the file"},
		{"first byte", "a", "b", 0, `0x61 ("a"), 0x62 ("b")`},
		{"behind the buffer", long + "\n1", long + "\n2", 200_001, `0x31 ("1"), 0x32 ("2")`},
		{"shorter", long, long + "\x00", 200_000, "the end of the file, 0x00"},
		{"nothing and something", "é", "", 0, "0xc3, the end of the file"},
	} {
		// Readers that give one byte, half, or all at a time must not matter.
		for _, a := range []func() (int64, [2]*byte, error){
			func() (int64, [2]*byte, error) { return firstByte(strings.NewReader(c.a), strings.NewReader(c.b)) },
			func() (int64, [2]*byte, error) {
				return firstByte(iotest.HalfReader(strings.NewReader(c.a)), iotest.DataErrReader(strings.NewReader(c.b)))
			},
			func() (int64, [2]*byte, error) {
				return firstByte(iotest.OneByteReader(strings.NewReader(c.a)), strings.NewReader(c.b))
			},
		} {
			offset, two, err := a()
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if got := byteWords(two[0]) + ", " + byteWords(two[1]); offset != c.offset || got != c.want {
				t.Errorf("%s: byte %d: %s; want byte %d: %s", c.name, offset, got, c.offset, c.want)
			}
		}
	}
	if _, _, err := firstByte(iotest.ErrReader(iotest.ErrTimeout), bytes.NewReader(nil)); err == nil {
		t.Error("an error of reading is lost")
	}
}

func TestCompareTrees(t *testing.T) {
	tree := func(files ...string) fstest.MapFS {
		m := fstest.MapFS{}
		for _, f := range files {
			name, text, _ := strings.Cut(f, "=")
			m[name] = &fstest.MapFile{Data: []byte(text)}
		}
		return m
	}
	paths := []string{"b", "a", "gone"}
	for _, c := range []struct {
		name string
		a, b fstest.MapFS
		want string
	}{
		{"the same", tree("a/x=1", "b=2"), tree("a/x=1", "b=2"), ""},
		{"not an output", tree("a/x=1", "c=2"), tree("a/x=1", "c=3"), ""},
		{"path order", tree("b=1", "a/y=1", "a/x=1"), tree("b=2", "a/y=2", "a/x=1"), `a/y, byte 0 (from 0): 0x31 ("1") in A, 0x32 ("2") in B`},
		{"only in one", tree("a/x=1", "a/y=1"), tree("a/y=2"), "a/x is in A only"},
		{"only in the other", tree("b=1"), tree("b=1", "gone=1"), "gone is in B only"},
	} {
		d, err := compareTrees(c.a, c.b, paths)
		got := ""
		if d != nil {
			got = d.words("A", "B")
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	for _, path := range []string{"../a", "/a", ""} {
		if _, err := compareTrees(tree(), tree(), []string{path}); err == nil {
			t.Errorf("the path %q is taken", path)
		}
	}
}
