package v1

import (
	"time"

	"longshore/internal/task"
)

// UsageRow is what an account used a task for.
type UsageRow struct {
	Account    string     `json:"account"`
	TaskName   string     `json:"taskName"`
	Contract   string     `json:"contract"`
	Runs       int64      `json:"runs"`
	Succeeded  int64      `json:"succeeded"`
	Failed     int64      `json:"failed"`
	Cancelled  int64      `json:"cancelled"`
	CPUSeconds float64    `json:"cpuSeconds"`
	Seconds    float64    `json:"wallSeconds"`
	PeakMemory task.Bytes `json:"peakMemoryBytes" doc:"The largest"`
}

// Account is somebody who submits and imports.
type Account struct {
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
	Disabled  bool      `json:"disabled,omitempty" doc:"Its tokens are refused"`
}

// AccountChange is what can be changed of an account.
type AccountChange struct {
	Disabled bool `json:"disabled,omitempty" doc:"Refuse its tokens"`
}

// Token is a secret's record.
type Token struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Account    string    `json:"account"`
	Scopes     []string  `json:"scopes" nullable:"false"`
	CreatedAt  time.Time `json:"createdAt"`
	ExpiresAt  time.Time `json:"expiresAt,omitzero" doc:"Absent for never"`
	LastUsedAt time.Time `json:"lastUsedAt,omitzero" doc:"To the minute"`
	RevokedAt  time.Time `json:"revokedAt,omitzero"`
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Account   string   `json:"account" minLength:"1" maxLength:"128" doc:"Made when there is none of that name"`
	Name      string   `json:"name,omitempty" maxLength:"200" doc:"For people: what it is used for"`
	Scopes    []string `json:"scopes" minItems:"1" enum:"admin,author,operator,caller,reader"`
	ExpiresIn string   `json:"expiresIn,omitempty" doc:"A duration such as 720h; absent for never"`
}

// NewToken is a token with its secret, which is shown this once.
type NewToken struct {
	Token  Token  `json:"token"`
	Secret string `json:"secret" doc:"Shown only now: the server keeps no more than its hash"`
}

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	At      time.Time `json:"at"`
	Account string    `json:"account,omitempty"`
	Token   string    `json:"token,omitempty" doc:"The token's ID"`
	Remote  string    `json:"remote,omitempty" doc:"The address it came from"`
	Action  string    `json:"action" doc:"run.submit, token.create, …"`
	Subject string    `json:"subject,omitempty" doc:"What it was done to"`
	Outcome string    `json:"outcome" doc:"ok, or the code of the error"`
	Detail  string    `json:"detail,omitempty"`
}

// System is how a server is doing.
type System struct {
	Name      string               `json:"name"`
	Version   string               `json:"version"`
	Capacity  task.Resources       `json:"capacity" doc:"What runs may use together; CPU in thousandths, the others in bytes"`
	Free      task.Resources       `json:"free"`
	Slots     int                  `json:"slots" doc:"How many may run at once"`
	Busy      int                  `json:"busy"`
	Draining  bool                 `json:"draining,omitempty"`
	Runs      map[task.State]int64 `json:"runs"`
	Servers   []Server             `json:"servers" nullable:"false" doc:"Those that share the database, also ones of the last day that are gone"`
	BlobBytes int64                `json:"blobBytes" doc:"What kept files take; negative when not known"`
	FreeBytes int64                `json:"freeBytes" doc:"What is left for them; negative when not known"`
}

// Server is one process that serves the same database.
type Server struct {
	Name     string         `json:"name"`
	URL      string         `json:"url,omitempty"`
	Version  string         `json:"version"`
	Capacity task.Resources `json:"capacity"`
	SeenAt   time.Time      `json:"seenAt"`
}

// PruneRequest says what is removed. Absent ages keep for ever.
type PruneRequest struct {
	Files string `json:"files,omitempty" doc:"Remove files of runs that ended longer ago: a duration such as 720h"`
	Runs  string `json:"runs,omitempty" doc:"Remove runs that ended longer ago"`
	Audit string `json:"audit,omitempty" doc:"Remove older entries of the audit log"`
	Disk  string `json:"disk,omitempty" doc:"Remove files of the oldest runs until no more is taken: a quantity such as 100Gi"`
}

// Pruned is what a clean-up removed.
type Pruned struct {
	Runs  int   `json:"runs" doc:"Runs whose files, or which themselves, were removed"`
	Blobs int   `json:"blobs" doc:"Files removed"`
	Bytes int64 `json:"bytes" doc:"Freed"`
}

// Health is whether a server can work, part by part.
type Health struct {
	Ready  bool              `json:"ready"`
	Checks map[string]string `json:"checks" doc:"ok, or what is wrong"`
}
