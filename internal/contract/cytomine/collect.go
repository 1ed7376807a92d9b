package cytomine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Bounds of what is read from outputs.
const (
	maxOutputText = 64 << 20
	maxMetadata   = 1 << 20
	maxItems      = 1_000_000
)

// Collect reads one file per output below the output folder and tests it against its type. Every output that is missing or
// wrong is a finding, with the App Engine's code as rule. A container that failed keeps its exit as the reason; what it wrote
// is returned as far as it can be read.
func (Contract) Collect(t *task.Task, x *task.Execution, left task.Leftovers) (task.Collected, error) {
	d, err := detailOf(t)
	if err != nil {
		return task.Collected{}, err
	}
	failed := left.Exit.Code != 0 || left.Exit.Signal != 0 || left.Exit.OOM
	out := task.Collected{Outputs: map[string]task.Value{}}
	dir, ok := left.Mounts[outputMount]
	if !ok {
		if failed {
			return out, nil
		}
		return out, errors.New("the output folder was not kept")
	}
	c := &collector{reading: readingOf(d), fresh: true, dir: dir, folder: d.OutputFolder, known: map[string][]int{}}
	if err := c.inputs(x); err != nil {
		return out, err
	}
	c.strays(t)
	for _, p := range t.Outputs() {
		if v, there := c.parameter(p, d.Extras[key(p)]); there {
			out.Outputs[p.Name] = v
		}
	}
	for _, m := range mismatches(t, c.known) {
		if m.parameter.Direction == task.Output {
			c.problem(m.parameter.Name, m.problem)
		}
	}
	out.Warnings = c.warnings
	if failed {
		if !x.Network {
			out.Warnings = append(out.Warnings, "the task had no network, as its descriptor does not say internet: true; a task that needs one fails without it")
		}
		return out, nil
	}
	out.Failure = c.failure()
	return out, nil
}

// collector reads outputs.
type collector struct {
	reading reading
	// dir is the folder on this machine, folder how the container knows it.
	dir, folder string
	// undeclared are the entries that are no output.
	undeclared []string
	findings   []task.Finding
	more       int
	warnings   []string
	// fresh tells that the files are as the container left them: then each has one name (see irregular).
	fresh bool
	// inputSide tells that inputs are read, where side files lie beside items.
	inputSide bool
	// known are the indexes of arrays, by parameter, for matching.
	known map[string][]int
}

func (c *collector) problem(name string, p problem) {
	if len(c.findings) >= maxFindings {
		c.more++
		return
	}
	side := task.Output
	if c.inputSide {
		side = task.Input
	}
	f := p.finding(string(side), name)
	f.File = name
	c.findings = append(c.findings, f)
}

func (c *collector) failure() *task.Failure {
	if len(c.findings) == 0 {
		return nil
	}
	return &task.Failure{
		Reason: task.ReasonOutput, Message: summary("outputs", c.findings, c.more), Hint: c.findings[0].Mend, Findings: c.findings,
	}
}

// inputs takes over the sizes of the input arrays.
func (c *collector) inputs(x *task.Execution) error {
	var p progress
	if len(x.Detail) > 0 {
		if err := json.Unmarshal(x.Detail, &p); err != nil {
			return fmt.Errorf("the stored execution cannot be read: %w", err)
		}
	}
	for k, n := range p.Sizes {
		c.known[k] = upTo(min(max(n, 0), maxItems))
	}
	return nil
}

// strays notes what the task wrote beside its outputs.
func (c *collector) strays(t *task.Task) {
	list, err := os.ReadDir(c.dir)
	if err != nil {
		return // each output is then missing
	}
	const most = 20
	for _, e := range list {
		if t.Parameter(task.Output, e.Name()) != nil {
			continue
		}
		if c.undeclared = append(c.undeclared, e.Name()); len(c.undeclared) <= most {
			c.warnings = append(c.warnings, fmt.Sprintf("%s is no output of the task; it is ignored (%s)", path.Join(c.folder, printable(e.Name())), codeUndeclared))
		}
	}
	if n := len(c.undeclared) - most; n > 0 {
		c.warnings = append(c.warnings, fmt.Sprintf("%d more entries of %s are no outputs of the task; they are ignored", n, c.folder))
	}
}

// parameter reads one output. there tells that it exists, also when something is wrong with it.
func (c *collector) parameter(p task.Parameter, x *extra) (v task.Value, there bool) {
	name := filepath.Join(c.dir, p.Name)
	st, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !p.Optional {
			c.problem(p.Name, c.missing(p.Name))
		}
		return v, false
	case err != nil:
		c.problem(p.Name, problem{code: codeNoOutput, message: "file structure for primitive parameter is missing", why: err.Error()})
		return v, false
	case c.irregular(p.Name, st):
		return v, false
	}
	v, indexes := c.value(p.Name, name, p.Type, x, st)
	if indexes != nil {
		c.known[key(p)] = indexes
	}
	return v, true
}

// irregular refuses what is neither a folder nor a regular file of its own: links, pipes and devices, and a file that has more
// names, as it would not be the task's alone.
func (c *collector) irregular(at string, st fs.FileInfo) bool {
	kind := contract.KindOf(st.Mode())
	switch s, ok := st.Sys().(*syscall.Stat_t); {
	case st.IsDir():
		return false
	case st.Mode().IsRegular() && !(c.fresh && ok && s.Nlink > 1):
		return false
	case st.Mode().IsRegular():
		kind = "hard link"
	}
	c.problem(at, problem{code: codeStructure, message: "invalid provision structure", why: "it is a " + kind, mend: "write a regular file of its own"})
	return true
}

// missing tells that an output is not there, and which entry was probably meant to be it.
func (c *collector) missing(name string) problem {
	p := problem{
		code: codeNoOutput, message: "file structure for primitive parameter is missing",
		why: "there is no " + path.Join(c.folder, name), mend: "write it to " + path.Join(c.folder, name),
	}
	near := contract.Nearest(name, c.undeclared)
	for _, e := range c.undeclared {
		if strings.EqualFold(strings.TrimSuffix(e, path.Ext(e)), name) || strings.EqualFold(e, name) {
			near = e
		}
	}
	if near != "" {
		p.why = fmt.Sprintf("there is %s, and no %s", path.Join(c.folder, printable(near)), path.Join(c.folder, name))
		p.mend = fmt.Sprintf("did you mean %q? outputs are named exactly like their parameter and have no extension", name)
	}
	return p
}

// value reads the output or item at name. Path is always set; Text and Items only when it is right. indexes are those of an
// array that could be read, nil for anything else.
func (c *collector) value(at, name string, t task.Type, x *extra, st fs.FileInfo) (v task.Value, indexes []int) {
	v.Path = name
	switch {
	case t.Kind == task.Array:
		return c.array(at, name, t, x, st)
	case st.IsDir() && t.Kind != task.Image:
		c.problem(at, problem{code: codeDirectory, message: "file structure for primitive parameter is a directory", mend: "write a file"})
	case t.Kind.OnDisk():
		c.onDisk(at, name, t, x, st)
	default:
		text, bad := c.text(at, name, t, st)
		if bad != nil {
			c.problem(at, *bad)
			return v, nil
		}
		v.Text = text
	}
	return v, nil
}

func (c *collector) onDisk(at, name string, t task.Type, x *extra, st fs.FileInfo) {
	bad, err := "", error(nil)
	if t.Kind == task.Image && !st.IsDir() && isZip(name) {
		bad = msgImageFormat // as an output, a slide is the folder itself
	} else {
		bad, err = c.reading.onDisk(t, x, name)
	}
	switch {
	case err != nil:
		c.problem(at, problem{code: codeValue, message: msgType, why: err.Error()})
	case bad != "":
		c.problem(at, problem{code: codeValue, message: bad, why: whyPicture(bad), mend: "it must be: " + describe(t, x)})
	}
}

// text reads and tests a written-down output, and returns it as values of its kind have it.
func (c *collector) text(at, name string, t task.Type, st fs.FileInfo) (string, *problem) {
	if st.Size() > maxOutputText {
		return "", &problem{code: codeValue, message: msgType, why: fmt.Sprintf("the file has %s, more than the %s of a written value", task.Bytes(st.Size()), task.Bytes(maxOutputText)), mend: "write: " + t.Describe()}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "", &problem{code: codeNoOutput, message: "file structure for primitive parameter is missing", why: err.Error()}
	}
	if !utf8.Valid(data) {
		return "", &problem{code: codeValue, message: msgType, why: "the file is not UTF-8 text", mend: "write text"}
	}
	s := trimmed(string(data))
	if s == "" && !(t.Kind == task.String && (t.MinLength == nil || *t.MinLength <= 0)) {
		return "", &problem{code: codeBlank, message: "file for parameter is blank", mend: "write a value: " + t.Describe()}
	}
	text, ok := c.reading.typed(t.Kind, s)
	if !ok {
		return "", &problem{code: codeValue, message: msgType, why: fmt.Sprintf("%s is no %s", quote(s), t.Kind), mend: "write: " + t.Describe()}
	}
	if bad := c.reading.check(t, text); bad != "" {
		return "", &problem{code: codeValue, message: bad, why: "it is " + quote(s), mend: "write: " + t.Describe()}
	}
	if _, octal, _ := c.reading.integer(s); octal && t.Kind == task.Integer {
		c.warnings = append(c.warnings, fmt.Sprintf("output %q: %s is octal, as documented: %s; today's App Engine reads it as decimal", at, quote(s), text))
	}
	return text, nil
}

// typed turns the text of a file into that of a value.
func (r reading) typed(k task.Kind, s string) (string, bool) {
	switch k {
	case task.Boolean:
		if l := strings.ToLower(s); l == "true" || l == "false" {
			return l, true
		}
	case task.Integer:
		v, _, ok := r.integer(s)
		if !ok {
			return "", false
		}
		return v.String(), true
	case task.Number:
		return parseNumber(s)
	}
	return s, true
}

var indexForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})$`)

// array reads the folder of an array: array.yml with its size, and the items 0, 1, ….
func (c *collector) array(at, name string, t task.Type, x *extra, st fs.FileInfo) (v task.Value, indexes []int) {
	v.Path = name
	if !st.IsDir() {
		c.problem(at, problem{code: codeNoMetadata, message: "collection does not have array.yml file", why: "it is a file; an array is a folder with array.yml and its items", mend: "write a folder"})
		return v, nil
	}
	items, ok := c.items(at, name)
	size, sized := c.size(at, name)
	if !ok || !sized {
		return v, nil
	}
	last := -1
	if len(items) > 0 {
		last = items[len(items)-1]
	}
	switch {
	case len(items) != size && !x.allowMissing() || last >= size:
		c.problem(at, problem{
			code: codeMetadata, message: "collection array.yml is malformed", why: fmt.Sprintf("it says size: %d, and there are %d items, the last one %d", size, len(items), last),
			mend: "write size: N and items 0 to N-1",
		})
		return v, nil
	case checkSize(t, size) != "":
		c.problem(at, problem{code: codeDimensions, message: msgDimensions, why: fmt.Sprintf("it has %d items", size), mend: "it must be: " + t.Describe()})
	}
	v.Items = make([]task.Value, size)
	for i := range v.Items {
		if t.Item.Kind == task.Geometry || t.Item.Kind == task.Integer || t.Item.Kind == task.Number {
			v.Items[i].Text = "null" // stands for a missing item
		}
	}
	for _, i := range items {
		if it, ok := c.item(path.Join(at, strconv.Itoa(i)), filepath.Join(name, strconv.Itoa(i)), *t.Item, x.item()); ok {
			v.Items[i] = it
		}
	}
	return v, items
}

func (c *collector) item(at, name string, t task.Type, x *extra) (task.Value, bool) {
	st, err := os.Lstat(name)
	switch {
	case err != nil:
		c.problem(at, problem{code: codeNoOutput, message: "file structure for primitive parameter is missing", why: err.Error()})
		return task.Value{}, false
	case c.irregular(at, st):
		return task.Value{}, false
	}
	v, _ := c.value(at, name, t, x, st)
	return v, true
}

// items lists the indexes of an array's items in order.
func (c *collector) items(at, name string) (indexes []int, ok bool) {
	list, err := os.ReadDir(name)
	if err != nil || len(list) > maxItems {
		c.problem(at, problem{code: codeStructure, message: "invalid provision structure", why: fmt.Sprintf("its folder cannot be listed, or has more than %d items", maxItems)})
		return nil, false
	}
	indexes = []int{}
	ok = true
	for _, e := range list {
		switch {
		case e.Name() == arrayFile, c.inputSide && isSide(e.Name()):
		case indexForm.MatchString(e.Name()):
			i, err := strconv.Atoi(e.Name())
			if err == nil {
				indexes = append(indexes, i)
			}
		default:
			ok = false
			c.problem(at, problem{code: codeExtra, message: "file structure for parameter contains extra files", why: fmt.Sprintf("%s is no item", quote(e.Name())), mend: "name items 0, 1, …, without extension"})
		}
	}
	slices.SortFunc(indexes, cmp.Compare)
	return indexes, ok
}

// size reads array.yml.
func (c *collector) size(at, name string) (int, bool) {
	file := filepath.Join(name, arrayFile)
	st, err := os.Lstat(file)
	if err != nil {
		c.problem(at, problem{code: codeNoMetadata, message: "collection does not have array.yml file", mend: "write array.yml with size: N"})
		return 0, false
	}
	why := ""
	if !st.Mode().IsRegular() || st.Size() > maxMetadata {
		why = "it is not a small regular file"
	} else if data, err := os.ReadFile(file); err != nil {
		why = err.Error()
	} else if n, err := contract.ParseYAML(data); err != nil {
		why = err.Error()
	} else if size, ok := n.Get("size").Int(); !ok || size < 0 || size > maxItems {
		why = "it holds no size that is an integer"
	} else {
		return int(size), true
	}
	c.problem(at, problem{code: codeMetadata, message: "collection array.yml is malformed", why: why, mend: "write size: N"})
	return 0, false
}
