// Package store declares what Longshore's server remembers: tasks, runs, accounts, tokens, references to blobs, and who did
// what. It is drawn as small interfaces by use; Store joins them for those who open one. Adapters are below; storetest is the
// suite that they pass.
//
// All methods are safe for concurrent use and durable: when one returns nil, what it wrote survives the death of this process,
// of the machine, and of the database. Methods that take a slice do all of it in one transaction, and calls that come at the
// same time may share one: callers need not gather what many people want. Times are kept to the microsecond, in UTC.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"longshore/internal/task"
)

// Store is everything.
type Store interface {
	Tasks
	Runs
	Queue
	Accounts
	Audit
	Blobs
	// Ping tells whether the database answers.
	Ping(ctx context.Context) error
	// Backup writes a consistent copy that a new server can be started on to a file that does not exist; ErrUnsupported where
	// the database has tools of its own for that.
	Backup(ctx context.Context, file string) error
	Close() error
}

// The errors that callers tell apart. Everything else is the database's trouble.
var (
	ErrNotFound    = errors.New("store: not found")
	ErrConflict    = errors.New("store: exists already, with another content")
	ErrUnsupported = errors.New("store: not supported by this database")
	// ErrInvalid is the answer to a text that is not UTF-8 or holds a zero byte: not every database can keep it.
	ErrInvalid = errors.New("store: a text is not UTF-8 or holds a zero byte")
	// ErrFull is the answer to a write that the database has no room for: nothing of it was written.
	ErrFull = errors.New("store: the database's disk is full: nothing of this was written")
	// ErrTaken is the answer to an import under a name that belongs to another account.
	ErrTaken = errors.New("store: the task's name belongs to another account")
	// ErrStale is the answer to a writer whose claim was taken over by another.
	ErrStale = errors.New("store: the run was claimed again meanwhile")
)

// Version is one imported package. It never changes, but for being hidden.
type Version struct {
	// ID is "t" and 19 hexadecimal digits that sort by time.
	ID string `json:"id"`
	// Name and Version name it among all; of several imports of the same name and version the latest counts.
	Name     string `json:"name"`
	Version  string `json:"version"`
	Contract string `json:"contract"`
	// Package is the digest of the blob that holds the package as it was handed over, and Form what it is: "tar" (a folder),
	// "file" (a bundle archive or a single document), "image" (a name in the image store; Package is then its digest) or
	// "git" (a folder again; Origin tells from where).
	Package string `json:"package"`
	Form    string `json:"form"`
	// Origin is what the author named, for people: a file name, an image, a repository.
	Origin string `json:"origin,omitempty"`
	// Document is the manifest within the package that was named, if one was.
	Document string `json:"document,omitempty"`
	// Task is the loaded package (of the first variant where there are several), Findings what was noticed on the way.
	Task     task.Task      `json:"task"`
	Findings []task.Finding `json:"findings,omitempty"`
	// Account imported it.
	Account   string    `json:"account"`
	CreatedAt time.Time `json:"createdAt"`
	// Hidden versions run no more; their runs stay readable.
	Hidden bool `json:"hidden,omitempty"`
}

// Tasks keeps what was imported.
type Tasks interface {
	// AddVersion keeps a version. Its name belongs to v.Account from then on, unless it has an owner. Where that is another account
	// than as, the answer is ErrTaken, and nothing is kept; an empty as may use every name.
	AddVersion(ctx context.Context, v Version, as string) error
	// Owner answers the account that a task's name belongs to.
	Owner(ctx context.Context, name string) (account string, err error)
	// Version finds by ID, by "name" (its latest import that is not hidden) or by "name:version".
	Version(ctx context.Context, ref string) (Version, error)
	// Versions lists, latest first; of each name only the latest unless f.All.
	Versions(ctx context.Context, f VersionFilter) ([]Version, string, error)
	HideVersion(ctx context.Context, id string) error
}

// VersionFilter chooses versions. Zero fields choose everything.
type VersionFilter struct {
	Name, Contract string
	// Search is looked for in name and description, without regard to case.
	Search string
	All    bool
	// Limit is the size of a page, 1 to 1000 (zero: 100), After the cursor that the page before ended with.
	Limit int
	After string
}

// Run is one use of a task, from submission to its terminal state.
type Run struct {
	// ID is 20 hexadecimal digits that sort by time: twelve of CreatedAt's milliseconds since 1970, and eight of chance. Lists
	// between two times rely on it.
	ID string `json:"id"`
	// Task is the ID of the version; the four fields after it repeat what lists show.
	Task        string `json:"task"`
	TaskName    string `json:"taskName"`
	TaskVersion string `json:"taskVersion,omitempty"`
	Contract    string `json:"contract"`
	Variant     string `json:"variant,omitempty"`
	Account     string `json:"account"`

	State    task.State `json:"state"`
	Priority int        `json:"priority,omitempty"` // higher runs first; -1000 to 1000
	// Request is what was asked for, as JSON of dispatch's; Needs is what must be free on a machine while it runs. Inputs are
	// the files it names: Path is the name, or name/path for a file of a folder.
	Request json.RawMessage `json:"request,omitempty"`
	Inputs  []File          `json:"inputs,omitempty"`
	Needs   task.Resources  `json:"needs"`
	// Key is the caller's idempotency key, unique per account; empty for none.
	Key    string            `json:"key,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`

	// Attempt counts claims. It is the fencing number too: whoever writes with an older one is refused (ErrStale).
	Attempt int `json:"attempt"`
	// Owner is the server that holds the run, until LeaseUntil; empty while queued and after the end.
	Owner      string    `json:"owner,omitempty"`
	LeaseUntil time.Time `json:"-"`
	// NotBefore holds a queued run back after a failure of ours.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// Cancel tells that somebody asked for the end, with CancelledBy.
	Cancel      bool   `json:"cancel,omitempty"`
	CancelledBy string `json:"cancelledBy,omitempty"`

	CreatedAt time.Time `json:"createdAt"`
	StartedAt time.Time `json:"startedAt,omitzero"` // of the last attempt
	EndedAt   time.Time `json:"endedAt,omitzero"`
	// Reason is why it failed, empty otherwise.
	Reason task.Code `json:"reason,omitempty"`
	// CacheKey, when not empty, names runs that may share a result; CachedFrom is the run whose result this one took.
	CacheKey   string `json:"cacheKey,omitempty"`
	CachedFrom string `json:"cachedFrom,omitempty"`
	// Result is task.Result as JSON, and Files what its outputs and log are kept as; nil before the end, but for the log and
	// the events of the attempts so far.
	Result json.RawMessage `json:"result,omitempty"`
	Files  []File          `json:"files,omitempty"`
	// CPUSeconds and PeakMemory repeat the result's usage, for sums.
	CPUSeconds float64    `json:"cpuSeconds,omitempty"`
	PeakMemory task.Bytes `json:"peakMemoryBytes,omitempty"`
	// Pruned tells that its files were removed because of their age.
	Pruned bool `json:"pruned,omitempty"`
}

// File is one kept file of a run: an output, a file within an output that is a folder, or the log.
type File struct {
	// Path is relative to the output folder, with slashes: "sum", "masks/0.png"; see LogPath and EventsPath for the others.
	Path   string `json:"path"`
	Digest string `json:"digest"` // of the blob
	Size   int64  `json:"size"`
	// Mode is "dir" for an empty folder, "link" for a symbolic link whose target is Target, else empty.
	Mode   string `json:"mode,omitempty"`
	Target string `json:"target,omitempty"`
	// Text is a small content itself, where Digest is empty: it costs no blob.
	Text string `json:"text,omitempty"`
}

// LogPath is the Path of a run's log, frames as engine.AppendFrame writes them: where there are several, as a run was tried again,
// they are its log one after the other. EventsPath is that of its events, JSON lines. No output can have such a path.
const (
	LogPath    = ":log"
	EventsPath = ":events"
)

// Runs submits and reads.
type Runs interface {
	// Submit adds runs, which are queued; one with an Owner is added as claimed by it,
	// as its first attempt, and one in a terminal state as ended. Of a run whose Key its account has used before, nothing is added, and the earlier
	// one is in its place of the answer; ErrConflict is not returned for it: whether it asked for the same is the caller's
	// to compare.
	Submit(ctx context.Context, runs []Run) ([]Run, error)
	Run(ctx context.Context, id string) (Run, error)
	// List answers a page, latest first or as f says, without Request, Inputs, Result and Files, and the cursor of the next page,
	// empty at the end. A run that is added meanwhile does not shift pages.
	List(ctx context.Context, f RunFilter) ([]Run, string, error)
	// Count answers how many runs f chooses, by state.
	Count(ctx context.Context, f RunFilter) (map[task.State]int64, error)
	// Cached answers the latest succeeded run with that CacheKey whose files are still there.
	Cached(ctx context.Context, key string) (Run, error)
	// Usage sums ended runs by account and task. Of runs that were removed since, whole hours of UTC count.
	Usage(ctx context.Context, f UsageFilter) ([]Usage, error)
	// Prune forgets the Files and Inputs of runs that ended before, those that ended first, at most limit of them, and answers
	// how many. Whole removes the runs.
	Prune(ctx context.Context, before time.Time, limit int, whole bool) (int, error)
}

// RunFilter chooses runs. Zero fields choose everything.
type RunFilter struct {
	States  []task.State
	Task    string // a version's ID
	Name    string // a task's name
	Account string
	Reason  task.Code
	Labels  map[string]string
	// Since and Until bound CreatedAt: Since ≤ t < Until.
	Since, Until time.Time
	// Search is the start of an ID, at least eight digits of it, or a part of the name of a task on record, without regard to
	// case.
	Search string
	Limit  int // 1 to 1000; zero: 100
	After  string
	// Oldest lists the oldest first.
	Oldest bool
	// Kept leaves out runs whose files were removed.
	Kept bool
}

// UsageFilter chooses ended runs by their end: Since ≤ t < Until.
type UsageFilter struct {
	Account, Name string
	Since, Until  time.Time
}

// Usage is what an account used a task for.
type Usage struct {
	Account    string     `json:"account"`
	TaskName   string     `json:"taskName"`
	Contract   string     `json:"contract"`
	Runs       int64      `json:"runs"`
	Succeeded  int64      `json:"succeeded"`
	Failed     int64      `json:"failed"`
	Cancelled  int64      `json:"cancelled"`
	CPUSeconds float64    `json:"cpuSeconds"`
	WallTime   float64    `json:"wallSeconds"`
	PeakMemory task.Bytes `json:"peakMemoryBytes"` // the largest
}

// Queue hands runs to servers.
type Queue interface {
	// Heartbeat tells that a server lives; Servers lists those that there are, also dead ones of the last day.
	Heartbeat(ctx context.Context, s Server) error
	Servers(ctx context.Context) ([]Server, error)
	// Claim takes queued runs for a server: highest priority first, then oldest, as many as fit into what is free together
	// (a smaller one may pass a larger one that does not fit now), raises their Attempt and puts them into preparing. Runs
	// that were asked to be cancelled are claimed too, whatever they need, so that somebody ends them. No two callers get
	// the same run.
	Claim(ctx context.Context, c Claim) ([]Run, error)
	// Waiting tells whether there are queued runs, other than those that are held back.
	Waiting(ctx context.Context, now time.Time) (bool, error)
	// Renew prolongs the leases of all runs of a server, and answers which of them were asked to be cancelled.
	Renew(ctx context.Context, owner string, until time.Time) (cancel []string, err error)
	// Owned lists what a server holds, for its restart.
	Owned(ctx context.Context, owner string) ([]Run, error)
	// Progress notes the state of claimed runs; of a stale or ended one it notes nothing.
	Progress(ctx context.Context, steps []Step) error
	// Finish puts claimed runs into a terminal state, or back into the queue (State queued, with NotBefore). The answer
	// tells for each whether it counted: false is a stale writer's. Blobs named in Files are referenced in the same
	// transaction; Files replace what the run had.
	Finish(ctx context.Context, ends []End) ([]bool, error)
	// Expire puts runs of other servers whose lease has run out back into the queue, and answers them. A lease that ends more
	// than an hour from now counts as run out: the clock was set back.
	Expire(ctx context.Context, owner string, now time.Time) ([]Run, error)
	// RequestCancel notes that the run shall end. A queued one ends at once. The run as it is afterwards is returned; one
	// that has ended already is returned as it is.
	RequestCancel(ctx context.Context, id, by string, now time.Time) (Run, error)
}

// Server is one process that serves this store.
type Server struct {
	// Name is its own, the same after a restart.
	Name string `json:"name"`
	// URL is where the other servers reach its API, empty if they cannot.
	URL      string         `json:"url,omitempty"`
	Version  string         `json:"version"`
	Capacity task.Resources `json:"capacity"`
	SeenAt   time.Time      `json:"seenAt"`
}

// Claim says who claims how much.
type Claim struct {
	Owner string
	Now   time.Time
	Until time.Time
	// Free is what the claimed runs may need together. Zero fields are not counted, but for GPUs, of which there are none then.
	Free task.Resources
	// Capacity is what the server has altogether; zero fields are not counted. A run that needs more than that waits for
	// another server, and holds none of the others back here.
	Capacity task.Resources
	// Max is the largest number of runs, at least 1.
	Max int
	// Patience is how long the first of the queue may be passed by smaller ones; after that nothing but what is to be
	// cancelled is claimed until it fits. Zero means a minute.
	Patience time.Duration
}

// Step is a state that a claimed run has reached.
type Step struct {
	ID      string
	Attempt int
	State   task.State
	// StartedAt is set when the container has started.
	StartedAt time.Time
}

// End is how an attempt ended.
type End struct {
	ID      string
	Attempt int
	State   task.State // terminal, or queued
	// StartedAt is when the container started, zero if none did.
	StartedAt time.Time
	EndedAt   time.Time
	Reason    task.Code
	Result    json.RawMessage
	Files     []File
	Usage     task.Usage
	// NotBefore is for State queued.
	NotBefore  time.Time
	CachedFrom string
}

// Account is somebody who submits and imports.
type Account struct {
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
	Disabled  bool      `json:"disabled,omitempty"`
}

// Token is a secret's record. The secret itself is never kept.
type Token struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Account string `json:"account"`
	// Hash is the hex SHA-256 of the secret, which is random and long, so that no slow hash is needed.
	Hash   string   `json:"-"`
	Scopes []string `json:"scopes"`
	// ExpiresAt is zero for never.
	ExpiresAt  time.Time `json:"expiresAt,omitzero"`
	CreatedAt  time.Time `json:"createdAt"`
	LastUsedAt time.Time `json:"lastUsedAt,omitzero"`
	RevokedAt  time.Time `json:"revokedAt,omitzero"`
}

// Accounts keeps accounts and tokens.
type Accounts interface {
	// PutAccount adds an account or changes Disabled of one.
	PutAccount(ctx context.Context, a Account) error
	Account(ctx context.Context, name string) (Account, error)
	ListAccounts(ctx context.Context) ([]Account, error)
	AddToken(ctx context.Context, t Token) error
	// TokenByHash answers also expired and revoked ones.
	TokenByHash(ctx context.Context, hash string) (Token, error)
	// ListTokens lists those of an account, or all for "".
	ListTokens(ctx context.Context, account string) ([]Token, error)
	RevokeToken(ctx context.Context, id string, at time.Time) error
	// TouchToken notes its use.
	TouchToken(ctx context.Context, id string, at time.Time) error
}

// Entry is one line of the audit log.
type Entry struct {
	At      time.Time `json:"at"`
	Account string    `json:"account"`
	Token   string    `json:"token,omitempty"` // its ID
	Remote  string    `json:"remote,omitempty"`
	Action  string    `json:"action"` // "run.submit", "token.create", …
	Subject string    `json:"subject,omitempty"`
	Outcome string    `json:"outcome"` // "ok" or the error's code
	Detail  string    `json:"detail,omitempty"`
}

// Audit keeps who did what.
type Audit interface {
	Record(ctx context.Context, entries []Entry) error
	// Entries lists, latest first.
	Entries(ctx context.Context, account, action string, limit int, after string) ([]Entry, string, error)
	// PruneAudit forgets entries before a time.
	PruneAudit(ctx context.Context, before time.Time) error
}

// Blobs tells which blobs are still referenced: by versions and by the files of runs, and by holds of uploads that nothing
// refers to yet.
type Blobs interface {
	// Hold keeps blobs from being collected until a time, for an account that uploaded them.
	Hold(ctx context.Context, account string, digests []string, until time.Time) error
	// Held answers which of the digests an account may name as its own: it holds them, or they are inputs or outputs of its
	// runs, or packages that it imported.
	Held(ctx context.Context, account string, digests []string, now time.Time) ([]string, error)
	// Unreferenced answers which of the digests nothing refers to.
	Unreferenced(ctx context.Context, digests []string, now time.Time) ([]string, error)
}
