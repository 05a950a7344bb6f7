-- What is remembered of files, and all that is asked of it, by name; the version is in SCHEMA_VERSION of stamps.py.

-- name: schema
CREATE TABLE IF NOT EXISTS file (
    path BLOB PRIMARY KEY,
    -- As text: an inode may be larger than SQLite's integers.
    stamp TEXT NOT NULL,
    digest TEXT NOT NULL,
    -- When it was read, in seconds since the epoch.
    read REAL NOT NULL
) WITHOUT ROWID;

-- name: get
SELECT stamp, digest FROM file WHERE path = ?;

-- name: put
INSERT OR REPLACE INTO file (path, stamp, digest, read) VALUES (?, ?, ?, ?);

-- name: forget
DELETE FROM file WHERE read < ?;
