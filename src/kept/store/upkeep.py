"""What is left in a store by those who were killed, and of entries that were replaced: found and removed.

Only garbage is: nothing that any entry of today points to, and nothing young, for a transaction that is running may
publish it yet. Ages are told by the clock of the place where the objects lie, so clocks of machines don't matter.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from kept.exceptions import StoreError
from kept.filesystems import Listed
from kept.store.disk import DiskBlobs
from kept.store.entry import Entry, Miss
from kept.store.format import Parsed, parsed
from kept.store.objects import ObjectBlobs, ObjectEntries, Publication
from kept.store.opening import Store
from kept.store.protocols import Entries
from kept.utilities.files import TEMPORARY

DAY = 86_400.0
_AT_ONCE = 16
_BATCH = 512


class Collected(NamedTuple):
    """What was removed."""

    marks: int = 0
    """Objects that a killed transaction had marked: put back as they were, or finished if it had committed."""
    manifests: int = 0
    """Manifests of transactions that nothing waits for any more."""
    blobs: int = 0
    """Blobs that no entry points to."""
    blob_bytes: int = 0
    """Their size."""
    files: int = 0
    """Files that were being written by who was killed."""
    locks: int = 0
    """Locks on an object store that nobody has touched."""
    kept_blobs: str = ""
    """Why no blobs were looked at; empty if they were."""


def collect(
    store: Store, older_than: float = DAY, *, dry_run: bool = False, entries: Iterable[Entries] = ()
) -> Collected:
    """Remove what is garbage in a store.

    Arguments:
        store: without signatures or a tier around it, as `kept.storage.bare_store` gives it.
        older_than: how many seconds ago it has to be written; let no transaction take longer.
        dry_run: remove nothing, only say what would be.
        entries: other places, whose entries point to blobs in this store (`key_storage`).

    Raises:
        StoreError: it can't be listed with the ages of its objects, read or written to.
    """
    blobs, keys = store.blobs, store.entries
    if not (isinstance(blobs, (DiskBlobs, ObjectBlobs)) and _has_ages(blobs) and _has_ages(keys)):
        raise StoreError(
            f"{store.location} can't be collected: it does not tell how old what it keeps is. Give its file system a "
            "method list_files(prefix) that gives a kept.filesystems.Listed for each file."
        )
    work = _Work(older_than, dry_run)
    # Blobs first: an entry that is put meanwhile is seen after them, or points to a blob that was put meanwhile.
    aged = [(digest, found) for digest, found in blobs.aged() if _is_old(found, work.before(blobs))]
    folder = blobs.prefix if isinstance(blobs, ObjectBlobs) else ""
    done = work.objects(keys, folder) if isinstance(keys, ObjectEntries) else Collected()
    wanted = work.wanted | {
        digest for other in (keys, *entries) for entry in _scanned(other, keys) for digest in entry.blobs
    }
    if aged and not wanted:
        why = "no entry points to any: if entries are kept elsewhere (key_storage), name that place"
        return done._replace(kept_blobs=why)
    dead = [(digest, found) for digest, found in aged if digest not in wanted]
    removed = [found.size for digest, found in dead if work.remove_blob(blobs, digest, found)]
    return done._replace(blobs=len(removed), blob_bytes=sum(removed))


def _has_ages(part: Any) -> bool:
    return not isinstance(part, (ObjectBlobs, ObjectEntries)) or hasattr(part.filesystem, "list_files")


def _scanned(entries: Entries, own: Entries) -> Iterator[Entry]:
    """The entries of a place; those of objects were seen already, with all that waits for a transaction."""
    return iter(()) if entries is own and isinstance(own, ObjectEntries) else entries.scan()


def _is_old(found: Listed, before: float) -> bool:
    return found.modified < before


class _Work:
    """One collection: how old things have to be, and what has been seen."""

    def __init__(self, older_than: float, dry_run: bool) -> None:
        self.older_than, self.dry_run = older_than, dry_run
        self.wanted: set[str] = set()
        self.awaited: set[str] = set()
        """Transactions whose marks stay."""
        self._before: dict[int, float] = {}

    def before(self, part: Any) -> float:
        """What was written before this moment, by the clock of the place, is old."""
        files = getattr(part, "filesystem", None)
        if id(files) not in self._before:
            self._before[id(files)] = _clock(files, self.dry_run) - self.older_than
        return self._before[id(files)]

    def objects(self, entries: ObjectEntries, blobs: str) -> Collected:
        """Go through the objects of entries, not of `blobs`: those of killed transactions, manifests, files, locks."""
        files, before = entries.filesystem, self.before(entries)
        others = tuple(filter(None, (entries.manifests, blobs, _locks(entries))))
        manifests = {found.path.rsplit("/", 1)[-1]: found for found in files.list_files(entries.manifests)}
        listed = list(files.list_files(entries.prefix))
        left = [found for found in listed if found.path.endswith(TEMPORARY) and _is_old(found, before)]
        own = [found for found in listed if not (found.path.startswith(others) or found.path.endswith(TEMPORARY))]
        marks = sum(self._each(lambda found: self._examine(entries, found, before), own))
        idle = [txn for txn, found in manifests.items() if txn not in self.awaited and _is_old(found, before)]
        locks = self._old_locks(entries, before)
        for path in [found.path for found in (*left, *locks)] + [entries.manifests + txn for txn in idle]:
            if not self.dry_run:
                files.delete_path(path)
        return Collected(marks=marks, manifests=len(idle), files=len(left), locks=len(locks))

    def _examine(self, entries: ObjectEntries, found: Listed, before: float) -> bool:
        """Note what an object needs; take old marks off. Whether there were any."""
        chain = _chain(entries, found.path)
        if any(one.txn for one in chain) and _is_old(found, before):
            if self.dry_run:
                chain = [one._replace(txn="") for one in chain if not one.txn or entries.is_committed(one.txn)][:1]
            else:
                chain = _unmarked(entries, found.path)
            self._note(chain)
            return True
        self._note(chain)
        return False

    def _note(self, chain: list[Parsed]) -> None:
        self.wanted.update(*[one.entry.blobs for one in chain if isinstance(one.entry, Entry)])
        self.awaited.update([one.txn for one in chain if one.txn])

    def _each(self, act: Callable[[Listed], bool], listed: list[Listed]) -> Iterator[bool]:
        with ThreadPoolExecutor(_AT_ONCE, "kept-collect") as pool:
            for start in range(0, len(listed), _BATCH):
                yield from pool.map(act, listed[start : start + _BATCH])

    def _old_locks(self, entries: ObjectEntries, before: float) -> list[Listed]:
        """Locks are objects where the object store writes conditionally; a living holder writes its lock again."""
        if not hasattr(entries.filesystem, "replace_path"):
            return []
        return [found for found in entries.filesystem.list_files(_locks(entries)) if _is_old(found, before)]

    def remove_blob(self, blobs: DiskBlobs | ObjectBlobs, digest: str, found: Listed) -> bool:
        """Remove a blob unless it was put again since; whether it was or would be removed."""
        if self.dry_run:
            return True
        now = _stat(blobs, found.path)
        if now is None or not _is_old(now, self.before(blobs)):
            return False
        blobs.delete([digest])
        return True


def _locks(entries: ObjectEntries) -> str:
    return entries.prefix.removesuffix("entries/") + "locks/"


def _stat(blobs: DiskBlobs | ObjectBlobs, path: str) -> Listed | None:
    if isinstance(blobs, ObjectBlobs):
        return blobs.filesystem.stat_path(path)  # type: ignore[no-any-return]
    try:
        status = os.stat(path)  # noqa: PTH116 - paths are text here
    except FileNotFoundError:
        return None
    return Listed(path, status.st_size, status.st_ctime)


def _chain(entries: ObjectEntries, path: str) -> list[Parsed]:
    """What an object says, and what it holds of what was there before, newest first."""
    content, chain = entries.raw(path), []
    while content:
        chain.append(parsed(content))
        content = chain[-1].before
    return chain


def _unmarked(entries: ObjectEntries, path: str) -> list[Parsed]:
    """Take all marks off an object, one after the other."""
    while (chain := _chain(entries, path)) and (txn := chain[0].txn):
        publication = Publication(entries, {}, txn)
        if isinstance(chain[0].entry, Miss) or not entries.is_committed(txn):
            publication.drop(path)
        else:
            publication.settle(path)
    return chain


def _clock(files: Any, dry_run: bool) -> float:
    """What time it is where the files are, as a file tells that is written now."""
    if files is None or dry_run:
        return time.time()
    path = f"manifests/clock-{os.urandom(6).hex()}"
    files.write_path(path, b"")
    try:
        found = files.stat_path(path)
        return time.time() if found is None else float(found.modified)
    finally:
        files.delete_path(path)
