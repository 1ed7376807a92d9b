package ipfs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/ipfs"
)

// worked is the folder of MECA's reference, section 11.5.
func worked() fstest.MapFS {
	return fstest.MapFS{
		"Dockerfile": {Data: []byte("FROM scratch\n")}, "src/a.txt": {Data: []byte("a\n")}, "description.txt": {Data: []byte("d\n")},
		"name.txt": {Data: []byte("n\n")}, "example_input.bin": {Data: []byte("{}")}, "example_output.bin": {Data: []byte("{}")},
		"config.json": {Data: []byte("{}\n")},
	}
}

const workedCID = "bafybeic3caxhmrq6al4q5woql62wu3qjzeyo3gm5grmcfigsekee653t44"

// blocks records the blocks of a folder, by CID.
type blocks map[string][]byte

func (b blocks) WriteBlock(c ipfs.CID, block []byte) error {
	b[c.String()] = bytes.Clone(block)
	return nil
}

func TestLayoutOfWorkedFolder(t *testing.T) {
	made := blocks{}
	tree, err := ipfs.Layout(t.Context(), worked(), made)
	if err != nil {
		t.Fatal(err)
	}
	want := ipfs.Tree{CID: tree.CID, Total: 529, Content: 26, Files: 7, Folders: 1}
	if diff := cmp.Diff(want, tree, cmp.AllowUnexported(ipfs.CID{})); diff != "" {
		t.Error(diff)
	}
	if tree.CID.String() != workedCID || tree.CID.Hex() != "0x5b102e76461e02f90ed9d05fb56a6e09c930ed999d345822a0d222884f7773e7" {
		t.Errorf("root %s, %s", tree.CID, tree.CID.Hex())
	}
	sizes := map[string]int{}
	for c, b := range made {
		sizes[c] = len(b)
	}
	if diff := cmp.Diff(map[string]int{
		workedCID: 529 - 21 - 11 - 10 - 10 - 10 - 10 - 63,
		"bafybeicevcaejugux3qgatqfmntpmbytir2o7c52mxezoiruefnfgzysii": 21,
		"bafybeih6fc3n2tryigv6qszptvbgyk6rfloeovllaqy4xwba6slwmcmgsu": 11,
		"bafybeicq5ops444ysoichjumiqjy3jlubifhobvdeqwlq5zbdohhkuhsri": 10,
		"bafybeigatmm7mwx5bx3bbsiouaasbpgnd7a3rrxhzw7eia3w5yj6cvvfxq": 10,
		"bafybeige74r64263ab3thseie6o3xtuxr5zsmr473ia4yjfvmgcca4gv2e": 10,
		"bafybeih33ti6a5bsteiwru73h5gojr62d3ebwucfbklzordvrowoaczgom": 63 - 10,
		"bafybeigj4sef5qdwdxisatzjdoetjcfdyfqvzuhmstrj5o2ibkbix6vs5i": 10,
	}, sizes); diff != "" {
		t.Error(diff)
	}
}

// TestLayoutOfWorkedFiles holds the last rows of MECA's reference, section 11.5.
func TestLayoutOfWorkedFiles(t *testing.T) {
	made := blocks{}
	tree, err := ipfs.Layout(t.Context(), fstest.MapFS{"zeros": {Data: make([]byte, 300_000)}}, made)
	if err != nil {
		t.Fatal(err)
	}
	if made["bafybeig322zfrnit6h3vzy2fpjetyajecfk7zfywcbyc5pnaeedclqy4eu"] == nil {
		t.Error("a file of 300000 zero bytes has another CID")
	}
	if size := tree.Total - uint64(len(made[tree.CID.String()])); size != 300_136 {
		t.Errorf("a file of 300000 zero bytes takes %d bytes, want 300136", size)
	}
	if _, err := ipfs.Layout(t.Context(), fstest.MapFS{"file": {}, "folder": {Mode: fs.ModeDir | 0o755}}, made); err != nil {
		t.Fatal(err)
	}
	for what, cid := range map[string]string{
		"an empty file": "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y", "an empty folder": "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354",
	} {
		if made[cid] == nil {
			t.Errorf("%s has another CID", what)
		}
	}
}

// The CIDs were computed by boxo 0.43 (Kubo's own library) and ipfs-unixfs-importer 17, which agree.
func TestLayoutAgreesWithOthers(t *testing.T) {
	for _, c := range []struct {
		name   string
		folder fs.FS
		cid    string
	}{
		{"empty", fstest.MapFS{}, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"},
		{"0", file(0), "bafybeiavetnll4tilalilcwkst23yt6ozn5glfamdgiilp6nbhlrworljy"},
		{"1", file(1), "bafybeidq3bzij44yxyhk4h7htr2nqxjdag4mc5dpaxyntcem2efuvkx4ry"},
		{"a chunk less a byte", file(262143), "bafybeifxevbslwarppk7r4eshtl6zvtkp5ne7tfqjwihixbde7ewgidxoq"},
		{"a chunk", file(262144), "bafybeidyr3dgp5hq2kt5aun42cuj6yb6rkep27eellrkwx542rr2qcpweu"},
		{"a chunk and a byte", file(262145), "bafybeidsotni6xc3mnu3t6mjimxxrqzy57qevhxrmh4n34auhk2bw26kna"},
		{"two chunks", file(300000), "bafybeihkkdttd7c6y7csjzi6wsobh37qicswjmwgao2yq5r7gvwn7isbeq"},
		{"a full node", file(174 * 262144), "bafybeig5xb6azs2svodvkfvsn2wcy53fiwrd4vap6chhxfb3bpbbh642ii"},
		{"a full node and a byte", file(174*262144 + 1), "bafybeieecwzrk6tjzvhnbje6sxzeyopzoeafpigfketjbs3haegz54iln4"},
		{"two levels", file(348*262144 + 5), "bafybeifllbopdgjybqptbuhnl4jh37werclmgamabpqvne2ju53gyb7oby"},
		{"hidden files, empty folders, odd names", fstest.MapFS{
			".dockerignore": {Data: []byte("x\n")}, ".a/.b": {}, "empty": {Mode: fs.ModeDir | 0o755}, "é ü": {Data: []byte("u")},
			"A": {Data: []byte("1")}, "a": {Data: []byte("1")}, "a.b": {Data: []byte("1")}, "ab": {},
		}, "bafybeihzjqhuvn7zmveubsgkccioc6jl4fixcznfidijmjwqthwrgnsl34"},
		{"as many names as one block takes", names(4096, "%028d"), "bafybeicix6zza26dyskqzyz7mhbjg5gxbvqyix7kckg5eksgl6tyyonnnq"},
		{"one name more", names(4097, "%028d"), "bafybeiaj3z57sk47347ic2ir35vr6fxjxiuqju5xvuv3kvcwmulnu4hphu"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, err := ipfs.Layout(t.Context(), c.folder, nil)
			if err != nil || tree.CID.String() != c.cid {
				t.Errorf("%s, %v; want %s", tree.CID, err, c.cid)
			}
		})
	}
}

func TestLayoutOfManyFiles(t *testing.T) {
	folder := fstest.MapFS{}
	for i := range 20_000 {
		folder[fmt.Sprintf("file-%d.txt", i)] = &fstest.MapFile{Data: fmt.Append(nil, i)}
	}
	tree, err := ipfs.Layout(t.Context(), folder, nil)
	if err != nil || tree.CID.String() != "bafybeigtv5c4pufcw2sozelfjyqcaery52up4zpe6vxpzepb7dkr7dolzi" || tree.Total != 1659059 {
		t.Errorf("%s, %d bytes, %v", tree.CID, tree.Total, err)
	}
}

// file is a folder with one file "f" of so many bytes.
func file(size int) fs.FS {
	data := make([]byte, size)
	x := uint32(1)
	for i := range data {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	return fstest.MapFS{"f": {Data: data}}
}

func names(n int, format string) fs.FS {
	folder := fstest.MapFS{}
	for i := range n {
		folder[fmt.Sprintf(format, i)] = &fstest.MapFile{}
	}
	return folder
}

func TestLayoutRefusesLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if _, err := ipfs.Layout(t.Context(), os.DirFS(dir), nil); err == nil || !strings.Contains(err.Error(), "link is neither a file nor a folder") {
		t.Error(err)
	}
}

// full is a writer that takes nothing.
type full struct{}

var errFull = errors.New("full")

func (full) WriteBlock(ipfs.CID, []byte) error { return errFull }

func TestLayoutTellsTheWritersError(t *testing.T) {
	for _, folder := range []fs.FS{worked(), file(300000), fstest.MapFS{}} {
		if _, err := ipfs.Layout(t.Context(), folder, full{}); !errors.Is(err, errFull) {
			t.Error(err)
		}
	}
}

// writeCAR makes the archive of a folder.
func writeCAR(t testing.TB, folder fs.FS) (*os.File, ipfs.Tree) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w := ipfs.NewCARWriter(f)
	tree, err := ipfs.Layout(t.Context(), folder, w)
	if err == nil {
		err = w.Finish(tree.CID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f, tree
}

func TestArchivesAreDeterministic(t *testing.T) {
	f, _ := writeCAR(t, worked())
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != "f2be6857e3db91626e19cf40e40e340c978cacc042cf200cd686e7411fde31c0" {
		t.Errorf("the archive of %d bytes has the sha256 %s", len(data), got)
	}
}
