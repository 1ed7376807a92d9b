package v1

import (
	"time"

	"longshore/internal/task"
)

// TaskSummary is an imported package as lists show it.
type TaskSummary struct {
	ID          string    `json:"id" doc:"Names this very import"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Contract    string    `json:"contract" doc:"The platform whose rules it was packaged by"`
	Description string    `json:"description,omitempty"`
	Form        string    `json:"form" doc:"What was handed over: tar (a folder), file (a bundle or document), image"`
	Origin      string    `json:"origin,omitempty" doc:"What the author named: a file, an image, a repository"`
	Package     string    `json:"package,omitempty" doc:"The digest of what was handed over"`
	Account     string    `json:"account,omitempty" doc:"Who imported it"`
	CreatedAt   time.Time `json:"createdAt,omitzero"`
	Hidden      bool      `json:"hidden,omitempty" doc:"It runs no more; its runs stay readable"`
}

// Task is an imported package with what goes in and out of it.
type Task struct {
	TaskSummary
	Dialect    string            `json:"dialect,omitempty" doc:"Which form of the contract was met"`
	Variant    string            `json:"variant,omitempty"`
	Variants   []task.Variant    `json:"variants,omitempty" nullable:"false" doc:"The uses of a package that offers several"`
	Image      string            `json:"image,omitempty" doc:"The image's name"`
	Parameters []task.Parameter  `json:"parameters" nullable:"false"`
	Resources  task.Resources    `json:"resources" doc:"CPU in thousandths, the others in bytes"`
	Exchange   task.Exchange     `json:"exchange" enum:"files,http"`
	Network    bool              `json:"network,omitempty" doc:"It declares the need to reach other machines"`
	FreeEnv    bool              `json:"freeEnv,omitempty" doc:"Environment variables beyond the parameters may be given"`
	FreeInputs bool              `json:"freeInputs,omitempty" doc:"Inputs beyond the declared ones may be given"`
	Labels     map[string]string `json:"labels,omitempty"`
	Notes      []string          `json:"notes,omitempty" nullable:"false"`
	Findings   []task.Finding    `json:"findings,omitempty" nullable:"false" doc:"What was noticed at the import"`
	Evidence   string            `json:"evidence,omitempty" doc:"Why it was taken for this contract"`
}

// ImportRequest is a package to be imported: exactly one of Upload, Image and Git.
type ImportRequest struct {
	Upload   string `json:"upload,omitempty" doc:"The digest of an uploaded bundle, document, or archive of a folder"`
	FileName string `json:"fileName,omitempty" doc:"What the upload was called"`
	Image    string `json:"image,omitempty" doc:"An image in the server's image store"`
	Git      string `json:"git,omitempty" doc:"git+URL[#branch[:directory]]"`
	ImportOptions
}

// ImportOptions say how a package is taken. They are query parameters where the body is the package itself.
type ImportOptions struct {
	Document string `json:"document,omitempty" query:"document" doc:"The manifest's path in a folder, where it is not the usual one"`
	Contract string `json:"contract,omitempty" query:"contract" doc:"Forces a contract"`
	Name     string `json:"name,omitempty" query:"name" pattern:"^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$" doc:"Replaces the package's own name"`
	Version  string `json:"version,omitempty" query:"version" pattern:"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$" doc:"Replaces the package's own version"`
	Variant  string `json:"variant,omitempty" query:"variant" doc:"The use of a package that is meant where a run names none, of one that offers several"`
	DryRun   bool   `json:"dryRun,omitempty" query:"dryRun" doc:"Only looks: nothing is kept"`
}
