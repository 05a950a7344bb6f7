"""Entries in one SQLite file: the embedded default."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from blake3 import blake3

from kept.exceptions import StoreError
from kept.store.database import Database
from kept.store.entry import Entry, Miss
from kept.utilities.sql import named_queries

SCHEMA_VERSION = 4

_NOT_KEPT = Miss("not kept yet")
_DAMAGED = Miss("damaged: the entry does not hold what was kept")

_QUERIES = named_queries(Path(__file__).with_name("queries.sql"))
_GET, _PUT, _DELETE, _SCAN = (_QUERIES[name] for name in ("get", "put", "delete", "scan"))


class SqliteEntries:
    """Entries in the SQLite file at `path`, which is made when the first entry is put."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, _QUERIES["schema"], SCHEMA_VERSION)
        self._fetch_one = self._database.fetch_one

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path,))

    def get(self, key: str) -> Entry | Miss:
        try:
            row = self._fetch_one(_GET, (_hash(key),))
        except UnicodeEncodeError:
            return Miss("never kept: the key is not valid Unicode")
        if row is None:
            return _NOT_KEPT
        entry = entry_of(row[0])
        return entry if entry[0] == key else _DAMAGED

    def put(self, entries: Sequence[Entry]) -> None:
        try:
            rows = [(_hash(entry.key), record_of(entry)) for entry in entries]
        except UnicodeEncodeError as error:
            raise StoreError(f"an entry can't be kept: {error.object!r} is not valid Unicode") from error
        self._database.write(_PUT, rows)

    def delete(self, keys: Iterable[str]) -> None:
        if self.path.exists():
            self._database.write(_DELETE, [(_hash(key),) for key in keys])

    def scan(self) -> Iterator[Entry]:
        last = 0
        while rows := self._database.fetch_all(_SCAN, (last,)):
            last = rows[-1][0]
            for _, record in rows:
                entry = entry_of(record)
                if isinstance(entry, Entry):
                    yield entry

    def close(self) -> None:
        self._database.close()


def _hash(key: str) -> bytes:
    return blake3(key.encode()).digest(16)


def record_of(entry: Entry) -> bytes:
    """The fields, in exact built-in types, and their CRC-32: SQLite itself would not notice a changed bit.

    `marshal` version 2 is the fastest encoding that is the same on every Python; a test pins it.
    """
    fields = marshal.dumps(
        (
            _text(entry.key),
            float(entry.created),
            None if entry.expires is None else float(entry.expires),
            _text(entry.serializer),
            None if entry.fingerprint is None else _text(entry.fingerprint),
            int(entry.size),
            None if entry.payload is None else bytes(entry.payload),
            None if entry.blob is None else _text(entry.blob),
            _text(entry.parts),
            _text(entry.task),
            _text(entry.run),
            _text(entry.flow_run),
            float(entry.seconds),
            _text(entry.files),
            None if entry.signature is None else _text(entry.signature),
        ),
        2,
    )
    return fields + crc32(fields).to_bytes(4, "little")


def entry_of(record: bytes) -> Entry | Miss:
    """What `record_of` made of an entry, or why it can't be read."""
    # As Entry._make does, which would be a call in Python.
    return tuple.__new__(Entry, marshal.loads(record)) if crc32(record) == _SOUND else _DAMAGED


_SOUND = 0x2144DF1C  # what the CRC-32 of anything is that ends in its own CRC-32
_text = str.__str__  # of an enum that is a string too this gives the string, where str() gives its name
