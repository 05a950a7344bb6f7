"""Which promises a server of objects keeps, found out by asking it: many servers take a conditional write and race.

Nothing that must not happen may rest on a promise that was not seen to be kept here.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from kept.exceptions import StoreError, StoreUnsupported
from kept.store.bucket import Bucket
from kept.utilities.files import write_whole

ROUNDS = 20
_RACERS = 8
_WEEK = 7 * 24 * 3600


class Guarantees(NamedTuple):
    """What a server was seen to do."""

    conditional_create: bool
    """Of many that create one object at the same time, one is told that it did, and its content is there."""
    conditional_replace: bool
    """The same of many that replace an object if its tag is the one they know."""
    read_after_write: bool
    """What was written, replaced or deleted is read, and listed, so at once."""

    @property
    def leases(self) -> bool:
        """Whether locks on keys can be objects of this server."""
        return all(self)

    @property
    def transactions(self) -> bool:
        """Whether what one object says becomes visible to all readers at once."""
        return self.read_after_write


def examine(files: Any, rounds: int = ROUNDS) -> Guarantees:
    """Ask the server behind `files`, which has the verbs of a `Bucket`; takes some hundred requests.

    Arguments:
        rounds: how many races there are of each kind; a server that fails one of three is found out by twenty with
            a certainty of 99.97 %.

    Raises `StoreError` if it can't be asked.
    """
    folder = f"selftest/{uuid4().hex[:12]}"
    paths: list[str] = []

    def fresh() -> str:
        paths.append(f"{folder}/{len(paths)}")
        return paths[-1]

    try:
        with ThreadPoolExecutor(_RACERS, "kept-selftest") as pool:
            return Guarantees(
                read_after_write=_reads_what_it_wrote(files, fresh(), folder),
                conditional_create=_all(rounds, lambda: _creates_once(files, fresh(), pool)),
                conditional_replace=_all(rounds, lambda: _replaces_once(files, fresh(), pool)),
            )
    finally:
        with contextlib.suppress(StoreError):  # of a server that can't be asked, the error above says more
            for path in paths:
                files.delete_path(path)


def known_guarantees(bucket: Bucket, memory: Path, *, anew: bool = False) -> Guarantees:
    """What the server of a bucket does, as it was found out within the last week, or by asking it now.

    Arguments:
        memory: the file that remembers it, below KEPT_HOME.
        anew: ask it in any case.

    Raises `StoreError` if it has to be asked and can't be.
    """
    remembered = _remembered(memory)
    place = f"{bucket.address.scheme}://{bucket.address.bucket} at {bucket.server}"
    known = remembered.get(place)
    if not anew and known is not None and abs(time.time() - known["asked"]) < _WEEK:
        return Guarantees(**known["guarantees"])
    found = examine(bucket)
    _remember(memory, {**remembered, place: {"asked": time.time(), "guarantees": found._asdict()}})
    return found


def _all(rounds: int, race: Callable[[], bool]) -> bool:
    try:
        return all(race() for _ in range(rounds))
    except StoreUnsupported:
        return False


def _reads_what_it_wrote(files: Any, path: str, folder: str) -> bool:
    for content in (b"one", b"two"):
        files.write_path(path, content)
        if files.read_path(path) != content or path not in set(files.list_paths(folder)):
            return False
    files.delete_path(path)
    with contextlib.suppress(FileNotFoundError):
        files.read_path(path)
        return False
    return path not in set(files.list_paths(folder))


def _creates_once(files: Any, path: str, pool: ThreadPoolExecutor) -> bool:
    return _one_wins(files, path, pool, lambda mine: files.create_path(path, mine))


def _replaces_once(files: Any, path: str, pool: ThreadPoolExecutor) -> bool:
    files.write_path(path, b"first")
    _, tag = files.tagged_path(path)
    return _one_wins(files, path, pool, lambda mine: files.replace_path(path, mine, tag))


def _one_wins(files: Any, path: str, pool: ThreadPoolExecutor, write: Callable[[bytes], bool]) -> bool:
    start = threading.Barrier(_RACERS)

    def race(mine: bytes) -> bytes | None:
        start.wait()
        return mine if write(mine) else None

    contents = [uuid4().hex.encode() for _ in range(_RACERS)]
    winners = [content for content in pool.map(race, contents) if content]
    return len(winners) == 1 and files.read_path(path) == winners[0]


def _remembered(memory: Path) -> dict[str, Any]:
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
        return {place: known for place, known in found.items() if _is_known(known)}
    except (OSError, ValueError, AttributeError):
        return {}


def _is_known(known: Any) -> bool:
    with contextlib.suppress(TypeError, KeyError):
        return isinstance(known["asked"], float) and set(known["guarantees"]) == set(Guarantees._fields)
    return False


def _remember(memory: Path, known: dict[str, Any]) -> None:
    # Without it the server is asked once more, so a folder that can't be written to is no trouble.
    with contextlib.suppress(OSError):
        write_whole(memory, json.dumps(known, indent=1).encode())
