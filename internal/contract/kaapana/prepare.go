package kaapana

import (
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

const (
	// leastLimit is the smallest memory limit that engines take (Docker's minimum).
	leastLimit task.Bytes = 6 << 20
	// leastRule is what a scale rule must ask for to count at all: with less there is no limit (Kaapana 0.6).
	leastRule = 10
)

// Where a memory limit came from.
const (
	limitByRule    = "a scale rule"
	limitByPackage = "the package"
	limitByCaller  = "the caller"
)

// left is what Collect needs of an execution.
type left struct {
	// Outputs maps the name of each output channel to its mount.
	Outputs map[string]string `json:"outputs"`
	// Rules are the scale rules that asked for something.
	Rules []ruled `json:"rules,omitempty"`
	// Limit says where the memory limit came from.
	Limit string `json:"limit,omitempty"`
	// Legacy is set for runs in the legacy layout.
	Legacy *legacyLeft `json:"legacy,omitempty"`
}

// Prepare binds the chosen template's channels, merges the environment, and computes the resources that its scale rules
// ask for from the sizes of the inputs.
func (Contract) Prepare(t *task.Task, img task.ImageFacts, v task.Values) (*task.Execution, error) {
	d, err := detailOf(t)
	if err != nil {
		return nil, err
	}
	if d.Legacy {
		return prepareLegacy(t, v)
	}
	if d.Template == nil {
		return nil, templateRequired(t)
	}
	p := &preparation{u: d.Template, compat: d.Compat, t: t, v: v, x: &task.Execution{}, inputNames: inputNames(t)}
	p.left.Outputs = map[string]string{}
	p.environment()
	p.process(img)
	p.inputs()
	p.outputs()
	p.nest()
	if p.compat == "" {
		p.resources()
	} else {
		p.compatResources()
	}
	if err := p.failure(); err != nil {
		return nil, err
	}
	if p.x.Detail, err = json.Marshal(p.left); err != nil {
		return nil, err
	}
	return p.x, nil
}

func templateRequired(t *task.Task) error {
	if len(t.Variants) == 0 {
		return &task.Error{Code: task.ReasonInput, Message: "the package offers no template, so that nothing can be run", Hint: "add one to processing-container.json"}
	}
	var ids []string
	for _, u := range t.Variants {
		ids = append(ids, u.Name)
	}
	what := fmt.Sprintf("Choose one of %s.", strings.Join(ids, ", "))
	return &task.Error{
		Code: task.ReasonInput, Message: "the package offers several templates: choose one of " + strings.Join(ids, ", "), Hint: "name it with --template",
		Findings: []task.Finding{{Rule: ruleTemplateRequired, Severity: task.SeverityError, What: what, Mend: "name it with --template"}},
	}
}

// preparation is one Prepare under way. Problems are collected, so that all are told at once.
type preparation struct {
	u      *template
	compat string
	t      *task.Task
	v      task.Values
	x      *task.Execution
	left   left
	// inputNames is what the function of that name answers.
	inputNames map[placed]string
	problems   []task.Finding
	// policy, when not nil, is a requirement that no machine can meet.
	policy *task.Error
}

func (p *preparation) problem(rule, mend, what string, args ...any) {
	p.problems = append(p.problems, task.Finding{Rule: rule, Severity: task.SeverityError, What: fmt.Sprintf(what, args...), Mend: mend})
}

func (p *preparation) note(format string, args ...any) {
	p.x.Notes = append(p.x.Notes, fmt.Sprintf(format, args...))
}

func (p *preparation) warn(format string, args ...any) {
	p.x.Warnings = append(p.x.Warnings, fmt.Sprintf(format, args...))
}

func (p *preparation) failure() error {
	switch n := len(p.problems); {
	case n == 0 && p.policy != nil:
		return p.policy
	case n == 0:
		return nil
	case n == 1:
		return &task.Error{Code: task.ReasonInput, Message: p.problems[0].What, Hint: p.problems[0].Mend, Findings: p.problems}
	default:
		return &task.Error{Code: task.ReasonInput, Message: fmt.Sprintf("%d inputs are wrong: %s", n, p.problems[0].What), Hint: p.problems[0].Mend, Findings: p.problems}
	}
}

// environment passes the values on exactly as they are written; types and choices only check them.
func (p *preparation) environment() {
	for _, v := range p.u.Env {
		switch {
		case v.Near != "":
			p.warn("env %s: set by the task, and not a variable of the template `%s`; did you mean %s?", v.Name, p.u.Identifier, v.Near)
		case v.Undeclared:
			p.note("env %s: set by the task, and not a variable of the template `%s`", v.Name, p.u.Identifier)
		}
		text := v.Value
		if given, ok := p.value(v.Name, envAlias(v.Name), task.PlaceEnv); ok {
			text = given.Text
		}
		switch f := v.accept(text); {
		case f != nil && p.compat != "" && !strings.ContainsRune(text, 0):
			p.warn("compat %s: %s", p.compat, f.What)
		case f != nil:
			p.problems = append(p.problems, *f)
		}
		p.x.Process.Env = append(p.x.Process.Env, task.EnvVar{Name: v.Name, Value: text})
	}
	for _, e := range p.v.Env {
		p.problem(ruleEnvUnknown, "leave it out", "Template `%s` has no `%s`. It has %s.", p.u.Identifier, e.Name, listed(variableNames(p.u.Env)))
	}
	for _, f := range p.v.Free {
		p.problem(ruleInputUnknown, "leave it out", "Template `%s` has no channel `%s`.", p.u.Identifier, f.Name)
	}
}

func variableNames(vs []variable) []string {
	var names []string
	for _, v := range vs {
		names = append(names, v.Name)
	}
	return names
}

// value finds the value of a channel or variable, by its name or, where both share a name, by its alias.
func (p *preparation) value(name, alias string, place task.PlaceKind) (task.Value, bool) {
	for _, key := range []string{alias, name} {
		if par, ok := p.inputNames[placed{place, key}]; ok {
			v, given := p.v.Inputs[par]
			return v, given
		}
	}
	return task.Value{}, false
}

// placed is a name for what goes to one kind of place.
type placed struct {
	place task.PlaceKind
	name  string
}

// inputNames finds the names of input parameters by all that they are called by.
func inputNames(t *task.Task) map[placed]string {
	names := map[placed]string{}
	for _, par := range t.Parameters {
		if par.Direction != task.Input {
			continue
		}
		names[placed{par.Place.Kind, par.Name}] = par.Name
		for _, a := range par.Aliases {
			names[placed{par.Place.Kind, a}] = par.Name
		}
	}
	return names
}

// process takes the template's command in the place of ENTRYPOINT and CMD, as Kubernetes does; words given by the caller
// replace it. Without words the image's own process runs.
func (p *preparation) process(img task.ImageFacts) {
	command := p.u.Command
	if p.v.Words != nil {
		command = p.v.Words
		p.note("command: given by the caller")
	}
	if len(command) == 0 {
		p.note("command: the image's own")
		return
	}
	if p.compat == compatDocker {
		p.x.Process.Args = slices.Clone(command)
		p.note("compat docker: the command is appended to the image's ENTRYPOINT")
		return
	}
	p.x.Process.Entrypoint = slices.Clone(command)
	if len(img.Entrypoint) > 0 {
		p.note("command: the template's command replaces the image's ENTRYPOINT, as on Kubernetes")
	}
}

func (p *preparation) inputs() {
	for i, c := range p.u.Inputs {
		val, ok := p.value(c.Name, inputAlias(c.Name), task.PlaceFolder)
		if !ok {
			p.unbound(c)
			continue
		}
		m := task.Mount{Name: fmt.Sprintf("input-%d", i+1), Target: c.Path, ReadOnly: true}
		source, err := filepath.Abs(val.Path)
		if err != nil {
			p.problem(ruleVolumeMissing, "write it in full", "`%s`: %v", val.Path, err)
			continue
		}
		st, err := os.Stat(source)
		switch {
		case err != nil:
			p.problem(ruleVolumeMissing, "give another folder", "`%s` does not exist.", val.Path)
			continue
		case st.IsDir() && p.compat == compatK8s:
			m.Files = []task.File{{Source: source}}
		case st.IsDir():
			m.Source = source
		case st.Mode().IsRegular():
			m.Files = []task.File{{Path: filepath.Base(source), Source: source}}
			p.note("input %s: the file %s lies in the root of the channel", c.Name, filepath.Base(source))
		default:
			p.problem(ruleVolumeMissing, "give a folder or a file", "`%s` is neither a folder nor a file.", val.Path)
			continue
		}
		if p.compat == compatK8s {
			m.ReadOnly, m.Discard = false, true // a copy that the program may change
		}
		p.x.Mounts = append(p.x.Mounts, m)
		p.scale(c, source)
	}
}

// unbound is a channel without a folder: left out on purpose, or a mistake.
func (p *preparation) unbound(c channel) {
	if slices.Contains(p.v.Unbound, c.Name) || slices.Contains(p.v.Unbound, inputAlias(c.Name)) {
		p.note("input %s is left out on purpose: nothing is mounted at %s", c.Name, c.Path)
		return
	}
	p.problem(ruleInputUnbound, fmt.Sprintf("give it with -i %s=@FOLDER", c.Name), "Input `%s` is not bound. Leave it out on purpose with --unbound %s.", c.Name, c.Name)
}

func (p *preparation) outputs() {
	for i, c := range p.u.Outputs {
		name := fmt.Sprintf("output-%d", i+1)
		p.left.Outputs[c.Name] = name
		p.x.Mounts = append(p.x.Mounts, task.Mount{Name: name, Target: c.Path, Links: task.LinksKeptInside})
	}
}

// nest puts parents before what lies inside them, and makes sure that the inner mount points are there: in fresh folders
// they are made; a caller's folder is never written to, so there they must exist.
func (p *preparation) nest() {
	slices.SortStableFunc(p.x.Mounts, func(a, b task.Mount) int {
		return strings.Count(a.Target, "/") - strings.Count(b.Target, "/")
	})
	at := map[string]int{}
	for i, m := range p.x.Mounts {
		at[m.Target] = i
	}
	for i := range p.x.Mounts {
		inner := p.x.Mounts[i].Target
		dir := outerOf(inner, at)
		if dir == "" {
			continue
		}
		outer := &p.x.Mounts[at[dir]]
		rel := strings.TrimPrefix(inner, outer.Target+"/")
		if outer.Source == "" {
			outer.Files = append(outer.Files, task.File{Path: rel, Dir: true})
			continue
		}
		if !folderInside(outer.Source, rel) {
			p.problem(rulePathNested, fmt.Sprintf("make the folder %s in %s", rel, outer.Source), "`%s` lies inside `%s`; the mount point must exist there.", inner, outer.Target)
		}
	}
}

// folderInside tells whether rel is a folder below dir, reached through real folders only.
func folderInside(dir, rel string) bool {
	for part := range strings.SplitSeq(rel, "/") {
		dir = filepath.Join(dir, part)
		if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}

// scale applies the channel's rule and keeps what it asks for in the resources' Memory or MinMemory, to be compared later.
func (p *preparation) scale(c channel, source string) {
	switch {
	case c.Rule == nil:
		return
	case p.compat == compatK8s:
		p.note("compat k8s: the scale rule on input %s is ignored, as it never fires in Kaapana's Kubernetes runner", c.Name)
		return
	}
	got, err := measure(source, c.Rule)
	if err != nil {
		p.problem(ruleScaleGlob, "make it readable, or give another folder", "the scale rule of input `%s` cannot be applied: %v", c.Name, err)
		return
	}
	if got.NoItems {
		p.warn("input %s: The channel has no item folders, so the rule counts 0; files directly in the channel do not count. [%s]", c.Name, ruleScaleNoItems)
	}
	for _, link := range got.Outside {
		p.warn("input %s: the link %s leads out of the folder; it does not count for the scale rule, and leads nowhere in the container", c.Name, link)
	}
	need, err := c.Rule.requirement(got.Bytes)
	if err != nil {
		p.problem(ruleScaleFactor, "", "%v", err)
		return
	}
	p.note("scale rule on input %s: %s = %s B of memory as %s (measured %d B in %d files)", c.Name, c.Rule.describe(), need, c.Rule.Type, got.Bytes, got.Files)
	p.require(c, need, got.Bytes)
}

// require takes what one rule asks for: the largest counts on each side.
func (p *preparation) require(c channel, need *big.Int, measured int64) {
	switch {
	case need.Sign() <= 0:
		p.note("scale rule on input %s has no effect", c.Name)
	case !need.IsInt64():
		p.policy = &task.Error{
			Code: task.ReasonPolicy, Message: fmt.Sprintf("the scale rule of input %s asks for %s bytes of memory, more than any machine has", c.Name, need),
			Hint: "give less data, or correct the rule",
		}
	case need.Int64() < leastRule:
		p.note("scale rule on input %s asks for less than %d bytes and sets nothing", c.Name, leastRule)
	default:
		bytes := task.Bytes(need.Int64())
		p.left.Rules = append(p.left.Rules, ruled{Channel: c.Name, Rule: c.Rule.describe(), Coefficient: c.Rule.Coefficient, Exponent: c.Rule.Exponent, Measured: measured, Need: bytes})
		side := &p.x.Resources.Memory
		if c.Rule.Type == scaleRequest {
			side = &p.x.Resources.MinMemory
		}
		*side = max(*side, bytes)
	}
}

// resources combines what is declared with what the rules ask for: the larger on each side.
func (p *preparation) resources() {
	ruled := p.x.Resources
	declared := contract.ResourcesOf(p.t, p.v)
	r := declared
	if ruled.Memory > declared.Memory {
		r.Memory, p.left.Limit = ruled.Memory, limitByRule
		p.warn("memory limit %s by the scale rules (declared: %s)", exact(r.Memory), orNone(declared.Memory))
	} else if declared.Memory > 0 {
		p.left.Limit = limitByPackage
		if p.v.Resources.Memory > 0 {
			p.left.Limit = limitByCaller
		}
	}
	r.MinMemory = max(declared.MinMemory, ruled.MinMemory)
	if r.Memory > 0 && r.MinMemory > r.Memory {
		if ruled.MinMemory > declared.MinMemory {
			p.warn("memory limit raised from %s to the %s that a scale rule requests", exact(r.Memory), exact(r.MinMemory))
			r.Memory, p.left.Limit = r.MinMemory, limitByRule
		} else {
			r.MinMemory = r.Memory // the caller's own limit is below the package's request
			p.warn("the memory limit %s is below the %s that the package requests", exact(r.Memory), exact(declared.MinMemory))
		}
	}
	if r.Memory > 0 && r.Memory < leastLimit {
		p.note("memory limit raised from %d B to %s, the least that engines take", int64(r.Memory), leastLimit)
		r.Memory = leastLimit
	}
	if r.CPU > 0 {
		r.MinCPU = min(r.MinCPU, r.CPU)
	}
	p.x.Resources = r
}

// exact prints an amount with its bytes.
func exact(b task.Bytes) string {
	if b < 1<<10 {
		return b.String()
	}
	return fmt.Sprintf("%s (%d B)", b, int64(b))
}

func orNone(b task.Bytes) string {
	if b == 0 {
		return "none"
	}
	return exact(b)
}
