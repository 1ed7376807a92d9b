package racetrack_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/racetrack"
)

func jsonOf(text string) map[string]any {
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return map[string]any{"not JSON": text}
	}
	return v
}

// TestRemote holds which packages stand for the repository that they name.
func TestRemote(t *testing.T) {
	for _, c := range []struct {
		name  string
		files files
		over  []contract.Override
		want  string
	}{
		{"a manifest alone", files{"job.yaml": base}, nil, "git+https://h/r job.yaml"},
		{"branch and directory", files{"job.yaml": replaced("https://h/r", "https://h/r\n  branch: dev\n  directory: ./svc/")}, nil, "git+https://h/r#dev:svc job.yaml"},
		{"an old manifest", files{"fatman.yaml": base}, nil, "git+https://h/r fatman.yaml"},
		{"an overlay", files{"job.yaml": "extends: b.yaml\nname: x", "b.yaml": base}, nil, "git+https://h/r job.yaml"},
		{"overridden", files{"job.yaml": base}, []contract.Override{{Key: "git.branch", Value: "v2"}}, "git+https://h/r#v2 job.yaml"},
		{"a Dockerfile", with(base), nil, ""},
		{"a Dockerfile below", files{"job.yaml": replaced("https://h/r", "https://h/r\n  directory: svc"), "svc/Dockerfile": "FROM busybox"}, nil, ""},
		{"a Dockerfile of another name", files{"job.yaml": base + "docker: {dockerfile_path: d/x}", "d/x": "FROM busybox"}, nil, ""},
		{"a ready image", files{"job.yaml": base + "jobtype_extra: {image: x}"}, nil, ""},
		{"an address that is not allowed", files{"job.yaml": replaced("https://h/r", "ssh://h/r")}, nil, ""},
		{"a branch that is an option", files{"job.yaml": replaced("https://h/r", "https://h/r\n  branch: --upload-pack=x")}, nil, ""},
		{"a fragment in the address", files{"job.yaml": replaced("https://h/r", "https://h/r#x")}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if r, ok := racetrack.New().Remote(open(t, c.files.write(t)), contract.Options{Overrides: c.over}); ok {
				got = r.Git + " " + r.Name
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestConsistent holds reference 2.10: the caller's manifest counts, and is compared with the repository's.
func TestConsistent(t *testing.T) {
	const inconsistent = `Submitted job manifest is not consistent with the file found in a repository. Did you forget to do "git push"? Difference: `
	for _, c := range []struct {
		name             string
		submitted, there files
		want             []string
	}{
		{"the same", files{"job.yaml": base}, files{"job.yaml": strings.ReplaceAll(base, "x@y", "'x@y' # me")}, nil},
		{"the same, merged", files{"job.yaml": "extends: b.yaml\nname: a", "b.yaml": replaced("name: a\n", "")}, files{"job.yaml": base}, nil},
		{"another", files{"job.yaml": replaced("https://h/r", "https://h/r\n  branch: dev") + "replicas: 1"}, files{"job.yaml": replaced("https://h/r", "https://h/r\n  branch: main")}, []string{
			"w W1 job.yaml " + inconsistent + `{git: {branch: {'-': "main", '+': "dev"}}, replicas: {'-': null, '+': 1}}`,
		}},
		{"no manifest there", files{"job.yaml": base}, files{"x": ""}, []string{"w W1 job.yaml Can't find manifest file in a Job repository to verify it with submitted YAML"}},
		{"an old one", files{"job.yaml": base}, files{"fatman.yaml": base}, nil},
		{"a broken one", files{"job.yaml": base}, files{"job.yaml": "- a"}, []string{"w W1 job.yaml the manifest job.yaml of the repository cannot be read, so it is not compared"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.there["Dockerfile"] = "FROM busybox"
			src := git(t, c.there, "")
			submitted := open(t, c.submitted.write(t))
			submitted.File = "job.yaml"
			src.Submitted = &submitted
			tk, found := racetrack.New().Load(src, contract.Options{})
			if diff := cmp.Diff(c.want, brief(found)); diff != "" {
				t.Errorf("findings (-want +got)\n%s", diff)
			}
			if tk.Image.Context != src.RepoDir {
				t.Errorf("context %s, want %s", tk.Image.Context, src.RepoDir)
			}
		})
	}
}
