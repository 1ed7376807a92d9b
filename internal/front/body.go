package front

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// binary is the form in which a file that is no text stands in JSON. Folders may be given in it too, as zip archives.
type binary struct {
	Base64 *[]byte `json:"base64"`
}

// ReadBody takes the inputs from a request's body: all of it for a source that works over HTTP, else a JSON object or a form
// of the inputs by name, or the content of the only input that must be given. Files lie in fresh folders below dir, which the
// caller removes. Strings are never paths.
func ReadBody(f contract.Front, contentType string, body []byte, dir string) (task.Request, error) {
	r := newRequest(dir)
	if len(f.Inputs) == 1 && f.Inputs[0].Body {
		if len(body) > 0 {
			r.give(f.Inputs[0], task.GivenText(string(body)))
		}
		return r.Request, nil
	}
	kind, params, err := mime.ParseMediaType(contentType)
	if err == nil && kind == "multipart/form-data" {
		return r.Request, r.form(f, multipart.NewReader(bytes.NewReader(body), params["boundary"]))
	}
	var object map[string]json.RawMessage
	switch err := json.Unmarshal(body, &object); {
	case len(bytes.TrimSpace(body)) == 0:
		return r.Request, nil
	case err == nil && object != nil:
		return r.Request, r.object(f, object)
	}
	s, ok := onlySlot(f.Inputs)
	if !ok {
		return r.Request, task.Errorf(task.ReasonInput, "the body is no JSON object of the inputs").WithHint("send {%s}", slotNames(f.Inputs))
	}
	return r.Request, r.content(s, "", body)
}

func slotNames(slots []contract.Slot) string {
	var names []string
	for _, s := range slots {
		names = append(names, fmt.Sprintf("%q: …", s.Name))
	}
	return strings.Join(names, ", ")
}

// onlySlot is the only slot that must be given, or the only one.
func onlySlot(slots []contract.Slot) (only contract.Slot, ok bool) {
	n := 0
	for _, s := range slots {
		if !s.Optional && s.Default == nil {
			only, n = s, n+1
		}
	}
	if n == 0 && len(slots) == 1 {
		return slots[0], true
	}
	return only, n == 1
}

func slotNamed(f contract.Front, name string) (contract.Slot, error) {
	for _, s := range f.Inputs {
		if s.Name == name {
			return s, nil
		}
	}
	return contract.Slot{}, task.Errorf(task.ReasonInput, "there is no input %q", name).WithHint("the inputs are: {%s}", slotNames(f.Inputs))
}

// object takes the members of a JSON object; null is no value.
func (r *request) object(f contract.Front, object map[string]json.RawMessage) error {
	for name, raw := range object {
		s, err := slotNamed(f, name)
		if err != nil {
			return err
		}
		if string(raw) == "null" {
			continue
		}
		if !onDisk(s.Type) {
			r.give(s, task.Given{JSON: raw})
			continue
		}
		g, err := r.fromJSON(s.Type, s.Name, raw)
		if err != nil {
			return inputError(s, err)
		}
		r.give(s, g)
	}
	return nil
}

// onDisk tells of a file or folder, or an array of them.
func onDisk(t task.Type) bool { return t.Kind.OnDisk() || t.Kind == task.Array && onDisk(*t.Item) }

// fromJSON makes the file, the folder or the list of them that a JSON value stands for.
func (r *request) fromJSON(t task.Type, name string, raw json.RawMessage) (task.Given, error) {
	if t.Kind == task.Array {
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return task.Given{}, errors.New("must be a list")
		}
		var list []json.RawMessage
		for i, it := range items {
			g, err := r.fromJSON(*t.Item, fmt.Sprintf("%s-%d", name, i), it)
			if err != nil {
				return task.Given{}, err
			}
			path := g.JSON
			if g.Path != "" {
				path, _ = json.Marshal("@" + g.Path) // a text always encodes
			}
			list = append(list, path)
		}
		data, err := json.Marshal(list)
		return task.Given{JSON: data}, err
	}
	dir, err := r.fresh()
	if err != nil {
		return task.Given{}, err
	}
	if t.Kind == task.Directory {
		return r.folder(dir, raw)
	}
	data, err := fileContent(raw)
	if err != nil {
		return task.Given{}, err
	}
	at := filepath.Join(dir, name)
	return task.Given{Path: at}, os.WriteFile(at, data, 0o644)
}

// fileContent is what a JSON value means as a file: a text its characters, {"base64": …} its bytes, anything else itself.
func fileContent(raw json.RawMessage) ([]byte, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []byte(text), nil
	}
	var b binary
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b); err == nil && b.Base64 != nil {
		return *b.Base64, nil
	} else if _, bad := errors.AsType[base64.CorruptInputError](err); bad {
		return nil, err
	}
	return raw, nil
}

// folder fills dir with the files of a JSON object by path, or with those of a zip archive.
func (r *request) folder(dir string, raw json.RawMessage) (task.Given, error) {
	var b binary
	if json.Unmarshal(raw, &b) == nil && b.Base64 != nil && bytes.HasPrefix(*b.Base64, []byte("PK")) {
		return r.archive(*b.Base64)
	}
	var files map[string]json.RawMessage
	if err := json.Unmarshal(raw, &files); err != nil {
		return task.Given{}, errors.New(`a folder is an object of files by path, or a zip archive as {"base64": …}`)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return task.Given{}, err
	}
	defer root.Close()
	for name, content := range files {
		data, err := fileContent(content)
		if err == nil {
			err = root.MkdirAll(filepath.Dir(filepath.FromSlash(name)), 0o755)
		}
		if err == nil {
			err = root.WriteFile(filepath.FromSlash(name), data, 0o644)
		}
		if err != nil {
			return task.Given{}, fmt.Errorf("the file %q: %w", name, err)
		}
	}
	return task.Given{Path: dir}, nil
}

// archive unpacks a folder that came as a zip archive.
func (r *request) archive(data []byte) (task.Given, error) {
	holder, err := r.fresh()
	if err != nil {
		return task.Given{}, err
	}
	at := filepath.Join(holder, "folder.zip")
	if err := os.WriteFile(at, data, 0o644); err != nil {
		return task.Given{}, err
	}
	dir, err := r.unpack(at)
	return task.Given{Path: dir}, err
}

// content takes bytes for a slot; name is the file's own, if it has one.
func (r *request) content(s contract.Slot, name string, data []byte) error {
	g := task.GivenText(string(data))
	var err error
	switch {
	case s.Type.Kind == task.Directory:
		g, err = r.archive(data)
	case s.Type.Kind.OnDisk():
		var dir string
		if dir, err = r.fresh(); err != nil {
			break
		}
		if name = filepath.Base(name); name == "." || name == "/" {
			name = s.Name
		}
		g = task.Given{Path: filepath.Join(dir, name)}
		err = os.WriteFile(g.Path, data, 0o644)
	case s.Type.Kind != task.String:
		g = task.GivenText(strings.TrimSpace(string(data)))
	}
	if err != nil {
		return inputError(s, err)
	}
	r.give(s, g)
	return nil
}

// form takes the parts of a form; parts of one name are the items of a list of files.
func (r *request) form(f contract.Front, parts *multipart.Reader) error {
	lists := map[string][]string{}
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return task.Errorf(task.ReasonInput, "the form cannot be read: %w", err)
		}
		s, err := slotNamed(f, p.FormName())
		if err != nil {
			return err
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return task.Errorf(task.ReasonInput, "the form cannot be read: %w", err)
		}
		if s.Type.Kind != task.Array || !onDisk(s.Type) {
			if err := r.content(s, p.FileName(), data); err != nil {
				return err
			}
			continue
		}
		item := s
		item.Type = *s.Type.Item
		if err := r.content(item, p.FileName(), data); err != nil {
			return err
		}
		lists[s.Name] = append(lists[s.Name], "@"+r.Inputs[s.Source].Path)
		list, err := json.Marshal(lists[s.Name])
		if err != nil {
			return err
		}
		r.give(s, task.Given{JSON: list})
	}
}

// InputBody writes checked inputs as the body that ReadBody reads.
func InputBody(f contract.Front, v task.Values) ([]byte, error) {
	object := map[string]any{}
	for _, s := range f.Inputs {
		val, ok := valueOf(s, v)
		switch {
		case !ok:
			continue
		case s.Body && val.Path != "":
			return os.ReadFile(val.Path)
		case s.Body:
			return []byte(val.Text), nil
		}
		member, err := toJSON(s.Type, val)
		if err != nil {
			return nil, inputError(s, err)
		}
		object[s.Name] = member
	}
	return encode(object)
}

// OutputBody writes the outputs of a run, which lie in dir, as one body: the only output itself, if it is a text or a file, and
// else JSON, of several an object by name.
func OutputBody(f contract.Front, res *task.Result, dir string) (contentType string, body []byte, err error) {
	object := map[string]any{}
	for _, s := range f.Outputs {
		o, ok := outputOf(s, res, dir)
		switch {
		case !ok && s.Optional:
			continue
		case !ok:
			return "", nil, missing(s)
		case len(f.Outputs) == 1 && isFile(o.Path):
			return fileBody(s, o)
		}
		if object[s.Name], err = outputJSON(s.Type, o); err != nil {
			return "", nil, fmt.Errorf("output %s: %w", s.Name, err)
		}
	}
	var all any = object
	if len(f.Outputs) == 1 {
		all = object[f.Outputs[0].Name]
	}
	body, err = encode(all)
	return "application/json", body, err
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

func fileBody(s contract.Slot, o output) (contentType string, body []byte, err error) {
	body, err = os.ReadFile(o.Path)
	switch {
	case json.Valid(body) && s.Type.Kind != task.String:
		return "application/json", body, err
	case utf8.Valid(body):
		return "text/plain; charset=utf-8", body, err
	}
	return "application/octet-stream", body, err
}

// outputJSON is an output as JSON. Arrays of files lie on disk as folders of their items.
func outputJSON(t task.Type, o output) (any, error) {
	switch {
	case t.Kind.OnDisk():
		return toJSON(t, o.Value)
	case !onDisk(t):
		return o.plain, nil
	}
	items, err := readItems(*t.Item, o.Path)
	if err != nil {
		return nil, err
	}
	return inlineItems(*t.Item, items)
}

// inlineItems puts the content of files in the place of their paths.
func inlineItems(t task.Type, items []any) ([]any, error) {
	list := make([]any, 0, len(items))
	for _, it := range items {
		var err error
		switch inner, nested := it.([]any); {
		case nested:
			it, err = inlineItems(*t.Item, inner)
		case t.Kind.OnDisk():
			it, err = toJSON(t, task.Value{Path: strings.TrimPrefix(it.(string), "@")})
		}
		if err != nil {
			return nil, err
		}
		list = append(list, it)
	}
	return list, nil
}

// toJSON is a value as JSON, with the content of files.
func toJSON(t task.Type, v task.Value) (any, error) {
	switch {
	case t.Kind == task.Array && onDisk(t):
		list := make([]any, 0, len(v.Items))
		for _, it := range v.Items {
			x, err := toJSON(*t.Item, it)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		return list, nil
	case !t.Kind.OnDisk():
		if t.Verbatim {
			return v.Text, nil
		}
		return v.Plain(t), nil
	}
	st, err := os.Stat(v.Path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		data, err := os.ReadFile(v.Path)
		return fileJSON(data), err
	}
	files := map[string]any{}
	return files, eachFile(v.Path, func(rel string, in io.Reader) error {
		data, err := io.ReadAll(in)
		files[rel] = fileJSON(data)
		return err
	})
}

// fileJSON is a file as JSON: a text, or else base64.
func fileJSON(data []byte) any {
	if utf8.Valid(data) {
		return string(data)
	}
	return binary{&data}
}

// encode writes JSON with the members in order, so that equal values give equal bytes.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}
