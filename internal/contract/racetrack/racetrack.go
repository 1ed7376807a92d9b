// Package racetrack is the contract of Racetrack's docker-proxy jobs (in older releases docker-http, and "fatman" for
// job): a git repository with a Dockerfile and a manifest, job.yaml or fatman.yaml, whose container is an HTTP server that
// answers POST /perform with a JSON object of named arguments. Jobs of type dockerfile, whose container also does what
// Racetrack's own wrapper does, are taken as far as their Dockerfile is no template. The package knows neither how images
// are built nor how containers are run.
package racetrack

import (
	"time"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Contract is the Racetrack contract. The zero value is ready to use.
type Contract struct{}

// New returns the contract.
func New() Contract { return Contract{} }

var (
	_ contract.Contract   = Contract{}
	_ contract.Scaffolder = Contract{}
)

// Name is "racetrack".
func (Contract) Name() string { return "racetrack" }

// The manifest's names, today's and the one of releases before 2.9.
const (
	manifestName = "job.yaml"
	legacyName   = "fatman.yaml"
)

// defaultDockerfile is used when the manifest names none.
const defaultDockerfile = "Dockerfile"

// The ports of a job's containers. The seed document says 7004; Racetrack's code since release 2.5 of the job type says
// 7001, and 80 in rewrite mode. 7000 is the wrapper's.
const (
	seedPort    = 7004
	currentPort = 7001
	rewritePort = 80
	wrapperPort = 7000
)

// performPath is where a job takes its calls (seed, rule 2).
const performPath = "/perform"

// outputName is the one output: the answer's body.
const outputName = "output"

// timeouts are Racetrack's own: 10 minutes until a job must be ready, and 2 minutes for the wrapper to wait for an answer.
func timeouts() task.Timeouts {
	return task.Timeouts{Ready: 10 * time.Minute, Connect: 10 * time.Second, Run: 2 * time.Minute}
}

// jobKind is a job type that can be run here.
type jobKind string

const (
	dockerProxy jobKind = "docker-proxy" // the user's server alone; /perform on a port of the user's choice
	dockerSelf  jobKind = "dockerfile"   // the user's image is its own wrapper, on port 7000
)

// detail is what Prepare needs to know of a task beyond its description.
type detail struct {
	Kind jobKind `json:"kind"`
	// Manifest is the text for JOB_MANIFEST_YAML, "" when it is too long for a variable.
	Manifest string `json:"manifest,omitempty"`
	// Legacy tells that the FATMAN_ variables are set beside the JOB_ ones.
	Legacy bool `json:"legacy,omitempty"`
	// Port is the only one to try, with the field that says so; zero means to look for it.
	Port    int    `json:"port,omitempty"`
	PortWhy string `json:"portWhy,omitempty"`
	Rewrite bool   `json:"rewrite,omitempty"`
	// Env is runtime_env, after the names of build_env, whose values are empty when the job runs.
	Env []task.EnvVar `json:"env,omitempty"`
	// SecretFile is secret_runtime_env_file, relative to the folder SecretDir. Only its place is kept: a task is shown and
	// stored, its secrets are not.
	SecretFile string `json:"secretFile,omitempty"`
	SecretDir  string `json:"secretDir,omitempty"`
}
