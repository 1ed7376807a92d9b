package racetrack

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"longshore/internal/contract"
)

// Remote implements contract.Remoter. Racetrack builds a job from the repository that its manifest names, and the manifest is all
// that its client hands over (reference, section 1.1). So a folder with a manifest and no Dockerfile stands for that repository; a
// folder that has one is taken as it is.
func (Contract) Remote(src contract.Source, opts contract.Options) (contract.Remote, bool) {
	if src.Git || src.FS == nil || src.Dir == "" {
		return contract.Remote{}, false
	}
	l := &loader{doc: &document{}} // its findings are Load's to report
	file, ok := l.manifestOf(src)
	if !ok {
		return contract.Remote{}, false
	}
	closeTrees := l.trees(src, src, file)
	defer closeTrees()
	if !l.readDocument(src.FS, file) {
		return contract.Remote{}, false
	}
	l.override(opts.Overrides)
	l.readManifest()
	if l.m.extra.image != nil || l.m.remote == "" || strings.Contains(l.m.remote, "#") || !branchName(l.m.branch) && l.m.branch != "" || l.hasDockerfile() {
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
	name := manifestName
	if path.Base(file) == legacyName {
		name = legacyName
	}
	return contract.Remote{Git: ref, File: file, Name: name, Text: []byte(l.doc.text)}, true
}

// hasDockerfile tells whether the folder itself can be built.
func (l *loader) hasDockerfile() bool {
	return slices.ContainsFunc(l.places(), func(p place) bool { return present(p.fs, l.dockerfile()) })
}

// consistent compares the caller's manifest with the one of the repository (reference 2.10). workspace is the folder that is
// built, below the repository's root.
func (l *loader) consistent(workspace tree) {
	type candidate struct {
		fs   fs.FS
		file string
	}
	for _, c := range []candidate{{workspace.fs, manifestName}, {workspace.fs, legacyName}, {l.repo.fs, manifestName}, {l.repo.fs, legacyName}} {
		if !isFile(c.fs, c.file) {
			continue
		}
		own := &loader{doc: &document{}} // what is wrong with that one is of no interest
		if !own.readDocument(c.fs, c.file) {
			l.on(ruleConsistent, nil, "the manifest %s of the repository cannot be read, so it is not compared", c.file).Mend = "mend it and push it"
			return
		}
		if d := difference(own.doc.root, l.doc.root); d != "" {
			add := l.on(ruleConsistent, nil, `Submitted job manifest is not consistent with the file found in a repository. Did you forget to do "git push"? Difference: %s`, show(d))
			add.Why = "- is the repository's, + the one at hand, which counts"
			add.Mend = "push the manifest"
		}
		return
	}
	l.on(ruleConsistent, nil, "Can't find manifest file in a Job repository to verify it with submitted YAML").Mend = "add the manifest to the repository"
}

// difference shows what differs between two documents, key by key, as "{key: {'-': the first, '+': the second}}"; "" when they
// say the same. What is null is not there.
func difference(a, b *contract.Node) string {
	if !a.Is(contract.NodeObject) || !b.Is(contract.NodeObject) {
		if scalarOf(a) == scalarOf(b) && string(a.JSON()) == string(b.JSON()) {
			return ""
		}
		return "{'-': " + shown(a) + ", '+': " + shown(b) + "}"
	}
	var keys, parts []string
	for _, m := range slices.Concat(a.Members, b.Members) {
		if !slices.Contains(keys, m.Key) && m.Key != "extends" {
			keys = append(keys, m.Key)
		}
	}
	for _, k := range keys {
		x, y := a.Get(k), b.Get(k)
		if x.IsNull() && y.IsNull() {
			continue
		}
		if d := difference(x, y); d != "" {
			parts = append(parts, k+": "+d)
		}
	}
	if parts == nil {
		return ""
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func shown(n *contract.Node) string {
	if n.IsNull() {
		return "null"
	}
	return string(n.JSON())
}
