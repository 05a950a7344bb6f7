"""Digests of files that were read before, in memory and in one SQLite file, so that an unchanged file costs a stat."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from kept.exceptions import StoreError
from kept.fingerprint.files import Stamp
from kept.store.database import Database
from kept.utilities.sql import named_queries

SCHEMA_VERSION = 1

_QUERIES = named_queries(Path(__file__).with_name("stamps.sql"))
_KEPT_FROM = 64 * 1024
"""Reading a smaller file again in the next process costs about as much as asking for it here."""
_MOST_IN_MEMORY = 100_000
_KEPT_SECONDS = 90 * 86_400.0


class FileDigests:
    """A memo of the digests of files, in the SQLite file at `path` for what is large.

    Trouble with that file is passed over: then files are read again. What was read 90 days ago is forgotten.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _QUERIES["schema"], SCHEMA_VERSION, "KEPT_HOME")
        self._known: dict[str, tuple[Stamp, str]] = {}
        self._tidied = False

    def get(self, path: str, stamp: Stamp) -> str | None:
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        if stamp.size < _KEPT_FROM:
            return None
        digest = self._digest_in_file(path, stamp)
        if digest is not None:
            self._remember(path, stamp, digest)
        return digest

    def put(self, path: str, stamp: Stamp, digest: str) -> None:
        self._remember(path, stamp, digest)
        if stamp.size < _KEPT_FROM:
            return
        with contextlib.suppress(StoreError):
            self._database.write(_QUERIES["put"], [(os.fsencode(path), _text(stamp), digest, time.time())])
            if not self._tidied:
                self._tidied = True
                self._database.write(_QUERIES["forget"], [(time.time() - _KEPT_SECONDS,)])

    def _remember(self, path: str, stamp: Stamp, digest: str) -> None:
        if len(self._known) >= _MOST_IN_MEMORY:
            self._known.clear()
        self._known[path] = stamp, digest

    def _digest_in_file(self, path: str, stamp: Stamp) -> str | None:
        with contextlib.suppress(StoreError):
            row = self._database.fetch_one(_QUERIES["get"], (os.fsencode(path),))
            if row is not None and row[0] == _text(stamp):
                return str(row[1])
        return None


def _text(stamp: Stamp) -> str:
    return " ".join(map(str, stamp))
