package racetrack

import (
	"regexp"
	"strings"

	"github.com/distribution/reference"

	"longshore/internal/contract"
)

// jobType is the job type of a manifest.
type jobType struct {
	kind jobKind
	// text is as in the manifest, with ":latest" when it has no version; field is the key that says so.
	text, field, version string
	// fatman tells a version from the time when jobs were called fatmen (reference 1.3).
	fatman bool
}

// supportedTypes are the job types that can be run here.
func supportedTypes() []string { return []string{"docker-proxy", "docker-http", "dockerfile"} }

// jobType reads jobtype or lang, of which there is exactly one (reference J1 to J4).
func (l *loader) jobType(root *contract.Node) jobType {
	newer, older := root.Get("jobtype"), root.Get("lang")
	if newer.IsNull() == older.IsNull() {
		n := newer
		if newer.IsNull() {
			n = root
		}
		l.on(ruleOneType, n, `exactly one of "jobtype" or "lang" must be given`).Mend = "write jobtype: docker-proxy:latest"
		return jobType{}
	}
	field := "jobtype"
	if newer.IsNull() {
		field = "lang"
		l.deprecated(root, "lang", "jobtype")
	}
	text, n := l.text(root, field, "")
	if n == nil {
		return jobType{}
	}
	name, version, versioned := strings.Cut(text, ":")
	if name == "" || versioned && (version == "" || strings.Contains(version, ":")) {
		l.on(ruleJobType, n, `job type should be specified as "name:version", got "%s"`, show(text)).Mend = "write docker-proxy:latest"
		return jobType{}
	}
	j := jobType{text: text, field: field, version: version}
	switch name {
	case "docker-proxy", "docker-http":
		j.kind = dockerProxy
	case "dockerfile":
		j.kind = dockerSelf
	default:
		add := l.on(ruleJobType, n, "job type %s is not supported, supported are: [%s]", show(name), strings.Join(supportedTypes(), ", "))
		add.Why = "jobs of other types are built from Dockerfiles that come with Racetrack's plugins, not with the job"
		add.Mend = "package the job with a Dockerfile and docker-proxy:latest"
		if near := nearest(name, supportedTypes()); near != "" {
			add.Mend = "did you mean " + near + "?"
		}
		return jobType{}
	}
	if !versioned {
		j.text, j.version = text+":latest", "latest"
		l.on(ruleTypeVersion, n, `job type "%s" has no version; using "%s"`, show(text), show(j.text)).Mend = "write " + show(j.text)
	}
	l.typeVersion(&j, n)
	if name == "docker-http" {
		l.note("job type: docker-http is the older name of docker-proxy")
	}
	return j
}

// The forms of a job type's version (reference 6.1): a version, or a pattern with at least one star.
var (
	exactType   = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)(?:[-+.].*)?$`)
	patternType = regexp.MustCompile(`^(\d+|\*)(?:\.(\d+|\*))?(?:\.(\d+|\*))?(?:-.+)?$`)
)

// newestVersion is the newest release of each job type that was read.
func newestVersion(k jobKind) string {
	if k == dockerSelf {
		return "1.0.0"
	}
	return "3.2.2"
}

// typeVersion tells whether there is such a version of the job type. Every release is served by the same code, with the
// conventions of its time.
func (l *loader) typeVersion(j *jobType, n *contract.Node) {
	if j.version == "latest" {
		return
	}
	pattern := strings.Contains(j.version, "*")
	m := exactType.FindStringSubmatch(j.version)
	if pattern {
		m = patternType.FindStringSubmatch(j.version)
	}
	newest := number(newestVersion(j.kind)[:1])
	if m == nil || number(m[1]) > newest {
		what := `there is no version matching "%s", supported are: %s`
		if pattern {
			what = `language pattern "%s" doesn't match any of the supported versions: %s`
		}
		l.on(ruleJobType, n, what, show(j.text), supportedVersions(newest)).Mend = "write " + string(j.kind) + ":latest"
		return
	}
	if j.kind == dockerProxy && !pattern {
		j.fatman = number(m[1]) < 2 || number(m[1]) == 2 && number(m[2]) <= 5
	}
}

func supportedVersions(newest int) string {
	list := []string{"latest"}
	for v := newest; v > 0; v-- {
		list = append(list, string(rune('0'+v))+".*")
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// number reads digits; a star, nothing and numbers out of range give -1 and 1000.
func number(s string) int {
	v := 0
	if s == "" || s == "*" {
		return -1
	}
	for _, c := range s {
		v = min(v*10+int(c-'0'), 1000)
	}
	return v
}

// extra is the job type's own settings.
type extra struct {
	rewrite bool
	mode    *contract.Node // of proxy_mode
	// port is the only one to try; zero when not said. portField is the key that says so.
	port      int
	portField string
	// image is a ready image that is used instead of a build.
	image reference.Named
	rules bool // rewrite_rules are given
}

// extraMaps are the maps of which a manifest has at most one, in the order in which Racetrack looks at them.
func extraMaps() []string { return []string{"jobtype_extra", "golang", "python", "wrapper_properties"} }

// extraKeys are the settings of docker-proxy jobs. The first two are Racetrack's; dockerfile_path is read again, and image,
// rewrite_rules and the limits of concurrency are Longshore's own.
func extraKeys() []string {
	return []string{"proxy_mode", "user_module_port", "dockerfile_path", "image", "rewrite_rules", "max_concurrency", "max_concurrency_queue"}
}

// extra reads the one map that is there (reference J4, J5, J8).
func (l *loader) extra(root *contract.Node) {
	var there []string
	for _, key := range extraMaps() {
		if !root.Get(key).IsNull() {
			there = append(there, key)
			if key != "jobtype_extra" {
				l.deprecated(root, key, "jobtype_extra")
			}
		}
	}
	if len(there) > 1 {
		l.on(ruleOneExtra, root.Get(there[1]), "use only one of jobtype_extra, python, golang, wrapper_properties").Mend = "move everything to jobtype_extra"
	}
	for _, key := range there {
		n := l.mapping(root, key, "")
		if n == nil {
			continue
		}
		known := extraKeys()
		if key == "golang" || key == "python" {
			known = nil
		}
		l.unusedKeys(n, key+".", known)
		if known != nil {
			l.settings(n, key+".")
		}
	}
}

// settings reads the keys of the effective map.
func (l *loader) settings(n *contract.Node, prefix string) {
	x := &l.m.extra
	mode, at := l.text(n, "proxy_mode", prefix)
	switch {
	case at == nil, mode == "forward":
	case mode == "rewrite":
		x.rewrite, x.mode = true, at
	default:
		l.on(ruleProxyMode, at, `%sproxy_mode: must be "forward" or "rewrite", got "%s"`, prefix, show(mode)).Mend = "leave it out for forward"
	}
	if port := l.portOf(n, prefix); port != 0 {
		x.port, x.portField = port, prefix+"user_module_port"
	}
	l.dockerfilePath(n, prefix)
	l.rewriteRules(n, prefix)
	if name, at := l.text(n, "image", prefix); at != nil {
		ref, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			l.on(ruleImage, at, "%simage: %q is not an image's name: %s", prefix, show(name), show(err.Error())).Mend = "write name@sha256:…"
			return
		}
		x.image = ref
		add := l.on(ruleReadyImage, at, "%simage: is Longshore's own key; Racetrack ignores it and builds the Dockerfile", prefix)
		add.Mend = "keep a Dockerfile in the package, such as FROM and the image's name"
		if _, pinned := ref.(reference.Digested); !pinned {
			l.note("image: %s is not pinned by a digest", name)
		}
	}
	for _, key := range []string{"max_concurrency", "max_concurrency_queue"} {
		l.integer(n, key, prefix)
	}
}

// rules of the declarative rewriting (reference 3.6).
func rewriteRuleNames() []string { return []string{"html-paths", "css-urls", "localhost-urls", "none"} }

func (l *loader) rewriteRules(n *contract.Node, prefix string) {
	list := n.Get("rewrite_rules")
	if list.IsNull() {
		return
	}
	if list.Kind != contract.NodeList {
		l.wrongType(list, prefix+"rewrite_rules", "list")
		return
	}
	l.m.extra.rules = true
	for _, it := range list.Items {
		if scalarOf(it) != scalarString || !contains(rewriteRuleNames(), it.Text) {
			add := l.on(ruleRewrite, it, "%srewrite_rules: %s is not one of %s", prefix, source(it), strings.Join(rewriteRuleNames(), ", "))
			add.Mend = "choose of them"
			if near := nearest(it.Text, rewriteRuleNames()); near != "" {
				add.Mend = "did you mean " + near + "?"
			}
		}
	}
}
