package kaapana

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
)

// places are where a container folder keeps the file: beside the Dockerfile (in-tree habit of 0.6) or in files/ (seed).
var places = [...]string{fileName, "files/" + fileName}

const (
	taskFileName = "task.json"
	// containersFolder is where a workflow folder keeps its containers.
	containersFolder = "processing-containers"
)

// Recognise looks for processing-container.json in an image or a folder, or at the document named.
func (Contract) Recognise(src contract.Source) contract.Recognition {
	switch {
	case src.Image != nil:
		return recogniseImage(src.Image)
	case src.FS == nil:
		return contract.Recognition{}
	case src.File != "":
		return recogniseFile(src.FS, src.File)
	}
	if found := filesIn(src.FS); len(found) > 0 {
		return recogniseFile(src.FS, found[0])
	}
	if r := recogniseFile(src.FS, taskFileName); r.Certainty == contract.Certain {
		return r
	}
	if names := containersIn(src.FS); len(names) > 0 {
		return contract.Recognition{Certainty: contract.Likely, Evidence: fmt.Sprintf("%s/ with %s", containersFolder, strings.Join(names, ", "))}
	}
	return contract.Recognition{}
}

func recogniseImage(img contract.ImageFiles) contract.Recognition {
	data, err := img.ReadFile(inImage, fileLimit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return contract.Recognition{}
	case err != nil:
		return contract.Recognition{Certainty: contract.Likely, Evidence: inImage + " in the image"}
	}
	r := recogniseText(data)
	r.Certainty = contract.Certain // nothing else puts such a file at the root of an image
	r.Evidence = inImage + " in the image"
	return r
}

func recogniseFile(fsys fs.FS, name string) contract.Recognition {
	data, err := contract.ReadText(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return contract.Recognition{}
	}
	var r contract.Recognition
	if err == nil {
		r = recogniseText(data)
	}
	if r.Certainty < contract.Likely && path.Base(name) == fileName {
		r = contract.Recognition{Certainty: contract.Likely, Evidence: "a file of that name"}
	}
	if r.Certainty != contract.No {
		r.Manifest, r.Evidence = name, name+": "+r.Evidence
	}
	return r
}

// recogniseText judges a document by its keys, once rendered without any variable.
func recogniseText(data []byte) contract.Recognition {
	r := &reader{}
	n, err := contract.ParseJSON(r.render(data, environmentOf(fileName, contract.Options{})))
	if err != nil {
		// A template outside of strings, or a mistake that Load will show: some words are nobody else's.
		if bytes.IndexByte(data, 0) >= 0 {
			return contract.Recognition{} // no text: an image's archive has those words too
		}
		for _, word := range []string{`"taskTemplate"`, `"mounted_path"`, `"volume_source"`} {
			if bytes.Contains(data, []byte(word)) {
				return contract.Recognition{Certainty: contract.Likely, Evidence: "the word " + word}
			}
		}
		return contract.Recognition{}
	}
	switch {
	case isTaskFile(n):
		return contract.Recognition{Certainty: contract.Certain, Evidence: "a task: image and template, or volumes"}
	case n.Is(contract.NodeObject) && n.Has("templates"):
		return contract.Recognition{Certainty: contract.Certain, Evidence: "templates"}
	case n.Get("inputs").Is(contract.NodeList) && n.Get("outputs").Is(contract.NodeList) && (n.Has("env") || n.Has("command")) && !n.Has("image"):
		return contract.Recognition{Certainty: contract.Likely, Evidence: "inputs, outputs and env at top level (flat dialect)"}
	}
	return contract.Recognition{}
}

// isTaskFile tells a task from a processing-container: it names an image, and a template or volumes.
func isTaskFile(n *contract.Node) bool {
	if !n.Is(contract.NodeObject) || !n.Has("image") || n.Has("templates") {
		return false
	}
	if n.Has("taskTemplate") {
		return true
	}
	for _, key := range []string{"inputs", "outputs"} {
		if l := n.Get(key); l.Is(contract.NodeList) && slices.ContainsFunc(l.Items, func(v *contract.Node) bool { return v.Has("input") || v.Has("volume_source") }) {
			return true
		}
	}
	return false
}

// filesIn returns the places in a container folder where the file is.
func filesIn(fsys fs.FS) []string {
	var found []string
	for _, p := range places {
		if _, err := fs.Stat(fsys, p); !errors.Is(err, fs.ErrNotExist) { // one that cannot be read is there too: Load says why
			found = append(found, p)
		}
	}
	return found
}

// containersIn lists the containers of a workflow folder, as paths in it.
func containersIn(fsys fs.FS) []string {
	entries, err := fs.ReadDir(fsys, containersFolder)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if sub, err := fs.Sub(fsys, path.Join(containersFolder, e.Name())); err == nil && len(filesIn(sub)) > 0 {
			names = append(names, path.Join(containersFolder, e.Name()))
		}
	}
	return names
}

// folderName is the name of the package's folder, for packages that do not name themselves.
func folderName(src contract.Source) string {
	dir := src.Dir
	if src.Archive != "" {
		dir = strings.TrimSuffix(src.Archive, filepath.Ext(src.Archive))
	}
	if filepath.Base(dir) == "files" && src.File == fileName {
		dir = filepath.Dir(dir)
	}
	if base := filepath.Base(dir); base != "." && base != "/" {
		return base
	}
	return "processing-container"
}
