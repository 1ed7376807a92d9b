package kaapana

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Load reads a container folder, the document named, an image, or a task file.
func (Contract) Load(src contract.Source, opts contract.Options) (*task.Task, []task.Finding) {
	switch {
	case opts.Legacy:
		return loadLegacy(src, opts)
	case src.Image != nil:
		return loadImage(src.Image, opts)
	case src.FS == nil:
		return nil, nothingFound(src)
	}
	name := src.File
	found := filesIn(src.FS)
	if name == "" {
		switch {
		case len(found) > 0:
			name = found[0]
		case recogniseFile(src.FS, taskFileName).Certainty == contract.Certain:
			name = taskFileName
		default:
			return nil, nothingFound(src)
		}
	}
	data, err := contract.ReadText(src.FS, name)
	r := &reader{Report: contract.Report{File: name}, own: opts.Own}
	if err != nil {
		if st, lerr := fs.Lstat(src.FS, name); lerr == nil && st.Mode()&fs.ModeSymlink != 0 {
			r.Error(ruleFileKind, contract.At{}, "put the file itself there", "%s is a link that leads out of the package, or to no file.", name)
			return nil, r.Findings
		}
		mend := "put a regular file of at most 1 MiB there"
		if src.Archive != "" {
			mend = "make the archive anew, with a regular file of at most 1 MiB there"
		}
		r.Error(ruleFileKind, contract.At{}, mend, "%v", err)
		return nil, r.Findings
	}
	if len(data) > fileLimit {
		r.Error(ruleFileKind, contract.At{}, "make it smaller", "%s has %s, more than %s.", name, task.Bytes(len(data)), task.Bytes(fileLimit))
		return nil, r.Findings
	}
	n := r.parse(r.render(data, environmentOf(name, opts)))
	if n == nil {
		return nil, r.Findings
	}
	if isTaskFile(n) {
		return loadTask(r, n, src, opts)
	}
	t := r.task(n, opts.Variant, detail{File: name, Compat: compatOf(opts)})
	if r.build(t, src, name); opts.Image != "" {
		t.Image = task.ImageSource{Kind: task.ImageReference, Name: opts.Image}
	}
	if len(found) > 1 && src.File == "" {
		t.Notes = append(t.Notes, fmt.Sprintf("%s is read; %s is there too", found[0], found[1]))
	}
	return t, r.Findings
}

func nothingFound(src contract.Source) []task.Finding {
	r := contract.Report{}
	if src.FS == nil {
		r.Error(ruleFileMissing, contract.At{}, "name a folder, a document or an image", "There is nothing to read %s from.", fileName)
		return r.Findings
	}
	if names := containersIn(src.FS); len(names) > 0 {
		r.Error(ruleFileMissing, contract.At{}, "name one of them", "This workflow folder holds several containers: %s.", strings.Join(names, ", "))
		return r.Findings
	}
	r.Error(ruleFileMissing, contract.At{}, "add `COPY "+fileName+" /` to the Dockerfile and the file beside it",
		"No %s (looked at %s). A Kaapana image needs it at its root.", fileName, strings.Join(places[:], ", "))
	return r.Findings
}

// loadImage reads the file that the image carries.
func loadImage(img contract.ImageFiles, opts contract.Options) (*task.Task, []task.Finding) {
	r := &reader{Report: contract.Report{File: inImage}}
	n := r.fromImage(img)
	if n == nil {
		return nil, r.Findings
	}
	t := r.task(n, opts.Variant, detail{Compat: compatOf(opts)})
	t.Image = task.ImageSource{Kind: task.ImageReference, Name: img.Facts().Reference}
	r.checkTemplate(t, img)
	return t, r.Findings
}

// fromImage reads and parses the image's file, which is never rendered.
func (r *reader) fromImage(img contract.ImageFiles) *contract.Node {
	data, err := img.ReadFile(inImage, fileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		r.Error(ruleFileMissing, contract.At{}, "add `COPY "+fileName+" /` to the Dockerfile",
			"No %s (looked at %s). A Kaapana image needs it at its root.", fileName, inImage)
		return nil
	}
	if err != nil {
		r.Error(ruleFileKind, contract.At{}, "make it a regular file of at most 1 MiB", "%s in the image is not usable: %v.", inImage, err)
		return nil
	}
	r.warnOfJinja(data)
	return r.parse(data)
}

// task turns a parsed processing-container into a task without its image. It is nil only if no use is described.
func (r *reader) task(n *contract.Node, variant string, d detail) *task.Task {
	doc := r.container(n)
	t := &task.Task{
		Contract: Name, Name: doc.Name, Description: doc.Description, Dialect: r.dialectWords(), Exchange: task.Files,
		Parameters: []task.Parameter{},
	}
	for _, u := range doc.Templates {
		t.Variants = append(t.Variants, task.Variant{Name: u.Identifier, Description: u.Description})
	}
	chosen := r.choose(doc, variant, n)
	if chosen == nil {
		// Which inputs there are is known only with the template, so that Prepare can ask for it.
		t.FreeInputs, t.FreeEnv = true, true
		t.Detail = d.encode()
		return t
	}
	d.Template = chosen
	chosen.fill(t, d.Compat)
	t.Detail = d.encode()
	return t
}

// choose picks the template; without a wish, the only one.
func (r *reader) choose(doc *document, variant string, n *contract.Node) *template {
	if variant == "" {
		if len(doc.Templates) == 1 {
			return &doc.Templates[0]
		}
		return nil
	}
	var ids []string
	for i := range doc.Templates {
		if doc.Templates[i].Identifier == variant {
			return &doc.Templates[i]
		}
		ids = append(ids, doc.Templates[i].Identifier)
	}
	mend := "choose one of them"
	if near := contract.Nearest(variant, ids); near != "" {
		mend = fmt.Sprintf("did you mean `%s`?", near)
	}
	at := n.Pos()
	if ts := n.Get("templates"); ts != nil {
		at = ts.Pos()
	}
	r.Error(ruleTemplateUnknown, at, mend, "Template `%s` not found in %s. It has %s.", variant, r.File, listed(ids))
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// fill writes one use into the task, as compat reads it.
func (u *template) fill(t *task.Task, compat string) {
	t.Variant = u.Identifier
	if u.Description != "" {
		t.Description = u.Description
	}
	t.Resources = u.Resources
	for _, c := range u.Inputs {
		if c.Rule != nil {
			t.Notes = append(t.Notes, fmt.Sprintf("scale rule on input %s: %s, as %s of memory", c.Name, c.Rule.describe(), c.Rule.Type))
		}
	}
	t.Parameters = u.parameters()
	if compat != "" {
		loosen(t.Parameters, u)
	}
	t.FreeInputs, t.FreeEnv = false, false
}

// parameters are the use's channels and variables. A name that a channel and a variable share is refused as ambiguous, so
// both are called by their aliases then.
func (u *template) parameters() []task.Parameter {
	ps := []task.Parameter{}
	channels, variables := map[string]bool{}, map[string]bool{}
	for _, c := range u.Inputs {
		channels[c.Name] = true
	}
	for _, v := range u.Env {
		variables[v.Name] = true
	}
	for _, c := range u.Inputs {
		p := task.Parameter{
			Name: c.Name, Direction: task.Input, Aliases: []string{inputAlias(c.Name)}, Description: c.Description,
			Type: task.Type{Kind: task.Directory}, Place: task.Place{Kind: task.PlaceFolder, Path: c.Path},
		}
		if variables[c.Name] {
			p.Name, p.Aliases = inputAlias(c.Name), nil
		}
		ps = append(ps, p)
	}
	for _, v := range u.Env {
		p := v.parameter()
		if channels[v.Name] {
			p.Name, p.Aliases = envAlias(v.Name), nil
		}
		ps = append(ps, p)
	}
	for _, c := range u.Outputs {
		ps = append(ps, task.Parameter{
			Name: c.Name, Direction: task.Output, Aliases: []string{"output." + c.Name}, Description: c.Description,
			Type: task.Type{Kind: task.Directory}, Place: task.Place{Kind: task.PlaceFolder, Path: c.Path},
		})
	}
	return ps
}

// dialectWords says which dialects the document is written in.
func (r *reader) dialectWords() string {
	if len(r.dialects) == 0 {
		return "today"
	}
	return "older elements: " + strings.Join(r.dialects, ", ")
}
