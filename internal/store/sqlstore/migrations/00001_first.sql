-- +goose Up
CREATE TABLE versions (
	id          TEXT PRIMARY KEY,
	name        TEXT NOT NULL,
	version     TEXT NOT NULL,
	contract    TEXT NOT NULL,
	package     TEXT NOT NULL,
	form        TEXT NOT NULL,
	origin      TEXT NOT NULL,
	document    TEXT NOT NULL,
	description TEXT NOT NULL,
	account     TEXT NOT NULL,
	created_at  BIGINT NOT NULL,
	hidden      INTEGER NOT NULL DEFAULT 0,
	task        TEXT NOT NULL,
	findings    TEXT NOT NULL
);
CREATE INDEX versions_name ON versions (name, id);
CREATE INDEX versions_package ON versions (package);

-- What is large comes last, so that lists need not read it.
CREATE TABLE runs (
	id           TEXT PRIMARY KEY,
	task         TEXT NOT NULL,
	task_name    TEXT NOT NULL,
	task_version TEXT NOT NULL,
	contract     TEXT NOT NULL,
	variant      TEXT NOT NULL,
	account      TEXT NOT NULL,
	state        TEXT NOT NULL,
	priority     INTEGER NOT NULL,
	cpu          BIGINT NOT NULL,
	memory       BIGINT NOT NULL,
	gpus         BIGINT NOT NULL,
	key          TEXT NOT NULL,
	attempt      INTEGER NOT NULL,
	owner        TEXT NOT NULL,
	lease_until  BIGINT NOT NULL,
	not_before   BIGINT NOT NULL,
	cancel       INTEGER NOT NULL DEFAULT 0,
	cancelled_by TEXT NOT NULL DEFAULT '',
	created_at   BIGINT NOT NULL,
	started_at   BIGINT NOT NULL,
	ended_at     BIGINT NOT NULL,
	reason       TEXT NOT NULL,
	cache_key    TEXT NOT NULL,
	cached_from  TEXT NOT NULL,
	cpu_seconds  DOUBLE PRECISION NOT NULL,
	peak_memory  BIGINT NOT NULL,
	pruned       INTEGER NOT NULL DEFAULT 0,
	labels       TEXT NOT NULL,
	request      TEXT NOT NULL,
	inputs       TEXT NOT NULL,
	files        TEXT NOT NULL,
	result       TEXT NOT NULL
);
CREATE INDEX runs_queue ON runs (priority DESC, id) WHERE state = 'queued';
CREATE INDEX runs_owner ON runs (owner, lease_until) WHERE owner <> '';
CREATE UNIQUE INDEX runs_key ON runs (account, key) WHERE key <> '';
CREATE INDEX runs_cache ON runs (cache_key, id) WHERE cache_key <> '' AND state = 'succeeded';
CREATE INDEX runs_state ON runs (state, id);
CREATE INDEX runs_name ON runs (task_name, id);
CREATE INDEX runs_account ON runs (account, id);
CREATE INDEX runs_ended ON runs (ended_at) WHERE ended_at > 0;

-- One line per blob and what refers to it: a version, a run, or an upload until a time.
CREATE TABLE refs (
	digest TEXT NOT NULL,
	holder TEXT NOT NULL,
	until  BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (digest, holder)
);
CREATE INDEX refs_holder ON refs (holder);

CREATE TABLE servers (
	name     TEXT PRIMARY KEY,
	url      TEXT NOT NULL,
	version  TEXT NOT NULL,
	capacity TEXT NOT NULL,
	seen_at  BIGINT NOT NULL
);

CREATE TABLE accounts (
	name       TEXT PRIMARY KEY,
	created_at BIGINT NOT NULL,
	disabled   INTEGER NOT NULL
);

CREATE TABLE tokens (
	id           TEXT PRIMARY KEY,
	name         TEXT NOT NULL,
	account      TEXT NOT NULL,
	hash         TEXT NOT NULL UNIQUE,
	scopes       TEXT NOT NULL,
	expires_at   BIGINT NOT NULL,
	created_at   BIGINT NOT NULL,
	last_used_at BIGINT NOT NULL,
	revoked_at   BIGINT NOT NULL
);

CREATE TABLE audit (
	id      TEXT PRIMARY KEY,
	at      BIGINT NOT NULL,
	account TEXT NOT NULL,
	token   TEXT NOT NULL,
	remote  TEXT NOT NULL,
	action  TEXT NOT NULL,
	subject TEXT NOT NULL,
	outcome TEXT NOT NULL,
	detail  TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at);

-- +goose Down
DROP TABLE audit; DROP TABLE tokens; DROP TABLE accounts; DROP TABLE servers; DROP TABLE refs; DROP TABLE runs; DROP TABLE versions;
