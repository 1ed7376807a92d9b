// Package worker keeps runs alive when the server that started them dies. A worker process, started by the server from the same
// program, carries out jobs on the one path of dispatch, each in a folder that holds everything about it, and goes on when its
// server is gone. A server that comes back finds the folders, and through them what still runs and what has ended meanwhile. A
// worker that has neither a job nor a server left ends.
//
// A job's folder, <dir>/<run id>.<attempt>, holds:
//
//	job.json     what to do (Job)
//	inputs/      files that the job names, put there before Begin
//	events       one JSON line per Event, appended
//	log          what the container wrote, as frames (engine.AppendFrame) of the attempt, appended while it runs
//	out/         the outputs, log and result.json; it appears whole, and then the job has ended
//	failed.json  why there is no result, when the worker itself failed
//	.lock        held while the job is carried out, so that a dead worker's jobs can be told
//
// Server and worker talk through a socket in the folder of all jobs. Nothing that must not be lost goes through it alone.
package worker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/task"
)

// Worker carries out jobs. All methods are safe for concurrent use. Jobs are called by Job.Name.
//
// The order of calls for one job:
//
//	[files below Folder/inputs] ─▶ Begin ─▶ Follow ─▶ (the outcome is made durable) ─▶ Forget
//	                                 └───── Cancel
type Worker interface {
	// Begin takes a job on. When it returns nil, the job is carried out whatever becomes of the caller.
	Begin(ctx context.Context, j Job) error
	// Cancel ends a job, which then has an outcome as every other. One that has ended or is unknown is no error.
	Cancel(ctx context.Context, name string) error
	// Follow calls f for every event of a job from its first one, and answers the outcome once there is one. ErrLost tells
	// that the job was begun, or not even that, and that nobody carries it out any more.
	Follow(ctx context.Context, name string, f func(Event)) (Outcome, error)
	// Jobs lists the jobs that are there: under way, ended or lost, but not forgotten.
	Jobs(ctx context.Context) ([]string, error)
	// Folder is where the job's files are, whether it was begun or not; Log is the file of its log's frames, which is made with
	// the first one.
	Folder(name string) string
	Log(name string) string
	// Forget removes all that a job left. A job under way is cancelled first.
	Forget(ctx context.Context, name string) error
}

// ErrLost is the answer for a job that nobody carries out any more, although it has no outcome.
var ErrLost = errors.New("worker: the job was lost")

// Job is one attempt of a run: the content of job.json.
type Job struct {
	Run     string `json:"run"`
	Attempt int    `json:"attempt"`
	// Package says where the package lies on this machine.
	Package Package `json:"package"`
	// Request holds the values; the paths of its files are absolute.
	Request  task.Request  `json:"request"`
	Timeouts task.Timeouts `json:"timeouts,omitzero"`
	Network  bool          `json:"network,omitempty"`
	// Logged is how many bytes of log the earlier attempts have left.
	Logged int64 `json:"logged,omitempty"`
}

// LogLimit is what the attempt's log may have, so that a run's whole log has about one bound however often it is tried: what is
// left of it, and a sixteenth at least, so that the last attempt always has its say. Zero is the engine's own.
func (j Job) LogLimit() int64 {
	if j.Logged == 0 {
		return 0
	}
	return max(engine.DefaultLogLimit-j.Logged, engine.DefaultLogLimit/16)
}

// Name names the attempt: "<run id>.<attempt>".
func (j Job) Name() string { return Name(j.Run, j.Attempt) }

// Name is the name of the job that is an attempt of a run.
func Name(run string, attempt int) string { return fmt.Sprintf("%s.%d", run, attempt) }

var validName = regexp.MustCompile(`^[0-9a-f]{20}\.[0-9]{1,9}$`)

// Split takes a job's name apart; ok is false for what is none.
func Split(name string) (run string, attempt int, ok bool) {
	if !validName.MatchString(name) {
		return "", 0, false
	}
	run, number, _ := strings.Cut(name, ".")
	attempt, err := strconv.Atoi(number)
	return run, attempt, err == nil
}

// Package is a package on this machine, as app opens it.
type Package struct {
	// Path is a folder, an archive, a document, or "image:NAME".
	Path     string `json:"path"`
	Contract string `json:"contract"`
	Variant  string `json:"variant,omitempty"`
	// Digest names the content, so that a package that was opened before is not read again.
	Digest string `json:"digest"`
}

// Event is one thing that happened to a job.
type Event struct {
	At    time.Time  `json:"at"`
	State task.State `json:"state,omitempty"` // it moved there
	// Warning is something that the caller should know; Progress a line about pulling or building.
	Warning  string `json:"warning,omitempty"`
	Progress string `json:"progress,omitempty"`
	// Usage is a sample of a running container.
	Usage *Sample `json:"usage,omitempty"`
	// Log is how many bytes the job's log has; such events are not kept, and may be left out when many come at once.
	Log int64 `json:"log,omitempty"`
}

// Sample is what a container used at one time.
type Sample = dispatch.Sample

// Outcome is what became of a job.
type Outcome struct {
	// Result is never nil without an error.
	Result *task.Result
	// Dir holds the outputs by the paths that Result names. It lies in the job's folder, and is empty where there is nothing.
	Dir string
}
