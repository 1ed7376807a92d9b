package racetrack_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/racetrack"
	"longshore/internal/task"
)

// TestReferenceNames holds the Racetrack reference, section 11.1: the name of a job's resource, as templates see it.
func TestReferenceNames(t *testing.T) {
	for _, c := range []struct{ name, version, want string }{
		{"supersmart", "0.0.1", "job-supersmart-v-0-0-1"},
		{"a.b", "1.0.0-rc.1", "job-a-b-v-1-0-0-rc-1"},
		{"a-b", "1.0.0-rc.1", "job-a-b-v-1-0-0-rc-1"},
		{"a", "1.0.0", "job-a-v-1-0-0"},
	} {
		manifest := strings.Replace(replaced("docker-proxy:latest", "dockerfile:latest"), "name: a\n", "name: "+c.name+"\nversion: "+c.version+"\n", 1)
		tk, found := load(t, files{"job.yaml": manifest, "Dockerfile": "FROM busybox\nLABEL name={{ resource_name }}\n"})
		if got := strings.TrimSpace(strings.TrimPrefix(tk.Image.Recipe, "FROM busybox\nLABEL name=")); got != c.want {
			t.Errorf("%s, %s: %q, want %q: %v", c.name, c.version, got, c.want, brief(found))
		}
	}
}

// TestReferenceVerdicts holds section 11.2: the rules that each change of the base manifest breaks, with E or W.
func TestReferenceVerdicts(t *testing.T) {
	typed := func(s string) string { return replaced("jobtype: docker-proxy:latest", s) }
	for _, c := range []struct{ row, manifest, want string }{
		{"none", base, ""},
		{"jobtype: docker-proxy", typed("jobtype: docker-proxy"), "W J2"},
		{"lang instead of jobtype", typed("lang: docker-proxy"), "W J2, W J4"},
		{"both lang and jobtype", base + "lang: docker-proxy:latest\n", "E J1"},
		{"neither", typed(""), "E J1"},
		{`owner_email: "a@"`, replaced("x@y", `"a@"`), "E O1"},
		{`owner_email: " @ "`, replaced("x@y", `" @ "`), ""},
		{"remote http://h/r", replaced("https://h/r", "http://h/r"), "E G1"},
		{"remote HTTPS://h/r", replaced("https://h/r", "HTTPS://h/r"), "E G1"},
		{"remote git@h:r", replaced("https://h/r", "git@h:r"), "E G1"},
		{"replicas 0", base + "replicas: 0", "E R2"},
		{"replicas -3", base + "replicas: -3", "E R2"},
		{"replicas 50", base + "replicas: 50", "W R3"},
		{"replicas 51", base + "replicas: 51", "E R2"},
		{"jobtype_extra and wrapper_properties", base + "jobtype_extra: {}\nwrapper_properties: {}", "E J5, W J4"},
		{"jobtype_extra and docker", base + "jobtype_extra: {}\ndocker: {dockerfile_path: D}", "W D9, W J4"},
		{"docker: {x: 1}", base + "docker: {x: 1}", "W J4, W J8"},
		{"version v1.0.0", base + "version: v1.0.0", "E V1"},
		{"version 1.2", base + `version: "1.2"`, "E V1"},
		{"version 01.2.3", base + "version: 01.2.3", "E V1"},
		{"version 1.2.3-01", base + "version: 1.2.3-01", "E V1"},
		{"version 1.2.3rc1", base + "version: 1.2.3rc1", "E V1"},
		{"version 1.2.3-rc.1", base + "version: 1.2.3-rc.1", ""},
		{"version 1.2.3+b1", base + "version: 1.2.3+b1", ""},
		{"jobtype: a:b:c", typed("jobtype: a:b:c"), "E J3"},
		{"name: A_b/c d", replaced("name: a", "name: A_b/c d"), "E N1"},
		{`name: ""`, replaced("name: a", `name: ""`), "E N1"},
		{"labels: {dockerfile_path: 1}", base + "labels: {dockerfile_path: 1}", ""},
		{"surname: x", base + "surname: x", "E T2"},
	} {
		f := with(c.manifest)
		f["D"] = "FROM busybox\n"
		_, found := load(t, f)
		var got []string
		for _, line := range brief(found) {
			severity, rest, _ := strings.Cut(line, " ")
			rule, _, _ := strings.Cut(rest, " ")
			got = append(got, strings.ToUpper(severity)+" "+rule)
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, strings.Join(slices.Compact(got), ", ")); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.row, diff)
		}
	}
}

// TestReferenceOverlay holds section 11.4, with the overrides that follow the overlay.
func TestReferenceOverlay(t *testing.T) {
	dir := files{
		"job.yaml":   "extends: base.yaml\nname: o\nlabels: {y: 3}\npublic_endpoints: [/c]\n",
		"base.yaml":  "name: b\nowner_email: x@y\njobtype: docker-proxy:latest\nreplicas: 2\nlabels: {x: 1, y: 2}\npublic_endpoints: [/a, /b]\ngit: {remote: 'https://h/r', branch: main}\n",
		"Dockerfile": "FROM busybox",
	}.write(t)
	const merged = `{"name":"o","owner_email":"x@y","jobtype":"docker-proxy:latest","replicas":%R,"labels":{"x":1,"y":3},"public_endpoints":["/c"],"git":%G}`
	for _, c := range []struct{ key, value, replicas, git, rule string }{
		{"", "", "2", `{"remote":"https://h/r","branch":"main"}`, ""},
		{"git.branch", "dev", "2", `{"remote":"https://h/r","branch":"dev"}`, ""},
		{"git", `{"remote": "https://h/q"}`, "2", `{"remote":"https://h/q"}`, ""},
		{"replicas", "7", "7", `{"remote":"https://h/r","branch":"main"}`, ""},
		{"resources.cpu_min", "1", "", "", "RACETRACK-X2"},
		{"version", "1.0", "", "", "RACETRACK-T3"},
	} {
		var opts contract.Options
		if c.key != "" {
			opts.Overrides = []contract.Override{{Key: c.key, Value: c.value}}
		}
		tk, found := racetrack.New().Load(open(t, dir), opts)
		if c.rule != "" {
			if !slices.ContainsFunc(found, func(f task.Finding) bool { return f.Rule == c.rule && f.Severity == task.SeverityError }) {
				t.Errorf("-e %s=%s: no %s in %v", c.key, c.value, c.rule, brief(found))
			}
			continue
		}
		got := environment(prepare(t, tk, task.ImageFacts{}, task.Request{}))["JOB_MANIFEST_YAML"]
		want := strings.NewReplacer("%R", c.replicas, "%G", c.git).Replace(merged)
		if diff := cmp.Diff(jsonOf(want), jsonOf(strings.TrimSpace(got))); diff != "" {
			t.Errorf("-e %s=%s (-want +got)\n%s", c.key, c.value, diff)
		}
	}
}

// TestReferenceQuantities holds section 11.5 but for quarters, which are of Kubernetes.
func TestReferenceQuantities(t *testing.T) {
	of := func(field, text string) (task.Resources, bool) {
		tk, found := load(t, with(base+"resources: {"+field+": '"+text+"'}"))
		return tk.Resources, !task.HasErrors(found)
	}
	for _, text := range []string{"256Mi", "1.5Gi", "250m", "0.25", "10k", "1Ki", "007"} {
		if _, ok := of("memory_max", text); !ok {
			t.Errorf("%s is refused", text)
		}
	}
	for _, text := range []string{"", "-1", "+1", ".5", "5.", "1e3", "1_000", "1 Gi", "1GI", "10K", "15KB", "1.0.0"} {
		if _, ok := of("memory_max", text); ok {
			t.Errorf("%q is taken", text)
		}
	}
	for _, c := range [][3]string{{"cpu_max", "200m", "0.2"}, {"memory_max", "1Mi", "1048.576k"}} {
		a, _ := of(c[0], c[1])
		b, _ := of(c[0], c[2])
		if a != b {
			t.Errorf("%s and %s: %+v and %+v", c[1], c[2], a, b)
		}
	}
}

// TestReferenceSecrets holds section 11.8 where the two columns differ and both take the file: Racetrack's reading is told.
func TestReferenceSecrets(t *testing.T) {
	for file, want := range map[string]string{
		"A=1\nB=x#y # c\n":    "",
		"A=50%":               "w S3 .env:1 line 1: Racetrack's client fails on a % that stands alone",
		"A=50%%":              "w S3 .env:1 line 1: Racetrack's client takes %% for %",
		"B=1\nA=%(B)s":        "w S3 .env:2 line 2: Racetrack's client replaces %(NAME)s by another variable",
		"export A=1":          `w S3 .env:1 line 1: Racetrack's client takes "export" for a part of the name`,
		"A='\"q\"'\na: b:c\n": "",
	} {
		f := with(base + "secret_runtime_env_file: .env")
		f[".env"] = file
		_, found := load(t, f)
		if got := strings.Join(brief(found), "; "); got != want {
			t.Errorf("%q: %q, want %q", file, got, want)
		}
	}
}

// TestReferenceSeed holds the last row of section 11.2: what the seed's own example is warned of.
func TestReferenceSeed(t *testing.T) {
	_, found := load(t, files{"fatman.yaml": `name: supersmart
owner_email: sample@example.com
lang: docker-proxy
git:
  remote: https://github.com/theracetrack/racetrack
  branch: master
  directory: .
docker:
  dockerfile_path: Dockerfile
`, "Dockerfile": "FROM python:3.9-slim-bullseye\nCOPY main.py /\nCMD python -u /main.py\n", "main.py": "import flask\n"})
	var got []string
	for _, f := range found {
		got = append(got, string(f.Severity)+" "+f.Rule)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"warning RACETRACK-F3", "warning RACETRACK-J2", "warning RACETRACK-J4"}, slices.Compact(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
