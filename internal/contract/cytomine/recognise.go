package cytomine

import (
	"archive/zip"
	"io/fs"
	"path"
	"strings"

	"longshore/internal/contract"
)

// Recognise looks for a descriptor.yml at the root, and whether it names a namespace and parameters. One in a folder of the root
// is no package yet, but Load says what to do.
func (Contract) Recognise(src contract.Source) contract.Recognition {
	if src.FS == nil {
		return contract.Recognition{}
	}
	if src.File != "" {
		return recogniseFile(src)
	}
	list, err := fs.ReadDir(src.FS, ".")
	if err != nil {
		return unlisted(src.FS)
	}
	for _, d := range list {
		if !d.IsDir() && isDescriptor(d.Name()) {
			return recognition(src.FS, d.Name(), contract.Likely)
		}
	}
	if len(list) > maxFolders {
		return contract.Recognition{}
	}
	for _, d := range list {
		if name := descriptorIn(src.FS, d); name != "" && looksLike(src.FS, name) {
			return contract.Recognition{Certainty: contract.Possible, Evidence: printable(name) + " with namespace, inputs and outputs"}
		}
	}
	return contract.Recognition{}
}

// maxFolders bounds the folders that are searched for a descriptor which does not lie where it should.
const maxFolders = 200

// descriptorIn returns the path of the descriptor in a folder of the root, "" when it has none.
func descriptorIn(fsys fs.FS, d fs.DirEntry) string {
	if !d.IsDir() {
		return ""
	}
	list, err := fs.ReadDir(fsys, d.Name())
	if err != nil {
		return ""
	}
	for _, f := range list {
		if name := path.Join(d.Name(), f.Name()); !f.IsDir() && isDescriptor(f.Name()) && !besideMac(name) {
			return name
		}
	}
	return ""
}

// unlisted recognises a bundle whose root cannot be listed, as entries occur twice: Load says so.
func unlisted(fsys fs.FS) contract.Recognition {
	z, ok := fsys.(*zip.Reader)
	if !ok {
		return contract.Recognition{}
	}
	for _, f := range z.File {
		if isDescriptor(f.Name) {
			return contract.Recognition{Certainty: contract.Likely, Evidence: printable(f.Name), Manifest: f.Name}
		}
	}
	return contract.Recognition{}
}

func recogniseFile(src contract.Source) contract.Recognition {
	base := strings.ToLower(path.Base(src.File))
	if ext := path.Ext(base); ext != ".yml" && ext != ".yaml" {
		return contract.Recognition{}
	}
	least := contract.No
	if isDescriptor(base) {
		least = contract.Likely
	}
	return recognition(src.FS, src.File, least)
}

// recognition is Certain for a document that looks like a descriptor, and least otherwise.
func recognition(fsys fs.FS, name string, least contract.Certainty) contract.Recognition {
	switch {
	case looksLike(fsys, name):
		return contract.Recognition{Certainty: contract.Certain, Evidence: printable(name) + " with namespace, inputs and outputs", Manifest: name}
	case least == contract.No:
		return contract.Recognition{}
	}
	return contract.Recognition{Certainty: least, Evidence: printable(name), Manifest: name}
}

// looksLike tells whether a document has the keys of a descriptor.
func looksLike(fsys fs.FS, name string) bool {
	st, err := fs.Stat(fsys, name) // before opening: a named pipe would wait for a writer
	if err != nil || !st.Mode().IsRegular() {
		return false
	}
	data, err := contract.ReadText(fsys, name)
	if err != nil {
		return false
	}
	n, err := contract.ParseYAML(data)
	if err != nil || !n.Is(contract.NodeObject) {
		return false
	}
	return n.Has("namespace") && n.Has("inputs") && n.Has("outputs")
}
