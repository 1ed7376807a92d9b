package cytomine

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// The names of a bundle's documents, as the App Engine and the app store write them.
const (
	descriptorEntry = "descriptor.yml"
	logoEntry       = "logo.png"
)

// The layouts of a bundle: where the image's archive lies when the descriptor does not say, see imageEntry.
const (
	layoutSeed  = "seed"
	layoutToday = "today"
)

// BundleLayouts lists the two eras' names of the image's archive.
func (Contract) BundleLayouts() []string { return []string{layoutToday, layoutSeed} }

// Bundle plans the zip that the App Engine takes: the descriptor first, then the logo if there is one, then the image's
// archive, all deflated, as the App Engine reads bundles as a stream. The documents go in as they are.
func (Contract) Bundle(src contract.Source, t *task.Task, layout string) (*contract.Bundle, error) {
	r := &report{}
	p, ok := openPack(src, r)
	if !ok {
		return nil, &task.Error{Code: task.CodePackage, Message: "the package cannot be read again", Findings: r.Findings}
	}
	defer p.close()
	found := p.descriptors()
	if len(found) != 1 {
		return nil, task.Errorf(task.CodePackage, "the package has %d descriptors, must have one", len(found))
	}
	data, err := p.read(found[0])
	if err != nil {
		return nil, task.Errorf(task.CodePackage, "%s cannot be read: %w", found[0].name, err)
	}
	d := readDescriptor(data, r)
	if d == nil || task.HasErrors(r.Findings) {
		return nil, &task.Error{Code: task.CodePackage, Message: found[0].name + " has changed while it was read", Findings: r.Findings}
	}
	documents := []document{{descriptorEntry, data}}
	if logo, ok := p.logo(path.Dir(found[0].name)); ok {
		if data, err = p.read(logo); err != nil {
			return nil, task.Errorf(task.CodePackage, "%s cannot be read: %w", logo.name, err)
		}
		documents = append(documents, document{logoEntry, data})
	}
	b := &contract.Bundle{File: d.namespace + "-" + d.version + ".zip", ImageName: imageName(d.namespace, d.version)}
	if err := imageEntry(b, d, layout); err != nil {
		return nil, err
	}
	for _, doc := range documents {
		if strings.EqualFold(doc.name, b.Image) {
			return nil, (&task.Error{Code: task.CodePackage, Message: fmt.Sprintf("configuration.image.file: %s is another file of the bundle", quote(d.imageFile))}).WithHint("name a tar, such as /%s", todayArchive(d))
		}
		b.Entries = append(b.Entries, doc.name)
	}
	b.Entries = append(b.Entries, b.Image)
	b.Write = func(w io.Writer, archive func(io.Writer) error) error {
		return writeBundle(w, documents, b.Image, archive)
	}
	return b, nil
}

// todayArchive is the name that today's App Engine takes the image's name from.
func todayArchive(d *descriptor) string { return d.namespace + "-" + d.version + ".tar" }

// imageEntry settles the name of the image's archive: that of the layout asked for; else the one in configuration.image.file,
// which every reader of the seed's era follows; else today's.
func imageEntry(b *contract.Bundle, d *descriptor, layout string) error {
	declared := ""
	if d.imageFile != "" {
		declared = path.Clean(d.imageFile)
	}
	why := "named by the descriptor"
	switch {
	case layout == layoutSeed:
		b.Image, why = seedArchive, "seed-era name"
	case layout == layoutToday:
		b.Image, why = todayArchive(d), "today's name"
	case declared == "":
		b.Image, why = todayArchive(d), "today's name; the descriptor names none"
	case !fs.ValidPath(declared) || declared != d.imageFile || strings.ContainsAny(declared, "\\\x00"):
		return (&task.Error{Code: task.CodePackage, Message: fmt.Sprintf("configuration.image.file: %s cannot be an entry of a bundle", quote(d.imageFile))}).
			WithHint("write a plain path, such as /%s, or choose a --layout", todayArchive(d))
	default:
		b.Image = declared
	}
	b.Notes = append(b.Notes, fmt.Sprintf("image: %s (%s)", printable(b.Image), why))
	if declared != "" && b.Image != declared {
		b.Warnings = append(b.Warnings, fmt.Sprintf("configuration.image.file names %s, and the bundle's image is %s: an App Engine that follows the descriptor will not find it", quote(d.imageFile), quote(b.Image)))
	}
	if b.Image != todayArchive(d) {
		b.Warnings = append(b.Warnings, fmt.Sprintf("today's App Engine takes the image's name from that of the file, and wants %s; --layout today writes it", todayArchive(d)))
	}
	return nil
}

// logo returns the logo beside the descriptor.
func (p *pack) logo(dir string) (entry, bool) {
	exact, folded := match(append(slices.Clone(p.entries), p.below(dir)...), path.Join(dir, logoEntry))
	switch {
	case exact != nil:
		return *exact, true
	case len(folded) > 0:
		return folded[0], true
	}
	return entry{}, false
}

// document is one file of a bundle that is held in memory.
type document struct {
	name string
	data []byte
}

// bundleTime is the time of every entry: the earliest that a zip can hold, so that equal bundles are equal bytes.
func bundleTime() time.Time { return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) }

// writeBundle writes the zip. Entries are deflated with what is fast: images are large, and their layers often packed already.
func writeBundle(w io.Writer, documents []document, image string, archive func(io.Writer) error) error {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	entry := func(name string) (io.Writer, error) {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: bundleTime()}
		h.SetMode(0o644)
		return z.CreateHeader(h)
	}
	for _, d := range documents {
		e, err := entry(d.name)
		if err == nil {
			_, err = e.Write(d.data)
		}
		if err != nil {
			return err
		}
	}
	e, err := entry(image)
	if err == nil {
		err = archive(e)
	}
	if err != nil {
		return err
	}
	return z.Close()
}
