package iexec

import (
	"longshore/internal/contract"
	"longshore/internal/task"
)

// Rule ids. They are stable: users quote and silence them.
const (
	ruleSyntax          = "IEXEC001"
	ruleLoose           = "IEXEC002"
	ruleNoBraces        = "IEXEC003"
	ruleTwoManifests    = "IEXEC004"
	ruleFieldType       = "IEXEC005"
	ruleUnknownField    = "IEXEC006"
	ruleDuplicate       = "IEXEC007"
	ruleNoApp           = "IEXEC008"
	ruleNothingToRun    = "IEXEC009"
	ruleType            = "IEXEC010"
	ruleBinary          = "IEXEC011"
	ruleNoImage         = "IEXEC012"
	ruleEnvItem         = "IEXEC013"
	ruleEnvKept         = "IEXEC014"
	ruleImageForm       = "IEXEC015"
	ruleImageTag        = "IEXEC016"
	ruleImagePinned     = "IEXEC017"
	ruleChecksumForm    = "IEXEC018"
	ruleChecksumZero    = "IEXEC019"
	ruleChecksum        = "IEXEC020"
	ruleQuotes          = "IEXEC021"
	ruleUnbalanced      = "IEXEC022"
	ruleRelativePath    = "IEXEC023"
	ruleHost            = "IEXEC024"
	ruleURLForm         = "IEXEC025"
	ruleURLName         = "IEXEC026"
	ruleURLScheme       = "IEXEC027"
	ruleInputURL        = "IEXEC028"
	ruleSameName        = "IEXEC029"
	ruleLongName        = "IEXEC030"
	ruleEncryption      = "IEXEC031"
	ruleCallback        = "IEXEC032"
	ruleEnclaveTrust    = "IEXEC033"
	ruleEnclave         = "IEXEC034"
	ruleDescription     = "IEXEC035"
	ruleLogo            = "IEXEC036"
	ruleDeployed        = "IEXEC037"
	ruleRegistry        = "IEXEC038"
	ruleDockerfile      = "IEXEC039"
	ruleArchive         = "IEXEC040"
	ruleParams          = "IEXEC041"
	ruleParamValue      = "IEXEC042"
	ruleTag             = "IEXEC043"
	ruleEnclaveForm     = "IEXEC044"
	ruleImageInWords    = "IEXEC045"
	rulePattern         = "IEXEC046"
	ruleNeedsHost       = "IEXEC047"
	ruleTrust           = "IEXEC048"
	ruleCategory        = "IEXEC049"
	ruleVariant         = "IEXEC050"
	ruleNoDigest        = "IEXEC051"
	ruleComputed        = "IEXEC052"
	ruleDeterministic   = "IEXEC053"
	ruleLink            = "IEXEC054"
	ruleWrapperOption   = "IEXEC055"
	ruleUnreadable      = "IEXEC056"
	ruleDatasetUnused   = "IEXEC057"
	ruleRecipe          = "IEXEC058"
	ruleDatasetAddress  = "IEXEC059"
	ruleTagBits         = "IEXEC060"
	ruleTagGPU          = "IEXEC061"
	ruleAmount          = "IEXEC062"
	ruleDatasetChecksum = "IEXEC063"
	ruleStorage         = "IEXEC064"
	ruleBulk            = "IEXEC065"
	ruleEnvDropped      = "IEXEC066"
	ruleTagLegacy       = "IEXEC067"
	ruleAddress         = "IEXEC068"
)

// Rule describes one thing that is checked.
type Rule struct {
	ID       string
	Severity task.Severity
	Summary  string
}

// Rules lists every rule of the contract (iExec reference, sections 2.8 and 9). Findings take their severity from here.
func Rules() []Rule {
	const e, w, n = task.SeverityError, task.SeverityWarning, task.SeverityNote
	return []Rule{
		{ruleSyntax, e, "the manifest is JSON or a JavaScript module"},
		{ruleLoose, w, "the manifest is strict JSON: the iExec CLI refuses comments and trailing commas"},
		{ruleNoBraces, w, "the manifest's members are enclosed in braces"},
		{ruleTwoManifests, w, "there is one manifest: iexec.json wins over iexec.js"},
		{ruleFieldType, e, "fields have the type they should have"},
		{ruleUnknownField, w, "fields are known"},
		{ruleDuplicate, w, "a field is written once: the last one counts"},
		{ruleNoApp, e, "the manifest describes an app, a dataset or a workerpool"},
		{ruleNothingToRun, w, "the manifest describes something to run"},
		{ruleType, e, "the app's type is DOCKER"},
		{ruleBinary, e, "the app is no bare executable"},
		{ruleNoImage, e, "a v2 app names its image in XWDOCKERIMAGE"},
		{ruleEnvItem, e, "each envvars item is NAME=VALUE"},
		{ruleEnvKept, w, "envvars items are such as v2 workers keep"},
		{ruleImageForm, e, "the image is an image reference"},
		{ruleImageTag, w, "the image has a tag"},
		{ruleImagePinned, w, "the image is named by tag, not by digest"},
		{ruleChecksumForm, e, "a checksum is 0x and 64 lower-case hexadecimal digits"},
		{ruleChecksumZero, w, "a checksum is there where it is needed, and not zero"},
		{ruleChecksum, e, "the image's digest is app.checksum"},
		{ruleQuotes, w, "a v2 command line holds no quotes"},
		{ruleUnbalanced, e, "quotes of the arguments are balanced"},
		{ruleRelativePath, w, "paths in a v2 command line are absolute"},
		{ruleHost, w, "a v2 command line uses /iexec, not /host"},
		{ruleURLForm, e, "dirinuri is an absolute URL"},
		{ruleURLName, e, "an input URL ends in a usable file name"},
		{ruleURLScheme, w, "dirinuri has a scheme that can be fetched"},
		{ruleInputURL, e, "input files and datasets are http or https URLs"},
		{ruleSameName, w, "input URLs have different file names"},
		{ruleLongName, e, "names of result files have at most 31 characters"},
		{ruleEncryption, e, "result encryption is asked for enclave tasks only"},
		{ruleCallback, e, "a deal with a callback gets callback-data"},
		{ruleEnclaveTrust, e, "enclave tasks have trust 0 or 1"},
		{ruleEnclave, e, "the app needs no enclave"},
		{ruleDescription, w, "a registry description has at least 150 characters"},
		{ruleLogo, w, "the logo is there, has 180 by 180 pixels and its name's format"},
		{ruleDeployed, w, "deployed.json names the app's address"},
		{ruleRegistry, w, "the fields that the registry demands are there"},
		{ruleDockerfile, e, "no Dockerfile is among v2 inputs"},
		{ruleArchive, e, "entries of an input archive stay inside and within limits"},
		{ruleParams, w, "params hold known keys only"},
		{ruleParamValue, e, "values of params are usable"},
		{ruleTag, e, "tags are known and agree with each other"},
		{ruleEnclaveForm, e, "mrenclave is complete"},
		{ruleImageInWords, w, "the image is named by XWDOCKERIMAGE, not in the command line"},
		{rulePattern, w, "words of a v2 command line hold no shell patterns"},
		{ruleNeedsHost, e, "the app needs no device or network of the host"},
		{ruleTrust, e, "trust is a number"},
		{ruleCategory, w, "the category is known"},
		{ruleVariant, e, "the variant asked for exists"},
		{ruleNoDigest, e, "the app leaves its determinism file"},
		{ruleComputed, e, "computed.json is a JSON object of texts"},
		{ruleDeterministic, e, "deterministic-output-path names something inside the output folder"},
		{ruleLink, e, "the deterministic part holds no links"},
		{ruleWrapperOption, n, "a v2 command line holds no option of the worker's own wrapper"},
		{ruleUnreadable, e, "the manifest can be read"},
		{ruleDatasetUnused, n, "the manifest's dataset takes part in runs"},
		{ruleRecipe, w, "the Dockerfile beside the manifest can be read"},
		{ruleDatasetAddress, w, "the dataset's content is known"},
		{ruleTagBits, w, "the tag has no bits of unknown meaning"},
		{ruleTagGPU, w, "a GPU is asked for with bit 8 of the tag"},
		{ruleAmount, w, "prices, volumes and durations are integers from 0, prices perhaps with a unit"},
		{ruleDatasetChecksum, e, "the dataset's content is dataset.checksum"},
		{ruleStorage, w, "the request says where its result goes: v9 workers report RESULT_LINK_MISSING without it"},
		{ruleBulk, w, "the request names no bulk of datasets, which is fetched in enclaves only"},
		{ruleEnvDropped, w, "no v2 variable holds a word by which workers drop it"},
		{ruleTagLegacy, w, "a tag names no enclave framework that the SDK has given up"},
		{ruleAddress, w, "a callback and a dataset are named by address"},
	}
}

// report collects findings with the severities of the rules.
type report struct {
	contract.Report
	severities map[string]task.Severity
	counts     map[task.Severity]int
}

// maxFindings bounds the findings of each severity, so that a hostile manifest cannot flood its reader.
const maxFindings = 200

func newReport(file string) *report {
	r := &report{Report: contract.Report{File: file}, severities: map[string]task.Severity{}, counts: map[task.Severity]int{}}
	for _, rule := range Rules() {
		r.severities[rule.ID] = rule.Severity
	}
	return r
}

// add records a finding of the rule; mend says what to do. It returns the finding for filling in Why.
func (r *report) add(rule string, at contract.At, mend, what string, args ...any) *task.Finding {
	severity := r.severities[rule]
	if r.counts[severity]++; r.counts[severity] > maxFindings {
		return &task.Finding{} // not kept
	}
	f := r.Add(severity, rule, at, what, args...)
	f.Mend = mend
	return f
}

// Rules implements contract.RuleLister.
func (Contract) Rules() []contract.Rule {
	var list []contract.Rule
	for _, r := range Rules() {
		list = append(list, contract.Rule{ID: r.ID, Severity: r.Severity, Summary: r.Summary})
	}
	return list
}
