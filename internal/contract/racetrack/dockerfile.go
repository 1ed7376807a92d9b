package racetrack

import (
	"cmp"
	"errors"
	"io/fs"
	"net/netip"
	"path"
	"regexp"
	"strings"

	"github.com/distribution/reference"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// recipe looks at the Dockerfile for what the seed forbids and what would make the build fail. shown is its path for
// findings. A template is filled in, and returned.
func (l *loader) recipe(context tree, file, shown string) (rendered string) {
	data, err := contract.ReadText(context.fs, file)
	if err != nil {
		l.found(ruleRecipe, shown, contract.At{}, "the Dockerfile cannot be read: %s", show(err.Error()))
		return ""
	}
	if l.m.job.kind == dockerSelf && isTemplate(string(data)) {
		var ok bool
		if rendered, ok = l.fillIn(string(data), shown); !ok {
			return ""
		}
		data = []byte(rendered)
	}
	r, err := contract.ParseRecipe(data)
	if err != nil {
		at, reason, mend := contract.At{Line: 1}, err.Error(), ""
		if s, ok := errors.AsType[*contract.SyntaxError](err); ok {
			at.Line, reason, mend = max(s.Line, 1), s.Reason, s.Mend
		}
		l.found(ruleRecipe, shown, at, "Dockerfile line %d: %s", at.Line, show(reason)).Mend = cmp.Or(mend, "mend the instruction")
		return ""
	}
	if r.Final() == nil {
		l.found(ruleRecipe, shown, contract.At{Line: 1}, "the Dockerfile has no FROM").Mend = "begin with the image to build on, such as FROM python:3.9-slim-bullseye"
		return ""
	}
	stages, left := map[string]bool{}, contract.Ignored(context.fs, file)
	needed := map[int]bool{} // by line
	for _, st := range r.Needed() {
		needed[st.Line] = true
	}
	for i, st := range r.Stages {
		at := contract.At{Line: st.Line}
		if !st.FromStage {
			l.base(st.Base, shown, at)
		}
		for _, c := range st.Copies {
			l.from(c, shown, stages, i)
			if needed[st.Line] && c.From == "" {
				l.copies(context, c, left, shown)
			}
		}
		if st.Name != "" {
			stages[st.Name] = true
		}
	}
	l.copiedSecrets(context, left, r, shown)
	l.lowPort(r.Final(), shown)
	return rendered
}

// lowPort warns of a server that listens below 1024 as root: Kubernetes runs jobs as another user (reference 3.8). Only what
// is said counts: the manifest's port, or else the only port that the image exposes.
func (l *loader) lowPort(st *contract.RecipeStage, shown string) {
	port := l.m.extra.port
	if port == 0 && len(st.Exposed) == 1 {
		number, _, _ := strings.Cut(st.Exposed[0], "/")
		port, _ = portNumber(number) // what is no number is known only to the build
	}
	if port == 0 || port >= 1024 {
		return
	}
	add := l.found(ruleLowPort, shown, contract.At{}, "the server listens on port %d; Racetrack on Kubernetes runs jobs as user 100000 without privileges, which cannot", port)
	add.Mend = "listen on a port from 1024, such as 7004"
}

// base tests where a base image comes from (seed: "You MUST NOT use base images from private Docker Registries"). What
// holds a variable is known only to the build.
func (l *loader) base(name, shown string, at contract.At) {
	if strings.Contains(name, "$") || name == "scratch" || name == "" {
		return
	}
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		l.found(ruleRecipe, shown, at, "%s is not an image's name: %s", show(name), show(err.Error())).Mend = "write it as name:tag"
		return
	}
	host := reference.Domain(ref)
	switch registryOf(host) {
	case registryPrivate:
		add := l.found(rulePrivateBase, shown, at, "the base image %s comes from the private registry %s", show(name), show(host))
		add.Why = "Racetrack builds jobs without logging in to registries: base images must be public"
		add.Mend = "build on a public image"
		if l.login != nil && l.login(host) {
			add.Severity = task.SeverityWarning
			add.Why = "this machine has a login for it, and Racetrack builds jobs without one: base images must be public"
		}
	case registryUnknown:
		add := l.found(ruleUnknownBase, shown, at, "the base image %s comes from the registry %s; it must be open to everybody", show(name), show(host))
		add.Why = "Racetrack builds jobs without logging in to registries"
		add.Mend = "nothing, if the image can be pulled without a login"
	}
}

type registry int

const (
	registryPublic registry = iota
	registryUnknown
	registryPrivate
)

// registryOf tells registries that anybody can pull from, and hosts that only their own network or their own customers
// reach, from what is not known.
func registryOf(host string) registry {
	name := strings.ToLower(host)
	if i := strings.LastIndex(name, ":"); i >= 0 && !strings.HasSuffix(name, "]") {
		name = name[:i]
	}
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		if addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() {
			return registryPrivate
		}
		return registryUnknown
	}
	if contains([]string{
		"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "quay.io", "ghcr.io", "gcr.io", "registry.k8s.io", "k8s.gcr.io",
		"mcr.microsoft.com", "public.ecr.aws", "nvcr.io", "registry.gitlab.com", "docker.elastic.co", "registry.access.redhat.com",
		"registry.fedoraproject.org", "registry.opensuse.org", "registry.suse.com", "container-registry.oracle.com", "cgr.dev", "lscr.io",
		"codeberg.org", "mirror.gcr.io",
	}, name) {
		return registryPublic
	}
	if !strings.Contains(name, ".") {
		return registryPrivate // localhost, and names that only one network knows
	}
	for _, end := range []string{".local", ".localhost", ".localdomain", ".internal", ".intranet", ".lan", ".corp", ".home.arpa", ".amazonaws.com", ".azurecr.io"} {
		if strings.HasSuffix(name, end) {
			return registryPrivate
		}
	}
	return registryUnknown
}

// digits is a stage by its number.
var digits = regexp.MustCompile(`^[0-9]+$`)

// from tests the image that COPY --from names, where it is no stage.
func (l *loader) from(c contract.RecipeCopy, shown string, stages map[string]bool, stage int) {
	at := contract.At{Line: c.Line}
	switch {
	case c.From == "":
	case strings.EqualFold(c.From, "jobtype"):
		add := l.found(ruleTemplate, shown, at, "template error: COPY --from=jobtype is not supported (line %d)", c.Line)
		add.Mend = "copy the files from the job's own folder"
	case !stages[strings.ToLower(c.From)] && !(digits.MatchString(c.From) && number(c.From) < stage):
		l.base(c.From, shown, at)
	}
}

// copies tests the sources of one COPY or ADD (seed: "You MUST NOT refer to some local files that are not pushed to the
// repository"). Those of stages that the last one does not need are never copied.
func (l *loader) copies(context tree, c contract.RecipeCopy, left func(path string) bool, shown string) {
	at := contract.At{Line: c.Line}
	word := "COPY"
	if c.Add {
		word = "ADD"
	}
	for _, src := range c.Sources {
		if strings.Contains(src, "$") || c.Add && (strings.Contains(src, "://") || strings.HasPrefix(src, "git@")) {
			if c.Add && gitSource.MatchString(src) {
				add := l.found(ruleAddGit, shown, at, "Dockerfile line %d: ADD %s: ADD of a git repository is not supported", c.Line, show(src))
				add.Mend = "clone it next to the Dockerfile and COPY it"
			}
			continue // known only to the build
		}
		if clean := path.Clean(src); clean == ".." || strings.HasPrefix(clean, "../") {
			add := l.found(ruleCopyOutside, shown, at, "Dockerfile line %d: %s %s points out of the build context; it means %s", c.Line, word, show(src), show(contextPath(src)))
			add.Mend = "write a path below the build context"
		}
		if l.inContext(context.fs, src) {
			l.leftOut(src, word, shown, at)
			if p := contextPath(src); present(context.fs, p) && left(p) {
				add := l.found(ruleCopy, shown, at, "Dockerfile line %d: %s %s: left out of the build context by .dockerignore", c.Line, word, show(src))
				add.Mend = "add the line !" + show(p) + " to it"
			}
			continue
		}
		add := l.found(ruleCopy, shown, at, "Dockerfile line %d: %s %s: not in the build context", c.Line, word, show(src))
		add.Why = "a job is built from its repository: files that are not in it do not exist there"
		add.Mend = "add the file, or mend the path"
	}
}

// leftOut warns of a source that Racetrack's client does not pack when a folder is deployed as it is (reference 2.11).
func (l *loader) leftOut(src, word, shown string, at contract.At) {
	if l.git || path.Ext(src) != ".zip" {
		return
	}
	add := l.found(ruleLeftOut, shown, at, "Dockerfile line %d: %s %s: Racetrack's client leaves every .zip file of a local folder out", at.Line, word, show(src))
	add.Mend = "deploy from the git repository, or pack it otherwise"
}

// gitSource is an address that ADD takes for a git repository.
var gitSource = regexp.MustCompile(`^(?:git://|git@|ssh://|https?://[^?#]*\.git(?:[?#]|$))`)

// contextPath is a source's path in the build context, whose root is also "/" and cannot be left.
func contextPath(src string) string {
	if p := path.Clean("/" + src)[1:]; p != "" {
		return p
	}
	return "."
}

// inContext tells whether a source of COPY names something. Patterns that name nothing are left to the build.
func (l *loader) inContext(fsys fs.FS, src string) bool {
	p := contextPath(src)
	if !fs.ValidPath(p) || strings.ContainsAny(p, `*?[\`) {
		return true
	}
	_, err := fs.Lstat(fsys, p)
	return err == nil
}
