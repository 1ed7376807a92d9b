package kaapana

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var (
	channelFields = []string{"name", "mounted_path", "description", "scale_rule"}
	volumeName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

// maxPath is the longest path that Linux takes.
const maxPath = 4095

// maxVolumeName is what is left of a Kubernetes label for the name behind "vol-".
const maxVolumeName = 59

// channels reads the inputs or the outputs of a template.
func (r *reader) channels(n *contract.Node, path, key string) []channel {
	items, _ := r.list(n, path, key)
	var out []channel
	for i, it := range items {
		p := fmt.Sprintf("%s[%d]", member(path, key), i)
		if r.isObject(it, p) {
			out = append(out, r.channel(it, p, key == "outputs"))
		}
	}
	return out
}

func (r *reader) channel(n *contract.Node, at string, output bool) channel {
	r.fields(n, "a channel", channelFields)
	c := channel{At: n.Pos(), Name: r.checkedText(n, at, "name"), Description: r.optionalText(n, at, "description")}
	if n.Get("description").IsNull() {
		f := r.Add(task.SeverityNote, ruleChannelDescription, n.Pos(), "The seed asks for a description; say how the data is laid out.")
		f.Mend = "add \"description\""
	}
	if name := n.Get("name"); name.Is(contract.NodeString) {
		r.checkChannelName(c.Name, name.Pos())
	}
	if p := r.checkedText(n, at, "mounted_path"); n.Get("mounted_path").Is(contract.NodeString) {
		c.Path = r.mountPath(p, n.Get("mounted_path").Pos())
	}
	rule := n.Get("scale_rule")
	switch {
	case rule.IsNull():
	case output:
		r.Warn(ruleOutputRule, rule.Pos(), "move it to an input, or remove it", "Scale rules work on inputs only; this one is ignored.")
	case r.isObject(rule, member(at, "scale_rule")):
		c.Rule = r.scaleRule(rule, member(at, "scale_rule"))
	}
	return c
}

func (r *reader) checkChannelName(name string, at contract.At) {
	switch {
	case name == "" || name == "." || strings.Contains(name, "..") || strings.ContainsAny(name, "/\x00"):
		r.Error(ruleChannelName, at, "use lower-case letters, digits and -", "`%s` cannot be a directory name", name)
	case !volumeName.MatchString(name) || len(name) > maxVolumeName:
		f := r.Add(task.SeverityWarning, ruleChannelName, at, "`%s` is no Kubernetes volume name (`vol-%s`)", name, name)
		f.Mend = fmt.Sprintf("use lower-case letters, digits and -, at most %d", maxVolumeName)
	}
}

// mountPath makes a mounted_path absolute and clean, and refuses what nothing may be mounted at: then it answers "".
func (r *reader) mountPath(given string, at contract.At) string {
	clean := path.Clean("/" + given)
	bad := clean == "/" || strings.ContainsAny(given, ":\x00") || hasDotDot(given) || len(given) > maxPath
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		bad = bad || clean == dir || strings.HasPrefix(clean, dir+"/")
	}
	switch {
	case bad:
		r.Error(rulePathForbidden, at, "choose a folder of its own, such as /data/in", "Nothing may be mounted at `%s`.", given)
		return ""
	case !strings.HasPrefix(given, "/"):
		r.Warn(rulePathRelative, at, "write /"+given, "`%s` is taken as `/%s`; Docker refuses relative mount paths.", given, given)
	}
	return clean
}

func hasDotDot(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// checkChannels compares the channels of one template with each other: each with those before it, found by name or path, as a
// stranger's file can have thousands.
func (r *reader) checkChannels(t template) {
	r.checkTwice(t.Inputs)
	r.checkTwice(t.Outputs)
	inputs := map[string]bool{}
	for _, in := range t.Inputs {
		inputs[in.Name] = true
	}
	for _, c := range t.Outputs {
		if inputs[c.Name] && c.Name != "" {
			r.Warn(ruleChannelShared, c.At, "give them different names", "Kaapana's Kubernetes runner makes two volumes `vol-%s`, which the API server refuses.", c.Name)
		}
	}
	r.checkPaths(slices.Concat(t.Inputs, t.Outputs))
}

func (r *reader) checkTwice(channels []channel) {
	seen := map[string]bool{}
	for _, c := range channels {
		if seen[c.Name] && c.Name != "" {
			r.Error(ruleChannelTwice, c.At, "give each channel its own name", "Channel `%s` is declared twice; nothing can be bound to it unambiguously.", c.Name)
		}
		seen[c.Name] = true
	}
}

// checkPaths looks for channels on one path, and for channels inside others.
func (r *reader) checkPaths(channels []channel) {
	at := map[string]channel{}
	for _, c := range channels {
		if first, ok := at[c.Path]; ok {
			r.Error(rulePathTwice, c.At, "give each channel a path of its own", "`%s` and `%s` are both mounted at `%s`; Kaapana drops the second.", first.Name, c.Name, c.Path)
		} else if c.Path != "" {
			at[c.Path] = c
		}
	}
	for _, c := range channels {
		if outer := outerOf(c.Path, at); outer != "" {
			r.Warn(rulePathNested, c.At, "use paths beside each other", "`%s` lies inside `%s`; the mount point must exist there.", c.Path, outer)
		}
	}
}

// outerOf is the innermost of paths that the clean path p lies in, or "".
func outerOf[V any](p string, paths map[string]V) string {
	for i := strings.LastIndexByte(p, '/'); i > 0; i = strings.LastIndexByte(p[:i], '/') {
		if _, ok := paths[p[:i]]; ok {
			return p[:i]
		}
	}
	return ""
}

// inside tells whether the clean path p lies below dir.
func inside(p, dir string) bool { return strings.HasPrefix(p, dir+"/") }
