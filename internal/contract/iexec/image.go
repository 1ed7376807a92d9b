package iexec

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// imageRef is an image reference as manifests write it.
type imageRef struct {
	Name           string // in its shortest form, with a tag or digest
	Tagged, Pinned bool
}

// parseImage reads an image reference. "registry.hub.docker.com/" is Docker Hub.
func parseImage(text string) (imageRef, error) {
	if rest, ok := strings.CutPrefix(text, "registry.hub.docker.com/"); ok {
		text = "docker.io/" + rest
	}
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return imageRef{}, err
	}
	_, pinned := named.(reference.Digested)
	_, tagged := named.(reference.Tagged)
	return imageRef{Name: reference.FamiliarString(reference.TagNameOnly(named)), Tagged: tagged, Pinned: pinned}, nil
}

// imageMend says how a text becomes an image reference.
func imageMend(text string) string {
	const form = "write it like org/image:tag"
	switch {
	case strings.TrimSpace(text) != text:
		return "remove the space around it"
	case strings.Contains(text, "://"):
		return "this is the address of a page: " + form
	case strings.HasPrefix(text, "/"):
		return "images come from a registry: " + form
	case strings.ToLower(text) != text:
		return "image names are lower case: " + form
	}
	return form
}

// image sets the task's image: the named one, or what the Dockerfile beside the manifest builds under that name.
func (l *loader) image(at contract.At, text string) {
	ref, err := parseImage(text)
	if err != nil {
		l.add(ruleImageForm, at, imageMend(text), "%q is not an image reference", shorten(text))
		return
	}
	if !ref.Tagged && !ref.Pinned {
		l.add(ruleImageTag, at, "add the tag that was pushed, for example "+ref.Name, `%q has no tag: "latest" is used here; iExec workers from v5 on cannot pull it`, text)
	}
	if ref.Pinned && !l.plan.Generation.legacy() {
		l.add(ruleImagePinned, at, "name it by tag and set app.checksum", "iExec workers look images up by tag and would report the image as missing after pulling %s", text)
	}
	l.task.Image = task.ImageSource{Kind: task.ImageReference, Name: ref.Name}
	dockerfile := path.Join(l.dir, "Dockerfile")
	st, err := fs.Stat(l.src.FS, dockerfile)
	switch {
	case err != nil || !st.Mode().IsRegular():
	case l.src.Dir == "":
		l.note("image: the Dockerfile beside the manifest cannot be built from an archive; %s is pulled", ref.Name)
	default:
		name := ref.Name
		if ref.Pinned {
			name, _, _ = strings.Cut(name, "@") // what is built has no digest yet
		}
		l.task.Image = task.ImageSource{Kind: task.ImageBuild, Name: name, Context: filepath.Join(l.src.Dir, filepath.FromSlash(l.dir)), Dockerfile: "Dockerfile"}
		l.note("image: built from the Dockerfile beside the manifest, and named %s", name)
	}
}

// recipeWorkdir is the working directory that the Dockerfile beside the manifest sets, "" when it is not known.
func (l *loader) recipeWorkdir() string {
	if l.task.Image.Kind != task.ImageBuild {
		return ""
	}
	data, err := contract.ReadText(l.src.FS, path.Join(l.dir, "Dockerfile"))
	if err != nil {
		return ""
	}
	r, err := contract.ParseRecipe(data)
	if err != nil {
		var s *contract.SyntaxError
		f := l.add(ruleRecipe, contract.At{}, "", "the Dockerfile cannot be parsed: %v", err)
		if f.File = path.Join(l.dir, "Dockerfile"); errors.As(err, &s) {
			f.Line, f.Column, f.What = s.Line, s.Column, "the Dockerfile cannot be parsed: "+s.Reason
		}
		return ""
	}
	if st := r.Final(); st != nil && path.IsAbs(st.Workdir) {
		return path.Clean(st.Workdir)
	}
	return ""
}

// trap is something in a command line that surprises later.
type trap struct{ rule, what, mend string }

var hostPath = regexp.MustCompile(`(^|[^A-Za-z0-9_./-])/host(/|$)`)

// namesHost tells whether a word of a command line means the folder /host.
func namesHost(words []string) bool { return slices.ContainsFunc(words, hostPath.MatchString) }

// cmdlineFindings lists the traps of a v2 command line. workdir is the image's working directory, "" when it is not known.
func cmdlineFindings(words []string, workdir string) []trap {
	var traps []trap
	add := func(rule, mend, what string, args ...any) {
		traps = append(traps, trap{rule, fmt.Sprintf(what, args...), mend})
	}
	if slices.ContainsFunc(words, func(w string) bool { return strings.ContainsAny(w, `'"`) }) {
		add(ruleQuotes, "", "v2 splits the command line on white space only; quotes are passed to the program as they are")
	}
	for _, w := range words {
		if strings.HasPrefix(w, "iexec/") && workdir != "/" {
			is := workdir
			if is == "" {
				is = "not known yet"
			}
			add(ruleRelativePath, "write /"+w, `relative path %q works only if the image's working directory is "/" (it is %s)`, shorten(w), is)
		}
		if strings.ContainsAny(w, "*?[") {
			add(rulePattern, "", "%q is passed on as it is; the worker's shell would replace it by matching file names", shorten(w))
		}
		if w == "--help" || w == "--verbose" || w == "--debug" || w == "--xwimage" {
			add(ruleWrapperOption, "", "%s is passed to the app; v2 workers' own wrapper takes it away", w)
		}
	}
	if namesHost(words) {
		add(ruleHost, "write /iexec", "the platform's page says /host once and /iexec elsewhere; workers mount only /iexec (both are provided here)")
	}
	return traps
}

// CheckImage compares the image with the manifest's checksum, and the command line with the image's working directory.
func (Contract) CheckImage(t *task.Task, src contract.Source, img contract.ImageFiles) (*task.Task, []task.Finding) {
	p, err := planOf(t)
	if err != nil {
		return t, nil
	}
	r := newReport(p.Manifest)
	facts := img.Facts()
	if what := checksumProblem(t, p, facts); what != "" {
		r.add(ruleChecksum, p.ChecksumAt, "name the image that was deployed, or correct the checksum", "%s", what)
	}
	args := t.Parameter(task.Input, paramArgs)
	if !p.Generation.legacy() || args == nil || args.Default == nil {
		return t, r.Findings
	}
	workdir := facts.WorkingDir
	if workdir == "" {
		workdir = "/"
	}
	for _, f := range cmdlineFindings(splitCmdline(args.Default.Text), workdir) {
		if f.rule == ruleRelativePath {
			r.add(f.rule, p.CmdlineAt, f.mend, "%s", f.what)
		}
	}
	return t, r.Findings
}

// checksumProblem says how the image differs from the manifest's checksum, "" when it does not. What is built here from a
// Dockerfile is another image than the one that was deployed, and is not compared.
func checksumProblem(t *task.Task, p plan, facts task.ImageFacts) string {
	want := "sha256:" + strings.TrimPrefix(p.Checksum, "0x")
	if p.Checksum == "" || t.Image.Kind != task.ImageReference || facts.Digest == "" || facts.Digest == want {
		return ""
	}
	return fmt.Sprintf("image digest %s does not match app.checksum %s", facts.Digest, p.Checksum)
}
