package iexec

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// member is one file of a result archive.
type member struct {
	name string
	size int64
	open opener
}

// members are the files of the result archive in path order: the regular ones of entries, and the logs, which make way for an
// app's files of their names. skipped says what is left out or renamed.
func (d *digester) members(entries []entry) (list []member, skipped []string) {
	for _, e := range entries {
		switch {
		case e.mode.IsRegular():
			list = append(list, member{e.path, e.size, d.file(e.path)})
		case e.mode&fs.ModeSymlink != 0:
			skipped = append(skipped, e.path+" is a link and not part of the result archive")
		}
	}
	for name, open := range d.logs {
		free := name
		for slices.ContainsFunc(entries, func(e entry) bool { return e.path == free }) {
			free = "." + free
		}
		if free != name {
			skipped = append(skipped, fmt.Sprintf("the app left its own %s: it is kept, and the log is named %s in the result archive", name, free))
		}
		list = append(list, member{free, logSize(open), open})
	}
	slices.SortFunc(list, func(a, b member) int { return strings.Compare(a.name, b.name) })
	slices.Sort(skipped)
	return list, skipped
}

// logSize is the size of a log, so far as it matters: whether it is a small result.
func logSize(open opener) int64 {
	f, err := open()
	if err != nil {
		return singleResult
	}
	defer f.Close()
	n, err := io.CopyN(io.Discard, f, singleResult)
	if err == nil {
		return singleResult
	}
	return n
}

// packedAt is the time of every member of an archive: the earliest that zip archives can hold.
var packedAt = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// pack writes a zip archive that depends on the members' names and contents only (iExec reference, section 5.2): sorted by
// path, one time, one mode, and stored, since what a compressor makes changes with its version.
func pack(w io.Writer, members []member) error {
	z := zip.NewWriter(w)
	for _, m := range members {
		header := &zip.FileHeader{Name: m.name, Method: zip.Store, Modified: packedAt}
		header.SetMode(0o644)
		to, err := z.CreateHeader(header)
		if err != nil {
			return err
		}
		f, err := m.open()
		if err != nil {
			return err
		}
		_, err = io.Copy(to, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return z.Close()
}
