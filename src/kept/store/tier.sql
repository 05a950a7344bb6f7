-- The schema of the entries in a local tier and all that is asked of it, by name. Its version is in tier.py.

-- name: schema
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY,
    -- The first 16 bytes of the BLAKE3 of the address of the far store and the key: one file serves all of them.
    hash BLOB NOT NULL UNIQUE,
    -- As sqlite.py writes it.
    record BLOB NOT NULL,
    -- When the far store was last known to hold this, and when it was last used, in seconds since the epoch.
    fetched REAL NOT NULL,
    used REAL NOT NULL,
    -- 0: the far store has it, 1: the far store refused it, 2: it is still to be sent.
    own INTEGER NOT NULL,
    -- The far store that it is of, and the process that put it here.
    place INTEGER NOT NULL,
    pid INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS unsent ON entry (place) WHERE own = 2;

-- name: get
SELECT CAST(record AS BLOB), fetched, used, own FROM entry WHERE hash = ?;

-- name: put
INSERT INTO entry (hash, record, fetched, used, own, place, pid) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (hash) DO UPDATE SET
    record = excluded.record, fetched = excluded.fetched, used = excluded.used, own = excluded.own, pid = excluded.pid;

-- name: use
UPDATE entry SET used = ? WHERE hash = ?;

-- name: settle
-- Only if it is still what was sent: a later result under the same key has to be sent, too.
UPDATE entry SET own = ? WHERE hash = ? AND record = ?;

-- name: delete
DELETE FROM entry WHERE hash = ?;

-- name: unsent
SELECT CAST(record AS BLOB), pid, fetched FROM entry WHERE own = 2 AND place = ?;

-- name: full
SELECT (page_count - freelist_count) * page_size
FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size();

-- name: trim
-- A fifth of them, those first that were not used for longest.
DELETE FROM entry WHERE id IN (
    SELECT id FROM entry WHERE own <> 2 ORDER BY used LIMIT (SELECT count(*) / 5 + 1 FROM entry)
);
