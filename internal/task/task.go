// Package task is the domain: what a loaded package is (Task), what goes in and out of it (Parameter, Type, Value), the
// plain description of one container use (Execution), and what became of a use (Run states, Result). It depends on the
// standard library only and knows no contract, no engine and no storage.
package task

import (
	"encoding/json"
	"time"
)

// Task is a loaded package: what there is to run, and what goes in and out.
type Task struct {
	// Contract is the name of the contract that loaded the package, for example "meca".
	Contract string `json:"contract"`
	// Dialect tells which generation or form of the contract was met, and why it was taken for that.
	Dialect string `json:"dialect,omitempty"`
	// Name and Version are the package's own; Version may be empty.
	Name        string `json:"name"`
	Version     string `json:"version,omitempty"`
	Description string `json:"description,omitempty"`
	// Variant is the chosen use of a package that offers several (Kaapana: the template's identifier); Variants lists all.
	Variant  string    `json:"variant,omitempty"`
	Variants []Variant `json:"variants,omitempty"`

	Image      ImageSource `json:"image"`
	Parameters []Parameter `json:"parameters"`
	Resources  Resources   `json:"resources"`
	Exchange   Exchange    `json:"exchange"`
	// Network tells whether the package declares the need to reach other machines. The operator decides.
	Network bool `json:"network,omitempty"`
	// FreeEnv tells that environment variables beyond the declared parameters may be given.
	FreeEnv bool `json:"freeEnv,omitempty"`
	// Wording is how the platform itself words what is wrong with a value, nil where it has no words of its own.
	Wording Wording `json:"wording,omitempty"`
	// FreeInputs tells that inputs beyond the declared ones may be given. What becomes of them is the contract's matter: members
	// of the JSON request body, or files beside the declared ones; it refuses those it has no use for.
	FreeInputs bool              `json:"freeInputs,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	// Notes say which of several legal readings was taken ("image: image.tar (seed-era name)"). Shown by inspect and run.
	Notes []string `json:"notes,omitempty"`
	// Detail is what only the contract itself reads, as JSON, so that a stored task can be prepared again.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// Variant names one use of a package.
type Variant struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// Parameter returns the parameter of that direction which answers to name (its name or an alias), or nil.
func (t *Task) Parameter(d Direction, name string) *Parameter {
	for i := range t.Parameters {
		if p := &t.Parameters[i]; p.Direction == d && p.Name == name {
			return p
		}
	}
	for i := range t.Parameters {
		if p := &t.Parameters[i]; p.Direction == d {
			for _, a := range p.Aliases {
				if a == name {
					return p
				}
			}
		}
	}
	return nil
}

// Inputs returns the input parameters in order.
func (t *Task) Inputs() []Parameter { return t.direction(Input) }

// Outputs returns the output parameters in order.
func (t *Task) Outputs() []Parameter { return t.direction(Output) }

func (t *Task) direction(d Direction) []Parameter {
	var ps []Parameter
	for _, p := range t.Parameters {
		if p.Direction == d {
			ps = append(ps, p)
		}
	}
	return ps
}

// ImageSource says where a task's image comes from.
type ImageSource struct {
	Kind ImageKind `json:"kind"`
	// Name is the reference the image has, or gets in the local store.
	Name string `json:"name"`
	// Aliases are further references it gets when built or loaded.
	Aliases []string `json:"aliases,omitempty"`
	// Context is the build context, an absolute folder on this machine, and Dockerfile a slash path in it. For ImageBuild.
	Context    string `json:"context,omitempty"`
	Dockerfile string `json:"dockerfile,omitempty"`
	// Args are build arguments: each sets the ARG of its name, if the Dockerfile declares one. They are no secrets. For ImageBuild.
	Args map[string]string `json:"args,omitempty"`
	// Recipe, when not empty, is the Dockerfile's content, and Dockerfile only its name. For ImageBuild.
	Recipe string `json:"recipe,omitempty"`
	// Labels are set on the image, over the Dockerfile's own. For ImageBuild.
	Labels map[string]string `json:"labels,omitempty"`
	// Secrets are for this build only. For ImageBuild.
	Secrets BuildSecrets `json:"-"`
	// LocalBases are beginnings of names of base images that are in no registry, so that none is asked for them. For ImageBuild.
	LocalBases []string `json:"localBases,omitempty"`
	// Archive is an image archive on this machine; with Entry it is a zip file and Entry the archive's name in it. For
	// ImageArchive.
	Archive string `json:"archive,omitempty"`
	Entry   string `json:"entry,omitempty"`
	// Digest, when not empty, must equal the image's manifest digest ("sha256:…").
	Digest string `json:"digest,omitempty"`
}

// BuildSecrets are given to a build and stored nowhere: a task that was stored has none.
type BuildSecrets struct {
	// Files are what RUN --mount=type=secret gives out, by id.
	Files map[string]string
	// Values are what must be found in no layer and no log, by name.
	Values map[string]string
}

// ImageKind is one way to get an image.
type ImageKind string

// The ways to get an image.
const (
	ImageBuild     ImageKind = "build"     // from a Dockerfile
	ImageArchive   ImageKind = "archive"   // from a docker-save or OCI archive
	ImageReference ImageKind = "reference" // from the local store, else its registry
)

// Exchange is how data gets in and out.
type Exchange string

// The exchanges.
const (
	Files Exchange = "files" // mounted folders, exit code
	HTTP  Exchange = "http"  // a server, a request, a response
)

// Resources is what a task asks for. Zero means not said.
type Resources struct {
	CPU    MilliCPU `json:"cpu,omitempty"`
	Memory Bytes    `json:"memory,omitempty"`
	GPUs   int      `json:"gpus,omitempty"`
	Shm    Bytes    `json:"shm,omitempty"`
	Disk   Bytes    `json:"disk,omitempty"`
	// MinCPU and MinMemory are what must be free before the task starts; zero means the same as the limits.
	MinCPU    MilliCPU `json:"minCPU,omitempty"`
	MinMemory Bytes    `json:"minMemory,omitempty"`
}

// HalfOfMemory, as Resources.Shm of an Execution, stands for half of the memory limit that the run gets in the end.
const HalfOfMemory Bytes = -1

// Execution is the plain description of one use of a container: what a contract makes of a task and its values. It names
// neither engine nor contract, and nothing in it has happened yet: making it touches no file.
type Execution struct {
	Process   Process       `json:"process"`
	Mounts    []Mount       `json:"mounts,omitempty"`
	Resources Resources     `json:"resources"`
	Network   bool          `json:"network,omitempty"`
	HTTP      *HTTPExchange `json:"http,omitempty"` // nil for the files exchange
	Timeouts  Timeouts      `json:"timeouts,omitzero"`
	// AnyEnd takes what a files task left for its result however it ended: with any exit code, or stopped at its time limit.
	AnyEnd bool     `json:"anyEnd,omitempty"`
	Notes  []string `json:"notes,omitempty"`
	// Warnings are things the caller should know before the run ("memory raised to 2.1 GiB by scale rule").
	Warnings []string `json:"warnings,omitempty"`
	// Detail is what the contract's collect step needs from its prepare step, as JSON.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// Process is the command, as changes to what the image says.
type Process struct {
	// Entrypoint replaces the image's ENTRYPOINT (and then its CMD too) when not nil; Args replaces its CMD when not nil.
	Entrypoint []string `json:"entrypoint,omitempty"`
	Args       []string `json:"args,omitempty"`
	// Env is added to the image's environment, later entries winning.
	Env []EnvVar `json:"env,omitempty"`
	// Dir and User replace the image's when not empty.
	Dir  string `json:"dir,omitempty"`
	User string `json:"user,omitempty"`
}

// EnvVar is one environment variable.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Mount is one folder or file inside the container, made from staged files or from what the caller has.
type Mount struct {
	// Name identifies the mount in Leftovers. Unique within the execution.
	Name string `json:"name"`
	// Target is an absolute, clean path in the container.
	Target string `json:"target"`
	// ReadOnly mounts cannot be changed from inside. The others are writable by any user inside.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Source, when not empty, is a file or folder of the caller's that is bound as it is; it must be ReadOnly. When empty,
	// the mount is a fresh folder filled with Files.
	Source string `json:"source,omitempty"`
	Files  []File `json:"files,omitempty"`
	// Discard tells of a writable mount that what the container leaves in it is of no interest: inputs that a program may
	// change as it likes.
	Discard bool `json:"discard,omitempty"`
	// Only, when not empty, names the entries at the top of a writable mount that are outputs. Links and special files
	// elsewhere in it are dropped with a warning instead of failing the run.
	Only []string `json:"only,omitempty"`
	// Links says what becomes of symbolic links that the container leaves in a writable mount.
	Links LinkPolicy `json:"links,omitempty"`
	// AlsoAt are further targets showing the same folder.
	AlsoAt []string `json:"alsoAt,omitempty"`
}

// LinkPolicy says what becomes of symbolic links in outputs.
type LinkPolicy string

// The link policies.
const (
	LinksRefused    LinkPolicy = ""       // any link is an output error
	LinksKeptInside LinkPolicy = "inside" // links that stay inside their mount are kept; others are dropped with a warning
)

// File is one thing staged into a fresh mount. Exactly one of Text, Source or Dir is used.
type File struct {
	// Path is relative to the mount, slash separated, without "..".
	Path string `json:"path"`
	// Text is the content when Source is empty and Dir is false.
	Text string `json:"text,omitempty"`
	// Source is a file or folder on this machine whose content is shown at Path without being changed.
	Source string `json:"source,omitempty"`
	// Dir makes an empty folder.
	Dir bool `json:"dir,omitempty"`
	// UnpackZip, when Source opens as a zip file, unpacks its entries into the folder of Path instead, and the file itself
	// is not kept. No entry may leave that folder.
	UnpackZip bool `json:"unpackZip,omitempty"`
	// Refuse, with UnpackZip, lists names that no entry at the archive's root may have.
	Refuse []string `json:"refuse,omitempty"`
	// Flat, with UnpackZip, leaves the archive's folders out: its files come under their base names.
	Flat bool `json:"flat,omitempty"`
	// URL is fetched to Source's place by the caller before staging; dispatch refuses it when the operator forbids it.
	URL string `json:"url,omitempty"`
	// SHA256, when not empty, is what the file at URL must have, in hexadecimal.
	SHA256 string `json:"sha256,omitempty"`
}

// HTTPExchange is the request of an HTTP task and how to know that it can be made.
type HTTPExchange struct {
	// Ports are tried in order; the first that accepts is used. Each says why it is tried.
	Ports []Port `json:"ports"`
	// ReadyMark, when not empty, must appear on stdout before the request is made.
	ReadyMark string `json:"readyMark,omitempty"`
	// Probe allows empty connections to find the port that is open. Without it the real request is repeated while the
	// connection is refused, for as long as Timeouts.Connect after the ready mark.
	Probe bool `json:"probe,omitempty"`
	// Outside tells that the platform connects from another container, which a server on loopback alone does not take.
	Outside     bool   `json:"outside,omitempty"`
	Method      string `json:"method"`
	Path        string `json:"path"`
	ContentType string `json:"contentType,omitempty"`
	// Body is the request's body.
	Body Body `json:"body"`
	// AcceptStatus tells that the answer's status does not matter; otherwise 4xx and 5xx are bad-response.
	AcceptStatus bool `json:"acceptStatus,omitempty"`
	// MaxResponse bounds the answer in bytes where the platform does; zero means no other bound than the dispatcher's.
	MaxResponse int64 `json:"maxResponse,omitempty"`
}

// Port is a port a server may listen on.
type Port struct {
	Number int    `json:"number"`
	Why    string `json:"why"`
}

// Body is a request body: Text, or the content of the file Path.
type Body struct {
	Text string `json:"text,omitempty"`
	Path string `json:"path,omitempty"`
}

// Timeouts bound the stages of a run. Zero means the default, negative means none.
type Timeouts struct {
	Prepare time.Duration `json:"prepare,omitempty"` // pulling, building, staging
	Ready   time.Duration `json:"ready,omitempty"`   // from the start of the process to readiness
	Connect time.Duration `json:"connect,omitempty"` // from readiness to an accepted connection
	Run     time.Duration `json:"run,omitempty"`     // files: start to end; http: the request
	Stop    time.Duration `json:"stop,omitempty"`    // between SIGTERM and SIGKILL
}

// Or returns t with the zero fields taken from d.
func (t Timeouts) Or(d Timeouts) Timeouts {
	pick := func(a, b time.Duration) time.Duration {
		if a != 0 {
			return a
		}
		return b
	}
	return Timeouts{pick(t.Prepare, d.Prepare), pick(t.Ready, d.Ready), pick(t.Connect, d.Connect), pick(t.Run, d.Run), pick(t.Stop, d.Stop)}
}

// ImageFacts is what an image says about itself, for contracts to prepare with.
type ImageFacts struct {
	Reference  string            `json:"reference"`
	Digest     string            `json:"digest"` // of the manifest, "sha256:…"
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Cmd        []string          `json:"cmd,omitempty"`
	Env        []string          `json:"env,omitempty"`
	WorkingDir string            `json:"workingDir,omitempty"`
	User       string            `json:"user,omitempty"`
	Ports      []int             `json:"ports,omitempty"` // EXPOSEd TCP ports, ascending
	Volumes    []string          `json:"volumes,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	StopSignal string            `json:"stopSignal,omitempty"`
	Arch       string            `json:"arch,omitempty"` // "linux/amd64"
}

// Leftovers is what a container left behind, after it was made safe: mounts hold only regular files, folders, and the
// links that their policy keeps.
type Leftovers struct {
	Exit Exit
	// Usage is what the run used; its fields are zero where the engine cannot measure.
	Usage Usage
	// Mounts maps the name of each writable mount to the folder on this machine that holds what was left in it.
	Mounts map[string]string
	// Response is the answer of an HTTP exchange, nil for files.
	Response *Response
	// Stdout and Stderr are files with the container's output as it was written (and cut at the log's limit); Log merges
	// both in order.
	Stdout, Stderr, Log string
	// Warnings tells what was dropped while making it safe.
	Warnings []string
}

// Response is the answer of an HTTP task.
type Response struct {
	Status      int    `json:"status"`
	ContentType string `json:"contentType,omitempty"`
	// BodyPath is the file that holds the body.
	BodyPath string `json:"-"`
	Size     int64  `json:"size"`
	// Port is the one that answered, with why it was tried.
	Port Port `json:"port"`
}

// Exit is how a container ended.
type Exit struct {
	Code         int   `json:"code"`
	Signal       int   `json:"signal,omitempty"`
	OOM          bool  `json:"oom,omitempty"`
	PidsExceeded bool  `json:"pidsExceeded,omitempty"`
	DiskExceeded bool  `json:"diskExceeded,omitempty"`
	Stopped      bool  `json:"-"`
	LogDropped   int64 `json:"logDropped,omitempty"`
}

// Usage is what a run used.
type Usage struct {
	PeakMemory Bytes   `json:"peakMemoryBytes"`
	CPUSeconds float64 `json:"cpuSeconds"`
	DiskBytes  Bytes   `json:"diskBytes,omitempty"`
}

// Collected is what a contract made of the leftovers.
type Collected struct {
	// Outputs are the output values by parameter name. Path is always set: the file or folder among the leftovers that is
	// the output. Kinds that are written down have Text, and arrays Items, beside it; without them the value is read from
	// Path.
	Outputs map[string]Value
	// Digest is the result's digest where the contract defines one, with the rule that made it.
	Digest     string
	DigestRule string
	// Failure, when not nil, turns the run into a failed one although the process ended well (a missing output), or
	// replaces the reason of a failing one.
	Failure  *Failure
	Warnings []string
	Notes    []string
}
