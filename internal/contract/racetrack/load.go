package racetrack

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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

// loader gathers what Load finds in one package.
type loader struct {
	git      bool
	home     tree // the manifest's folder
	pkg      tree // the package's folder: also the manifest's, unless the manifest was handed over without its repository
	repo     tree // the repository's root, for git sources
	doc      *document
	legacy   bool
	commit   string // as git describes it, "tar" for what is no clone
	login    func(registry string) bool
	m        manifest
	findings []task.Finding
	// more counts the findings that are not told any more, moreErrors the errors among them.
	more, moreErrors int
	notes            []string
}

// tree is a folder of the package. dir is absolute, "" for what is no folder of this machine.
type tree struct {
	fs  fs.FS
	dir string
}

// sub returns a folder below, also through links that stay inside.
func (t tree) sub(p string) (tree, error) {
	if p == "" || p == "." {
		return t, nil
	}
	st, err := fs.Stat(t.fs, p)
	if err != nil {
		return tree{}, err
	}
	if !st.IsDir() {
		return tree{}, fmt.Errorf("it is a %s", contract.KindOf(st.Mode()))
	}
	below, err := fs.Sub(t.fs, p)
	if err != nil || t.dir == "" {
		return tree{fs: below}, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(t.dir, filepath.FromSlash(p)))
	return tree{below, dir}, err
}

// Load reads a job. A folder of this machine is taken as it is, whatever git.remote says; git.directory then only tells
// where to look when the folder itself has no Dockerfile.
func (Contract) Load(src contract.Source, opts contract.Options) (*task.Task, []task.Finding) {
	l := &loader{git: src.Git, doc: &document{}, commit: cmp.Or(src.Commit, "tar"), login: opts.Login}
	if src.FS == nil {
		add := l.found(ruleFolder, "", contract.At{}, "a Racetrack job is a folder with a manifest, found none")
		add.Mend = "name the folder that holds job.yaml"
		return nil, l.findings
	}
	submitted := src
	if src.Submitted != nil {
		submitted = *src.Submitted
	}
	file, ok := l.manifestOf(submitted)
	if !ok {
		return nil, l.findings
	}
	closeTrees := l.trees(src, submitted, file)
	defer closeTrees()
	l.legacy = path.Base(file) == legacyName
	if !l.readDocument(submitted.FS, file) {
		return nil, l.sorted()
	}
	l.override(opts.Overrides)
	l.readManifest()
	t := l.task()
	if src.Submitted != nil {
		l.consistent(l.pkg)
	}
	if opts.Variant != "" {
		l.found(ruleFolder, "", contract.At{}, "the package has no variant %s", show(opts.Variant)).Mend = "leave the variant out"
	}
	if src.Dir == "" {
		add := l.found(ruleFolder, "", contract.At{}, "a Racetrack job is a folder or a git repository, found the archive %s", show(path.Base(filepath.ToSlash(src.Archive))))
		add.Mend = "unpack it and name the folder"
	}
	return t, l.sorted()
}

// trees sets the folders that the manifest's paths are looked up in: those of the package and of the manifest, file, which
// may have been submitted on its own.
func (l *loader) trees(src, submitted contract.Source, file string) (closeTrees func()) {
	l.home = tree{submitted.FS, submitted.Dir}
	if sub, err := l.home.sub(path.Dir(file)); err == nil {
		l.home = sub
	}
	l.pkg = l.home
	if src.Submitted != nil {
		l.pkg = tree{src.FS, src.Dir}
	}
	l.repo = l.pkg
	if !src.Git || src.RepoDir == "" {
		return func() {}
	}
	dir, err := filepath.EvalSymlinks(src.RepoDir)
	if err != nil {
		return func() {}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return func() {}
	}
	l.repo = tree{root.FS(), dir}
	return func() { root.Close() }
}

// sorted puts the findings in the order of the files and their lines.
func (l *loader) sorted() []task.Finding {
	rank := map[string]int{}
	for _, f := range l.findings {
		if _, ok := rank[f.File]; !ok {
			rank[f.File] = len(rank)
		}
	}
	slices.SortStableFunc(l.findings, func(a, b task.Finding) int {
		if d := rank[a.File] - rank[b.File]; d != 0 {
			return d
		}
		if d := a.Line - b.Line; d != 0 {
			return d
		}
		return a.Column - b.Column
	})
	if l.more > 0 {
		last := task.Finding{Rule: ruleUnknown, Severity: task.SeverityWarning, File: l.doc.file, What: fmt.Sprintf("%d more findings, %d of them errors, are not shown", l.more, l.moreErrors), Mend: "mend these first"}
		if l.moreErrors > 0 {
			last.Severity = task.SeverityError
		}
		l.findings = append(l.findings, last)
	}
	return l.findings
}

// networkNote says what differs from Racetrack's own hosts.
const networkNote = "network: closed unless the run opens it; Racetrack's own hosts leave it open"

// task describes the job, as far as its manifest is valid.
func (l *loader) task() *task.Task {
	m := &l.m
	t := &task.Task{
		Contract: Contract{}.Name(), Dialect: l.dialect(), Name: m.name, Version: m.version, Exchange: task.HTTP,
		FreeInputs: true, FreeEnv: true, Resources: m.resources, Labels: m.labels,
		Parameters: []task.Parameter{{
			Name: outputName, Direction: task.Output, Title: "response body", Description: "what the job answers, by convention any JSON value",
			Type: task.Type{Kind: task.JSON}, Place: task.Place{Kind: task.PlaceBody},
		}},
	}
	if t.Name == "" {
		t.Name = "job"
	}
	t.Image = l.image(t.Name)
	d := l.detail()
	l.notes = append(l.notes, networkNote)
	t.Notes = l.notes
	t.Detail, _ = json.Marshal(d) // texts and numbers always encode
	return t
}

// dialect tells which generation of manifest was met.
func (l *loader) dialect() string {
	s := "today's manifest (job.yaml, jobs)"
	if path.Base(l.doc.file) == legacyName {
		s = "manifest of releases before 2.9 (fatman.yaml, fatmen)"
	} else if path.Base(l.doc.file) != manifestName {
		s = "manifest named by the caller (" + show(l.doc.file) + ")"
	}
	if l.m.job.field != "" {
		s += ", " + l.m.job.field + ": " + l.m.job.text
	}
	return s
}

// detail gathers what Prepare needs.
func (l *loader) detail() detail {
	m := &l.m
	d := detail{
		Kind: m.job.kind, Legacy: l.legacy, Manifest: l.doc.text,
		Port: m.extra.port, PortWhy: m.extra.portField, Rewrite: m.extra.rewrite,
	}
	if why := unusable("JOB_MANIFEST_YAML", d.Manifest); why != "" {
		add := l.found(ruleLength, l.doc.file, contract.At{}, "the manifest cannot be given to the job as JOB_MANIFEST_YAML: %s", why)
		add.Mend = "shorten it"
		d.Manifest = ""
	}
	// On Racetrack every variable of the build that is none of the run is empty when the job runs.
	var ofBuild []string
	for _, v := range m.buildEnv {
		ofBuild = append(ofBuild, v.Name)
	}
	for _, v := range m.buildSecrets.vars {
		ofBuild = append(ofBuild, v.Name)
	}
	for _, name := range ofBuild {
		if !slices.ContainsFunc(m.runtimeEnv, func(r variable) bool { return r.Name == name }) {
			d.Env = append(d.Env, task.EnvVar{Name: name})
		}
	}
	for _, v := range m.runtimeEnv {
		d.Env = append(d.Env, v.EnvVar)
		if v.Name == portVariable && d.Port == 0 {
			if _, ok := portNumber(v.Value); !ok {
				l.on(rulePort, v.member.Value, "runtime_env.%s: must be a TCP port", portVariable).Mend = "write a number from 1 to 65535"
			}
		}
	}
	l.secrets(&d)
	l.discovery(&d)
	return d
}

// discovery tells which port and path a run asks, and why.
func (l *loader) discovery(d *detail) {
	switch {
	case d.Kind == dockerSelf:
		l.note("port: %d, where jobs of type dockerfile listen", wrapperPort)
	case d.Port != 0:
		l.note("port: %d (%s)", d.Port, d.PortWhy)
	case d.Rewrite:
		l.note("port: %d (rewrite mode's default), %d (seed) and %d (Racetrack today) are tried, then what the image exposes", rewritePort, seedPort, currentPort)
	default:
		l.note("port: %d (seed) and %d (Racetrack today) are tried, then what the image exposes", seedPort, currentPort)
	}
	l.note("path: POST %s", requestPath(d.Kind, l.m.name, l.m.version))
}

// place is a folder that may be the build context, and why.
type place struct {
	tree
	why string
}

// places are the folders to look for the Dockerfile in, in order (reference 6.3 for git, 2.11 for a local folder).
func (l *loader) places() []place {
	if !l.git {
		list := []place{{l.pkg, "the package's folder"}}
		if sub, err := l.pkg.sub(l.m.directory); err == nil && l.m.directory != "" {
			list = append(list, place{sub, "git.directory"})
		}
		return list
	}
	workspace := place{l.pkg, "the manifest's folder"}
	if n := l.m.directoryNode; n != nil {
		sub, err := l.repo.sub(l.m.directory)
		switch {
		case err == nil:
			workspace = place{sub, "git.directory"}
		case present(l.repo.fs, l.m.directory):
			l.on(ruleDirectory, n, `git.directory: "%s" leaves the repository`, show(l.m.directory)).Why = show(err.Error())
		default:
			l.on(ruleDirectory, n, "can't find workspace subdirectory: %s", show(l.m.directory)).Mend = "mend git.directory, or push the folder"
		}
	}
	list := []place{workspace}
	for _, p := range []place{{l.pkg, "the manifest's folder"}, {l.repo, "the root of the repository (seed document)"}} {
		if !slices.ContainsFunc(list, func(q place) bool { return q.dir == p.dir }) {
			list = append(list, p)
		}
	}
	return list
}

// image settles what to build, or which ready image to take.
func (l *loader) image(name string) task.ImageSource {
	if ref := l.m.extra.image; ref != nil {
		l.note("image: jobtype_extra.image is used; nothing is built")
		src := task.ImageSource{Kind: task.ImageReference, Name: ref.String()}
		if d, ok := ref.(reference.Digested); ok {
			src.Digest = d.Digest().String()
		}
		return src
	}
	src := task.ImageSource{Kind: task.ImageBuild, Name: imageName(name, l.m.version)}
	for _, v := range l.m.buildEnv {
		if src.Args == nil {
			src.Args = map[string]string{}
		}
		src.Args[v.Name] = v.Value
	}
	src.Secrets = l.buildSecrets()
	places := l.places()
	l.rewriteHook(places)
	file := l.dockerfile()
	for i, p := range places {
		if !isFile(p.fs, file) {
			continue
		}
		src.Context, src.Dockerfile = p.dir, file
		l.note("build: %s, with %s as build context", show(file), l.contextWords(p))
		l.otherFile(file, p, places[i+1:])
		src.Recipe = l.recipe(p.tree, file, l.packagePath(p, file))
		return src
	}
	l.noDockerfile(file, places)
	return src
}

// dockerfile is the Dockerfile's path in the folder that is built.
func (l *loader) dockerfile() string { return cmp.Or(l.m.dockerfile, defaultDockerfile) }

// contextWords names a build context for people.
func (l *loader) contextWords(p place) string {
	if p.why == "git.directory" {
		return "the folder " + show(l.m.directory) + " (git.directory)"
	}
	return p.why
}

// packagePath is a file's path as findings show it: relative to the package where it lies in it.
func (l *loader) packagePath(p place, file string) string {
	if rel, err := filepath.Rel(l.pkg.dir, p.dir); err == nil && l.pkg.dir != "" && p.dir != "" && !strings.HasPrefix(rel, "..") {
		return path.Join(filepath.ToSlash(rel), file)
	}
	return file
}

func (l *loader) noDockerfile(file string, places []place) {
	add := l.on(ruleNoDockerfile, l.m.dockerNode, "User-module Dockerfile was not found in a job workspace: %s", show(file))
	add.Mend = "add it, or name it with docker: dockerfile_path:"
	var looked []string
	for _, p := range places {
		looked = append(looked, l.contextWords(p))
		list, err := fs.ReadDir(p.fs, path.Dir(file))
		if err != nil {
			continue
		}
		for _, d := range list {
			if strings.EqualFold(d.Name(), path.Base(file)) && !d.IsDir() {
				add.Mend = "rename " + show(path.Join(path.Dir(file), d.Name())) + " to " + show(file)
			}
		}
		if present(p.fs, file) {
			add.Mend = "make it a regular file in the package"
		}
	}
	add.Why = "looked in " + strings.Join(looked, " and in ")
}

// otherFile warns when Racetrack would build something else than is built here.
func (l *loader) otherFile(file string, chosen place, rest []place) {
	if file != defaultDockerfile && isFile(chosen.fs, defaultDockerfile) {
		add := l.on(ruleOtherFile, l.m.dockerNode, "dockerfile_path: %s is built; Racetrack today would build Dockerfile", show(file))
		add.Why = "Racetrack no longer reads dockerfile_path"
		add.Mend = "keep one Dockerfile, called Dockerfile"
	}
	for _, p := range rest {
		if !l.git && p.why == "git.directory" && p.dir != chosen.dir && isFile(p.fs, file) {
			add := l.on(ruleOtherFile, l.m.directoryNode, "git.directory: this folder's own %s is built; from git, Racetrack builds the one in %s", show(file), show(l.m.directory))
			add.Mend = "name the folder " + show(l.m.directory) + " to build that one"
		}
	}
}

// rewriteHook looks for what rewrites the responses in rewrite mode (reference D3, 3.6).
func (l *loader) rewriteHook(places []place) {
	if !l.m.extra.rewrite {
		return
	}
	const hook = "proxy_settings.py"
	l.note("proxy_mode: rewrite; the job's own server is asked, at paths without the prefix that Racetrack's wrapper takes off, and nothing is rewritten")
	if l.m.extra.rules {
		return
	}
	for _, p := range places {
		if isFile(p.fs, hook) {
			if changesNothing(p.fs, hook) {
				l.note("proxy_settings.py: changes nothing, and is left out")
				return
			}
			add := l.found(ruleHook, l.packagePath(p, hook), contract.At{}, "proxy_settings.py cannot be run here; use jobtype_extra.rewrite_rules")
			add.Why = "it is a program that Racetrack runs outside the job's container"
			add.Mend = "choose of " + strings.Join(rewriteRuleNames(), ", ")
			return
		}
	}
	add := l.on(ruleRewrite, l.m.extra.mode, "proxy_mode rewrite needs proxy_settings.py or jobtype_extra.rewrite_rules")
	add.Mend = "add rewrite_rules to jobtype_extra, or leave proxy_mode out"
}

// identityHook is a program that gives every response back as it is, without comments and blank lines.
var identityHook = regexp.MustCompile(`^(?:(?:from|import)\s[^\n]*\n)*def rewrite_proxy_paths\(\s*(\w+)\b[^)]*\)[^:\n]*:\n[ \t]+return (\w+)\n$`)

// changesNothing tells whether a hook gives every response back as it is.
func changesNothing(fsys fs.FS, hook string) bool {
	data, err := contract.ReadText(fsys, hook)
	if err != nil {
		return false
	}
	var code strings.Builder
	for _, line := range strings.Split(string(data), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimRight(line, " \t\r"); line != "" {
			code.WriteString(line + "\n")
		}
	}
	m := identityHook.FindStringSubmatch(code.String())
	return m != nil && m[1] == m[2]
}

// below cleans a path that must stay in its folder; "" is the folder itself.
func below(p string) (string, bool) {
	clean := path.Clean(p)
	switch {
	case p == "" || clean == ".":
		return "", true
	case !fs.ValidPath(clean), strings.ContainsAny(p, "\x00\\"):
		return "", false
	}
	return clean, true
}

// The forms of one part of an image's name, and how long a part and a tag may become.
var imagePart = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)

const (
	maxPart = 100
	maxTag  = 100
)

// imageName is the local name of the built image: Racetrack's own without registry, racetrack/job-1/<name>, with the version
// as tag. What is not legal there is replaced, and a digest of the original keeps different names apart.
func imageName(name, version string) string {
	part := name
	if !imagePart.MatchString(part) || len(part) > maxPart {
		part = slug(name)
		part = strings.Trim(part[:min(len(part), maxPart)]+"-"+digest(name), "-")
	}
	tag := version
	if strings.Contains(tag, "+") || len(tag) > maxTag {
		tag = strings.ReplaceAll(tag, "+", "-")
		tag = tag[:min(len(tag), maxTag)] + "-" + digest(version)
	}
	return "racetrack/job-1/" + part + ":" + tag
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}
