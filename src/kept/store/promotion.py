"""Copying kept results from one store to another, on the terms of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from kept.exceptions import KeptException, StoreError
from kept.store.entry import Entry, Miss
from kept.store.opening import Store
from kept.store.trust import Wrapper


class Promoted(NamedTuple):
    """What became of one entry."""

    entry: Entry
    skipped: str = ""
    """Why it was not copied; empty if it was, or would be."""


def chosen(entry: Entry, tasks: tuple[str, ...] = (), keys: tuple[str, ...] = (), since: float | None = None) -> bool:
    """Whether an entry is of these tasks and keys, and was kept at the time `since` or later.

    Arguments:
        tasks: patterns of `module.task`, or of the end of it, as `clean` is for `etl.clean`; empty: all.
        keys: patterns of the key; empty: all.
        since: in seconds since the epoch; None: whenever.
    """
    of_task = not tasks or any(fnmatchcase(entry.task, end) for one in tasks for end in (one, f"*.{one}"))
    of_key = not keys or any(fnmatchcase(entry.key, one) for one in keys)
    return of_task and of_key and (since is None or entry.created >= since)


def promote(
    source: Store, target: Store, choice: Callable[[Entry], bool], *, dry_run: bool = False
) -> Iterator[Promoted]:
    """Copy the entries of the choice with their blobs, each blob before its entry.

    Arguments:
        source: what is not believed there is skipped.
        target: what is copied is signed and accepted on its terms.
        choice: whether an entry is to be copied.
        dry_run: only say what would be copied.

    Gives what became of each entry, one after the other. Raises `StoreError` if the target can't be written to.
    """
    if target.read_only:
        raise StoreError(f"nothing can be copied to {target.location}: it is read-only by its settings")
    if source.location == target.location:
        raise StoreError(f"{source.location} can't be copied to itself")
    entries = source.entries
    raw = entries
    while isinstance(raw, Wrapper):
        raw = raw.inside
    for entry in raw.scan():
        if choice(entry):
            found = entries.judged(entry) if isinstance(entries, Wrapper) else entry
            yield Promoted(entry, found.reason if isinstance(found, Miss) else _copied(entry, source, target, dry_run))


def _copied(entry: Entry, source: Store, target: Store, dry_run: bool) -> str:
    """Copy one entry; why not, if not."""
    if entry.expires is not None and entry.expires <= time.time():
        return "expired"
    if target.accepts and entry.serializer not in target.accepts:
        return f"not accepted: {target.location} takes {', '.join(target.accepts)} only, this is {entry.serializer}"
    there = target.entries.get(entry.key)
    if isinstance(there, Entry) and there.created >= entry.created:
        return "there already"
    blobs: list[memoryview] = []
    for digest in entry.blobs:
        try:
            opened = source.blobs.open(digest)
        except KeptException as error:
            return f"damaged: {error}"
        if isinstance(opened, Miss):
            return opened.reason
        blobs.append(opened)
    size = len(blobs[-1] if entry.blob is not None else entry.payload or b"")
    if size != entry.size:
        return f"damaged: {size} bytes instead of {entry.size}"
    if not dry_run:
        for content in blobs:
            target.blobs.put([content])
        target.entries.put([entry._replace(signature=None)])
    return ""
