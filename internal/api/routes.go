package api

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	v1 "longshore/internal/api/v1"
)

const (
	get  = http.MethodGet
	post = http.MethodPost
	put  = http.MethodPut
	del  = http.MethodDelete
)

// routes is everything that the API answers.
func (a *API) routes() {
	a.taskRoutes()
	a.uploadRoutes()
	a.runRoutes()
	a.fileRoutes()
	a.accessRoutes()
	a.operatorRoutes()
	a.healthRoutes()
	a.sessionRoutes()
}

func (a *API) taskRoutes() {
	const tag = "Tasks"
	add(a, route{
		id: "list-tasks", method: get, path: "/v1/tasks", tag: tag, summary: "List tasks", rule: anyone,
		doc: "Latest import first. Of each name only the latest one, unless all is set.",
	}, a.listTasks)
	add(a, route{
		id: "import-task", method: post, path: "/v1/tasks", tag: tag, summary: "Import a package", rule: authors, audit: "task.import", status: http.StatusCreated,
		doc: "The package is an image, a git source or an earlier upload, named in JSON; or a file: a bundle, a document, or an archive (zip, tar, tar.gz, tar.zst) of a folder, " +
			"as the part \"file\" of a form or as the body itself, with the options as query parameters. A package that cannot be used is refused with all findings. " +
			"With dryRun nothing is kept, and the answer is 200.",
		body: map[string]*huma.Schema{
			"application/json": schemaOf[v1.ImportRequest](a), "application/octet-stream": binary(),
			"multipart/form-data": {Type: "object", Properties: map[string]*huma.Schema{"file": binary()}, Required: []string{"file"}},
		},
	}, a.importTask)
	add(a, route{
		id: "get-task", method: get, path: "/v1/tasks/{task}", tag: tag, summary: "Get a task", rule: anyone,
		doc: "By name (its latest version), name:version or ID; with its parameters, and what was noticed at the import.",
	}, a.getTask)
	add(a, route{id: "list-task-versions", method: get, path: "/v1/tasks/{task}/versions", tag: tag, summary: "List the versions of a task", rule: anyone}, a.taskVersions)
	add(a, route{
		id: "hide-task", method: del, path: "/v1/tasks/{task}", tag: tag, summary: "Hide a task", rule: curators, audit: "task.hide",
		doc: "It runs no more, and is listed no more; its runs stay readable. An author can hide what its own account imported.",
	}, a.hideTask)
}

func (a *API) uploadRoutes() {
	add(a, route{
		id: "upload", method: post, path: "/v1/uploads", tag: "Uploads", summary: "Upload a file", rule: uploaders, audit: "upload", status: http.StatusCreated,
		doc:  "Keeps the body for runs and imports to come, which name it by its digest. It is kept for a day when nothing refers to it.",
		body: map[string]*huma.Schema{"application/octet-stream": binary()},
	}, a.upload)
	add(a, route{
		id: "upload-many", method: post, path: "/v1/uploads/many", tag: "Uploads", summary: "Upload many files", rule: uploaders, audit: "upload", status: http.StatusCreated,
		doc: "Keeps each file of the body, a tar archive of up to 10,000 plain files, as if it had been uploaded by itself, and answers their digests in the archive's order. " +
			"For folders with many small files this is far quicker.",
		body: map[string]*huma.Schema{"application/x-tar": binary()},
	}, a.uploadMany)
	add(a, route{
		id: "get-upload", method: get, path: "/v1/uploads/{digest}", tag: "Uploads", summary: "Ask for an upload", rule: uploaders,
		doc: "Tells whether the account has a file with this content, which then need not be uploaded again.",
	}, a.getUpload)
}

func (a *API) runRoutes() {
	const tag = "Runs"
	add(a, route{
		id: "submit-run", method: post, path: "/v1/runs", tag: tag, summary: "Submit a run", rule: callers, audit: "run.submit", status: http.StatusCreated,
		doc: "As JSON, where files are named by the digests of earlier uploads; or as a form whose part \"request\" is that JSON and whose other parts are files, named by the input " +
			"that they are for. Several parts name/path/in/folder make a folder. A part that no input names is the value of the input of its name. " +
			"When 201 is answered, the run is on record and will end. With the header Idempotency-Key, sending it again answers 200 and the same run; another request with the same key is refused with 409.",
		body: map[string]*huma.Schema{
			"application/json":    schemaOf[v1.RunRequest](a),
			"multipart/form-data": {Type: "object", Properties: map[string]*huma.Schema{"request": schemaOf[v1.RunRequest](a)}, AdditionalProperties: binary(), Required: []string{"request"}},
		},
	}, a.submitRun)
	add(a, route{id: "list-runs", method: get, path: "/v1/runs", tag: tag, summary: "List runs", rule: anyone, doc: "Latest first. Runs that come meanwhile do not shift pages. Only operators see other accounts' runs."}, a.listRuns)
	add(a, route{id: "count-runs", method: get, path: "/v1/runs/count", tag: tag, summary: "Count runs by state", rule: anyone}, a.countRuns)
	add(a, route{id: "get-run", method: get, path: "/v1/runs/{id}", tag: tag, summary: "Get a run, or wait for its end", rule: anyone}, a.getRun)
	add(a, route{
		id: "cancel-run", method: post, path: "/v1/runs/{id}/cancel", tag: tag, summary: "Cancel a run", rule: callers, audit: "run.cancel",
		doc: "Answers the run as it is then: it may take a moment to end. One that has ended is answered as it is.",
	}, a.cancelRun)
	add(a, route{
		id: "retry-run", method: post, path: "/v1/runs/{id}/retry", tag: tag, summary: "Submit a run again", rule: callers, audit: "run.submit", status: http.StatusCreated,
		doc: "A new run with the same request and files, under the account that asks.",
	}, a.retryRun)
	add(a, route{
		id: "get-run-request", method: get, path: "/v1/runs/{id}/request", tag: tag, summary: "Get what was asked for", rule: anyone,
		doc: "In the form that submitting takes, so that it can be changed and submitted.",
	}, a.runRequest)
	add(a, route{id: "explain-run", method: get, path: "/v1/runs/{id}/why", tag: tag, summary: "Explain a run's state", rule: anyone, doc: "Why it waits, why it failed, or whose result it took."}, a.whyRun)
	add(a, route{
		id: "follow-run", method: get, path: "/v1/runs/{id}/events", tag: tag, summary: "Follow a run", rule: anyone,
		doc:    "Server-sent events: state, warning, progress, usage, retry; then end, with the run. The ID of an event is its number; the header Last-Event-ID goes on after it.",
		answer: map[string]*huma.Schema{"text/event-stream": nil}, // OpenAPI 3.1 has no words for a stream of events
	}, a.runEvents)
	add(a, route{
		id: "get-log", method: get, path: "/v1/runs/{id}/logs", tag: tag, summary: "Read or follow a run's log", rule: anyone,
		doc: "What the container wrote, from its first byte. The log of a run that is tried again goes on where the attempt before ended, " +
			"so offsets stay valid. With follow, from before it exists until it has ended. " +
			"As ndjson, each line has offset, at, stream, attempt, and text or, where it is no UTF-8, data in base64; an empty line tells that the server is still there.",
		answer: map[string]*huma.Schema{"text/plain": text(), "application/x-ndjson": text()},
	}, a.runLog)
}

func (a *API) fileRoutes() {
	const tag = "Files"
	add(a, route{id: "list-outputs", method: get, path: "/v1/runs/{id}/outputs", tag: tag, summary: "List the output files of a run", rule: anyone}, a.listOutputs)
	add(a, route{
		id: "get-output", method: get, path: "/v1/runs/{id}/outputs/{path}", tag: tag, summary: "Get an output file", rule: anyone,
		doc: "With ranges; the ETag is its digest. What a browser could execute is only ever sent as a download.", answer: file(),
	}, a.getOutput)
	add(a, route{id: "list-inputs", method: get, path: "/v1/runs/{id}/inputs", tag: tag, summary: "List the input files of a run", rule: anyone}, a.listInputs)
	add(a, route{
		id: "get-input", method: get, path: "/v1/runs/{id}/inputs/{path}", tag: tag, summary: "Get an input file", rule: anyone,
		answer: file(),
	}, a.getInput)
	add(a, route{
		id: "get-archive", method: get, path: "/v1/runs/{id}/archive", tag: tag, summary: "Get all output files as one archive", rule: anyone,
		answer: map[string]*huma.Schema{"application/zip": binary(), "application/x-tar": binary()},
	}, a.getArchive)
}

func (a *API) accessRoutes() {
	const tag = "Access"
	add(a, route{id: "get-self", method: get, path: "/v1/self", tag: tag, summary: "Ask who the token belongs to", rule: anyone}, a.self)
	add(a, route{id: "list-accounts", method: get, path: "/v1/accounts", tag: tag, summary: "List accounts", rule: operators}, a.listAccounts)
	add(a, route{
		id: "put-account", method: put, path: "/v1/accounts/{account}", tag: tag, summary: "Make, disable or enable an account", rule: admins, audit: "account.put",
	}, a.putAccount)
	add(a, route{id: "list-tokens", method: get, path: "/v1/tokens", tag: tag, summary: "List tokens", rule: anyone, doc: "Only administrators see other accounts' tokens."}, a.listTokens)
	add(a, route{
		id: "create-token", method: post, path: "/v1/tokens", tag: tag, summary: "Make a token", rule: admins, audit: "token.create", status: http.StatusCreated,
		doc: "The answer has its secret, this once.",
	}, a.createToken)
	add(a, route{
		id: "revoke-token", method: del, path: "/v1/tokens/{id}", tag: tag, summary: "Revoke a token", rule: anyone, audit: "token.revoke",
		doc: "Only administrators can revoke other accounts' tokens.",
	}, a.revokeToken)
	add(a, route{id: "list-audit", method: get, path: "/v1/audit", tag: tag, summary: "Read the audit log", rule: operators, doc: "Who changed what, latest first."}, a.listAudit)
}

func (a *API) operatorRoutes() {
	const tag = "Operating"
	add(a, route{id: "get-usage", method: get, path: "/v1/usage", tag: tag, summary: "Sum what was used", rule: anyone, doc: "Of ended runs, by account and task. Only operators see other accounts'."}, a.usage)
	add(a, route{id: "get-system", method: get, path: "/v1/system", tag: tag, summary: "Ask how the server is doing", rule: watchers}, a.system)
	add(a, route{
		id: "prune", method: post, path: "/v1/system/prune", tag: tag, summary: "Remove what is old", rule: operators, audit: "system.prune",
		doc: "Files, runs and audit entries that are older than asked for, and kept files that nothing refers to.",
	}, a.prune)
	add(a, route{
		id: "get-metrics", method: get, path: "/metrics", tag: tag, summary: "Metrics for Prometheus", rule: watchers, answer: map[string]*huma.Schema{"text/plain": text()},
	}, a.metrics)
	add(a, route{
		id: "get-openapi", method: get, path: "/v1/openapi.json", tag: tag, summary: "This API as an OpenAPI document", rule: public,
		answer: map[string]*huma.Schema{"application/openapi+json": {Type: "object"}},
	}, a.openAPI)
}

func (a *API) healthRoutes() {
	const tag = "Health"
	add(a, route{id: "get-health", method: get, path: "/healthz", tag: tag, summary: "Ask whether the process answers", rule: public}, a.health)
	add(a, route{id: "get-readiness", method: get, path: "/readyz", tag: tag, summary: "Ask whether the server can take runs", rule: public, doc: "503 when it cannot, with the reason."}, a.ready)
}

func (a *API) sessionRoutes() {
	add(a, route{id: "login-link", method: get, path: "/login", rule: public, hidden: true}, a.loginLink)
	add(a, route{id: "login", method: post, path: "/login", rule: public, hidden: true, audit: "session.begin"}, a.login)
	add(a, route{id: "logout", method: post, path: "/logout", rule: anyone, hidden: true, audit: "session.end"}, a.logout)
}

// PageQuery chooses a page of a list.
type PageQuery struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"The size of a page; 100 when not given"`
	Cursor string `query:"cursor" pattern:"^[0-9a-z]{0,64}$" doc:"Where the page before ended: its next"`
}

// SpanQuery chooses a span of time.
type SpanQuery struct {
	Since moment `query:"since" doc:"From this time on: 2026-05-01T12:00:00Z, 2026-05-01, or 24h for so long ago"`
	Until moment `query:"until" doc:"Before this time"`
}

// moment is a point in time that people write.
type moment struct{ time.Time }
