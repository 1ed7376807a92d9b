package kaapana

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"longshore/internal/contract"
	"longshore/internal/task"
)

const (
	dockerfile = "Dockerfile"
	// localOnly starts the names of Kaapana's own base images.
	localOnly = "local-only/"
)

// label finds the lines that Kaapana's own build tools read.
var label = regexp.MustCompile(`(?m)^LABEL (IMAGE|VERSION)=(?:"([^"\n]*)"|'([^'\n]*)'|(\S+))`)

// build fills in where the task's image comes from: the Dockerfile of the container folder.
func (r *reader) build(t *task.Task, src contract.Source, name string) {
	fsys, dir := src.FS, src.Dir
	if _, err := fs.Stat(fsys, dockerfile); err != nil && dir != "" && name == fileName && filepath.Base(dir) == "files" {
		// The file itself was named, and its folder is the files/ of a container folder.
		if _, err := os.Stat(filepath.Join(filepath.Dir(dir), dockerfile)); err == nil {
			dir = filepath.Dir(dir)
			fsys = os.DirFS(dir)
			name = path.Join("files", name)
		}
	}
	data, err := r.source(t, src, fsys, dir)
	if err != nil {
		f := r.Add(task.SeverityNote, ruleNoDockerfile, contract.At{}, "There is no Dockerfile beside it: the package can be read, not built.")
		f.Mend = "add a Dockerfile with `COPY " + name + " " + inImage + "`, or name an image"
		return
	}
	r.recipe(t, fsys, data, name)
}

// source names the image after the Dockerfile's labels, else after the folder, and returns the Dockerfile's text. An error
// means that there is none.
func (r *reader) source(t *task.Task, src contract.Source, fsys fs.FS, dir string) ([]byte, error) {
	t.Image = task.ImageSource{Kind: task.ImageBuild, Name: imageName(folderName(src), ""), Context: dir, Dockerfile: dockerfile, LocalBases: []string{localOnly}}
	data, err := contract.ReadText(fsys, dockerfile)
	if err != nil {
		return nil, err
	}
	image, version := labels(data)
	if image == "" {
		image = folderName(src)
	}
	t.Version = version
	t.Image.Name = imageName(image, version)
	return data, nil
}

func labels(dockerfile []byte) (image, version string) {
	for _, m := range label.FindAllSubmatch(dockerfile, -1) {
		value := string(bytes.Join(m[2:], nil))
		if string(m[1]) == "IMAGE" {
			image = value
		} else {
			version = value
		}
	}
	return image, version
}

var notInName = regexp.MustCompile(`[^a-z0-9._/-]+`)

// imageName makes a valid reference of the names that a Dockerfile's labels or a folder give.
func imageName(name, version string) string {
	if version == "" || !validReference("x:"+version) {
		version = "latest"
	}
	if full := name + ":" + version; validReference(full) && name == strings.ToLower(name) {
		return full
	}
	clean := strings.Trim(notInName.ReplaceAllString(strings.ToLower(name), "-"), "._/-")
	if full := clean + ":" + version; validReference(full) {
		return full
	}
	return "processing-container:" + version
}

func validReference(s string) bool {
	_, err := reference.ParseNormalizedNamed(s)
	return err == nil
}

// recipe looks at the Dockerfile without building it.
func (r *reader) recipe(t *task.Task, fsys fs.FS, data []byte, name string) {
	recipe := r.parseRecipe(data)
	if recipe == nil {
		return
	}
	noteLocalBase(t, recipe)
	d := contract.Report{File: dockerfile}
	d.Sources(ruleSource, task.SeverityWarning, recipe, fsys, dockerfile)
	r.Findings = append(r.Findings, d.Findings...)
	last := recipe.Final()
	if d, err := detailOf(t); err == nil && last != nil && len(last.Entrypoint) > 0 && d.Template != nil && len(d.Template.Command) > 0 {
		r.commandAndEntrypoint(dockerfile, contract.At{Line: last.Line})
	}
	if last != nil && !slices.ContainsFunc(recipe.Stages, func(s contract.RecipeStage) bool { return brings(s, name) }) {
		d := contract.Report{File: dockerfile}
		d.Warn(ruleFileNotCopied, contract.At{Line: last.Line}, "add `COPY "+name+" "+inImage+"` to the last stage", "No COPY puts %s at %s.", name, inImage)
		r.Findings = append(r.Findings, d.Findings...)
	}
}

// parseRecipe parses the Dockerfile; nil when it cannot be, which is reported.
func (r *reader) parseRecipe(data []byte) *contract.Recipe {
	recipe, err := contract.ParseRecipe(data)
	if err == nil {
		return recipe
	}
	d := contract.Report{File: dockerfile}
	d.Syntax(ruleDockerfile, "Dockerfile", err)
	r.Findings = append(r.Findings, d.Findings...)
	return nil
}

// noteLocalBase tells that a base image is one of Kaapana's own, which are built beforehand and in no registry.
func noteLocalBase(t *task.Task, recipe *contract.Recipe) {
	if last := recipe.Final(); last != nil && strings.HasPrefix(last.Base, localOnly) {
		t.Notes = append(t.Notes, "image: built from "+last.Base+", which must be in the local store: it is in no registry")
	}
}

// brings tells whether a stage may put the file at the root. Variables, copies between stages, archives, and commands that name
// the file or the root count as "may": what came of them is seen in the image.
func brings(s contract.RecipeStage, name string) bool {
	return slices.ContainsFunc(s.Copies, func(c contract.RecipeCopy) bool { return copies(c, name) }) || slices.ContainsFunc(s.Runs, func(run string) bool {
		return strings.Contains(run, fileName) || slices.ContainsFunc(strings.Fields(run), func(word string) bool { return word == "/" || word == "/;" || word == "/." })
	})
}

func copies(c contract.RecipeCopy, name string) bool {
	if c.From != "" || strings.Contains(c.Dest, "$") {
		return true
	}
	dest := c.Dest
	if !path.IsAbs(dest) {
		dest = path.Join("/", c.Workdir, dest) + "/"
	}
	if len(c.Sources) == 0 { // a here-document
		return path.Clean(dest) == inImage || path.Clean(dest) == "/"
	}
	return slices.ContainsFunc(c.Sources, func(src string) bool {
		return strings.Contains(src, "$") || c.Add && strings.Contains(path.Base(src), ".t") || lands(src, dest, name)
	})
}

// lands tells whether copying src to dest puts the file name at the root of the image.
func lands(src, dest, name string) bool {
	src = path.Clean(strings.TrimPrefix(path.Clean("/"+src), "/"))
	if src == "" || src == "." {
		src = "."
	}
	atRoot := path.Clean(dest) == "/"
	if ok, err := path.Match(src, name); err == nil && ok { // the file itself
		return atRoot || path.Clean(dest) == inImage
	}
	// A folder is copied with what is in it.
	return atRoot && (src == path.Dir(name))
}

// CheckImage reads the file that the image carries, which is the one that counts for a run, and compares it with the
// package's.
func (Contract) CheckImage(t *task.Task, src contract.Source, img contract.ImageFiles) (*task.Task, []task.Finding) {
	d, err := detailOf(t)
	if err != nil {
		return t, []task.Finding{{Rule: ruleFileKind, Severity: task.SeverityError, What: err.Error()}}
	}
	switch {
	case d.Legacy:
		return t, nil
	case d.Task != nil:
		return checkTask(t, d, img)
	case src.Image != nil:
		return t, nil // Load read the image itself
	}
	r := &reader{Report: contract.Report{File: inImage}}
	data, err := img.ReadFile(inImage, fileLimit)
	if err != nil {
		return t, r.notInImage(d.File, err)
	}
	own, err := folderCopy(src, d.File)
	same := err == nil && bytes.Equal(own, data)
	if same && !hasJinja(own) {
		r.checkTemplate(t, img)
		return t, r.Findings
	}
	if err == nil && !same {
		r.Warn(ruleFileDiffers, contract.At{}, "build the image again", "The image carries another %s than %s; the image's is used.", fileName, d.File)
	}
	n := r.fromImage(img)
	if n == nil {
		return t, r.Findings
	}
	fresh := r.task(n, t.Variant, detail{File: d.File, Compat: d.Compat})
	fresh.Image, fresh.Version = t.Image, t.Version
	fresh.Notes = append(slices.Clone(t.Notes), "read from "+inImage+" in the image")
	r.checkTemplate(fresh, img)
	return fresh, r.Findings
}

// folderCopy reads the package's own copy of the file.
func folderCopy(src contract.Source, name string) ([]byte, error) {
	if src.FS == nil || name == "" {
		return nil, fs.ErrNotExist
	}
	return contract.ReadText(src.FS, name)
}

func (r *reader) notInImage(file string, err error) []task.Finding {
	if !errors.Is(err, fs.ErrNotExist) {
		r.Error(ruleFileKind, contract.At{}, "make it a regular file of at most 1 MiB", "%s in the image is not usable: %v.", inImage, err)
		return r.Findings
	}
	if file == "" {
		r.Error(ruleFileMissing, contract.At{}, "add `COPY "+fileName+" /` to the Dockerfile", "No %s (looked at %s). A Kaapana image needs it at its root.", fileName, inImage)
		return r.Findings
	}
	r.Error(ruleFileNotCopied, contract.At{}, "add `COPY "+file+" "+inImage+"` to the last stage of the Dockerfile",
		"The image has no %s; the folder has %s.", inImage, file)
	return r.Findings
}
