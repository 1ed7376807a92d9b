package image

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"path"
	"sort"
)

// archive is what one reading of an image archive found: its documents, and where or what its layers are.
type archive struct {
	what string
	// docs holds the JSON documents by clean entry name.
	docs map[string][]byte
	// links maps the names of symbolic and hard links inside the archive to what they lead to.
	links map[string]string
	// layers holds the layers that are in the store already, by entry name.
	layers map[string]layerInfo
	// failed holds entries that look like layers but could not be unpacked. It matters only if an image wants them.
	failed map[string]error
	// spots says where the content of other entries lies, when the archive can be read at any place.
	spots map[string]spot
}

type spot struct{ offset, size int64 }

const (
	maxArchiveDocs    = 64 << 20 // bytes of documents kept in memory
	maxArchiveEntries = 100_000
)

func newArchive(what string) *archive {
	return &archive{what: what, docs: map[string][]byte{}, links: map[string]string{}, layers: map[string]layerInfo{}, failed: map[string]error{}, spots: map[string]spot{}}
}

// resolve follows the links that archives use for layers that several images share.
func (a *archive) resolve(name string) string {
	name = archiveName(name)
	for range maxLinks {
		to, ok := a.links[name]
		if !ok {
			break
		}
		name = to
	}
	return name
}

func archiveName(name string) string { return path.Clean("/" + name)[1:] }

// scan reads an image archive from start to end. What is a document is kept; anything else is given to layer, which
// need not read it. An archive is what its manifests say, so names decide nothing here.
func (a *archive) scan(ctx context.Context, r io.Reader, layer func(name string, hdr *tar.Header, head []byte, r io.Reader) error) error {
	tr := tar.NewReader(r) // bare, because it seeks over contents where it can
	total, entries := 0, 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return readError(a.what, err)
		}
		if entries++; entries > maxArchiveEntries {
			return &Error{Kind: KindLimit, What: a.what, Why: "has too many entries for an image archive", Hint: "is it the archive of a folder rather than of an image? Save images with docker save"}
		}
		name := archiveName(hdr.Name)
		switch hdr.Typeflag {
		case tar.TypeSymlink:
			a.links[name] = path.Join("/", path.Dir(name), hdr.Linkname)[1:]
		case tar.TypeLink:
			a.links[name] = archiveName(hdr.Linkname)
		case tar.TypeReg:
			head := make([]byte, min(hdr.Size, sniffBytes))
			if _, err := io.ReadFull(tr, head); err != nil {
				return readError(a.what, err)
			}
			if !isDocument(head) || hdr.Size > maxDocument {
				if err := layer(name, hdr, head, tr); err != nil {
					return err
				}
				continue
			}
			if total += int(hdr.Size); total > maxArchiveDocs {
				return &Error{Kind: KindLimit, What: a.what, Why: "holds more than " + sizeText(maxArchiveDocs) + " of documents"}
			}
			rest, err := io.ReadAll(tr)
			if err != nil {
				return readError(a.what, err)
			}
			a.docs[name] = append(head, rest...)
		}
	}
	return nil
}

// isDocument tells JSON from layers by the first bytes. A tar archive may begin with any file name, so its magic number
// is looked at first.
func isDocument(head []byte) bool {
	if isTar(head) || sniff(head) != plain {
		return false
	}
	text := bytes.TrimLeft(head, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

// isTar tells whether bytes are the first block of a tar archive.
func isTar(head []byte) bool {
	if len(head) < 512 {
		return false
	}
	if bytes.HasPrefix(head[257:], []byte("ustar")) {
		return true
	}
	// The oldest form has no magic number but a checksum, and an empty archive is blocks of zeros.
	sum, want := 0, 0
	for i, c := range head[:512] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int(c)
	}
	for _, c := range bytes.Trim(head[148:156], " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		want = want<<3 | int(c-'0')
	}
	return sum == want || allZero(head[:512])
}

// archiveImage is one image that an archive describes.
type archiveImage struct {
	manifest []byte // as it came; nil when the archive has none
	config   []byte
	names    []string
	platform Platform
	layers   []archiveLayer
}

// archiveLayer is one layer an image wants: the entry it lies in, and what it claims to be.
type archiveLayer struct {
	entry      string
	blob, diff Digest
}

// images lists what the archive's documents describe. An OCI index says more than Docker's manifest.json, so it goes
// first when both are there, and borrows the names it lacks.
func (a *archive) images(want Platform) ([]archiveImage, error) {
	docker, dockerErr := a.dockerImages()
	if _, ok := a.docs["index.json"]; ok {
		images, err := a.ociImages(want)
		if err != nil {
			return nil, err
		}
		for i := range images {
			for _, d := range docker {
				if bytes.Equal(d.config, images[i].config) {
					images[i].names = mergeNames(images[i].names, d.names)
				}
			}
		}
		return images, nil
	}
	if dockerErr != nil {
		return nil, dockerErr
	}
	if docker == nil {
		e := &Error{Kind: KindInvalid, What: a.what, Why: "not an image archive: it has neither manifest.json nor index.json", Hint: "make it with docker save"}
		if _, ok := a.docs["repositories"]; ok {
			e.Why, e.Hint = "an image archive of a Docker before 1.10, which cannot be read", "load and save it again with a newer Docker"
		}
		return nil, e
	}
	return docker, nil
}

func mergeNames(a, b []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, n := range append(append([]string(nil), a...), b...) {
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	sort.Strings(out)
	return out
}

// missingIn says that a manifest names something the archive lacks.
func (a *archive) missingIn(name string) error {
	return &Error{Kind: KindCorrupt, What: a.what, Why: quoteText(name) + " is named by its manifest but not in it", Hint: "the archive was cut short or made wrongly; save it again"}
}
