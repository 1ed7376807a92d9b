package racetrack

import (
	"strings"

	"longshore/internal/contract"
)

// The variables of templates (reference 6.2).
const (
	manifestVariable = "manifest"
	extraVariable    = "manifest_jobtype_extra"
)

// platformVersion is the release of Racetrack whose rules are followed, for templates that ask.
const platformVersion = "2.36.0"

// fillIn fills in a Dockerfile that is a template; shown is its path for findings.
func (l *loader) fillIn(text, shown string) (string, bool) {
	t := &template{in: text, vars: l.templateVars()}
	out, err := t.render()
	for _, u := range t.undefined {
		add := l.found(ruleUndefined, shown, contract.At{Line: u.line}, "template: %s is not set and becomes an empty text", show(u.name))
		add.Mend = "set it in the manifest, or give it a value: {{ " + show(u.name) + " or 'value' }}"
	}
	if err != nil {
		add := l.found(ruleTemplate, shown, contract.At{Line: err.line}, "%s", show(err.Error()))
		add.Why = "set, if, for, and, or, not, in, ==, !=, <, >, attributes, ['key'], get, items, replace, length and join are"
		add.Mend = "write the value itself, or use ARG and build_env"
		if err.whole {
			add.Why = ""
		}
		return "", false
	}
	l.note("template: %s is filled in; lines are counted in the result", show(shown))
	return out, true
}

// templateVars are the values that templates have. What the manifest leaves out is None, or its default.
func (l *loader) templateVars() map[string]value {
	m := &l.m
	none := value{kind: valueNone}
	manifest := value{kind: valueMapping}
	for _, k := range topKeys() {
		manifest = manifest.with(k, none)
	}
	for k, v := range map[string]string{"name": m.name, "version": m.version, "image_type": "docker"} {
		manifest = manifest.with(k, text(v))
	}
	manifest = manifest.with("replicas", value{kind: valueNumber, text: "1"})
	git := value{kind: valueMapping}.with("remote", none).with("branch", none).with("directory", text("."))
	for _, x := range l.doc.root.Members {
		switch v := valueOfNode(x.Value); {
		case x.Key == "git":
			for i, k := range v.keys {
				git = git.with(k, v.list[i])
			}
		case v.kind != valueNone:
			manifest = manifest.with(x.Key, v)
		}
	}
	manifest = manifest.with("git", git).with("extends", none)
	env := value{kind: valueMapping}
	for _, v := range m.buildEnv {
		env = env.with(v.Name, text(v.Value))
	}
	extra := value{kind: valueMapping}
	for _, k := range extraMaps() {
		if n := l.doc.root.Get(k); n.Is(contract.NodeObject) {
			extra = valueOfNode(n)
			break
		}
	}
	return map[string]value{
		manifestVariable: manifest, extraVariable: extra, "env_vars": env,
		"git_version": text(l.commit), "deployed_by_racetrack_version": text(platformVersion),
		"job_type_version": text(m.job.exact()), "resource_name": text(resourceName(m.name, m.version)), "base_image": text(""),
	}
}

// exact is the job type with a version in the place of a pattern.
func (j jobType) exact() string {
	if j.version == "latest" || strings.Contains(j.version, "*") {
		return string(j.kind) + ":" + newestVersion(j.kind)
	}
	return j.text
}
