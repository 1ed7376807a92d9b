package cytomine

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Bounds of a bundle. Deflate makes things at most some 1000 times smaller, and no image comes near that.
const (
	maxEntries   = 100_000
	maxRatio     = 200
	ratioFrom    = 64 << 20
	maxDocument  = 8 << 20
	maxEntryName = 4096
)

// entry is one file of a package.
type entry struct {
	name string
	size int64
	// zipped is the entry of a bundle, nil in a folder.
	zipped *zip.File
}

// pack is an opened package: a folder or a bundle.
type pack struct {
	src contract.Source
	// entries are the regular files that matter, in archive order; of a folder those at its root.
	entries []entry
	zip     *zip.ReadCloser
}

func (p *pack) close() {
	if p.zip != nil {
		p.zip.Close()
	}
}

// openPack lists a package. Entries of a bundle that no honest tool writes are reported to r.
func openPack(src contract.Source, r *report) (*pack, bool) {
	p := &pack{src: src}
	switch {
	case src.Archive != "":
		z, err := zip.OpenReader(src.Archive)
		if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
			r.found(ruleBundle, contract.At{}, "make the bundle anew: zip it with descriptor.yml at its root", "%s is not a readable zip archive: %v", printable(path.Base(src.Given)), err)
			return nil, false
		}
		if len(z.File) > maxEntries {
			r.found(ruleEntry, contract.At{}, "make the bundle anew from the descriptor and the image", "the bundle has more than %d entries", maxEntries)
			z.Close()
			return nil, false
		}
		p.zip = z
		p.listZip(r)
	case src.FS != nil:
		list, err := fs.ReadDir(src.FS, ".")
		if err != nil {
			r.found(rulePackage, contract.At{}, "make it readable", "the folder cannot be read: %v", err)
			return nil, false
		}
		for _, d := range list {
			p.add(d.Name())
		}
	default:
		r.found(rulePackage, contract.At{}, "name the folder that holds descriptor.yml, or the zip bundle", "a Cytomine task is a folder or a zip bundle")
		return nil, false
	}
	return p, true
}

// add notes a file of a folder, following links that stay inside.
func (p *pack) add(name string) {
	if st, err := fs.Stat(p.src.FS, name); err == nil && st.Mode().IsRegular() {
		p.entries = append(p.entries, entry{name: name, size: st.Size()})
	}
}

// listZip looks at every entry of the central directory before any is opened.
func (p *pack) listZip(r *report) {
	seen := map[string]bool{}
	folders := map[string]bool{}
	for _, f := range p.zip.File {
		folder := strings.HasSuffix(f.Name, "/")
		name := strings.TrimSuffix(f.Name, "/")
		if what := hostile(f, name, folder); what != "" {
			refuseEntry(r, f.Name, what)
			continue
		}
		if seen[name] && !(folder && folders[name]) || !folder && folders[name] {
			refuseEntry(r, f.Name, "another entry has the same path")
			continue
		}
		seen[name] = true
		for dir := name; ; {
			if folder || dir != name {
				folders[dir] = true
			}
			if dir = path.Dir(dir); dir == "." {
				break
			}
			if seen[dir] && !folders[dir] {
				refuseEntry(r, f.Name, "a file stands where its folder would be")
				break
			}
		}
		if !folder && !besideMac(name) {
			p.entries = append(p.entries, entry{name: name, size: int64(f.UncompressedSize64), zipped: f})
		}
	}
}

func refuseEntry(r *report, name, what string) {
	f := r.found(ruleEntry, contract.At{}, "make the bundle anew from plain files", "entry %s: %s", quote(name), what)
	f.Why = "bundles come from strangers; nothing of such a one is used"
}

// besideMac tells what macOS adds to archives.
func besideMac(name string) bool {
	return strings.HasPrefix(name, "__MACOSX/") || strings.HasPrefix(path.Base(name), "._")
}

// hostile says what is wrong with an entry, or "".
func hostile(f *zip.File, name string, folder bool) string {
	mode := f.Mode()
	switch {
	case name == "" || len(name) > maxEntryName:
		return "its name is empty or too long"
	case strings.ContainsAny(name, "\\\x00"):
		return "its name holds a backslash or a zero byte"
	case strings.HasPrefix(name, "/") || len(name) > 1 && name[1] == ':':
		return "its path is absolute"
	case slices.Contains(strings.Split(name, "/"), ".."):
		return "its path leaves the bundle"
	case !fs.ValidPath(name):
		return "its path is not clean"
	case mode&fs.ModeSymlink != 0:
		return "it is a symbolic link"
	case !folder && !mode.IsRegular():
		return "it is a " + contract.KindOf(mode)
	case f.Flags&1 != 0:
		return "it is encrypted"
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return fmt.Sprintf("its compression method %d is not supported; store or deflate it", f.Method)
	case f.UncompressedSize64 > 1<<62:
		return "its size is impossible"
	case f.UncompressedSize64 > ratioFrom && f.UncompressedSize64/maxRatio > f.CompressedSize64:
		return fmt.Sprintf("it claims to unpack from %s to %s, which looks like a decompression bomb", task.Bytes(f.CompressedSize64), task.Bytes(f.UncompressedSize64))
	}
	return ""
}

// read returns the content of a document of at most 8 MiB.
func (p *pack) read(e entry) ([]byte, error) {
	if e.zipped == nil {
		return contract.ReadText(p.src.FS, e.name)
	}
	if e.size > maxDocument {
		return nil, fmt.Errorf("%s has %s, more than %s", e.name, task.Bytes(e.size), task.Bytes(maxDocument))
	}
	in, err := e.zipped.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(in)
}

// isDescriptor tells the names that a descriptor may have.
func isDescriptor(name string) bool {
	n := strings.ToLower(name)
	return n == "descriptor.yml" || n == "descriptor.yaml"
}

// descriptors returns the candidates at the root, in archive order.
func (p *pack) descriptors() []entry {
	if p.src.File != "" {
		for _, e := range append(p.entries, p.below(path.Dir(p.src.File))...) {
			if e.name == p.src.File {
				return []entry{e}
			}
		}
		return nil
	}
	var found []entry
	for _, e := range p.entries {
		if isDescriptor(e.name) {
			found = append(found, e)
		}
	}
	return found
}

// misplaced returns descriptors that lie in folders of the package.
func (p *pack) misplaced() (names []string) {
	if p.zip != nil {
		for _, e := range p.entries {
			if isDescriptor(path.Base(e.name)) {
				names = append(names, e.name)
			}
		}
		return names
	}
	list, err := fs.ReadDir(p.src.FS, ".")
	if err != nil {
		return nil
	}
	for _, d := range list[:min(len(list), maxFolders)] {
		if name := descriptorIn(p.src.FS, d); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// elsewhere returns files of the folder, and of the folders at its root, whose name answers to is.
func (p *pack) elsewhere(is func(name string) bool) (names []string) {
	found := p.entries
	if list, err := fs.ReadDir(p.src.FS, "."); err == nil && p.zip == nil {
		for _, d := range list[:min(len(list), maxFolders)] {
			if d.IsDir() {
				found = append(slices.Clip(found), p.below(d.Name())...)
			}
		}
	}
	for _, e := range found {
		if is(path.Base(e.name)) {
			names = append(names, e.name)
		}
	}
	return names
}

// below lists the files of one folder of a folder package.
func (p *pack) below(dir string) []entry {
	if p.zip != nil || dir == "." || !fs.ValidPath(dir) {
		return nil
	}
	list, err := fs.ReadDir(p.src.FS, dir)
	if err != nil {
		return nil
	}
	sub := &pack{src: p.src}
	for _, d := range list {
		sub.add(path.Join(dir, d.Name()))
	}
	return sub.entries
}

// imageChoice is which entry is the image, by which rule of the task page and the App Engine.
type imageChoice struct {
	entry entry
	found bool
	// rule is 1 to 4, 0 when none is found; anyCase tells that letter case was ignored.
	rule    int
	anyCase bool
	// rivals are the archives that could not be told apart.
	rivals []string
	// undeclared tells that the descriptor names an entry that is not there.
	undeclared bool
}

// seedArchive is the image archive's name on the task page (Cytomine seed, "How to bundle the Task image").
const seedArchive = "image.tar"

// chooseImage finds the image's archive: the one the descriptor names, then {namespace}-{version}.tar, then image.tar (Cytomine
// seed), then the only *.tar.
func (p *pack) chooseImage(d *descriptor) imageChoice {
	all := p.entries
	if d.imageFile != "" && path.Dir(d.imageFile) != "." {
		all = append(slices.Clone(all), p.below(path.Dir(path.Clean(d.imageFile)))...)
	}
	c := imageChoice{undeclared: d.imageFile != ""}
	names := []string{d.imageFile, d.namespace + "-" + d.version + ".tar", seedArchive}
	for i, name := range names {
		if name == "" || i == 1 && (d.namespace == "" || d.version == "") {
			continue
		}
		exact, folded := match(all, name)
		switch {
		case exact != nil:
			c.entry = *exact
		case len(folded) == 1:
			c.entry, c.anyCase = folded[0], true
		case len(folded) > 1:
			for _, e := range folded {
				c.rivals = append(c.rivals, e.name)
			}
			return c
		default:
			continue
		}
		c.found, c.rule, c.undeclared = true, i+1, c.undeclared && i > 0
		return c
	}
	for _, e := range p.entries {
		if strings.EqualFold(path.Ext(e.name), ".tar") {
			c.rivals = append(c.rivals, e.name)
			c.entry = e
		}
	}
	if len(c.rivals) == 1 {
		c.found, c.rule, c.rivals = true, 4, nil
	}
	return c
}

// match finds the entry of that very name, and those that have it in another letter case.
func match(entries []entry, name string) (exact *entry, folded []entry) {
	for i, e := range entries {
		switch {
		case e.name == name:
			return &entries[i], nil
		case strings.EqualFold(e.name, name):
			folded = append(folded, e)
		}
	}
	return nil, folded
}

// words says for people why the entry is the image.
func (c imageChoice) words(d *descriptor) string {
	why := map[int]string{
		1: "named by the descriptor", 2: "today's name, {namespace}-{version}.tar", 3: "seed-era name", 4: "the only tar of the package",
	}[c.rule]
	if c.anyCase {
		why += ", letter case ignored"
	}
	if c.rule > 1 && d.imageFile == "" {
		why += "; descriptor names none"
	}
	return fmt.Sprintf("image: %s (%s)", printable(c.entry.name), why)
}

// tarBeforeDescriptor tells which comes first in the archive.
func (p *pack) tarBeforeDescriptor() bool {
	for _, e := range p.entries {
		switch {
		case isDescriptor(e.name):
			return false
		case strings.EqualFold(path.Ext(e.name), ".tar"):
			return true
		}
	}
	return false
}

// sizeAfter is the flag of an entry whose size stands behind its content.
const sizeAfter = 0x8

// archives counts what could be the image.
func (p *pack) archives() int {
	n := 0
	for _, e := range p.entries {
		if strings.EqualFold(path.Ext(e.name), ".tar") {
			n++
		}
	}
	return n
}

// openSeekable returns random access to an entry's content where that is cheap: a file of a folder, or a stored entry of a
// bundle.
func (p *pack) openSeekable(e entry) (io.ReadSeeker, io.Closer, bool) {
	if e.zipped == nil {
		if p.src.Dir == "" {
			return nil, nil, false
		}
		f, err := p.src.FS.Open(e.name)
		if err != nil {
			return nil, nil, false
		}
		s, ok := f.(io.ReadSeeker)
		return s, f, ok
	}
	if e.zipped.Method != zip.Store {
		return nil, nil, false
	}
	at, err := e.zipped.DataOffset()
	if err != nil {
		return nil, nil, false
	}
	f, err := os.Open(p.src.Archive)
	if err != nil {
		return nil, nil, false
	}
	return io.NewSectionReader(f, at, e.size), f, true
}
