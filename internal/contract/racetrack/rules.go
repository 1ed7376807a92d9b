package racetrack

import (
	"longshore/internal/contract"
	"longshore/internal/task"
)

// Rule is one thing that Load looks at.
type Rule struct {
	ID       string
	Severity task.Severity
	Summary  string
	// Milder, when set, is the severity of the less serious cases.
	Milder task.Severity
}

// The ids of the rules.
const (
	ruleNoManifest     = "RACETRACK-F1"
	ruleTwoManifests   = "RACETRACK-F2"
	ruleLegacyName     = "RACETRACK-F3"
	ruleSyntax         = "RACETRACK-F4"
	ruleDuplicate      = "RACETRACK-F5"
	ruleFolder         = "RACETRACK-F6"
	ruleLength         = "RACETRACK-F7"
	ruleCommandLine    = "RACETRACK-F8"
	ruleManifestText   = "RACETRACK-F9"
	ruleRequired       = "RACETRACK-T1"
	ruleUnknown        = "RACETRACK-T2"
	ruleType           = "RACETRACK-T3"
	ruleSourceText     = "RACETRACK-T4"
	ruleName           = "RACETRACK-N1"
	ruleUnderscore     = "RACETRACK-N2"
	ruleLongName       = "RACETRACK-N4"
	ruleOwner          = "RACETRACK-O1"
	ruleVersion        = "RACETRACK-V1"
	ruleOneType        = "RACETRACK-J1"
	ruleTypeVersion    = "RACETRACK-J2"
	ruleJobType        = "RACETRACK-J3"
	ruleDeprecated     = "RACETRACK-J4"
	ruleOneExtra       = "RACETRACK-J5"
	ruleProxyMode      = "RACETRACK-J6"
	rulePort           = "RACETRACK-J7"
	ruleExtraKey       = "RACETRACK-J8"
	ruleWrapperPort    = "RACETRACK-J9"
	ruleImageType      = "RACETRACK-J10"
	ruleImage          = "RACETRACK-J11"
	ruleReadyImage     = "RACETRACK-J12"
	ruleNoDockerfile   = "RACETRACK-D1"
	ruleDockerfilePath = "RACETRACK-D2"
	ruleRewrite        = "RACETRACK-D3"
	ruleRecipe         = "RACETRACK-D4"
	rulePrivateBase    = "RACETRACK-D5"
	ruleUnknownBase    = "RACETRACK-D6"
	ruleCopy           = "RACETRACK-D7"
	ruleCopyOutside    = "RACETRACK-D8"
	ruleOtherFile      = "RACETRACK-D9"
	ruleTemplate       = "RACETRACK-D10"
	ruleUndefined      = "RACETRACK-D12"
	ruleHook           = "RACETRACK-D11"
	ruleLeftOut        = "RACETRACK-D13"
	ruleAddGit         = "RACETRACK-D14"
	ruleRemote         = "RACETRACK-G1"
	ruleLocalRemote    = "RACETRACK-G6"
	ruleBranch         = "RACETRACK-G2"
	ruleDirectory      = "RACETRACK-G3"
	ruleCredentials    = "RACETRACK-G4"
	ruleCommit         = "RACETRACK-G5"
	ruleExtends        = "RACETRACK-X1"
	ruleOverride       = "RACETRACK-X2"
	ruleConsistent     = "RACETRACK-W1"
	ruleQuantity       = "RACETRACK-R1"
	ruleReplicas       = "RACETRACK-R2"
	ruleOneReplica     = "RACETRACK-R3"
	ruleReserved       = "RACETRACK-E1"
	ruleUnused         = "RACETRACK-E2"
	ruleEnvName        = "RACETRACK-E3"
	ruleShell          = "RACETRACK-E4"
	ruleSecretFile     = "RACETRACK-S1"
	ruleSecretForm     = "RACETRACK-S2"
	ruleSecretReader   = "RACETRACK-S3"
	ruleSecretCopied   = "RACETRACK-S4"
	ruleEndpoint       = "RACETRACK-P1"
	ruleOpenEndpoint   = "RACETRACK-P2"
	ruleLowPort        = "RACETRACK-K1"
	ruleTarget         = "RACETRACK-I1"
)

// Rules lists every rule. Errors keep a package from being used; the rest passes on Racetrack and surprises later.
func Rules() []Rule {
	const e, w = task.SeverityError, task.SeverityWarning
	return []Rule{
		{ruleNoManifest, e, "there is a manifest", ""},
		{ruleTwoManifests, w, "there is one manifest, not two", ""},
		{ruleLegacyName, w, "the manifest is called job.yaml", ""},
		{ruleSyntax, e, "the manifest is a YAML mapping", ""},
		{ruleDuplicate, w, "no key occurs twice", ""},
		{ruleFolder, e, "the package is a folder or a git repository", ""},
		{ruleLength, w, "the manifest is short enough for JOB_MANIFEST_YAML", ""},
		{ruleCommandLine, w, "the manifest and its variables are short enough for Racetrack on Docker, which starts jobs with one command line of 4096 characters", ""},
		{ruleManifestText, w, "the manifest holds nothing that Racetrack changes when it passes it on", ""},
		{ruleRequired, e, "the required fields are there", ""},
		{ruleUnknown, e, "every key is known", ""},
		{ruleType, e, "the fields have the documented types", ""},
		{ruleSourceText, w, "the values of environment variables are strings", ""},
		{ruleName, e, "the name can be part of an image's name and of an address", ""},
		{ruleUnderscore, w, "the name has no underscore", ""},
		{ruleLongName, w, "the name of the job's resource has at most 63 characters", ""},
		{ruleOwner, e, "owner_email is an e-mail address", ""},
		{ruleVersion, e, "version is a semantic version", ""},
		{ruleOneType, e, "there is one job type", ""},
		{ruleTypeVersion, w, "the job type has a version", ""},
		{ruleJobType, e, "the job type can be run here", ""},
		{ruleDeprecated, w, "no deprecated key is used", ""},
		{ruleOneExtra, e, "there is one map of the job type's own settings", ""},
		{ruleProxyMode, e, "proxy_mode is forward or rewrite", ""},
		{rulePort, e, "user_module_port is a TCP port", ""},
		{ruleExtraKey, w, "the job type's own settings are known", ""},
		{ruleWrapperPort, w, "user_module_port is not the wrapper's", ""},
		{ruleImageType, e, "image_type is docker", ""},
		{ruleImage, e, "jobtype_extra.image is an image's name", ""},
		{ruleReadyImage, w, "the job is built from its Dockerfile, as Racetrack does", ""},
		{ruleNoDockerfile, e, "the Dockerfile is there", ""},
		{ruleDockerfilePath, e, "the Dockerfile lies in the package", ""},
		{ruleRewrite, e, "rewrite mode knows what to rewrite", ""},
		{ruleRecipe, e, "the Dockerfile can be parsed", ""},
		{rulePrivateBase, e, "no base image comes from a private registry; a warning where this machine has a login for it", w},
		{ruleUnknownBase, w, "base images come from registries that are known to be public", ""},
		{ruleCopy, e, "every source of COPY and ADD is in the build context", ""},
		{ruleCopyOutside, w, "no source of COPY or ADD points out of the build context", ""},
		{ruleOtherFile, w, "Racetrack builds the same Dockerfile, in the same build context", ""},
		{ruleTemplate, e, "a Dockerfile that is a template can be filled in", ""},
		{ruleUndefined, w, "what a template prints is set", ""},
		{ruleHook, w, "the responses of the job need no program to rewrite them", ""},
		{ruleLeftOut, w, "what COPY and ADD name is packed by Racetrack's client, which drops .zip files", ""},
		{ruleAddGit, e, "no ADD names a git repository, which only other builders clone", ""},
		{ruleRemote, e, "git.remote is an https address", ""},
		{ruleLocalRemote, w, "git.remote is not on this machine, where Racetrack's servers cannot reach it", ""},
		{ruleBranch, e, "git.branch is the name of a branch", ""},
		{ruleDirectory, e, "git.directory is a folder of the repository", ""},
		{ruleCredentials, w, "git.remote holds no credentials", ""},
		{ruleCommit, w, "git.branch is a branch or a tag, not the id of a commit", ""},
		{ruleExtends, e, "extends names a base manifest of the package", ""},
		{ruleOverride, e, "overrides (-e key=value) have a key and a value, and the mappings that the key names are there", ""},
		{ruleConsistent, w, "a manifest that is handed over without its repository is the same as the repository's own", ""},
		{ruleQuantity, e, "the resources are quantities, and no minimum is above its maximum", ""},
		{ruleReplicas, e, "replicas is between 1 and 50", ""},
		{ruleOneReplica, w, "one replica is wanted", ""},
		{ruleReserved, e, "no environment variable has a name that Racetrack uses", ""},
		{ruleUnused, w, "the job type uses the field", ""},
		{ruleEnvName, e, "environment variables have usable names and values", ""},
		{ruleShell, w, "the values of runtime_env hold nothing that Racetrack changes when it passes them on", ""},
		{ruleSecretFile, e, "the files of secret environment variables are there; a warning for a repository, which does not hold them", w},
		{ruleSecretForm, e, "the files of secret environment variables can be read", ""},
		{ruleSecretReader, w, "Racetrack's client reads the same from the files of secret environment variables", ""},
		{ruleSecretCopied, w, "the files of secret environment variables are not copied into the image", ""},
		{ruleEndpoint, w, "public endpoints begin with a slash", ""},
		{ruleOpenEndpoint, w, "public endpoints leave something closed", ""},
		{ruleLowPort, w, "the server can listen on its port as the unprivileged user of Kubernetes", ""},
		{ruleTarget, e, "infrastructure_target is one that there is", ""},
	}
}

// severityOf returns the severity that the table gives a rule.
func severityOf(id string) task.Severity {
	for _, r := range Rules() {
		if r.ID == id {
			return r.Severity
		}
	}
	return task.SeverityError
}

// Rules implements contract.RuleLister.
func (Contract) Rules() []contract.Rule {
	var list []contract.Rule
	for _, r := range Rules() {
		list = append(list, contract.Rule{ID: r.ID, Severity: r.Severity, Milder: r.Milder, Summary: r.Summary})
	}
	return list
}
