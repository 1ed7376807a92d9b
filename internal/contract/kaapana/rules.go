package kaapana

import (
	"longshore/internal/contract"
	"longshore/internal/task"
)

// Rule is one thing that is checked. Findings carry its ID.
type Rule struct {
	ID string
	// Severity is the usual one; Softer, when set, is that of the milder cases.
	Severity, Softer task.Severity
	About            string
}

// The rule ids.
const (
	ruleFileMissing    = "file-missing"
	ruleFileNotCopied  = "file-not-copied"
	ruleFileDiffers    = "file-differs"
	ruleFileKind       = "file-kind"
	ruleSyntax         = "json-syntax"
	ruleDuplicateKey   = "json-duplicate-key"
	ruleBOM            = "json-bom"
	ruleNotObject      = "not-object"
	ruleJinjaSyntax    = "jinja-syntax"
	ruleJinjaUndefined = "jinja-undefined"
	ruleJinjaInImage   = "jinja-in-image"
	ruleUnknownField   = "unknown-field"
	ruleFieldMissing   = "field-missing"
	ruleFieldType      = "field-type"
	ruleAPIVersion     = "api-version"
	ruleDialect        = "dialect"
	ruleNoTemplates    = "no-templates"
	ruleTemplateTwice  = "template-duplicate"
	ruleNoDockerfile   = "dockerfile-missing"
	ruleDockerfile     = "dockerfile-syntax"
	ruleSource         = "dockerfile-copy"

	ruleEnvName      = "env-name"
	ruleEnvTwice     = "env-duplicate"
	ruleEnvValueType = "env-value-type"
	ruleEnvType      = "env-type"
	ruleEnvChoice    = "env-choice"
	ruleEnvFixed     = "env-not-adjustable"
	ruleEnvReserved  = "env-reserved"
	ruleEnvUnknown   = "env-unknown"

	ruleChannelDescription = "channel-description"
	ruleChannelTwice       = "channel-duplicate"
	ruleChannelShared      = "channel-name-shared"
	ruleChannelName        = "channel-name"
	rulePathRelative       = "channel-path-relative"
	rulePathForbidden      = "channel-path-forbidden"
	rulePathTwice          = "channel-path-duplicate"
	rulePathHides          = "channel-path-hides"
	rulePathNested         = "channel-path-nested"
	ruleOutputRule         = "channel-output-scale-rule"

	ruleCommandType       = "command-type"
	ruleCommandEmpty      = "command-empty"
	ruleCommandEntrypoint = "command-entrypoint"
	ruleCommandNotFound   = "command-not-found"

	ruleQuantity        = "resources-quantity"
	ruleQuantityKaapana = "resources-quantity-kaapana"
	ruleOneSided        = "resources-one-sided"
	ruleOverLimit       = "resources-request-over-limit"
	ruleResourceKey     = "resources-unknown-key"
	ruleMilliBytes      = "resources-milli-bytes"
	ruleReplaced        = "resources-replaced"

	ruleScaleMissing    = "scale-missing"
	ruleScaleBoth       = "scale-both"
	ruleScaleFactor     = "scale-factor"
	ruleScaleComplexity = "scale-complexity"
	ruleScaleRegex      = "scale-regex"
	ruleScaleBasename   = "scale-regex-basename"
	ruleScaleGlob       = "scale-glob"
	ruleScaleDir        = "scale-target-dir"
	ruleScaleNull       = "scale-null"
	ruleScaleNoItems    = "scale-no-items"

	ruleTemplateUnknown  = "template-unknown"
	ruleTemplateRequired = "template-required"
	ruleInputUnbound     = "input-unbound"
	ruleInputUnknown     = "input-unknown"
	ruleVolumeSource     = "volume-source"
	ruleVolumeMissing    = "volume-missing"
	ruleVolumeOverlap    = "volume-overlap"
	ruleTaskConfig       = "task-config"
)

// Rules lists every rule of the contract, in the order of the document.
func Rules() []Rule {
	const e, w, n = task.SeverityError, task.SeverityWarning, task.SeverityNote
	return []Rule{
		{ruleFileMissing, e, "", "a processing-container has a processing-container.json, in an image at its root"},
		{ruleFileNotCopied, e, w, "the Dockerfile copies the file to the root of the image"},
		{ruleFileDiffers, w, "", "the image carries the same file as the folder; the image's is used"},
		{ruleFileKind, e, "", "the file is a regular file of at most 1 MiB"},
		{ruleSyntax, e, "", "the file is JSON"},
		{ruleDuplicateKey, w, "", "no key occurs twice in an object"},
		{ruleBOM, w, "", "the file starts without a byte-order mark"},
		{ruleNotObject, e, "", "the document is an object"},
		{ruleJinjaSyntax, e, "", "{{, {% and {# in files on disk are well-formed Jinja"},
		{ruleJinjaUndefined, e, w, "variables used by the file are set"},
		{ruleJinjaInImage, w, "", "the copy in the image holds no Jinja: nothing renders it"},
		{ruleUnknownField, w, "", "every key is a field of some dialect"},
		{ruleFieldMissing, e, "", "required fields are there"},
		{ruleFieldType, e, "", "fields have their type"},
		{ruleAPIVersion, e, w, "api_version is the number 1"},
		{ruleDialect, n, "", "which older dialect an element is written in"},
		{ruleNoTemplates, w, "", "the file offers at least one template"},
		{ruleTemplateTwice, w, "", "identifiers are unique"},
		{ruleNoDockerfile, n, "", "a folder that is to be built has a Dockerfile"},
		{ruleDockerfile, e, "", "the Dockerfile can be parsed"},
		{ruleSource, w, "", "what the Dockerfile copies is in its folder"},

		{ruleEnvName, e, w, "environment variables have usable names"},
		{ruleEnvTwice, w, "", "a variable is declared once"},
		{ruleEnvValueType, e, "", "values of variables are strings"},
		{ruleEnvType, e, w, "values are of the declared type: boolean, string or int"},
		{ruleEnvChoice, e, w, "values are among the choices"},
		{ruleEnvFixed, e, "", "variables that are not adjustable keep their value"},
		{ruleEnvReserved, w, "", "variables that the platform sets itself are not declared"},
		{ruleEnvUnknown, e, n, "values are given for declared variables only"},

		{ruleChannelDescription, n, "", "channels are described"},
		{ruleChannelTwice, e, "", "channel names are unique among inputs and among outputs"},
		{ruleChannelShared, w, "", "an input and an output have different names"},
		{ruleChannelName, e, w, "channel names can be folder names and Kubernetes volume names"},
		{rulePathRelative, w, "", "mounted_path is absolute"},
		{rulePathForbidden, e, "", "mounted_path can be mounted over"},
		{rulePathTwice, e, "", "every channel has a path of its own"},
		{rulePathNested, w, "", "no channel lies inside another"},
		{rulePathHides, w, "", "a channel hides no files of the image"},
		{ruleOutputRule, w, "", "scale rules stand on inputs"},

		{ruleCommandType, e, "", "command is a list of strings"},
		{ruleCommandEmpty, w, "", "command has words"},
		{ruleCommandEntrypoint, w, "", "an image with an ENTRYPOINT and a template with a command mean the same everywhere"},
		{ruleCommandNotFound, w, "", "the program that command names is in the image"},

		{ruleQuantity, e, w, "resources are Kubernetes quantities"},
		{ruleQuantityKaapana, w, "", "memory is written in the one form that Kaapana's own parser reads"},
		{ruleOneSided, w, "", "limits and requests are given together"},
		{ruleOverLimit, e, "", "no request is above its limit"},
		{ruleResourceKey, w, "", "resource keys are ones that Longshore enforces"},
		{ruleMilliBytes, w, "", "memory is not given in thousandths of a byte"},
		{ruleReplaced, w, "", "a task's resources lose nothing of the template's"},

		{ruleScaleMissing, e, "", "a scale rule has a factor"},
		{ruleScaleBoth, e, "", "scale_factor and complexity agree"},
		{ruleScaleFactor, e, w, "scale_factor is a positive integer"},
		{ruleScaleComplexity, e, w, "complexity is <coefficient>*n**<exponent>"},
		{ruleScaleRegex, e, w, "target_regex compiles"},
		{ruleScaleBasename, n, "", "target_regex is matched against the whole relative path"},
		{ruleScaleGlob, e, w, "target_glob stays inside the channel and can select files"},
		{ruleScaleDir, e, "", "target_dir stays inside the channel"},
		{ruleScaleNull, n, "", "null stands for the default"},
		{ruleScaleNoItems, w, "", "max_item_sum meets item folders"},

		{ruleTemplateUnknown, e, "", "the chosen template exists"},
		{ruleTemplateRequired, e, "", "a template is chosen when there are several"},
		{ruleInputUnbound, e, "", "every input channel is bound, or left out on purpose"},
		{ruleInputUnknown, e, "", "volumes name channels of the template"},
		{ruleVolumeSource, e, "", "a volume says where its data is"},
		{ruleVolumeMissing, e, "", "the folder of an input exists"},
		{ruleVolumeOverlap, e, "", "outputs do not share folders with other channels"},
		{ruleTaskConfig, w, "", "config has a known type and no password"},
	}
}

// Rules implements contract.RuleLister.
func (Contract) Rules() []contract.Rule {
	var list []contract.Rule
	for _, r := range Rules() {
		list = append(list, contract.Rule{ID: r.ID, Severity: r.Severity, Milder: r.Softer, Summary: r.About})
	}
	return list
}
