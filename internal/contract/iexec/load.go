package iexec

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// loader is one Load in progress.
type loader struct {
	*report
	src  contract.Source
	opts contract.Options
	dir  string // of the manifest within the source
	root *contract.Node

	plan plan
	task *task.Task
	// wrong are the values that were reported, so that what else they are not is not.
	wrong map[*contract.Node]bool
	// standard runs an enclave app without its enclave, which the caller asked for.
	standard bool
	// exact reads params and the dataset's checksum without the tolerance that is usual here.
	exact bool
}

// Load reads the manifest, of any generation and form. Opts.Variant may force a generation from v3 on ("v3" to "v9"),
// drop the demand for an enclave ("standard"), take any end of a v1 or v2 app for success ("any-end"), decode hexadecimal text as workers do ("lenient"), accept long names of result
// files ("long-names"), digest the archive ("archive"), let the logs replace files of their names ("logs-over"), and read params and checksums as workers do ("exact"); they are joined by commas.
func (Contract) Load(src contract.Source, opts contract.Options) (*task.Task, []task.Finding) {
	l := &loader{report: newReport(""), src: src, opts: opts, wrong: map[*contract.Node]bool{}, task: &task.Task{Contract: "iexec", Exchange: task.Files, FreeEnv: true}}
	data, ok := l.open()
	if !ok {
		return nil, l.Findings
	}
	root, written, loose, err := readDocument(data)
	if err != nil {
		l.Syntax(ruleSyntax, "JSON or JavaScript", err)
		return nil, l.Findings
	}
	l.root = root
	l.noteForm(written, loose)
	if root.Kind != contract.NodeObject {
		l.add(ruleNoApp, root.Pos(), "write an object with an \"app\" block", "the manifest is a %s, not an object", root.Kind)
		return nil, l.Findings
	}
	for _, m := range root.Duplicates() {
		l.add(ruleDuplicate, m.Pos(), "remove one of them", "%q is written twice: the last one counts", shorten(m.Key))
	}
	if !l.describe() {
		return nil, l.Findings
	}
	l.task.Detail, err = json.Marshal(l.plan)
	if err != nil {
		l.add(ruleUnreadable, contract.At{}, "", "the task cannot be stored: %v", err)
		return nil, l.Findings
	}
	return l.task, l.Findings
}

// open finds and reads the manifest.
func (l *loader) open() ([]byte, bool) {
	name := l.src.File
	switch {
	case l.src.FS == nil:
		l.add(ruleUnreadable, contract.At{}, "name the folder that holds iexec.json", "an image alone is no iExec package: its manifest is missing")
		return nil, false
	case name == "":
		found := manifestsIn(l.src.FS, ".")
		if len(found) == 0 {
			l.add(ruleUnreadable, contract.At{}, "write one; `longshore init iexec DIR` makes a package to start from", "there is no iexec.json or iexec.js")
			return nil, false
		}
		name = found[0]
		if len(found) > 1 {
			l.File = name
			l.add(ruleTwoManifests, contract.At{}, "remove one of them", "both iexec.json and iexec.js are here: iexec.json is read")
		}
	}
	l.File, l.dir, l.plan.Manifest = name, path.Dir(name), name
	l.plan.Own = l.opts.Own
	data, err := contract.ReadText(l.src.FS, name)
	if err != nil {
		what := err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			what = name + " does not exist"
		}
		l.add(ruleUnreadable, contract.At{}, "", "the manifest cannot be read: %s", what)
		return nil, false
	}
	return data, true
}

func (l *loader) noteForm(f form, loose *contract.SyntaxError) {
	l.note("manifest: %s (%s)", l.plan.Manifest, f)
	if f == formFragment {
		l.add(ruleNoBraces, contract.At{Line: 1, Column: 1}, "put { before the first member and } behind the last one",
			"members are not enclosed in braces").Why = "accepted here; the iExec CLI refuses it"
	}
	if loose != nil && !strings.HasSuffix(l.File, ".js") {
		finding := l.add(ruleLoose, contract.At{Line: loose.Line, Column: loose.Column}, loose.Mend, "not strict JSON: %s", loose.Reason)
		finding.Why = "accepted here; the iExec CLI refuses it"
	} else if loose != nil && strings.HasPrefix(loose.Mend, "remove the comma") {
		l.add(ruleLoose, contract.At{Line: loose.Line, Column: loose.Column}, loose.Mend, "a comma stands before the end of an object or list").Why =
			"accepted here; the iExec CLI from SDK 2 on reads JSON and refuses it"
	}
}

func (l *loader) note(format string, args ...any) {
	l.task.Notes = append(l.task.Notes, fmt.Sprintf(format, args...))
}

// describe fills in the task. It is false when there is nothing to describe.
func (l *loader) describe() bool {
	g, why := sniff(l.root)
	if g == "" {
		l.noApp()
		return false
	}
	l.plan.Generation = g
	l.task.Dialect = fmt.Sprintf("%s (%s)", g, why)
	l.variant()
	top := block{l, l.root, ""}
	l.shape()
	top.known(topFields...)
	l.task.Description = top.text("description")
	switch {
	case l.nothingToRun():
		l.task.Parameters = nil
	case g == generationV1:
		l.describeV1(top)
	case g == generationV2:
		l.describeV2(top)
	default:
		l.describeLater(top)
	}
	if l.task.Name == "" {
		l.task.Name = l.fallbackName()
	}
	l.registry(top)
	return true
}

func (l *loader) noApp() {
	l.add(ruleNoApp, l.root.Pos(), "write an app block",
		`no "app" block: this file describes nothing to run (expected app.params.envvars, app.multiaddr, or a v1 "app"/"data" block)`)
}

// topFields are the blocks and registry fields of all generations.
var topFields = []string{"name", "description", "license", "author", "social", "logo", "repo", "type", "categories", "app", "data",
	"dataset", "workerPool", "workerpool", "category", "order", "buyConf", "dapps", "work", "price", "version"}

// variant reads what was asked for beyond the manifest.
func (l *loader) variant() {
	l.task.Variant = l.opts.Variant
	for _, w := range variantWords(l.opts.Variant) {
		later := !l.plan.Generation.legacy()
		switch {
		case w == "standard":
			l.standard = true
		case !later && w == "any-end":
			l.plan.AnyEnd = true
		case later && w == "lenient":
			l.plan.Lenient = true
		case later && w == "long-names":
			l.plan.LongNames = true
		case later && w == variantArchive:
			l.plan.Archive = true
		case later && w == variantLogsOver:
			l.plan.LogsOver = true
		case later && w == "exact":
			l.exact = true
		case later && (w == "v3" || w == "v4"):
			l.plan.Generation = generationV3
		case later && (w == "v5" || w == "v6" || w == "v7" || w == "v8"):
			l.plan.Generation = generationV5
		case later && w == "v9":
			l.plan.Generation, l.plan.HashNames = generationV5, true
		case w == string(l.plan.Generation):
		default:
			l.add(ruleVariant, contract.At{}, `"standard"; for v1 and v2: any-end; for manifests from v3 on: lenient, long-names, archive, logs-over, exact, v3 to v9`, "there is no variant %q of a %s manifest", shorten(w), l.plan.Generation)
			continue
		}
		l.note("as asked for: %s", w)
	}
	if l.plan.Archive && l.plan.Generation != generationV3 {
		l.add(ruleVariant, contract.At{}, "leave it out, or ask for v3 or v4, too", "the variant %q is of v3 and v4, whose workers take the archive for a result without a determinism file", variantArchive)
	}
}

// Variants by which results are digested in another way.
const (
	variantArchive  = "archive"
	variantLogsOver = "logs-over"
)

// variantWords are the variants that one text asks for.
func variantWords(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// nothingToRun handles the valid manifests that describe no app.
func (l *loader) nothingToRun() bool {
	what := ""
	switch app := l.root.Get("app"); {
	case !app.IsNull() || !l.root.Get("data").IsNull() && l.plan.Generation == generationV1:
		return false
	case l.root.Has("dataset"):
		what = "a dataset"
		l.checksum(block{l, l.root.Get("dataset"), "dataset"}, "the dataset is not pinned", mendDatasetChecksum)
	case l.root.Has("workerpool"), l.root.Has("workerPool"):
		what = "a workerpool"
	case l.root.Has("order"), l.root.Has("work"):
		l.noApp()
		what = "a request without its app"
	default:
		what = "a contract-only project"
	}
	if l.plan.Generation == generationV5 {
		l.othersOrders(block{l, l.root, ""}.block("order"))
	}
	l.plan.Nothing = what
	l.task.Image.Kind = task.ImageReference
	if !task.HasErrors(l.Findings) {
		l.add(ruleNothingToRun, l.root.Pos(), "", "this file describes %s: it is valid, and there is nothing to run", what)
	}
	return true
}

// fallbackName is a name for a manifest that gives none: the folder's, else the image's.
func (l *loader) fallbackName() string {
	if n := l.root.Get("name").Str(); n != "" {
		return n
	}
	dir := l.src.Dir
	if dir == "" && l.src.Archive != "" {
		return strings.TrimSuffix(filepath.Base(l.src.Archive), filepath.Ext(l.src.Archive))
	}
	if name := filepath.Base(filepath.Join(dir, filepath.FromSlash(l.dir))); dir != "" && name != "/" {
		return name
	}
	if name := path.Base(l.task.Image.Name); name != "." {
		return strings.SplitN(name, ":", 2)[0]
	}
	return "iexec"
}

// describeV1 reads a manifest of SDK 1: the app's block carries its type and variables, and work is the request.
func (l *loader) describeV1(top block) {
	l.task.Name = top.text("name")
	app := top.block("app")
	if l.root.Get("app").IsNull() {
		app = top.block("data")
	}
	app.known("type", "envvars", "cpu", "os", "name", "price", "neededpackages")
	work := top.block("work")
	work.known("cmdline", "dirinuri", "envvars")
	l.legacy(app, work)
}

// describeV2 reads a manifest of SDK 2, the seed's.
func (l *loader) describeV2(top block) {
	app := top.block("app")
	app.known("name", "price", "params", "owner")
	l.task.Name = app.text("name")
	declared := app.block("params")
	declared.known("type", "envvars", "neededpackages")
	order := top.block("order")
	order.known("buy", "sell")
	buy := order.block("buy")
	buy.known("app", "dataset", "params", "workerpool", "trust", "category", "tag", "callback", "beneficiary")
	requested := buy.block("params")
	requested.known("cmdline", "dirinuri", "envvars")
	if n := buy.node.Get("dataset"); n.Is(contract.NodeString) && !isZeroAddress(n.Text) {
		l.add(ruleDatasetUnused, n.Pos(), "", "the iExec CLI of v2 never sends order.buy.dataset: give the file with -i dataset=@FILE")
	}
	l.legacy(declared, requested)
}

// legacy describes an app with the one folder /iexec from its declaration and its default request.
func (l *loader) legacy(app, request block) {
	declared := app.node != nil || !l.wrong[l.declaration(app.path)]
	docker := declared && l.legacyType(app)
	l.plan.AppEnv = l.envvars(app)
	l.plan.RequestEnv = l.envvars(request)
	if n := app.node.Get("neededpackages"); !n.IsNull() && !l.wrong[n] {
		l.add(ruleUnknownField, n.Pos(), "", "%s is read by no worker's docker path", app.name("neededpackages"))
	}
	words := splitCmdline(request.text("cmdline"))
	l.plan.CmdlineAt = request.node.Get("cmdline").Pos()
	if docker {
		l.legacyImage(app, &words)
	}
	for _, f := range cmdlineFindings(words, l.recipeWorkdir()) {
		l.add(f.rule, l.plan.CmdlineAt, f.mend, "%s", f.what)
	}
	args := task.Parameter{Name: paramArgs, Aliases: []string{"cmdline"}, Direction: task.Input, Optional: true, Title: "command line",
		Description: "Split on white space; quotes are passed on as they are. Words after -- replace it and are not split.",
		Type:        task.Type{Kind: task.String}, Place: task.Place{Kind: task.PlaceArgs}}
	if request.node.Has("cmdline") {
		args.Default = &task.Value{Text: strings.Join(words, " ")}
	}
	l.task.Parameters = append(l.task.Parameters, args, l.legacyInput(request),
		task.Parameter{Name: paramDataset, Direction: task.Input, Optional: true, Title: "dataset",
			Description: "A further file, placed in /iexec under its own name.",
			Type:        task.Type{Kind: task.FileKind, URLs: true}, Place: task.Place{Kind: task.PlaceFolder, Path: folderV2}},
	)
	l.outputs(folderV2, "Every file that was created or changed under /iexec.", digestLegacy, "consensus")
}

// declaration is the outermost part of a block's path that the manifest has: the block itself, or what stands in its place.
func (l *loader) declaration(path string) *contract.Node {
	n := l.root
	for _, key := range strings.Split(path, ".") {
		if !n.Has(key) {
			break
		}
		n = n.Get(key)
	}
	return n
}

// legacyType checks the type. It is false for bare executables, which have no image.
func (l *loader) legacyType(app block) bool {
	n := app.node.Get("type")
	switch {
	case n.Str() == "DOCKER":
	case n.Str() == "BINARY":
		l.add(ruleBinary, n.Pos(), `package the program in an image and set type to "DOCKER"`,
			"BINARY dapps run a bare executable on the worker's host; only DOCKER dapps can run here")
		return false
	default:
		at, found := n.Pos(), "missing"
		if n == nil {
			at = cmp.Or(app.node.Pos(), l.root.Get("app").Pos(), l.root.Pos())
		} else if !n.IsNull() {
			found = fmt.Sprintf("%q", shorten(n.Text))
		}
		l.add(ruleType, at, `set it to "DOCKER"`, `%s is %s, only "DOCKER" can run`, app.name("type"), found)
	}
	return true
}

// envvars reads a comma-separated list of NAME=VALUE.
func (l *loader) envvars(b block) []task.EnvVar {
	at := b.node.Get("envvars").Pos()
	var env []task.EnvVar
	for _, item := range strings.Split(b.text("envvars"), ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, value, ok := strings.Cut(item, "=")
		if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok || name == "" || strings.ContainsRune(item, 0) {
			mend := "write NAME=VALUE"
			if only := strings.TrimSpace(b.text("envvars")) == item; only || strings.HasPrefix(item, imageVariable) {
				mend = "write " + imageVariable + "=<image>"
				l.wrong[b.node.Get("envvars")] = true // so that it is not missed, too
			}
			l.add(ruleEnvItem, at, mend, "envvars item %q is not NAME=VALUE (items are separated by commas, so a value cannot hold a comma)", shorten(item))
			continue
		}
		if value == "" || strings.Contains(value, "=") {
			l.add(ruleEnvKept, at, "", `envvars item %q is kept here (split at the first "="); iExec v2 workers drop it without a word`, shorten(item))
		}
		if word := droppedBy(item); word != "" {
			l.add(ruleEnvDropped, at, "", "envvars item %q is kept here; iExec v2 workers drop it, as %s stands in it", shorten(item), word)
		}
		if name == "FORTANIXENABLED" {
			l.add(ruleNeedsHost, at, "remove it", "%s asks for SGX devices and the host's network, which containers do not get here", name)
		}
		env = append(env, task.EnvVar{Name: name, Value: value})
	}
	return env
}

// droppedBy is the word by which v2 workers drop a variable: they mean those of their own environment, and look for the words
// anywhere in the line (iExec reference, section 3.1).
func droppedBy(line string) string {
	for _, word := range strings.Fields("HOSTNAME TERM LS_COLORS PWD SHLVL HOME SHELL SSH LC_ LANG LOG XDG_RUNTIME_DIR LESS USER MAIL") {
		if strings.Contains(line, word) {
			return word
		}
	}
	return ""
}

// imageVariable names the image of a v2 app.
const imageVariable = "XWDOCKERIMAGE"

// legacyImage finds the image in the merged variables, the app's first, or in the pair "--xwimage X" of the command line,
// which is then taken out of it.
func (l *loader) legacyImage(app block, words *[]string) {
	for _, env := range [][]task.EnvVar{l.plan.AppEnv, l.plan.RequestEnv} {
		for i := len(env) - 1; i >= 0; i-- {
			if env[i].Name == imageVariable && env[i].Value != "" {
				l.image(app.node.Get("envvars").Pos(), env[i].Value)
				return
			}
		}
	}
	for i, w := range *words {
		if w == "--xwimage" && i+1 < len(*words) {
			name := (*words)[i+1]
			l.add(ruleImageInWords, l.plan.CmdlineAt, "set "+imageVariable+" in app.params.envvars instead", "the command line names the image: --xwimage %s is taken out of it", shorten(name))
			*words = append(append([]string{}, (*words)[:i]...), (*words)[i+2:]...)
			l.image(l.plan.CmdlineAt, name)
			return
		}
	}
	if l.wrong[app.node.Get("envvars")] {
		return
	}
	at := cmp.Or(app.node.Get("envvars").Pos(), app.node.Pos(), l.root.Get("app").Pos())
	l.add(ruleNoImage, at, `write "envvars": "XWDOCKERIMAGE=org/image:tag"`, "%s must set XWDOCKERIMAGE=<image>: it names the docker image of the dapp", app.name("envvars"))
}

// legacyInput is the one input of v1 and v2.
func (l *loader) legacyInput(request block) task.Parameter {
	p := task.Parameter{Name: paramInput, Aliases: []string{"input", "dirinuri"}, Direction: task.Input, Optional: true, Title: "input",
		Description: "A file, a folder whose content is taken, or a zip archive, which is unpacked whatever its name.",
		Type:        task.Type{Kind: task.FileKind, Formats: []string{"any", "zip", "folder"}, URLs: true}, Place: task.Place{Kind: task.PlaceFolder, Path: folderV2}}
	n := request.node.Get("dirinuri")
	if n.IsNull() || l.wrong[n] {
		return p
	}
	if in, ok := l.legacyURL(n.Pos(), request.text("dirinuri")); ok {
		l.plan.Inputs = []remote{in}
		p.Place = task.Place{Kind: task.PlaceFile, Path: path.Join(folderV2, in.Name)}
		p.Description += fmt.Sprintf(" By default it is fetched from %s; a file given instead keeps the name %s.", in.URL, in.Name)
		l.beside(in)
	}
	return p
}

// beside notes a file in the package that has the name of the input URL, as dapp registries hold sample inputs.
func (l *loader) beside(in remote) {
	file := path.Join(l.dir, in.Name)
	if st, err := fs.Stat(l.src.FS, file); in.Name == "" || err != nil || !st.Mode().IsRegular() || l.src.Dir == "" || l.plan.Beside != "" {
		return
	}
	l.plan.Beside = file
	l.note("input: %s lies beside the manifest; `longshore test` uses it in place of %s, and a run takes it with -i %s=@FILE", in.Name, in.URL, paramInput)
}

// What workers agree on, by which rule, and what that leaves out, for those who look at a package.
const (
	digestLegacy = "What workers agree on: sha256 of consensus.iexec; nothing else counts. Without it, the only result file, else an archive, which never agrees."
	digestLater  = "What workers agree on: the file or folder that computed.json names, or its callback-data when there is a callback; else determinism.iexec, else consensus.iexec. " +
		"Of a folder, the contents of the files directly in it count. Nothing else in /iexec_out does."
)

func (l *loader) outputs(folder, result, deterministic string, aliases ...string) {
	l.task.Parameters = append(l.task.Parameters,
		task.Parameter{Name: outputResult, Direction: task.Output, Title: "result", Description: result,
			Type: task.Type{Kind: task.Directory}, Place: task.Place{Kind: task.PlaceFolder, Path: folder}},
		task.Parameter{Name: outputDeterministic, Aliases: aliases, Direction: task.Output, Optional: true, Title: "deterministic file", Description: deterministic,
			Type: task.Type{Kind: task.FileKind}, Place: task.Place{Kind: task.PlaceFile, Path: folder}},
	)
	if folder == folderV2 {
		return // the one stream of both is the run's log
	}
	l.task.Parameters = append(l.task.Parameters,
		task.Parameter{Name: outputStdout, Direction: task.Output, Optional: true, Title: "standard output",
			Type: task.Type{Kind: task.FileKind}, Place: task.Place{Kind: task.PlaceNone}},
		task.Parameter{Name: outputStderr, Direction: task.Output, Optional: true, Title: "standard error",
			Type: task.Type{Kind: task.FileKind}, Place: task.Place{Kind: task.PlaceNone}})
}
