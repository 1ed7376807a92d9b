// Package iexec is the contract of iExec docker dapps, of every generation: a manifest (iexec.js or iexec.json) that names an
// image and a default request; a folder at /iexec (v1, v2) or the folders /iexec_in and /iexec_out (v3 and later) through
// which files go in and out; and a digest over the one artefact that the app declares deterministic (consensus.iexec,
// determinism.iexec, computed.json), by which workers find consensus. The "Docker Application" page of SDK 2 is its seed.
//
// It knows nothing of networks, chains or money: it reads manifests, prepares containers and digests what they leave.
package iexec

import (
	"encoding/json"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Contract implements contract.Contract and the optional abilities below. It is stateless.
type Contract struct{}

// New returns the contract.
func New() contract.Contract { return Contract{} }

var (
	_ contract.ImageChecker     = Contract{}
	_ contract.Exampler         = Contract{}
	_ contract.Scaffolder       = Contract{}
	_ contract.ResultDigester   = Contract{}
	_ contract.ResultPackager   = Contract{}
	_ contract.FailureExplainer = Contract{}
	_ contract.DeterminismJudge = Contract{}
)

// Name is "iexec".
func (Contract) Name() string { return "iexec" }

// generation is a family of iExec releases with the same container contract.
type generation string

// The generations (iExec reference, section 1).
const (
	generationV1 generation = "v1"
	generationV2 generation = "v2"
	generationV3 generation = "v3/v4"
	generationV5 generation = "v5+"
)

// legacy tells that the container gets the one folder /iexec and not /iexec_in and /iexec_out.
func (g generation) legacy() bool { return g == generationV1 || g == generationV2 }

// The folders of the container contract.
const (
	folderV2  = "/iexec"
	folderIn  = "/iexec_in"
	folderOut = "/iexec_out"
)

// The names of mounts within an execution.
const (
	mountV2  = "iexec"
	mountIn  = "iexec_in"
	mountOut = "iexec_out"
)

// The names of parameters.
const (
	paramArgs     = "args"
	paramInput    = "in"
	paramInputs   = "input_files"
	paramDataset  = "dataset"
	paramBotFirst = "bot_first"
	paramBotSize  = "bot_size"
	paramBotIndex = "bot_index"

	outputResult        = "result"
	outputDeterministic = "deterministic"
	outputStdout        = "stdout.txt"
	outputStderr        = "stderr.txt"
)

// plan is what Load found and Prepare, CheckImage and Collect need: task.Task.Detail.
type plan struct {
	Generation generation `json:"generation"`
	Manifest   string     `json:"manifest"`
	// Nothing says why there is nothing to run; empty for apps.
	Nothing string `json:"nothing,omitempty"`
	// AppEnv and RequestEnv are the declared variables of v2; the app's win over the request's and the caller's.
	AppEnv     []task.EnvVar `json:"appEnv,omitempty"`
	RequestEnv []task.EnvVar `json:"requestEnv,omitempty"`
	// Inputs are the request's URLs: at most one for v2.
	Inputs  []remote `json:"inputs,omitempty"`
	Dataset dataset  `json:"dataset,omitzero"`
	// HashNames makes IEXEC_INPUT_FILE_NAME_n the hash form, as workers from 8.6 on.
	HashNames bool `json:"hashNames,omitempty"`
	// Callback tells that the deal has one, so that the digest is of callback-data.
	Callback bool `json:"callback,omitempty"`
	// Enclave tells that the manifest asks for one; then Secrets are the requester's by number, each an input of that name.
	Enclave bool              `json:"enclave,omitempty"`
	Secrets map[string]string `json:"secrets,omitempty"`
	// Bulk tells that the request names a bulk of datasets, which is not fetched.
	Bulk bool `json:"bulk,omitempty"`
	// AnyEnd takes a run of v1 or v2 for a success however the app ends.
	AnyEnd bool `json:"anyEnd,omitempty"`
	// Lenient decodes hexadecimal text as workers do, who take any character for a digit.
	Lenient bool `json:"lenient,omitempty"`
	// LongNames accepts result files for whose names iExec drops the whole result.
	LongNames bool `json:"longNames,omitempty"`
	// Archive digests the result archive where v3 or v4 have no determinism file.
	Archive bool `json:"archive,omitempty"`
	// LogsOver lets the logs take the place of the app's own files of their names.
	LogsOver bool `json:"logsOver,omitempty"`
	// Checksum of the image, "0x…", empty when not pinned, with its place in the manifest.
	Checksum   string      `json:"checksum,omitempty"`
	ChecksumAt contract.At `json:"checksumAt,omitzero"`
	CmdlineAt  contract.At `json:"cmdlineAt,omitzero"`
	// Seconds is the request's category as a time limit, zero when it names none.
	Seconds int64 `json:"seconds,omitempty"`
	// Beside is the file in the package that stands in for the first input URL in examples, relative to the package.
	Beside string `json:"beside,omitempty"`
	// Own tells that the manifest is the caller's own, so that file: URLs may be read.
	Own bool `json:"own,omitempty"`
}

// remote is an input that the manifest names by URL.
type remote struct {
	URL string `json:"url"`
	// Name is the URL's file name, empty when it has none that can be used.
	Name string `json:"name,omitempty"`
}

// dataset is the manifest's dataset block.
type dataset struct {
	Name     string `json:"name,omitempty"`
	URL      string `json:"url,omitempty"`
	Address  string `json:"address,omitempty"`
	Checksum string `json:"checksum,omitempty"`
	// Fetch tells that the request names the dataset, so that it takes part also when no file is given.
	Fetch bool `json:"fetch,omitempty"`
}

// planOf reads the plan back. A task that another contract loaded is a fault of ours.
func planOf(t *task.Task) (plan, error) {
	var p plan
	if err := json.Unmarshal(t.Detail, &p); err != nil {
		return plan{}, task.Errorf(task.ReasonEngine, "the stored task %s cannot be read back: %w", t.Name, err)
	}
	return p, nil
}
