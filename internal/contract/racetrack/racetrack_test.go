package racetrack_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/racetrack"
	"longshore/internal/task"
)

// base is the manifest of reference 11.2, to which tests add lines.
const base = `name: a
owner_email: x@y
git:
  remote: https://h/r
jobtype: docker-proxy:latest
`

// files is a package, by slash path. A value that begins with "-> " is a symbolic link.
type files map[string]string

// write makes the package's folder.
func (f files) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, p)
		} else {
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// open shows a folder as the command does.
func open(t *testing.T, dir string) contract.Source {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return contract.Source{Given: "pkg", FS: root.FS(), Dir: dir}
}

func load(t *testing.T, f files) (*task.Task, []task.Finding) {
	t.Helper()
	return racetrack.New().Load(open(t, f.write(t)), contract.Options{})
}

// with returns a package of a manifest and a Dockerfile.
func with(manifest string) files {
	return files{"job.yaml": manifest, "Dockerfile": "FROM busybox\n"}
}

// brief is a finding in one line: severity, place, rule and text.
func brief(fs []task.Finding) []string {
	var out []string
	for _, f := range fs {
		words := []string{string(f.Severity[:1]), strings.TrimPrefix(f.Rule, "RACETRACK-"), f.Position(), f.What}
		out = append(out, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " "))
	}
	return out
}

// replaced returns base with a line in the place of another.
func replaced(old, new string) string {
	if !strings.Contains(base, old) {
		panic("base has no " + old)
	}
	return strings.Replace(base, old, new, 1)
}

// TestManifest holds every rule about the manifest's content (reference 2.9, 11.2), one change to a valid manifest each.
func TestManifest(t *testing.T) {
	typed := func(s string) string { return replaced("jobtype: docker-proxy:latest", s) }
	for _, c := range []struct {
		name, manifest string
		want           []string
	}{
		{"valid", base, nil},
		{"all fields", base + `version: 1.2.3-rc.1
image_type: docker
runtime_env: {A: b}
labels: {a: 1, when: 2024-01-02, list: [x]}
public_endpoints: [/api/v1/webview]
replicas: 1
resources: {memory_min: 100Mi, memory_max: 1.5Gi, cpu_min: 0.25, cpu_max: 2}
jobtype_extra: {proxy_mode: forward, user_module_port: 7001, max_concurrency: 4}
infrastructure_target: local
`, nil},
		{"nulls", base + "version: null\nlabels: ~\nreplicas:\n", nil},

		{"no type version", typed("jobtype: docker-proxy"), []string{`w J2 job.yaml:5:10 job type "docker-proxy" has no version; using "docker-proxy:latest"`}},
		{"bare lang", typed("lang: docker-proxy"), []string{
			"w J4 job.yaml:5:1 lang: is deprecated. Use jobtype: instead.",
			`w J2 job.yaml:5:7 job type "docker-proxy" has no version; using "docker-proxy:latest"`,
		}},
		{"docker-http", typed("lang: docker-http:2.4.0"), []string{"w J4 job.yaml:5:1 lang: is deprecated. Use jobtype: instead."}},
		{"both types", base + "lang: docker-proxy:latest\n", []string{`e J1 job.yaml:5:10 exactly one of "jobtype" or "lang" must be given`}},
		{"no type", typed(""), []string{`e J1 job.yaml:1:1 exactly one of "jobtype" or "lang" must be given`}},
		{"three parts", typed("jobtype: a:b:c"), []string{`e J3 job.yaml:5:10 job type should be specified as "name:version", got "a:b:c"`}},
		{"empty version", typed(`jobtype: "docker-proxy:"`), []string{`e J3 job.yaml:5:10 job type should be specified as "name:version", got "docker-proxy:"`}},
		{"other type", typed("jobtype: python3:latest"), []string{"e J3 job.yaml:5:10 job type python3 is not supported, supported are: [docker-proxy, docker-http, dockerfile]"}},
		{"type from the future", typed("jobtype: docker-proxy:4.*"), []string{`e J3 job.yaml:5:10 language pattern "docker-proxy:4.*" doesn't match any of the supported versions: [latest, 3.*, 2.*, 1.*]`}},
		{"odd type version", typed("jobtype: docker-proxy:newest"), []string{`e J3 job.yaml:5:10 there is no version matching "docker-proxy:newest", supported are: [latest, 3.*, 2.*, 1.*]`}},
		{"pattern", typed("jobtype: docker-proxy:3.2.*"), nil},
		{"star", typed("jobtype: docker-proxy:*"), nil},
		{"exact", typed("jobtype: docker-proxy:3.3.0-dev"), nil},

		{"email", replaced("x@y", `"a@"`), []string{`e O1 job.yaml:2:14 owner_email: "a@" does not match .+@.+`}},
		{"odd email", replaced("x@y", `" @ "`), nil},
		{"http remote", replaced("https://h/r", "http://h/r"), []string{"e G1 job.yaml:4:11 git.remote: must start with https:// (SSH and http remotes are not supported)"}},
		{"upper-case remote", replaced("https://h/r", "HTTPS://h/r"), []string{"e G1 job.yaml:4:11 git.remote: must start with https:// (SSH and http remotes are not supported)"}},
		{"local remote", replaced("https://h/r", "file:///srv/r.git"), []string{"w G6 job.yaml:4:11 git.remote: is on this machine; it works here, and Racetrack takes https:// only"}},
		{"ssh remote", replaced("https://h/r", "git@h:r"), []string{"e G1 job.yaml:4:11 git.remote: must start with https:// (SSH and http remotes are not supported)"}},
		{"remote with password", replaced("https://h/r", "https://u:p@h/r"), []string{"w G4 job.yaml:4:11 git.remote: holds credentials, which everybody who sees the manifest can read"}},
		{"branch", replaced("https://h/r", "https://h/r\n  branch: a..b"), []string{`e G2 job.yaml:5:11 git.branch: "a..b" is not a valid branch name`}},
		{"directory up", replaced("https://h/r", "https://h/r\n  directory: ../x"), []string{`e G3 job.yaml:5:14 git.directory: "../x" leaves the repository`}},
		{"directory absolute", replaced("https://h/r", "https://h/r\n  directory: /x"), []string{`e G3 job.yaml:5:14 git.directory: "/x" leaves the repository`}},
		{"directory elsewhere", replaced("https://h/r", "https://h/r\n  directory: svc"), nil},
		{"unknown git key", replaced("https://h/r", "https://h/r\n  brunch: x"), []string{"e T2 job.yaml:5:3 git.brunch: extra inputs are not permitted"}},

		{"no replicas", base + "replicas: 0", []string{"e R2 job.yaml:6:11 replicas: must be between 1 and 50"}},
		{"negative replicas", base + "replicas: -3", []string{"e R2 job.yaml:6:11 replicas: must be between 1 and 50"}},
		{"many replicas", base + "replicas: 50", []string{"w R3 job.yaml:6:11 replicas: 50 requested, target local runs 1"}},
		{"too many replicas", base + "replicas: 51", []string{"e R2 job.yaml:6:11 replicas: must be between 1 and 50"}},
		{"octal replicas", base + "replicas: 012", []string{"w R3 job.yaml:6:11 replicas: 10 requested, target local runs 1"}},
		{"text replicas", base + `replicas: "3"`, []string{"w R3 job.yaml:6:11 replicas: 3 requested, target local runs 1"}},
		{"whole replicas", base + "replicas: 1.0", nil},
		{"broken replicas", base + "replicas: 3.5", []string{"e T3 job.yaml:6:11 replicas: input should be a valid integer, got 3.5"}},
		{"true replicas", base + "replicas: yes", []string{"e T3 job.yaml:6:11 replicas: input should be a valid integer, got yes"}},

		{"two extras", base + "jobtype_extra: {}\nwrapper_properties: {}", []string{
			"w J4 job.yaml:7:1 wrapper_properties: is deprecated. Use jobtype_extra: instead.",
			"e J5 job.yaml:7:21 use only one of jobtype_extra, python, golang, wrapper_properties",
		}},
		{"extra and docker", base + "jobtype_extra: {}\ndocker: {dockerfile_path: Dockerfile}", []string{"w J4 job.yaml:7:1 docker: is deprecated. Use jobtype_extra: instead."}},
		{"docker key", base + "docker: {x: 1}", []string{
			"w J4 job.yaml:6:1 docker: is deprecated. Use jobtype_extra: instead.",
			"w J8 job.yaml:6:10 docker.x: not used by docker-proxy",
		}},
		{"extra key", base + "jobtype_extra: {user_modul_port: 1}", []string{"w J8 job.yaml:6:17 jobtype_extra.user_modul_port: not used by docker-proxy"}},
		{"python map", base + "python: {requirements_path: r.txt}", []string{
			"w J4 job.yaml:6:1 python: is deprecated. Use jobtype_extra: instead.",
			"w J8 job.yaml:6:10 python.requirements_path: not used by docker-proxy",
		}},
		{"proxy mode", base + "jobtype_extra: {proxy_mode: rewrit}", []string{`e J6 job.yaml:6:29 jobtype_extra.proxy_mode: must be "forward" or "rewrite", got "rewrit"`}},
		{"port", base + "jobtype_extra: {user_module_port: 70000}", []string{"e J7 job.yaml:6:35 jobtype_extra.user_module_port: must be a TCP port"}},
		{"port as text", base + `wrapper_properties: {user_module_port: "0"}`, []string{
			"w J4 job.yaml:6:1 wrapper_properties: is deprecated. Use jobtype_extra: instead.",
			"e J7 job.yaml:6:40 wrapper_properties.user_module_port: must be a TCP port",
		}},
		{"port of the environment", base + "runtime_env: {JOB_USER_MODULE_PORT: http}", []string{"e J7 job.yaml:6:37 runtime_env.JOB_USER_MODULE_PORT: must be a TCP port"}},
		{"wrapper's port", base + "jobtype_extra: {user_module_port: 7000}", []string{"w J9 job.yaml:6:35 user_module_port: 7000 is the wrapper's port"}},
		{"image type", base + "image_type: vm", []string{"e J10 job.yaml:6:13 not supported image_type: vm"}},
		{"bad image", base + "jobtype_extra: {image: 'a b'}", []string{`e J11 job.yaml:6:24 jobtype_extra.image: "a b" is not an image's name: invalid reference format`}},
		{"rewrite without rules", base + "jobtype_extra: {proxy_mode: rewrite}", []string{"e D3 job.yaml:6:29 proxy_mode rewrite needs proxy_settings.py or jobtype_extra.rewrite_rules"}},
		{"rewrite rules", base + "jobtype_extra: {proxy_mode: rewrite, rewrite_rules: [html-paths, css-urls]}", nil},
		{"rewrite rule", base + "jobtype_extra: {proxy_mode: rewrite, rewrite_rules: [html-path]}", []string{`e D3 job.yaml:6:54 jobtype_extra.rewrite_rules: html-path is not one of html-paths, css-urls, localhost-urls, none`}},

		{"name", replaced("name: a", `name: "A_b/c d"`), []string{`e N1 job.yaml:1:7 name: must be lower-case letters, digits, dots and dashes; "A_b/c d" is not`}},
		{"empty name", replaced("name: a", `name: ""`), []string{`e N1 job.yaml:1:7 name: must be lower-case letters, digits, dots and dashes; "" is not`}},
		{"underscore", replaced("name: a", "name: a_b"), []string{"w N2 job.yaml:1:7 name: underscores are not allowed in a DNS name"}},
		{"long name", replaced("name: a", "name: "+strings.Repeat("a", 60)), []string{"w N4 job.yaml:1:7 name: job-" + strings.Repeat("a", 60) + "-v-0-0-1 is longer than 63 characters"}},
		{"missing", "git: {}\n", []string{
			"e T1 job.yaml:1:1 name: field required",
			"e T1 job.yaml:1:1 owner_email: field required",
			`e J1 job.yaml:1:1 exactly one of "jobtype" or "lang" must be given`,
			"e T1 job.yaml:1:6 git.remote: field required",
		}},
		{"no git", strings.Replace(base, "git:\n  remote: https://h/r\n", "", 1), []string{"e T1 job.yaml:1:1 git.remote: field required"}},
		{"unknown", base + "surname: x", []string{"e T2 job.yaml:6:1 surname: extra inputs are not permitted"}},
		{"duplicate", base + "name: b", []string{"w F5 job.yaml:6:1 the key name is repeated"}},

		{"version v", base + "version: v1.0.0", []string{`e V1 job.yaml:6:10 version: "v1.0.0" is not a semantic version (X.Y.Z[-label][+build])`}},
		{"version two parts", base + `version: "1.2"`, []string{`e V1 job.yaml:6:10 version: "1.2" is not a semantic version (X.Y.Z[-label][+build])`}},
		{"version number", base + "version: 1.2", []string{"e T3 job.yaml:6:10 version: input should be a valid string, got 1.2"}},
		{"version zero", base + "version: 01.2.3", []string{`e V1 job.yaml:6:10 version: "01.2.3" is not a semantic version (X.Y.Z[-label][+build])`}},
		{"version label", base + "version: 1.2.3-01", []string{`e V1 job.yaml:6:10 version: "1.2.3-01" is not a semantic version (X.Y.Z[-label][+build])`}},
		{"version build", base + "version: 1.2.3+b1", nil},
		{"version date", base + "version: 2024-01-02", []string{"e T3 job.yaml:6:10 version: input should be a valid string, got 2024-01-02"}},

		{"boolean name", replaced("name: a", "name: no"), []string{"e T3 job.yaml:1:7 name: input should be a valid string, got no"}},
		{"quoted no", replaced("name: a", `name: "no"`), nil},
		{"sexagesimal", replaced("name: a", "name: 12:30"), []string{"e T3 job.yaml:1:7 name: input should be a valid string, got 12:30"}},
		{"exponent", replaced("name: a", "name: 1e3"), nil},
		{"y", replaced("name: a", "name: y"), nil},
		{"list name", replaced("name: a", "name: [a]"), []string{"e T3 job.yaml:1:7 name: input should be a valid string, got a list"}},
		{"git text", replaced("git:\n  remote: https://h/r", "git: https://h/r"), []string{"e T3 job.yaml:3:6 git: input should be a valid dictionary, got https://h/r"}},
		{"labels text", base + "labels: x", []string{"e T3 job.yaml:6:9 labels: input should be a valid dictionary, got x"}},
		{"any label", base + "labels: {dockerfile_path: 1}", nil},
		{"endpoints text", base + "public_endpoints: /x", []string{"e T3 job.yaml:6:19 public_endpoints: input should be a valid list, got /x"}},
		{"endpoint number", base + "public_endpoints: [1]", []string{"e T3 job.yaml:6:20 public_endpoints.0: input should be a valid string, got 1"}},
		{"endpoint", base + "public_endpoints: [api]", []string{"w P1 job.yaml:6:20 public_endpoints: api does not begin with a slash; / is added"}},
		{"endpoint root", base + "public_endpoints: [/]", []string{`w P2 job.yaml:6:20 public_endpoints: "/" opens every path`}},

		{"numbers in the environment", base + "runtime_env: {A: 8080, B: 0x1F, C: 1_000, D: yes, E: 1.50, F: '1'}", []string{
			`w T4 job.yaml:6:18 runtime_env.A: input should be a valid string, got 8080; it is taken as the text "8080"`,
			`w T4 job.yaml:6:27 runtime_env.B: input should be a valid string, got 0x1F; it is taken as the text "0x1F"`,
			`w T4 job.yaml:6:36 runtime_env.C: input should be a valid string, got 1_000; it is taken as the text "1_000"`,
			`w T4 job.yaml:6:46 runtime_env.D: input should be a valid string, got yes; it is taken as the text "yes"`,
			`w T4 job.yaml:6:54 runtime_env.E: input should be a valid string, got 1.50; it is taken as the text "1.50"`,
		}},
		{"lists in the environment", base + "runtime_env: {A: [x], B: null}", []string{
			"e T3 job.yaml:6:18 runtime_env.A: input should be a valid string, got a list",
			"e T3 job.yaml:6:26 runtime_env.B: input should be a valid string, got null",
		}},
		{"names of the environment", base + `runtime_env: {"A=B": x, "": y}`, []string{
			"e E3 job.yaml:6:15 runtime_env.A=B: the name of an environment variable holds neither = nor control characters",
			"e E3 job.yaml:6:25 runtime_env.: an environment variable needs a name",
		}},
		{"long variable", base + "runtime_env: {A: " + strings.Repeat("x", 128<<10) + "}", []string{
			"w F7 job.yaml the manifest cannot be given to the job as JOB_MANIFEST_YAML: an environment variable holds at most 128 KiB",
			"e E3 job.yaml:6:15 runtime_env.A: an environment variable holds at most 128 KiB",
		}},
		{"reserved", base + "runtime_env: {A: b, JOB_NAME: x, PUB_URL: y}", []string{"e E1 job.yaml:6:21 found illegal runtime env vars, which conflict with reserved names: {'JOB_NAME', 'PUB_URL'}"}},
		{"fatman is free", base + "runtime_env: {FATMAN_NAME: x}", nil},
		{"dependencies", base + "system_dependencies: [vim]", []string{"w E2 job.yaml:6:22 system_dependencies: not used by docker-proxy"}},
		{"build secrets", base + "secret_build_env_file: .env", []string{"e S1 job.yaml:6:24 secret env file doesn't exist: .env"}},
		{"a commit", replaced("https://h/r", "https://h/r\n  branch: 0123456789abcdef0123456789abcdef01234567"), []string{"w G5 job.yaml:5:11 git.branch: 0123456789abcdef0123456789abcdef01234567 is the id of a commit; Racetrack clones branches and tags only"}},
		{"values for a shell", base + "runtime_env: {A: 'x y', B: '$(id)', C: \"a\\nb\", D: '{\"a\": 1}'}", []string{
			"w E4 job.yaml:6:28 runtime_env.B: quotes, $, backquotes, backslashes and line ends arrive changed on Racetrack",
			"w E4 job.yaml:6:40 runtime_env.C: quotes, $, backquotes, backslashes and line ends arrive changed on Racetrack",
			"w E4 job.yaml:6:51 runtime_env.D: quotes, $, backquotes, backslashes and line ends arrive changed on Racetrack",
		}},
		{"a long manifest", base + "runtime_env: {A: " + strings.Repeat("x", 2500) + "}", []string{"w F8 job.yaml the manifest and runtime_env make 5110 characters; Racetrack on Docker fails on more than 4096"}},
		{"values that break the manifest", base + "labels: {a: 'x\"y'}\npublic_endpoints: [/$(id)]", []string{
			"w F9 job.yaml:6:13 labels.a: quotes, $, backquotes and backslashes break the manifest that Racetrack passes on",
			"w F9 job.yaml:7:20 public_endpoints: quotes, $, backquotes and backslashes break the manifest that Racetrack passes on",
		}},
		{"ready image", base + "jobtype_extra: {image: 'ghcr.io/org/x:1'}", []string{"w J12 job.yaml:6:24 jobtype_extra.image: is Longshore's own key; Racetrack ignores it and builds the Dockerfile"}},
		{"no secrets", base + "secret_runtime_env_file: .env", []string{"e S1 job.yaml:6:26 secret env file doesn't exist: .env"}},
		{"secrets outside", base + "secret_runtime_env_file: ../.env", []string{`e S1 job.yaml:6:26 secret_runtime_env_file: "../.env" leaves the package`}},

		{"quantity", base + "resources: {memory_max: 1GI, cpu_max: 1e3, memory_min: -1, cpu_min: .5}", []string{
			"e R1 job.yaml:6:25 resources.memory_max: invalid suffix: GI, use one of n, u, m, k, M, G, T, P, E, p, Ki, Mi, Gi, Ti, Pi, Ei",
			`e R1 job.yaml:6:39 resources.cpu_max: invalid quantity format: 1e3, use "<number><suffix>"`,
			`e R1 job.yaml:6:56 resources.memory_min: invalid quantity format: -1, use "<number><suffix>"`,
			`e R1 job.yaml:6:69 resources.cpu_min: invalid quantity format: .5, use "<number><suffix>"`,
		}},
		{"range", base + "resources: {memory_min: 2Gi, memory_max: 1Gi}", []string{"e R1 job.yaml:6:25 resources.memory_min (2Gi) must be less than resources.memory_max (1Gi)"}},
		{"boolean quantity", base + "resources: {memory_min: on}", []string{"e T3 job.yaml:6:25 resources.memory_min: input should be a valid quantity, got on"}},
		{"huge quantity", base + "resources: {memory_max: 9999999Ei}", []string{"e R1 job.yaml:6:25 resources.memory_max: 9999999Ei is more than any machine has"}},
		{"resource key", base + "resources: {memory: 1Gi}", []string{"e T2 job.yaml:6:13 resources.memory: extra inputs are not permitted"}},

		{"target", base + "infrastructure_target: remote-docker", []string{`e I1 job.yaml:6:24 Selected infrastructure target "remote-docker" is unavailable. Available are [docker, kubernetes, local].`}},
		{"dockerfile outside", base + "docker: {dockerfile_path: ../Dockerfile}", []string{
			"w J4 job.yaml:6:1 docker: is deprecated. Use jobtype_extra: instead.",
			`e D2 job.yaml:6:27 docker.dockerfile_path: "../Dockerfile" leaves the package`,
		}},
		{"syntax", "name: [\n", nil},
		{"control character", base + "# \x1b[31m\n", []string{"e F4 job.yaml:6:3 loading YAML: 6:3 special characters are not allowed, found U+001B"}},
		{"escaped control character", base + "labels: {a: \"\\x1b[31m\"}\n", nil},
		{"list", "- a\n", []string{"e F4 job.yaml:1:1 manifest is not a YAML mapping"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tk, found := load(t, with(c.manifest))
			if c.name == "syntax" {
				if len(found) != 1 || !strings.HasPrefix(found[0].What, "loading YAML: ") || tk != nil {
					t.Errorf("got %v", brief(found))
				}
				return
			}
			if diff := cmp.Diff(c.want, brief(found)); diff != "" {
				t.Errorf("findings (-want +got)\n%s", diff)
			}
			if tk == nil && c.name != "list" && c.name != "control character" {
				t.Error("no task to show")
			}
		})
	}
}

// TestPackage holds the rules about files, with the place of what is built.
func TestPackage(t *testing.T) {
	dir := func(d string) string { return replaced("https://h/r", "https://h/r\n  directory: "+d) }
	for _, c := range []struct {
		name  string
		files files
		want  []string
		// context is relative to the package, with the Dockerfile after a colon; "" is not looked at.
		context string
	}{
		{"plain", with(base), nil, ".:Dockerfile"},
		{"no manifest", files{"Dockerfile": "FROM busybox"}, []string{"e F1 local manifest file 'pkg/job.yaml' doesn't exist (fatman.yaml not found either)"}, ""},
		{"two manifests", files{"job.yaml": base, "fatman.yaml": "x", "Dockerfile": "FROM busybox"}, []string{"w F2 job.yaml both job.yaml and fatman.yaml found; using job.yaml"}, ".:Dockerfile"},
		{"old manifest", files{"fatman.yaml": base, "Dockerfile": "FROM busybox"}, []string{`w F3 fatman.yaml You are using old manifest file name "fatman.yaml". Please rename it to "job.yaml"`}, ".:Dockerfile"},
		{"old reserved names", files{"fatman.yaml": base + "runtime_env: {FATMAN_NAME: x}", "Dockerfile": "FROM busybox"}, []string{
			`w F3 fatman.yaml You are using old manifest file name "fatman.yaml". Please rename it to "job.yaml"`,
			"e E1 fatman.yaml:6:15 found illegal runtime env vars, which conflict with reserved names: {'FATMAN_NAME'}",
		}, ".:Dockerfile"},
		{"manifest is a folder", files{"job.yaml/x": ""}, []string{"e F4 job.yaml loading YAML: it is a folder, not a file"}, ""},
		{"manifest leads out", files{"job.yaml": "-> /etc/passwd"}, nil, ""},

		{"no dockerfile", files{"job.yaml": base, "dockerfile": "FROM busybox"}, []string{"e D1 job.yaml User-module Dockerfile was not found in a job workspace: Dockerfile"}, ""},
		{"dockerfile leads out", files{"job.yaml": base, "Dockerfile": "-> /etc/passwd"}, []string{"e D1 job.yaml User-module Dockerfile was not found in a job workspace: Dockerfile"}, ""},
		{"named dockerfile", files{"job.yaml": base + "jobtype_extra: {dockerfile_path: docker/dev.Dockerfile}", "docker/dev.Dockerfile": "FROM busybox"}, nil, ".:docker/dev.Dockerfile"},
		{"other dockerfile", files{"job.yaml": base + "jobtype_extra: {dockerfile_path: dev}", "dev": "FROM busybox", "Dockerfile": "FROM busybox"}, []string{
			"w D9 job.yaml:6:34 dockerfile_path: dev is built; Racetrack today would build Dockerfile",
		}, ".:dev"},
		{"docker map wins", files{"job.yaml": base + "jobtype_extra: {dockerfile_path: dev}\ndocker: {dockerfile_path: prod}", "dev": "FROM busybox", "prod": "FROM busybox"}, []string{
			"w J4 job.yaml:7:1 docker: is deprecated. Use jobtype_extra: instead.",
		}, ".:prod"},
		{"directory", files{"job.yaml": dir("svc"), "svc/Dockerfile": "FROM busybox"}, nil, "svc:Dockerfile"},
		{"directory but here", files{"job.yaml": dir("svc"), "svc/x": "", "Dockerfile": "FROM busybox"}, nil, ".:Dockerfile"},
		{"directory and here", files{"job.yaml": dir("svc"), "svc/Dockerfile": "FROM busybox", "Dockerfile": "FROM busybox"}, []string{
			"w D9 job.yaml:5:14 git.directory: this folder's own Dockerfile is built; from git, Racetrack builds the one in svc",
		}, ".:Dockerfile"},
		{"directory leads out", files{"job.yaml": dir("svc"), "svc": "-> /etc", "Dockerfile": "FROM busybox"}, nil, ".:Dockerfile"},

		{"low port", files{"job.yaml": base + "jobtype_extra: {user_module_port: 80}", "Dockerfile": "FROM busybox\n"}, []string{
			"w K1 Dockerfile the server listens on port 80; Racetrack on Kubernetes runs jobs as user 100000 without privileges, which cannot",
		}, ""},
		{"low exposed port", files{"job.yaml": base, "Dockerfile": "FROM busybox\nEXPOSE 443/tcp\n"}, []string{
			"w K1 Dockerfile the server listens on port 443; Racetrack on Kubernetes runs jobs as user 100000 without privileges, which cannot",
		}, ""},
		{"several exposed ports", files{"job.yaml": base, "Dockerfile": "FROM busybox\nEXPOSE 80 8080\n"}, nil, ""},
		{"identity hook", files{"job.yaml": base + "jobtype_extra: {proxy_mode: rewrite}", "Dockerfile": "FROM busybox", "proxy_settings.py": "# nothing\nfrom typing import Dict\n\ndef rewrite_proxy_paths(content: bytes, headers: Dict[str, str], base_path: str) -> bytes:\n    return content  # as it is\n"}, nil, ""},
		{"empty dockerfile", files{"job.yaml": base, "Dockerfile": "\n"}, []string{"e D4 Dockerfile:1 Dockerfile line 1: file with no instructions"}, ".:Dockerfile"},
		{"no FROM", files{"job.yaml": base, "Dockerfile": "RUN x\n"}, []string{"e D4 Dockerfile:1 Dockerfile line 1: no build stage in current context"}, ".:Dockerfile"},
		{"ignored", files{"job.yaml": base, "Dockerfile": "FROM busybox\nCOPY m.bin d /\n", "m.bin": "m", "d/m.bin": "m", ".dockerignore": "*\n!d/m.bin\n"}, []string{"e D7 Dockerfile:2 Dockerfile line 2: COPY m.bin: left out of the build context by .dockerignore"}, ".:Dockerfile"},
		{"added repository", files{"job.yaml": base, "Dockerfile": "FROM busybox\nADD https://h/r.git?x=1#main git@h:r /src/\nADD https://h/r.git.txt /\n"}, []string{
			"e D14 Dockerfile:2 Dockerfile line 2: ADD https://h/r.git?x=1#main: ADD of a git repository is not supported",
			"e D14 Dockerfile:2 Dockerfile line 2: ADD git@h:r: ADD of a git repository is not supported",
		}, ".:Dockerfile"},
		{"stage without use", files{"job.yaml": base, "Dockerfile": "FROM busybox AS dev\nCOPY gone /\nADD git@h:r /src\nFROM busybox\n"}, nil, ".:Dockerfile"},
		{"ignored folder", files{"job.yaml": base, "Dockerfile": "FROM busybox\nCOPY d *.x . /\n", "d/m.bin": "m", ".dockerignore": "d\n"}, []string{"e D7 Dockerfile:2 Dockerfile line 2: COPY d: left out of the build context by .dockerignore"}, ".:Dockerfile"},
		{"broken dockerfile", files{"job.yaml": base, "Dockerfile": "FROM busybox\nCOPPY a b\n"}, []string{"e D4 Dockerfile:2 Dockerfile line 2: unknown instruction: COPPY (did you mean COPY?)"}, ""},
		{"private bases", files{"job.yaml": base, "Dockerfile": `FROM localhost:5000/a AS one
FROM registry.corp.internal/b AS two
FROM 10.0.0.7:5000/c AS three
FROM 123.dkr.ecr.eu-west-1.amazonaws.com/d AS four
FROM reg:5000/e AS five
FROM python:3.9-slim-bullseye AS six
FROM ghcr.io/org/f AS seven
FROM registry.example.org/g AS eight
FROM scratch
COPY --from=one /a /a
COPY --from=0 /a /a
COPY --from=reg:5000/h /a /a
`}, []string{
			"e D5 Dockerfile:1 the base image localhost:5000/a comes from the private registry localhost:5000",
			"e D5 Dockerfile:2 the base image registry.corp.internal/b comes from the private registry registry.corp.internal",
			"e D5 Dockerfile:3 the base image 10.0.0.7:5000/c comes from the private registry 10.0.0.7:5000",
			"e D5 Dockerfile:4 the base image 123.dkr.ecr.eu-west-1.amazonaws.com/d comes from the private registry 123.dkr.ecr.eu-west-1.amazonaws.com",
			"e D5 Dockerfile:5 the base image reg:5000/e comes from the private registry reg:5000",
			"w D6 Dockerfile:8 the base image registry.example.org/g comes from the registry registry.example.org; it must be open to everybody",
			"e D5 Dockerfile:12 the base image reg:5000/h comes from the private registry reg:5000",
		}, ""},
		{"copies", files{"job.yaml": base, "main.py": "", "Dockerfile": `FROM busybox
COPY main.py /src/
COPY . /all
COPY main.p /src/
COPY ../other /src/
COPY ../main.py /src/
COPY *.txt /src/
ADD https://example.com/x /x
COPY $X /x
`}, []string{
			"e D7 Dockerfile:4 Dockerfile line 4: COPY main.p: not in the build context",
			"w D8 Dockerfile:5 Dockerfile line 5: COPY ../other points out of the build context; it means other",
			"e D7 Dockerfile:5 Dockerfile line 5: COPY ../other: not in the build context",
			"w D8 Dockerfile:6 Dockerfile line 6: COPY ../main.py points out of the build context; it means main.py",
		}, ""},
		{"zip", files{"job.yaml": base, "model.zip": "PK", "Dockerfile": "FROM busybox\nCOPY model.zip /\n"}, []string{
			"w D13 Dockerfile:2 Dockerfile line 2: COPY model.zip: Racetrack's client leaves every .zip file of a local folder out",
		}, ""},
		{"below", files{"job.yaml": dir("svc"), "svc/Dockerfile": "FROM busybox\nCOPY gone /\n"}, []string{"e D7 svc/Dockerfile:2 Dockerfile line 2: COPY gone: not in the build context"}, ""},
		{"dockerfile job", files{"job.yaml": replaced("docker-proxy:latest", "dockerfile:1.0.0"), "Dockerfile": "FROM busybox\n"}, nil, ".:Dockerfile"},
		{"template", files{"job.yaml": replaced("docker-proxy:latest", "dockerfile:latest"), "Dockerfile": "FROM busybox\n{% include 'x' %}\n"}, []string{
			"e D10 Dockerfile:2 template error: {% include %} is not supported (line 2)",
		}, ""},
		{"no template", files{"job.yaml": base, "Dockerfile": "FROM busybox\nENV A={{x}}\n"}, nil, ".:Dockerfile"},
		{"jobtype files", files{"job.yaml": replaced("docker-proxy:latest", "dockerfile:latest"), "Dockerfile": "FROM busybox\nCOPY --from=jobtype x /x\n"}, []string{
			"e D10 Dockerfile:2 template error: COPY --from=jobtype is not supported (line 2)",
		}, ""},
		{"hook", files{"job.yaml": base + "jobtype_extra: {proxy_mode: rewrite}", "Dockerfile": "FROM busybox", "proxy_settings.py": "x"}, []string{
			"w D11 proxy_settings.py proxy_settings.py cannot be run here; use jobtype_extra.rewrite_rules",
		}, ".:Dockerfile"},

		{"overlay", files{"job.yaml": "extends: base.yaml\nname: o\n", "base.yaml": base, "Dockerfile": "FROM busybox"}, nil, ".:Dockerfile"},
		{"overlay with slips", files{"job.yaml": "extends: base.yaml\nname: O\n", "base.yaml": base + "replicas: 51\n", "Dockerfile": "FROM busybox"}, []string{
			`e N1 job.yaml:2:7 name: must be lower-case letters, digits, dots and dashes; "O" is not`,
			"e R2 base.yaml:6:11 replicas: must be between 1 and 50",
		}, ".:Dockerfile"},
		{"absolute base", with("extends: /base.yaml\n"), []string{"e X1 job.yaml:1:10 extends path should be relative"}, ""},
		{"base outside", with("extends: ../base.yaml\n"), []string{`e X1 job.yaml:1:10 extends: "../base.yaml" leaves the package`}, ""},
		{"no base", with("extends: base.yaml\n"), []string{"e X1 job.yaml:1:10 extends: base manifest base.yaml doesn't exist"}, ""},
		{"base of a base", files{"job.yaml": "extends: base.yaml\n", "base.yaml": base + "extends: x.yaml"}, []string{"e X1 base.yaml:6:10 base manifest cannot extend another one"}, ""},
		{"base is text", with("extends: 12\n"), []string{"e T3 job.yaml:1:10 extends: input should be a valid string, got 12"}, ""},
		{"base leads out", files{"job.yaml": "extends: base.yaml\n", "base.yaml": "-> /etc/passwd"}, []string{"e X1 job.yaml:1:10 extends: base manifest base.yaml doesn't exist"}, ""},

		{"secrets", files{"job.yaml": base + "secret_runtime_env_file: .env", "Dockerfile": "FROM busybox", ".env": "A=1\n[x]\nA=2\n  b\nPUB_URL=x\n"}, []string{
			"e S2 .env:2 line 2: a section", "e S2 .env:3 line 3: A is given again, after line 1", "e S2 .env:4 line 4: an indented line",
			"e E1 .env:5 found illegal runtime env vars, which conflict with reserved names: {'PUB_URL'}",
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := c.files.write(t)
			tk, found := racetrack.New().Load(open(t, root), contract.Options{})
			if c.name == "manifest leads out" {
				if tk != nil || len(found) != 1 {
					t.Errorf("got %v", brief(found))
				}
				return
			}
			got := brief(found)
			slices.Sort(got)
			want := slices.Sorted(slices.Values(c.want))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("findings (-want +got)\n%s", diff)
			}
			if c.context == "" {
				return
			}
			rel, err := filepath.Rel(root, tk.Image.Context)
			if err != nil || rel+":"+tk.Image.Dockerfile != c.context {
				t.Errorf("built in %s:%s, want %s", rel, tk.Image.Dockerfile, c.context)
			}
		})
	}
}

// TestLogin holds reference 1.2: a private base image is a warning where this machine has a login for its registry.
func TestLogin(t *testing.T) {
	f := files{"job.yaml": base, "Dockerfile": "FROM reg.corp.internal/a AS a\nFROM other.corp.internal/b\nCOPY --from=a / /\n"}
	_, found := racetrack.New().Load(open(t, f.write(t)), contract.Options{Login: func(host string) bool { return host == "reg.corp.internal" }})
	if diff := cmp.Diff([]string{
		"w D5 Dockerfile:1 the base image reg.corp.internal/a comes from the private registry reg.corp.internal",
		"e D5 Dockerfile:2 the base image other.corp.internal/b comes from the private registry other.corp.internal",
	}, brief(found)); diff != "" {
		t.Errorf("findings (-want +got)\n%s", diff)
	}
}

// TestEveryRuleIsTested reads the tables out of the tests' files.
func TestEveryRuleIsTested(t *testing.T) {
	tests, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	for _, name := range tests {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, text...)
	}
	ids := map[string]bool{}
	for _, r := range racetrack.Rules() {
		short := strings.TrimPrefix(r.ID, "RACETRACK-")
		if ids[short] {
			t.Errorf("%s is there twice", r.ID)
		}
		ids[short] = true
		if r.Summary == "" || !strings.Contains(string(data), string(r.Severity[:1])+" "+short+" ") && short != "F6" && short != "F4" {
			t.Errorf("%s has no test or no summary", r.ID)
		}
	}
}

// git makes a source as the command does for a clone.
func git(t *testing.T, f files, dir string) contract.Source {
	t.Helper()
	repo, err := filepath.EvalSymlinks(f.write(t))
	if err != nil {
		t.Fatal(err)
	}
	src := open(t, filepath.Join(repo, dir))
	src.Given, src.Git, src.RepoDir = "git+https://h/r", true, repo
	return src
}

// TestGitContext holds reference 6.3: git.directory first, then the root of the repository, as the seed says.
func TestGitContext(t *testing.T) {
	manifest := func(d string) string { return replaced("https://h/r", "https://h/r\n  directory: "+d) }
	for _, c := range []struct {
		name    string
		files   files
		dir     string
		want    []string
		context string
		note    string
	}{
		{"root", with(base), "", nil, ".", "build: Dockerfile, with the manifest's folder as build context"},
		{"directory", files{"job.yaml": manifest("svc"), "svc/Dockerfile": "FROM busybox", "Dockerfile": "FROM busybox"}, "", nil, "svc", "build: Dockerfile, with the folder svc (git.directory) as build context"},
		{"seed", files{"job.yaml": manifest("svc"), "svc/x": "", "Dockerfile": "FROM busybox"}, "", nil, ".", "build: Dockerfile, with the manifest's folder as build context"},
		{"manifest below", files{"svc/job.yaml": manifest("svc"), "svc/Dockerfile": "FROM busybox"}, "svc", nil, "svc", "build: Dockerfile, with the folder svc (git.directory) as build context"},
		{"manifest below, no directory", files{"svc/job.yaml": base, "svc/Dockerfile": "FROM busybox", "Dockerfile": "FROM busybox"}, "svc", nil, "svc", "build: Dockerfile, with the manifest's folder as build context"},
		{"manifest below, seed", files{"svc/job.yaml": manifest("svc"), "Dockerfile": "FROM busybox\nCOPY svc /svc\n"}, "svc", nil, ".", "build: Dockerfile, with the root of the repository (seed document) as build context"},
		{"missing", files{"job.yaml": manifest("svc"), "Dockerfile": "FROM busybox"}, "", []string{"e G3 job.yaml:5:14 can't find workspace subdirectory: svc"}, ".", ""},
		{"link", files{"job.yaml": manifest("svc"), "svc": "-> /etc", "Dockerfile": "FROM busybox"}, "", []string{`e G3 job.yaml:5:14 git.directory: "svc" leaves the repository`}, ".", ""},
		{"secrets", files{"job.yaml": base + "secret_runtime_env_file: .env", "Dockerfile": "FROM busybox"}, "", []string{"w S1 job.yaml:6:26 secret env file doesn't exist: .env"}, ".", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := git(t, c.files, c.dir)
			tk, found := racetrack.New().Load(src, contract.Options{})
			if diff := cmp.Diff(c.want, brief(found)); diff != "" {
				t.Errorf("findings (-want +got)\n%s", diff)
			}
			if rel, _ := filepath.Rel(src.RepoDir, tk.Image.Context); rel != c.context {
				t.Errorf("context %s, want %s", rel, c.context)
			}
			if c.note != "" && !slices.Contains(tk.Notes, c.note) {
				t.Errorf("no note %q in %q", c.note, tk.Notes)
			}
		})
	}
}

// TestSeedExample loads and prepares the seed's own job.
func TestSeedExample(t *testing.T) {
	dir, err := filepath.Abs("../../../examples/racetrack/sum_numbers")
	if err != nil {
		t.Fatal(err)
	}
	src := open(t, dir)
	if r := racetrack.New().Recognise(src); r.Certainty != contract.Certain || r.Manifest != "fatman.yaml" {
		t.Errorf("recognised as %+v", r)
	}
	tk, found := racetrack.New().Load(src, contract.Options{})
	if diff := cmp.Diff([]string{
		`w F3 fatman.yaml You are using old manifest file name "fatman.yaml". Please rename it to "job.yaml"`,
		"w J4 fatman.yaml:3:1 lang: is deprecated. Use jobtype: instead.",
		`w J2 fatman.yaml:3:7 job type "docker-proxy" has no version; using "docker-proxy:latest"`,
		"w J4 fatman.yaml:9:1 docker: is deprecated. Use jobtype_extra: instead.",
	}, brief(found)); diff != "" {
		t.Errorf("findings (-want +got)\n%s", diff)
	}
	if tk.Name != "supersmart" || tk.Version != "0.0.1" || tk.Image.Name != "racetrack/job-1/supersmart:0.0.1" {
		t.Errorf("task %s %s, image %s", tk.Name, tk.Version, tk.Image.Name)
	}
	x := prepare(t, tk, task.ImageFacts{Ports: []int{5000, 7000, 7001}}, task.Request{Inputs: map[string]task.Given{"numbers": task.GivenText("[40, 2]")}})
	want := &task.HTTPExchange{
		Ports: []task.Port{
			{Number: 7004, Why: "the port of the seed document"},
			{Number: 7001, Why: "Racetrack's port since release 2.5 of the job type"},
			{Number: 5000, Why: "exposed by the image"},
		},
		Probe: true, Outside: true, Method: "POST", Path: "/perform", ContentType: "application/json", Body: task.Body{Text: `{"numbers":[40,2]}`},
	}
	if diff := cmp.Diff(want, x.HTTP); diff != "" {
		t.Errorf("request (-want +got)\n%s", diff)
	}
	if x.Timeouts.Ready != 10*time.Minute || x.Network || len(x.Warnings) != 0 {
		t.Errorf("execution %+v", x)
	}
	env := environment(x)
	for name, value := range map[string]string{"JOB_NAME": "supersmart", "FATMAN_VERSION": "0.0.1", "JOB_DEPLOYMENT_TIMESTAMP": "0", "REQUEST_TRACING_HEADER": "X-Request-Tracing-Id"} {
		if env[name] != value {
			t.Errorf("%s=%q, want %q", name, env[name], value)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "fatman.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if env["JOB_MANIFEST_YAML"] != string(text) {
		t.Errorf("JOB_MANIFEST_YAML is %q", env["JOB_MANIFEST_YAML"])
	}
}

func prepare(t *testing.T, tk *task.Task, img task.ImageFacts, r task.Request) *task.Execution {
	t.Helper()
	v, err := task.Bind(tk, r)
	if err != nil {
		t.Fatal(err)
	}
	x, err := racetrack.New().Prepare(tk, img, v)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func environment(x *task.Execution) map[string]string {
	env := map[string]string{}
	for _, e := range x.Process.Env {
		env[e.Name] = e.Value
	}
	return env
}

func TestPrepare(t *testing.T) {
	text := func(s string) map[string]task.Given { return map[string]task.Given{"x": task.GivenText(s)} }
	for _, c := range []struct {
		name, more string
		img        task.ImageFacts
		request    task.Request
		ports      []int
		path, body string
		warning    string
		env        map[string]string
	}{
		{name: "no inputs", ports: []int{7004, 7001}, body: "{}"},
		{name: "text input", request: task.Request{Inputs: text("hello")}, ports: []int{7004, 7001}, body: `{"x":"hello"}`},
		{name: "body", request: task.Request{Body: &task.Body{Text: `{"a":1}`}}, ports: []int{7004, 7001}, body: `{"a":1}`},
		{name: "body that is a list", request: task.Request{Body: &task.Body{Text: `[1]`}}, ports: []int{7004, 7001}, body: `[1]`, warning: "the request's body is not a JSON object of parameter names with their values; it is sent as it is"},
		{name: "body that is no JSON", request: task.Request{Body: &task.Body{Text: `x`}}, ports: []int{7004, 7001}, body: `x`, warning: "the request's body is not valid JSON; it is sent as it is"},
		{name: "port said", more: "jobtype_extra: {user_module_port: 8000}", img: task.ImageFacts{Ports: []int{9000}}, ports: []int{8000}, body: "{}"},
		{name: "port said the old way", more: "wrapper_properties: {user_module_port: '8000'}", ports: []int{8000}, body: "{}"},
		{name: "port of the environment", more: "runtime_env: {JOB_USER_MODULE_PORT: '8001'}", ports: []int{8001}, body: "{}", env: map[string]string{"JOB_USER_MODULE_PORT": "8001"}},
		{name: "port of the caller", request: task.Request{Env: []task.EnvVar{{Name: "JOB_USER_MODULE_PORT", Value: "8002"}}}, ports: []int{8002}, body: "{}"},
		{name: "rewrite", more: "jobtype_extra: {proxy_mode: rewrite, rewrite_rules: [none]}", img: task.ImageFacts{Ports: []int{80, 443, 7000}}, ports: []int{80, 7004, 7001, 443}, body: "{}"},
		{name: "environment", more: "runtime_env: {A: '1', B: x y}\nbuild_env: {A: b, C: c}", request: task.Request{Env: []task.EnvVar{{Name: "B", Value: "mine"}}}, ports: []int{7004, 7001}, body: "{}",
			env: map[string]string{"A": "1", "B": "mine", "C": "", "PUB_URL": "http://pub:7105/pub", "AUTH_TOKEN": "", "JOB_USER_MODULE_HOSTNAME": "localhost"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tk, found := load(t, with(base+c.more))
			if task.HasErrors(found) {
				t.Fatal(brief(found))
			}
			x := prepare(t, tk, c.img, c.request)
			var ports []int
			for _, p := range x.HTTP.Ports {
				ports = append(ports, p.Number)
			}
			if diff := cmp.Diff(c.ports, ports); diff != "" {
				t.Errorf("ports (-want +got)\n%s", diff)
			}
			if x.HTTP.Body.Text != c.body {
				t.Errorf("body %s, want %s", x.HTTP.Body.Text, c.body)
			}
			if got := strings.Join(x.Warnings, "; "); got != c.warning {
				t.Errorf("warnings %q, want %q", got, c.warning)
			}
			env := environment(x)
			for name, value := range c.env {
				if got, ok := env[name]; !ok || got != value {
					t.Errorf("%s=%q (%v), want %q", name, got, ok, value)
				}
			}
			if _, legacy := env["FATMAN_NAME"]; legacy {
				t.Error("FATMAN_ variables for a job.yaml")
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	tk, _ := load(t, with(base))
	folder := t.TempDir()
	for name, c := range map[string]struct {
		values task.Values
		words  string
	}{
		"words":    {task.Values{Words: []string{"x"}}, "takes no command line"},
		"reserved": {task.Values{Env: []task.EnvVar{{Name: "JOB_NAME", Value: "x"}}}, "conflict with reserved names: {'JOB_NAME'}"},
		"port":     {task.Values{Env: []task.EnvVar{{Name: "JOB_USER_MODULE_PORT", Value: "x"}}}, "not a TCP port"},
		"zero":     {task.Values{Env: []task.EnvVar{{Name: "A", Value: "\x00"}}}, "zero character"},
		"body":     {task.Values{Body: &task.Body{Path: folder}}, "it is a folder"},
		"no body":  {task.Values{Body: &task.Body{Path: filepath.Join(folder, "none")}}, "cannot be read"},
	} {
		_, err := racetrack.New().Prepare(tk, task.ImageFacts{}, c.values)
		if err == nil || !strings.Contains(err.Error(), c.words) || task.CodeOf(err) != task.ReasonInput {
			t.Errorf("%s: got %v, want %q", name, err, c.words)
		}
	}
}

// TestDockerfileJob holds reference 3.7: jobs of type dockerfile are their own wrapper.
func TestDockerfileJob(t *testing.T) {
	tk, _ := load(t, with(replaced("docker-proxy:latest", "dockerfile:latest")))
	x := prepare(t, tk, task.ImageFacts{Ports: []int{8080}}, task.Request{})
	if diff := cmp.Diff([]task.Port{{Number: 7000, Why: "jobs of type dockerfile listen on 7000"}}, x.HTTP.Ports); diff != "" {
		t.Errorf("ports (-want +got)\n%s", diff)
	}
	if x.HTTP.Path != "/pub/job/a/0.0.1/api/v1/perform" {
		t.Errorf("path %s", x.HTTP.Path)
	}
}

// TestPinnedOldType holds reference 6.1: versions up to 2.5 of the job type know fatmen.
func TestPinnedOldType(t *testing.T) {
	for version, fatman := range map[string]bool{"2.5.2": true, "2.4.0": true, "2.6.0": false, "3.2.2": false, "latest": false, "2.*": false} {
		tk, _ := load(t, with(replaced("docker-proxy:latest", "docker-proxy:"+version)))
		_, got := environment(prepare(t, tk, task.ImageFacts{}, task.Request{}))["FATMAN_NAME"]
		if got != fatman {
			t.Errorf("%s: FATMAN_NAME is set: %v, want %v", version, got, fatman)
		}
	}
}

// TestSecrets holds reference 11.8, and that no secret is in the task.
func TestSecrets(t *testing.T) {
	for _, c := range []struct {
		file string
		want []task.EnvVar
		bad  string
	}{
		{"A=1", []task.EnvVar{{Name: "A", Value: "1"}}, ""},
		{"A = \"x y\" ", []task.EnvVar{{Name: "A", Value: "x y"}}, ""},
		{"A: v", []task.EnvVar{{Name: "A", Value: "v"}}, ""},
		{"A=b:c\nB=x=y", []task.EnvVar{{Name: "A", Value: "b:c"}, {Name: "B", Value: "x=y"}}, ""},
		{"A=50%\nB=50%%", []task.EnvVar{{Name: "A", Value: "50%"}, {Name: "B", Value: "50%%"}}, ""},
		{"B=1\nA=%(B)s", []task.EnvVar{{Name: "B", Value: "1"}, {Name: "A", Value: "%(B)s"}}, ""},
		{"# c\n; c\n\n", nil, ""},
		{"A=1 # c\r\n", []task.EnvVar{{Name: "A", Value: "1 # c"}}, ""},
		{"A=1\n  more", nil, "line 2: an indented line"},
		{"A", nil, "line 1: neither = nor : in it"},
		{"A=1\nA=2", nil, "line 2: A is given again, after line 1"},
		{"export A=1", []task.EnvVar{{Name: "A", Value: "1"}}, ""},
		{"[x]\nA=1", nil, "line 1: a section"},
		{`A='"q"'`, []task.EnvVar{{Name: "A", Value: `"q"`}}, ""},
		{"a=1\nA=2", []task.EnvVar{{Name: "a", Value: "1"}, {Name: "A", Value: "2"}}, ""},
		{"A B=1", nil, "line 1: not a variable's name before the = or :"},
		{"A=\xff", nil, "line 1: the file is not UTF-8 text"},
	} {
		f := with(base + "secret_runtime_env_file: env/secret")
		f["env/secret"] = c.file
		tk, found := load(t, f)
		if c.bad != "" {
			if len(found) != 1 || found[0].What != c.bad || found[0].Severity != task.SeverityError {
				t.Errorf("%q: got %v, want %s", c.file, brief(found), c.bad)
			}
			continue
		}
		if task.HasErrors(found) {
			t.Errorf("%q: %v", c.file, brief(found))
			continue
		}
		env := environment(prepare(t, tk, task.ImageFacts{}, task.Request{}))
		for _, v := range c.want {
			if env[v.Name] != v.Value {
				t.Errorf("%q: %s=%q, want %q", c.file, v.Name, env[v.Name], v.Value)
			}
		}
	}

	f := with(base + "secret_runtime_env_file: .env")
	f[".env"] = "TOKEN=hunter22\n"
	dir := f.write(t)
	tk, _ := racetrack.New().Load(open(t, dir), contract.Options{})
	data, err := json.Marshal(tk)
	if err != nil || strings.Contains(string(data), "hunter22") {
		t.Errorf("the task holds the secret (%v): %s", err, data)
	}
	if err := os.Remove(filepath.Join(dir, ".env")); err != nil {
		t.Fatal(err)
	}
	if _, err := racetrack.New().Prepare(tk, task.ImageFacts{}, task.Values{}); task.CodeOf(err) != task.ReasonInput {
		t.Errorf("without the file: %v", err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, ".env")); err != nil {
		t.Fatal(err)
	}
	if _, err := racetrack.New().Prepare(tk, task.ImageFacts{}, task.Values{}); task.CodeOf(err) != task.ReasonInput {
		t.Errorf("with a link out: %v", err)
	}
}

// TestOverlay holds reference 11.4.
func TestOverlay(t *testing.T) {
	f := files{
		"job.yaml":   "extends: base.yaml\nname: o\nlabels: {y: 3}\npublic_endpoints: [/c]\n",
		"base.yaml":  "name: b\nowner_email: x@y\njobtype: docker-proxy:latest\nreplicas: 2\nlabels: {x: 1, y: 2}\npublic_endpoints: [/a, /b]\ngit: {remote: 'https://h/r', branch: main}\n",
		"Dockerfile": "FROM busybox",
	}
	tk, found := load(t, f)
	if diff := cmp.Diff([]string{"w R3 base.yaml:4:11 replicas: 2 requested, target local runs 1"}, brief(found)); diff != "" {
		t.Errorf("findings (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"x": "1", "y": "3"}, tk.Labels); diff != "" {
		t.Errorf("labels (-want +got)\n%s", diff)
	}
	merged := environment(prepare(t, tk, task.ImageFacts{}, task.Request{}))["JOB_MANIFEST_YAML"]
	want := `{"name":"o","owner_email":"x@y","jobtype":"docker-proxy:latest","replicas":2,"labels":{"x":1,"y":3},"public_endpoints":["/c"],"git":{"remote":"https://h/r","branch":"main"}}`
	if strings.TrimSpace(merged) != want {
		t.Errorf("merged: %s\nwant    %s", merged, want)
	}
}

// TestResources holds reference 11.5 and the local rules of 2.7: an amount that is not there is no limit.
func TestResources(t *testing.T) {
	for text, want := range map[string]task.Resources{
		"{memory_max: 256Mi}":                    {Memory: 256 << 20},
		"{memory_max: 1.5Gi, cpu_max: 250m}":     {Memory: 3 << 29, CPU: 250},
		"{cpu_max: 0.25, cpu_min: 2m}":           {CPU: 250, MinCPU: 2},
		"{cpu_max: 2, memory_max: 1048.576k}":    {CPU: 2000, Memory: 1 << 20},
		"{memory_max: 10k, memory_min: 1Ki}":     {Memory: 10000, MinMemory: 1024},
		"{memory_max: '007', cpu_max: 200m}":     {Memory: 7, CPU: 200},
		"{memory_max: 1_000, cpu_max: 100000u}":  {Memory: 1000, CPU: 100},
		"{cpu_max: 1p, memory_max: 0x10}":        {CPU: 1, Memory: 16},
		"{memory_min: 0, memory_max: 1Gi}":       {Memory: 1 << 30},
		"{memory_min: 1Mi, memory_max: 1048576}": {Memory: 1 << 20, MinMemory: 1 << 20},
		"{}":                                     {},
	} {
		tk, found := load(t, with(base+"resources: "+text))
		if len(found) != 0 {
			t.Errorf("%s: %v", text, brief(found))
		}
		if diff := cmp.Diff(want, tk.Resources); diff != "" {
			t.Errorf("%s (-want +got)\n%s", text, diff)
		}
	}
	for _, text := range []string{"''", "-1", "'+1'", ".5", "1e3", "1 Gi", "1GI", "10K", "15KB", "1.0.0", "'5.'", "'1_000'"} {
		_, found := load(t, with(base+"resources: {memory_max: "+text+"}"))
		if !task.HasErrors(found) {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestImageNames holds that every valid name gives a reference, and different names different ones.
func TestImageNames(t *testing.T) {
	seen := map[string]string{}
	for _, nv := range [][2]string{
		{"a", "1.0.0"}, {"a.b", "1.0.0-rc.1"}, {"a-b", "1.0.0-rc.1"}, {"a..b", "1.0.0-rc.1"}, {"a._b", "1.0.0"}, {"a___b", "1.0.0"},
		{"a--b", "1.0.0"}, {"a", "1.0.0-b1"}, {"a", "1.0.0+b1"}, {strings.Repeat("a", 300), "1.0.0"}, {strings.Repeat("a", 301), "1.0.0"},
		{"a", "1.0.0-" + strings.Repeat("b", 200)}, {"a", "1.0.0-" + strings.Repeat("b", 201)},
	} {
		manifest := strings.Replace(base, "name: a", "name: "+nv[0], 1) + "version: " + nv[1] + "\n"
		tk, found := load(t, with(manifest))
		if task.HasErrors(found) {
			t.Errorf("%v: %v", nv, brief(found))
		}
		name := tk.Image.Name
		if was, ok := seen[name]; ok {
			t.Errorf("%v and %s are both %s", nv, was, name)
		}
		seen[name] = nv[0]
		if len(name) > 240 || strings.ToLower(name) != name {
			t.Errorf("%v: %s", nv, name)
		}
		_, tag, _ := strings.Cut(name, ":")
		if len(tag) > 128 || strings.Contains(tag, "+") {
			t.Errorf("%v: tag %s", nv, tag)
		}
	}
}

func TestReadyImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	tk, found := load(t, files{"job.yaml": base + "jobtype_extra: {image: ghcr.io/org/x@" + digest + "}"})
	if task.HasErrors(found) {
		t.Fatal(brief(found))
	}
	want := task.ImageSource{Kind: task.ImageReference, Name: "ghcr.io/org/x@" + digest, Digest: digest}
	if diff := cmp.Diff(want, tk.Image); diff != "" {
		t.Errorf("image (-want +got)\n%s", diff)
	}
}

func TestBuildArgs(t *testing.T) {
	tk, _ := load(t, with(base+"build_env: {A: x, B: y z}"))
	if diff := cmp.Diff(map[string]string{"A": "x", "B": "y z"}, tk.Image.Args); diff != "" {
		t.Errorf("build arguments (-want +got)\n%s", diff)
	}
}

func TestNamedFile(t *testing.T) {
	dir := files{"my.yaml": base, "Dockerfile": "FROM busybox", "job.yaml": "broken: ["}.write(t)
	src := open(t, dir)
	src.File, src.Given = "my.yaml", "pkg/my.yaml"
	if r := racetrack.New().Recognise(src); r.Certainty != contract.Certain || r.Manifest != "my.yaml" {
		t.Errorf("recognised as %+v", r)
	}
	tk, found := racetrack.New().Load(src, contract.Options{})
	if len(found) != 0 || tk.Image.Context != dir {
		t.Errorf("%v, context %s", brief(found), tk.Image.Context)
	}
	src.File, src.Given = "none.yaml", "pkg/none.yaml"
	if _, found := racetrack.New().Load(src, contract.Options{}); len(found) != 1 || found[0].What != "local manifest file 'pkg/none.yaml' doesn't exist" {
		t.Errorf("got %v", brief(found))
	}
}

// TestNoFolder holds rule F6.
func TestNoFolder(t *testing.T) {
	src := open(t, with(base).write(t))
	src.Dir, src.Archive = "", "/tmp/job.zip"
	tk, found := racetrack.New().Load(src, contract.Options{})
	if tk == nil || len(found) != 1 || found[0].Rule != "RACETRACK-F6" {
		t.Errorf("archive: %v", brief(found))
	}
	if tk, found := racetrack.New().Load(contract.Source{}, contract.Options{}); tk != nil || len(found) != 1 || found[0].Rule != "RACETRACK-F6" {
		t.Errorf("nothing: %v", brief(found))
	}
	if _, found := racetrack.New().Load(open(t, with(base).write(t)), contract.Options{Variant: "x"}); len(found) != 1 {
		t.Errorf("variant: %v", brief(found))
	}
}

func TestRecognise(t *testing.T) {
	for _, c := range []struct {
		name  string
		files files
		want  contract.Certainty
	}{
		{"job", with(base), contract.Certain},
		{"fatman", files{"fatman.yaml": base}, contract.Certain},
		{"overlay", files{"job.yaml": "extends: x.yaml"}, contract.Likely},
		{"broken fatman", files{"fatman.yaml": "a: ["}, contract.Likely},
		{"broken job", files{"job.yaml": "a: ["}, contract.Possible},
		{"folder", files{"job.yaml/x": ""}, contract.Possible},
		{"kubernetes", files{"job.yaml": "apiVersion: batch/v1\nkind: Job\n"}, contract.No},
		{"kubernetes and fatman", files{"job.yaml": "apiVersion: batch/v1\nkind: Job\n", "fatman.yaml": base}, contract.Certain},
		{"other", files{"Dockerfile": "FROM x"}, contract.No},
	} {
		if got := racetrack.New().Recognise(open(t, c.files.write(t))); got.Certainty != c.want {
			t.Errorf("%s: %+v, want %d", c.name, got, c.want)
		}
	}
	if got := racetrack.New().Recognise(contract.Source{}); got.Certainty != contract.No {
		t.Errorf("nothing: %+v", got)
	}
}

func TestCollect(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		body, text string
		notes      int
	}{
		"json":   {"42\n", "42\n", 0},
		"text":   {"hello", "hello", 1},
		"binary": {"\xff\xfe", "", 1},
		"large":  {strings.Repeat(" ", 2<<20), "", 0},
		"empty":  {"", "", 1},
	} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(c.body), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, status := range []int{200, 500} {
			got, err := racetrack.New().Collect(nil, nil, task.Leftovers{Response: &task.Response{Status: status, BodyPath: p}})
			if err != nil || got.Failure != nil || len(got.Notes) != c.notes {
				t.Errorf("%s: %v, %+v", name, err, got)
			}
			if diff := cmp.Diff(map[string]task.Value{"output": {Path: p, Text: c.text}}, got.Outputs); diff != "" {
				t.Errorf("%s (-want +got)\n%s", name, diff)
			}
		}
	}
	got, err := racetrack.New().Collect(nil, nil, task.Leftovers{Exit: task.Exit{Code: 3}})
	if err != nil || got.Failure != nil || len(got.Outputs) != 0 {
		t.Errorf("without an answer: %v, %+v", err, got)
	}
	if _, err := racetrack.New().Collect(nil, nil, task.Leftovers{Response: &task.Response{BodyPath: filepath.Join(dir, "gone")}}); err == nil {
		t.Error("a lost answer is no error")
	}
}

func TestScaffold(t *testing.T) {
	got, err := racetrack.New().Scaffold("My First Job", "")
	if err != nil {
		t.Fatal(err)
	}
	tk, found := load(t, files(got))
	if len(found) != 0 {
		t.Errorf("findings: %v", brief(found))
	}
	if tk.Name != "my-first-job" {
		t.Errorf("name %s", tk.Name)
	}
	if tk, found := load(t, mustScaffold(t, "12")); len(found) != 0 || tk.Name != "12" {
		t.Errorf("a name that looks like a number: %v", brief(found))
	}
	if _, err := racetrack.New().Scaffold("…", ""); task.CodeOf(err) != task.CodeUsage {
		t.Errorf("got %v", err)
	}
}

func mustScaffold(t *testing.T, name string) files {
	t.Helper()
	got, err := racetrack.New().Scaffold(name, "")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestExamples holds that the examples of this repository are valid.
func TestExamples(t *testing.T) {
	root := "../../../examples/racetrack"
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir, err := filepath.Abs(filepath.Join(root, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if _, found := racetrack.New().Load(open(t, dir), contract.Options{}); task.HasErrors(found) {
			t.Errorf("%s: %v", e.Name(), brief(found))
		}
	}
}

// TestLostLinks holds that a link which leads out is told as one, where Racetrack's words are that nothing is there.
func TestLostLinks(t *testing.T) {
	_, found := load(t, files{"job.yaml": base + "secret_runtime_env_file: s.env\n", "Dockerfile": "FROM busybox", "s.env": "-> /etc/passwd"})
	_, overlay := load(t, files{"job.yaml": "extends: b.yaml\n", "Dockerfile": "FROM busybox", "b.yaml": "-> /etc/passwd"})
	for i, f := range append(found, overlay...) {
		if !strings.HasSuffix(f.Why, "is a symbolic link that leads out of the package, or nowhere") || i > 1 {
			t.Errorf("%+v", f)
		}
	}
}

// TestHostile feeds what nobody writes by mistake.
func TestHostile(t *testing.T) {
	for name, manifest := range map[string]string{
		"escape":    base + "\"\\e[2J\\e[31mx\": 1\n",
		"deep":      base + "labels: " + strings.Repeat("{a: ", 500) + strings.Repeat("}", 500),
		"bomb":      "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n" + base,
		"recursion": "a: &a {b: *a}\n" + base,
		"tag":       base + "labels: !!python/object/apply:os.system [id]\n",
		"number":    base + "replicas: " + strings.Repeat("9", 100000),
		"amount":    base + "resources: {cpu_max: " + strings.Repeat("9", 100000) + "Ei}",
		"binary":    "\x00\x01\x02",
		"empty":     "",
		"many":      base + manyKeys(100_000),
		"long":      strings.Repeat("k", 900_000) + ": 1\n" + base,
		"brackets":  strings.Repeat("[", 900_000),
		"dashes":    strings.Repeat("- ", 400_000),
		"anchors":   "a: " + strings.Repeat("&a ", 10_000) + "1\n",
		"big":       base + "# " + strings.Repeat("x", 1<<20),
	} {
		start := time.Now()
		_, found := load(t, with(manifest))
		if !task.HasErrors(found) || len(found) > 301 {
			t.Errorf("%s: %d findings", name, len(found))
		}
		t.Logf("%s: %s", name, time.Since(start))
		for _, f := range found {
			if strings.ContainsAny(f.String(), "\x1b\x00") || len(f.String()) > 2000 {
				t.Errorf("%s: the finding is not safe to print: %.300q", name, f.String())
			}
		}
	}
}

// manyKeys is a manifest of nothing that is known.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x%d:\n", i)
	}
	return b.String()
}

// fuzzed loads one package of a manifest, a Dockerfile and a secret file, and prepares it.
func fuzzed(t *testing.T, manifest, dockerfile, secrets string) {
	t.Helper()
	src := contract.Source{Given: "pkg", FS: memory(map[string]string{"job.yaml": manifest, "Dockerfile": dockerfile, ".env": secrets}), Dir: "/nowhere"}
	racetrack.New().Recognise(src)
	tk, found := racetrack.New().Load(src, contract.Options{})
	for _, f := range found {
		if f.Rule == "" || f.What == "" {
			t.Errorf("an empty finding: %+v", f)
		}
	}
	if tk == nil {
		if !task.HasErrors(found) {
			t.Error("neither a task nor an error")
		}
		return
	}
	if _, err := racetrack.New().Prepare(tk, task.ImageFacts{}, task.Values{}); err != nil && task.CodeOf(err) == task.ReasonEngine {
		t.Errorf("prepare: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(base, "FROM busybox\nCOPY a b\n", "A=1\n")
	f.Add(base+"runtime_env: {A: 0x1F, B: 12:30}\nresources: {memory_max: 1Gi}\nsecret_runtime_env_file: .env\n", "FROM reg:5000/a AS b\nFROM b\n", "export A: 'x'\n")
	f.Add("extends: Dockerfile\nname: o\n", base, "")
	f.Add("jobtype: dockerfile:1.*\njobtype_extra: {image: a@b, rewrite_rules: [x]}\ngit: {directory: ., branch: -}", "{{ x }}", "[x]")
	f.Fuzz(fuzzed)
}

var _ fs.FS = memory(nil)

// TestMends holds what newcomers are told to do.
func TestMends(t *testing.T) {
	for _, c := range []struct{ manifest, dockerfile, rule, want string }{
		{replaced("git:\n  remote: https://h/r", "git: https://h/r"), "FROM busybox", "T3", "write indented lines of key: value below it"},
		{base + "public_endpoints: /a", "FROM busybox", "T3", "write a list: [/a]"},
		{base + "version: 1.0", "FROM busybox", "T3", "such as 1.0.0"},
		{base + "environment: {A: x}", "FROM busybox", "T2", "did you mean runtime_env?"},
		{base + "port: 80", "FROM busybox", "T2", "did you mean jobtype_extra.user_module_port?"},
		{base + "resources: {memory: 1Gi}", "FROM busybox", "T2", "did you mean resources.memory_min or resources.memory_max?"},
		{replaced("git:", "git"), "FROM busybox", "F4", "mend that line, or the one before it: fields are lines of key: value"},
		{base + "replicas: 1.5", "FROM busybox", "T3", "write a whole number"},
		{base, "", "D4", "begin with FROM and the image to build on, such as FROM debian:bookworm-slim"},
		{base, "RUN x", "D4", "begin with FROM and the image to build on, such as FROM debian:bookworm-slim"},
		{base, "FORM x", "D4", "begin with FROM and the image to build on, such as FROM debian:bookworm-slim"},
		{base, "FROM x\nRNU y", "D4", "mend the instruction"},
		// one fault is told once
		{base + "jobtype_extra: {proxy_mode: 'a\\b'}", "FROM busybox", "J6", "leave it out for forward"},
		{base + "resources: {memory_min: 99999999Ei, memory_max: 1Gi}", "FROM busybox", "R1", "lower the one or raise the other"},
		{replaced("name: a", `name: ""`), "FROM busybox", "N1", "such as my-job"},
		{base + "jobtype_extra: {rewrite_rules: [1]}", "FROM busybox", "D3", "choose of them"},
	} {
		_, found := load(t, files{"job.yaml": c.manifest, "Dockerfile": c.dockerfile})
		if len(found) != 1 || found[0].Rule != "RACETRACK-"+c.rule || found[0].Mend != c.want {
			t.Errorf("%s\n%s: %+v", c.manifest, c.dockerfile, found)
		}
	}
}
