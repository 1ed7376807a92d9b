package cytomine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// The folders of the task page's own local test, beside the descriptor.
const (
	exampleInputs  = "inputs"
	exampleOutputs = "outputs"
)

// The words of the verdicts.
const (
	wordMatch    = "match"
	wordMismatch = "mismatch"
	wordError    = "error"
)

// Examples returns the run of the task page's local test (Cytomine seed, "Testing your Task image"): the files of inputs/
// beside the descriptor, and those of outputs/ to compare with when there are any. The format itself has no examples, so a
// package without inputs/ promises nothing.
func (Contract) Examples(src contract.Source, t *task.Task) ([]contract.Example, error) {
	if src.Dir == "" {
		return nil, nil
	}
	base := src.Dir
	if src.File != "" {
		base = filepath.Join(base, filepath.Dir(filepath.FromSlash(src.File)))
	}
	in := filepath.Join(base, exampleInputs)
	if !isFolder(in) {
		return nil, nil
	}
	d, err := detailOf(t)
	if err != nil {
		return nil, err
	}
	inputs, missing, err := exampleValues(t, d, in)
	if err != nil {
		return nil, err
	}
	ex := contract.Example{Name: exampleInputs, Request: task.Request{Inputs: inputs}}
	if len(missing) > 0 {
		ex.Skip = "inputs/ has no " + strings.Join(missing, ", ")
	}
	want := filepath.Join(base, exampleOutputs)
	if list, err := os.ReadDir(want); err == nil && len(list) > 0 && isFolder(want) {
		ex.Check = func(res *task.Result, outDir string) contract.Verdict { return compareRun(t, d, want, res, outDir) }
	}
	return []contract.Example{ex}, nil
}

// exampleValues reads the inputs that are there, and names the mandatory ones that are not.
func exampleValues(t *task.Task, d detail, dir string) (map[string]task.Given, []string, error) {
	given := map[string]task.Given{}
	var missing []string
	for _, p := range t.Inputs() {
		name := filepath.Join(dir, p.Name)
		st, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if !p.Optional && p.Default == nil {
				missing = append(missing, p.Name+withExtension(dir, p.Name))
			}
			continue
		case err != nil:
			return nil, nil, task.Errorf(task.CodePackage, "inputs/%s cannot be read: %w", p.Name, err)
		case !st.IsDir() && !st.Mode().IsRegular():
			return nil, nil, task.Errorf(task.CodePackage, "inputs/%s is a %s, not a file", p.Name, contract.KindOf(st.Mode()))
		}
		g, err := exampleValue(p, d.Extras[key(p)], name, st)
		if err != nil {
			return nil, nil, err
		}
		given[p.Name] = g
		if err := exampleSides(given, p.Type, p.Name, name); err != nil {
			return nil, nil, err
		}
	}
	return given, missing, nil
}

// withExtension tells of a file that is meant to be an input and has an extension, "" when there is none.
func withExtension(dir, name string) string {
	list, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range list {
		if ext := filepath.Ext(e.Name()); ext != "" && strings.EqualFold(strings.TrimSuffix(e.Name(), ext), name) {
			return fmt.Sprintf(" (there is %s: inputs are named exactly like their parameter and have no extension)", printable(e.Name()))
		}
	}
	return ""
}

func exampleValue(p task.Parameter, x *extra, name string, st fs.FileInfo) (task.Given, error) {
	switch {
	case p.Type.Kind.OnDisk():
		return task.Given{Path: name}, nil
	case p.Type.Kind == task.String && !st.IsDir() && st.Size() <= maxOutputText:
		data, err := os.ReadFile(name) // verbatim, white space and all
		if err != nil {
			return task.Given{}, task.Errorf(task.CodePackage, "inputs/%s cannot be read: %w", p.Name, err)
		}
		return task.GivenText(string(data)), nil
	}
	c := &collector{dir: filepath.Dir(name), folder: exampleInputs, known: map[string][]int{}, inputSide: true}
	v, _ := c.value(p.Name, name, p.Type, x, st)
	if len(c.findings) > 0 {
		return task.Given{}, &task.Error{Code: task.CodePackage, Message: "the example's " + c.findings[0].What, Findings: c.findings}
	}
	if p.Type.Kind != task.Array {
		return task.GivenText(v.Text), nil
	}
	data, err := json.Marshal(listed(*p.Type.Item, v))
	if err != nil {
		return task.Given{}, task.Errorf(task.CodePackage, "inputs/%s cannot be read: %w", p.Name, err)
	}
	return task.Given{JSON: data}, nil
}

// listed is an array as callers write it, with "@path" for what is a file.
func listed(item task.Type, v task.Value) []any {
	list := make([]any, 0, len(v.Items))
	for _, it := range v.Items {
		switch {
		case item.Kind.OnDisk():
			list = append(list, "@"+it.Path)
		case item.Kind == task.Array:
			list = append(list, listed(*item.Item, it))
		default:
			list = append(list, it.Plain(item))
		}
	}
	return list
}

// compareRun compares a run's outputs with the ones in outputs/, each by its type. Outputs that outputs/ does not hold are
// not compared.
func compareRun(t *task.Task, d detail, want string, res *task.Result, outDir string) contract.Verdict {
	compared := 0
	for _, p := range t.Outputs() {
		wanted := filepath.Join(want, p.Name)
		st, err := os.Lstat(wanted)
		if err != nil {
			continue
		}
		i := slices.IndexFunc(res.Outputs, func(o task.OutputResult) bool { return o.Name == p.Name })
		if i < 0 {
			return contract.Verdict{Word: wordMismatch, Detail: fmt.Sprintf("the run has no output %s, and outputs/ has one", p.Name)}
		}
		got := filepath.Join(outDir, filepath.FromSlash(res.Outputs[i].Path))
		gst, err := os.Lstat(got)
		if err != nil {
			return contract.Verdict{Word: wordError, Detail: err.Error()}
		}
		w, g := &collector{dir: want, folder: exampleOutputs, known: map[string][]int{}}, &collector{known: map[string][]int{}}
		a, _ := w.value(p.Name, wanted, p.Type, d.Extras[key(p)], st)
		b, _ := g.value(p.Name, got, p.Type, d.Extras[key(p)], gst)
		if len(w.findings) > 0 {
			return contract.Verdict{Word: wordError, Detail: "outputs/ promises what is wrong itself: " + w.findings[0].What}
		}
		if differs := difference(p.Name, p.Type, a, b); differs != "" {
			return contract.Verdict{Word: wordMismatch, Detail: differs}
		}
		compared++
	}
	return contract.Verdict{Pass: true, Word: wordMatch, Detail: fmt.Sprintf("%d of %d outputs compared with outputs/", compared, len(t.Outputs()))}
}

// difference says where two values of a type part, or "".
func difference(at string, t task.Type, want, got task.Value) string {
	switch {
	case t.Kind == task.Array:
		if len(want.Items) != len(got.Items) {
			return fmt.Sprintf("%s: promised %d items, got %d", at, len(want.Items), len(got.Items))
		}
		for i := range want.Items {
			if d := difference(fmt.Sprintf("%s/%d", at, i), *t.Item, want.Items[i], got.Items[i]); d != "" {
				return d
			}
		}
		return ""
	case t.Kind.OnDisk():
		if same, err := samePath(want.Path, got.Path); err != nil {
			return fmt.Sprintf("%s: %v", at, err)
		} else if !same {
			return at + ": the files differ"
		}
		return ""
	case sameText(t.Kind, want.Text, got.Text):
		return ""
	}
	return fmt.Sprintf("%s: promised %s, got %s", at, quote(want.Text), quote(got.Text))
}

// sameText compares two written-down values by what they mean.
func sameText(k task.Kind, a, b string) bool {
	switch k {
	case task.Number:
		x, ok1 := new(big.Float).SetString(a)
		y, ok2 := new(big.Float).SetString(b)
		return a == b || ok1 && ok2 && x.Cmp(y) == 0
	case task.Datetime:
		x, ok1 := isDateTime(a)
		y, ok2 := isDateTime(b)
		return ok1 && ok2 && x.Equal(y)
	case task.Geometry:
		var x, y bytes.Buffer
		return json.Compact(&x, []byte(a)) == nil && json.Compact(&y, []byte(b)) == nil && x.String() == y.String()
	}
	return a == b
}

// samePath compares two files, or the files of two folders.
func samePath(a, b string) (bool, error) {
	if isFolder(a) != isFolder(b) {
		return false, nil
	}
	if !isFolder(a) {
		return sameFile(a, b)
	}
	x, err := os.ReadDir(a)
	if err != nil {
		return false, err
	}
	y, err := os.ReadDir(b)
	if err != nil || len(x) != len(y) {
		return false, err
	}
	for i := range x {
		if x[i].Name() != y[i].Name() {
			return false, nil
		}
		if same, err := samePath(filepath.Join(a, x[i].Name()), filepath.Join(b, y[i].Name())); err != nil || !same {
			return same, err
		}
	}
	return true, nil
}

func sameFile(a, b string) (bool, error) {
	x, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer y.Close()
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err1 := io.ReadFull(x, p)
		m, err2 := io.ReadFull(y, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		if err1 != nil || err2 != nil {
			return ended(err1) && ended(err2), errors.Join(fault(err1), fault(err2))
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func fault(err error) error {
	if ended(err) {
		return nil
	}
	return err
}

// isFolder tells whether the path itself is a folder. A link is none: a package must not point at folders of this machine.
func isFolder(name string) bool {
	st, err := os.Lstat(name)
	return err == nil && st.IsDir()
}
