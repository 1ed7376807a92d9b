-- Whose a task's name is: the account's that imported it first.
CREATE TABLE names (
	name    {{.Text}} PRIMARY KEY,
	account {{.Text}} NOT NULL
);
INSERT INTO names (name, account) SELECT name, account FROM versions WHERE id = (SELECT MIN(v.id) FROM versions v WHERE v.name = versions.name);

-- What one account has of one version, however much both have besides.
CREATE INDEX runs_mine ON runs (account, task, state, id) WHERE ended_at <> 0;
