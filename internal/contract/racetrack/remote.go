package racetrack

import (
	"io/fs"
	"strings"

	"longshore/internal/contract"
)

// Remote implements contract.Remoter. Racetrack builds a job from the repository that its manifest names, and the manifest is all
// that its client hands over (reference, section 1.1). So a folder with a manifest and no Dockerfile stands for that repository; a
// folder that has one is taken as it is.
func (Contract) Remote(src contract.Source) (contract.Remote, bool) {
	if src.Git || src.FS == nil || src.Dir == "" {
		return contract.Remote{}, false
	}
	l := &loader{doc: &document{}}
	file, ok := l.manifestOf(src)
	if !ok {
		return contract.Remote{}, false
	}
	closeTrees := l.trees(src, file)
	defer closeTrees()
	if _, ok := l.readDocument(src.FS, file); !ok {
		return contract.Remote{}, false
	}
	l.readManifest() // its findings are Load's to report
	if _, err := fs.Stat(l.pkg.fs, l.m.dockerfile); err == nil || l.m.remote == "" || strings.ContainsAny(l.m.remote, "#") {
		return contract.Remote{}, false
	}
	address := l.m.remote
	if strings.HasPrefix(address, "/") {
		address = "file://" + address
	}
	ref := "git+" + address
	if l.m.branch != "" || l.m.directory != "" {
		ref += "#" + l.m.branch
	}
	if l.m.directory != "" {
		ref += ":" + l.m.directory
	}
	return contract.Remote{Git: ref, Manifest: file}, true
}
