package meca

import (
	"os"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Prepare makes the one request of a run: POST / with the caller's bytes as they are (MECA seed, section 1). Nothing is added
// to the image: no variable, no command, no mount. It reads the body once, to warn when it is not JSON.
func (Contract) Prepare(t *task.Task, _ task.ImageFacts, v task.Values) (*task.Execution, error) {
	if err := refuse(t, v); err != nil {
		return nil, err
	}
	var body task.Body
	if v.Body != nil {
		body = *v.Body
	}
	warnings, err := checkBody(body)
	if err != nil {
		return nil, err
	}
	most := int64(maxBody)
	if detailOf(t).AsRunner { // MECA's executor has no bound
		most = 0
	}
	return &task.Execution{
		Resources: contract.ResourcesOf(t, v),
		Network:   t.Network,
		HTTP: &task.HTTPExchange{
			Ports:       []task.Port{{Number: port, Why: "a MECA task listens on 8080"}},
			ReadyMark:   readyMark,
			Method:      "POST",
			Path:        "/",
			ContentType: "application/json",
			Body:        body,

			AcceptStatus: detailOf(t).AsRunner,
			MaxResponse:  most,
			Outside:      true, // MECA's executor connects by the container's name
		},
		Timeouts: timeouts(),
		Warnings: warnings,
		Detail:   t.Detail,
	}, nil
}

// refuse answers what a MECA run cannot be given, and tasks that this contract cannot run here.
func refuse(t *task.Task, v task.Values) error {
	d, err := decode(t.Detail)
	switch {
	case err != nil:
		return task.Errorf(task.ReasonEngine, "the stored task cannot be read: %w", err)
	case d.SGX:
		return task.Errorf(task.ReasonPolicy, "no-sgx: the task needs an SGX enclave, which this machine does not offer").
			WithHint("to run it without an enclave, choose the variant %q", variantPlain)
	case len(v.Words) > 0:
		return task.Errorf(task.ReasonInput, "a MECA task takes no command line").WithHint("leave out the words after --; give the request's body with -d or -i %s=…", inputName)
	case len(v.Env) > 0:
		return task.Errorf(task.ReasonInput, "a MECA task takes no environment variables").WithHint("put the values into the request's body")
	}
	return nil
}

// checkBody bounds the request and warns of what the seed does not promise to work: any body that is not JSON.
func checkBody(b task.Body) ([]string, error) {
	data := []byte(b.Text)
	if b.Path != "" {
		st, err := os.Stat(b.Path)
		switch {
		case err != nil:
			return nil, task.Errorf(task.ReasonInput, "cannot read the request's body: %w", err)
		case !st.Mode().IsRegular():
			return nil, task.Errorf(task.ReasonInput, "the request's body %s is a %s, not a file", b.Path, contract.KindOf(st.Mode()))
		case st.Size() > maxBody:
			return nil, tooLarge(st.Size())
		}
		if data, err = os.ReadFile(b.Path); err != nil {
			return nil, task.Errorf(task.ReasonInput, "cannot read the request's body: %w", err)
		}
	}
	if len(data) > maxBody {
		return nil, tooLarge(int64(len(data)))
	}
	if len(data) == 0 {
		return nil, nil
	}
	if _, reason := jsonProblem(data); reason != "" {
		return []string{"the input is not valid JSON (" + reason + "); it is sent as it is"}, nil
	}
	return nil, nil
}

func tooLarge(n int64) error {
	return task.Errorf(task.ReasonInput, "the request's body has %s, more than the %s a MECA task takes", task.Bytes(n), task.Bytes(maxBody))
}
