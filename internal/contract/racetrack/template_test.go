package racetrack_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/racetrack"
)

// templated is a job of type dockerfile whose Dockerfile has a template behind FROM.
func templated(template string) files {
	return files{
		"job.yaml": replaced("docker-proxy:latest", "dockerfile:latest") + `version: 1.2.0
system_dependencies: [curl, 'g++']
build_env: {A: x, B: "y z"}
jobtype_extra: {base: 'debian', workers: 4, fast: yes, list: []}
`,
		"Dockerfile": "FROM busybox\n" + template,
	}
}

// TestTemplate holds reference 6.2: the constructs of known templates, filled in as Jinja does.
func TestTemplate(t *testing.T) {
	for _, c := range []struct{ template, want string }{
		{"LABEL n={{ manifest.name }} v={{manifest['version']}}", "LABEL n=a v=1.2.0"},
		{"LABEL r={{ resource_name }} t={{ job_type_version }} g={{ git_version }} d={{ deployed_by_racetrack_version }} b={{ base_image }}", "LABEL r=job-a-v-1-2-0 t=dockerfile:1.0.0 g=tar d=2.36.0 b="},
		{"{% set base = manifest_jobtype_extra['image'] or 'alpine' %}LABEL b={{ base }}", "LABEL b=alpine"},
		{"{% set base = manifest.get_jobtype_extra().get('base', 'alpine') %}LABEL b={{ base }}", "LABEL b=debian"},
		{"LABEL x={{ manifest_jobtype_extra.get('none', 'other') }}{{ manifest_jobtype_extra.get('none') }}", "LABEL x=otherNone"},
		{"{% for key, value in env_vars.items() %}\nENV {{ key }} \"{{ value }}\"\n{%- endfor %}\nLABEL end=1", "\nENV A \"x\"\nENV B \"y z\"\nLABEL end=1"},
		{"{% if manifest.system_dependencies and manifest.system_dependencies|length > 0 %}RUN x{% endif %}", "RUN x"},
		{"{% if manifest_jobtype_extra.workers >= 5 or 3 <= 2 or manifest_jobtype_extra.list|length > 0 %}1{% elif manifest.replicas < 2 %}RUN x{% endif %}", "RUN x"},
		{"{% if manifest.name > 3 %}{% endif %}", "error: > compares numbers only (line 2)"},
		{"{% if false and nothing > 3 %}{% endif %}LABEL a=1", "LABEL a=1"},
		{"{%- if manifest.system_dependencies and manifest.system_dependencies | length %}\nRUN apt-get install {{ manifest.system_dependencies | join(' ') }}\n{%- endif %}", "RUN apt-get install curl g++"},
		{"{% if manifest_jobtype_extra.fast in [true, 'true'] %}LABEL fast=1{% else %}LABEL fast=0{% endif %}", "LABEL fast=1"},
		{"{% if manifest.build_env['Z'] == 'x' %}1{% elif manifest_jobtype_extra.workers != 4 %}LABEL n=4{% else %}RUN x{% endif %}", "RUN x"},
		{"LABEL v={{ manifest.version.replace('.', '-') }}", "LABEL v=1-2-0"},
		{"{% for d in manifest.system_dependencies %}RUN {{ d }}\n{% endfor %}", "RUN curl\nRUN g++\n"},
		{"{% for d in manifest_jobtype_extra.list %}{{ d.x.y }}{% endfor %}LABEL a=1", "LABEL a=1"},
		{"{# a {{ comment }} #}LABEL a={{ 'it''s' }}", "error: 's' is not supported (line 2)"},
		{"LABEL a={{ \"q\\\"\" }} b={{ manifest.git.directory }} c={{ manifest.replicas }} d={{ not manifest.extends }}", "LABEL a=q\" b=. c=1 d=True"},
		{"# {{ manifest.system_dependencies }} {{ env_vars }}", "# ['curl', 'g++'] {'A': 'x', 'B': 'y z'}"},
		{"LABEL a={{ nothing }}", "LABEL a="},
		{"LABEL a={{ nothing.more }}", "error: nothing is not set, so that .more cannot be read (line 2)"},
		{"LABEL a={{ nothing.more | default('x') }}", "error: nothing is not set, so that .more cannot be read (line 2)"},
		{"LABEL a={{ nothing | default('x') }}", "LABEL a=x"},
		{"{% if false %}{{ nothing.more.replace(1) }}{% endif %}LABEL a=1", "LABEL a=1"},
		{"{% include '/etc/passwd' %}", "error: {% include %} is not supported (line 2)"},
		{"{% macro x() %}", "error: {% macro %} is not supported (line 2)"},
		{"LABEL a={{ manifest.__class__.mro() }}", "error: .mro(…) is not supported (line 2)"},
		{"LABEL a={{ manifest.name | upper }}", "error: the filter upper is not supported (line 2)"},
		{"LABEL a={{ 1 + 2 }}", "error: + 2 is not supported (line 2)"},
		{"LABEL a={{ cycler('a') }}", "error: ('a') is not supported (line 2)"},
		{"LABEL a={{ manifest.name", "error: a tag without an end is not supported (line 2)"},
		{"{% for x in manifest.name %}{% endfor %}", "error: what the loop goes over is no list (line 2)"},
		{"{% if true %}", "error: endif is missing (line 2)"},
		{"{% endif %}", "error: endif ends nothing (line 2)"},
	} {
		tk, found := racetrack.New().Load(open(t, templated(c.template).write(t)), contract.Options{})
		got := strings.TrimPrefix(tk.Image.Recipe, "FROM busybox\n")
		for _, f := range found {
			if f.Rule == "RACETRACK-D10" {
				got = strings.TrimPrefix(f.What, "template ")
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.template, diff)
		}
	}
}

// TestTemplateFindings holds that what is printed without a value is told, and that the result is looked at.
func TestTemplateFindings(t *testing.T) {
	_, found := load(t, templated("LABEL a={{ nothing }}\nCOPY {{ manifest.name }}.py /\nCOPY --from=localhost:5000/{{ manifest.name }} / /\n"))
	if diff := cmp.Diff([]string{
		"w D12 Dockerfile:2 template: nothing is not set and becomes an empty text",
		"e D7 Dockerfile:3 Dockerfile line 3: COPY a.py: not in the build context",
		"e D5 Dockerfile:4 the base image localhost:5000/a comes from the private registry localhost:5000",
	}, brief(found)); diff != "" {
		t.Errorf("findings (-want +got)\n%s", diff)
	}
	// Only jobs of type dockerfile are templates.
	tk, found := load(t, files{"job.yaml": base, "Dockerfile": "FROM busybox\nLABEL a='{{ manifest.name }}'\n"})
	if tk.Image.Recipe != "" || len(found) != 0 {
		t.Errorf("%q %v", tk.Image.Recipe, brief(found))
	}
	if tk, _ := load(t, files{"job.yaml": replaced("docker-proxy", "dockerfile"), "Dockerfile": "FROM busybox\n"}); tk.Image.Recipe != "" {
		t.Errorf("a Dockerfile without a template is changed: %q", tk.Image.Recipe)
	}
}

// TestHostileTemplate holds that a template comes to an end.
func TestHostileTemplate(t *testing.T) {
	loops := strings.Repeat("{% for x in manifest.labels.l %}", 40) + "x" + strings.Repeat("{% endfor %}", 40)
	grow := "{% set a = 'aaaaaaaaaaaaaaaa' %}" + strings.Repeat("{% set a = a.replace('a', 'aaaaaaaaaaaaaaaa') %}", 60)
	for name, text := range map[string]string{
		"loops": loops, "growth": grow, "depth": "{{ " + strings.Repeat("(", 100_000) + " }}",
		"nots": "{{ " + strings.Repeat("not ", 100_000) + "1 }}", "blocks": strings.Repeat("{% if true %}", 10_000),
		"compare": strings.Repeat("{{ manifest == manifest }}", 10_000), "lists": "{{ " + strings.Repeat("[", 100_000),
	} {
		f := templated(text)
		f["job.yaml"] += "labels: {l: [" + strings.Repeat("1,", 999) + "1]}\n"
		start := time.Now()
		_, found := load(t, f)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %s", name, took)
		}
		if len(found) == 0 || found[len(found)-1].Rule != "RACETRACK-D10" {
			t.Errorf("%s: %v", name, brief(found))
		}
	}
}

// TestTemplateOfManyTags holds that every tag costs its own length, not that of the rest: looking through the rest for each took ten
// seconds of processor time for these.
func TestTemplateOfManyTags(t *testing.T) {
	start := processorTime(t)
	tk, found := racetrack.New().Load(open(t, templated(strings.Repeat("LABEL a={{ manifest.name }}\n", 35_000)).write(t)), contract.Options{})
	if len(found) > 0 || strings.Count(tk.Image.Recipe, "LABEL a=a\n") != 35_000 {
		t.Errorf("%d bytes, %v", len(tk.Image.Recipe), brief(found))
	}
	if d := processorTime(t) - start; d > 5*time.Second {
		t.Error(d)
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
