package cytomine

import (
	"archive/zip"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// loader reads one package.
type loader struct {
	*pack
	// document reports about the descriptor, image about everything around it.
	document, image report
	notes           []string
	dialect         string
	source          task.ImageSource
	// given is the image to use in place of the package's own.
	given string
	// compat is Options.Compat.
	compat string
	// refused tells that entries of the bundle were refused, which is reported: what is missing may be among them.
	refused bool
}

// Load reads a folder or a bundle. Findings about entries of the bundle come first; those about the descriptor and those about
// the image follow in the order in which the faults lie in the archive, as the first one names the error of an upload.
func (Contract) Load(src contract.Source, opts contract.Options) (*task.Task, []task.Finding) {
	l := &loader{given: opts.Image, compat: opts.Compat, document: report{legacy: opts.Legacy}}
	entries := report{}
	p, ok := openPack(src, &entries)
	if !ok {
		return nil, entries.Findings
	}
	defer p.close()
	l.pack = p
	l.refused = task.HasErrors(entries.Findings)
	d := l.descriptor()
	if d == nil {
		return nil, append(entries.Findings, l.document.Findings...)
	}
	l.findImage(d)
	findings := entries.Findings
	if l.zip != nil && l.tarBeforeDescriptor() {
		findings = append(append(findings, l.image.Findings...), l.document.Findings...)
	} else {
		findings = append(append(findings, l.document.Findings...), l.image.Findings...)
	}
	return l.task(d), findings
}

// unusable says why a file of a folder that is there is not taken; "" when there is none of these names.
func (l *loader) unusable(names ...string) string {
	if l.zip != nil {
		return ""
	}
	for _, name := range names {
		if !fs.ValidPath(name) {
			continue
		}
		if err := contract.LostLink(l.src.FS, name); err != nil {
			return err.Error()
		}
		if st, err := fs.Stat(l.src.FS, name); err == nil && !st.Mode().IsRegular() {
			return fmt.Sprintf("%s is a %s, not a file", name, contract.KindOf(st.Mode()))
		}
	}
	return ""
}

// descriptor finds and reads the descriptor, nil when there is nothing to describe.
func (l *loader) descriptor() *descriptor {
	found := l.descriptors()
	if len(found) == 0 && l.refused {
		return nil
	}
	if len(found) == 0 {
		f := l.document.found(ruleNoDescriptor, contract.At{}, "add descriptor.yml", "descriptor is not found in the default location")
		f.Why = cmp.Or(l.unusable("descriptor.yml", "descriptor.yaml"), "descriptor.yml or descriptor.yaml lies at the root")
		if in := l.misplaced(); len(in) > 0 {
			what, do := "there is one at "+printable(in[0]), "name that folder"
			if len(in) > 1 {
				what, do = fmt.Sprintf("there are %d, the first at %s", len(in), printable(in[0])), "name the folder of one"
			}
			if l.zip != nil {
				do = "zip the files, not the folder"
			}
			f.Mend = what + ": " + do
		}
		return nil
	}
	if len(found) > 1 {
		l.document.File = found[1].name
		l.document.found(ruleTwo, contract.At{}, "keep one of them", "two descriptors in the bundle").Why = fmt.Sprintf("%s and %s", printable(found[0].name), printable(found[1].name))
	}
	l.document.File = found[0].name
	data, err := l.read(found[0])
	if err != nil {
		l.document.found(ruleSyntax, contract.At{}, "make it anew", "the descriptor cannot be read: %v", err)
		return nil
	}
	return readDescriptor(data, &l.document)
}

// findImage settles where the image comes from.
func (l *loader) findImage(d *descriptor) {
	l.source.Name = imageName(d.namespace, d.version)
	if d.namespace == "" || d.version == "" {
		l.source.Name = imageName("cytomine.task", "0.0.0") // for showing only: the descriptor has errors
	} else if want := imageTag(d.namespace, d.version); l.source.Name != want {
		l.notes = append(l.notes, fmt.Sprintf("image name: %s, because %s is no valid image name", l.source.Name, want))
	}
	if l.given != "" {
		l.source = task.ImageSource{Kind: task.ImageReference, Name: l.given}
		l.notes = append(l.notes, "image: "+l.given+", as asked")
		return
	}
	choice := l.chooseImage(d)
	if recipe, ok := l.dockerfile(); ok {
		l.build(recipe, choice)
		return
	}
	schemaFault := task.HasErrors(l.document.Findings)
	switch {
	case !choice.found || choice.undeclared && schemaFault && l.zip != nil:
		l.noImage(d, choice)
		return
	case choice.undeclared:
		f := l.image.found(ruleOtherImage, d.imageFileAt, "mend the path, or rename the archive", "configuration.image.file: there is no %s; the image is %s", quote(d.imageFile), quote(choice.entry.name))
		f.File = l.document.File
	}
	l.archive(d, choice)
}

// noImage reports that no archive can be the image.
func (l *loader) noImage(d *descriptor, c imageChoice) {
	if l.refused {
		return
	}
	f := l.image.found(ruleNoImage, d.imageFileAt, "add the output of docker save as image.tar", "image not found in configured place in descriptor and not in the root directory")
	switch lost := l.unusable(d.imageFile, fmt.Sprintf("%s-%s.tar", d.namespace, d.version), seedArchive, path.Join(path.Dir(l.document.File), "Dockerfile")); {
	case lost != "":
		f.Why = lost
	case len(c.rivals) > 1:
		f.Why = "several archives could be it: " + printable(strings.Join(c.rivals, ", "))
		f.Mend = "name one in configuration.image.file"
	case d.imageFile != "":
		f.Why = fmt.Sprintf("configuration.image.file names %s, which is not there", quote(d.imageFile))
	}
	if packed := l.elsewhere(isPackedTar); len(packed) > 0 && len(c.rivals) == 0 {
		f.Mend = fmt.Sprintf("if %s is the image, name it in configuration.image.file", printable(packed[0]))
	}
	if d.imageFile != "" {
		f.File = l.document.File
	}
	if l.zip == nil {
		f.Mend += ", or a Dockerfile to build it from"
		if recipes := l.elsewhere(isRecipe); len(recipes) > 0 {
			f.Mend = fmt.Sprintf("there is %s: move it beside the descriptor, as Dockerfile, with what it copies", printable(recipes[0]))
		}
		f.Mend += "; of an image that is built already `longshore bundle --image NAME` makes a bundle"
	}
}

// isPackedTar tells the name of a compressed tar.
func isPackedTar(name string) bool {
	n := strings.ToLower(name)
	return strings.HasSuffix(n, ".tgz") || strings.HasSuffix(n, ".tar.gz")
}

// isRecipe tells what authors call Dockerfiles.
func isRecipe(name string) bool {
	n := strings.ToLower(name)
	return n == "dockerfile" || strings.HasPrefix(n, "dockerfile.") || strings.HasSuffix(n, ".dockerfile")
}

// dockerfile returns the folder's Dockerfile.
func (l *loader) dockerfile() (entry, bool) {
	if l.zip != nil || l.src.Dir == "" {
		return entry{}, false
	}
	dir := ""
	entries := l.entries
	if l.src.File != "" && path.Dir(l.src.File) != "." {
		dir = path.Dir(l.src.File) + "/"
		entries = l.below(path.Dir(l.src.File))
	}
	exact, folded := match(entries, dir+"Dockerfile")
	switch {
	case exact != nil:
		return *exact, true
	case len(folded) > 0:
		return folded[0], true
	}
	return entry{}, false
}

// build takes the image from the folder's Dockerfile.
func (l *loader) build(recipe entry, c imageChoice) {
	l.dialect = "task folder with Dockerfile"
	l.source.Kind = task.ImageBuild
	l.source.Context = filepath.Join(l.src.Dir, filepath.FromSlash(path.Dir(recipe.name)))
	l.source.Dockerfile = path.Base(recipe.name)
	l.notes = append(l.notes, "image: built from "+recipe.name)
	if c.found {
		l.notes = append(l.notes, fmt.Sprintf("%s lies beside the Dockerfile and is not used; bundle it to run it", printable(c.entry.name)))
	}
	r := report{}
	r.File = recipe.name
	data, err := l.read(recipe)
	var parsed *contract.Recipe
	if err == nil {
		parsed, err = contract.ParseRecipe(data)
	}
	if err != nil {
		r.Syntax(ruleRecipe, "Dockerfile", err)
	} else if context, err := fs.Sub(l.src.FS, path.Dir(recipe.name)); err == nil {
		r.Sources(ruleSource, ruleOf(ruleSource).Severity, parsed, context, path.Base(recipe.name))
	}
	l.image.Findings = append(l.image.Findings, r.Findings...)
}

// archive takes the image from an archive, looking into it where that is cheap.
func (l *loader) archive(d *descriptor, c imageChoice) {
	l.source.Kind = task.ImageArchive
	if l.zip != nil {
		l.source.Archive, l.source.Entry = l.src.Archive, c.entry.name
	} else {
		l.source.Archive = filepath.Join(l.src.Dir, filepath.FromSlash(c.entry.name))
	}
	l.dialect = "task folder with image archive"
	if l.zip != nil {
		l.dialect = "bundle"
	}
	today := fmt.Sprintf("%s-%s.tar", d.namespace, d.version)
	switch {
	case strings.EqualFold(c.entry.name, today):
		l.dialect += ", today's names"
	case strings.EqualFold(c.entry.name, seedArchive):
		l.dialect += ", seed era (0.1.0)"
	}
	l.notes = append(l.notes, c.words(d))
	if d.namespace != "" && d.version != "" && !strings.EqualFold(c.entry.name, today) {
		l.unportable(c.entry.name, "takes the image's name from that of the file", "name it "+today)
	}
	l.order(c)
	a, err := l.scan(c.entry)
	if errors.Is(err, errSkip) {
		l.notes = append(l.notes, fmt.Sprintf("%s is large (%s): it is looked into when it is loaded", printable(c.entry.name), task.Bytes(c.entry.size)))
		return
	}
	broken := ""
	if err != nil {
		broken = fmt.Sprintf("%s: %v", msgUnknownTar, err)
	} else {
		broken = a.problem()
	}
	if broken != "" {
		f := l.image.found(ruleArchive, contract.At{}, "write it anew with docker save", "%s: %s", printable(c.entry.name), broken)
		f.File = c.entry.name
		if broken == msgNoManifest {
			f.Why = "it holds neither manifest.json nor index.json; the output of docker export, for one, is no image"
		}
		return
	}
	if does := a.unportable(); does != "" {
		l.unportable(c.entry.name, does, "build with --provenance=false --sbom=false, tag the image, and docker save it; or let `longshore bundle` write the bundle")
	}
	l.tags(a.tags(), d, c.entry.name)
}

// unportable warns of an entry that today's App Engine stumbles over.
func (l *loader) unportable(entry, does, mend string) {
	l.image.found(rulePortable, contract.At{}, mend, "%s: works in Longshore; today's App Engine %s", printable(entry), does).File = entry
}

// order warns of what only readers of the whole archive can take: today's App Engine reads a bundle as a stream.
func (l *loader) order(c imageChoice) {
	if l.zip == nil {
		return
	}
	const mend = "let `longshore bundle` write the bundle"
	if l.tarBeforeDescriptor() {
		l.unportable(c.entry.name, "reads a bundle from its beginning, and wants descriptor.yml first", mend)
	}
	if n := l.archives(); n > 1 {
		l.unportable(c.entry.name, fmt.Sprintf("takes every one of the bundle's %d tars, and the last one wins", n), "leave the others out")
	}
	for _, e := range l.entries {
		if e.zipped.Method == zip.Store && e.zipped.Flags&sizeAfter != 0 {
			l.unportable(e.name, "cannot read a stored entry whose size stands behind it", "deflate it, or "+mend)
		}
	}
}

func (l *loader) tags(tags []string, d *descriptor, file string) {
	want := imageTag(d.namespace, d.version)
	if d.namespace == "" || d.version == "" || slices.ContainsFunc(tags, func(t string) bool { return t == want || t == "docker.io/"+want }) {
		return
	}
	shown := "with nothing"
	if len(tags) > 0 {
		shown = printable(strings.Join(tags, ", "))
	}
	l.image.found(ruleTag, contract.At{}, "docker tag it before docker save; Longshore takes the name from the descriptor", "image is tagged %s; the task page asks for %s", shown, want).File = file
}

// task makes the task of what could be read.
func (l *loader) task(d *descriptor) *task.Task {
	t := &task.Task{
		Contract: Contract{}.Name(), Dialect: l.dialect, Name: d.name, Version: d.version, Description: d.description,
		Image: l.source, Parameters: d.parameters, Resources: d.resources, Exchange: task.Files, Network: d.network,
		Labels: map[string]string{"namespace": d.namespace, "name_short": d.nameShort}, Notes: l.notes,
		Wording: wording(),
	}
	if t.Name == "" {
		t.Name = d.namespace
	}
	t.FreeInputs = slices.ContainsFunc(t.Inputs(), func(p task.Parameter) bool { return takesSides(p.Type) })
	if l.compat != "" {
		t.Notes = append(t.Notes, "values are read as today's App Engine reads them, as asked with --compat "+l.compat)
	}
	if !d.memoryGiven {
		t.Notes = append(t.Notes, "memory: 4 GiB, the App Engine's default; a limit, not reserved")
	}
	if !d.network {
		t.Notes = append(t.Notes, "network: none, as the descriptor does not say internet: true; today's App Engine leaves it open")
	}
	t.Detail, _ = json.Marshal(detail{InputFolder: d.inputFolder, OutputFolder: d.outputFolder, Compat: l.compat, Extras: d.extras}) // plain data always encodes
	return t
}

// CheckImage looks whether there is anything to start: a task runs its image's own entrypoint or command (Cytomine seed, "Task
// implementation").
func (Contract) CheckImage(t *task.Task, _ contract.Source, img contract.ImageFiles) (*task.Task, []task.Finding) {
	facts := img.Facts()
	if len(facts.Entrypoint) > 0 || len(facts.Cmd) > 0 {
		return t, nil
	}
	r := report{}
	r.found(ruleNoCommand, contract.At{}, "add ENTRYPOINT or CMD to the Dockerfile", "the image has no entrypoint and no command").Why = "a task starts its image's own"
	return t, r.Findings
}
