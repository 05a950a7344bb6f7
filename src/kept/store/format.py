"""An entry as one object: a line of JSON, then the payload.

The line, version 1, in UTF-8 with sorted keys:

    {"digest": "b3:...", "entry": {"created": ..., "key": ..., ...}, "kept": 1}

"entry" holds the fields of `Entry` but the payload, and "inline" says whether the payload follows; "digest" is the
BLAKE3 digest of "entry" (as JSON without spaces, sorted keys) and the payload.

While a transaction publishes several entries, each of their objects is *marked*: its line also holds
`"before": n, "txn": "<24 hex digits>"`, and its last n bytes are the object that was there before, as it was (none: 0).
It stands for the new entry once there is an object `manifests/<txn>`, and till then for what was there before; which
may be marked in its turn, by another transaction. The manifest is one line of JSON, version 1:

    {"kept": 1, "manifest": "<txn>", "paths": ["entries/5f/...", ...]}

"paths" are those of the marked objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from kept.exceptions import StoreError
from kept.store.digests import digest_of
from kept.store.entry import Entry, Miss

VERSION = 1
DELETED = Miss("deleted")

_TEXTS = ("key", "serializer", "parts", "task", "run", "flow_run", "files")
_TEXTS_OR_NONE = ("fingerprint", "blob", "signature")
_FAR_OFF = 1e15
_TRANSACTION = re.compile("[0-9a-f]{24}")


class Parsed(NamedTuple):
    """What an object says."""

    entry: Entry | Miss
    txn: str = ""
    """The transaction without whose manifest the entry does not count; empty: it counts."""
    before: bytes = b""
    """The object that was there before the transaction; empty if there was none."""


def written(entry: Entry, txn: str = "", before: bytes = b"") -> bytes:
    """The object of an entry, marked if it is part of a transaction. Raises `StoreError` if it can't be written."""
    fields = {name: value for name, value in entry._asdict().items() if name != "payload"}
    fields["inline"] = entry.payload is not None
    payload = entry.payload or b""
    try:
        header = {"kept": VERSION, "digest": _digest(fields, payload), "entry": fields}
        if txn:
            header.update(txn=txn, before=len(before))
        return b"".join((_json(header), b"\n", payload, before))
    except (TypeError, ValueError) as error:
        raise StoreError(f"the entry {entry.key!r} can't be written: {error}") from error


def parsed(content: bytes) -> Parsed:
    """What an object says, its entry a `Miss` if it is damaged or of a version that is not known here."""
    if not content:
        return Parsed(DELETED)
    line, _, rest = bytes(content).partition(b"\n")
    try:
        header = json.loads(line)
        version, fields = header["kept"], header["entry"]
        if version > VERSION:
            return Parsed(Miss(f"written by a newer version of kept (format {version})"))
        txn, before = header.get("txn", ""), b""
        if txn:
            if not _TRANSACTION.fullmatch(txn) or not 0 <= header["before"] <= len(rest):
                return Parsed(Miss("damaged: the mark of a transaction on it is not one of kept"))
            end = len(rest) - header["before"]
            rest, before = rest[:end], rest[end:]
        if header["digest"] != _digest(fields, rest):
            return Parsed(Miss("damaged: the entry does not hold what was kept"), txn, before)
        inline = fields.pop("inline")
        entry = Entry(payload=rest if inline else None, **fields)
        return Parsed(entry if _is_sound(entry) else Miss("damaged: its fields are not those of an entry"), txn, before)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Parsed(Miss("damaged: this is not an entry of kept"))


def _is_sound(entry: Entry) -> bool:
    """Whether the fields are of the types that entries have, and its numbers such that can be reckoned with."""
    numbers = (entry.created, entry.expires or 0, entry.seconds, entry.size)
    return (
        all(isinstance(getattr(entry, name), str) for name in _TEXTS)
        and all(isinstance(getattr(entry, name), str | None) for name in _TEXTS_OR_NONE)
        and all(isinstance(number, int | float) and abs(number) < _FAR_OFF for number in numbers)
    )


def manifest(txn: str, paths: Iterable[str]) -> bytes:
    """The object whose being there makes the entries of a transaction count."""
    return _json({"kept": VERSION, "manifest": txn, "paths": list(paths)}) + b"\n"


def _digest(fields: dict[str, Any], payload: bytes) -> str:
    return digest_of([_json(fields), payload], len(payload))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
