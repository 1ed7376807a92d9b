// Package meca is the contract of MECA (since 2024 also MECAnywhere): a task is a folder of seven entries around a
// Dockerfile, its container an HTTP server on port 8080 that prints "meca-init-done" once it has started, takes any JSON as
// the body of POST / and answers with text. The package knows neither how images are built nor how containers are run.
package meca

import (
	"time"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Contract is the MECA contract. The zero value is ready to use.
type Contract struct{}

// New returns the contract.
func New() Contract { return Contract{} }

var (
	_ contract.Contract   = Contract{}
	_ contract.Exampler   = Contract{}
	_ contract.Scaffolder = Contract{}
)

// Name is "meca".
func (Contract) Name() string { return "meca" }

// The entries of a package (MECA seed, "Structure").
const (
	dockerfile      = "Dockerfile"
	sources         = "src"
	descriptionText = "description.txt"
	nameText        = "name.txt"
	exampleInput    = "example_input.bin"
	exampleOutput   = "example_output.bin"
	configuration   = "config.json"
)

// entries lists what a package consists of, in the order in which MECA's own folder test looks at it.
func entries() []string {
	return []string{dockerfile, sources, descriptionText, nameText, exampleInput, exampleOutput, configuration}
}

// What a container does (MECA seed, section 1).
const (
	port      = 8080
	readyMark = "meca-init-done"
)

// The names of a task's two parameters: the bodies of the request and of the reply.
const (
	inputName  = "input"
	outputName = "output"
)

// maxBody bounds the bodies of requests and replies.
const maxBody = 64 << 20

// timeouts are the defaults of the stages; MECA itself waits without end.
func timeouts() task.Timeouts {
	return task.Timeouts{Ready: time.Minute, Connect: 10 * time.Second, Run: 10 * time.Minute}
}

// The variants of a package that asks for an SGX enclave. Packages that do not have none.
const (
	variantSGX   = "sgx"   // the enclave exchange; refused where there is no SGX
	variantPlain = "plain" // POST / as for any other task, without an enclave
)

// detail is what Prepare and Collect need to know of a task beyond its description.
type detail struct {
	// SGX tells that the task must run in an enclave.
	SGX bool `json:"sgx,omitempty"`
	// AsRunner tells that the platform's own runner is followed, see CompatModes.
	AsRunner bool `json:"as_runner,omitempty"`
}
