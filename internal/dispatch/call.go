package dispatch

import (
	"archive/zip"
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"longshore/internal/task"
)

// bodyInputs reads the body of a call as the inputs of a task without HTTP: a JSON object names them; any other body is the
// content of the only required input.
func bodyInputs(t *task.Task, b task.Body) map[string]task.Given {
	data := []byte(b.Text)
	if b.Path != "" {
		if st, err := os.Stat(b.Path); err == nil && st.Size() <= maxInlineBody {
			data, _ = os.ReadFile(b.Path) // unreadable: it is then reported as the input's file
		}
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) == nil && object != nil {
		given := map[string]task.Given{}
		for k, v := range object {
			given[k] = task.Given{JSON: v}
		}
		return given
	}
	if len(data) == 0 && b.Path == "" {
		return nil
	}
	var only *task.Parameter
	inputs := t.Inputs()
	for i, p := range inputs {
		if p.Optional || p.Default != nil {
			continue
		}
		if only != nil {
			return map[string]task.Given{"(body)": task.GivenText(string(data))} // reported as an unknown input
		}
		only = &inputs[i]
	}
	if only == nil && len(inputs) == 1 {
		only = &inputs[0]
	}
	switch {
	case only == nil:
		return map[string]task.Given{"(body)": task.GivenText(string(data))}
	case b.Path != "":
		return map[string]task.Given{only.Name: {Path: b.Path}}
	}
	return map[string]task.Given{only.Name: task.GivenText(string(data))}
}

// maxInlineBody bounds a body that is looked at as JSON: 64 MiB.
const maxInlineBody = 64 << 20

// WriteResponse writes the outputs of a succeeded run as the response of a call: the content of the only output (a folder
// as a zip archive), or else a JSON object of all of them, in which files are {"base64": …}. dir holds the outputs by name.
func WriteResponse(w io.Writer, res *task.Result, dir string) error {
	if len(res.Outputs) == 1 {
		return writeOutput(w, filepath.Join(dir, res.Outputs[0].Path))
	}
	object := map[string]any{}
	for _, o := range res.Outputs {
		if !o.Type.OnDisk() {
			object[o.Name] = o.Value
			continue
		}
		var encoded encoder
		b := base64.NewEncoder(base64.StdEncoding, &encoded)
		if err := writeOutput(b, filepath.Join(dir, o.Path)); err != nil {
			return err
		}
		if err := b.Close(); err != nil {
			return err
		}
		object[o.Name] = map[string]any{"base64": string(encoded), "size": o.Size, "sha256": o.SHA256}
	}
	return json.NewEncoder(w).Encode(object)
}

// encoder collects what is written to it.
type encoder []byte

func (e *encoder) Write(p []byte) (int, error) {
	*e = append(*e, p...)
	return len(p), nil
}

func writeOutput(w io.Writer, path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	}
	z := zip.NewWriter(w)
	err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(path, p)
		if err != nil {
			return err
		}
		to, err := z.Create(filepath.ToSlash(rel)) // without a time, so that equal outputs give equal archives
		if err != nil {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(to, f)
		return err
	})
	if err != nil {
		return err
	}
	return z.Close()
}
