package racetrack_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/racetrack"
	"longshore/internal/task"
)

// TestOverrides holds reference 2.5 and 11.4: settings over the merged manifest.
func TestOverrides(t *testing.T) {
	for _, c := range []struct {
		name      string
		overrides []string
		// merged is the manifest that the job gets; "" is not looked at.
		merged string
		want   []string
	}{
		{"one field of a mapping", []string{"git.branch=dev"}, `{"name":"o","owner_email":"x@y","jobtype":"docker-proxy:latest","labels":{"y":3},"git":{"remote":"https://h/r","branch":"dev"}}`, nil},
		{"a mapping as a whole", []string{`git={"remote": "https://h/q"}`}, `{"name":"o","owner_email":"x@y","jobtype":"docker-proxy:latest","labels":{"y":3},"git":{"remote":"https://h/q"}}`, nil},
		{"in order", []string{"labels.z=1", "labels.z=2", "version=1.2.3"}, `{"name":"o","owner_email":"x@y","jobtype":"docker-proxy:latest","labels":{"y":3,"z":2},"git":{"remote":"https://h/r","branch":"main"},"version":"1.2.3"}`, nil},
		{"equals signs in the value", []string{"labels.y=a=b"}, `{"name":"o","owner_email":"x@y","jobtype":"docker-proxy:latest","labels":{"y":"a=b"},"git":{"remote":"https://h/r","branch":"main"}}`, nil},
		{"nothing is null", []string{"git.branch="}, `{"name":"o","owner_email":"x@y","jobtype":"docker-proxy:latest","labels":{"y":3},"git":{"remote":"https://h/r","branch":null}}`, nil},
		{"an integer", []string{"name=x", "replicas=7"}, "", []string{"w R3 -e:2 replicas: 7 requested, target local runs 1"}},
		{"no parent", []string{"resources.cpu_min=1"}, "", []string{"e X2 -e:1 extra var resources.cpu_min: the manifest has no mapping resources"}},
		{"parent is no mapping", []string{"name.x=1"}, "", []string{"e X2 -e:1 extra var name.x: the manifest has no mapping name"}},
		{"a number for a version", []string{"version=1.0"}, "", []string{"e T3 -e:1 version: input should be a valid string, got 1.0"}},
		{"no key", []string{"=1"}, "", []string{"e X2 -e:1 extra var key cannot be empty"}},
		{"an empty part", []string{"git..branch=1"}, "", []string{"e X2 -e:1 extra var key cannot be empty"}},
		{"no YAML", []string{"labels={a"}, "", []string{`e X2 -e:1 extra var labels: its value is not YAML: line 1, column 2: could not find flow map content`}},
		{"unknown", []string{"LABEL=sum"}, "", []string{"e T2 -e:1 LABEL: extra inputs are not permitted"}},
		{"inner value", []string{"labels.y=1", `runtime_env={"A": null}`}, "", []string{"e T3 -e:2 runtime_env.A: input should be a valid string, got null"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var opts contract.Options
			for _, o := range c.overrides {
				k, v, _ := strings.Cut(o, "=")
				opts.Overrides = append(opts.Overrides, contract.Override{Key: k, Value: v})
			}
			dir := files{
				"job.yaml":   "extends: base.yaml\nname: o\nlabels: {y: 3}\n",
				"base.yaml":  "name: b\nowner_email: x@y\njobtype: docker-proxy:latest\ngit: {remote: 'https://h/r', branch: main}\n",
				"Dockerfile": "FROM busybox",
			}.write(t)
			tk, found := racetrack.New().Load(open(t, dir), opts)
			if diff := cmp.Diff(c.want, brief(found)); diff != "" {
				t.Errorf("findings (-want +got)\n%s", diff)
			}
			if c.merged == "" {
				return
			}
			got := environment(prepare(t, tk, task.ImageFacts{}, task.Request{}))["JOB_MANIFEST_YAML"]
			if diff := cmp.Diff(jsonOf(c.merged), jsonOf(strings.TrimSpace(got))); diff != "" {
				t.Errorf("merged (-want +got)\n%s", diff)
			}
		})
	}
}
