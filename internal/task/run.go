package task

import (
	"fmt"
	"time"
)

// State is where a run stands.
type State string

// The states (design section 3).
const (
	Queued     State = "queued"
	Preparing  State = "preparing"  // pulling, building, staging
	Starting   State = "starting"   // the container is being made and gets ready
	Running    State = "running"    // the program works, or the request is being answered
	Collecting State = "collecting" // reading what is left
	Succeeded  State = "succeeded"
	Failed     State = "failed"
	Cancelled  State = "cancelled"
)

// Moves is the one table of legal moves. Nothing sets a state any other way than through Move.
var Moves = map[State][]State{
	Queued:     {Preparing, Failed, Cancelled},
	Preparing:  {Starting, Queued, Failed, Cancelled}, // back to queued: our own failure, to be tried again
	Starting:   {Running, Queued, Failed, Cancelled},
	Running:    {Collecting, Queued, Failed, Cancelled},
	Collecting: {Succeeded, Queued, Failed, Cancelled},
	Succeeded:  nil,
	Failed:     nil,
	Cancelled:  nil,
}

// Terminal tells whether no move leads out of s.
func (s State) Terminal() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Move returns to when the move from s is legal, and an error naming both otherwise.
func (s State) Move(to State) (State, error) {
	for _, t := range Moves[s] {
		if t == to {
			return to, nil
		}
	}
	return s, fmt.Errorf("a run that is %s cannot become %s", s, to)
}

// Failure is why a run failed.
type Failure struct {
	Reason  Code   `json:"reason"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Stage is the state the run was in.
	Stage State `json:"stage,omitempty"`
	// LogTail is the last lines the container wrote, when it died.
	LogTail string `json:"logTail,omitempty"`
	// Findings lists each wrong value or output.
	Findings []Finding `json:"findings,omitempty"`
}

// Result is what became of one run: the content of result.json.
type Result struct {
	ID       string   `json:"id"`
	Contract string   `json:"contract"`
	Task     string   `json:"task"`
	Version  string   `json:"version,omitempty"`
	Variant  string   `json:"variant,omitempty"`
	Dialect  string   `json:"dialect,omitempty"`
	State    State    `json:"state"`
	Failure  *Failure `json:"failure,omitempty"`
	// Reason repeats Failure.Reason, for those who look for one word.
	Reason Code `json:"reason,omitempty"`
	// ExitCode is the container's, nil when it never ended by itself (an HTTP task that answered).
	ExitCode *int           `json:"exitCode"`
	Exit     *Exit          `json:"exit,omitempty"`
	Response *Response      `json:"response,omitempty"`
	Image    ResultImage    `json:"image"`
	Outputs  []OutputResult `json:"outputs"`
	// Partial is the folder, relative to the output folder, with what the container of a failed run left behind: for
	// inspection, no result. Empty when it left nothing.
	Partial string `json:"partial,omitempty"`
	// Digest is the result's digest where the contract defines one ("consensus.iexec"), with the rule that made it.
	Digest     string `json:"digest,omitempty"`
	DigestRule string `json:"digestRule,omitempty"`
	Engine     string `json:"engine"`
	// Resources are the limits the container ran under.
	Resources Resources   `json:"resources"`
	Network   bool        `json:"network"`
	StartedAt time.Time   `json:"startedAt"`
	EndedAt   time.Time   `json:"endedAt"`
	Stages    []StageTime `json:"stages"`
	Usage     Usage       `json:"usage"`
	Notes     []string    `json:"notes,omitempty"`
	Warnings  []string    `json:"warnings,omitempty"`
	// Log is the name of the file beside the outputs that holds what the container wrote.
	Log string `json:"log,omitempty"`
}

// ResultImage names the image a run used.
type ResultImage struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
}

// StageTime is how long a run was in one state, in seconds; Steps divides it further where known.
type StageTime struct {
	Stage   State      `json:"stage"`
	Seconds float64    `json:"seconds"`
	Steps   []StepTime `json:"steps,omitempty"`
}

// StepTime is one named part of a stage, in milliseconds.
type StepTime struct {
	Name   string  `json:"name"`
	Millis float64 `json:"ms"`
}

// OutputResult is one output of a run. Value is the typed value: a boolean, a number, a string, a JSON document, a list, or
// for files and folders an object with path (relative to the output folder), size and sha256.
type OutputResult struct {
	Name  string `json:"name"`
	Type  Kind   `json:"type"`
	Value any    `json:"value"`
	// Path is where the output lies, relative to the output folder.
	Path string `json:"path"`
	// Size is in bytes; Files counts regular files.
	Size  int64 `json:"size"`
	Files int   `json:"files"`
	// SHA256 is of the file, or of a folder: the hex sha256 over "<hex sha256>  <path>\n" of its files in path order.
	SHA256 string `json:"sha256"`
}
