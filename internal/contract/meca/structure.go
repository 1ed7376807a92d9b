package meca

import (
	"io/fs"

	"longshore/internal/contract"
)

var _ contract.StructureTester = Contract{}

// TestStructure is MECA's own folder test (test_folder_structure), in its words: the entries in their order, each of which must
// exist and, where it is a directory, not be empty. It ends with the first that fails. Load knows more rules.
func (Contract) TestStructure(src contract.Source) (lines []string, wrong string) {
	if src.FS == nil {
		return nil, "there is no folder to test"
	}
	f, err := open(src)
	if err != nil {
		return nil, err.Error()
	}
	l := &loader{folder: f}
	for _, e := range entries() {
		lines = append(lines, "Checking "+e)
		st, err := fs.Stat(l.fs, e)
		switch {
		case err != nil:
			return lines, "Missing " + l.shown + "/" + e
		case st.IsDir() && l.empty(e):
			return lines, "Empty " + l.shown + "/" + e
		}
	}
	return append(lines, "Folder structure is correct."), ""
}
