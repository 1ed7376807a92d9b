package meca

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var _ contract.FolderPublisher = Contract{}

// aliasLength is how much of a CID's end names an image (CONTAINER_NAME_LIMIT of MECA's host).
const aliasLength = 10

// ImageAlias implements contract.FolderPublisher: the last ten characters of the CID, which stand for 48 bits of it.
func (Contract) ImageAlias(cid string) string {
	return cid[max(0, len(cid)-aliasLength):] + ":latest"
}

// CheckPublish implements contract.FolderPublisher. MECA's own client leaves symbolic links out without a word, so a folder
// with one would be known by an address that lacks files.
func (Contract) CheckPublish(src contract.Source, found []task.Finding) []task.Finding {
	found = slices.Clone(found)
	for i := range found {
		if found[i].Rule == ruleLink {
			found[i].Severity = task.SeverityError
		}
	}
	f, err := open(src)
	if err != nil {
		return found // reported by Load
	}
	l := &loader{folder: f, report: contract.Report{Findings: found}}
	if st, err := fs.Lstat(l.fs, ".git"); err == nil {
		add := l.found(ruleHistory, ".git", contract.At{}, ".git is published too")
		add.Why = "MECA's client takes hidden files, and everybody can read the folder: its history, its remotes"
		add.Mend = "publish a copy of the folder without .git"
		if !st.IsDir() {
			add.Why = "MECA's client takes hidden files; this one names a folder of this machine"
		}
	}
	l.modes()
	return l.report.Findings
}

// modes reports files that are executable here and will not be where the folder is fetched, unless the Dockerfile sets modes
// itself.
func (l *loader) modes() {
	if recipe, err := l.read(dockerfile, maxSearchedFile); err != nil || strings.Contains(string(recipe), "chmod") {
		return
	}
	var names []string
	_ = fs.WalkDir(l.fs, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && p == ".git" {
			return fs.SkipDir
		}
		if st, err := d.Info(); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			names = append(names, p)
		}
		return nil
	})
	if len(names) == 0 {
		return
	}
	what := show(names[0])
	if len(names) > 1 {
		what += fmt.Sprintf(" and %d more files", len(names)-1)
	}
	add := l.found(ruleMode, names[0], contract.At{}, "%s: executable here, and not where the folder is fetched", what)
	add.Why = "folders on IPFS keep no permissions: hosts build from files of the mode 0644"
	add.Mend = "start them through their interpreter (sh run.sh), or set the mode in the Dockerfile (COPY --chmod=755, RUN chmod)"
}

// Unwrap implements contract.FolderPublisher: MECA's desktop application uploads a folder wrapped in another one, under whose
// CID hosts do not find config.json.
func (Contract) Unwrap(fetched fs.FS) (dir, note string) {
	list, err := fs.ReadDir(fetched, ".")
	if err != nil || len(list) != 1 || !list[0].IsDir() {
		return ".", ""
	}
	name := list[0].Name()
	if !passesFolderTest(fetched, name) {
		return ".", ""
	}
	return name, "the CID is that of a folder around the package, as MECA's desktop application makes it; hosts cannot use it: publish the package itself"
}

// passesFolderTest is MECA's own test of a folder: every entry exists, and is not an empty directory.
func passesFolderTest(tree fs.FS, dir string) bool {
	for _, e := range entries() {
		st, err := fs.Stat(tree, path.Join(dir, e))
		if err != nil {
			return false
		}
		if list, err := fs.ReadDir(tree, path.Join(dir, e)); st.IsDir() && (err != nil || len(list) == 0) {
			return false
		}
	}
	return true
}
