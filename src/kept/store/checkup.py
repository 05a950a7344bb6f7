"""What a place for results can do, asked step by step: each with an answer, or what is wrong and what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from kept.exceptions import KeptException, StoreError
from kept.store.bucket import Bucket
from kept.store.completing import completed
from kept.store.entry import Entry, Miss
from kept.store.opening import Store
from kept.store.selftest import Guarantees, examine, known_guarantees

_CONTENT = b"written by `kept cache ping`, which deletes it"
_NEEDS_REDIS = "between machines it needs Redis: set KEPT_LOCKING_REDIS_URL to redis://host:port/0 on all of them"
_BY_LEASES = "between machines, by leases in the bucket"
_BY_REDIS = "between machines, by the Redis server of KEPT_LOCKING_REDIS_URL, which is not tried here"
_FIRST = ("server", "credentials", "bucket", "read")
_KINDS = {"credentials": "credentials", "bucket": "bucket", "denied": "read", "missing": ""}


class Step(NamedTuple):
    """One thing that was asked."""

    name: str
    ok: bool | None
    """None where it was not asked, or is not there and need not be."""
    said: str = ""
    """How it went, or what is wrong and what to do."""


def examined_bucket(bucket: Bucket, memory: Path, redis: bool = False) -> Iterator[Step]:
    """Ask the server of a bucket who one is, whether the bucket is there, and what it does.

    Arguments:
        memory: the file that remembers what the server guarantees; it is asked anew.
        redis: whether a Redis server is named, which then has the locks.
    """
    began = time.perf_counter()
    trouble = bucket.knock()
    wrong, waited = _KINDS.get(trouble.kind, "server"), 1000 * (time.perf_counter() - began)
    for name in _FIRST:
        if name == wrong:
            yield Step(name, False, f"{trouble.why}.")
            return
        yield Step(name, True, f"answers in {waited:.0f} ms" if name == "server" else "")
    yield from _verbs(bucket)
    yield from _guaranteed(lambda: known_guarantees(bucket, memory, anew=True), redis)


def examined_files(files: Any, redis: bool = False) -> Iterator[Step]:
    """Ask any file system what it does."""
    yield from _verbs(files)
    if all(callable(getattr(files, verb, None)) for verb in ("create_path", "replace_path", "tagged_path")):
        yield from _guaranteed(lambda: examine(files), redis)


def examined_store(store: Store) -> Iterator[Step]:
    """Ask a store on this machine's disk, or in memory."""
    now, key = time.time(), f"selftest-{uuid4().hex}"
    entry = Entry(key, now, now, "pickle", None, len(_CONTENT), _CONTENT, None, "{}", "", "", "", 0.0)

    def read() -> None:
        found = store.entries.get(key)
        if isinstance(found, Miss):
            raise StoreError(f"what was written can't be read: {found.reason}")

    yield _step("write", lambda: store.entries.put([entry]))
    yield _step("read", read)
    yield _step("delete", lambda: store.entries.delete([key]))


def _guaranteed(ask: Callable[[], Guarantees], redis: bool) -> Iterator[Step]:
    """What a server was seen to guarantee; what it does not is no failure."""
    try:
        found = ask()
    except StoreError as error:
        yield Step("guarantees", False, f"can't be found out: {error}.")
        return
    for name, kept, yes, no in (
        ("create once", found.conditional_create, "of many at once, one creates", "of many at once, several create"),
        ("replace once", found.conditional_replace, "of many at once, one replaces", "there is no such replacing"),
        ("read at once", found.read_after_write, "what was written", "what was written is seen later, not at once"),
        ("transactions", found.transactions, "several results become visible together", "not seen as a whole"),
        ("single flight", redis or found.leases, _BY_REDIS if redis else _BY_LEASES, _NEEDS_REDIS),
    ):
        yield Step(name, kept or None, yes if kept else no)


def _verbs(files: Any) -> Iterator[Step]:
    path = f"selftest/{uuid4().hex}"

    def read() -> None:
        if bytes(completed(files.read_path(path))) != _CONTENT:
            raise StoreError("what is read is not what was written. Use another place")

    def listed() -> None:
        if path not in {str(each) for each in completed(files.list_paths("selftest"))}:
            raise StoreError("what was written is not listed. Use another place")

    written = _step("write", lambda: completed(files.write_path(path, _CONTENT)))
    yield written
    if not written.ok:
        return
    yield _step("read back", read)
    for name, verb, ask in (
        ("list", "list_paths", listed),
        ("delete", "delete_path", lambda: completed(files.delete_path(path))),
    ):
        has = callable(getattr(files, verb, None))
        yield _step(name, ask) if has else Step(name, None, f"there is no {verb}: nothing can be collected")


def _step(name: str, ask: Callable[[], object]) -> Step:
    try:
        ask()
    except KeptException as error:
        return Step(name, False, f"{error}.".replace("..", "."))
    except Exception as error:  # a file system of the user's own may raise anything
        return Step(name, False, f"{type(error).__name__}: {error}")
    return Step(name, True)
