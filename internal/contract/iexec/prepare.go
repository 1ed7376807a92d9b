package iexec

import (
	"encoding/json"
	"time"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// kept is what Collect needs of a Prepare: task.Execution.Detail.
type kept struct {
	Generation generation `json:"generation"`
	Callback   bool       `json:"callback,omitempty"`
	Lenient    bool       `json:"lenient,omitempty"`
	LongNames  bool       `json:"longNames,omitempty"`
	Archive    bool       `json:"archive,omitempty"`
	LogsOver   bool       `json:"logsOver,omitempty"`
}

// Prepare makes the one container of a task: the folder /iexec with its inputs (v1, v2), or /iexec_in and /iexec_out.
// The image's ENTRYPOINT is kept, and the words of the command line replace its CMD.
func (Contract) Prepare(t *task.Task, img task.ImageFacts, v task.Values) (*task.Execution, error) {
	p, err := planOf(t)
	if err != nil {
		return nil, err
	}
	if p.Nothing != "" {
		return nil, task.Errorf(task.ReasonInput, "%s describes %s: there is nothing to run", p.Manifest, p.Nothing)
	}
	if what := checksumProblem(t, p, img); what != "" {
		return nil, task.Errorf(task.ReasonImage, "%s", what).WithHint("name the image that was deployed, or correct the checksum")
	}
	x := &task.Execution{Resources: contract.ResourcesOf(t, v), Network: t.Network, AnyEnd: p.AnyEnd}
	if p.Seconds > 0 {
		x.Timeouts.Run = time.Duration(p.Seconds) * time.Second
	}
	if x.Detail, err = json.Marshal(kept{p.Generation, p.Callback, p.Lenient, p.LongNames, p.Archive, p.LogsOver}); err != nil {
		return nil, task.Errorf(task.ReasonEngine, "the execution cannot be stored: %w", err)
	}
	x.Process.Args, err = words(p, v)
	if err != nil {
		return nil, err
	}
	if p.Generation.legacy() {
		err = prepareLegacy(x, p, img, v)
	} else {
		err = prepareLater(x, p, t, v)
	}
	if err != nil {
		return nil, err
	}
	return x, nil
}

// words are the arguments: those after "--" as they are, else the text split by the generation's rules. None leaves the
// image's own CMD.
func words(p plan, v task.Values) ([]string, error) {
	if v.Words != nil {
		return v.Words, nil
	}
	text := v.Inputs[paramArgs].Text
	if p.Generation.legacy() {
		return splitCmdline(text), nil
	}
	ws, ok := splitArgs(text)
	if !ok {
		return nil, task.Errorf(task.ReasonInput, "unbalanced quotes in %s", shorten(text)).WithHint("close the quote, or give the words after --")
	}
	return ws, nil
}
