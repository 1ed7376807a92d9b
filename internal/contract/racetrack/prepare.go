package racetrack

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// portVariable, set for the job, also tells where its server listens.
const portVariable = "JOB_USER_MODULE_PORT"

// maxChecked bounds a body that is looked at before it is sent.
const maxChecked = 8 << 20

// Prepare makes the one request of a run: POST /perform with the named inputs as a JSON object, or the caller's body as it is
// (seed, rule 2). Nothing is mounted, and the image's own command is kept. It reads the secret variables' file, whose
// content is kept nowhere else.
func (Contract) Prepare(t *task.Task, img task.ImageFacts, v task.Values) (*task.Execution, error) {
	var d detail
	if err := json.Unmarshal(t.Detail, &d); err != nil {
		return nil, task.Errorf(task.ReasonEngine, "the stored task cannot be read: %w", err)
	}
	if len(v.Words) > 0 {
		return nil, task.Errorf(task.ReasonInput, "a Racetrack job takes no command line").WithHint("leave out the words after --; give arguments with -i name=value or -d")
	}
	env, err := environment(t, d, v)
	if err != nil {
		return nil, err
	}
	ports, err := portsOf(d, img, env)
	if err != nil {
		return nil, err
	}
	body := contract.BodyOf(t, v)
	warnings, err := checkBody(body)
	if err != nil {
		return nil, err
	}
	x := &task.Execution{
		Process:   task.Process{Env: env},
		Resources: contract.ResourcesOf(t, v),
		Network:   t.Network,
		HTTP: &task.HTTPExchange{
			Ports: ports, Probe: true, Outside: true, Method: "POST", Path: requestPath(d.Kind, t.Name, t.Version), ContentType: "application/json", Body: body,
		},
		Timeouts: timeouts(),
		Warnings: warnings,
		Detail:   nil, // Collect needs none
	}
	return x, nil
}

// requestPath is where a job takes its calls: behind the wrapper at /perform, whether the wrapper forwards or rewrites, and
// at the whole path for jobs that are their own wrapper.
func requestPath(kind jobKind, name, version string) string {
	if kind == dockerSelf {
		return "/pub/job/" + name + "/" + version + "/api/v1" + performPath
	}
	return performPath
}

// environment is what every container of a job gets (reference 3.4). A single run has no gateway and no deployment: PUB_URL
// leads nowhere, AUTH_TOKEN is empty and JOB_DEPLOYMENT_TIMESTAMP is 0.
func environment(t *task.Task, d detail, v task.Values) ([]task.EnvVar, error) {
	for _, e := range v.Env {
		if contains(reservedNames(d.Legacy), e.Name) {
			return nil, task.Errorf(task.ReasonInput, "%s", conflict([]string{e.Name})).WithHint("Racetrack sets it itself; leave it out")
		}
		if why := unusable(e.Name, e.Value); why != "" {
			return nil, task.Errorf(task.ReasonInput, "%s: %s", show(e.Name), why)
		}
	}
	secret, err := readSecrets(d)
	if err != nil {
		return nil, err
	}
	var env []task.EnvVar
	add := func(list ...task.EnvVar) { env = append(env, list...) }
	add(d.Env...)
	add(secret...)
	add(v.Env...)
	prefixes := []string{"JOB_"}
	if d.Legacy {
		prefixes = append(prefixes, "FATMAN_")
	}
	for _, p := range prefixes {
		add(
			task.EnvVar{Name: p + "NAME", Value: t.Name},
			task.EnvVar{Name: p + "VERSION", Value: t.Version},
			task.EnvVar{Name: p + "DEPLOYMENT_TIMESTAMP", Value: "0"},
			task.EnvVar{Name: p + "USER_MODULE_HOSTNAME", Value: "localhost"},
		)
	}
	if d.Manifest != "" {
		add(task.EnvVar{Name: "JOB_MANIFEST_YAML", Value: d.Manifest})
	}
	add(
		task.EnvVar{Name: "PUB_URL", Value: "http://pub:7105/pub"},
		task.EnvVar{Name: "AUTH_TOKEN"},
		task.EnvVar{Name: "REQUEST_TRACING_HEADER", Value: "X-Request-Tracing-Id"},
		task.EnvVar{Name: "CALLER_NAME_HEADER", Value: "X-Caller-Name"},
	)
	return env, nil
}

var portForm = regexp.MustCompile(`^[0-9]{1,5}$`)

func portNumber(s string) (int, bool) {
	if !portForm.MatchString(s) {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n <= 65535
}

// portsOf lists the ports to try (reference 3.3): only the one that was said, or else 7004 of the seed document, 7001 of
// Racetrack today, and what the image exposes. In rewrite mode 80 comes first. 7000 is the wrapper's and is not tried.
func portsOf(d detail, img task.ImageFacts, env []task.EnvVar) ([]task.Port, error) {
	if d.Kind == dockerSelf {
		return []task.Port{{Number: wrapperPort, Why: "jobs of type dockerfile listen on 7000"}}, nil
	}
	if d.Port != 0 {
		return []task.Port{{Number: d.Port, Why: d.PortWhy}}, nil
	}
	said := ""
	for _, e := range env {
		if e.Name == portVariable {
			said = e.Value
		}
	}
	if said != "" {
		n, ok := portNumber(said)
		if !ok {
			return nil, task.Errorf(task.ReasonInput, "%s: %q is not a TCP port", portVariable, show(said)).WithHint("give a number from 1 to 65535")
		}
		return []task.Port{{Number: n, Why: portVariable}}, nil
	}
	var ports []task.Port
	seen := map[int]bool{wrapperPort: true}
	try := func(n int, why string) {
		if !seen[n] {
			seen[n] = true
			ports = append(ports, task.Port{Number: n, Why: why})
		}
	}
	if d.Rewrite {
		try(rewritePort, "rewrite mode's default")
	}
	try(seedPort, "the port of the seed document")
	try(currentPort, "Racetrack's port since release 2.5 of the job type")
	for _, n := range img.Ports {
		try(n, "exposed by the image")
	}
	return ports, nil
}

// checkBody refuses a body that cannot be read, and warns of what breaks the seed's rule: a JSON object of parameter names
// with their values. It is sent as it is all the same.
func checkBody(b task.Body) ([]string, error) {
	data := []byte(b.Text)
	if b.Path != "" {
		st, err := os.Stat(b.Path)
		if err == nil && !st.Mode().IsRegular() {
			err = fmt.Errorf("it is a %s", contract.KindOf(st.Mode()))
		}
		if err != nil {
			return nil, task.Errorf(task.ReasonInput, "the request's body cannot be read: %w", err)
		}
		if st.Size() > maxChecked {
			return nil, nil
		}
		if data, err = os.ReadFile(b.Path); err != nil {
			return nil, task.Errorf(task.ReasonInput, "the request's body cannot be read: %w", err)
		}
	}
	var object map[string]json.RawMessage
	switch {
	case len(data) > maxChecked:
	case !json.Valid(data):
		return []string{"the request's body is not valid JSON; it is sent as it is"}, nil
	case json.Unmarshal(data, &object) != nil || object == nil:
		return []string{"the request's body is not a JSON object of parameter names with their values; it is sent as it is"}, nil
	}
	return nil, nil
}
