package cytomine

import (
	"io/fs"
	"path"
	"strings"

	"longshore/internal/contract"
)

// Recognise looks for a descriptor.yml at the root, or in the root's only folder, and whether it names a namespace and
// parameters.
func (Contract) Recognise(src contract.Source) contract.Recognition {
	if src.FS == nil {
		return contract.Recognition{}
	}
	if src.File != "" {
		return recogniseFile(src)
	}
	list, err := fs.ReadDir(src.FS, ".")
	if err != nil {
		return contract.Recognition{}
	}
	for _, d := range list {
		if !d.IsDir() && isDescriptor(d.Name()) {
			return recognition(src.FS, d.Name(), contract.Likely)
		}
	}
	if src.Archive == "" || len(list) != 1 || !list[0].IsDir() {
		return contract.Recognition{}
	}
	// The folder was zipped in place of its files: Load says so.
	inner, err := fs.ReadDir(src.FS, list[0].Name())
	if err != nil {
		return contract.Recognition{}
	}
	for _, d := range inner {
		name := path.Join(list[0].Name(), d.Name())
		if r := recognition(src.FS, name, contract.No); isDescriptor(d.Name()) && r.Certainty == contract.Certain {
			return contract.Recognition{Certainty: contract.Likely, Evidence: r.Evidence}
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
