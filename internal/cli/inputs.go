package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"longshore/internal/task"
)

// inputFlags are the flags that give values to a task.
type inputFlags struct {
	inputs  []string
	file    string
	inFile  map[string]task.Given // what file holds, once it was read
	body    string
	hasBody bool
	env     []string
	unbound []string
	memory  string
	cpus    string
	disk    string
	gpus    int
}

func (f *inputFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&f.inputs, "input", "i", nil, "an input: name=value, or name=@file-or-folder (@@ for a value that starts with @)")
	fs.StringVar(&f.file, "inputs", "", "a JSON file with an object of inputs; \"@path\" values are relative to it")
	fs.StringVarP(&f.body, "data", "d", "", "the request body: text, @file, or @- for standard input")
	fs.StringArrayVar(&f.env, "env", nil, "an environment variable: NAME=value")
	fs.StringArrayVar(&f.unbound, "unbound", nil, "a required input that is left out on purpose")
	fs.StringVar(&f.memory, "memory", "", "memory limit instead of the package's, such as 512Mi")
	fs.StringVar(&f.cpus, "cpus", "", "CPU limit instead of the package's, such as 1.5")
	fs.StringVar(&f.disk, "disk", "", "how much the container may write, such as 20Gi (default 5Gi)")
	fs.IntVar(&f.gpus, "gpus", 0, "number of GPUs instead of the package's")
}

// names are those of the inputs given. A file that cannot be read is told when its values are.
func (f *inputFlags) names() []string {
	inFile, _ := f.fromFile()
	names := slices.Collect(maps.Keys(inFile))
	for _, s := range f.inputs {
		name, _, _ := strings.Cut(s, "=")
		names = append(names, name)
	}
	return names
}

// fromFile returns the inputs of the file, which is read once: it may be a pipe.
func (f *inputFlags) fromFile() (map[string]task.Given, error) {
	if f.file == "" || f.inFile != nil {
		return f.inFile, nil
	}
	inFile := map[string]task.Given{}
	if err := readInputs(f.file, inFile); err != nil {
		return nil, err
	}
	f.inFile = inFile
	return inFile, nil
}

// request reads everything the flags name. words are what followed "--", nil without it.
func (f *inputFlags) request(in io.Reader, words []string) (task.Request, func(), error) {
	req := task.Request{Inputs: map[string]task.Given{}, Words: words, Unbound: f.unbound}
	usage := func(format string, args ...any) error {
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf(format, args...)}).WithHint("see the Examples in --help")
	}
	inFile, err := f.fromFile()
	if err != nil {
		return req, nil, err
	}
	maps.Copy(req.Inputs, inFile)
	for _, s := range f.inputs {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return req, nil, usage("-i %s is not name=value", s)
		}
		if _, twice := req.Inputs[name]; twice && f.file == "" {
			return req, nil, usage("the input %s is given twice", name)
		}
		req.Inputs[name] = given(value, "")
	}
	for _, s := range f.env {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return req, nil, usage("--env %s is not NAME=value", s)
		}
		req.Env = append(req.Env, task.EnvVar{Name: name, Value: value})
	}
	if err := f.resources(&req.Resources); err != nil {
		return req, nil, err
	}
	done := func() {}
	if f.hasBody {
		body, clean, err := readBody(f.body, in)
		if err != nil {
			return req, nil, err
		}
		req.Body, done = body, clean
	}
	return req, done, nil
}

func (f *inputFlags) resources(r *task.Resources) (err error) {
	usage := func(flag string, err error) error {
		return task.Errorf(task.CodeUsage, "--%s: %w", flag, err)
	}
	if f.memory != "" {
		if r.Memory, err = task.ParseBytes(f.memory); err != nil {
			return usage("memory", err)
		}
	}
	if f.cpus != "" {
		if r.CPU, err = task.ParseCPU(f.cpus); err != nil {
			return usage("cpus", err)
		}
	}
	if f.disk != "" {
		if r.Disk, err = task.ParseBytes(f.disk); err != nil {
			return usage("disk", err)
		}
	}
	r.GPUs = f.gpus
	return nil
}

// given reads the text of one input; dir is what "@path" is relative to.
func given(text, dir string) task.Given {
	switch {
	case strings.HasPrefix(text, "@@"):
		return task.GivenText(text[1:])
	case strings.HasPrefix(text, "@"):
		path := text[1:]
		if dir != "" && !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return task.Given{Path: path}
	}
	return task.GivenText(text)
}

func readInputs(name string, into map[string]task.Given) error {
	data, err := readDocument(name)
	if err != nil {
		return task.Errorf(task.CodeMissing, "cannot read the inputs: %w", err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		if _, wrong := errors.AsType[*json.UnmarshalTypeError](err); wrong {
			err = errors.New("it holds another kind of JSON value")
		}
		return task.Errorf(task.ReasonInput, "%s is not a JSON object of inputs: %w", name, err).WithHint(`write {"name": value, …}`)
	}
	for k, v := range object {
		var text string
		if json.Unmarshal(v, &text) == nil && strings.HasPrefix(text, "@") {
			into[k] = given(text, filepath.Dir(name))
			continue
		}
		into[k] = task.Given{JSON: v, Dir: filepath.Dir(name)}
	}
	return nil
}

// readBody reads "-d": text, "@file" or "@-". Standard input is kept in a temporary file, which the returned function removes.
func readBody(text string, in io.Reader) (*task.Body, func(), error) {
	nothing := func() {}
	switch {
	case strings.HasPrefix(text, "@@"):
		return &task.Body{Text: text[1:]}, nothing, nil
	case text == "@-":
		f, err := os.CreateTemp("", "longshore-body-")
		if err != nil {
			return nil, nil, err
		}
		clean := func() { os.Remove(f.Name()) }
		_, err = io.Copy(f, in)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			clean()
			return nil, nil, task.Errorf(task.ReasonInput, "cannot read the body from standard input: %w", err)
		}
		return &task.Body{Path: f.Name()}, clean, nil
	case strings.HasPrefix(text, "@"):
		st, err := os.Stat(text[1:])
		if err != nil {
			return nil, nil, task.Errorf(task.CodeMissing, "cannot read the body: %w", err)
		}
		if !st.Mode().IsRegular() {
			return nil, nil, task.Errorf(task.ReasonInput, "the body %s is not a regular file", text[1:])
		}
		return &task.Body{Path: text[1:]}, nothing, nil
	}
	return &task.Body{Text: text}, nothing, nil
}
