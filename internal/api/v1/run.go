package v1

import (
	"encoding/json"
	"time"

	"longshore/internal/task"
)

// RunRequest asks for a run.
type RunRequest struct {
	Task    string `json:"task" minLength:"1" doc:"A task's name, name:version or ID"`
	Variant string `json:"variant,omitempty" doc:"The use of a package that offers several"`
	// Inputs hold numbers exactly as they were written.
	Inputs   map[string]json.RawMessage `json:"inputs,omitempty" doc:"By parameter. \"@name\" stands for the file or folder of that name in files or in the form; \"@@…\" for text that begins with @"`
	Env      map[string]string          `json:"env,omitempty" doc:"Environment variables"`
	Args     []string                   `json:"args,omitzero" nullable:"true" doc:"Replace the container's arguments, also when empty"`
	Unbound  []string                   `json:"unbound,omitempty" doc:"Inputs that are left out on purpose"`
	Body     *string                    `json:"body,omitempty" doc:"The request body of a task with http exchange"`
	BodyFile string                     `json:"bodyFile,omitempty" doc:"The name of the file that is the request body"`
	Files    map[string]FileRef         `json:"files,omitempty" doc:"Uploads that inputs name"`
	Limits   Limits                     `json:"limits,omitzero" doc:"What the run may use, where it differs from the task's own"`
	Timeouts Timeouts                   `json:"timeouts,omitzero" doc:"How long its stages may take"`
	Network  bool                       `json:"network,omitempty" doc:"Let it reach other machines, if the operator allows it"`
	Priority int                        `json:"priority,omitempty" minimum:"-1000" maximum:"1000" doc:"Higher runs first"`
	Labels   map[string]string          `json:"labels,omitempty" doc:"Found again in lists"`
	Retry    Retry                      `json:"retry,omitzero" doc:"Try again after failures of the task's own. The server's own failures are always tried again"`
	Cache    bool                       `json:"cache,omitempty" doc:"Take the result of an earlier run of the same package, inputs and parameters, and be taken from"`
}

// FileRef is an uploaded file, or a folder when it has entries.
type FileRef struct {
	Digest  string `json:"digest,omitempty" doc:"Of a file"`
	Name    string `json:"name,omitempty" doc:"The file's own name, for tasks that see names"`
	Entries []File `json:"entries,omitempty" nullable:"true" doc:"Of a folder"`
}

// Limits are quantities: "500m" or "1.5" CPUs, "512Mi" or "2G" bytes. Empty means the task's own.
type Limits struct {
	CPU    string `json:"cpu,omitempty" doc:"CPUs: 500m, 1.5"`
	Memory string `json:"memory,omitempty" doc:"Bytes: 512Mi, 2G"`
	Disk   string `json:"disk,omitempty" doc:"Bytes"`
	Shm    string `json:"shm,omitempty" doc:"Bytes of shared memory"`
	GPUs   int    `json:"gpus,omitempty" minimum:"0"`
}

// Timeouts are durations such as "90s" or "1h30m". Empty means the task's own.
type Timeouts struct {
	Prepare string `json:"prepare,omitempty" doc:"Pulling, building, staging"`
	Ready   string `json:"ready,omitempty" doc:"From the start of the process to readiness"`
	Connect string `json:"connect,omitempty" doc:"From readiness to an accepted connection"`
	Run     string `json:"run,omitempty" doc:"files: start to end; http: the request"`
	Stop    string `json:"stop,omitempty" doc:"Between SIGTERM and SIGKILL"`
}

// Retry is a policy for failures of the task's own.
type Retry struct {
	Max int         `json:"max,omitempty" minimum:"0" maximum:"10"`
	On  []task.Code `json:"on,omitempty" enum:"exit,oom,timeout,not-ready,bad-response,input,output,image,policy,engine" doc:"The reasons"`
}

// Run is one use of a task.
type Run struct {
	ID          string     `json:"id"`
	Task        string     `json:"task" doc:"The ID of the task that runs"`
	TaskName    string     `json:"taskName"`
	TaskVersion string     `json:"taskVersion,omitempty"`
	Contract    string     `json:"contract"`
	Variant     string     `json:"variant,omitempty"`
	Account     string     `json:"account" doc:"Who submitted it"`
	State       task.State `json:"state" enum:"queued,preparing,starting,running,collecting,succeeded,failed,cancelled"`
	Reason      task.Code  `json:"reason,omitempty" doc:"Why it failed"`
	Priority    int        `json:"priority,omitempty"`

	Labels      map[string]string `json:"labels,omitempty"`
	Attempt     int               `json:"attempt" doc:"Counts from 1; 0 before it was first tried"`
	Server      string            `json:"server,omitempty" doc:"The server that holds it now"`
	Cancelling  bool              `json:"cancelling,omitempty" doc:"Somebody asked for its end"`
	CancelledBy string            `json:"cancelledBy,omitempty"`
	CachedFrom  string            `json:"cachedFrom,omitempty" doc:"The run whose result this one took"`
	Needs       task.Resources    `json:"needs" doc:"What must be free while it runs"`
	CreatedAt   time.Time         `json:"createdAt"`
	NotBefore   time.Time         `json:"notBefore,omitzero" doc:"It is held back until then, after a failure of the server's"`
	StartedAt   time.Time         `json:"startedAt,omitzero"`
	EndedAt     time.Time         `json:"endedAt,omitzero"`
	CPUSeconds  float64           `json:"cpuSeconds,omitempty"`
	PeakMemory  task.Bytes        `json:"peakMemoryBytes,omitempty"`
	Pruned      bool              `json:"pruned,omitempty" doc:"Its files were removed because of their age"`

	Result *Result `json:"result,omitempty" doc:"What became of it; absent before the end, and in lists"`
	Inputs []File  `json:"inputs,omitempty" nullable:"false" doc:"Its input files; absent in lists"`
	Files  []File  `json:"files,omitempty" nullable:"false" doc:"Its output files; absent before the end, and in lists"`
}

// Result is the domain's.
type Result = task.Result

// Counts is how many runs there are in each state.
type Counts struct {
	States map[task.State]int64 `json:"states"`
	Total  int64                `json:"total"`
}

// Why explains a run's state.
type Why struct {
	ID      string     `json:"id"`
	State   task.State `json:"state"`
	Because string     `json:"because" doc:"In words"`
	Hint    string     `json:"hint,omitempty" doc:"What to do"`
	// CachedFrom and Same are of a run that took another's result.
	CachedFrom string   `json:"cachedFrom,omitempty" doc:"The run whose result was taken"`
	CacheKey   string   `json:"cacheKey,omitempty" doc:"What equal runs share"`
	Same       []string `json:"same,omitempty" nullable:"false" doc:"What is the same in both runs"`
}

// Event is one thing that happened to a run: the data of a server-sent event, whose ID is N and whose type is Kind. The last
// one has a terminal state.
type Event struct {
	N       int        `json:"n"`
	At      time.Time  `json:"at"`
	Attempt int        `json:"attempt,omitempty"`
	State   task.State `json:"state,omitempty"`
	Warning string     `json:"warning,omitempty"`
	// Progress is a line about pulling or building.
	Progress string    `json:"progress,omitempty"`
	Usage    *Sample   `json:"usage,omitempty"`
	Retry    task.Code `json:"retry,omitempty"` // why another attempt is made
}

// The types of server-sent events.
const (
	EventState    = "state"
	EventWarning  = "warning"
	EventProgress = "progress"
	EventUsage    = "usage"
	EventRetry    = "retry"
	// EventEnd follows the last event; its data is the run.
	EventEnd = "end"
	// EventError ends a stream that cannot go on; its data is a Problem.
	EventError = "problem"
)

// Kind is the event's type.
func (e Event) Kind() string {
	switch {
	case e.State != "":
		return EventState
	case e.Warning != "":
		return EventWarning
	case e.Usage != nil:
		return EventUsage
	case e.Retry != "":
		return EventRetry
	}
	return EventProgress
}

// Sample is what a run used at one time.
type Sample struct {
	CPUSeconds float64    `json:"cpuSeconds"`
	Memory     task.Bytes `json:"memoryBytes"`
}

// LogLine is one piece of a log as JSON: what one write of the container gave. Exactly one of Text and Data is set.
type LogLine struct {
	// Offset is where the piece begins, in bytes of what the container wrote (to the stream that was asked for): offset plus
	// the length of the content is where to go on.
	Offset int64     `json:"offset"`
	At     time.Time `json:"at"`
	Stream string    `json:"stream"` // stdout or stderr
	// Attempt is whose container wrote it; the log goes on where the one before ended.
	Attempt int     `json:"attempt,omitempty"`
	Text    *string `json:"text,omitempty"`
	Data    []byte  `json:"data,omitempty"` // what is not UTF-8
}

// Content is what was written.
func (l LogLine) Content() []byte {
	if l.Text != nil {
		return []byte(*l.Text)
	}
	return l.Data
}
