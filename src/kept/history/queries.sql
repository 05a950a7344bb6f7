-- name: create
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    "of" TEXT NOT NULL,
    flow_run_id TEXT,
    state_type TEXT NOT NULL,
    state_name TEXT NOT NULL,
    started REAL NOT NULL,
    ended REAL NOT NULL,
    decision TEXT NOT NULL,
    reason TEXT NOT NULL,
    "key" TEXT,
    parts TEXT,
    saved REAL NOT NULL,
    not_kept TEXT NOT NULL,
    message TEXT NOT NULL
) WITHOUT ROWID;

-- name: insert
INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: of_flow_run
SELECT * FROM runs WHERE id = :id OR flow_run_id = :id ORDER BY started;

-- name: last
SELECT * FROM runs ORDER BY started DESC LIMIT ?;

-- name: index_flow_runs
CREATE INDEX IF NOT EXISTS runs_of_flow_run ON runs (flow_run_id);

-- name: index_started
CREATE INDEX IF NOT EXISTS runs_started ON runs (started);
