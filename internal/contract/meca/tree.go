package meca

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"

	"longshore/internal/contract"
)

// tree looks at every file of the folder: links, special files, and whether any of them mentions the ready mark.
func (l *loader) tree() {
	s := markSearch{l: l, left: maxSearch}
	_ = fs.WalkDir(l.fs, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			l.found(ruleTree, p, contract.At{}, "%s: cannot be read: %v", show(p), err).Mend = "make it readable, or remove it"
			return fs.SkipDir
		case d.IsDir() && p == ".git":
			return fs.SkipDir
		case d.IsDir():
		case d.Type()&fs.ModeSymlink != 0:
			l.link(p)
		case !d.Type().IsRegular():
			add := l.found(ruleTree, p, contract.At{}, "%s: not a regular file", show(p))
			add.Why = "it is a " + contract.KindOf(d.Type())
			add.Mend = "remove it"
		default:
			s.file(p, d)
		}
		return nil
	})
	if !s.found && !s.partial && s.searched && l.hasSources() {
		add := l.found(ruleMark, "", contract.At{}, "no file of the folder mentions %s", readyMark)
		add.Why = "MECA waits for it on stdout, and never sends the request without it"
		add.Mend = "print " + readyMark + " once the server is started, and flush it"
	}
}

// link reports a symbolic link: as an error when it leaves the folder, else because publishing loses it.
func (l *loader) link(p string) {
	if l.leaves(p) {
		l.found(ruleTree, p, contract.At{}, "%s: symbolic link leaves the folder", show(p)).Mend = "replace it with a copy of the file"
		return
	}
	add := l.found(ruleLink, p, contract.At{}, "%s: symbolic link; MECA's IPFS client silently drops it – replace it with a file", show(p))
	add.Mend = "replace it with a copy of the file"
}

// leaves tells whether following the path's links leads out of the folder. Where links cannot be read they are taken to.
func (l *loader) leaves(p string) bool {
	var at []string
	rest := strings.Split(p, "/")
	for links := 0; len(rest) > 0; {
		word := rest[0]
		rest = rest[1:]
		switch word {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return true
			}
			at = at[:len(at)-1]
			continue
		}
		next := path.Join(append(slices.Clone(at), word)...)
		st, err := fs.Lstat(l.fs, next)
		if err != nil || st.Mode()&fs.ModeSymlink == 0 {
			at = append(at, word)
			continue
		}
		target, err := fs.ReadLink(l.fs, next)
		if links++; err != nil || path.IsAbs(target) {
			return true
		}
		if links > 40 { // a circle of links ends nowhere
			return false
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return false
}

// Bounds of the search for the ready mark: what is larger is not searched, and then nothing is said.
const (
	maxSearchedFile = 4 << 20
	maxSearch       = 64 << 20
)

// markSearch looks for the ready mark in the files that can end up in the image.
type markSearch struct {
	l                        *loader
	left                     int64
	found, partial, searched bool
}

func (s *markSearch) file(p string, d fs.DirEntry) {
	if s.found || s.partial || slices.Contains([]string{descriptionText, nameText, exampleInput, exampleOutput, configuration}, p) {
		return
	}
	st, err := d.Info()
	if err != nil || st.Size() > maxSearchedFile || st.Size() > s.left {
		s.partial = true
		return
	}
	data, err := s.l.read(p, maxSearchedFile)
	if err != nil {
		s.partial = true
		return
	}
	s.left -= int64(len(data))
	s.searched = true
	s.found = bytes.Contains(data, []byte(readyMark))
}
