package cytomine

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/task"
)

// The App Engine's texts about images.
const (
	msgImageFormat    = "invalid image format"
	msgImageDimension = "invalid image dimension"
	msgImageWidth     = "invalid image width"
	msgImageHeight    = "invalid image height"
	msgImageSize      = "invalid image size"
	msgImage          = "invalid image"
)

// maxSlideFiles bounds the files of a slide.
const maxSlideFiles = 100_000

// picture is what is known of one image file.
type picture struct {
	format        string // "" when unknown
	width, height int    // 0 when unknown
	tiff          tiffFacts
}

// formatOf tells the format by its signature, "" when it has none that is known.
func formatOf(head []byte) string {
	has := func(signatures ...string) bool {
		return slices.ContainsFunc(signatures, func(s string) bool { return bytes.HasPrefix(head, []byte(s)) })
	}
	switch {
	case has("\x89PNG\r\n\x1a\n"):
		return "png"
	case has("\xff\xd8\xff"):
		return "jpeg"
	case has("II*\x00", "MM\x00*", "II+\x00", "MM\x00+"): // the last two are BigTIFF
		return "tiff"
	case len(head) >= 132 && string(head[128:132]) == "DICM":
		return "dicom"
	}
	return ""
}

// look reads what checks need to know of an image.
func look(r io.ReaderAt, size int64) picture {
	head := make([]byte, 132)
	n, _ := r.ReadAt(head, 0) // a short file is of no known format
	p := picture{format: formatOf(head[:n])}
	switch p.format {
	case "png":
		p.width, p.height = pngSize(r)
	case "jpeg":
		if c, err := jpeg.DecodeConfig(io.NewSectionReader(r, 0, size)); err == nil {
			p.width, p.height = c.Width, c.Height
		}
	case "tiff":
		p.tiff = readTIFF(r)
		p.width, p.height = p.tiff.width, p.tiff.height
	case "dicom":
		p.width, p.height = dicomSize(r, size)
	}
	return p
}

// pngSize reads the IHDR chunk.
func pngSize(r io.ReaderAt) (width, height int) {
	var b [24]byte
	if _, err := r.ReadAt(b[:], 0); err != nil || string(b[12:16]) != "IHDR" {
		return 0, 0
	}
	return int(binary.BigEndian.Uint32(b[16:20])), int(binary.BigEndian.Uint32(b[20:24]))
}

// checkImage tests an image file, or a folder that is a slide in DICOM files. It returns the App Engine's text for the first
// check that fails, or "". An error is about reading.
func checkImage(t task.Type, x *extra, name string) (string, error) {
	st, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if st.IsDir() {
		return checkSlideFolder(t, x, name)
	}
	p, err := lookAt(name, st.Size())
	if err != nil {
		return "", err
	}
	if !x.anyFormat() && !slices.Contains(t.Formats, p.format) {
		return msgImageFormat, nil
	}
	return checkPicture(t, x, p, st.Size(), !x.anyFormat() && p.format == "tiff"), nil
}

// checkPicture tests dimension, size and what is asked of a TIFF, in this order.
func checkPicture(t task.Type, x *extra, p picture, size int64, strictTIFF bool) string {
	limit := x.maxBytes(t)
	switch {
	case (t.MaxWidth != nil || t.MaxHeight != nil) && (p.width <= 0 || p.height <= 0):
		return msgImageDimension
	case t.MaxWidth != nil && p.width > *t.MaxWidth:
		return msgImageWidth
	case t.MaxHeight != nil && p.height > *t.MaxHeight:
		return msgImageHeight
	case limit != nil && size > int64(*limit):
		return msgImageSize
	case strictTIFF && (p.tiff.samples != 3 || p.tiff.tiled):
		return msgImage
	}
	return ""
}

// whyPicture explains the one text of checkPicture that does not say what is wrong.
func whyPicture(bad string) string {
	if bad == msgImage {
		return "a TIFF must have three samples per pixel, and no tiles"
	}
	return ""
}

// isZip tells an upload that is taken for a slide: a zip of DICOM files.
func isZip(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [4]byte
	_, err = io.ReadFull(f, head[:])
	return err == nil && string(head[:]) == "PK\x03\x04"
}

// takesSlides tells whether a value of the type may be a folder of DICOM files.
func takesSlides(t task.Type) bool { return slices.Contains(t.Formats, "wsidicom") }

// checkSlideFolder tests a folder of DICOM files.
func checkSlideFolder(t task.Type, x *extra, dir string) (string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if !takesSlides(t) || len(list) == 0 || len(list) > maxSlideFiles {
		return msgImageFormat, nil
	}
	var largest picture
	var size int64 = -1
	for _, d := range list {
		st, err := d.Info()
		if err != nil {
			return "", err
		}
		if !st.Mode().IsRegular() {
			return msgImageFormat, nil
		}
		p, err := lookAt(filepath.Join(dir, d.Name()), st.Size())
		if err != nil {
			return "", err
		}
		if p.format != "dicom" {
			return msgImageFormat, nil
		}
		if st.Size() > size {
			largest, size = p, st.Size()
		}
	}
	return checkPicture(t, x, largest, size, false), nil
}

func lookAt(name string, size int64) (picture, error) {
	f, err := os.Open(name)
	if err != nil {
		return picture{}, err
	}
	defer f.Close()
	return look(f, size), nil
}

// errNested tells a zip whose files lie in several folders.
var errNested = errors.New("its files lie in several folders, or in a folder of a folder")

// checkSlideZip tests a zip whose members will be unpacked into a folder: each must be a DICOM file, at the top or in one
// folder that holds them all. Of each only the beginning is read, where the dimensions are.
func checkSlideZip(t task.Type, x *extra, name string) (string, error) {
	z, err := zip.OpenReader(name)
	if err != nil {
		return msgImageFormat, nil
	}
	defer z.Close()
	if !takesSlides(t) || len(z.File) > maxSlideFiles {
		return msgImageFormat, nil
	}
	var largest picture
	var size int64 = -1
	top := ""
	for _, f := range z.File {
		if f.Mode().IsDir() {
			continue
		}
		p, ok := lookInto(f)
		if !ok || p.format != "dicom" {
			return "", fmt.Errorf("%s in it is no DICOM file, and a zip is taken for a slide", printable(f.Name))
		}
		folder := path.Dir(strings.ReplaceAll(f.Name, `\`, "/"))
		if top == "" {
			top = folder
		}
		if folder != top || strings.ContainsAny(folder, "/") {
			return "", errNested
		}
		if n := int64(f.UncompressedSize64); n > size {
			largest, size = p, n
		}
	}
	if size < 0 {
		return msgImageFormat, nil
	}
	return checkPicture(t, x, largest, size, false), nil
}

// maxHead is how much of a zipped file is read to learn its dimensions.
const maxHead = 1 << 20

func lookInto(f *zip.File) (picture, bool) {
	if !f.Mode().IsRegular() {
		return picture{}, false
	}
	in, err := f.Open()
	if err != nil {
		return picture{}, false
	}
	defer in.Close()
	head, err := io.ReadAll(io.LimitReader(in, maxHead))
	if err != nil {
		return picture{}, false
	}
	return look(bytes.NewReader(head), int64(len(head))), true
}
