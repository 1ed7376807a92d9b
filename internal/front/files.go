package front

import (
	"archive/zip"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// ReadFiles takes the inputs from the places of the front: files, folders and variables; lookup is os.LookupEnv. What has to be
// unpacked lies in fresh folders below dir, which the caller removes.
func ReadFiles(f contract.Front, lookup func(string) (string, bool), dir string) (task.Request, error) {
	r := newRequest(dir)
	for _, s := range f.Inputs {
		if s.Place.Kind == task.PlaceEnv {
			if text, ok := lookup(s.Place.Name); ok && (text != "" || s.Type.Kind == task.String && s.Default == nil && !s.Optional) {
				r.give(s, task.GivenText(text))
			}
			continue
		}
		st, err := os.Stat(s.Place.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		read := r.readFile
		if s.Place.Kind == task.PlaceFolder {
			read = r.readFolder
		}
		if err == nil {
			err = read(s, st)
		}
		if err != nil {
			return task.Request{}, inputError(s, err)
		}
	}
	return r.Request, nil
}

// readFile reads a slot that is a file, or for an array a folder of its items.
func (r *request) readFile(s contract.Slot, st fs.FileInfo) error {
	at := s.Place.Path
	switch {
	case s.Type.Kind == task.Array:
		list, err := readItems(*s.Type.Item, at)
		if err != nil || len(list) == 0 && s.EmptyForNone() {
			return err
		}
		data, err := json.Marshal(list)
		r.give(s, task.Given{JSON: data})
		return err
	case s.Type.Kind == task.Directory && !st.IsDir():
		dir, err := r.unpack(at)
		r.give(s, task.Given{Path: dir})
		return err
	case s.Type.Kind.OnDisk():
		r.give(s, task.Given{Path: at})
		return nil
	}
	return r.readText(s, at)
}

// readText reads a written-down value. Strings are taken as they are; white space around anything else means nothing.
func (r *request) readText(s contract.Slot, at string) error {
	data, err := os.ReadFile(at)
	if err != nil {
		return err
	}
	text := string(data)
	if s.Type.Kind != task.String {
		text = strings.TrimSpace(text)
	}
	r.give(s, task.GivenText(text))
	return nil
}

// readItems reads the items of an array, which are called 0, 1, …, as callers write them: "@path" for what is on disk.
func readItems(t task.Type, at string) ([]any, error) {
	entries, err := os.ReadDir(at)
	if err != nil {
		return nil, err
	}
	list := make([]any, 0, len(entries))
	for i := 0; ; i++ {
		name := filepath.Join(at, strconv.Itoa(i))
		if _, err := os.Stat(name); err != nil {
			return list, nil
		}
		switch {
		case t.Kind == task.Array:
			inner, err := readItems(*t.Item, name)
			if err != nil {
				return nil, err
			}
			list = append(list, inner)
		case t.Kind.OnDisk():
			list = append(list, "@"+name)
		default:
			data, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			list = append(list, task.Value{Text: strings.TrimSpace(string(data))}.Plain(t))
		}
	}
}

// readFolder reads a slot that is a folder. An empty one is no value, unless the value is a folder.
func (r *request) readFolder(s contract.Slot, st fs.FileInfo) error {
	at := s.Place.Path
	if s.Type.Kind == task.Directory || !st.IsDir() {
		r.give(s, task.Given{Path: at})
		return nil
	}
	entries, err := os.ReadDir(at)
	if err != nil || len(entries) == 0 {
		return err
	}
	if onDisk(s.Type) && s.Type.Kind == task.Array {
		list, err := channelItems(*s.Type.Item, at)
		if err != nil {
			return err
		}
		data, err := json.Marshal(list)
		r.give(s, task.Given{JSON: data})
		return err
	}
	only := filepath.Join(at, entries[0].Name())
	switch {
	case len(entries) == 1 && s.Type.Kind.OnDisk():
		r.give(s, task.Given{Path: only})
	case len(entries) == 1:
		return r.readText(s, only)
	case s.Type.Kind == task.Image: // a slide is a folder of files
		r.give(s, task.Given{Path: at})
	default:
		return fmt.Errorf("the folder %s must hold one file, and holds %d entries", at, len(entries))
	}
	return nil
}

// channelItems reads the items of a list of files from a folder, as callers write them. A list in the list is a folder in it.
func channelItems(t task.Type, at string) ([]any, error) {
	entries, err := os.ReadDir(at)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return byNumber(a.Name(), b.Name()) })
	list := make([]any, 0, len(entries))
	for _, e := range entries {
		name := filepath.Join(at, e.Name())
		if t.Kind != task.Array {
			list = append(list, "@"+name)
			continue
		}
		inner, err := channelItems(*t.Item, name)
		if err != nil {
			return nil, err
		}
		list = append(list, inner)
	}
	return list, nil
}

// byNumber orders names that begin with numbers by these, and all others by their bytes.
func byNumber(a, b string) int {
	digits := func(s string) string { return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))] }
	x, y := digits(a), digits(b)
	if x == "" || y == "" {
		return cmp.Compare(a, b)
	}
	m, n := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	return cmp.Or(cmp.Compare(len(m), len(n)), cmp.Compare(m, n), cmp.Compare(a, b))
}

// writeChannel writes a list of files as channelItems reads it. The files keep their names where these are in the list's order,
// and are numbered otherwise.
func writeChannel(t task.Type, items []task.Value, at string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	base := func(i int) string { return filepath.Base(items[i].Path) }
	ordered := t.Kind != task.Array
	for i := 1; i < len(items) && ordered; i++ {
		ordered = byNumber(base(i-1), base(i)) < 0
	}
	for i, it := range items {
		name := strconv.Itoa(i)
		var err error
		switch {
		case t.Kind == task.Array:
			err = writeChannel(*t.Item, it.Items, filepath.Join(at, name))
		case ordered:
			err = copyInto(it.Path, filepath.Join(at, base(i)))
		default:
			err = copyInto(it.Path, filepath.Join(at, name+"-"+base(i)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unpack unpacks a zip archive into a fresh folder. An entry that would leave it, or that is a link, is an error.
func (r *request) unpack(name string) (string, error) {
	z, err := zip.OpenReader(name)
	if err != nil {
		return "", fmt.Errorf("a folder is handed over as a zip archive, and %s is none: %w", name, err)
	}
	defer z.Close()
	for _, f := range z.File {
		switch name := strings.TrimSuffix(f.Name, "/"); {
		case !fs.ValidPath(name) || strings.Contains(name, `\`):
			return "", fmt.Errorf("refusing the entry %q of the zip archive: its path leaves the folder, or is not written with plain slashes", f.Name)
		case !f.Mode().IsRegular() && !f.Mode().IsDir():
			return "", fmt.Errorf("refusing the entry %q: it is a %s", f.Name, contract.KindOf(f.Mode()))
		}
	}
	dir, err := r.fresh()
	if err != nil {
		return "", err
	}
	return dir, os.CopyFS(dir, z)
}

// WriteFiles puts the outputs of a run, which lie in dir, to the places of the front.
func WriteFiles(f contract.Front, res *task.Result, dir string) error {
	return writeOutputs(f, res, dir, func(s contract.Slot) string { return s.Place.Path })
}

// PlaceOutputs puts the outputs of a run below root, each under its name and in the form it has in the container. What the
// source lets differ from run to run (varying) is left out.
func PlaceOutputs(f contract.Front, res *task.Result, dir, root string, varying []string) error {
	f.Outputs = slices.DeleteFunc(slices.Clone(f.Outputs), func(s contract.Slot) bool { return slices.Contains(varying, s.Source) })
	return writeOutputs(f, res, dir, func(s contract.Slot) string { return filepath.Join(root, s.Name) })
}

func writeOutputs(f contract.Front, res *task.Result, dir string, at func(contract.Slot) string) error {
	for _, s := range f.Outputs {
		o, ok := outputOf(s, res, dir)
		var err error
		switch {
		case ok:
			err = write(s, o.Value, at(s), s.Name)
		case !s.Optional:
			err = missing(s)
		}
		if err != nil {
			return fmt.Errorf("output %s: %w", s.Name, err)
		}
	}
	return nil
}

// PlaceInputs puts checked inputs below root, each under its name and in the form it has in the container. Variables are in
// the returned example.
func PlaceInputs(f contract.Front, v task.Values, root string) (*contract.FrontExample, error) {
	ex := &contract.FrontExample{Env: map[string]string{}, Given: map[string]bool{}}
	for _, s := range f.Inputs {
		val, ok := valueOf(s, v)
		at := filepath.Join(root, s.Name)
		var err error
		switch {
		case !ok && s.Place.Kind == task.PlaceFolder:
			err = os.MkdirAll(at, 0o755)
		case !ok && s.Place.Kind == task.PlaceFile && s.EmptyForNone():
			err = write(s, task.Value{}, at, "")
		case !ok:
			continue
		case s.Place.Kind == task.PlaceEnv:
			ex.Env[s.Place.Name], err = written(s.Type, val)
		default:
			err = write(s, val, at, filepath.Base(val.Path))
		}
		if err != nil {
			return nil, inputError(s, err)
		}
		ex.Given[s.Name] = ok
	}
	return ex, nil
}

// valueOf is the checked value of an input slot.
func valueOf(s contract.Slot, v task.Values) (task.Value, bool) {
	if !s.Body {
		val, ok := v.Inputs[s.Source]
		return val, ok && (v.Given[s.Source] || !s.Optional && s.Default == nil)
	}
	if v.Body == nil {
		return task.Value{}, false
	}
	return task.Value{Text: v.Body.Text, Path: v.Body.Path}, true
}

// write writes a value to at in the form of the slot's place; name is for the only file in a folder.
func write(s contract.Slot, v task.Value, at, name string) error {
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if s.Place.Kind == task.PlaceFile {
		return writeFile(s.Type, v, at)
	}
	if s.Type.Kind == task.Directory {
		return copyInto(v.Path, at)
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if s.Type.Kind == task.Array && v.Path == "" && onDisk(s.Type) {
		return writeChannel(*s.Type.Item, v.Items, at)
	}
	if name == "." || name == "" {
		name = s.Name
	}
	if s.Type.Kind == task.Array && v.Path == "" {
		text, err := written(s.Type, v)
		return errors.Join(err, os.WriteFile(filepath.Join(at, name), []byte(text), 0o644))
	}
	return writeFile(s.Type, v, filepath.Join(at, name))
}

func writeFile(t task.Type, v task.Value, at string) error {
	switch {
	case t.Kind == task.Directory:
		return zipFolder(v.Path, at)
	case v.Path != "": // also written-down outputs and arrays, as the task left them
		return copyInto(v.Path, at)
	case t.Kind == task.Array:
		return writeItems(*t.Item, v.Items, at)
	}
	return os.WriteFile(at, []byte(v.Text), 0o644)
}

// writeItems writes an array as a folder: its items as 0, 1, …, and their number in array.yml.
func writeItems(t task.Type, items []task.Value, at string) error {
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	for i, it := range items {
		if err := writeFile(t, it, filepath.Join(at, strconv.Itoa(i))); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(at, "array.yml"), fmt.Appendf(nil, "size: %d", len(items)), 0o644)
}

// copyInto copies a file, or what is in a folder, to at. A folder that is there already is filled.
func copyInto(from, at string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	if st.IsDir() {
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		return os.CopyFS(at, os.DirFS(from))
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(at, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// zipFolder writes the files of a folder as a zip archive, in order and without times, so that equal folders give equal
// archives.
func zipFolder(dir, at string) error {
	out, err := os.OpenFile(at, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	z := zip.NewWriter(out)
	err = eachFile(dir, func(rel string, in io.Reader) error {
		w, err := z.Create(rel)
		if err == nil {
			_, err = io.Copy(w, in)
		}
		return err
	})
	return errors.Join(err, z.Close(), out.Close())
}

// eachFile calls use with the regular files of a folder in the order of their names.
func eachFile(dir string, use func(rel string, in io.Reader) error) error {
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			names = append(names, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, n := range names {
		in, err := os.Open(filepath.Join(dir, n))
		if err != nil {
			return err
		}
		err = use(n, in)
		in.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
