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
    assets TEXT
);
CREATE INDEX IF NOT EXISTS runs_of_flow_run ON runs (flow_run_id);

-- name: insert
-- All records of a batch come as one JSON array: SQLite then works through them without taking turns with the threads
-- of Python for each row, which would slow the runs themselves down.
INSERT INTO runs
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
       json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]'),
       json_extract(value, '$[8]'), json_extract(value, '$[9]'), json_extract(value, '$[10]'), json_extract(value, '$[11]'),
       json_extract(value, '$[12]'), json_extract(value, '$[13]'), json_extract(value, '$[14]'), json_extract(value, '$[15]'),
       json_extract(value, '$[16]')
FROM json_each(?);

-- name: of_flow_run
SELECT * FROM runs WHERE id = :id OR flow_run_id = :id ORDER BY rowid;

-- name: last
SELECT * FROM runs ORDER BY rowid DESC LIMIT ?;
