-- The schema of the embedded entries and all that is asked of it, by name.
-- The schema's version is in SCHEMA_VERSION of sqlite.py and in the file's `user_version`.

-- name: schema
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,
    expires REAL,
    serializer TEXT NOT NULL,
    fingerprint TEXT,
    size INTEGER NOT NULL,
    blob TEXT,
    parts TEXT NOT NULL,
    task TEXT NOT NULL,
    run TEXT NOT NULL,
    flow_run TEXT NOT NULL,
    seconds REAL NOT NULL,
    checksum INTEGER NOT NULL,
    -- Last, so that reading the rest of a row does not walk through a long payload.
    payload BLOB
);

-- name: get
SELECT key, created, expires, serializer, fingerprint, size, payload, blob, parts, task, run, flow_run, seconds,
       checksum
FROM entry WHERE key = ?;

-- name: put
INSERT INTO entry (key, created, expires, serializer, fingerprint, size, payload, blob, parts, task, run, flow_run,
                   seconds, checksum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    created = excluded.created, expires = excluded.expires, serializer = excluded.serializer,
    fingerprint = excluded.fingerprint, size = excluded.size, payload = excluded.payload, blob = excluded.blob,
    parts = excluded.parts, task = excluded.task, run = excluded.run, flow_run = excluded.flow_run,
    seconds = excluded.seconds, checksum = excluded.checksum;

-- name: delete
DELETE FROM entry WHERE key = ?;

-- name: ids
SELECT id FROM entry WHERE id > ? ORDER BY id LIMIT 500;

-- name: rows
SELECT key, created, expires, serializer, fingerprint, size, payload, blob, parts, task, run, flow_run, seconds,
       checksum
FROM entry WHERE id BETWEEN ? AND ?;
