package web

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"image"
	_ "image/gif"  // sizes of GIF images
	_ "image/jpeg" // of JPEG images
	_ "image/png"  // of PNG images
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"longshore/internal/store"
	"longshore/internal/task"
)

// The bounds of what is read for one preview, and of what is shown.
const (
	headBytes   = 256 << 10
	jsonBytes   = 2 << 20
	hexBytes    = 512
	maxInline   = 64 << 10
	maxRows     = 50
	maxColumns  = 20
	maxPreviews = 12
	maxListed   = 200
)

// preview is the beginning of a file in the form that fits it. Exactly one of Text, JSON, Table, Image, Drawing, Audio, Video,
// DICOM and Hex is set, or none for an empty file.
type preview struct {
	kept
	// Format names what cannot be shown as what it is, "" where it can or is not known.
	Format  string
	Text    string
	JSON    *node
	Table   [][]string
	Image   string // the file's type
	Drawing *drawing
	Audio   string
	Video   string
	DICOM   []element
	Hex     string
	// Cut tells that there is more.
	Cut bool
	// Gone tells why the content cannot be shown.
	Gone string
}

// Empty tells that there is nothing to show.
func (p preview) Empty() bool { return p.Size == 0 && p.Gone == "" }

// previewer makes the previews of one run.
type previewer struct {
	site *site
	r    *http.Request
	run  store.Run
	left int // how many may be made
	// images are those of the run that a drawing may lie on.
	images []kept
	looked bool
}

// add previews a file of a part, or lists it.
func (b *previewer) add(p *part, f store.File, side string) {
	k := kept{File: f, Side: side, Run: b.run.ID}
	switch {
	case f.Mode != "":
	case b.left > 0:
		b.left--
		p.Previews = append(p.Previews, b.preview(k))
	case len(p.More) < maxListed:
		p.More = append(p.More, k)
	}
}

// preview reads the head of a file and chooses its form.
func (b *previewer) preview(k kept) preview {
	p := preview{kept: k}
	head, err := b.head(k.File, headBytes)
	if err != nil {
		p.Gone = "its content is not kept any more"
		return p
	}
	p.Cut = int64(len(head)) < k.Size
	mime, text := mediaType(head), isText(head, p.Cut)
	switch {
	case len(head) == 0:
	case isDICOM(head):
		p.DICOM = dicomHeader(head)
	case text && mime == "":
		b.text(&p, head)
	case strings.HasPrefix(mime, "image/"):
		p.Image = mime
	case strings.HasPrefix(mime, "audio/"):
		p.Audio = mime
	case strings.HasPrefix(mime, "video/"):
		p.Video = mime
	default:
		p.Hex, p.Format = hex.Dump(head[:min(len(head), hexBytes)]), formatOf(head)
		p.Cut = k.Size > hexBytes
	}
	return p
}

// text chooses among the forms of what is written down.
func (b *previewer) text(p *preview, head []byte) {
	head = bytes.TrimPrefix(head, []byte("\ufeff"))
	if b.json(p, head) {
		return
	}
	if comma := separators[strings.ToLower(path.Ext(p.Path))]; comma != 0 {
		for _, c := range []rune{comma, ';'} { // what spreadsheets write where the comma is the decimal point
			if p.Table = table(head, c, &p.Cut); p.Table != nil {
				return
			}
		}
	}
	if len(head) > maxInline {
		head, p.Cut = head[:maxInline], true
	}
	p.Text = strings.ToValidUTF8(string(head), "�")
}

// json shows a document as a drawing or a tree. Of one that is too large, the tree has the beginning.
func (b *previewer) json(p *preview, head []byte) bool {
	doc := bytes.TrimSpace(head)
	if len(doc) == 0 || doc[0] != '{' && doc[0] != '[' {
		return false
	}
	if p.Cut {
		more, err := b.head(p.File, jsonBytes)
		if err != nil {
			return false
		}
		doc, p.Cut = bytes.TrimSpace(bytes.TrimPrefix(more, []byte("\ufeff"))), int64(len(more)) < p.Size
	}
	if p.Cut {
		p.JSON = tree(doc)
		return p.JSON.Says != ""
	}
	if !json.Valid(doc) {
		return false
	}
	if p.Drawing = b.draw(doc); p.Drawing == nil {
		p.JSON = tree(doc)
	}
	return true
}

// separators are those of tables, by the ending of the file's name. Outputs of many tasks have none: then a table is what looks
// like one.
var separators = map[string]rune{".csv": ',', ".tsv": '\t', ".tab": '\t', "": ','}

// head reads the beginning of a file.
func (b *previewer) head(f store.File, most int64) ([]byte, error) {
	r, err := b.site.cfg.Service.OpenFile(b.r.Context(), f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head, err := io.ReadAll(io.LimitReader(r, most))
	if err != nil && !errors.Is(err, context.Canceled) {
		b.site.cfg.Log.Error("a kept file cannot be read", "run", b.run.ID, "path", f.Path, "error", err)
	}
	return head, err
}

// shown are the types that browsers can show, and may be given as what they are: none of them can hold a program.
var shown = []string{
	"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "audio/mpeg", "audio/wave", "application/ogg", "video/mp4", "video/webm",
}

// mediaType is the type of a file by its content, if browsers may be given it as that, else "". Some are told by so few letters
// that texts begin with them too ("BM", "ID3"): what can be read is a text.
func mediaType(head []byte) string {
	if bytes.HasPrefix(head, []byte("fLaC")) {
		return "audio/flac"
	}
	mime := http.DetectContentType(head)
	if !slices.Contains(shown, mime) || isText(head[:min(len(head), sniffed)], len(head) >= sniffed) {
		return ""
	}
	if mime == "application/ogg" {
		return "audio/ogg"
	}
	return mime
}

// sniffed is how much of a file its type is told by.
const sniffed = 512

// formats are those that browsers do not show, by how their files begin.
var formats = []struct{ begins, name string }{
	{"II*\x00", "TIFF image"}, {"MM\x00*", "TIFF image"}, {"II+\x00", "BigTIFF image"}, {"MM\x00+", "BigTIFF image"},
	{"%PDF-", "PDF document"}, {"PK\x03\x04", "zip archive"}, {"\x1f\x8b", "gzip file"}, {"\xfd7zXZ\x00", "xz file"}, {"(\xb5/\xfd", "zstd file"},
	{"\x89HDF\r\n\x1a\n", "HDF5 file"}, {"\x93NUMPY", "NumPy array"}, {"SQLite format 3\x00", "SQLite database"}, {"PAR1", "Parquet table"},
	{"\x5c\x01\x00\x00", "NIfTI image"}, {"\x00\x00\x01\x5c", "NIfTI image"}, {"\x7fELF", "ELF program"}, {"\x00\x00\x00\x0cjP  ", "JPEG 2000 image"},
}

// formatOf names the format of a file that browsers do not show, "" if it is not known.
func formatOf(head []byte) string {
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.begins)) {
			return f.name
		}
	}
	return ""
}

// isText tells what people can read: UTF-8 without control characters.
func isText(head []byte, cut bool) bool {
	if cut { // it may end within a character
		for i := 0; i < utf8.UTFMax && len(head) > 0 && !utf8.Valid(head); i++ {
			head = head[:len(head)-1]
		}
	}
	return utf8.Valid(head) && !bytes.ContainsFunc(head, func(r rune) bool {
		return r < ' ' && !strings.ContainsRune("\t\n\r\f\x1b", r)
	})
}

// table reads separated values; nil when they make no table.
func table(head []byte, comma rune, cut *bool) [][]string {
	if *cut { // the last line is not whole
		head = head[:bytes.LastIndexByte(head, '\n')+1]
	}
	r := csv.NewReader(bytes.NewReader(head))
	r.Comma = comma // all rows are as long as the first
	var rows [][]string
	for len(rows) <= maxRows {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			if len(rows) < 2 || len(rows[0]) < 2 {
				return nil
			}
			return rows
		}
		if err != nil {
			return nil
		}
		if len(row) > maxColumns {
			row = append(row[:maxColumns], "…")
		}
		rows = append(rows, row)
	}
	*cut = true
	return rows[:maxRows]
}

// under is the image that a drawing lies on: the run's first image, inputs before outputs.
func (b *previewer) under() *underlay {
	if !b.looked {
		b.looked = true
		for _, side := range []string{inputsSide, outputsSide} {
			for _, f := range sideFiles(b.run, side) {
				if f.Mode == "" && f.Size > 0 && len(b.images) < maxPreviews {
					b.images = append(b.images, kept{File: f, Side: side, Run: b.run.ID})
				}
			}
		}
	}
	for _, k := range b.images {
		head, err := b.head(k.File, headBytes)
		if err != nil || !strings.HasPrefix(mediaType(head), "image/") {
			continue
		}
		c, _, err := image.DecodeConfig(bytes.NewReader(head))
		if err == nil && c.Width > 0 && c.Height > 0 {
			return &underlay{URL: k.URL(), Name: k.Path, Width: c.Width, Height: c.Height}
		}
	}
	return nil
}

// view shows one file on a page of its own.
func (s *site) view(w http.ResponseWriter, r *http.Request, c Caller) error {
	run, k, err := s.keptFile(r, c)
	if err != nil {
		return err
	}
	b := previewer{site: s, r: r, run: run}
	return s.show(w, r, "view", view{Title: k.Path, Nav: "runs", Caller: c, Data: viewData{run, b.preview(k)}})
}

// viewData is the data of a file's page.
type viewData struct {
	Run     store.Run
	Preview preview
}

// keptFile finds the file that an address names.
func (s *site) keptFile(r *http.Request, c Caller) (store.Run, kept, error) {
	run, err := s.visible(r, c, r.PathValue("id"))
	if err != nil {
		return run, kept{}, err
	}
	side, name := r.PathValue("side"), r.PathValue("path")
	for _, f := range sideFiles(run, side) {
		if f.Path == name && f.Mode == "" {
			return run, kept{File: f, Side: side, Run: run.ID}, nil
		}
	}
	return run, kept{}, (&task.Error{Code: task.CodeMissing, Message: "run " + run.ID + " has no such file"}).WithHint("files of old runs are removed; the run's page shows what is left")
}

// file serves a file's content. What is not known to be harmless is only offered for keeping.
func (s *site) file(w http.ResponseWriter, r *http.Request, c Caller) error {
	_, k, err := s.keptFile(r, c)
	if err != nil {
		return err
	}
	content, err := s.cfg.Service.OpenFile(r.Context(), k.File)
	if err != nil {
		return err
	}
	defer content.Close()
	head := make([]byte, sniffed)
	n, err := io.ReadFull(content, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", `"`+k.Digest+`"`)
	mime := mediaType(head[:n])
	if mime == "" {
		mime = "application/octet-stream"
		h.Set("Content-Disposition", "attachment; filename*=UTF-8''"+segments(path.Base(k.Path)))
	}
	h.Set("Content-Type", mime)
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}
