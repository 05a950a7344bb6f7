-- name: schema
CREATE TABLE IF NOT EXISTS runs (
    id TEXT NOT NULL,
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
    message TEXT NOT NULL,
    assets TEXT,
    arguments TEXT,
    flow_run TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_of_flow_run ON runs (flow_run_id);
CREATE INDEX IF NOT EXISTS misses_of_step ON runs ("of", ended) WHERE decision = 'MISS';
CREATE TABLE IF NOT EXISTS code (
    digest TEXT PRIMARY KEY,
    -- What the digest stands for: a JSON array of the fields of each CodePart, compressed by zlib.
    parts BLOB NOT NULL
) WITHOUT ROWID;

-- name: insert
-- All records of a batch come as one JSON array: SQLite then works through them without taking turns with the threads
-- of Python for each row, which would slow the runs themselves down.
INSERT INTO runs
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
       json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]'),
       json_extract(value, '$[8]'), json_extract(value, '$[9]'), json_extract(value, '$[10]'), json_extract(value, '$[11]'),
       json_extract(value, '$[12]'), json_extract(value, '$[13]'), json_extract(value, '$[14]'), json_extract(value, '$[15]'),
       json_extract(value, '$[16]'), json_extract(value, '$[17]'), json_extract(value, '$[18]')
FROM json_each(?);

-- name: insert_code
INSERT OR IGNORE INTO code VALUES (?, ?);

-- name: of_flow_run
SELECT * FROM runs WHERE flow_run_id = ? ORDER BY started, rowid;

-- name: last
SELECT * FROM runs ORDER BY rowid DESC LIMIT 1;

-- name: named
SELECT * FROM runs WHERE id = ? OR name = ? OR "key" = ? ORDER BY rowid DESC LIMIT 1;

-- name: beginning
SELECT * FROM runs WHERE substr(id, 1, ?) = ? OR substr(name, 1, ?) = ? OR substr("key", 1, ?) = ?
ORDER BY rowid DESC LIMIT 1;

-- name: kept
-- The last results that were kept of a step before some moment.
SELECT * FROM runs
WHERE decision = 'MISS' AND "of" = ? AND ended <= ? AND state_type = 'COMPLETED' AND not_kept = '' AND parts IS NOT NULL
ORDER BY ended DESC LIMIT ?;

-- name: kept_under
SELECT * FROM runs
WHERE decision = 'MISS' AND "of" = ? AND ended <= ? AND "key" = ? AND state_type = 'COMPLETED' AND not_kept = ''
ORDER BY ended DESC LIMIT 1;

-- name: code
SELECT parts FROM code WHERE digest = ?;
