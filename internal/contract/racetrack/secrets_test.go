package racetrack_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/racetrack"
	"longshore/internal/task"
)

// TestBuildSecrets holds reference 6.5: id and form of the build's secrets, which no stored task has, and 3.4: what is set for
// the build is empty in the job.
func TestBuildSecrets(t *testing.T) {
	f := with(base + "secret_build_env_file: build.env\nsecret_runtime_env_file: run.env\nruntime_env: {BOTH: '1'}\n")
	f["build.env"] = "# for pip\nTOKEN='hunter22'\nURL: https://u:p@h/?a=b\nBOTH=x\nRUN=y\n"
	f["run.env"] = "RUN=now\n"
	tk, found := load(t, f)
	if len(found) != 0 {
		t.Errorf("%v", brief(found))
	}
	want := task.BuildSecrets{
		Files:  map[string]string{"build_secrets": "TOKEN=\"hunter22\"\nURL=\"https://u:p@h/?a=b\"\nBOTH=\"x\"\nRUN=\"y\"\n"},
		Values: map[string]string{"TOKEN": "hunter22", "URL": "https://u:p@h/?a=b", "BOTH": "x", "RUN": "y"},
	}
	if diff := cmp.Diff(want, tk.Image.Secrets); diff != "" {
		t.Errorf("secrets (-want +got)\n%s", diff)
	}
	if data, err := json.Marshal(tk); err != nil || strings.Contains(string(data), "hunter22") {
		t.Errorf("the task holds a secret (%v): %s", err, data)
	}
	env := environment(prepare(t, tk, task.ImageFacts{}, task.Request{}))
	for name, value := range map[string]string{"TOKEN": "", "URL": "", "BOTH": "1", "RUN": "now"} {
		if got, ok := env[name]; !ok || got != value {
			t.Errorf("%s=%q (%v), want %q", name, got, ok, value)
		}
	}
	none, _ := load(t, with(base))
	if diff := cmp.Diff(map[string]string{"build_secrets": ""}, none.Image.Secrets.Files); diff != "" {
		t.Errorf("without a file (-want +got)\n%s", diff)
	}
}

// TestSubmittedSecrets holds reference 2.6: secret files lie beside the manifest, also when the rest is in a repository.
func TestSubmittedSecrets(t *testing.T) {
	src := git(t, files{"Dockerfile": "FROM busybox\nCOPY . /src\n", "job.yaml": base}, "")
	submitted := open(t, files{"job.yaml": base + "secret_runtime_env_file: .env", ".env": "A=1"}.write(t))
	submitted.File = "job.yaml"
	src.Submitted = &submitted
	tk, found := racetrack.New().Load(src, contract.Options{})
	if task.HasErrors(found) {
		t.Fatal(brief(found))
	}
	if env := environment(prepare(t, tk, task.ImageFacts{}, task.Request{})); env["A"] != "1" {
		t.Errorf("A=%q", env["A"])
	}
}

// TestSecretCopied holds that secret files which end in the image are told of.
func TestSecretCopied(t *testing.T) {
	const told = "the secret variables of conf/.env are copied into the image"
	for _, c := range []struct {
		name, dockerfile, ignore string
		want                     []string
	}{
		{"everything", "FROM busybox\nCOPY . /src\n", "", []string{"w S4 Dockerfile:2 " + told}},
		{"a folder", "FROM busybox\nADD conf /conf\n", "", []string{"w S4 Dockerfile:2 " + told}},
		{"a pattern", "FROM busybox\nCOPY conf/.e* /\n", "", []string{"w S4 Dockerfile:2 " + told}},
		{"an earlier stage goes on", "FROM busybox AS a\nCOPY / /\nFROM a\n", "", []string{"w S4 Dockerfile:2 " + told}},
		{"an earlier stage is left", "FROM busybox AS a\nCOPY . /\nFROM busybox\nCOPY --from=a /bin/sh /\n", "", nil},
		{"something else", "FROM busybox\nCOPY Dockerfile /\n", "", nil},
		{"ignored", "FROM busybox\nCOPY . /src\n", "**/.env\n", nil},
		{"its folder is ignored", "FROM busybox\nCOPY . /src\n", "conf\n", nil},
		{"not ignored after all", "FROM busybox\nCOPY . /src\n", "conf\n!conf/.env\n", []string{"w S4 Dockerfile:2 " + told}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := files{"job.yaml": base + "secret_build_env_file: conf/.env", "Dockerfile": c.dockerfile, "conf/.env": "A=1"}
			if c.ignore != "" {
				f[".dockerignore"] = c.ignore
			}
			_, found := load(t, f)
			if diff := cmp.Diff(c.want, brief(found)); diff != "" {
				t.Errorf("findings (-want +got)\n%s", diff)
			}
		})
	}
}
