"""Entries in one SQLite file: the embedded default."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from kept.exceptions import StoreError
from kept.store.database import Database, UnreadableRowError
from kept.store.entry import Entry, Miss
from kept.utilities.sql import named_queries

SCHEMA_VERSION = 1

_NOT_KEPT = Miss("not kept yet")
_DAMAGED = Miss("damaged: the entry does not hold what was kept")

_QUERIES = named_queries(Path(__file__).with_name("queries.sql"))
_GET, _PUT, _DELETE, _IDS, _ROWS = (_QUERIES[name] for name in ("get", "put", "delete", "ids", "rows"))


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
            row = self._fetch_one(_GET, (key,))
        except UnicodeEncodeError:
            return Miss("never kept: the key is not valid Unicode")
        except UnreadableRowError:
            return _DAMAGED
        return _NOT_KEPT if row is None else _entry(row)

    def put(self, entries: Sequence[Entry]) -> None:
        try:
            self._database.write(_PUT, [_row(entry) for entry in entries])
        except UnicodeEncodeError as error:
            raise StoreError(f"an entry can't be kept: {error.object!r} is not valid Unicode") from error

    def delete(self, keys: Iterable[str]) -> None:
        if self.path.exists():
            self._database.write(_DELETE, [(key,) for key in keys])

    def scan(self) -> Iterator[Entry]:
        last = 0
        while ids := self._database.fetch_all(_IDS, (last,)):
            (first,), (last,) = ids[0], ids[-1]
            yield from self._entries_between(first, last)

    def close(self) -> None:
        self._database.close()

    def _entries_between(self, first: int, last: int) -> Iterator[Entry]:
        """The readable entries of these row ids; halved until those that can't be read stand alone."""
        try:
            rows = self._database.fetch_all(_ROWS, (first, last))
        except UnreadableRowError:
            if first < last:
                middle = (first + last) // 2
                yield from self._entries_between(first, middle)
                yield from self._entries_between(middle + 1, last)
            return
        for entry in map(_entry, rows):
            if isinstance(entry, Entry):
                yield entry


def _entry(row: tuple[Any, ...]) -> Entry | Miss:
    fields = row[:-1]
    if _checksum(fields) != row[-1]:
        return _DAMAGED
    return Entry._make(fields)


def _row(entry: Entry) -> tuple[Any, ...]:
    """The entry as the database will give it back, in exact built-in types, and its checksum."""
    fields = (
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
    )
    return (*fields, _checksum(fields))


_text = str.__str__  # of an enum that is a string too this gives the string, where str() gives its name


def _checksum(fields: tuple[Any, ...]) -> int:
    """CRC-32 over the fields, of which SQLite itself would not notice a changed bit.

    `marshal` version 2 is the fastest encoding that is the same on every Python; a test pins it.
    """
    return crc32(marshal.dumps(fields, 2))
