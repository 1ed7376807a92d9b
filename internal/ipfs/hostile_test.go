package ipfs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"longshore/internal/ipfs"
	"longshore/internal/task"
)

// forged is an archive that is put together block by block, as a stranger may do it.
type forged struct{ sections []byte }

type forgedLink struct {
	name string
	to   []byte // binary CID
}

// block adds a block and returns its binary CID.
func (f *forged) block(codec byte, data []byte) []byte {
	digest := sha256.Sum256(data)
	id := append([]byte{1, codec, 0x12, 32}, digest[:]...)
	f.section(id, data)
	return id
}

func (f *forged) section(id, data []byte) {
	f.sections = binary.AppendUvarint(f.sections, uint64(len(id)+len(data)))
	f.sections = append(append(f.sections, id...), data...)
}

// node adds a dag-pb block with UnixFS data: numbers by their field, bytes in field 2.
func (f *forged) node(links []forgedLink, data []byte, numbers ...uint64) []byte {
	return f.block(0x70, forgedNode(links, data, numbers...))
}

func forgedNode(links []forgedLink, data []byte, numbers ...uint64) []byte {
	var block, inner []byte
	for _, l := range links {
		var b []byte
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), l.to)
		b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), l.name)
		block = protowire.AppendBytes(protowire.AppendTag(block, 2, protowire.BytesType), b)
	}
	for i := 0; i < len(numbers); i += 2 {
		inner = protowire.AppendVarint(protowire.AppendTag(inner, protowire.Number(numbers[i]), protowire.VarintType), numbers[i+1])
	}
	if data != nil {
		inner = protowire.AppendBytes(protowire.AppendTag(inner, 2, protowire.BytesType), data)
	}
	return protowire.AppendBytes(protowire.AppendTag(block, 1, protowire.BytesType), inner)
}

func (f *forged) file(text string) []byte {
	return f.node(nil, []byte(text), 1, 2, 3, uint64(len(text)))
}
func (f *forged) folder(links ...forgedLink) []byte { return f.node(links, nil, 1, 1) }
func (f *forged) link(target string) []byte         { return f.node(nil, []byte(target), 1, 4) }

// archive is all of it, with its root.
func (f *forged) archive(root []byte) []byte {
	header := "\xa2\x65roots\x81\xd8\x2a\x58\x25\x00" + string(root) + "\x67version\x01"
	out := append(binary.AppendUvarint(nil, uint64(len(header))), header...)
	return append(out, f.sections...)
}

// unpack opens an archive and extracts its root into a new folder.
func unpack(t testing.TB, archive []byte, limits ipfs.Limits) (string, ipfs.Tree, error) {
	dir := t.TempDir() + "/in"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	car, err := ipfs.OpenCAR(t.Context(), bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return dir, ipfs.Tree{}, err
	}
	if len(car.Roots) == 0 {
		return dir, ipfs.Tree{}, fmt.Errorf("no root")
	}
	tree, err := car.Extract(t.Context(), car.Roots[0], root, limits)
	return dir, tree, err
}

func TestHostileFolders(t *testing.T) {
	raw := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	for _, c := range []struct {
		name string
		make func(f *forged) []byte
		want string
	}{
		{"a name with a slash", func(f *forged) []byte { return f.folder(forgedLink{"../x", f.file("x")}) }, `an entry has the name "../x"`},
		{"the folder above", func(f *forged) []byte { return f.folder(forgedLink{"..", f.file("x")}) }, `an entry has the name ".."`},
		{"no name", func(f *forged) []byte { return f.folder(forgedLink{"", f.file("x")}) }, `an entry has the name ""`},
		{"a zero byte", func(f *forged) []byte { return f.folder(forgedLink{"a\x00b", f.file("x")}) }, `an entry has the name "a\x00b"`},
		{"a long name", func(f *forged) []byte { return f.folder(forgedLink{strings.Repeat("n", 256), f.file("x")}) }, "a name of 256 bytes"},
		{"a name twice", func(f *forged) []byte {
			return f.folder(forgedLink{"a", f.file("1")}, forgedLink{"b", f.file("1")}, forgedLink{"a", f.file("2")})
		}, `two entries of the name "a"`},
		{"a link out", func(f *forged) []byte { return f.folder(forgedLink{"l", f.link("../out")}) }, "l: symbolic link leaves the folder"},
		{"an absolute link", func(f *forged) []byte { return f.folder(forgedLink{"l", f.link("/etc/passwd")}) }, "l: symbolic link leaves the folder"},
		{"an empty link", func(f *forged) []byte { return f.folder(forgedLink{"l", f.link("")}) }, "l: a symbolic link of 0 bytes"},
		{"a link out by way of another", func(f *forged) []byte {
			return f.folder(forgedLink{"a", f.folder(forgedLink{"b", f.folder()})}, forgedLink{"d", f.link("a/b")}, forgedLink{"e", f.link("d/../../..")}, forgedLink{"f", f.link("a/b/../../d/../../../x")})
		}, "symbolic link leaves the folder"},
		{"a link and a folder of one name", func(f *forged) []byte {
			return f.folder(forgedLink{"a", f.link(".")}, forgedLink{"a", f.folder(forgedLink{"x", f.file("x")})})
		}, `two entries of the name "a"`},
		{"a missing block", func(f *forged) []byte {
			return f.folder(forgedLink{"a", append([]byte{1, 0x70, 0x12, 32}, make([]byte, 32)...)})
		}, "is missing"},
		{"a file for a root", func(f *forged) []byte { return f.file("x") }, "it is a file"},
		{"raw bytes for a root", func(f *forged) []byte { return f.block(0x55, raw(3)) }, "it is a file"},
		{"another codec", func(f *forged) []byte { return f.folder(forgedLink{"a", f.block(0x71, raw(3))}) }, "Invalid cid codec"},
		{"no protobuf", func(f *forged) []byte { return f.block(0x70, []byte("\xff\xff")) }, "it is no protobuf message"},
		{"no data", func(f *forged) []byte { return f.block(0x70, nil) }, "it has no UnixFS data"},
		{"no type", func(f *forged) []byte { return f.node(nil, nil, 3, 1) }, "has no type"},
		{"metadata", func(f *forged) []byte { return f.folder(forgedLink{"m", f.node(nil, nil, 1, 3)}) }, "m is a UnixFS object of type 3"},
		{"a file that is longer than it says", func(f *forged) []byte { return f.folder(forgedLink{"a", f.node(nil, raw(5), 1, 2, 3, 4)}) }, "the file is 5 bytes long, and 4 are announced"},
		{"a part that is longer than its file says", func(f *forged) []byte {
			return f.folder(forgedLink{"a", f.node([]forgedLink{{"", f.file("12345")}}, nil, 1, 2, 3, 5, 4, 6)})
		}, "a part of the file is 5 bytes long, and 6 are announced"},
		{"parts without sizes", func(f *forged) []byte {
			return f.folder(forgedLink{"a", f.node([]forgedLink{{"", f.file("12345")}}, nil, 1, 2, 3, 5)})
		}, "1 links and 0 block sizes"},
		{"a folder in a file", func(f *forged) []byte {
			return f.folder(forgedLink{"a", f.node([]forgedLink{{"", f.folder()}}, nil, 1, 2, 3, 0, 4, 0)})
		}, "a part of the file is a folder"},
		{"a shard of another hash", func(f *forged) []byte { return f.node(nil, nil, 1, 5, 5, 0x12, 6, 256) }, "cannot be used"},
		{"a shard of a million ways", func(f *forged) []byte { return f.node(nil, nil, 1, 5, 5, 0x22, 6, 1<<20) }, "cannot be used"},
		{"a shard without slots", func(f *forged) []byte {
			return f.node([]forgedLink{{"A", f.file("x")}}, nil, 1, 5, 5, 0x22, 6, 256)
		}, "an entry without its slot"},
		{"a file for a shard", func(f *forged) []byte {
			return f.node([]forgedLink{{"00", f.file("x")}}, nil, 1, 5, 5, 0x22, 6, 256)
		}, "cannot be used (file"},
		{"a name twice in two shards", func(f *forged) []byte {
			sub := f.node([]forgedLink{{"01x", f.file("x")}}, nil, 1, 5, 5, 0x22, 6, 256)
			return f.node([]forgedLink{{"00x", f.file("y")}, {"01", sub}}, nil, 1, 5, 5, 0x22, 6, 256)
		}, `two entries of the name "x"`},
		{"many levels of a file", func(f *forged) []byte {
			at := f.file("x")
			for range 40 {
				at = f.node([]forgedLink{{"", at}}, nil, 1, 2, 3, 1, 4, 1)
			}
			return f.folder(forgedLink{"a", at})
		}, "the file has too many levels"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &forged{}
			dir, _, err := unpack(t, f.archive(c.make(f)), ipfs.Limits{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if list, err := os.ReadDir(dir + "/.."); err != nil || len(list) != 1 {
				t.Errorf("something was written outside: %v, %v", list, err)
			}
		})
	}
}

func TestBombs(t *testing.T) {
	small := ipfs.Limits{Bytes: 1000, Entries: 100, Depth: 10}
	for _, c := range []struct {
		name string
		make func(f *forged) []byte
		want string
	}{
		{"one block, many times", func(f *forged) []byte {
			at, size := f.file("0123456789"), uint64(10)
			for range 10 {
				links, numbers := []forgedLink{}, []uint64{1, 2, 3, size * 10}
				for range 10 {
					links, numbers = append(links, forgedLink{"", at}), append(numbers, 4, size)
				}
				at, size = f.node(links, nil, numbers...), size*10
			}
			return f.folder(forgedLink{"a", at})
		}, "more than 1000 bytes"},
		{"one folder, many times", func(f *forged) []byte {
			at := f.folder()
			for range 9 {
				var links []forgedLink
				for i := range 10 {
					links = append(links, forgedLink{fmt.Sprint(i), at})
				}
				at = f.folder(links...)
			}
			return at
		}, "more than 100 entries"},
		{"nothing, many times", func(f *forged) []byte {
			at := f.file("")
			for range 9 {
				links, numbers := []forgedLink{}, []uint64{1, 2, 3, 0}
				for range 100 {
					links, numbers = append(links, forgedLink{"", at}), append(numbers, 4, 0)
				}
				at = f.node(links, nil, numbers...)
			}
			return f.folder(forgedLink{"a", at})
		}, "blocks, counting every use"},
		{"deep", func(f *forged) []byte {
			at := f.folder()
			for range 12 {
				at = f.folder(forgedLink{"a", at})
			}
			return at
		}, "folders are more than 10 deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &forged{}
			_, _, err := unpack(t, f.archive(c.make(f)), small)
			if task.CodeOf(err) != task.ReasonPolicy || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestHostileArchives(t *testing.T) {
	good := func() []byte { f := &forged{}; return f.archive(f.folder(forgedLink{"a", f.file("x")})) }
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"empty":                 {nil, "it is empty"},
		"cut off":               {good()[:len(good())-3], "the archive ends after"},
		"cut off in the header": {good()[:20], "its header"},
		"text":                  {[]byte("Hello, this is no archive at all."), "no CAR archive"},
		"a zip":                 {[]byte("PK\x03\x04 and so on, and so on"), "no CAR archive"},
		"another version":       {bytes.Replace(good(), []byte("version\x01"), []byte("version\x02"), 1), "it is of version 2"},
		"another member":        {bytes.Replace(good(), []byte("version"), []byte("vershun"), 1), "unknown member"},
		"a flipped bit":         {append(good()[:len(good())-1], 'y'), "its bytes have the sha2-256 digest"},
		"padding":               {append(good(), 0, 0, 0), "its length is 0 bytes"},
		"a huge length":         {append(good(), 0xff, 0xff, 0xff, 0xff, 0x7f), "its length is"},
		"an endless length":     {append(good(), bytes.Repeat([]byte{0xff}, 20)...), "its length cannot be read"},
		"a short block":         {append(good(), 3, 1, 0x70, 0x12), "Invalid cid multihash length"},
		"a lying version 2": {
			append([]byte("\x0a\xa1\x67version\x02"), bytes.Repeat([]byte{0xff}, 40)...), "its header says that the blocks lie at",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := unpack(t, c.archive, ipfs.Limits{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	f := &forged{}
	id := f.folder()
	f.section(id, forgedNode([]forgedLink{{"a", id}}, nil, 1, 1)) // a folder that holds itself can only lie about its digest
	if _, _, err := unpack(t, f.archive(id), ipfs.Limits{}); err == nil || !strings.Contains(err.Error(), "its CID says") {
		t.Errorf("a circle: %v", err)
	}
	big := &forged{}
	if _, _, err := unpack(t, big.archive(big.folder(forgedLink{"a", big.block(0x55, make([]byte, 3<<20))})), ipfs.Limits{}); err == nil {
		t.Error("a block of 3 MiB is taken")
	}
}

func TestExtractTakesWhatOthersMake(t *testing.T) {
	want := map[string]string{}
	for name, file := range worked() {
		want[name] = string(file.Data)
	}
	for _, name := range []string{"v0.car", "raw.car", "v2.car"} { // made by boxo 0.43 and go-car 2.17
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		dir, tree, err := unpack(t, data, ipfs.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, contents(t, os.DirFS(dir))); diff != "" || tree.Files != len(want) || tree.Content != 26 {
			t.Errorf("%s: %s %+v", name, diff, tree)
		}
	}
}

func TestExtractKeepsLinksInside(t *testing.T) {
	f := &forged{}
	dir, _, err := unpack(t, f.archive(f.folder(forgedLink{"a", f.file("x")}, forgedLink{"b", f.folder(forgedLink{"l", f.link("../a")})}, forgedLink{"gone", f.link("nothing")})), ipfs.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(dir + "/b/l"); err != nil || string(data) != "x" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestRoundTrip(t *testing.T) {
	for name, folder := range map[string]fs.FS{"worked": worked(), "large": file(2_000_000), "sharded": names(1000, "%0250d")} {
		f, tree := writeCAR(t, folder)
		data, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		dir, got, err := unpack(t, data, ipfs.Limits{})
		if err != nil || got.CID != tree.CID || got.Files != tree.Files || got.Content != tree.Content {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tree)
		}
		if diff := cmp.Diff(contents(t, folder), contents(t, os.DirFS(dir))); diff != "" {
			t.Errorf("%s: %.2000s", name, diff)
		}
	}
}

// contents reads all files of a folder.
func contents(t testing.TB, folder fs.FS) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(folder, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(folder, p)
		files[p] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// FuzzCAR holds that no archive makes Longshore fail in another way than by an error, or write outside its folder.
func FuzzCAR(f *testing.F) {
	for _, name := range []string{"v0.car", "raw.car", "v2.car"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	g := &forged{}
	f.Add(g.archive(g.folder(forgedLink{"l", g.link("x")})))
	f.Fuzz(func(t *testing.T, archive []byte) {
		dir, _, err := unpack(t, archive, ipfs.Limits{Bytes: 1 << 16, Entries: 50, Depth: 5})
		if list, lerr := os.ReadDir(dir + "/.."); lerr != nil || len(list) != 1 {
			t.Errorf("something was written outside: %v, %v (%v)", list, lerr, err)
		}
	})
}

// FuzzBlock does the same for the bytes of one block, whose digest is right.
func FuzzBlock(f *testing.F) {
	g := &forged{}
	f.Add(forgedNode([]forgedLink{{"a", g.file("x")}}, nil, 1, 1))
	f.Add(forgedNode([]forgedLink{{"00", g.file("x")}}, []byte{1}, 1, 5, 5, 0x22, 6, 256))
	f.Add(forgedNode([]forgedLink{{"", g.file("x")}}, nil, 1, 2, 3, 1, 4, 1))
	f.Fuzz(func(t *testing.T, block []byte) {
		g := &forged{}
		g.file("x")
		dir, _, err := unpack(t, g.archive(g.folder(forgedLink{"a", g.block(0x70, block)})), ipfs.Limits{Bytes: 1 << 16, Entries: 50, Depth: 5})
		if list, lerr := os.ReadDir(dir + "/.."); lerr != nil || len(list) != 1 {
			t.Errorf("something was written outside: %v, %v (%v)", list, lerr, err)
		}
	})
}
