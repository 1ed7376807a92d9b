// Package contract declares what one platform's packaging rules must be able to do (Contract), and gives all of them what
// they share: where a package is read from (Source), documents with positions (Node), and findings. It knows no engine, no
// image store and no particular contract.
package contract

import (
	"io/fs"

	"longshore/internal/task"
)

// Contract is one platform's packaging rules. Implementations are stateless values, safe for concurrent use.
//
// The order of calls for one run:
//
//	Recognise ─▶ Load ─▶ (the image is built, loaded or pulled) ─▶ [CheckImage] ─▶ Prepare ─▶ (the container runs) ─▶ Collect
type Contract interface {
	// Name is the word users know the contract by.
	Name() string

	// Recognise tells whether src looks like a package of this contract, by which evidence. It reads little.
	Recognise(src Source) Recognition

	// Load reads the package and reports every problem at once. The task is nil exactly when a finding is an error that
	// leaves nothing to describe; with errors and a task, the task is for showing only. opts.Variant chooses among several uses;
	// without it, a package with exactly one use takes that, and one with several returns a task whose Variant is "" and
	// whose Variants lists them.
	Load(src Source, opts Options) (*task.Task, []task.Finding)

	// Prepare turns checked values into the description of one container execution. It is pure: it may read the values'
	// files (sizes for scale rules) and nothing else. A wrong value is a *task.Error with code ReasonInput.
	Prepare(t *task.Task, img task.ImageFacts, v task.Values) (*task.Execution, error)

	// Collect turns what the container left behind into typed outputs. It is called also when the container failed
	// (left.Exit.Code != 0), so that partial results can be kept; it reads files and writes none. An error is our fault;
	// a missing or wrong output is Collected.Failure.
	Collect(t *task.Task, x *task.Execution, left task.Leftovers) (task.Collected, error)
}

// Options of Load.
type Options struct {
	// Variant chooses among the uses a package offers (Kaapana: the template's identifier).
	Variant string
	// Overrides are settings that stand over the package's own document, in the order given (Racetrack: "-e key=value").
	// Contracts that do not implement Overrider get none.
	Overrides []Override
	// Legacy asks for the layout that older releases of the platform gave to containers. Contracts that do not implement
	// LegacyLayout are never asked.
	Legacy bool
	// Compat names the platform's own runner whose reading is taken instead of Longshore's, defects included; empty for none.
	// Contracts that do not implement CompatModes get none.
	Compat string
	// Variables are the caller's own variables for documents that are templates, by name. Contracts that do not implement
	// TemplateReader get none.
	Variables map[string]string
	// Given names the inputs that the caller gives values for: what the document itself says about their data does not count.
	Given []string
	// Image, when not empty, names the image to use in place of the package's own, which then need not be there. Only contracts that
	// implement Bundler are given one.
	Image string
	// Login tells whether this machine has credentials for a registry, by its host; nil means that there are none.
	Login func(registry string) bool
	// Own tells that the document named is the caller's own, on the caller's machine: paths and environment variables that
	// it refers to may be read (Kaapana: task.json). Servers leave it false.
	Own bool
}

// Override sets one field of a package's document: Key is a path of names with dots, Value is text as the platform reads it.
type Override struct{ Key, Value string }

// Overrider is the optional ability to take Options.Overrides.
type Overrider interface{ TakesOverrides() }

// LegacyLayout is the optional ability to run containers in the layout of older releases, see Options.Legacy.
type LegacyLayout interface {
	// LegacyLayout says in a few words what it changes, for help texts.
	LegacyLayout() string
}

// LegacyRecogniser is the optional ability to run what older releases ran without any document of its own: what Recognise
// knows nothing of, and the caller calls legacy.
type LegacyRecogniser interface {
	LegacyLayout
	RecogniseLegacy(src Source) Recognition
}

// CompatModes is the optional ability to read and run a package as the platform's own runners do, see Options.Compat.
type CompatModes interface {
	// CompatModes lists the runners' names.
	CompatModes() []string
}

// TemplateReader is the optional ability to render documents with Options.Variables.
type TemplateReader interface{ RendersTemplates() }

// TaskWriter is the optional ability to write a document that binds one use of a package to folders and values, to be
// completed and run.
type TaskWriter interface {
	// NewTask returns such a document for a loaded task whose use is chosen, with notes on what is left to fill in. A task
	// that offers several is a *task.Error with code CodeUsage.
	NewTask(t *task.Task) (doc []byte, notes []string, err error)
}

// ImageTree is the optional ability of ImageFiles to tell what lies at a path, without running the image.
type ImageTree interface {
	// Stat returns the mode of what is at path in the flattened image, links followed inside it. What is missing is
	// fs.ErrNotExist.
	Stat(path string) (fs.FileMode, error)
	// CountFiles returns how many things that are no folders lie below the folder path, counting no further than limit.
	CountFiles(path string, limit int) (int, error)
}

// Recognition is how sure a contract is that a package is its own.
type Recognition struct {
	Certainty Certainty
	// Evidence names what was seen ("descriptor.yml with namespace"), also for a mere likelihood; empty for No.
	Evidence string
	// Manifest is the main document's path within the source, if there is one.
	Manifest string
}

// Certainty orders recognitions.
type Certainty int

// The certainties.
const (
	No Certainty = iota
	Possible
	Likely
	Certain
)

// ImageFiles reads regular files out of an image, without running it.
type ImageFiles interface {
	// ReadFile returns the content of a regular file in the flattened image, following symbolic links inside the image
	// only. A missing file is fs.ErrNotExist; a file longer than limit bytes, or anything that is not a regular file, is
	// another error.
	ReadFile(path string, limit int64) ([]byte, error)
	// Facts returns the image's own description.
	Facts() task.ImageFacts
}

// ImageChecker is the optional ability to look into the image once it exists, before it is run: to compare it with the
// package, or to take the task from it. It returns the task to go on with (t itself, or a changed copy).
type ImageChecker interface {
	CheckImage(t *task.Task, src Source, img ImageFiles) (*task.Task, []task.Finding)
}

// ImageDescribed is the optional ability to tell that what a loaded task takes is known only from its image. Where that is at
// hand, CheckImage then completes the task before anything else is done with it.
type ImageDescribed interface {
	ImageChecker
	NeedsImage(t *task.Task) bool
}

// Exampler is the optional ability to tell which runs a package itself promises to work.
type Exampler interface {
	Examples(src Source, t *task.Task) ([]Example, error)
}

// StructureTester is the optional ability to test a package's structure as the platform's own tool does, in its words.
type StructureTester interface {
	// TestStructure returns the lines that the tool prints, in order; wrong is what it ends with when the package does not pass.
	TestStructure(src Source) (lines []string, wrong string)
}

// Aliaser is the optional ability to be known by further names.
type Aliaser interface {
	Aliases() []string
}

// Example is one run that a package promises.
type Example struct {
	Name    string
	Variant string
	Request task.Request
	// Task, when not nil, is run in the place of the package's: the example changes more of it than a request can. It is
	// made of the package's image, and CheckImage completes it.
	Task *task.Task
	// Skip, when not empty, says why the run cannot be made or judged; it is then skipped, which is no pass.
	Skip string
	// From binds inputs, by name, to outputs of earlier examples of the same list, whose outputs are kept until the last
	// example has run.
	From map[string]ExampleOutput
	// Check compares a succeeded run with the promise. Nil checks only that the run succeeds. outDir holds the outputs.
	Check func(res *task.Result, outDir string) Verdict
}

// ExampleOutput names one output of an example.
type ExampleOutput struct{ Example, Output string }

// Verdict is the outcome of one comparison.
type Verdict struct {
	Pass bool
	// Word is the contract's own word for it ("match-trim"); Detail shows the first difference.
	Word, Detail string
}

// Remoter is the optional ability to tell that a package only points to the repository that holds it.
type Remoter interface {
	// Remote tells where the files are. The options are those of Load.
	Remote(src Source, opts Options) (Remote, bool)
}

// Remote is where a package's files really are.
type Remote struct {
	// Git is "git+URL[#branch[:directory]]".
	Git string
	// File is the caller's own document, as a path in the source. Once the package is loaded, Text is put into the folder that
	// Git names as Name, in the place of the repository's own.
	File, Name string
	Text       []byte
}

// RuleLister is the optional ability to list the rules that findings name.
type RuleLister interface {
	Rules() []Rule
}

// Rule is one thing that Load or CheckImage looks at.
type Rule struct {
	ID string `json:"id"`
	// Severity is the usual one; Milder, when set, is that of the less serious cases.
	Severity task.Severity `json:"severity"`
	Milder   task.Severity `json:"milder,omitempty"`
	// Summary says what holds when the rule is kept.
	Summary string `json:"summary"`
}

// SchemaProvider is the optional ability to describe the documents of packages to editors.
type SchemaProvider interface {
	// Schemas returns one schema per document format, that of the package's manifest first.
	Schemas() []Schema
}

// Schema is a JSON Schema (draft 2020-12) of one document format. It accepts every dialect that Load takes without an error,
// and refuses what can be seen to be wrong from the document alone; Load knows more rules.
type Schema struct {
	// Document is the word to ask for it by ("task"), unique within the contract.
	Document string
	// Files are the names, or patterns of names, that such documents usually have ("task.json").
	Files []string
	// JSON is the text of the schema.
	JSON string
}

// Scaffolder is the optional ability to write a package to start from.
type Scaffolder interface {
	// Languages lists what the packages can be written in, the default first: of "python", "go" and "shell".
	Languages() []string
	// Scaffold returns the files of a working package, by slash path, in one of those languages; "" is the default.
	Scaffold(name, lang string) (map[string]string, error)
}

// Source is a package as it was handed over. The zero value of each field means "not there".
type Source struct {
	// Given is what the user wrote, for messages.
	Given string
	// FS is the package's tree: a folder opened so that no symbolic link leaves it, or the content of a zip bundle.
	FS fs.FS
	// Dir is the folder on this machine that FS shows, absolute; empty for archives.
	Dir string
	// Archive is the bundle file on this machine whose content FS shows, absolute; empty for folders.
	Archive string
	// File is the manifest the user named, as a path in FS; empty when a folder, an archive or an image was named.
	File string
	// Image is set when an image was named instead of a tree (then FS is nil).
	Image ImageFiles
	// Git tells the package was cloned, with the remote in Given; RepoDir is then the root of the clone and FS may be a
	// folder of it.
	Git     bool
	RepoDir string
	// Commit is what was checked out, in the words of `git describe --long --tags --dirty --always`.
	Commit string
	// Submitted, when not nil, is the caller's own document (its File is set) with the folder it lies in, and this source the
	// repository that it pointed to (see Remoter). The document counts, with what it refers to on the caller's machine.
	Submitted *Source
}
