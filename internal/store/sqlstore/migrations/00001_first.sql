-- Texts are compared byte by byte in both databases, as identifiers and cursors sort.

CREATE TABLE versions (
	id          {{.Text}} PRIMARY KEY,
	name        {{.Text}} NOT NULL,
	version     {{.Text}} NOT NULL,
	contract    {{.Text}} NOT NULL,
	package     {{.Text}} NOT NULL,
	form        {{.Text}} NOT NULL,
	origin      {{.Text}} NOT NULL,
	document    {{.Text}} NOT NULL,
	account     {{.Text}} NOT NULL,
	created_at  BIGINT NOT NULL,
	hidden      INTEGER NOT NULL DEFAULT 0,
	-- What searches look at, in lower case: the name, and the name with the description.
	folded_name {{.Text}} NOT NULL,
	folded      {{.Text}} NOT NULL,
	task        {{.Text}} NOT NULL,
	findings    {{.Text}} NOT NULL
);
CREATE INDEX versions_name ON versions (name, id);

-- What is large comes last, so that lists need not read it. A run is live while ended_at is 0: the few that are live and the
-- many that ended have indexes of their own, so that a run's way through its states touches small ones only.
CREATE TABLE runs (
	id           {{.Text}} PRIMARY KEY,
	task         {{.Text}} NOT NULL,
	task_name    {{.Text}} NOT NULL,
	task_version {{.Text}} NOT NULL,
	contract     {{.Text}} NOT NULL,
	variant      {{.Text}} NOT NULL,
	account      {{.Text}} NOT NULL,
	state        {{.Text}} NOT NULL,
	priority     INTEGER NOT NULL,
	cpu          BIGINT NOT NULL,
	memory       BIGINT NOT NULL,
	gpus         BIGINT NOT NULL,
	key          {{.Text}} NOT NULL,
	attempt      INTEGER NOT NULL,
	owner        {{.Text}} NOT NULL,
	lease_until  BIGINT NOT NULL,
	not_before   BIGINT NOT NULL,
	cancel       INTEGER NOT NULL DEFAULT 0,
	cancelled_by {{.Text}} NOT NULL DEFAULT '',
	created_at   BIGINT NOT NULL,
	started_at   BIGINT NOT NULL,
	ended_at     BIGINT NOT NULL,
	reason       {{.Text}} NOT NULL,
	cache_key    {{.Text}} NOT NULL,
	cached_from  {{.Text}} NOT NULL,
	cpu_seconds  DOUBLE PRECISION NOT NULL,
	peak_memory  BIGINT NOT NULL,
	pruned       INTEGER NOT NULL DEFAULT 0,
	labels       {{.Text}} NOT NULL,
	request      {{.Text}} NOT NULL,
	inputs       {{.Text}} NOT NULL,
	files        {{.Text}} NOT NULL,
	result       {{.Text}} NOT NULL
);
CREATE UNIQUE INDEX runs_key ON runs (account, key) WHERE key <> '';
CREATE INDEX runs_queue ON runs (priority DESC, id) WHERE state = 'queued';
CREATE INDEX runs_owner ON runs (owner) WHERE owner <> '';
CREATE INDEX runs_live ON runs (state, id, account, task_name, task, created_at) WHERE ended_at = 0;
CREATE INDEX runs_state ON runs (state, id) WHERE ended_at <> 0;
CREATE INDEX runs_task ON runs (task, state, id) WHERE ended_at <> 0;
CREATE INDEX runs_name ON runs (task_name, state, id) WHERE ended_at <> 0;
CREATE INDEX runs_account ON runs (account, state, id) WHERE ended_at <> 0;
CREATE INDEX runs_ended ON runs (pruned, ended_at) WHERE ended_at <> 0;
CREATE INDEX runs_reason ON runs (reason, id) WHERE reason <> '';
CREATE INDEX runs_cache ON runs (cache_key, id) WHERE cache_key <> '' AND state = 'succeeded';
{{if .Postgres}}
-- A queue leaves many dead rows behind in a large table: they are cleared away long before a fifth of it is dead.
-- What was inserted is looked at soon too, as counts of live runs then need the index only.
ALTER TABLE runs SET (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.05,
	autovacuum_vacuum_insert_scale_factor = 0.005, autovacuum_vacuum_insert_threshold = 5000);
{{end}}
-- The labels of runs, for searches.
CREATE TABLE labels (
	name  {{.Text}} NOT NULL,
	value {{.Text}} NOT NULL,
	run   {{.Text}} NOT NULL,
	PRIMARY KEY (name, value, run)
){{.Clustered}};

-- Sums of ended runs, so that counts and usage need not read them all: each run is in five of them, by what span of time says and
-- with at as the number of that hour or day since 1970.
CREATE TABLE tallies (
	span         INTEGER NOT NULL,
	at           BIGINT NOT NULL,
	account      {{.Text}} NOT NULL,
	task         {{.Text}} NOT NULL,
	state        {{.Text}} NOT NULL,
	reason       {{.Text}} NOT NULL,
	task_name    {{.Text}} NOT NULL,
	contract     {{.Text}} NOT NULL,
	-- All that ever ended; those still on record; those of them whose files are.
	runs         BIGINT NOT NULL,
	present      BIGINT NOT NULL,
	kept         BIGINT NOT NULL,
	cpu_seconds  DOUBLE PRECISION NOT NULL,
	wall         BIGINT NOT NULL,
	peak_memory  BIGINT NOT NULL,
	PRIMARY KEY (span, at, account, task, state, reason)
){{.Clustered}};
{{if .Postgres}}
-- The sums of all time and of this hour change with every transaction: their old versions need room beside them.
ALTER TABLE tallies SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
{{end}}
-- One line per blob and what refers to it: "version:ID", "run:ID", or "upload:ACCOUNT" until a time.
CREATE TABLE refs (
	digest {{.Text}} NOT NULL,
	holder {{.Text}} NOT NULL,
	until  BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (digest, holder)
){{.Clustered}};
CREATE INDEX refs_holder ON refs (holder);

CREATE TABLE servers (
	name     {{.Text}} PRIMARY KEY,
	url      {{.Text}} NOT NULL,
	version  {{.Text}} NOT NULL,
	capacity {{.Text}} NOT NULL,
	seen_at  BIGINT NOT NULL
);

CREATE TABLE accounts (
	name       {{.Text}} PRIMARY KEY,
	created_at BIGINT NOT NULL,
	disabled   INTEGER NOT NULL
);

CREATE TABLE tokens (
	id           {{.Text}} PRIMARY KEY,
	name         {{.Text}} NOT NULL,
	account      {{.Text}} NOT NULL,
	hash         {{.Text}} NOT NULL UNIQUE,
	scopes       {{.Text}} NOT NULL,
	expires_at   BIGINT NOT NULL,
	created_at   BIGINT NOT NULL,
	last_used_at BIGINT NOT NULL,
	revoked_at   BIGINT NOT NULL
);

-- IDs start with the time, in hexadecimal microseconds.
CREATE TABLE audit (
	id      {{.Text}} PRIMARY KEY,
	at      BIGINT NOT NULL,
	account {{.Text}} NOT NULL,
	token   {{.Text}} NOT NULL,
	remote  {{.Text}} NOT NULL,
	action  {{.Text}} NOT NULL,
	subject {{.Text}} NOT NULL,
	outcome {{.Text}} NOT NULL,
	detail  {{.Text}} NOT NULL
);
CREATE INDEX audit_account ON audit (account, id);
