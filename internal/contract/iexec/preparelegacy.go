package iexec

import (
	"archive/zip"
	"cmp"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

func prepareLegacy(x *task.Execution, p plan, img task.ImageFacts, v task.Values) error {
	m := task.Mount{Name: mountV2, Target: folderV2, Links: task.LinksKeptInside}
	files, note, err := legacyInput(p, v)
	if err != nil {
		return err
	}
	m.Files = files
	if note != "" {
		x.Notes = append(x.Notes, note)
	}
	if d := v.Inputs[paramDataset]; d.Path != "" || d.Text != "" {
		f := task.File{Path: filepath.Base(d.Path), Source: d.Path, URL: d.Text}
		if r, ok := laterURL(d.Text); ok {
			f.Path = cmp.Or(r.Name, "dataset")
		}
		if slices.ContainsFunc(files, func(o task.File) bool { return o.Path == f.Path }) {
			return task.Errorf(task.ReasonInput, "the input and the dataset are both named %s in %s", f.Path, folderV2)
		}
		m.Files = append(m.Files, f)
	}
	if namesHost(x.Process.Args) {
		m.AlsoAt = []string{"/host"}
		x.Notes = append(x.Notes, "the command line names /host: it shows the same folder as /iexec")
	}
	x.Mounts = []task.Mount{m}
	workdir := img.WorkingDir
	if workdir == "" {
		workdir = "/"
	}
	for _, f := range cmdlineFindings(x.Process.Args, workdir) {
		if f.rule == ruleRelativePath || v.Given[paramArgs] {
			x.Warnings = append(x.Warnings, f.what)
		}
	}
	x.Process.Env = legacyEnv(x, p, v)
	return nil
}

// legacyEnv merges the request's variables, the caller's, and the app's, which win.
func legacyEnv(x *task.Execution, p plan, v task.Values) []task.EnvVar {
	var env []task.EnvVar
	index := map[string]int{}
	set := func(e task.EnvVar) (changed bool) {
		i, ok := index[e.Name]
		if !ok {
			index[e.Name] = len(env)
			env = append(env, e)
			return false
		}
		changed = env[i].Value != e.Value
		env[i] = e
		return changed
	}
	for _, e := range append(slices.Clone(p.RequestEnv), v.Env...) {
		set(e)
	}
	for _, e := range p.AppEnv {
		if set(e) {
			x.Warnings = append(x.Warnings, fmt.Sprintf("variable %s keeps the value %q that the app declares", e.Name, e.Value))
		}
	}
	return env
}

// legacyInput stages the one input: what the caller gave under the file name that the manifest's URL has, else the URL.
func legacyInput(p plan, v task.Values) (files []task.File, note string, err error) {
	given, name := v.Inputs[paramInput].Path, ""
	if address := v.Inputs[paramInput].Text; address != "" {
		r, ok := laterURL(address)
		if !ok || r.Name == "" {
			return nil, "", task.Errorf(task.ReasonInput, "the input %q has no file name", shorten(address)).WithHint("give the URL of one file")
		}
		if r.Name == recipeFile {
			return nil, "", dockerfileError()
		}
		p.Inputs = []remote{r}
	}
	if len(p.Inputs) > 0 {
		name = p.Inputs[0].Name
	}
	switch {
	case given != "":
		return legacyFile(given, name)
	case len(p.Inputs) == 0:
		return nil, "", nil
	}
	in := p.Inputs[0]
	u, err := url.Parse(in.URL)
	if err != nil {
		return nil, "", task.Errorf(task.ReasonInput, "%q is not a URL", shorten(in.URL))
	}
	if problem := schemeProblem(u.Scheme, p.Own); problem != "" {
		return nil, "", task.Errorf(task.ReasonInput, "%s", problem).WithHint("give a file with -i %s=@FILE", paramInput)
	}
	if strings.EqualFold(u.Scheme, "file") {
		return legacyFile(u.Path, in.Name)
	}
	return []task.File{{Path: in.Name, URL: in.URL, UnpackZip: true, Refuse: []string{recipeFile}}}, fmt.Sprintf("input: %s, as %s (or unpacked, if it is a zip archive)", in.URL, path.Join(folderV2, in.Name)), nil
}

func legacyFile(given, name string) ([]task.File, string, error) {
	st, err := os.Stat(given)
	if err != nil {
		return nil, "", task.Errorf(task.ReasonInput, "the input cannot be read: %w", err)
	}
	if st.IsDir() {
		return legacyFolder(given)
	}
	if name == "" {
		name = filepath.Base(given)
	}
	archive, err := zip.OpenReader(given)
	if err == nil {
		defer archive.Close()
		if problems := archiveProblems(filepath.Base(given), &archive.Reader); len(problems) > 0 {
			return nil, "", &task.Error{Code: task.ReasonInput, Message: problems[0].What, Hint: problems[0].Mend, Findings: problems}
		}
		return []task.File{{Path: name, Source: given, UnpackZip: true}}, fmt.Sprintf("input: %s is a zip archive and is unpacked into %s", filepath.Base(given), folderV2), nil
	}
	if name == recipeFile {
		return nil, "", dockerfileError()
	}
	note := fmt.Sprintf("input: %s, as %s", filepath.Base(given), path.Join(folderV2, name))
	if strings.EqualFold(filepath.Ext(given), ".zip") {
		note += fmt.Sprintf("; it is not unpacked, as it is no zip archive that can be read: %v", err)
	}
	return []task.File{{Path: name, Source: given}}, note, nil
}

// legacyFolder stages the content of a folder.
func legacyFolder(given string) ([]task.File, string, error) {
	entries, err := os.ReadDir(given)
	if err != nil {
		return nil, "", task.Errorf(task.ReasonInput, "the input folder cannot be read: %w", err)
	}
	var files []task.File
	for _, e := range entries {
		if e.Name() == "Dockerfile" {
			return nil, "", dockerfileError()
		}
		if !e.IsDir() && !e.Type().IsRegular() {
			return nil, "", task.Errorf(task.ReasonInput, "input folder: %s is a %s, only files and folders can be given", e.Name(), contract.KindOf(e.Type()))
		}
		files = append(files, task.File{Path: e.Name(), Source: filepath.Join(given, e.Name())})
	}
	return files, "input: the content of the folder that was given, in " + folderV2, nil
}

// recipeFile may not be among the inputs: workers take it for an image to build, and fail.
const recipeFile = "Dockerfile"

func dockerfileError() error {
	return task.Errorf(task.ReasonInput, "Dockerfile is not supported in the input directory").WithHint("give the file another name")
}

// Limits of input archives.
const (
	maxArchiveEntries = 100_000
	maxArchiveBytes   = 64 << 30
	maxArchiveRatio   = 1000     // unpacked to packed
	ratioCountsFrom   = 64 << 20 // unpacked bytes; small archives may be packed well
)

// archiveProblems lists the entries of an input archive that are refused.
func archiveProblems(name string, z *zip.Reader) []task.Finding {
	r := newReport(name)
	refuse := func(entry, why string) {
		r.add(ruleArchive, contract.At{}, "pack the archive again without it", "refusing entry %s of %s: %s", shorten(entry), name, why)
	}
	if len(z.File) > maxArchiveEntries {
		refuse(z.File[maxArchiveEntries].Name, fmt.Sprintf("there are %d entries, more than %d", len(z.File), maxArchiveEntries))
		return r.Findings
	}
	var unpacked, packed uint64
	for _, f := range z.File {
		clean := path.Clean(strings.ReplaceAll(f.Name, `\`, "/"))
		switch mode := f.Mode(); {
		case f.Name == "" || path.IsAbs(clean) || len(clean) > 1 && clean[1] == ':':
			refuse(f.Name, "its path is absolute")
		case clean == ".." || strings.HasPrefix(clean, "../") || slices.Contains(strings.Split(strings.ReplaceAll(f.Name, `\`, "/"), "/"), ".."):
			refuse(f.Name, `its path holds ".."`)
		case mode&os.ModeSymlink != 0:
			refuse(f.Name, "it is a symbolic link")
		case !mode.IsRegular() && !mode.IsDir():
			refuse(f.Name, "it is a "+contract.KindOf(mode))
		case clean == "Dockerfile" && !mode.IsDir():
			r.add(ruleDockerfile, contract.At{}, "give the file another name", "Dockerfile is not supported in the input directory")
		}
		packed += min(f.CompressedSize64, maxArchiveBytes)
		if unpacked += min(f.UncompressedSize64, maxArchiveBytes+1); unpacked > maxArchiveBytes {
			refuse(f.Name, fmt.Sprintf("the archive holds more than %s", task.Bytes(maxArchiveBytes)))
			break
		}
	}
	if unpacked > ratioCountsFrom && unpacked/maxArchiveRatio > packed {
		refuse(z.File[0].Name, fmt.Sprintf("the archive unpacks to more than %d times its size", maxArchiveRatio))
	}
	return r.Findings
}
