package meca

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// loader gathers what Load finds in one package.
type loader struct {
	folder
	report contract.Report
	// looked counts the entries of folders that patterns of COPY were compared with.
	looked int
}

// found records a finding and returns it for filling in Why and Mend, until the next one is recorded.
func (l *loader) found(rule, file string, at contract.At, what string, args ...any) *task.Finding {
	l.report.File = file
	return l.report.Add(severityOf(rule), rule, at, "%s", fmt.Sprintf(what, args...))
}

// Load reads a MECA folder. Findings come in the order in which MECA's folder test looks at the entries, then those of the
// tree as a whole. An image in place of a folder is loaded with the default resources, as MECA's executor runs it.
func (Contract) Load(src contract.Source, opts contract.Options) (*task.Task, []task.Finding) {
	if src.Image != nil {
		return imageTask(src), nil
	}
	l := &loader{}
	if src.FS == nil {
		l.found(ruleFolder, "", contract.At{}, "there is no folder to read").Mend = "name the folder that holds the Dockerfile"
		return nil, l.report.Findings
	}
	f, err := open(src)
	if err != nil {
		l.found(ruleFolder, src.File, contract.At{}, "cannot open the folder: %v", err)
		return nil, l.report.Findings
	}
	l.folder = f
	t := l.load()
	if f.dir == "" {
		add := l.found(ruleFolder, "", contract.At{}, "a MECA package is a folder, found the archive %s", show(path.Base(src.Archive)))
		add.Mend = "unpack it and name the folder"
	}
	l.chooseVariant(t, opts.Variant)
	l.asRunner(t, opts.Compat)
	if opts.Compat != "" {
		d := detailOf(t)
		d.AsRunner = true
		t.Detail = encode(d)
	}
	return t, l.report.Findings
}

// chooseVariant settles how a task that asks for an enclave is used: in it, unless the user says otherwise.
func (l *loader) chooseVariant(t *task.Task, variant string) {
	d := detailOf(t)
	if d.SGX {
		t.Variant = variantSGX
	}
	switch {
	case variant == "" || variant == t.Variant:
	case variant == variantPlain && d.SGX:
		t.Variant, t.Detail = variantPlain, encode(detail{})
		t.Notes = append(t.Notes, "SGX: run as a plain task, without an enclave")
	default:
		add := l.found(ruleFolder, "", contract.At{}, "the package has no variant %s", show(variant))
		add.Severity = task.SeverityError
		add.Mend = "leave the variant out"
		if d.SGX {
			add.Mend = "its variants are " + variantSGX + " and " + variantPlain
		}
	}
}

// load reads the entries in their order and makes the task.
func (l *loader) load() *task.Task {
	present := map[string]bool{}
	t := &task.Task{Contract: Contract{}.Name(), Dialect: "MECA task folder", Exchange: task.HTTP, Parameters: parameters()}
	c := defaults()
	for _, e := range entries() {
		if present[e] = l.entry(e); !present[e] {
			continue
		}
		switch e {
		case dockerfile:
			l.recipe()
		case descriptionText:
			t.Description = l.text(e)
		case nameText:
			t.Name = l.title()
		case exampleInput:
			l.exampleInput()
		case exampleOutput:
			l.exampleOutput()
		case configuration:
			c = l.config()
		}
	}
	l.tree()
	if t.Name == "" {
		t.Name = l.base()
	}
	t.Image = task.ImageSource{Kind: task.ImageBuild, Name: imageName(t.Name, l.base()), Context: l.dir, Dockerfile: dockerfile}
	t.Resources = task.Resources{CPU: c.cpu, Memory: c.memory, GPUs: c.gpus}
	t.Notes = append(c.notes, networkNote)
	if c.sgx {
		t.Detail = encode(detail{SGX: true})
		t.Variants = []task.Variant{
			{Name: variantSGX, Description: "in an SGX enclave, as the package asks"},
			{Name: variantPlain, Description: "as a plain task, without an enclave"},
		}
	}
	return t
}

// networkNote says what differs from MECA's own hosts.
const networkNote = "network: closed unless the run opens it; MECA's own hosts leave it open"

// imageTask describes an image that is used without its folder.
func imageTask(src contract.Source) *task.Task {
	facts := src.Image.Facts()
	ref := facts.Reference
	if ref == "" {
		ref = src.Given
	}
	c := defaults()
	return &task.Task{
		Contract: Contract{}.Name(), Dialect: "image without folder", Exchange: task.HTTP, Parameters: parameters(),
		Name:      ref,
		Image:     task.ImageSource{Kind: task.ImageReference, Name: ref},
		Resources: task.Resources{CPU: c.cpu, Memory: c.memory},
		Notes:     []string{"no config.json: 1 CPU, 128 MB, no GPU", networkNote},
	}
}

// parameters are the request's and the reply's body (MECA seed, section 1: "any json object" in, "a string" out). A task
// without input gets an empty body.
func parameters() []task.Parameter {
	return []task.Parameter{
		{
			Name: inputName, Direction: task.Input, Title: "request body", Description: "sent unchanged as the body of POST /",
			Type: task.Type{Kind: task.JSON}, Optional: true, Place: task.Place{Kind: task.PlaceBody},
		},
		{
			Name: outputName, Direction: task.Output, Title: "reply body", Description: "the body of the reply",
			Type: task.Type{Kind: task.String}, Place: task.Place{Kind: task.PlaceBody},
		},
	}
}

// entry tests one of the seven entries as MECA's folder test does, and its kind. It answers whether it can be read.
func (l *loader) entry(e string) bool {
	st, err := fs.Stat(l.fs, e)
	if err != nil {
		if !l.leaves(e) { // a link that leaves the folder is reported with the tree
			l.missing(e)
		}
		return false
	}
	if st.IsDir() && l.empty(e) {
		add := l.found(ruleEmpty, e, contract.At{}, "Empty %s/%s", l.shown, e)
		add.Mend = "put the task's files into it"
		if e != sources {
			add.Mend = "put a file of this name in its place"
		}
	}
	switch {
	case e == sources && !st.IsDir():
		l.found(ruleKind, e, contract.At{}, "src must be a directory").Mend = "make src a directory that holds the sources"
	case e == sources:
		return true
	case st.IsDir():
		l.found(ruleKind, e, contract.At{}, "%s must be a file, found a directory", e).Mend = "replace the directory with a file"
	case !st.Mode().IsRegular(): // reported with the tree
	default:
		return true
	}
	return false
}

func (l *loader) missing(e string) {
	add := l.found(ruleEntry, e, contract.At{}, "Missing %s/%s", l.shown, e)
	add.Why = "MECA's folder test asks for all seven entries"
	add.Mend = "add it"
	if st, err := fs.Lstat(l.fs, e); err == nil && st.Mode()&fs.ModeSymlink != 0 {
		add.Why = "it is a symbolic link that leads nowhere"
		add.Mend = "put the file in the link's place"
		if e == sources {
			add.Mend = "put the directory in the link's place"
		}
		return
	}
	if near := l.near(e); near != "" {
		add.Mend = fmt.Sprintf("rename %s to %s", show(near), e)
	}
}

// near returns the entry of the folder that is most likely a slip of e, or "".
func (l *loader) near(e string) string {
	list, err := fs.ReadDir(l.fs, ".")
	if err != nil {
		return ""
	}
	others := map[string]bool{}
	for _, known := range entries() {
		others[known] = true
	}
	var candidates []string
	for _, d := range list {
		if others[d.Name()] || d.IsDir() != (e == sources) {
			continue
		}
		candidates = append(candidates, d.Name())
		if stem := strings.TrimSuffix(e, path.Ext(e)); stem != e && strings.TrimSuffix(d.Name(), path.Ext(d.Name())) == stem {
			return d.Name()
		}
	}
	if e == sources { // three letters are near to too much
		return ""
	}
	return contract.Nearest(e, candidates)
}

// hasSources tells whether src is as it should be; what depends on it is not reported beside it.
func (l *loader) hasSources() bool {
	st, err := fs.Stat(l.fs, sources)
	return err == nil && st.IsDir() && !l.empty(sources)
}

func (l *loader) empty(dir string) bool {
	list, err := fs.ReadDir(l.fs, dir)
	return err == nil && len(list) == 0
}

// read returns the content of a regular file of at most limit bytes. It looks before it opens: opening a named pipe would
// wait for a writer.
func (l *loader) read(e string, limit int64) ([]byte, error) {
	st, err := fs.Stat(l.fs, e)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("is a %s", contract.KindOf(st.Mode()))
	case st.Size() > limit:
		return nil, fmt.Errorf("has %s, more than %s", task.Bytes(st.Size()), task.Bytes(limit))
	}
	return fs.ReadFile(l.fs, e)
}

// base is the folder's own name.
func (l *loader) base() string {
	if b := filepath.Base(l.dir); l.dir != "" && b != "/" && b != "." {
		return b
	}
	if b := path.Base(l.shown); b != "/" && b != "." {
		return b
	}
	return "task"
}

// imageName is the local name of the built image, a valid reference: "meca/" and the first of the names that leaves a word
// when it is reduced to lower-case letters, digits and dashes.
func imageName(names ...string) string {
	for _, n := range names {
		if s := slug(n); s != "" {
			return "meca/" + s + ":latest"
		}
	}
	return "meca/task:latest"
}

func slug(s string) string {
	const most = 64
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case b.Len() >= most:
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// detailOf is what Load noted in a task; nothing, when it noted nothing or what is stored is not its own.
func detailOf(t *task.Task) detail {
	d, err := decode(t.Detail)
	if err != nil {
		return detail{}
	}
	return d
}

func decode(data json.RawMessage) (d detail, err error) {
	if len(data) == 0 {
		return d, nil
	}
	err = json.Unmarshal(data, &d)
	return d, err
}

func encode(d detail) json.RawMessage {
	data, _ := json.Marshal(d) // a struct of booleans always encodes
	return data
}
