package kaapana

import (
	"fmt"
	"io/fs"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Containers of the operators before processing-container.json describe themselves nowhere: they get the whole folder of a
// workflow run, and find their way in it by environment variables (Kaapana reference, 9.2). This file and its neighbours make
// that layout, for packages that are run with Options.Legacy.

// The parts of the layout. workflowRoot is followed by the run's id.
const (
	workflowRoot = "/kaapana/mounted/data"
	batchName    = "batch"
	confName     = "conf"
	confFile     = "conf.json"
	// formKey is the member of the conf whose members become variables, upper-cased.
	formKey = "workflow_form"
)

// The names of the layout's inputs and outputs.
const (
	legacyInput       = "input"
	legacyConf        = "conf"
	legacyModels      = "models"
	legacyTensorboard = "tensorboard"
	legacyOutput      = "output"
	legacyBatchOutput = "output-batch"
)

// The variables that a caller may set and that shape the layout.
const (
	varInDir  = "OPERATOR_IN_DIR"
	varOutDir = "OPERATOR_OUT_DIR"
	varRunID  = "RUN_ID"
	varDAGID  = "DAG_ID"
	varTaskID = "TASK_ID"
)

// LegacyLayout implements contract.LegacyLayout.
func (Contract) LegacyLayout() string {
	return "the workflow folder of older operators: WORKFLOW_DIR, BATCH_NAME, OPERATOR_IN_DIR, OPERATOR_OUT_DIR, conf.json"
}

// RecogniseLegacy implements contract.LegacyRecogniser: any image may be one of the older ones, and any folder that makes one.
func (Contract) RecogniseLegacy(src contract.Source) contract.Recognition {
	switch {
	case src.Image != nil:
		return contract.Recognition{Certainty: contract.Possible, Evidence: "an image, called legacy"}
	case src.FS == nil:
		return contract.Recognition{}
	}
	data, err := contract.ReadText(src.FS, dockerfile)
	if err != nil {
		return contract.Recognition{}
	}
	r := contract.Recognition{Certainty: contract.Possible, Evidence: "a " + dockerfile + ", called legacy", Manifest: dockerfile}
	if image, _ := labels(data); image != "" {
		r.Certainty, r.Evidence = contract.Likely, dockerfile+" with LABEL IMAGE, called legacy"
	}
	return r
}

// loadLegacy makes a task of an image, or of a folder with a Dockerfile, whatever else is in it.
func loadLegacy(src contract.Source, opts contract.Options) (*task.Task, []task.Finding) {
	r := &reader{Report: contract.Report{File: dockerfile}}
	t := &task.Task{
		Contract: Name, Dialect: "legacy: the workflow folder of older operators", Exchange: task.Files, Parameters: legacyParameters(),
		FreeInputs: true, FreeEnv: true, Detail: detail{Legacy: true}.encode(),
		Notes: []string{"run by the legacy contract: nothing in the package says what it takes, and -i KEY=value becomes a variable of that name in capitals"},
	}
	if opts.Variant != "" {
		r.Error(ruleTemplateUnknown, contract.At{}, "leave it out", "Containers of the legacy contract have no templates; `%s` was asked for.", opts.Variant)
	}
	switch {
	case src.Image != nil:
		t.Name = src.Image.Facts().Reference
		t.Image = task.ImageSource{Kind: task.ImageReference, Name: t.Name}
	case src.FS == nil:
		return nil, nil
	default:
		t.Name = folderName(src)
		data, err := r.source(t, src, src.FS, src.Dir)
		if err != nil {
			r.Error(ruleNoDockerfile, contract.At{}, "add one, or name an image with image:NAME", "There is no Dockerfile to build it from.")
			return nil, r.Findings
		}
		if recipe := r.parseRecipe(data); recipe != nil {
			noteLocalBase(t, recipe)
		}
	}
	if carriesFile(src) {
		t.Notes = append(t.Notes, "its "+fileName+" is not used")
	}
	return t, r.Findings
}

// carriesFile tells whether the package could be run without the legacy layout.
func carriesFile(src contract.Source) bool {
	if src.Image != nil {
		_, err := src.Image.ReadFile(inImage, fileLimit)
		return err == nil
	}
	return src.FS != nil && len(filesIn(src.FS)) > 0
}

func legacyParameters() []task.Parameter {
	at := workflowRoot + "/<" + varRunID + ">"
	folder := func(name, path, about string) task.Parameter {
		return task.Parameter{
			Name: name, Direction: task.Input, Description: about, Optional: true,
			Type: task.Type{Kind: task.Directory}, Place: task.Place{Kind: task.PlaceFolder, Path: path},
		}
	}
	variable := func(name, def, about string) task.Parameter {
		return task.Parameter{
			Name: name, Direction: task.Input, Description: about, Optional: true, Default: &task.Value{Text: def},
			Type: task.Type{Kind: task.String, Verbatim: true}, Place: task.Place{Kind: task.PlaceEnv, Name: name},
		}
	}
	out := func(name, path, about string, optional bool) task.Parameter {
		p := folder(name, path, about)
		p.Direction, p.Optional = task.Output, optional
		return p
	}
	return []task.Parameter{
		folder(legacyInput, at+"/batch/<item>/<"+varInDir+">", "One sub-folder per item; a folder without sub-folders is the item item-1."),
		{
			Name: legacyConf, Direction: task.Input, Description: "The run's conf; members of its workflow_form become variables.", Optional: true,
			Default: &task.Value{Text: "{}"}, Type: task.Type{Kind: task.JSON}, Place: task.Place{Kind: task.PlaceFile, Path: at + "/conf/" + confFile},
		},
		folder(legacyModels, "/models", "Models, read-only."),
		folder(legacyTensorboard, "/tensorboard", "A folder that the program may write to; it is copied, and what is left in it is an output."),
		variable(varInDir, "input", "The folder of each item that the data lies in."),
		variable(varOutDir, "output", "The folder of each item, or of the run, that results are written to."),
		variable(varRunID, "longshore", "The run's id, a part of WORKFLOW_DIR."),
		variable(varDAGID, "longshore", "The workflow's id."),
		variable(varTaskID, "longshore", "The task's id."),
		out(legacyOutput, at+"/batch/<item>/<"+varOutDir+">", "The result of each item.", false),
		out(legacyBatchOutput, at+"/<"+varOutDir+">", "The result of the whole batch.", true),
		out(legacyTensorboard, "/tensorboard", "What was left in the folder given.", true),
	}
}

// localName refuses a caller's name of a folder that would leave the one it belongs in.
func localName(name, value string) error {
	if !fs.ValidPath(value) || value == "." || strings.ContainsRune(value, 0) {
		return &task.Error{
			Code: task.ReasonInput, Message: fmt.Sprintf("%s %q is no name of a folder", name, value), Hint: "give a name without \"..\", that does not start with /",
		}
	}
	return nil
}
