package racetrack

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// topKeys lists the manifest's fields (release 2.36, and the deprecated ones of older releases).
func topKeys() []string {
	return []string{
		"name", "owner_email", "git", "version", "jobtype", "lang", "extends", "image_type", "system_dependencies", "build_env",
		"runtime_env", "secret_build_env_file", "secret_runtime_env_file", "labels", "public_endpoints", "replicas", "resources",
		"jobtype_extra", "python", "golang", "wrapper_properties", "docker", "infrastructure_target",
	}
}

func gitKeys() []string { return []string{"remote", "branch", "directory"} }

func resourceKeys() []string { return []string{"memory_min", "memory_max", "cpu_min", "cpu_max"} }

// manifest is what the fields say, as far as they are valid.
type manifest struct {
	name, version string
	email         string
	job           jobType
	extra         extra
	directory     string // git.directory, clean; "" for the root
	directoryNode *contract.Node
	branch        string
	remote        string // git.remote as written
	dockerfile    string // clean
	dockerNode    *contract.Node
	resources     task.Resources
	runtimeEnv    []variable
	buildEnv      []variable
	runSecrets    secretFile
	buildSecrets  secretFile
	labels        map[string]string
}

// readManifest checks every field.
func (l *loader) readManifest() {
	root := l.doc.root
	l.unknown(root, "", topKeys())
	m := &l.m
	m.name = l.name(root)
	m.email = l.email(root)
	m.version = l.version(root)
	m.job = l.jobType(root)
	l.legacy = l.legacy || m.job.fatman
	l.extra(root)
	l.gitFields(root)
	l.dockerFields(root)
	m.resources = l.resources(root)
	l.replicas(root)
	m.runtimeEnv = l.variables(root, "runtime_env")
	m.buildEnv = l.variables(root, "build_env")
	l.reserved()
	m.runSecrets = l.secretFile(root, "secret_runtime_env_file")
	m.buildSecrets = l.secretFile(root, "secret_build_env_file")
	m.labels = l.labelMap(root)
	l.endpoints(root)
	l.unused(root)
	l.target(root)
	if kind, n := l.text(root, "image_type", ""); n != nil && kind != "docker" {
		l.on(ruleImageType, n, "not supported image_type: %s", show(kind)).Mend = "leave it out, or write docker"
	}
	l.longName()
	l.passedOn()
	l.manifestPassedOn(root, "")
}

// nameForm is what a name must be to become a part of an image's name and of an address (reference N1).
var nameForm = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$`)

func (l *loader) name(root *contract.Node) string {
	name, n := l.required(root, "name", "", "give the job a name")
	if n == nil {
		return ""
	}
	if !nameForm.MatchString(name) {
		add := l.on(ruleName, n, `name: must be lower-case letters, digits, dots and dashes; "%s" is not`, show(name))
		add.Why = "it becomes a part of an image's name and of an address"
		add.Mend = "such as " + cmp.Or(slug(name), "my-job")
		return ""
	}
	if strings.Contains(name, "_") {
		add := l.on(ruleUnderscore, n, "name: underscores are not allowed in a DNS name")
		add.Why = "Racetrack on Kubernetes fails on it"
		add.Mend = "write " + strings.Trim(strings.ReplaceAll(name, "_", "-"), "-")
	}
	return name
}

// emailForm is Racetrack's own test, which finds its match anywhere.
var emailForm = regexp.MustCompile(`.+@.+`)

func (l *loader) email(root *contract.Node) string {
	email, n := l.required(root, "owner_email", "", "write the address of who looks after the job")
	if n != nil && !emailForm.MatchString(email) {
		l.on(ruleOwner, n, `owner_email: "%s" does not match .+@.+`, show(email)).Mend = "write an e-mail address"
	}
	return email
}

// versionForm is the expression of Racetrack's schema: semantic versions without a leading v or zero.
var versionForm = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)

// defaultVersion is a job's version when the manifest has none.
const defaultVersion = "0.0.1"

func (l *loader) version(root *contract.Node) string {
	switch number := root.Get("version"); scalarOf(number) {
	case scalarInt, scalarFloat: // which no quotes would mend
		l.wrongType(number, "version", "string").Mend = "such as 1.0.0"
		return defaultVersion
	}
	v, n := l.text(root, "version", "")
	switch {
	case n == nil:
		return defaultVersion
	case !versionForm.MatchString(v):
		add := l.on(ruleVersion, n, `version: "%s" is not a semantic version (X.Y.Z[-label][+build])`, show(v))
		add.Mend = "such as 1.0.0"
		return defaultVersion
	}
	return v
}

// resourceName is the name of the job's container on Racetrack; it is part of addresses.
func resourceName(name, version string) string {
	return "job-" + strings.NewReplacer(".", "-", "+", "-").Replace(name+"-v-"+version)
}

func (l *loader) longName() {
	if l.m.name == "" {
		return
	}
	if r := resourceName(l.m.name, l.m.version); len(r) > 63 {
		add := l.on(ruleLongName, l.doc.root.Get("name"), "name: %s is longer than 63 characters", show(r))
		add.Why = "Racetrack on Kubernetes needs it as a DNS name"
		add.Mend = "choose a shorter name or version"
	}
}

func (l *loader) gitFields(root *contract.Node) {
	if root.Get("git").IsNull() {
		l.on(ruleRequired, root, "git.remote: field required").Mend = "write git: with the https address of the repository as remote:"
		return
	}
	git := l.mapping(root, "git", "")
	if git == nil {
		return
	}
	l.unknown(git, "git.", gitKeys())
	if remote, n := l.required(git, "remote", "git.", "write the https address of the repository"); n != nil {
		l.remote(remote, n)
	}
	if branch, n := l.text(git, "branch", "git."); n != nil {
		l.m.branch = branch
		if !branchName(branch) {
			l.on(ruleBranch, n, `git.branch: "%s" is not a valid branch name`, show(branch)).Mend = "see `git check-ref-format --branch`"
		} else if commitID.MatchString(branch) {
			add := l.on(ruleCommit, n, "git.branch: %s is the id of a commit; Racetrack clones branches and tags only", branch)
			add.Mend = "put a tag on the commit and name that"
		}
	}
	if dir, n := l.text(git, "directory", "git."); n != nil {
		clean, ok := below(dir)
		if !ok {
			l.on(ruleDirectory, n, `git.directory: "%s" leaves the repository`, show(dir)).Mend = "write a path below the repository's root"
			return
		}
		l.m.directory, l.m.directoryNode = clean, n
	}
}

// commitID is the whole id of a commit.
var commitID = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

func (l *loader) remote(remote string, n *contract.Node) {
	if strings.HasPrefix(remote, "file://") || strings.HasPrefix(remote, "/") {
		l.m.remote = remote
		l.on(ruleLocalRemote, n, "git.remote: is on this machine; it works here, and Racetrack takes https:// only").Mend = "write the repository's https address before you deploy"
		return
	}
	rest, ok := strings.CutPrefix(remote, "https://")
	if !ok || rest == "" {
		add := l.on(ruleRemote, n, "git.remote: must start with https:// (SSH and http remotes are not supported)")
		add.Mend = "write the repository's https address"
		return
	}
	l.m.remote = remote
	if host, _, _ := strings.Cut(rest, "/"); strings.Contains(host, "@") {
		add := l.on(ruleCredentials, n, "git.remote: holds credentials, which everybody who sees the manifest can read")
		add.Mend = "give them to Racetrack as git credentials"
	}
}

// branchName is git's rule for branches (git check-ref-format --branch), with Racetrack's own against double quotes.
func branchName(b string) bool {
	if b == "" || b == "@" || b == "HEAD" || strings.HasPrefix(b, "-") || strings.HasSuffix(b, ".") || strings.HasSuffix(b, "/") {
		return false
	}
	if strings.Contains(b, "..") || strings.Contains(b, "@{") || strings.Contains(b, "//") {
		return false
	}
	for _, part := range strings.Split(b, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return !strings.ContainsFunc(b, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\"`, r) })
}

// dockerFields reads the deprecated docker map, whose only key is honoured (reference 6.3).
func (l *loader) dockerFields(root *contract.Node) {
	n := root.Get("docker")
	if n.IsNull() {
		return
	}
	l.deprecated(root, "docker", "jobtype_extra")
	docker := l.mapping(root, "docker", "")
	if docker == nil {
		return
	}
	l.unusedKeys(docker, "docker.", []string{"dockerfile_path"})
	l.dockerfilePath(docker, "docker.")
}

// dockerfilePath reads dockerfile_path. The first map to name one wins.
func (l *loader) dockerfilePath(in *contract.Node, prefix string) {
	p, n := l.text(in, "dockerfile_path", prefix)
	if n == nil {
		return
	}
	clean, ok := below(p)
	if !ok || clean == "" {
		l.on(ruleDockerfilePath, n, `%sdockerfile_path: "%s" leaves the package`, prefix, show(p)).Mend = "write the path of the Dockerfile below the package"
		return
	}
	if prefix == "docker." || l.m.dockerNode == nil {
		l.m.dockerfile, l.m.dockerNode = clean, n
	}
}

// deprecated warns of an old key in upstream's words (reference J4).
func (l *loader) deprecated(root *contract.Node, key, replacement string) {
	for _, m := range root.Members {
		if m.Key == key {
			add := l.onKey(ruleDeprecated, m, "%s: is deprecated. Use %s: instead.", key, replacement)
			add.Mend = "it still works; rename it once no older Racetrack needs it"
			return
		}
	}
}

// unusedKeys warns of keys that the job type does not read (reference J8).
func (l *loader) unusedKeys(n *contract.Node, prefix string, known []string) {
	if l.m.job.kind == dockerSelf {
		return // its template may read any key
	}
	for _, m := range n.Members {
		if contains(known, m.Key) {
			continue
		}
		add := l.onKey(ruleExtraKey, m, "%s: not used by docker-proxy", show(prefix+m.Key))
		add.Mend = "remove it"
		if near := nearest(m.Key, known); near != "" {
			add.Mend = "did you mean " + prefix + near + "?"
		}
	}
}

func (l *loader) replicas(root *contract.Node) {
	v, n := l.integer(root, "replicas", "")
	switch {
	case n == nil:
	case !v.IsInt64() || v.Int64() < 1 || v.Int64() > 50:
		l.on(ruleReplicas, n, "replicas: must be between 1 and 50").Mend = "write a number from 1 to 50"
	case v.Int64() > 1:
		add := l.on(ruleOneReplica, n, "replicas: %s requested, target local runs 1", v)
		add.Mend = "nothing, if one is enough here"
	}
}

// labelMap reads labels, which hold anything; dates and numbers are shown as written, lists and mappings as JSON.
func (l *loader) labelMap(root *contract.Node) map[string]string {
	n := l.mapping(root, "labels", "")
	if n == nil || len(n.Members) == 0 {
		return nil
	}
	labels := map[string]string{}
	for _, m := range n.Members {
		text := m.Value.Text
		if scalarOf(m.Value) == scalarNone {
			text = string(m.Value.JSON())
		}
		labels[m.Key] = text
	}
	return labels
}

func (l *loader) endpoints(root *contract.Node) {
	for _, n := range l.texts(root, "public_endpoints") {
		switch {
		case n.Text == "/" || n.Text == "":
			add := l.on(ruleOpenEndpoint, n, `public_endpoints: "/" opens every path`)
			add.Mend = "name the paths that need no token"
		case !strings.HasPrefix(n.Text, "/"):
			add := l.on(ruleEndpoint, n, "public_endpoints: %s does not begin with a slash; / is added", show(n.Text))
			add.Why = "on Racetrack such an entry never matches"
			add.Mend = "write /" + show(n.Text)
		}
	}
}

// unused warns of fields that say something to other job types only (reference E2).
func (l *loader) unused(root *contract.Node) {
	if len(l.texts(root, "system_dependencies")) == 0 || l.m.job.kind == dockerSelf {
		return
	}
	add := l.on(ruleUnused, root.Get("system_dependencies"), "system_dependencies: not used by docker-proxy")
	add.Mend = "install them in the Dockerfile"
}

// targets are the infrastructure targets that there are, as names that a manifest may use.
func targets() []string { return []string{"docker", "kubernetes", "local"} }

func (l *loader) target(root *contract.Node) {
	t, n := l.text(root, "infrastructure_target", "")
	switch {
	case n == nil:
	case !contains(targets(), t):
		add := l.on(ruleTarget, n, `Selected infrastructure target "%s" is unavailable. Available are [%s].`, show(t), strings.Join(targets(), ", "))
		add.Mend = "leave it out to run the job here"
	case t == "kubernetes":
		l.note("infrastructure_target: kubernetes; a run here uses this machine")
	}
}

// reservedNames are the variables that Racetrack sets in every container of a job (reference 3.4).
func reservedNames(legacy bool) []string {
	names := []string{
		"PUB_URL", "JOB_NAME", "JOB_VERSION", "JOB_MANIFEST_YAML", "AUTH_TOKEN", "JOB_DEPLOYMENT_TIMESTAMP",
		"REQUEST_TRACING_HEADER", "JOB_USER_MODULE_HOSTNAME", "OPENTELEMETRY_ENDPOINT",
	}
	if legacy {
		names = append(names, "FATMAN_NAME", "FATMAN_VERSION", "FATMAN_DEPLOYMENT_TIMESTAMP", "FATMAN_USER_MODULE_HOSTNAME")
	}
	return names
}

// reserved refuses runtime variables with names that Racetrack sets itself (reference E1), with all of them in one text.
func (l *loader) reserved() {
	taken := reservedNames(l.legacy)
	var names []string
	var first contract.Member
	for _, v := range l.m.runtimeEnv {
		if contains(taken, v.Name) {
			if len(names) == 0 {
				first = v.member
			}
			names = append(names, v.Name)
		}
	}
	if len(names) > 0 {
		l.onKey(ruleReserved, first, "%s", conflict(names)).Mend = "rename the variables"
	}
}

// conflict is upstream's text for reserved names.
func conflict(names []string) string {
	var quoted []string
	for _, n := range names {
		quoted = append(quoted, "'"+n+"'")
	}
	return "found illegal runtime env vars, which conflict with reserved names: {" + strings.Join(quoted, ", ") + "}"
}

// slug reduces a name to lower-case letters, digits and dashes.
func slug(s string) string {
	const most = 100
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case b.Len() >= most:
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// portOf reads user_module_port (reference J7, J9).
func (l *loader) portOf(in *contract.Node, prefix string) int {
	v, n := l.integer(in, "user_module_port", prefix)
	if n == nil {
		return 0
	}
	if !v.IsInt64() || v.Int64() < 1 || v.Int64() > 65535 {
		l.on(rulePort, n, "%suser_module_port: must be a TCP port", prefix).Mend = "write a number from 1 to 65535"
		return 0
	}
	port := int(v.Int64())
	if port == wrapperPort {
		add := l.on(ruleWrapperPort, n, "user_module_port: 7000 is the wrapper's port")
		add.Why = "on Kubernetes both share one network"
		add.Mend = "choose another port, such as " + strconv.Itoa(seedPort)
	}
	return port
}
