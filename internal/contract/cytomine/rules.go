package cytomine

import (
	"longshore/internal/contract"
	"longshore/internal/task"
)

// Rule is one thing that Load looks at.
type Rule struct {
	ID       string
	Severity task.Severity
	// Code is what the App Engine answers to an upload that breaks the rule, "" for rules that refuse nothing.
	Code    string
	Summary string
}

// The ids of the rules that Load knows.
const (
	ruleNoDescriptor  = "CYT001"
	ruleTwo           = "CYT002"
	ruleSyntax        = "CYT003"
	ruleDuplicate     = "CYT004"
	ruleMissing       = "CYT005"
	ruleType          = "CYT006"
	ruleForm          = "CYT007"
	ruleTypeID        = "CYT008"
	ruleShortForm     = "CYT009"
	ruleWSI           = "CYT010"
	ruleName          = "CYT011"
	ruleImageFile     = "CYT012"
	ruleFolder        = "CYT013"
	ruleMemory        = "CYT014"
	ruleAtLeast       = "CYT015"
	ruleEmptyRange    = "CYT016"
	ruleDefault       = "CYT017"
	ruleReference     = "CYT018"
	ruleDefaultUnused = "CYT019"
	ruleChoiceTwice   = "CYT020"
	ruleCase          = "CYT021"
	ruleBothBounds    = "CYT022"
	rulePortable      = "CYT023"
	ruleTag           = "CYT024"
	ruleNoImage       = "CYT025"
	ruleOtherImage    = "CYT026"
	ruleArchive       = "CYT027"
	ruleEntry         = "CYT028"
	ruleKey           = "CYT029"
	ruleRecipe        = "CYT030"
	ruleNoCommand     = "CYT031"
	rulePackage       = "CYT032"
	ruleBundle        = "CYT033"
	ruleDiffers       = "CYT034"
	ruleSource        = "CYT035"
)

// The codes that an upload is refused with (App Engine, TaskValidationService).
const (
	codeSchema     = "APPE-internal-bundle-schema-validation-error"
	codeBundle     = "APPE-internal-bundle-validation-error"
	codeExtraction = "APPE-internal-descriptor-extraction-error"
)

// Rules lists every rule of packages.
func Rules() []Rule {
	const e, w, n = task.SeverityError, task.SeverityWarning, task.SeverityNote
	return []Rule{
		{ruleNoDescriptor, e, codeBundle, "a descriptor.yml or descriptor.yaml lies at the root"},
		{ruleTwo, e, codeBundle, "there is one descriptor"},
		{ruleSyntax, e, codeSchema, "the descriptor is one UTF-8 YAML document, a mapping"},
		{ruleDuplicate, e, codeSchema, "no key of the descriptor occurs twice"},
		{ruleMissing, e, codeSchema, "required keys are there"},
		{ruleType, e, codeSchema, "values have the documented type"},
		{ruleForm, e, codeSchema, "values have the documented pattern, length and format"},
		{ruleTypeID, e, codeSchema, "parameter types are known"},
		{ruleShortForm, e, codeSchema, "enumeration and array are written as objects"},
		{ruleWSI, e, codeSchema, "the removed type wsi is not used"},
		{ruleName, e, codeSchema, "parameter names hold letters, digits and _ only"},
		{ruleImageFile, e, codeSchema, "configuration.image.file is a path"},
		{ruleFolder, e, codeSchema, "the folders can be mount points"},
		{ruleMemory, e, codeSchema, "amounts of memory can be read"},
		{ruleAtLeast, e, codeSchema, "cpus and gpus are in range"},
		{ruleEmptyRange, e, codeSchema, "some value satisfies the constraints of each type"},
		{ruleDefault, e, codeSchema, "defaults are allowed by their type"},
		{ruleReference, e, codeSchema, "dependencies name parameters of the task, and matching ones are arrays"},
		{ruleDefaultUnused, w, "", "defaults are given where they are used"},
		{ruleChoiceTwice, w, "", "values of an enumeration are listed once"},
		{ruleCase, e, codeSchema, "parameters of one side differ in more than letter case"},
		{ruleBothBounds, w, "", "a bound is either exclusive or inclusive"},
		{rulePortable, w, "", "the package works in today's App Engine too"},
		{ruleTag, w, "", "the image in the archive is tagged <namespace with . as />:<version>"},
		{ruleNoImage, e, codeBundle, "the package has an image, or a Dockerfile to build it"},
		{ruleOtherImage, w, "", "the image lies where the descriptor says"},
		{ruleArchive, e, codeBundle, "the image archive is complete"},
		{ruleEntry, e, codeBundle, "no entry of the bundle is a link, leaves it, occurs twice or is a decompression bomb"},
		{ruleKey, w, "", "the descriptor has no unknown key"},
		{ruleRecipe, e, codeBundle, "the Dockerfile can be parsed"},
		{ruleNoCommand, e, codeBundle, "the image has an entrypoint or a command"},
		{rulePackage, e, codeBundle, "the package is a folder or a zip bundle"},
		{ruleBundle, e, codeExtraction, "the bundle is a readable zip archive"},
		{ruleDiffers, n, "", "today's App Engine does with the descriptor what it says"},
		{ruleSource, e, codeBundle, "what the Dockerfile copies is in its folder"},
	}
}

// ruleOf returns the rule with that id.
func ruleOf(id string) Rule {
	for _, r := range Rules() {
		if r.ID == id {
			return r
		}
	}
	return Rule{ID: id, Severity: task.SeverityError}
}

// The codes of wrong values, which are the rule ids of findings about inputs and outputs. The texts of problems are the App
// Engine's own; clients compare them.
const (
	codeValue       = "APPE-internal-request-validation-error"
	codeNoOutput    = "APPE-internal-missing-output-files"
	codeDirectory   = "APPE-internal-is-directory"
	codeExtra       = "APPE-internal-extra-output-files"
	codeBlank       = "APPE-internal-is-blank"
	codeNoMetadata  = "APPE-internal-missing-metadata"
	codeMetadata    = "APPE-internal-invalid-metadata"
	codeStructure   = "APPE-internal-invalid-structure"
	codeDimensions  = "APPE-internal-invalid-dimensions"
	codeNotMatching = "APPE-internal-not-matching"
	codeNoProvision = "APPE-internal-task-run-provisions-not-found"
	codeUndeclared  = "APPE-internal-task-run-unknown-output"
)

// Rules implements contract.RuleLister.
func (Contract) Rules() []contract.Rule {
	var list []contract.Rule
	for _, r := range Rules() {
		list = append(list, contract.Rule{ID: r.ID, Severity: r.Severity, Summary: r.Summary})
	}
	return list
}
