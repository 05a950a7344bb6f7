-- The schema of the embedded entries and all that is asked of it, by name.
-- The schema's version is in SCHEMA_VERSION of sqlite.py and in the file's `user_version`.

-- name: schema
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY,
    -- The first 16 bytes of the key's BLAKE3. An index over the keys themselves, 64 digits as a rule, would take four
    -- times the room: too much to stay in memory when there are a million of them.
    hash BLOB NOT NULL UNIQUE,
    -- The fields of the entry and their checksum, as sqlite.py writes them: one column is read in half the time of
    -- fourteen.
    record BLOB NOT NULL
);

-- name: get
-- The cast is for damage: a flipped bit may make a text of it, and one that is no Unicode could not be fetched.
SELECT CAST(record AS BLOB) FROM entry WHERE hash = ?;

-- name: put
INSERT INTO entry (hash, record) VALUES (?, ?) ON CONFLICT (hash) DO UPDATE SET record = excluded.record;

-- name: delete
DELETE FROM entry WHERE hash = ?;

-- name: scan
SELECT id, CAST(record AS BLOB) FROM entry WHERE id > ? ORDER BY id LIMIT 500;
