package meca

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var _ contract.Fronter = Contract{}

// memoryUnsaid is the memory in MiB of a converted task that does not say how much it needs: MECA's own default of 128 would
// be too little for most.
const memoryUnsaid = 2048

// Front puts a task behind POST / on port 8080. The request's body is a JSON object of the inputs; that of a task which works
// over HTTP is passed on as it is (MECA seed, section 1).
func (Contract) Front(t *task.Task, dir string) (contract.Front, []task.Finding) {
	f := contract.Front{
		Contract: Contract{}.Name(), Dir: dir,
		Server:  &contract.FrontServer{Port: port, Method: "POST", Path: "/", ReadyMark: readyMark, MaxBody: maxBody},
		Example: contract.FrontPlaces{Inputs: exampleInput, Outputs: exampleOutput},
	}
	f.Inputs, f.Outputs = contract.SlotsOf(t)
	for _, slots := range [][]contract.Slot{f.Inputs, f.Outputs} {
		for i := range slots {
			slots[i].Place = task.Place{Kind: task.PlaceBodyMember, Name: slots[i].Name}
			if slots[i].Body {
				slots[i].Place = task.Place{Kind: task.PlaceBody}
			}
		}
	}
	return f, lost(t)
}

// lost lists what a MECA folder cannot say.
func lost(t *task.Task) []task.Finding {
	var found []task.Finding
	note := func(rule, mend, what string, args ...any) {
		found = append(found, contract.Lost(task.SeverityNote, rule, mend, what, args...))
	}
	if t.Exchange == task.Files {
		note("undeclared", "", "a MECA package declares no parameters: description.txt lists them, and the task itself refuses wrong values")
	}
	if !t.Network {
		note("network", "", "MECA leaves the network open, and a package cannot close it")
	}
	if t.Resources.Memory == 0 {
		found = append(found, contract.Lost(task.SeverityWarning, "memory", "set mem in config.json", "the package does not say how much memory it needs, and MECA asks for it: config.json says %d MB", memoryUnsaid))
	}
	if t.Resources.Disk > 0 || t.Resources.Shm > 0 {
		note("resources", "", "limits of disk and shared memory are left out")
	}
	return found
}

// Documents writes the five texts of a folder.
func (Contract) Documents(t *task.Task, f contract.Front, example *contract.FrontExample) map[string]string {
	files := map[string]string{
		nameText:        cmp.Or(strings.TrimSpace(printable(t.Name)), "task") + "\n",
		descriptionText: describe(t, f),
		configuration:   configOf(t.Resources),
	}
	if example == nil { // a folder without them is no package
		files[exampleInput], files[exampleOutput] = "{}", ""
	}
	return files
}

// configOf writes config.json, rounded up to what it can say.
func configOf(r task.Resources) string {
	type resource struct {
		CPU    json.Number `json:"cpu"`
		Mem    int64       `json:"mem"`
		UseGPU bool        `json:"use_gpu"`
		GPUs   int         `json:"gpu_count"`
	}
	c := resource{CPU: "1", Mem: memoryUnsaid, UseGPU: r.GPUs > 0, GPUs: r.GPUs}
	if r.CPU > 0 {
		tenths := (r.CPU + 99) / 100
		c.CPU = json.Number(strings.TrimSuffix(fmt.Sprintf("%d.%d", tenths/10, tenths%10), ".0"))
	}
	if r.Memory > 0 {
		c.Mem = int64(r.Memory+contract.FrontMemory+1<<20-1) >> 20
	}
	text, _ := json.MarshalIndent(map[string]resource{resourceField: c}, "", "  ") // plain data always encodes
	return string(text) + "\n"
}

// describe tells users what to send: nobody else does, as a MECA package declares no parameters.
func describe(t *task.Task, f contract.Front) string {
	var b strings.Builder
	if t.Description != "" {
		fmt.Fprintf(&b, "%s\n\n", strings.TrimSpace(t.Description))
	}
	if len(f.Inputs) == 1 && f.Inputs[0].Body {
		b.WriteString("The request's body is passed on as it is, and so is the answer.\n")
		return b.String()
	}
	b.WriteString("The request's body is a JSON object of the inputs (or a form, multipart/form-data). A file is a text, or\n{\"base64\": \"…\"}; a folder is an object of files by path, or a zip archive as {\"base64\": \"…\"}.\n\nInputs:\n")
	slots(&b, f.Inputs)
	b.WriteString("\nThe answer is the only output: a text or file as it is, anything else as JSON. Several outputs are a JSON\nobject of them. Outputs:\n")
	slots(&b, f.Outputs)
	return b.String()
}

func slots(b *strings.Builder, list []contract.Slot) {
	for _, s := range list {
		fmt.Fprintf(b, "  %s: %s", s.Name, s.Type.Describe())
		if s.Default != nil {
			fmt.Fprintf(b, "; by default %q", s.Default.Text)
		} else if s.Optional {
			b.WriteString("; may be left out")
		}
		if d := strings.Join(strings.Fields(s.Description), " "); d != "" {
			fmt.Fprintf(b, ". %s", d)
		}
		b.WriteString("\n")
	}
	if len(list) == 0 {
		b.WriteString("  none\n")
	}
}
