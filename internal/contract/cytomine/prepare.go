package cytomine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// progress is what Collect needs to know from Prepare.
type progress struct {
	// Sizes are those of the input arrays, by parameter ("inputs/a"), for matching.
	Sizes map[string]int `json:"sizes,omitempty"`
}

// Prepare stages every input as one file below the input folder, named like its parameter, and makes the output folder
// (Cytomine seed, "Task implementation"). Nothing is added to the image: its own entrypoint and command, no variable. Every
// wrong value is reported, with the App Engine's code as rule and its text.
func (Contract) Prepare(t *task.Task, _ task.ImageFacts, v task.Values) (*task.Execution, error) {
	d, err := detailOf(t)
	if err != nil {
		return nil, err
	}
	if err := refuse(v); err != nil {
		return nil, err
	}
	s := &stager{reading: readingOf(d), sizes: map[string]int{}}
	for _, p := range t.Inputs() {
		val, ok := v.Inputs[p.Name]
		if s.reading.appEngine && !v.Given[p.Name] {
			ok = false // no defaults there
		}
		switch {
		case ok:
			s.parameter(p, d.Extras[key(p)], val, v.Given[p.Name])
		case !p.Optional && !slices.Contains(v.Unbound, p.Name):
			s.problem(p.Name, problem{code: codeNoProvision, message: "not provisioned", mend: "give it a value"})
		}
	}
	s.sides(t, v)
	s.matching(t)
	if len(s.findings) > 0 {
		return nil, inputError(s.findings)
	}
	kept, _ := json.Marshal(progress{Sizes: s.sizes}) // plain data always encodes
	return &task.Execution{
		Mounts: []task.Mount{
			{Name: inputMount, Target: d.InputFolder, Discard: true, Files: s.files},
			{Name: outputMount, Target: d.OutputFolder, Only: outputNames(t)}, // D62: what is no output is ignored with a warning
		},
		Resources: contract.ResourcesOf(t, v),
		Network:   t.Network,
		Notes:     s.notes,
		Detail:    kept,
	}, nil
}

// refuse answers what a Cytomine run cannot be given.
func refuse(v task.Values) error {
	switch {
	case len(v.Words) > 0:
		return task.Errorf(task.ReasonInput, "a Cytomine task takes no command line").WithHint("leave out the words after --; give inputs with -i NAME=…")
	case len(v.Env) > 0:
		return task.Errorf(task.ReasonInput, "a Cytomine task takes no environment variables").WithHint("give inputs with -i NAME=…")
	case v.Body != nil:
		return task.Errorf(task.ReasonInput, "a Cytomine task takes no request body").WithHint("give inputs with -i NAME=…")
	}
	return nil
}

func inputError(findings []task.Finding) error {
	return &task.Error{Code: task.ReasonInput, Message: summary("inputs", findings, 0), Hint: findings[0].Mend, Findings: findings}
}

// summary says in one sentence what is wrong with the values of a side: of the only one everything, of several their number
// and the first. more counts those that are not among the findings.
func summary(side string, findings []task.Finding, more int) string {
	first := findings[0]
	switch n := len(findings) + more; {
	case n > 1:
		return fmt.Sprintf("%d %s are wrong: %s", n, side, first.What)
	case first.Why != "":
		return fmt.Sprintf("%s (%s)", first.What, first.Why)
	}
	return first.What
}

// problem is what is wrong with one value.
type problem struct{ code, message, why, mend string }

// finding tells the problem of a value of that side; name may be that of an item ("values/3").
func (p problem) finding(side, name string) task.Finding {
	return task.Finding{
		Rule: p.code, Severity: task.SeverityError, What: fmt.Sprintf("%s %q: %s", side, name, p.message), Why: p.why, Mend: p.mend,
	}
}

// stager makes the files of the input folder.
type stager struct {
	reading  reading
	files    []task.File
	findings []task.Finding
	notes    []string
	sizes    map[string]int
}

// maxFindings bounds what is said about one run's values: an array may have a million wrong items.
const maxFindings = 50

func (s *stager) problem(name string, p problem) {
	if len(s.findings) < maxFindings {
		s.findings = append(s.findings, p.finding("input", name))
	}
}

func (s *stager) parameter(p task.Parameter, x *extra, v task.Value, given bool) {
	if !given && p.Default != nil {
		s.notes = append(s.notes, fmt.Sprintf("input %s: default %s", p.Name, quote(v.Text)))
	}
	if p.Type.Kind == task.Array {
		s.sizes[key(p)] = len(v.Items)
	}
	s.stage(p.Name, p.Type, x, v)
}

// stage checks a value and adds its files below at.
func (s *stager) stage(at string, t task.Type, x *extra, v task.Value) {
	switch t.Kind {
	case task.FileKind, task.Image:
		s.onDisk(at, t, x, v.Path)
	case task.Array:
		s.array(at, t, x, v)
	default:
		if bad := s.reading.check(t, v.Text); bad != "" {
			s.problem(at, problem{code: codeValue, message: bad, why: "it is " + quote(v.Text), mend: "it takes: " + t.Describe()})
			return
		}
		s.files = append(s.files, task.File{Path: at, Text: written(t.Kind, v.Text)})
	}
}

func (s *stager) array(at string, t task.Type, x *extra, v task.Value) {
	if bad := checkSize(t, len(v.Items)); bad != "" {
		s.problem(at, problem{code: codeDimensions, message: bad, why: fmt.Sprintf("it has %d items", len(v.Items)), mend: "it takes: " + t.Describe()})
		return
	}
	s.files = append(s.files, task.File{Path: path.Join(at, arrayFile), Text: "size: " + strconv.Itoa(len(v.Items))})
	for i, it := range v.Items {
		s.stage(path.Join(at, strconv.Itoa(i)), *t.Item, x.item(), it)
	}
}

// checkSize tests how many items an array has; each bound counts alone.
func checkSize(t task.Type, n int) string {
	if t.MinItems != nil && n < *t.MinItems || t.MaxItems != nil && n > *t.MaxItems {
		return msgDimensions
	}
	return ""
}

// onDisk stages a file, an image, or a slide: a folder of DICOM files, which may also come as a zip.
func (s *stager) onDisk(at string, t task.Type, x *extra, name string) {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		s.problem(at, problem{code: codeValue, message: msgType, why: err.Error(), mend: "name a file on this machine"})
		return
	case st.IsDir() && (t.Kind == task.FileKind || !takesSlides(t)):
		s.problem(at, problem{code: codeValue, message: msgType, why: name + " is a folder", mend: "name a file"})
		return
	case !st.IsDir() && !st.Mode().IsRegular():
		s.problem(at, problem{code: codeValue, message: msgType, why: name + " is a " + contract.KindOf(st.Mode()), mend: "name a file"})
		return
	}
	if t.Kind == task.Image && !st.IsDir() && isZip(name) {
		s.zipped(at, t, x, name)
		return
	}
	if bad, err := s.reading.onDisk(t, x, name); err != nil {
		s.problem(at, problem{code: codeValue, message: msgType, why: err.Error()})
	} else if bad != "" {
		s.problem(at, problem{code: codeValue, message: bad, why: strings.TrimSuffix(filepath.Base(name)+": "+whyPicture(bad), ": "), mend: "it takes: " + describe(t, x)})
	} else {
		s.files = append(s.files, task.File{Path: at, Source: name})
	}
}

// zipped stages a zip of DICOM files as the folder of its files, which a folder of the archive may hold.
func (s *stager) zipped(at string, t task.Type, x *extra, name string) {
	bad, err := checkSlideZip(t, x, name)
	switch {
	case err != nil:
		s.problem(at, problem{code: codeValue, message: msgImageFormat, why: filepath.Base(name) + ": " + err.Error(), mend: "zip the DICOM files themselves or one folder of them, or give the folder instead of a zip"})
	case bad != "":
		s.problem(at, problem{code: codeValue, message: bad, why: filepath.Base(name) + " is a zip, which is taken for a slide in DICOM files", mend: "it takes: " + describe(t, x)})
	default:
		s.files = append(s.files, task.File{Path: path.Join(at, "slide.zip"), Source: name, UnpackZip: true, Flat: true})
	}
}

// describe says what an image or file may be.
func describe(t task.Type, x *extra) string {
	text := t.Describe()
	if limit := x.maxBytes(t); limit != nil {
		text += ", at most " + limit.String()
	}
	if t.MaxWidth != nil {
		text += fmt.Sprintf(", at most %d pixels wide", *t.MaxWidth)
	}
	if t.MaxHeight != nil {
		text += fmt.Sprintf(", at most %d pixels high", *t.MaxHeight)
	}
	return text
}

// checkOnDisk tests the content of a file or image.
func checkOnDisk(t task.Type, x *extra, name string) (string, error) {
	if t.Kind == task.Image {
		return checkImage(t, x, name)
	}
	st, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if limit := x.maxBytes(t); limit != nil && st.Size() > int64(*limit) {
		return msgFileSize, nil
	}
	if len(t.Formats) == 0 || slices.Contains(t.Formats, "binary") {
		return "", nil
	}
	if ok, err := isText(name); err != nil || !ok {
		return msgFileFormat, err
	}
	return "", nil
}

// isText tells whether a file is UTF-8 without zero bytes, reading it piece by piece.
func isText(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for {
		r, size, err := in.ReadRune()
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, err
		case r == 0 || r == utf8.RuneError && size == 1:
			return false, nil
		}
	}
}

// matching tests the arrays of the inputs against one another.
func (s *stager) matching(t *task.Task) {
	known := map[string][]int{}
	for k, n := range s.sizes {
		known[k] = upTo(n)
	}
	for _, m := range mismatches(t, known) {
		s.problem(m.parameter.Name, m.problem)
	}
}

func outputNames(t *task.Task) []string {
	var names []string
	for _, p := range t.Outputs() {
		names = append(names, p.Name)
	}
	return names
}
